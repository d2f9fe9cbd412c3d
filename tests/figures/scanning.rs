//! `cargo bench --bench scanning`: how long it takes to compile a hundred thousand advisories, and to match an image
//! of seven hundred packages with them: finding what they say of its packages, and judging that. Beside the
//! finding, reading the compiled list from its first byte to its last. Nothing here passes or fails, but what is
//! found has to be what was planted.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use wharfinger::domain::advisories::{entry_keys, vulnerabilities};
use wharfinger::domain::sbom::{Inventory, Reading};
use wharfinger::world::advisories::{Advisories, Source};

const ADVISORIES: usize = 100_000;
const PACKAGES: usize = 700;
/// Source packages that there are advisories about; each has as many.
const NAMES: usize = 5_000;
/// What is called usual for a scan of one image.
const BOUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 11;

/// Half of an image's packages are Debian's, half of them JavaScript's. Those with an even number are not yet
/// fixed: two of `ADVISORIES / NAMES` advisories are about each.
fn inventory() -> Inventory {
    let (mut status, mut lock) = (String::new(), String::from("{\"packages\": {"));
    for number in 0..PACKAGES / 2 {
        let version = if number % 2 == 0 { "1.2.3-1" } else { "1.2.3-1+deb12u9" };
        writeln!(
            status,
            "Package: lib{number}\nStatus: install ok installed\nSource: name{number}\nVersion: {version}\n"
        )
        .unwrap();
        let version = if number % 2 == 0 { "1.2.3" } else { "1.3.0" };
        let comma = if number == 0 { "" } else { "," };
        write!(lock, "{comma}\"node_modules/name{number}\": {{\"version\": \"{version}\"}}")
            .unwrap();
    }
    lock.push_str("}}");
    let mut reading = Reading::default();
    reading.file("etc/os-release", b"ID=debian\nVERSION_ID=12\n");
    reading.file("var/lib/dpkg/status", status.as_bytes());
    reading.file("app/package-lock.json", lock.as_bytes());
    let inventory = reading.done();
    assert_eq!(inventory.packages.len(), PACKAGES);
    inventory
}

/// As public lists have them, a line each: of a name's advisories the last one is about version 1.2.3.
fn list() -> String {
    let mut list = String::new();
    let each = ADVISORIES / NAMES / 2;
    for number in 0..ADVISORIES / 2 {
        let (name, nth) = (number % NAMES, number / NAMES);
        let is_last = nth + 1 == each;
        for (ecosystem, kind, old, fixed) in [
            ("Debian:12", "ECOSYSTEM", "1.0.0-1", "1.2.3-1+deb12u1"),
            ("npm", "SEMVER", "1.0.0", "1.2.4"),
        ] {
            let fixed = if is_last { fixed } else { old };
            let advisory = serde_json::json!({
                "schema_version": "1.6.0", "id": format!("TEST-{ecosystem}-{number}"),
                "modified": "2026-01-01T00:00:00Z", "aliases": [format!("CVE-2026-{ecosystem}-{number}")],
                "summary": "A fault in the handling of what somebody sends",
                "details": "It is described here at the length that such a description usually has. ".repeat(8),
                "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
                "affected": [{
                    "package": {"ecosystem": ecosystem, "name": format!("name{name}")},
                    "ranges": [{"type": kind, "events": [{"introduced": "0"}, {"fixed": fixed}]}],
                    "versions": (0..10).map(|patch| format!("0.9.{patch}")).collect::<Vec<_>>(),
                }],
            });
            writeln!(list, "{advisory}").unwrap();
        }
    }
    list
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("advisories.jsonl");
    fs::write(&source, list()).unwrap();
    let size = fs::metadata(&source).unwrap().len();
    let advisories = Advisories::below(folder.path(), Some(Source::Path(source)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = Instant::now();
    let updated = runtime.block_on(advisories.update("2026-01-02T00:00:00Z".parse().unwrap()));
    let compiled = start.elapsed();
    let head = updated.unwrap().head().clone();
    assert_eq!(head.advisories, ADVISORIES as u64);
    let inventory = inventory();
    let keys = entry_keys(&inventory);
    let list = folder.path().join("advisories/compiled");
    let (mut read, mut found, mut judged) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let bytes = fs::read(&list).unwrap();
        let lines = black_box(bytes.iter().filter(|byte| **byte == b'\n').count());
        read.push(start.elapsed());
        assert_eq!(lines, head.entries as usize + 1);
        let start = Instant::now();
        let (_, entries) = advisories.read_entries(&keys).unwrap();
        found.push(start.elapsed());
        let start = Instant::now();
        let what = vulnerabilities(&inventory, &entries);
        judged.push(start.elapsed());
        // One advisory about each package that is not fixed.
        assert_eq!(what.len(), PACKAGES / 2);
    }
    let (read, found, judged) = (middle(read), middle(found), middle(judged));
    let compiled_size = fs::metadata(&list).unwrap().len();
    println!("{ADVISORIES} advisories ({} MB, compiled {} MB):", size >> 20, compiled_size >> 20);
    println!("  compiling them, once      {}", milliseconds(compiled));
    println!("{PACKAGES} packages matched with them, median of {ROUNDS}:");
    println!("  finding what they say     {}", milliseconds(found));
    println!("  judging the versions      {}", milliseconds(judged));
    println!(
        "  together                  {} of {}",
        milliseconds(found + judged),
        milliseconds(BOUND)
    );
    println!("  reading the list alone    {}", milliseconds(read));
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
