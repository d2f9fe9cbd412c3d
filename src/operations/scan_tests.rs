//! Scans on a host in memory: what is read once, what is matched again, what becomes of findings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::harness::{Agent, Ended, Host, asker};
use super::scans::{AdvisoriesKnown, Scans};
use super::{Operations, Within};
use crate::base::{Digest, Timestamp};
use crate::domain::runs::Outcome;
use crate::store::FindingFilter;
use crate::world::advisories::{Advisories, Head, Source};
use crate::world::docker::EngineErrorKind;

const FILES: &str = "services: {one: {image: 'app:1'}, two: {image: 'app:1'}}";

fn advisory(fixed: &str) -> String {
    format!(
        r#"[{{"id": "DSA-1", "aliases": ["CVE-2024-1"], "database_specific": {{"severity": "HIGH"}},
            "affected": [{{"package": {{"ecosystem": "Debian:12", "name": "openssl"}}, "ranges":
            [{{"type": "ECOSYSTEM", "events": [{{"introduced": "0"}}, {{"fixed": "{fixed}"}}]}}]}}]}},
           {{"id": "DSA-2", "affected": [{{"package": {{"ecosystem": "Debian:12", "name": "bash"}},
            "ranges": [{{"type": "ECOSYSTEM", "events": [{{"introduced": "9"}}]}}]}}]}}]"#
    )
}

struct Bench {
    agent: Agent,
    scans: Scans,
    list: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

async fn bench(host: &mut Host) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.json");
    std::fs::write(&list, advisory("3.0")).unwrap();
    let advisories = Advisories::below(dir.path(), Some(Source::Path(list.clone())));
    let with = Arc::clone(&advisories);
    let agent = host
        .start_with(move |rollout| Operations::on_projects(rollout).and_scans(rollout, &with))
        .await;
    agent.up(FILES).await.assert(Outcome::Succeeded);
    let id = agent.rollout.engine.image("app:1").await.unwrap().unwrap().id;
    let status = b"Package: libssl3\nSource: openssl\nVersion: 2.9\n\nPackage: bash\nVersion: 5\n";
    let files = [
        ("etc/os-release".to_owned(), b"ID=debian\nVERSION_ID=12\n".to_vec()),
        ("var/lib/dpkg/status".to_owned(), status.to_vec()),
    ];
    host.engine.fill_image(&id, vec![BTreeMap::from(files)]);
    let (door, ambient) = (agent.door.clone(), agent.ambient.clone());
    let scans = Scans::new(agent.rollout.clone(), door, advisories, ambient);
    Bench { agent, scans, list, _dir: dir }
}

fn count(ended: &Ended, key: &str) -> u64 {
    let found = ended.run.summary_counts.iter().find(|(known, _)| known.key() == key);
    found.map_or(0, |(_, count)| count)
}

impl Bench {
    async fn scan(&self) -> Ended {
        let admitted = self.scans.scan(None, Vec::new(), &asker()).await.unwrap();
        self.agent.ended(admitted.run().id).await
    }

    async fn found(&self) -> Vec<String> {
        let scan = self.scans.find("app:1").await.unwrap();
        let found = Scans::vulnerabilities(&scan).unwrap();
        found.iter().map(|it| format!("{} {}", it.id, it.package)).collect()
    }

    async fn findings(&self) -> Vec<String> {
        let store = &self.agent.store;
        let filter = FindingFilter::workspace(store.scope().workspace_id);
        let page = store.findings(filter, crate::store::PageRequest::first(50)).await.unwrap();
        let line =
            |it: &crate::domain::findings::Finding| format!("{:?} {}", it.evidence, it.status);
        page.items.iter().map(line).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_is_read_once_and_matched_with_each_list() {
    let mut host = Host::new();
    let bench = bench(&mut host).await;
    let first = bench.scan().await;
    first.assert(Outcome::Succeeded);
    assert_eq!(first.keys().iter().filter(|key| key.starts_with("read_image:")).count(), 1);
    assert_eq!(bench.found().await, ["CVE-2024-1 libssl3"]);
    let listed = bench.scans.list().await.unwrap();
    assert_eq!((listed.len(), listed[0].summary.packages), (1, 2));
    assert_eq!(listed[0].summary.counts["high"], 1);
    let [finding] = &bench.findings().await[..] else { panic!("one finding") };
    assert!(finding.contains("image:app:1") && finding.ends_with("new"), "{finding}");

    host.engine.forbid("save_image");
    let again = bench.scan().await;
    again.assert(Outcome::Succeeded);
    assert_eq!(count(&again, "skipped"), 1);
    std::fs::write(&bench.list, advisory("2.1")).unwrap();
    let matched = bench.scan().await;
    matched.assert(Outcome::Succeeded);
    assert!(bench.found().await.is_empty(), "the new list says that it is fixed");
    let [finding] = &bench.findings().await[..] else { panic!("one finding") };
    assert!(finding.ends_with("resolved"), "{finding}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_is_told_and_changes_nothing() {
    let mut host = Host::new();
    let bench = bench(&mut host).await;
    host.engine.fail_next("save_image", EngineErrorKind::Internal);
    let failed = bench.scan().await;
    failed.assert(Outcome::Failed);
    assert!(bench.scans.find("app:1").await.is_err());
    bench.scan().await.assert(Outcome::Succeeded);
    std::fs::write(&bench.list, "no list").unwrap();
    bench.scan().await.assert(Outcome::PartiallySucceeded);
    assert_eq!(bench.found().await, ["CVE-2024-1 libssl3"], "the last good list stays");
    let missing = bench.scans.scan(None, vec!["nowhere:1".to_owned()], &asker()).await.unwrap();
    bench.agent.ended(missing.run().id).await.assert(Outcome::Failed);
}

#[tokio::test(start_paused = true)]
async fn scans_of_images_that_are_gone_are_forgotten() {
    let mut host = Host::new();
    let bench = bench(&mut host).await;
    bench.scan().await.assert(Outcome::Succeeded);
    for name in ["shop-one-1", "shop-two-1"] {
        host.engine.remove_behind(&name.replace("shop", super::harness::PROJECT));
    }
    bench.agent.rollout.engine.remove_image("app:1").await.unwrap();
    let ended = bench.scan().await;
    assert_eq!(count(&ended, "removed"), 1);
    assert!(bench.scans.list().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_images_that_only_others_run() {
    let mut host = Host::new();
    let bench = bench(&mut host).await;
    bench.scan().await.assert(Outcome::Succeeded);
    let none = crate::domain::access::Reach::Some(Default::default());
    let elsewhere =
        bench.scans.within(Within { reach: none, ..Within::host(bench.agent.store.scope()) });
    assert!(elsewhere.list().await.unwrap().is_empty());
    assert!(elsewhere.find("app:1").await.is_err());
    assert!(elsewhere.scan(None, vec!["app:1".to_owned()], &asker()).await.is_err());
}

#[test]
fn advisories_are_old_when_nobody_looks_and_stale_when_nothing_is_new() {
    let day = |day: u32| -> Timestamp { format!("2026-01-{day:02}T00:00:00Z").parse().unwrap() };
    let head = |checked: u32, newest: Option<u32>| Head {
        form: 1,
        source: "a folder".to_owned(),
        checked_at: day(checked),
        compiled_at: day(1),
        newest: newest.map(day),
        advisories: 1,
        entries: 1,
        withdrawn: 0,
        not_read: 0,
        digest: Digest::zero(),
        mark: String::new(),
    };
    let check = |source: bool, head: Option<Head>, expect: (bool, bool)| {
        let source = source.then(|| "a folder".to_owned());
        let age_max = Duration::from_secs(7 * 24 * 3600);
        let known = AdvisoriesKnown { source, head, now: day(20), age_max };
        assert_eq!((known.is_old(), known.is_stale()), expect, "{known:?}");
    };
    check(true, Some(head(20, Some(20))), (false, false));
    check(true, Some(head(13, Some(13))), (false, false));
    check(true, Some(head(12, Some(12))), (true, true));
    check(true, Some(head(20, Some(12))), (false, true));
    check(true, Some(head(20, None)), (false, false));
    // The clock was set back.
    check(true, Some(head(25, Some(25))), (false, false));
    check(true, None, (true, false));
    check(false, None, (false, false));
}
