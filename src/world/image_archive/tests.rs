use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::*;
use crate::base::limits::{IMAGE_FILE_BYTES_MAX, IMAGE_FILES_BYTES_MAX};
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
fn a_folder_in_the_place_of_a_file_takes_it_away() {
    let lower = || layer(&[("app/go.sum", "g"), (RELEASE, "ID=x")]);
    check(&[lower(), layer(&[("app/go.sum", "<folder>")])], &[(RELEASE, "ID=x")]);
    check(
        &[lower(), layer(&[("app/go.sum/", "<folder>"), ("app/go.sum/go.mod", "m")])],
        &[(RELEASE, "ID=x"), ("app/go.sum/go.mod", "m")],
    );
    // The folder that it lies in takes nothing away.
    check(&[lower(), layer(&[("app/", "<folder>")])], &[("app/go.sum", "g"), (RELEASE, "ID=x")]);
}

#[test]
fn whiteouts_of_all_forms_reach_lower_layers_alone() {
    let lower = || layer(&[("app/go.sum", "g"), ("app/x/go.sum", "h"), (RELEASE, "ID=x")]);
    let without = |upper: &[(&str, &str)], expect: &[(&str, &str)]| {
        check(&[lower(), layer(upper)], expect);
    };
    without(&[(".wh.app", "")], &[(RELEASE, "ID=x")]);
    without(&[(".wh..wh..opq", ""), ("go.sum", "n")], &[("go.sum", "n")]);
    without(&[("./app/.wh.x", "")], &[("app/go.sum", "g"), (RELEASE, "ID=x")]);
    // Order within a layer means nothing: what it has itself stays.
    for upper in [
        [("app/go.sum", "n"), ("app/.wh..wh..opq", "")],
        [("app/.wh..wh..opq", ""), ("app/go.sum", "n")],
        [("app/go.sum", "n"), (".wh.app", "")],
    ] {
        without(&upper, &[("app/go.sum", "n"), (RELEASE, "ID=x")]);
    }
    without(
        &[("app/go.sum", "n"), ("app/.wh.go.sum", "")],
        &[("app/go.sum", "n"), ("app/x/go.sum", "h"), (RELEASE, "ID=x")],
    );
    // Neither what aufs notes for itself nor a name that only looks alike takes anything away.
    let all = [("app/go.sum", "g"), ("app/x/go.sum", "h"), (RELEASE, "ID=x")];
    without(&[(".wh..wh.plnk", "<folder>"), (".wh..wh.aufs", ""), ("app/.wh.", "")], &all);
    without(&[("app/.wh.go", ""), ("app/.wh.go.su", ""), ("ap/.wh.p", "")], &all);
    // What a whiteout took comes back with a later layer, and goes again.
    let layers = [lower(), layer(&[(".wh.app", "")]), lower(), layer(&[("app/.wh.x", "")])];
    check(&layers, &[("app/go.sum", "g"), (RELEASE, "ID=x")]);
    // What could not be had is forgotten with the file.
    let linked = layer(&[("app/go.sum", "<link>")]);
    let contents = unpack(&mut &saved(&[linked, layer(&[("app/.wh.go.sum", "")])])[..]).unwrap();
    assert!(contents.missed.is_empty(), "{:?}", contents.missed);
}

/// A layer with a file and further names of it.
fn hard_linked(file: Option<(&str, &[u8])>, links: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    if let Some((path, content)) = file {
        add(&mut archive, path, tar::EntryType::Regular, content);
    }
    for (path, to) in links {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Link);
        archive.append_link(&mut header, path, to).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn hard_links_have_the_content_of_what_they_name() {
    let own = hard_linked(Some(("app/go.sum", b"g")), &[("x/go.sum", "app/go.sum")]);
    check(&[own], &[("app/go.sum", "g"), ("x/go.sum", "g")]);
    // In a lower layer, as it was before this layer replaced it.
    let lower = layer(&[("app/go.sum", "g")]);
    let upper = hard_linked(None, &[("x/go.sum", "/app/go.sum")]);
    check(&[lower.clone(), upper.clone()], &[("app/go.sum", "g"), ("x/go.sum", "g")]);
    let removed = layer(&[("app/.wh.go.sum", "")]);
    check(&[lower.clone(), upper, removed], &[("x/go.sum", "g")]);
    // A file of that name in this layer is another one; it is no file that is kept.
    let other = hard_linked(Some(("store/1", b"s")), &[("x/go.sum", "store/1")]);
    let contents = unpack(&mut &saved(&[lower, other])[..]).unwrap();
    assert_eq!(contents.missed["x/go.sum"], "it is a link, which is not followed");
}

#[test]
fn hard_links_do_not_multiply_what_is_kept() {
    let large = vec![b'x'; 30 << 20];
    let names: Vec<String> = (0..40).map(|at| format!("{at}/go.sum")).collect();
    let links: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "go.sum")).collect();
    let one = hard_linked(Some(("go.sum", &large)), &links);
    let contents = unpack(&mut &gzipped_image(&[one])[..]).unwrap();
    let kept = |contents: &Contents| contents.files.values().map(Vec::len).sum::<usize>() as u64;
    assert!(kept(&contents) <= IMAGE_FILES_BYTES_MAX, "{}", kept(&contents));
    assert_eq!(contents.missed.len() + contents.files.len(), 41);
    let lower = hard_linked(Some(("go.sum", &large)), &[]);
    let contents = unpack(&mut &gzipped_image(&[lower, hard_linked(None, &links)])[..]).unwrap();
    assert!(kept(&contents) <= IMAGE_FILES_BYTES_MAX, "{}", kept(&contents));
    assert_eq!(contents.missed.len() + contents.files.len(), 41);
}

fn gzipped_image(layers: &[Vec<u8>]) -> Vec<u8> {
    saved(&layers.iter().map(|layer| gzipped(layer)).collect::<Vec<_>>())
}

#[test]
fn a_layer_may_begin_with_a_name_that_looks_like_json() {
    check(
        &[layer(&[("[slug]/go.sum", "g"), (STATUS, "one")])],
        &[("[slug]/go.sum", "g"), (STATUS, "one")],
    );
    check(&[layer(&[("{a}", "x"), (STATUS, "one")])], &[(STATUS, "one")]);
}

#[test]
fn a_lock_file_is_the_uppermost_one() {
    let lock = |version: &str| {
        format!("[[package]]\nname = \"a\"\nversion = \"{version}\"\nsource = \"registry\"\n")
    };
    let (one, two) = (lock("1.0.0"), lock("2.0.0"));
    let layers = [layer(&[("a/Cargo.lock", &one)]), layer(&[("a/Cargo.lock", &two)])];
    let contents = unpack(&mut &saved(&layers)[..]).unwrap();
    let mut reading = crate::domain::sbom::Reading::default();
    contents.files.iter().for_each(|(path, bytes)| reading.file(path, bytes));
    let found = reading.done();
    assert_eq!(found.packages.len(), 1);
    assert_eq!(found.packages[0].version, "2.0.0");
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
    let bytes = Bytes::from(gzipped_image(&[layer(&[(STATUS, "one")])]));
    // However the parts are cut, also through what tells how a layer is compressed.
    for step in [1, 7, 100, 513] {
        let parts = (0..bytes.len())
            .step_by(step)
            .map(|at| Ok(bytes.slice(at..bytes.len().min(at + step))));
        let contents = read(stream::iter(parts.collect::<Vec<_>>()).boxed()).await.unwrap();
        assert_eq!(contents.files[STATUS], b"one", "{step}");
    }
    let failure = EngineError::new(EngineErrorKind::Unreachable, "save image", "gone");
    let parts = stream::iter([Ok(bytes.slice(..600)), Err(failure)]);
    let error = read(parts.boxed()).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Engine(_)), "{error}");
}
