//! Walks through a tar archive. Owns long names, and the limits that a hostile archive meets. Face:
//! `Members`. Never holds more of a name than names may have, and never skips what it does not understand
//! of a member's size.

use std::io::{self, Read};

use super::ArchiveError;
use crate::base::limits::{IMAGE_ARCHIVE_ENTRIES_MAX, IMAGE_PATH_BYTES_MAX};

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Folder,
    /// A second name of a file of the same archive.
    HardLink,
    /// A link, a device or a pipe.
    Other,
}

/// A member's head.
#[derive(Debug)]
pub(super) struct Member {
    /// Without `./` or `/` in front, and without `/` at the end; empty for the root.
    pub(super) path: String,
    pub(super) kind: MemberKind,
    pub(super) size: u64,
    /// Where a link leads, as it is written.
    pub(super) link: String,
}

/// How many members may still come, over all archives within one.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(IMAGE_ARCHIVE_ENTRIES_MAX)
    }
}

impl Budget {
    fn take(&mut self) -> Result<(), ArchiveError> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| {
            ArchiveError::Refused(format!("it has more than {IMAGE_ARCHIVE_ENTRIES_MAX} entries"))
        })?;
        Ok(())
    }
}

/// What takes a member and its content.
pub(super) type Each<'a> =
    dyn FnMut(Member, &mut dyn Read, &mut Budget) -> Result<(), ArchiveError> + 'a;

/// Calls `each` with every member and its content.
pub(super) fn walk(
    archive: &mut dyn Read,
    budget: &mut Budget,
    each: &mut Each<'_>,
) -> Result<(), ArchiveError> {
    let mut archive = tar::Archive::new(archive);
    let mut long_name: Option<String> = None;
    let mut long_link: Option<String> = None;
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        budget.take()?;
        let kind = entry.header().entry_type();
        let size = entry.header().entry_size()?;
        match kind {
            tar::EntryType::GNULongName => {
                long_name = Some(text(&mut entry, size)?);
                continue;
            }
            tar::EntryType::GNULongLink => {
                long_link = Some(text(&mut entry, size)?);
                continue;
            }
            tar::EntryType::XHeader => {
                for (key, value) in extensions(&text(&mut entry, size)?) {
                    match key {
                        "path" => long_name = Some(value.to_owned()),
                        "linkpath" => long_link = Some(value.to_owned()),
                        "size" => {
                            let why =
                                "a file of more than 8 GiB, or one of another size than it says";
                            return Err(ArchiveError::Refused(why.to_owned()));
                        }
                        _ => {}
                    }
                }
                continue;
            }
            tar::EntryType::XGlobalHeader => continue,
            tar::EntryType::GNUSparse => {
                return Err(ArchiveError::Refused("it has a sparse file".to_owned()));
            }
            _ => {}
        }
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = long_name.take().unwrap_or_else(|| lossy(&entry.path_bytes()));
        let link = long_link.take();
        let link = link.or_else(|| entry.link_name_bytes().map(|link| lossy(&link)));
        let kind = match kind {
            tar::EntryType::Regular | tar::EntryType::Continuous if path.ends_with('/') => {
                MemberKind::Folder
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => MemberKind::File,
            tar::EntryType::Directory => MemberKind::Folder,
            tar::EntryType::Link => MemberKind::HardLink,
            _ => MemberKind::Other,
        };
        let path = inside(&path)?;
        let member = Member { path, kind, size, link: link.unwrap_or_default() };
        each(member, &mut entry, budget)?;
    }
    Ok(())
}

/// A path below the root, or the archive is refused.
pub(super) fn inside(path: &str) -> Result<String, ArchiveError> {
    if path.len() > IMAGE_PATH_BYTES_MAX {
        return Err(ArchiveError::Refused("a path is too long".to_owned()));
    }
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let parts: Vec<&str> = parts.collect();
    if parts.contains(&"..") || path.contains('\0') {
        let path: String = path.chars().take(100).collect();
        return Err(ArchiveError::Refused(format!("the path {path:?} leads out of it")));
    }
    Ok(parts.join("/"))
}

fn text(from: &mut dyn Read, size: u64) -> Result<String, ArchiveError> {
    let max = IMAGE_PATH_BYTES_MAX as u64 * 4;
    if size > max {
        return Err(ArchiveError::Refused("a name is too long".to_owned()));
    }
    let bytes = read_at_most(from, max)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(text.trim_end_matches('\0').to_owned())
}

/// The whole, which is not larger than so much.
pub(super) fn read_at_most(from: &mut dyn Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `LENGTH key=value` lines.
fn extensions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (length, _) = rest.split_once(' ')?;
        let record = rest.get(..length.parse().ok()?)?;
        rest = rest.get(record.len()..)?;
        let (key, value) = record.get(length.len() + 1..)?.split_once('=')?;
        Some((key, value.trim_end_matches('\n')))
    })
}
