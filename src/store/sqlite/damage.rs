//! Looks for damage in a database and its journal before anything is built on them. Owns the checks.
//! Face: `check_files`, `check_pages`. Never changes a file, and never lets SQLite drop commits in
//! silence: a journal that is damaged in the middle looks to it like one that ends there.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::Connection;

use crate::store::StoreError;

/// Bytes of the journal's header, and of the one before each page in it (sqlite.org/fileformat2.html,
/// section 4).
const JOURNAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Read from it at once.
const READ_BYTES: usize = 128 << 10;
/// What a journal begins with; its last bit says in which order words are summed.
const MAGIC: u32 = 0x377f_0682;
/// Sizes that a page may have.
const PAGE_BYTES: std::ops::RangeInclusive<usize> = 512..=65_536;

/// Compares the size of the database with what it says of itself, and reads its journal.
///
/// # Errors
/// When pages or commits that were durable are missing, or a file cannot be read.
pub(super) fn check_files(path: &Path) -> Result<(), StoreError> {
    let damaged = |said: String| StoreError::Corrupt { path: path.to_owned(), source: said.into() };
    let journal = path.with_extension("db-wal");
    let failed = |error| StoreError::file("read", &journal, error);
    let in_journal = match File::open(&journal) {
        Ok(file) => {
            damage_in_journal(&mut BufReader::with_capacity(READ_BYTES, file)).map_err(failed)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Journal::Empty,
        Err(error) => return Err(failed(error)),
    };
    match in_journal {
        Journal::Damaged { at } => {
            let name = journal.display();
            return Err(damaged(format!(
                "its journal {name} is damaged at byte {at}, and later commits would be lost with it"
            )));
        }
        // SQLite throws a journal away whose database is empty.
        Journal::Whole if is_empty(path)? => {
            return Err(damaged("it is empty, and its journal is not".to_owned()));
        }
        // Pages at the end of the database may lie there.
        Journal::Whole => return Ok(()),
        Journal::Empty => {}
    }
    let file = File::open(path).map_err(|error| StoreError::file("read", path, error))?;
    match missing_bytes(&file).map_err(|error| StoreError::file("read", path, error))? {
        0 => Ok(()),
        missing => Err(damaged(format!("{missing} bytes are missing at its end"))),
    }
}

fn is_empty(path: &Path) -> Result<bool, StoreError> {
    let metadata = std::fs::metadata(path);
    Ok(metadata.map_err(|error| StoreError::file("look at", path, error))?.len() == 0)
}

/// Looks at every page: whether each belongs somewhere, and holds what it should.
///
/// # Errors
/// What SQLite says of the first that does not.
pub(super) fn check_pages(connection: &Connection) -> Result<(), rusqlite::Error> {
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match said.as_str() {
        "ok" => Ok(()),
        _ => {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            Err(rusqlite::Error::SqliteFailure(code, Some(said)))
        }
    }
}

/// How many bytes a database lacks of what its header says.
fn missing_bytes(file: &File) -> io::Result<u64> {
    let mut header = [0; 100];
    let size = file.metadata()?.len();
    // Not ours yet, or no database: whoever opens it says so.
    if size < 100 {
        return Ok(0);
    }
    file.read_exact_at(&mut header, 0)?;
    let word = |at: usize| u64::from(big_endian(&header[at..]));
    // The count of pages is good when it was written with the latest change.
    if !header.starts_with(b"SQLite format 3\0") || word(24) != word(92) {
        return Ok(0);
    }
    let page = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65_536,
        page => page,
    };
    Ok((word(28) * page).saturating_sub(size))
}

/// What a journal is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Journal {
    /// It holds nothing that was committed.
    Empty,
    /// It is whole, or torn in a commit that nobody was told of.
    Whole,
    /// It is damaged before a commit that was durable.
    Damaged { at: u64 },
}

/// Reads a journal. Commits are synchronised one by one, so that a frame of this journal behind a
/// commit shows that the commit was durable, even where its sums lead nowhere any more. When
/// something at or before the commit does not add up, it has changed since.
fn damage_in_journal(journal: &mut impl Read) -> io::Result<Journal> {
    let mut header = [0; JOURNAL_HEADER];
    if !fill(journal, &mut header)? {
        return Ok(Journal::Empty);
    }
    let magic = big_endian(&header);
    let page = big_endian(&header[8..]) as usize;
    if magic & !1 != MAGIC || !PAGE_BYTES.contains(&page) {
        return Ok(Journal::Empty);
    }
    let is_big = magic & 1 == 1;
    let salts = &header[16..24];
    let mut expected = sum(is_big, [0; 2], &header[..24]);
    let mut first_bad = (expected != sums(&header[24..])).then_some(0);
    expected = sums(&header[24..]);
    let (mut frame, mut at) = (vec![0; FRAME_HEADER + page], JOURNAL_HEADER as u64);
    let (mut is_committed, mut committed_after_bad) = (false, false);
    while fill(journal, &mut frame)? {
        let is_ours = frame[8..16] == *salts && big_endian(&frame) != 0;
        if is_ours && committed_after_bad {
            return Ok(Journal::Damaged { at: first_bad.unwrap_or_default() });
        }
        // Behind the first bad frame, sums say nothing any more. Mostly that is what an earlier
        // round of the journal left: all of it but a few frames.
        if first_bad.is_none() {
            let summed = || sum(is_big, sum(is_big, expected, &frame[..8]), &frame[FRAME_HEADER..]);
            if !is_ours || summed() != sums(&frame[16..]) {
                first_bad = Some(at);
            }
        }
        if big_endian(&frame[4..]) != 0 {
            match first_bad {
                Some(_) => committed_after_bad = true,
                None => is_committed = true,
            }
        }
        expected = sums(&frame[16..]);
        at += frame.len() as u64;
    }
    Ok(if is_committed { Journal::Whole } else { Journal::Empty })
}

/// Fills the buffer; false when there is not enough any more.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn big_endian(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The two sums as they are stored.
fn sums(bytes: &[u8]) -> [u32; 2] {
    [big_endian(bytes), big_endian(&bytes[4..])]
}

/// Goes on with the two sums over more words (section 4.2 of the file format).
fn sum(is_big: bool, [mut first, mut second]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    let word = |bytes: &[u8]| match is_big {
        true => big_endian(bytes),
        false => big_endian(bytes).swap_bytes(),
    };
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(word(pair)).wrapping_add(second);
        second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
    }
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The journal of a connection that has committed some times.
    fn journal() -> (Vec<u8>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wharf.db");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch("CREATE TABLE numbers (number INTEGER)").unwrap();
        for number in 0..10 {
            connection.execute("INSERT INTO numbers VALUES (?)", [number]).unwrap();
        }
        let text = std::fs::read(path.with_extension("db-wal")).unwrap();
        let page = big_endian(&text[8..]) as usize;
        (text, FRAME_HEADER + page)
    }

    fn check(text: &[u8], expect: Journal) {
        assert_eq!(damage_in_journal(&mut &*text).unwrap(), expect);
    }

    #[test]
    fn a_journal_is_whole_wherever_it_is_cut() {
        let (text, frame) = journal();
        check(&text, Journal::Whole);
        check(&[], Journal::Empty);
        check(&vec![0; 10_000], Journal::Empty);
        check(&text[..JOURNAL_HEADER], Journal::Empty);
        for end in [text.len() - 1, text.len() - frame, text.len() - frame - 100] {
            check(&text[..end], Journal::Whole);
        }
    }

    #[test]
    fn a_torn_last_commit_is_no_damage() {
        let (mut text, frame) = journal();
        let last = text.len() - frame + FRAME_HEADER + 7;
        text[last] ^= 1;
        check(&text, Journal::Whole);
        let stale = vec![0x5a; frame];
        text.extend(stale);
        check(&text, Journal::Whole);
    }

    #[test]
    fn what_changed_before_a_durable_commit_is_damage() {
        let (text, frame) = journal();
        let frames = (text.len() - JOURNAL_HEADER) / frame;
        for number in [0, frames / 2, frames - 2] {
            let start = JOURNAL_HEADER + number * frame;
            for byte in [start + 4, start + 9, start + 17, start + FRAME_HEADER, start + frame - 1]
            {
                let mut text = text.clone();
                text[byte] ^= 0x10;
                check(&text, Journal::Damaged { at: start as u64 });
            }
        }
        let mut text = text;
        text[25] ^= 1;
        check(&text, Journal::Damaged { at: 0 });
    }

    #[test]
    fn a_database_that_was_cut_off_lacks_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wharf.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE numbers (number INTEGER)").unwrap();
        drop(connection);
        check_files(&path).unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(size - 1).unwrap();
        let error = check_files(&path).unwrap_err();
        assert!(
            crate::base::chain(&error).ends_with("1 bytes are missing at its end"),
            "{error:?}"
        );
        std::fs::write(&path, "").unwrap();
        check_files(&path).unwrap();
        std::fs::write(path.with_extension("db-wal"), journal().0).unwrap();
        let error = check_files(&path).unwrap_err();
        assert!(crate::base::chain(&error).ends_with("its journal is not"), "{error:?}");
    }
}
