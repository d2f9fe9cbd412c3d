//! Finds the layers of a saved image and lays them on one another. Owns the two forms that engines save
//! images in: Docker's (`manifest.json`) and OCI's (`index.json`), plain or compressed. Face: `unpack`.
//! Never goes back in the stream: layers come before what says in which order they lie.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use super::layer::{BYTES_MAX, Layer};
use super::members::{Budget, MemberKind, read_at_most, walk};
use super::zstd::{Frames, is_zstd};
use super::{ArchiveError, Contents};
use crate::base::limits::{IMAGE_ARCHIVE_BYTES_MAX, IMAGE_JSON_BYTES_MAX, IMAGE_LAYERS_MAX};

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What tells how a blob is to be read: the head of a tar archive's first member.
const HEAD_BYTES: u64 = 512;

/// The files of a saved image that tell of packages.
///
/// # Errors
/// When the archive is broken or refused.
pub fn unpack(archive: &mut dyn Read) -> Result<Contents, ArchiveError> {
    let mut saved =
        Saved { bytes_left: BYTES_MAX, unpacked_left: IMAGE_ARCHIVE_BYTES_MAX, ..Saved::default() };
    let mut bounded = archive.take(IMAGE_ARCHIVE_BYTES_MAX);
    let mut budget = Budget::default();
    walk(&mut bounded, &mut budget, &mut |member, content, budget| {
        match member.kind {
            MemberKind::File => saved.take(member.path, content, budget),
            // An image whose layers are equal has links among them, `../ID/layer.tar`.
            MemberKind::Other | MemberKind::HardLink => {
                let link = member.link.trim_start_matches("../").to_owned();
                saved.links.insert(member.path, link);
                Ok(())
            }
            MemberKind::Folder => Ok(()),
        }
    })?;
    saved.lay()
}

#[derive(Default)]
struct Saved {
    layers: BTreeMap<String, Layer>,
    json: BTreeMap<String, Value>,
    links: BTreeMap<String, String>,
    bytes_left: u64,
    unpacked_left: u64,
}

impl Saved {
    /// A blob is known by what it begins with: its name says nothing.
    fn take(
        &mut self,
        path: String,
        content: &mut dyn Read,
        budget: &mut Budget,
    ) -> Result<(), ArchiveError> {
        // Of a stream that comes in parts the first may be of one byte.
        let head = read_at_most(content, HEAD_BYTES)?;
        let mut content = BufReader::with_capacity(64 << 10, head.as_slice().chain(content));
        let is_tar = head.get(257..262) == Some(b"ustar");
        if matches!(head.first(), Some(b'{' | b'[')) && !is_tar {
            let bytes = read_at_most(&mut content, IMAGE_JSON_BYTES_MAX)?;
            if let Ok(value) = serde_json::from_slice(&bytes) {
                self.json.insert(path, value);
            }
            return Ok(());
        }
        // Names of versions and the like.
        let is_layer = path.ends_with(".tar") || path.starts_with("blobs/");
        if !is_layer || head.is_empty() {
            return Ok(());
        }
        if self.layers.len() >= IMAGE_LAYERS_MAX {
            return Err(ArchiveError::Refused(format!(
                "it has more than {IMAGE_LAYERS_MAX} layers"
            )));
        }
        let limit = self.unpacked_left;
        let mut counted = Counted { inner: unpacked(&mut content, &head), left: limit };
        let layer = Layer::read(&mut counted, budget, &mut self.bytes_left)?;
        // Padding after the end belongs to the layer.
        io::copy(&mut counted, &mut io::sink())?;
        self.unpacked_left = counted.left;
        self.layers.insert(path, layer);
        Ok(())
    }

    fn lay(&self) -> Result<Contents, ArchiveError> {
        let order = self.docker_order().or_else(|| self.oci_order());
        let order = order.ok_or_else(|| {
            ArchiveError::Broken("it has neither `manifest.json` nor `index.json`".to_owned())
        })?;
        let mut contents = Contents::default();
        let mut bytes_left = self.bytes_left;
        for path in order.iter().take(IMAGE_LAYERS_MAX) {
            let mut path = path;
            if !self.layers.contains_key(path) {
                path = self.links.get(path).unwrap_or(path);
            }
            let layer = self.layers.get(path).ok_or_else(|| {
                let path: String = path.chars().take(100).collect();
                ArchiveError::Broken(format!("it lacks the layer {path:?}"))
            })?;
            layer.put_on(&mut contents, &mut bytes_left);
        }
        Ok(contents)
    }

    /// The lowest first.
    fn docker_order(&self) -> Option<Vec<String>> {
        let manifest = self.json.get("manifest.json")?.as_array()?.first()?;
        let layers = manifest.get("Layers")?.as_array()?;
        Some(layers.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn oci_order(&self) -> Option<Vec<String>> {
        let mut open = vec![self.json.get("index.json")?];
        let mut looked = 0;
        while let Some(index) = open.pop() {
            looked += 1;
            if looked > IMAGE_LAYERS_MAX {
                return None;
            }
            if let Some(layers) = index.get("layers").and_then(Value::as_array) {
                return layers.iter().map(blob).collect();
            }
            let manifests = index.get("manifests").and_then(Value::as_array);
            let inner = manifests.into_iter().flatten().rev().filter_map(blob);
            open.extend(inner.filter_map(|path| self.json.get(&path)));
        }
        None
    }
}

fn blob(descriptor: &Value) -> Option<String> {
    let (kind, hex) = descriptor.get("digest")?.as_str()?.split_once(':')?;
    Some(format!("blobs/{kind}/{hex}"))
}

fn unpacked<'a>(content: &'a mut (dyn BufRead + 'a), head: &[u8]) -> Box<dyn Read + 'a> {
    if head.starts_with(&GZIP) {
        return Box::new(MultiGzDecoder::new(content));
    }
    if is_zstd(head) {
        return Box::new(Frames::new(content));
    }
    Box::new(content)
}

/// Fails when more comes than may: a small archive may unpack to a very large one.
struct Counted<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.inner.read(into)?;
        self.left = self.left.checked_sub(size as u64).ok_or_else(|| {
            io::Error::other(format!(
                "it unpacks to more than {} GiB",
                IMAGE_ARCHIVE_BYTES_MAX >> 30
            ))
        })?;
        Ok(size)
    }
}
