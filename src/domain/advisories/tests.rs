use std::collections::BTreeMap;

use super::matching::{Told, affects, order_of};
use super::order::Order;
use super::*;
use crate::domain::alerts::Severity;
use crate::domain::sbom::{Ecosystem, Inventory, Os, Package, Source};

#[test]
fn base_scores_are_those_of_the_specification() {
    let check =
        |vector: &str, expect: Option<u32>| assert_eq!(base_score(vector), expect, "{vector}");
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some(98));
    check("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", Some(75));
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", Some(100));
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some(61));
    check("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", Some(78));
    check("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", Some(16));
    check("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", Some(0));
    check("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N/E:U/RL:O", Some(64));
    check("CVSS:3.1/AV:N/AC:L", None);
    check("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", Some(100));
    check("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", Some(93));
    check("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N", Some(87));
    check("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N", Some(0));
    // Threat and environment are not known to who wrote the advisory: the base counts.
    check("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U/MAV:P", Some(93));
    check("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N", None);
    check("CVSS:4.0/AV:NA/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None);
    check("CVSS:4.0/AV:/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None);
    check("CVSS:4.1/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None);
    check("AV:N/AC:L/Au:N/C:P/I:P/A:P", None);
}

fn range(events: &[(&str, &str)]) -> Affected {
    let event = |(kind, at): &(&str, &str)| match *kind {
        "introduced" => Event::Introduced((*at).to_owned()),
        "fixed" => Event::Fixed((*at).to_owned()),
        "last" => Event::LastAffected((*at).to_owned()),
        _ => Event::Limit((*at).to_owned()),
    };
    let range = Range { events: events.iter().map(event).collect() };
    Affected { versions: Vec::new(), ranges: vec![range] }
}

#[test]
fn a_version_is_affected_between_events_in_any_order() {
    let yes = |fixed: Option<&str>| Told::Yes { fixed: fixed.map(str::to_owned) };
    let check = |events: &[(&str, &str)], version: &str, expect: Told| {
        let told = affects(Order::Semver, version, &range(events));
        assert_eq!(told, expect, "{events:?} {version}");
    };
    let twice =
        [("fixed", "1.2.0"), ("introduced", "0"), ("introduced", "2.0.0"), ("fixed", "2.1.0")];
    check(&twice, "0.1.0", yes(Some("1.2.0")));
    check(&twice, "1.2.0-rc.1", yes(Some("1.2.0")));
    check(&twice, "1.2.0", Told::No);
    check(&twice, "1.9.9", Told::No);
    check(&twice, "2.0.0", yes(Some("2.1.0")));
    check(&twice, "2.1.0", Told::No);
    let last = [("introduced", "1.0.0"), ("last", "1.4.0")];
    check(&last, "0.9.0", Told::No);
    check(&last, "1.4.0", yes(None));
    check(&last, "1.4.1", Told::No);
    let limited = [("introduced", "0"), ("limit", "3.0.0")];
    check(&limited, "2.9.9", yes(None));
    check(&limited, "3.0.0", Told::No);
    check(&[("introduced", "0")], "no version", yes(None));
    check(&[("introduced", "1.0.0")], "no version", Told::Unclear);
    check(&[("introduced", "0"), ("fixed", "not one")], "1.0.0", Told::Unclear);
}

#[test]
fn a_listed_version_is_affected_whatever_the_ranges_say() {
    let mut affected = range(&[("introduced", "2.0.0"), ("fixed", "3.0.0")]);
    affected.versions = vec!["1.0".to_owned()];
    assert_eq!(affects(Order::Pep440, "1.0.0", &affected), Told::Yes { fixed: None });
    assert_eq!(affects(Order::Pep440, "1.1", &affected), Told::No);
}

const DEBIAN: &str = r#"{
    "schema_version": "1.6.0", "id": "DSA-5000-1", "modified": "2024-02-03T04:05:06Z",
    "upstream": ["CVE-2024-1"], "summary": "openssl - security update\nmore",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
    "affected": [
        {"package": {"ecosystem": "Debian:12", "name": "openssl"},
         "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.11-1~deb12u3"}]}]},
        {"package": {"ecosystem": "Debian:11", "name": "openssl"},
         "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]},
        {"package": {"ecosystem": "Maven", "name": "a:b"}, "versions": ["1"]},
        {"package": {"ecosystem": "Debian:12", "name": "git-only"},
         "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}
    ]}"#;

#[test]
fn an_advisory_is_kept_as_far_as_it_is_about_packages_that_are_read() {
    let parsed = parse(DEBIAN.as_bytes()).unwrap();
    let keys: Vec<_> = parsed.entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["Debian:12/openssl", "Debian:11/openssl"]);
    let entry = &parsed.entries[0].1;
    assert_eq!((entry.severity, entry.score), (Some(Severity::High), Some(75)));
    assert_eq!(entry.aliases, ["CVE-2024-1"]);
    assert_eq!(entry.summary, "openssl - security update");
    assert_eq!(parsed.modified.unwrap().to_string(), "2024-02-03T04:05:06Z");
    let withdrawn =
        DEBIAN.replace("\"summary\"", "\"withdrawn\": \"2024-03-01T00:00:00Z\", \"summary\"");
    let withdrawn = parse(withdrawn.as_bytes()).unwrap();
    assert!(withdrawn.is_withdrawn && withdrawn.entries.is_empty());
    assert_eq!(parse(b"{}"), Err(NotRead::NoId));
    assert_eq!(parse(b"[]"), Err(NotRead::NotJson));
    assert_eq!(parse(b"{"), Err(NotRead::NotJson));
    let versions = vec!["1"; crate::base::limits::ADVISORY_ITEMS_MAX + 1];
    let large = serde_json::json!({"id": "X", "affected": [
        {"package": {"ecosystem": "npm", "name": "a"}, "versions": versions}]});
    assert_eq!(parse(large.to_string().as_bytes()), Err(NotRead::TooLarge));
}

#[test]
fn severity_comes_from_a_score_else_from_a_word() {
    let check = |more: &str, expect: Option<Severity>| {
        let text = format!(
            r#"{{"id": "X", "affected": [{{"package": {{"ecosystem": "npm", "name": "a"}},
                "versions": ["1"]}}] {more}}}"#
        );
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.entries[0].1.severity, expect, "{more}");
    };
    check("", None);
    check(r#", "database_specific": {"severity": "MODERATE"}"#, Some(Severity::Medium));
    check(r#", "severity": [{"type": "Ubuntu", "score": "negligible"}]"#, Some(Severity::Info));
    check(
        r#", "severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"},
            {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
           "database_specific": {"severity": "LOW"}"#,
        Some(Severity::Critical),
    );
    check(
        r#", "severity": [{"type": "CVSS_V4", "score":
            "CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}]"#,
        Some(Severity::High),
    );
    check(
        r#", "severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:L"}],
           "database_specific": {"severity": "LOW"}"#,
        Some(Severity::Low),
    );
    check(r#", "severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:L"}]"#, None);
}

fn matched(inventory: &Inventory, advisories: &[&str]) -> Vec<Vulnerability> {
    let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    let wanted = entry_keys(inventory);
    for advisory in advisories {
        for (key, entry) in parse(advisory.as_bytes()).unwrap().entries {
            if wanted.contains(&key) {
                entries.entry(key).or_default().push(entry);
            }
        }
    }
    vulnerabilities(inventory, &entries)
}

fn debian(version: &str, packages: Vec<Package>) -> Inventory {
    let os = Os { id: "debian".into(), version: version.into(), name: "Debian".into() };
    Inventory { os: Some(os), packages, notes: Vec::new() }
}

#[test]
fn a_distributions_package_is_looked_for_by_its_source_and_release() {
    let source = Some(Source { name: "openssl".into(), version: "3.0.11-1~deb12u2".into() });
    let libssl =
        Package { source, ..Package::new(Ecosystem::Debian, "libssl3", "3.0.11-1~deb12u2+b1") };
    let found = matched(&debian("12", vec![libssl.clone()]), &[DEBIAN]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id.as_str(), found[0].package.as_str()), ("CVE-2024-1", "libssl3"));
    assert_eq!(found[0].fixed.as_deref(), Some("3.0.11-1~deb12u3"));
    assert_eq!(found[0].aliases, ["DSA-5000-1"]);
    let fixed = Package {
        source: Some(Source { name: "openssl".into(), version: "3.0.11-1~deb12u3".into() }),
        ..libssl.clone()
    };
    assert!(matched(&debian("12", vec![fixed.clone()]), &[DEBIAN]).is_empty());
    assert_eq!(matched(&debian("11", vec![fixed]), &[DEBIAN])[0].fixed, None);
    assert!(matched(&debian("13", vec![libssl.clone()]), &[DEBIAN]).is_empty());
    let nowhere = Inventory { os: None, packages: vec![libssl], notes: Vec::new() };
    assert!(matched(&nowhere, &[DEBIAN]).is_empty());
}

#[test]
fn releases_of_other_distributions_are_told_apart_too() {
    let check = |id: &str, version: &str, ecosystem: Ecosystem, place: &str, expect: usize| {
        let os = Os { id: id.into(), version: version.into(), name: String::new() };
        let packages = vec![Package::new(ecosystem, "musl", "1.2.3-r0")];
        let inventory = Inventory { os: Some(os), packages, notes: Vec::new() };
        let advisory = format!(
            r#"{{"id": "X", "affected": [{{"package": {{"ecosystem": "{place}", "name": "musl"}},
                "ranges": [{{"type": "ECOSYSTEM", "events": [{{"introduced": "0"}}]}}]}}]}}"#
        );
        assert_eq!(matched(&inventory, &[&advisory]).len(), expect, "{id} {version} {place}");
    };
    check("alpine", "3.19.1", Ecosystem::Alpine, "Alpine:v3.19", 1);
    check("alpine", "3.19.1", Ecosystem::Alpine, "Alpine:v3.18", 0);
    check("wolfi", "20230201", Ecosystem::Alpine, "Wolfi", 1);
    check("ubuntu", "22.04", Ecosystem::Debian, "Ubuntu:22.04:LTS", 1);
    check("ubuntu", "22.04", Ecosystem::Debian, "Ubuntu:Pro:22.04:LTS", 0);
    check("ubuntu", "22.04", Ecosystem::Debian, "Debian:12", 0);
}

#[test]
fn records_about_one_thing_are_one_vulnerability() {
    let of = |id: &str, aliases: &str, fixed: &str, severity: &str| {
        format!(
            r#"{{"id": "{id}", "aliases": [{aliases}], "database_specific": {{"severity": "{severity}"}},
                "affected": [{{"package": {{"ecosystem": "PyPI", "name": "Django_Thing"}},
                "ranges": [{{"type": "ECOSYSTEM", "events": [{{"introduced": "0"}} {fixed}]}}]}}]}}"#
        )
    };
    let (one, two, three, other) = (
        of("PYSEC-1", r#""CVE-2020-1""#, "", "LOW"),
        of("GHSA-1", r#""CVE-2020-1", "CVE-2020-2""#, r#", {"fixed": "2.0"}"#, "HIGH"),
        of("X-3", r#""CVE-2020-2""#, "", "MODERATE"),
        of("GHSA-9", "", "", "CRITICAL"),
    );
    let packages = vec![Package::new(Ecosystem::PyPi, "django-thing", "1.0")];
    let inventory = Inventory { packages, ..Inventory::default() };
    let found = matched(&inventory, &[&one, &three, &other, &two]);
    let ids: Vec<_> = found.iter().map(|it| (it.id.as_str(), it.severity)).collect();
    let expect = [("GHSA-9", Some(Severity::Critical)), ("CVE-2020-1", Some(Severity::High))];
    assert_eq!(ids, expect);
    assert_eq!(found[1].fixed.as_deref(), Some("2.0"));
    assert_eq!(found[1].aliases, ["CVE-2020-2", "GHSA-1", "PYSEC-1", "X-3"]);
}

#[test]
fn a_version_that_nobody_understands_is_told_as_unclear() {
    let advisory = r#"{"id": "X", "affected": [{"package": {"ecosystem": "npm", "name": "a"},
        "ranges": [{"type": "SEMVER", "events": [{"introduced": "1.0.0"}, {"fixed": "2.0.0"}]}]}]}"#;
    let packages = vec![Package::new(Ecosystem::Npm, "a", "next")];
    let found = matched(&Inventory { packages, ..Inventory::default() }, &[advisory]);
    assert!(found[0].is_unclear && found[0].fixed.is_none());
    assert_eq!(order_of(Ecosystem::Npm), Order::Semver);
}
