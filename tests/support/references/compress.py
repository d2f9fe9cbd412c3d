"""Compresses standard input with the reference implementations. Face: compress.py FORM, where FORM is zstd-LEVEL,
zstd-frames (several, between frames that are skipped), gzip or gzip-members (several)."""

import gzip
import struct
import sys

import zstandard

form, content = sys.argv[1], sys.stdin.buffer.read()
parts = [content[at : at + 3000] for at in range(0, len(content), 3000)]


def skipped(number: int) -> bytes:
    """A frame of whatever somebody notes there, which readers pass over."""
    return struct.pack("<II", 0x184D2A50 + number, 5) + b"notes"


def frame(part: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(part)


if form == "zstd-frames":
    packed = skipped(0) + b"".join(frame(part) + skipped(7) for part in parts) + skipped(15)
elif form == "zstd-stream":
    packer = zstandard.ZstdCompressor(level=3, write_content_size=False).compressobj()
    packed = packer.compress(content) + packer.flush()
elif form == "gzip-members":
    packed = b"".join(gzip.compress(part, mtime=0) for part in parts)
elif form == "gzip":
    packed = gzip.compress(content, mtime=0)
else:
    level = int(form.removeprefix("zstd-"))
    packed = zstandard.ZstdCompressor(level=level, write_checksum=level > 3).compress(content)
sys.stdout.buffer.write(packed)
