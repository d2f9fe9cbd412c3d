//! Reads one layer of an image. Owns what is kept of it: wanted files, what it takes away of lower layers,
//! and which paths it makes something else of. Face: `Layer`, `Layer::read`, `Layer::put_on`. Never keeps a
//! file that tells of no packages.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use sha2::{Digest as _, Sha256};

use super::members::{Budget, MemberKind, inside, read_at_most, walk};
use super::{ArchiveError, Contents};
use crate::base::limits::{IMAGE_FILE_BYTES_MAX, IMAGE_FILES_BYTES_MAX};
use crate::domain::sbom::is_wanted;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
const NOT_FOLLOWED: &str = "it is a link, which is not followed";
const TOO_MANY: &str = "the image has too many such files";

/// What a layer says of the files that are wanted.
#[derive(Debug, Default)]
pub(super) struct Layer {
    files: BTreeMap<String, Vec<u8>>,
    missed: BTreeMap<String, &'static str>,
    /// Further names of files that lie in lower layers, and what these are called.
    links: BTreeMap<String, String>,
    /// Gone, with all below them.
    whiteouts: BTreeSet<String>,
    /// Folders of which nothing of lower layers is left.
    opaque: BTreeSet<String>,
    /// Folders with the name of a wanted file: what lower layers have there is gone.
    folders: BTreeSet<String>,
    /// Digests of the paths of everything that is no folder: what lay there or below it before is gone.
    others: BTreeSet<u64>,
}

impl Layer {
    /// Reads a layer, a tar archive.
    pub(super) fn read(
        archive: &mut dyn Read,
        budget: &mut Budget,
        bytes_left: &mut u64,
    ) -> Result<Self, ArchiveError> {
        let mut layer = Self::default();
        walk(archive, budget, &mut |member, content, _| {
            let path = member.path;
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == OPAQUE {
                layer.opaque.insert(folder.to_owned());
                return Ok(());
            }
            if let Some(gone) = name.strip_prefix(WHITEOUT) {
                if !gone.starts_with(WHITEOUT) && !gone.is_empty() {
                    let slash = if folder.is_empty() { "" } else { "/" };
                    layer.whiteouts.insert(format!("{folder}{slash}{gone}"));
                }
                return Ok(());
            }
            if member.kind == MemberKind::Folder {
                if is_wanted(&path) {
                    layer.folders.insert(path);
                }
                return Ok(());
            }
            layer.others.insert(short_digest(&path));
            if !is_wanted(&path) {
                return Ok(());
            }
            layer.files.remove(&path);
            layer.missed.remove(&path);
            layer.links.remove(&path);
            match member.kind {
                MemberKind::File if member.size > IMAGE_FILE_BYTES_MAX => {
                    layer.missed.insert(path, "it is larger than any such file");
                }
                MemberKind::File if member.size > *bytes_left => {
                    layer.missed.insert(path, TOO_MANY);
                }
                MemberKind::File => {
                    let bytes = read_at_most(content, member.size)?;
                    if (bytes.len() as u64) < member.size {
                        return Err(ArchiveError::Broken("a file has no end".to_owned()));
                    }
                    *bytes_left = bytes_left.saturating_sub(member.size);
                    layer.files.insert(path, bytes);
                }
                MemberKind::HardLink => {
                    let to = inside(&member.link)?;
                    match layer.files.get(&to) {
                        Some(bytes) => match linked(bytes, bytes_left) {
                            Some(bytes) => drop(layer.files.insert(path, bytes)),
                            None => drop(layer.missed.insert(path, TOO_MANY)),
                        },
                        None => drop(layer.links.insert(path, to)),
                    }
                }
                // What `os-release` leads to is wanted itself.
                MemberKind::Other if path == "etc/os-release" => {}
                MemberKind::Other | MemberKind::Folder => {
                    layer.missed.insert(path, NOT_FOLLOWED);
                }
            }
            Ok(())
        })?;
        Ok(layer)
    }

    /// Puts the layer on what lower ones left.
    pub(super) fn put_on(&self, below: &mut Contents, bytes_left: &mut u64) {
        let mut links = BTreeMap::new();
        let mut lost = BTreeMap::new();
        for (path, to) in &self.links {
            // A file of this layer whose name tells of no packages was not kept.
            let is_here = self.others.contains(&short_digest(to));
            match below.files.get(to).filter(|_| !is_here) {
                Some(bytes) => match linked(bytes, bytes_left) {
                    Some(bytes) => drop(links.insert(path.clone(), bytes)),
                    None => drop(lost.insert(path.clone(), TOO_MANY)),
                },
                None => drop(lost.insert(path.clone(), NOT_FOLLOWED)),
            }
        }
        let stays = |path: &str| {
            let is_replaced =
                self.others.contains(&short_digest(path)) || self.folders.contains(path);
            !is_replaced
                && !self.whiteouts.contains(path)
                && !self.opaque.contains("")
                && folders(path).all(|folder| {
                    !self.whiteouts.contains(folder)
                        && !self.opaque.contains(folder)
                        && !self.others.contains(&short_digest(folder))
                })
        };
        below.files.retain(|path, _| stays(path));
        below.missed.retain(|path, _| stays(path));
        let files = self.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone()));
        below.files.extend(files.chain(links));
        below.missed.extend(self.missed.iter().map(|(path, why)| (path.clone(), *why)));
        below.missed.extend(lost);
        below.layers += 1;
    }
}

/// The same content under another name, which counts as much.
fn linked(bytes: &[u8], bytes_left: &mut u64) -> Option<Vec<u8>> {
    *bytes_left = bytes_left.checked_sub(bytes.len() as u64)?;
    Some(bytes.to_vec())
}

/// The most bytes of files that are kept of one image.
pub(super) const BYTES_MAX: u64 = IMAGE_FILES_BYTES_MAX;

/// The folders that a path lies in.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// The paths of a layer are too many to be kept. Two that differ are taken for one once in 10^13 images.
fn short_digest(path: &str) -> u64 {
    let digest = Sha256::digest(path.as_bytes());
    let first: [u8; 8] = digest[..8].try_into().unwrap_or_default();
    u64::from_be_bytes(first)
}
