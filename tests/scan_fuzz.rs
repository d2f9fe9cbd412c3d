//! Damaged images, package databases and lists of advisories through everything that reads them. Seeded, so that
//! what it finds can be found again. Nothing panics, nothing takes long, and what is not read is said.
//! `WHARF_FUZZ_SECONDS` makes it long, `WHARF_FUZZ_SEED` makes it begin elsewhere.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a test says what it tried")]

#[path = "support/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use random::Random;
use wharfinger::domain::advisories::order::{Order, compare};
use wharfinger::domain::advisories::{Entry, entry_keys, parse, vulnerabilities};
use wharfinger::domain::sbom::{Reading, purl};
use wharfinger::world::image_archive::unpack;

/// How long each runs when nobody says otherwise.
const SECONDS: u64 = 2;
/// Longer than any one input may take, on a busy machine.
const SLOW: Duration = Duration::from_secs(10);

/// Files as they are in images.
const FILES: &[(&str, &str)] = &[
    ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
    (
        "var/lib/dpkg/status",
        "Package: a\nStatus: install ok installed\nSource: s (1:2-3)\nVersion: 1.0~rc1-2\n\n",
    ),
    ("lib/apk/db/installed", "P:musl\nV:1.2_git1-r2\no:x\nL:MIT\n\n"),
    ("x.dist-info/METADATA", "Name: A.b\nVersion: 1.0.post1\n\nText\n"),
    ("requirements.txt", "a[b]==1.0 ; c\nd>=2\n"),
    ("poetry.lock", "[[package]]\nname = \"a\"\nversion = \"1\"\n"),
    ("Pipfile.lock", r#"{"default": {"a": {"version": "==1"}}}"#),
    ("n/node_modules/@s/a/package.json", r#"{"name": "@s/a", "version": "1.0.0"}"#),
    ("package-lock.json", r#"{"dependencies": {"a": {"version": "1.0.0", "dependencies": {}}}}"#),
    ("yarn.lock", "\"@s/a@npm:^1\", b@^2:\n  version \"1.0.0\"\n"),
    ("pnpm-lock.yaml", "lockfileVersion: 6\npackages:\n  /@s/a@1.0.0(b@2):\n    x: 1\n"),
    ("Cargo.lock", "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"r\"\n"),
    ("go.mod", "require (\n a v1.0.0\n)\nreplace a => b v2.0.0\n"),
    ("go.sum", "a v1.0.0 h1:x\na v1.0.0/go.mod h1:x\n"),
    ("Gemfile.lock", "GEM\n  specs:\n    a (1.0.0-java)\n"),
    ("composer.lock", r#"{"packages": [{"name": "a/b", "version": "v1.0"}]}"#),
];

const ADVISORY: &str = r#"{"id": "X", "aliases": ["CVE-1"], "modified": "2024-01-01T00:00:00Z",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}],
    "affected": [{"package": {"ecosystem": "Debian:12", "name": "s"}, "versions": ["1"], "ranges":
    [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}, {"limit": "3"}]}]}]}"#;

const VERSIONS: &[&str] = &[
    "1",
    "0",
    "1.0",
    "1:2.3-4",
    "1.0~rc1",
    "1.0.post1.dev2",
    "v1.2.3-a.1+b",
    "1.0_p1-r2",
    "é",
    "",
];

/// Changes some bytes: cut, doubled, replaced, moved.
fn damaged(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(6) {
        if bytes.is_empty() {
            break;
        }
        let (at, to) = (random.below(bytes.len()), random.below(bytes.len()));
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes[at] = random.next().to_le_bytes()[0],
            2 => bytes.swap(at, to),
            3 => {
                let part = bytes[at.min(to)..at.max(to)].to_vec();
                bytes.splice(at..at, part);
                bytes.truncate(64 << 10);
            }
            4 => bytes.insert(at, b"\n\"{}[]@:/()=\x00\xff"[random.below(14)]),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

fn seconds() -> Duration {
    let given = std::env::var("WHARF_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(SECONDS))
}

fn seed() -> u64 {
    let given = std::env::var("WHARF_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(1)
}

/// Calls `each` with one seed after the other until the time is over.
fn fuzz(what: &str, each: impl Fn(&mut Random)) {
    let (start, first) = (Instant::now(), seed());
    let mut tried = 0;
    while start.elapsed() < seconds() {
        let seed = first + tried;
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| each(&mut Random(seed))));
        outcome.unwrap_or_else(|_| panic!("{what}: WHARF_FUZZ_SEED={seed} panics"));
        let took = begun.elapsed();
        assert!(took < SLOW, "{what}: WHARF_FUZZ_SEED={seed} takes {took:?}");
        tried += 1;
    }
    println!("{what}: {tried} inputs");
}

#[test]
fn damaged_files_of_packages_are_read_or_told() {
    fuzz("files of packages", |random| {
        let mut reading = Reading::default();
        for _ in 0..3 {
            let (path, text) = FILES[random.below(FILES.len())];
            reading.file(path, &damaged(random, text.as_bytes()));
        }
        let inventory = reading.done();
        for package in &inventory.packages {
            assert!(!package.name.is_empty() && !package.version.is_empty());
            assert!(purl(package, inventory.os.as_ref()).starts_with("pkg:"));
        }
        assert!(
            !inventory.packages.is_empty() || inventory.os.is_some() || !inventory.notes.is_empty()
        );
    });
}

#[test]
fn damaged_advisories_are_read_or_refused() {
    let mut reading = Reading::default();
    FILES.iter().for_each(|(path, text)| reading.file(path, text.as_bytes()));
    let inventory = reading.done();
    let keys = entry_keys(&inventory);
    fuzz("advisories", |random| {
        let Ok(parsed) = parse(&damaged(random, ADVISORY.as_bytes())) else { return };
        let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (key, entry) in parsed.entries {
            if keys.contains(&key) {
                entries.entry(key).or_default().push(entry);
            }
        }
        vulnerabilities(&inventory, &entries);
    });
}

#[test]
fn any_versions_are_ordered_one_way_or_not_at_all() {
    let orders =
        [Order::Dpkg, Order::Apk, Order::Semver, Order::Pep440, Order::Gem, Order::Composer];
    fuzz("versions", |random| {
        let mut version = || {
            let text = random.of(VERSIONS).to_owned();
            String::from_utf8_lossy(&damaged(random, text.as_bytes())).into_owned()
        };
        let [one, two, three] = [version(), version(), version()];
        for order in orders {
            let there = compare(order, &one, &two);
            assert_eq!(there, compare(order, &two, &one).map(|it| it.reverse()), "{one} {two}");
            let (Some(first), Some(second)) = (there, compare(order, &two, &three)) else {
                continue;
            };
            if first == second {
                let across = compare(order, &one, &three);
                assert_eq!(across, Some(first), "{order:?}: {one:?} {two:?} {three:?}");
            }
        }
    });
}

fn archive() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut saved = tar::Builder::new(Vec::new());
    let append = |to: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        to.append_data(&mut header, path, content).expect("it is appended in memory");
    };
    FILES.iter().for_each(|(path, text)| append(&mut layer, path, text.as_bytes()));
    append(&mut layer, "app/.wh.gone", b"");
    let layer = layer.into_inner().expect("it is ended in memory");
    append(&mut saved, "0/layer.tar", &layer);
    append(&mut saved, "manifest.json", br#"[{"Layers": ["0/layer.tar", "0/layer.tar"]}]"#);
    saved.into_inner().expect("it is ended in memory")
}

#[test]
fn damaged_images_are_read_or_refused() {
    let whole = archive();
    assert!(unpack(&mut &whole[..]).is_ok());
    fuzz("images", |random| {
        let bytes = damaged(random, &whole);
        if let Ok(contents) = unpack(&mut &bytes[..]) {
            assert!(contents.files.values().map(Vec::len).sum::<usize>() <= bytes.len() * 2);
        }
    });
}
