//! Compiles a source of advisories into one file that is quick to search: a head, then a line per package and
//! advisory in the order of packages. Owns that form. Face: `compile`, `mark`. Never leaves half a file where
//! a whole one was.

use std::fs;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::records::{each_record, is_wanted_name};
use super::{AdvisoryError, FORM, Head, system};
use crate::base::limits::{
    ADVISORIES_BYTES_MAX, ADVISORIES_MAX, ADVISORY_FILES_MAX, ADVISORY_FOLDERS_DEPTH_MAX,
};
use crate::base::{Digest, Timestamp};
use crate::domain::advisories::parse;

/// Bytes of the head's line: it is written again when the source was looked at.
const HEAD_BYTES: usize = 4096;
/// One in so many records may be no advisory: more than that is not what somebody meant to supply.
const WRONG_ONE_IN: u64 = 100;

/// Tells whether a file or a folder has changed since: names, sizes and times of its files.
pub(super) fn mark(source: &Path) -> Result<String, AdvisoryError> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for file in files(source)? {
        let about = fs::metadata(&file).map_err(system("look at", &file))?;
        let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let changed = changed.unwrap_or_default().as_nanos();
        parts.push(file.as_os_str().as_encoded_bytes().to_vec());
        parts.push(format!("{} {changed}", about.len()).into_bytes());
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Ok(Digest::of_parts(&parts).to_string())
}

/// The files of a source in the order of their names. Links are not followed.
fn files(source: &Path) -> Result<Vec<PathBuf>, AdvisoryError> {
    let about = fs::metadata(source).map_err(|error| AdvisoryError::Away {
        what: source.display().to_string(),
        why: error.to_string(),
    })?;
    if about.is_file() {
        return Ok(vec![source.to_owned()]);
    }
    let mut found = Vec::new();
    let mut open = vec![(source.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(system("read", &folder))? {
            let entry = entry.map_err(system("read", &folder))?;
            let kind = entry.file_type().map_err(system("look at", &entry.path()))?;
            if kind.is_dir() && depth < ADVISORY_FOLDERS_DEPTH_MAX {
                open.push((entry.path(), depth + 1));
            } else if kind.is_file() && is_wanted_name(&entry.file_name().to_string_lossy()) {
                found.push(entry.path());
            }
            if found.len() + open.len() > ADVISORY_FILES_MAX {
                let why = format!("it has more than {ADVISORY_FILES_MAX} files");
                return Err(AdvisoryError::Broken { what: source.display().to_string(), why });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the source at `path` and puts the list in force.
pub(super) fn compile(
    path: &Path,
    dir: &Path,
    source: &str,
    mark: &str,
    now: Timestamp,
) -> Result<Head, AdvisoryError> {
    let mut lines: Vec<String> = Vec::new();
    let mut bytes = 0_u64;
    let mut head = Head {
        form: FORM,
        source: source.to_owned(),
        checked_at: now,
        compiled_at: now,
        newest: None,
        advisories: 0,
        entries: 0,
        withdrawn: 0,
        not_read: 0,
        digest: Digest::zero(),
        mark: mark.to_owned(),
    };
    let broken = |why: String| AdvisoryError::Broken { what: source.to_owned(), why };
    let mut first_wrong: Option<String> = None;
    for file in files(path)? {
        each_record(&file, &mut |name, record| {
            let parsed = match parse(record) {
                Ok(parsed) => parsed,
                Err(error) => {
                    head.not_read += 1;
                    first_wrong.get_or_insert_with(|| format!("{name}: {error}"));
                    return Ok(());
                }
            };
            head.newest = head.newest.max(parsed.modified);
            head.withdrawn += u64::from(parsed.is_withdrawn);
            head.advisories += u64::from(!parsed.is_withdrawn);
            if head.advisories > ADVISORIES_MAX {
                return Err(broken(format!("it has more than {ADVISORIES_MAX} advisories")));
            }
            for (key, entry) in parsed.entries {
                let entry = serde_json::to_string(&entry).map_err(|it| broken(it.to_string()))?;
                let line = format!("{key}\t{entry}\n");
                bytes += line.len() as u64;
                if bytes > ADVISORIES_BYTES_MAX - HEAD_BYTES as u64 {
                    let why = format!("it says more than {} MiB", ADVISORIES_BYTES_MAX >> 20);
                    return Err(broken(why));
                }
                lines.push(line);
            }
            Ok(())
        })?;
    }
    if head.advisories + head.withdrawn == 0 {
        let why = first_wrong.unwrap_or_else(|| "it holds none".to_owned());
        return Err(broken(why));
    }
    if head.not_read * WRONG_ONE_IN > head.advisories + head.withdrawn {
        let first = first_wrong.unwrap_or_default();
        return Err(broken(format!("{} of its records are none; {first}", head.not_read)));
    }
    // By the key alone `a` comes before `a/b`, which the tab keeps so.
    lines.sort_unstable();
    lines.dedup();
    head.entries = lines.len() as u64;
    let parts: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    head.digest = Digest::of_parts(&parts);
    let (part, compiled) = (dir.join("compiled.part"), dir.join("compiled"));
    let file = fs::File::create(&part).map_err(system("create", &part))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let written = writer
        .write_all(&head_line(&head))
        .and_then(|()| lines.iter().try_for_each(|line| writer.write_all(line.as_bytes())))
        .and_then(|()| writer.flush())
        .and_then(|()| writer.get_ref().sync_all());
    written.map_err(system("write", &part))?;
    fs::rename(&part, &compiled).map_err(system("replace", &compiled))?;
    let folder = fs::File::open(dir).and_then(|folder| folder.sync_all());
    folder.map_err(system("write", dir))?;
    Ok(head)
}

/// The head, filled up with spaces.
fn head_line(head: &Head) -> Vec<u8> {
    let mut line = serde_json::to_vec(head).unwrap_or_default();
    line.truncate(HEAD_BYTES - 1);
    line.resize(HEAD_BYTES - 1, b' ');
    line.push(b'\n');
    line
}

/// Writes the head of a compiled list again. One write of one page: it is whole or not there.
pub(super) fn write_head_in_place(path: &Path, head: &Head) -> Result<(), AdvisoryError> {
    let file = fs::OpenOptions::new().write(true).open(path);
    let mut file = file.map_err(system("open", path))?;
    file.seek(SeekFrom::Start(0)).map_err(system("write", path))?;
    file.write_all(&head_line(head)).map_err(system("write", path))?;
    file.sync_all().map_err(system("write", path))
}
