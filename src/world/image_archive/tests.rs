use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::*;
use crate::base::limits::IMAGE_FILE_BYTES_MAX;
use crate::world::docker::EngineErrorKind;

const STATUS: &str = "var/lib/dpkg/status";
const RELEASE: &str = "etc/os-release";

fn add(archive: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    // Past the checks of the library, as somebody hostile would.
    let bytes = path.as_bytes();
    header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let kind = match *content {
            "<folder>" => tar::EntryType::Directory,
            "<link>" => tar::EntryType::Symlink,
            _ => tar::EntryType::Regular,
        };
        let content = if kind == tar::EntryType::Regular { content.as_bytes() } else { b"" };
        add(&mut archive, path, kind, content);
    }
    archive.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As Docker saves it; the manifest comes last.
fn saved(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let names: Vec<String> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    for (name, layer) in names.iter().zip(layers) {
        add(&mut archive, &format!("./{name}"), tar::EntryType::Regular, layer);
    }
    let manifest = json!([{"Config": "c.json", "Layers": names}]).to_string();
    add(&mut archive, "manifest.json", tar::EntryType::Regular, manifest.as_bytes());
    archive.into_inner().unwrap()
}

fn check(layers: &[Vec<u8>], expect: &[(&str, &str)]) {
    let contents = unpack(&mut &saved(layers)[..]).unwrap();
    let expect: BTreeMap<String, Vec<u8>> =
        expect.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    assert_eq!(contents.files, expect);
    assert_eq!(contents.layers, layers.len());
}

#[test]
fn layers_lie_on_one_another_as_a_container_sees_them() {
    let base =
        || layer(&[(STATUS, "one"), (RELEASE, "ID=x"), ("bin/sh", "no"), ("app/go.sum", "g")]);
    check(&[base()], &[(STATUS, "one"), (RELEASE, "ID=x"), ("app/go.sum", "g")]);
    check(
        &[base(), layer(&[(STATUS, "two")])],
        &[(STATUS, "two"), (RELEASE, "ID=x"), ("app/go.sum", "g")],
    );
    check(
        &[base(), layer(&[("var/lib/dpkg/.wh.status", ""), ("app/x", "")])],
        &[(RELEASE, "ID=x"), ("app/go.sum", "g")],
    );
    // A folder that goes takes what lies in it along; what comes in the same layer stays.
    check(
        &[base(), layer(&[("var/.wh.lib", ""), (STATUS, "new")])],
        &[(STATUS, "new"), (RELEASE, "ID=x"), ("app/go.sum", "g")],
    );
    check(
        &[base(), layer(&[("app/.wh..wh..opq", ""), ("app/Cargo.lock", "c")])],
        &[(STATUS, "one"), (RELEASE, "ID=x"), ("app/Cargo.lock", "c")],
    );
    // Something else takes the place of a folder, or of the file.
    check(
        &[base(), layer(&[("app", "<link>"), ("var/lib/dpkg/", "<folder>")])],
        &[(STATUS, "one"), (RELEASE, "ID=x")],
    );
    check(
        &[layer(&[("usr/lib/os-release", "ID=y")]), layer(&[(RELEASE, "<link>")])],
        &[("usr/lib/os-release", "ID=y")],
    );
    // A whiteout does not reach what comes after it.
    check(
        &[layer(&[("app/.wh.go.sum", "")]), base()],
        &[(STATUS, "one"), (RELEASE, "ID=x"), ("app/go.sum", "g")],
    );
}

#[test]
fn compressed_layers_and_the_form_of_oci_are_read() {
    check(&[gzipped(&layer(&[(STATUS, "one")]))], &[(STATUS, "one")]);
    let mut archive = tar::Builder::new(Vec::new());
    let blob = |hex: &str| format!("blobs/sha256/{hex}");
    let mut put = |name: &str, bytes: &[u8]| {
        add(&mut archive, name, tar::EntryType::Regular, bytes);
    };
    put(&blob("01"), &gzipped(&layer(&[(STATUS, "one"), (RELEASE, "ID=x")])));
    put(&blob("02"), &layer(&[(STATUS, "two")]));
    let manifest = json!({"layers": [{"digest": "sha256:01"}, {"digest": "sha256:02"}]});
    put(&blob("03"), manifest.to_string().as_bytes());
    put("oci-layout", b"{}");
    put("index.json", json!({"manifests": [{"digest": "sha256:03"}]}).to_string().as_bytes());
    let contents = unpack(&mut &archive.into_inner().unwrap()[..]).unwrap();
    assert_eq!(contents.files[STATUS], b"two");
    assert_eq!(contents.files[RELEASE], b"ID=x");
}

#[test]
fn hostile_archives_are_refused_and_broken_ones_are_told() {
    let refused = |bytes: &[u8], word: &str| {
        let error = unpack(&mut &bytes[..]).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(&saved(&[layer(&[("../etc/passwd", "x")])]), "leads out");
    refused(&saved(&[layer(&[("app/../../x", "x")])]), "leads out");
    refused(b"", "manifest.json");
    refused(b"no archive at all, of no length that one has", "read");
    let whole = saved(&[layer(&[(STATUS, "one")])]);
    refused(&whole[..700], "");
    let mut archive = tar::Builder::new(Vec::new());
    let manifest = json!([{"Layers": ["gone/layer.tar"]}]).to_string();
    add(&mut archive, "manifest.json", tar::EntryType::Regular, manifest.as_bytes());
    refused(&archive.into_inner().unwrap(), "lacks the layer");
    let mut archive = tar::Builder::new(Vec::new());
    add(&mut archive, "0/layer.tar", tar::EntryType::GNULongName, &vec![b'a'; 20 << 10]);
    refused(&archive.into_inner().unwrap(), "too long");
}

#[test]
fn what_is_too_large_is_missed_and_said() {
    let large = "x".repeat(usize::try_from(IMAGE_FILE_BYTES_MAX).unwrap() + 1);
    let contents = unpack(&mut &saved(&[layer(&[(STATUS, &large), (RELEASE, "ID=x")])])[..]);
    let contents = contents.unwrap();
    assert_eq!(contents.missed[STATUS], "it is larger than any such file");
    assert!(contents.files.contains_key(RELEASE));
}

#[tokio::test]
async fn an_image_comes_in_parts_and_an_engine_that_fails_is_named() {
    let bytes = Bytes::from(saved(&[layer(&[(STATUS, "one")])]));
    let parts =
        (0..bytes.len()).step_by(100).map(|at| Ok(bytes.slice(at..bytes.len().min(at + 100))));
    let contents = read(stream::iter(parts.collect::<Vec<_>>()).boxed()).await.unwrap();
    assert_eq!(contents.files[STATUS], b"one");
    let failure = EngineError::new(EngineErrorKind::Unreachable, "save image", "gone");
    let parts = stream::iter([Ok(bytes.slice(..600)), Err(failure)]);
    let error = read(parts.boxed()).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Engine(_)), "{error}");
}
