//! Writes and reads archives. Owns their bytes. Face: `Encoder`, `Decoder`, `check`, `open`. Never
//! calls an archive whole before its last byte was compared.
//!
//! An archive is a first line, frames and a digest. A frame is its kind (one byte), the length of
//! its content (four bytes, big-endian) and its content: `H` the header as JSON, `T` a table as JSON,
//! `R` rows, `E` the number of rows that the table has (eight bytes), `Z` nothing: the end. Rows are
//! values after each other, as many as the table has columns: `n`; `i` with eight bytes; `t` and `b`
//! with a length of four bytes and the text or bytes. After `Z` come the 32 bytes of the SHA-256 of
//! everything before them, and nothing else.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Header, Part, Parts, Row, TableHead, TransferError, Value, from_thread, send};
use crate::base::Digest;
use crate::base::limits::TRANSFER_FRAME_BYTES_MAX;

/// How every archive begins; the number is the version of this layout.
const FIRST_LINE: &[u8] = b"wharfinger backup 1\n";
/// How those of other versions begin.
const FIRST_WORDS: &[u8] = b"wharfinger backup ";
/// The version of this layout.
const LAYOUT: u32 = 1;
/// Bytes of the digest at the end.
const DIGEST_BYTES: usize = 32;

/// Turns parts into the bytes of an archive.
pub struct Encoder {
    hasher: Sha256,
    is_begun: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { hasher: Sha256::new(), is_begun: false }
    }
}

impl Encoder {
    /// The bytes of a part that is not the end.
    ///
    /// # Errors
    /// When a row is too large to be read again.
    pub fn encode(&mut self, part: &Part) -> Result<Vec<u8>, TransferError> {
        let (kind, content) = match part {
            Part::Header(header) => (b'H', json(header)?),
            Part::Table(table) => (b'T', json(table)?),
            Part::Rows(rows) => (b'R', encode_rows(rows)),
            Part::TableEnd(rows) => (b'E', rows.to_be_bytes().to_vec()),
            Part::End(_) => (b'Z', Vec::new()),
        };
        let length = u32::try_from(content.len()).ok();
        let length = length.filter(|_| content.len() <= TRANSFER_FRAME_BYTES_MAX);
        let Some(length) = length else {
            let reason = format!("a row has more than {TRANSFER_FRAME_BYTES_MAX} bytes");
            return Err(TransferError::Unfit { table: String::new(), reason });
        };
        let mut bytes = Vec::with_capacity(content.len() + 5 + FIRST_LINE.len());
        if !self.is_begun {
            self.is_begun = true;
            bytes.extend(FIRST_LINE);
        }
        bytes.push(kind);
        bytes.extend(length.to_be_bytes());
        bytes.extend(content);
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// The last bytes, and the digest of all.
    ///
    /// # Errors
    /// Never in practice: the end has no content.
    pub fn end(mut self) -> Result<(Vec<u8>, Digest), TransferError> {
        let mut bytes = self.encode(&Part::End(Digest::zero()))?;
        let digest: [u8; DIGEST_BYTES] = self.hasher.finalize().into();
        bytes.extend(digest);
        Ok((bytes, Digest::from_bytes(digest)))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, TransferError> {
    serde_json::to_vec(value)
        .map_err(|error| TransferError::Unfit { table: String::new(), reason: error.to_string() })
}

fn encode_rows(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in rows.iter().flatten() {
        match value {
            Value::Null => bytes.push(b'n'),
            Value::Integer(number) => {
                bytes.push(b'i');
                bytes.extend(number.to_be_bytes());
            }
            Value::Text(text) => put(&mut bytes, b't', text.as_bytes()),
            Value::Bytes(blob) => put(&mut bytes, b'b', blob),
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    // A longer one does not fit into a frame, which is noticed there.
    bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(value);
}

/// Reads the parts of an archive, one after the other, and refuses what was not written so.
pub struct Decoder<R> {
    input: R,
    hasher: Sha256,
    /// Bytes that were read.
    at: u64,
    place: Place,
}

/// What may come next.
enum Place {
    Beginning,
    BetweenTables,
    /// In a table of so many columns, of which so many rows have come.
    InTable(usize, u64),
    Ended,
}

impl<R: Read> Decoder<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self { input, hasher: Sha256::new(), at: 0, place: Place::Beginning }
    }

    /// The next part; none after the end.
    ///
    /// # Errors
    /// When the archive is damaged, broken off, or of a newer program.
    pub fn next_part(&mut self) -> Result<Option<Part>, TransferError> {
        match self.place {
            Place::Ended => return Ok(None),
            Place::Beginning => self.read_first_line()?,
            Place::BetweenTables | Place::InTable(..) => {}
        }
        let mut head = [0; 5];
        self.read(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > TRANSFER_FRAME_BYTES_MAX {
            return Err(self.damaged("a part is larger than any that is written"));
        }
        let mut content = vec![0; length];
        self.read(&mut content)?;
        let part = match (kind, &self.place) {
            (b'H', Place::Beginning) => {
                self.place = Place::BetweenTables;
                Part::Header(self.parse::<Header>(&content)?)
            }
            (b'T', Place::BetweenTables) => {
                let table: TableHead = self.parse(&content)?;
                if table.columns.is_empty() {
                    return Err(self.damaged("a table has no columns"));
                }
                self.place = Place::InTable(table.columns.len(), 0);
                Part::Table(table)
            }
            (b'R', &Place::InTable(columns, before)) => {
                let rows = self.decode_rows(&content, columns)?;
                self.place = Place::InTable(columns, before + rows.len() as u64);
                Part::Rows(rows)
            }
            (b'E', &Place::InTable(_, rows)) => {
                if content != rows.to_be_bytes() {
                    return Err(self.damaged("a table has not as many rows as were written"));
                }
                self.place = Place::BetweenTables;
                Part::TableEnd(rows)
            }
            (b'Z', Place::BetweenTables) if content.is_empty() => {
                self.place = Place::Ended;
                Part::End(self.read_digest()?)
            }
            _ => return Err(self.damaged("something comes where it cannot be")),
        };
        Ok(Some(part))
    }

    fn read_first_line(&mut self) -> Result<(), TransferError> {
        let mut line = [0; FIRST_LINE.len()];
        if self.read(&mut line).is_err() || !line.starts_with(FIRST_WORDS) {
            return Err(TransferError::NoArchive);
        }
        if line == FIRST_LINE {
            return Ok(());
        }
        let number = String::from_utf8_lossy(&line[FIRST_WORDS.len()..]);
        match number.trim().parse() {
            Ok(found) if found > LAYOUT => Err(TransferError::Newer { found, known: LAYOUT }),
            _ => Err(TransferError::NoArchive),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => self.damaged(&format!("it cannot be read: {error}")),
        })?;
        self.hasher.update(&*buffer);
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn read_digest(&mut self) -> Result<Digest, TransferError> {
        let digest: [u8; DIGEST_BYTES] = self.hasher.clone().finalize().into();
        let mut written = [0; DIGEST_BYTES];
        self.read(&mut written)?;
        if digest != written {
            return Err(self.damaged("its content does not have the digest that it ends with"));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(Digest::from_bytes(digest)),
            Ok(_) => Err(self.damaged("something follows its end")),
            Err(error) => Err(self.damaged(&format!("it cannot be read: {error}"))),
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, content: &[u8]) -> Result<T, TransferError> {
        serde_json::from_slice(content).map_err(|error| self.damaged(&error.to_string()))
    }

    fn decode_rows(&self, content: &[u8], columns: usize) -> Result<Vec<Row>, TransferError> {
        let wrong = || self.damaged("a row cannot be read");
        let mut rest = content;
        let mut rows = Vec::new();
        while !rest.is_empty() {
            let mut row = Vec::with_capacity(columns.min(rest.len()));
            for _ in 0..columns {
                row.push(take_value(&mut rest).ok_or_else(wrong)?);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn damaged(&self, reason: &str) -> TransferError {
        TransferError::Damaged { at: self.at, reason: reason.to_owned() }
    }
}

fn take_value(rest: &mut &[u8]) -> Option<Value> {
    Some(match take(rest, 1)? {
        b"n" => Value::Null,
        b"i" => Value::Integer(i64::from_be_bytes(take(rest, 8)?.try_into().ok()?)),
        b"t" => Value::Text(String::from_utf8(take_counted(rest)?.to_vec()).ok()?),
        b"b" => Value::Bytes(take_counted(rest)?.to_vec()),
        _ => return None,
    })
}

fn take_counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take(rest, 4)?.try_into().ok()?);
    take(rest, length as usize)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its header.
    pub header: Header,
    /// The rows of each table.
    pub tables: Vec<(String, u64)>,
    /// The digest of all.
    pub digest: Digest,
}

/// Reads a whole archive without using it.
///
/// # Errors
/// When it is not what was written, or of a newer program.
pub fn check(path: &Path) -> Result<Content, TransferError> {
    let mut decoder = Decoder::new(reader(path)?);
    let mut header = None;
    let mut tables: Vec<(String, u64)> = Vec::new();
    while let Some(part) = decoder.next_part()? {
        match part {
            Part::Header(found) => {
                super::form(found.form)?;
                header = Some(found);
            }
            Part::Table(table) => tables.push((table.name, 0)),
            Part::Rows(_) => {}
            Part::TableEnd(rows) => {
                if let Some(last) = tables.last_mut() {
                    last.1 = rows;
                }
            }
            Part::End(digest) => {
                let header = header.ok_or(TransferError::NoArchive)?;
                return Ok(Content { header, tables, digest });
            }
        }
    }
    Err(TransferError::BrokenOff)
}

/// The parts of an archive.
pub fn open(path: PathBuf) -> Parts {
    from_thread(move |outlet| {
        let mut decoder = Decoder::new(reader(&path)?);
        while let Some(part) = decoder.next_part()? {
            send(outlet, part)?;
        }
        Ok(())
    })
}

fn reader(path: &Path) -> Result<BufReader<File>, TransferError> {
    let failed = |source| TransferError::File { act: "read", path: path.to_owned(), source };
    Ok(BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?))
}
