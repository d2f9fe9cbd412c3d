//! Saves an image in memory as an engine does. Owns the layers of images. Face: `ImageLayers`, `archive`.
//! Never unpacks one.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use serde_json::json;

/// Layers of an image, the lowest first: content by path. An empty file whose name begins with `.wh.` takes
/// away what lies below it.
pub type ImageLayers = Vec<BTreeMap<String, Vec<u8>>>;

/// What the `COPY` lines of a Dockerfile put into an image, one layer each.
pub(super) fn copied(dockerfile: &str, context: &[u8]) -> ImageLayers {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(context);
    for mut entry in archive.entries().into_iter().flatten().flatten() {
        let path = entry.path().map(|path| path.to_string_lossy().into_owned());
        let mut content = Vec::new();
        if let (Ok(path), Ok(_)) = (path, entry.read_to_end(&mut content)) {
            files.insert(path, content);
        }
    }
    let copies = dockerfile.lines().filter_map(|line| line.trim().strip_prefix("COPY "));
    let layer = |copy: &str| {
        let (from, to) = copy.trim().split_once(' ')?;
        let content = files.get(from)?.clone();
        Some(BTreeMap::from([(to.trim().trim_start_matches('/').to_owned(), content)]))
    };
    copies.filter_map(layer).collect()
}

/// The archive that the engine would send.
pub(super) fn archive(id: &str, layers: &ImageLayers) -> std::io::Result<Bytes> {
    let mut saved = tar::Builder::new(Vec::new());
    let mut names = Vec::new();
    for (number, files) in layers.iter().enumerate() {
        let mut layer = tar::Builder::new(Vec::new());
        for (path, content) in files {
            append(&mut layer, path, content)?;
        }
        let name = format!("{number}/layer.tar");
        append(&mut saved, &name, &layer.into_inner()?)?;
        names.push(name);
    }
    let config = format!("{}.json", id.trim_start_matches("sha256:"));
    let manifest = json!([{ "Config": config, "RepoTags": null, "Layers": names }]);
    append(&mut saved, "manifest.json", manifest.to_string().as_bytes())?;
    Ok(saved.into_inner()?.into())
}

fn append(to: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    to.append_data(&mut header, path, content)
}
