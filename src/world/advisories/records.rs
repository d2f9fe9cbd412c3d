//! Finds the records in a file of advisories: one JSON object, a list, lines, a tar or a zip archive,
//! compressed or not. Owns the telling apart and the limits. Face: `each_record`. Never unpacks to the disk,
//! and never holds more than one record of an archive.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use serde_json::value::RawValue;

use super::{AdvisoryError, system};
use crate::base::limits::{
    ADVISORIES_UNPACKED_BYTES_MAX, ADVISORY_ARCHIVE_ENTRIES_MAX, ADVISORY_BYTES_MAX,
};

/// What takes a record and the name of its file.
pub(super) type Take<'a> = dyn FnMut(&str, &[u8]) -> Result<(), AdvisoryError> + 'a;

/// Whether a file of a folder is read.
pub(super) fn is_wanted_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = [".json", ".jsonl", ".ndjson", ".zip", ".tar", ".tgz", ".gz"];
    !name.starts_with('.') && ends.iter().any(|end| name.ends_with(end))
}

/// Calls `take` with every record of a file.
///
/// # Errors
/// When the file cannot be read to its end.
pub(super) fn each_record(path: &Path, take: &mut Take<'_>) -> Result<(), AdvisoryError> {
    let name = path.display().to_string();
    let file = fs::File::open(path).map_err(system("open", path))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let is_zip = reader.fill_buf().map_err(system("read", path))?.starts_with(b"PK\x03\x04");
    match is_zip {
        true => each_zipped(&name, &mut reader, take),
        false => each_of(&name, &mut reader, take),
    }
}

fn broken(name: &str, why: impl std::fmt::Display) -> AdvisoryError {
    AdvisoryError::Broken { what: name.to_owned(), why: why.to_string() }
}

/// Of what is no zip archive: those are read from their end.
pub(super) fn each_of(
    name: &str,
    reader: &mut dyn BufRead,
    take: &mut Take<'_>,
) -> Result<(), AdvisoryError> {
    let head = reader.fill_buf().map_err(|error| broken(name, error))?;
    if head.starts_with(&[0x1f, 0x8b]) {
        let unpacked = MultiGzDecoder::new(reader).take(ADVISORIES_UNPACKED_BYTES_MAX);
        let mut unpacked = BufReader::with_capacity(1 << 20, unpacked);
        let head = unpacked.fill_buf().map_err(|error| broken(name, error))?;
        return match is_tar(head) {
            true => each_in_tar(name, &mut unpacked, take),
            false => each_json(name, &mut unpacked, take),
        };
    }
    match is_tar(head) {
        true => each_in_tar(name, reader, take),
        false => each_json(name, reader, take),
    }
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// One object or list over many lines, or an object per line.
fn each_json(
    name: &str,
    reader: &mut dyn BufRead,
    take: &mut Take<'_>,
) -> Result<(), AdvisoryError> {
    let mut line = Vec::new();
    let mut is_first = true;
    loop {
        line.clear();
        let mut bounded = (&mut *reader).take(ADVISORY_BYTES_MAX);
        bounded.read_until(b'\n', &mut line).map_err(|error| broken(name, error))?;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() as u64 >= ADVISORY_BYTES_MAX {
            return Err(broken(name, TOO_LONG));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let is_whole = serde_json::from_slice::<&RawValue>(&line).is_ok();
        if is_first && !is_whole || line.trim_ascii_start().starts_with(b"[") {
            // What begins here does not end in this line.
            let mut rest = (&mut *reader).take(ADVISORY_BYTES_MAX * 8);
            rest.read_to_end(&mut line).map_err(|error| broken(name, error))?;
            if line.len() as u64 >= ADVISORY_BYTES_MAX * 8 {
                return Err(broken(name, TOO_LONG));
            }
            return each_listed(name, &line, take);
        }
        is_first = false;
        take(name, line.trim_ascii())?;
    }
}

const TOO_LONG: &str = "a record has no end";

fn each_listed(name: &str, text: &[u8], take: &mut Take<'_>) -> Result<(), AdvisoryError> {
    match serde_json::from_slice::<Vec<&RawValue>>(text) {
        Ok(records) => records.iter().try_for_each(|record| take(name, record.get().as_bytes())),
        Err(_) => take(name, text),
    }
}

fn each_in_tar(
    name: &str,
    reader: &mut dyn BufRead,
    take: &mut Take<'_>,
) -> Result<(), AdvisoryError> {
    let mut archive = tar::Archive::new(reader);
    let entries = archive.entries().map_err(|error| broken(name, error))?;
    for (number, entry) in entries.raw(true).enumerate() {
        let mut entry = entry.map_err(|error| broken(name, error))?;
        if number >= ADVISORY_ARCHIVE_ENTRIES_MAX {
            return Err(broken(name, "it has too many files"));
        }
        let inner = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_file = entry.header().entry_type().is_file();
        // The names of members that are too long for a header do not matter.
        if !is_file || !is_wanted_name(inner.rsplit('/').next().unwrap_or_default()) {
            continue;
        }
        let mut inside = BufReader::new(&mut entry);
        each_json(&format!("{name}: {inner}"), &mut inside, take)?;
    }
    Ok(())
}

/// What a reader of a zip archive needs.
pub(super) trait ReadSeek: BufRead + Seek {}
impl<T: BufRead + Seek> ReadSeek for T {}

/// Reads the members that the archive's directory names (APPNOTE 6.3, with the sizes of Zip64).
pub(super) fn each_zipped(
    name: &str,
    reader: &mut dyn ReadSeek,
    take: &mut Take<'_>,
) -> Result<(), AdvisoryError> {
    let wrong = |error: io::Error| broken(name, error);
    let (at, count) = directory(reader).map_err(wrong)?;
    if count > ADVISORY_ARCHIVE_ENTRIES_MAX as u64 {
        return Err(broken(name, "it has too many files"));
    }
    let mut left = ADVISORIES_UNPACKED_BYTES_MAX;
    let mut place = at;
    for _ in 0..count {
        reader.seek(SeekFrom::Start(place)).map_err(wrong)?;
        let member = ZipMember::read(reader).map_err(wrong)?;
        place += member.directory_bytes;
        if !is_wanted_name(member.name.rsplit('/').next().unwrap_or_default()) {
            continue;
        }
        let inner = format!("{name}: {}", member.name);
        member.seek(reader).map_err(wrong)?;
        let mut packed = (&mut *reader).take(member.packed);
        let counted: Box<dyn Read + '_> = match member.method {
            0 => Box::new(&mut packed),
            8 => Box::new(DeflateDecoder::new(&mut packed)),
            other => return Err(broken(&inner, format!("compression {other} is not read"))),
        };
        let mut bytes = Vec::new();
        counted.take(ADVISORY_BYTES_MAX.min(left) + 1).read_to_end(&mut bytes).map_err(wrong)?;
        let size = bytes.len() as u64;
        if size > ADVISORY_BYTES_MAX || size > left {
            return Err(broken(&inner, TOO_LONG));
        }
        left -= size;
        each_json(&inner, &mut &bytes[..], take)?;
    }
    Ok(())
}

fn odd() -> io::Error {
    io::Error::other("it is no zip archive that can be read")
}

fn number(bytes: &[u8], at: usize, size: usize) -> io::Result<u64> {
    let bytes = bytes.get(at..at + size).ok_or_else(odd)?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Where the directory begins, and how many members it names.
fn directory(reader: &mut dyn ReadSeek) -> io::Result<(u64, u64)> {
    let size = reader.seek(SeekFrom::End(0))?;
    let tail = size.min(66 << 10);
    reader.seek(SeekFrom::Start(size - tail))?;
    let mut end = Vec::new();
    (&mut *reader).take(tail).read_to_end(&mut end)?;
    let found = end.windows(4).rposition(|window| window == b"PK\x05\x06").ok_or_else(odd)?;
    let (count, at) = (number(&end, found + 10, 2)?, number(&end, found + 16, 4)?);
    if count != 0xffff && at != 0xffff_ffff {
        return Ok((at, count));
    }
    let locator = found.checked_sub(20).ok_or_else(odd)?;
    if end.get(locator..locator + 4) != Some(b"PK\x06\x07") {
        return Ok((at, count));
    }
    reader.seek(SeekFrom::Start(number(&end, locator + 8, 8)?))?;
    let mut record = [0; 56];
    reader.read_exact(&mut record)?;
    if !record.starts_with(b"PK\x06\x06") {
        return Err(odd());
    }
    Ok((number(&record, 48, 8)?, number(&record, 32, 8)?))
}

struct ZipMember {
    name: String,
    method: u64,
    packed: u64,
    at: u64,
    directory_bytes: u64,
}

impl ZipMember {
    fn read(reader: &mut dyn ReadSeek) -> io::Result<Self> {
        let mut head = [0; 46];
        reader.read_exact(&mut head)?;
        if !head.starts_with(b"PK\x01\x02") {
            return Err(odd());
        }
        let lengths = [number(&head, 28, 2)?, number(&head, 30, 2)?, number(&head, 32, 2)?];
        let mut more = Vec::new();
        let length = lengths.iter().sum::<u64>();
        (&mut *reader).take(length).read_to_end(&mut more)?;
        let name_bytes = usize::try_from(lengths[0]).map_err(|_| odd())?;
        let extra_bytes = usize::try_from(lengths[1]).map_err(|_| odd())?;
        let name = more.get(..name_bytes).ok_or_else(odd)?;
        let extra = more.get(name_bytes..name_bytes + extra_bytes).ok_or_else(odd)?;
        let (mut unpacked, mut packed) = (number(&head, 24, 4)?, number(&head, 20, 4)?);
        let mut at = number(&head, 42, 4)?;
        // Sizes that did not fit stand here, in this order.
        let mut rest = extra;
        while rest.len() >= 4 {
            let (kind, size) = (number(rest, 0, 2)?, number(rest, 2, 2)?);
            let size = usize::try_from(size).map_err(|_| odd())?;
            let field = rest.get(4..4 + size).ok_or_else(odd)?;
            if kind == 1 {
                let mut place = 0;
                for value in [&mut unpacked, &mut packed, &mut at] {
                    if *value == 0xffff_ffff {
                        *value = number(field, place, 8)?;
                        place += 8;
                    }
                }
            }
            rest = &rest[4 + size..];
        }
        Ok(Self {
            name: String::from_utf8_lossy(name).into_owned(),
            method: number(&head, 10, 2)?,
            packed,
            at,
            directory_bytes: 46 + length,
        })
    }

    /// Goes to where its content begins.
    fn seek(&self, reader: &mut dyn ReadSeek) -> io::Result<()> {
        reader.seek(SeekFrom::Start(self.at))?;
        let mut head = [0; 30];
        reader.read_exact(&mut head)?;
        if !head.starts_with(b"PK\x03\x04") {
            return Err(odd());
        }
        let skipped = number(&head, 26, 2)? + number(&head, 28, 2)?;
        reader.seek(SeekFrom::Start(self.at + 30 + skipped)).map(drop)
    }
}
