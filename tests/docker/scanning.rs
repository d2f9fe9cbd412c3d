//! Images that an engine built and saved, scanned by a real agent: their packages are those that dpkg knows, their bill
//! of materials is what CycloneDX says, and of two advisories the one is found that is about an installed version.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::references;
use crate::support::agent::{Agent, text};
use crate::support::engine;
use crate::support::project::Project;

const NAME: &str = "wharfscan-app:1";

/// An image with this machine's own package database, without one file that a later layer takes away.
fn build(folder: &Path) {
    std::fs::copy("/var/lib/dpkg/status", folder.join("status")).unwrap();
    std::fs::write(folder.join("os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
    std::fs::write(folder.join("go.sum"), "example.org/gone v1.0.0 h1:x=\n").unwrap();
    let dockerfile = format!(
        "FROM {}\nCOPY status /var/lib/dpkg/status\nCOPY os-release /etc/os-release\n\
         COPY go.sum /app/go.sum\nRUN [\"/bin/busybox\", \"rm\", \"/app/go.sum\"]\n",
        engine::busybox()
    );
    std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    let built = engine::docker(&["build", "-q", "-t", NAME, &folder.display().to_string()]);
    assert!(built.status.success(), "{}", text(&built.stderr));
}

/// What dpkg itself says of the same database.
fn dpkg_packages() -> BTreeSet<(String, String)> {
    let format = "${db:Status-Status}\t${Package}\t${Version}\n";
    let listed = Command::new("dpkg-query").args(["-W", "-f", format]).output().unwrap();
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    let listed = text(&listed.stdout);
    let row = |line: &str| {
        let mut parts = line.split('\t');
        let (state, name, version) = (parts.next()?, parts.next()?, parts.next()?);
        (state == "installed").then(|| (name.to_owned(), version.to_owned()))
    };
    listed.lines().filter_map(row).collect()
}

fn source_of(package: &str) -> (String, String) {
    let format = "${source:Package}\t${source:Version}";
    let asked = Command::new("dpkg-query").args(["-W", "-f", format, package]).output().unwrap();
    let told = text(&asked.stdout);
    let (name, version) = told.split_once('\t').unwrap();
    (name.to_owned(), version.to_owned())
}

#[test]
fn packages_are_those_of_dpkg_and_only_what_is_affected_is_found() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path());
    let (source, version) = source_of("dpkg");
    let advisory = |id: &str, fixed: &str| {
        serde_json::json!({
            "id": id,
            "database_specific": {"severity": "HIGH"},
            "affected": [{
                "package": {"ecosystem": "Debian:12", "name": source},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
            }],
        })
    };
    let later = format!("{version}+later");
    let list =
        serde_json::json!([advisory("TEST-AFFECTED", &later), advisory("TEST-FIXED", &version)]);
    let path = folder.path().join("advisories.json");
    std::fs::write(&path, list.to_string()).unwrap();
    let settings = format!("images:\n  advisories: {}\n", path.display());
    let mut agent = Agent::new(folder.path(), &engine::socket(), &settings);
    agent.start();
    let files =
        format!("services:\n  app: {{image: '{NAME}', init: true, command: [sleep, '3600']}}\n");
    let project = Project::new("wharfscan-shop", &files);
    agent.must(&project, "up", &[]);

    let scanned = agent.wharf(&["images", "scan"]);
    assert!(scanned.status.success(), "{}{}", text(&scanned.stdout), text(&scanned.stderr));
    let found = agent.json(&["images", "vulnerabilities", NAME]);
    let ids: BTreeSet<&str> = found["vulnerabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["TEST-AFFECTED"].into(), "{found}");
    assert_eq!(found["vulnerabilities"][0]["fixed"], later.as_str());
    let fails = agent.wharf(&["images", "vulnerabilities", NAME, "--fail-on", "high"]);
    assert_eq!(fails.status.code(), Some(1));
    let passes = agent.wharf(&["images", "vulnerabilities", NAME, "--fail-on", "critical"]);
    assert!(passes.status.success(), "{}", text(&passes.stderr));

    let document = agent.json(&["images", "sbom", NAME]);
    let listed: BTreeSet<(String, String)> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (it["name"].as_str().unwrap().to_owned(), it["version"].as_str().unwrap().to_owned())
        })
        .collect();
    let expect = dpkg_packages();
    println!("{} packages, as dpkg-query says", expect.len());
    assert_eq!(listed, expect);
    // What others make of the document: CycloneDX's schema, and the spelling of package URLs.
    let checked = references::ask("sbom.py", &[], document.to_string().as_bytes());
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
    println!("{} of them in a valid document", text(&checked.stdout).trim());

    let again = agent.json(&["images", "scan"]);
    assert!(again.to_string().contains("skipped"), "{again}");
    agent.stop();
    engine::remove_project("wharfscan-shop");
    let _ = engine::docker(&["rmi", "-f", NAME]);
}

/// As versions look, and as they do not.
fn version(seed: &mut u64) -> String {
    let mut next = |end: u64| {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % end
    };
    let mut text = if next(4) == 0 { format!("{}:", next(3)) } else { String::new() };
    text.push_str(&next(12).to_string());
    for _ in 0..next(6) {
        text.push_str(
            ["~", "+", ".", "a", "rc", "0", "10", "-", "~~", "deb12u"][next(10) as usize],
        );
    }
    text.push_str(&next(12).to_string());
    text
}

#[test]
fn versions_are_ordered_as_dpkg_orders_them() {
    use wharfinger::domain::advisories::order::{Order, compare};
    const PAIRS: usize = 400;
    let mut seed = 1;
    for _ in 0..PAIRS {
        let (one, two) = (version(&mut seed), version(&mut seed));
        let holds = |relation: &str| {
            let mut dpkg = Command::new("dpkg");
            dpkg.args(["--compare-versions", &one, relation, &two]);
            dpkg.status().unwrap().success()
        };
        let expect = match (holds("lt"), holds("eq")) {
            (true, _) => std::cmp::Ordering::Less,
            (_, true) => std::cmp::Ordering::Equal,
            _ => std::cmp::Ordering::Greater,
        };
        assert_eq!(compare(Order::Dpkg, &one, &two), Some(expect), "{one} {two}");
    }
    println!("{PAIRS} pairs, as dpkg orders them");
}
