"""What the tester of the description does not know by itself: our media types."""

import io
import json
import struct
import tarfile

import schemathesis


@schemathesis.serializer("application/x-tar")
def tar(_, value):
    """An archive with one file of whatever was made up."""
    content = str(value).encode(errors="replace")
    archive, file = io.BytesIO(), tarfile.TarInfo("file")
    file.size = len(content)
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.addfile(file, io.BytesIO(content))
    return archive.getvalue()


@schemathesis.serializer("application/vnd.wharf.exec")
def frames(_, value):
    """What is to be executed, by whatever was made up, and the end of its input."""
    asked = json.dumps({"service": "web", "command": [str(value)]}).encode(errors="replace")
    return b"s" + struct.pack(">I", len(asked)) + asked + b"e" + bytes(4)


@schemathesis.deserializer("application/x-ndjson")
def lines(_, response):
    """The first line stands for all."""
    first = response.content.decode().partition("\n")[0]
    return json.loads(first) if first else {"container": "", "service": "", "stream": "stdout", "text": ""}
