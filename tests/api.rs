//! The API through its real router, over a real socket, on a real store and a pretended engine:
//! applying, following, cancelling, listing, and what is refused.
#![expect(clippy::unwrap_used, reason = "a test's helper fails the test")]
#![expect(clippy::disallowed_methods, reason = "a test ends with its tasks")]

#[path = "api/access.rs"]
mod access;
#[path = "api/exec.rs"]
mod exec;
#[path = "api/fixture.rs"]
mod fixture;
#[path = "api/queue.rs"]
mod queue;
#[path = "api/registries.rs"]
mod registries;
#[path = "api/tls.rs"]
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use wharfinger::api::access::Gate;
use wharfinger::api::listen::{self, SocketOptions};
use wharfinger::api::metrics::Metrics;
use wharfinger::api::{self, About, Api};
use wharfinger::base::crash_points::NoCrashPoints;
use wharfinger::base::limits::QUEUE_CONTROLS_MAX;
use wharfinger::base::{Ambient, Clock as _, Digest};
use wharfinger::domain::access::Allowance;
use wharfinger::domain::compose::dockerignore::{ContextEntry, ContextKind, context_digest};
use wharfinger::domain::compose::{Bundle, BundleFile, Options};
use wharfinger::domain::policy::PolicySet;
use wharfinger::domain::rollout::HostPathPolicy;
use wharfinger::facts::{ImageFacts, ServiceSpec};
use wharfinger::operations::access::Access;
use wharfinger::operations::alerts::Alerts;
use wharfinger::operations::backups::Backups;
use wharfinger::operations::exec::Exec;
use wharfinger::operations::findings::Findings;
use wharfinger::operations::policies::{PolicyKeeper, SharedPolicies};
use wharfinger::operations::projects::Projects;
use wharfinger::operations::registries::Registries;
use wharfinger::operations::rollout::Rollout;
use wharfinger::operations::runbooks::Runbooks;
use wharfinger::operations::scans::Scans;
use wharfinger::operations::schedules::Schedules;
use wharfinger::operations::{Operations, Runner, RunnerOptions, Within};
use wharfinger::store::Store;
use wharfinger::store::keys::Keys;
use wharfinger::store::sqlite::{self, Mode, Opening};
use wharfinger::world::advisories::Advisories;
use wharfinger::world::clock::SystemClock;
use wharfinger::world::content_files::FilesInMemory;
use wharfinger::world::contexts::{self, Contexts};
use wharfinger::world::docker::fake::{Behaviour, FakeEngine};
use wharfinger::world::host::SystemEntropy;
use wharfinger::world::runbook_files::Folder;
use wharfinger::world::tasks::Supervisor;

use fixture::{Fixture, Sent, apply};

const WEB: &str = "services:\n  web: {image: 'web:1', command: [serve]}\n";

#[tokio::test]
async fn applying_is_recorded_followed_and_shown() {
    let agent = Fixture::working().await;
    let run = agent.up(WEB).await;
    let events = agent.events(&run, None, usize::MAX).await;
    let end = events.last().unwrap();
    assert_eq!(
        (end.name.as_str(), &end.data["outcome"]),
        ("end", &json!("succeeded")),
        "{events:?}"
    );

    let detail = agent.get(&format!("/v1/runs/{run}")).await;
    assert_eq!(detail["run"], end.data);
    assert_eq!(detail["attempts"][0]["end"], "completed");
    let steps: Vec<&str> =
        detail["steps"].as_array().unwrap().iter().map(|s| s["status"].as_str().unwrap()).collect();
    assert!(!steps.is_empty() && steps.iter().all(|status| *status == "succeeded"), "{steps:?}");

    let project = agent.get("/v1/projects/shop").await;
    assert_eq!(project["project"]["desired"], "running");
    assert_eq!(project["project"]["deployed_revision_id"], project["project"]["revision_id"]);
    assert_eq!(project["containers"][0]["name"], "shop-web-1");
    assert_eq!(project["containers"][0]["state"], "running");

    let audit = agent.get(&format!("/v1/audit?run={run}")).await;
    let types: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event_type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["deployment.completed", "deployment.started", "operation_run.queued"]);
    let id = audit["items"][2]["id"].as_str().unwrap();
    let event = agent.get(&format!("/v1/audit/{id}")).await;
    assert_eq!(event["actor"]["actor_type"], "human");
    assert_eq!(event["related_link"], format!("/v1/runs/{run}"));

    let plan = agent.post("/v1/projects/shop/plan", apply(WEB), 200).await;
    assert_eq!(plan["has_changes"], false, "{plan}");
}

/// Only what somebody asked for is kept: neither a service that was never brought up nor a change
/// that nobody asked to carry out comes by itself.
#[tokio::test]
async fn a_service_that_nobody_asked_for_does_not_come_by_itself() {
    let agent = Fixture::working().await;
    let two = "services:\n  web: {image: 'web:1', command: [serve]}\n  \
               api: {image: 'web:1', command: [serve]}\n";
    let ids = |containers: &Value| -> Vec<String> {
        let containers = containers.as_array().unwrap().iter();
        containers.map(|found| found["id"].as_str().unwrap().to_owned()).collect()
    };
    let up = async |compose: &str, services: &[&str]| {
        let mut body = apply(compose);
        body["options"] = json!({ "services": services });
        let answer = agent.post("/v1/projects/shop/up", body, 202).await;
        agent.events(answer["run"]["id"].as_str().unwrap(), None, usize::MAX).await;
    };
    // What the agent does on its own, it does after a pause too.
    let converge = async || {
        agent.post("/v1/projects/shop/pause", json!({}), 200).await;
        agent.post("/v1/projects/shop/resume", json!({}), 200).await;
        let runs = agent.get("/v1/runs").await;
        agent.events(runs["items"][0]["id"].as_str().unwrap(), None, usize::MAX).await;
        agent.get("/v1/projects/shop").await["containers"].clone()
    };
    up(two, &["web"]).await;
    let found = converge().await;
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["name"], "shop-web-1");

    up(two, &[]).await;
    let both = ids(&converge().await);
    assert_eq!(both.len(), 2);
    // The change of `api` is not asked for, and `web` is kept as before.
    let changed = two.replace(
        "api: {image: 'web:1', command: [serve]",
        "api: {image: 'web:1', command: [other]",
    );
    up(&changed, &["web"]).await;
    assert_eq!(ids(&converge().await), both);
    up(&changed, &[]).await;
    let all = ids(&converge().await);
    assert_eq!(all.iter().filter(|id| both.contains(id)).count(), 1, "{all:?} after {both:?}");
}

#[tokio::test]
async fn a_service_that_is_not_declared_is_refused_before_anything_is_kept() {
    let agent = Fixture::working().await;
    let mut body = apply(WEB);
    body["options"] = json!({ "services": ["wep"] });
    for verb in ["plan", "up"] {
        let problem = agent.post(&format!("/v1/projects/shop/{verb}"), body.clone(), 422).await;
        assert_eq!(problem["code"], "invalid_project");
        assert!(problem["detail"].as_str().unwrap().contains("wep"), "{problem}");
    }
    assert_eq!(agent.get("/v1/projects").await["items"], json!([]));
    assert_eq!(agent.get("/v1/runs").await["items"], json!([]));
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was() {
    let agent = Fixture::working().await;
    let run = agent.up(WEB).await;
    let all = agent.events(&run, None, usize::MAX).await;
    let kept: Vec<&Sent> = all.iter().filter(|event| event.name == "step").collect();
    // The last thing seen of a finished run: only the end is left to tell.
    let last = kept.last().unwrap().id.as_deref().unwrap();
    let rest = agent.events(&run, Some(last), usize::MAX).await;
    assert_eq!(rest.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["end"]);
    let (status, problem) = {
        let request = agent.http.get(format!("http://wharf/v1/runs/{run}/events"));
        let response = request.header("last-event-id", "nonsense").send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("bad_request")));
}

#[tokio::test]
async fn asking_twice_gives_one_run_and_a_queued_one_is_cancelled_at_once() {
    let agent = Fixture::new().await;
    let first = agent.post("/v1/projects/shop/up", apply(WEB), 202).await;
    let second = agent.post("/v1/projects/shop/up", apply(WEB), 202).await;
    assert_eq!((&first["is_new"], &second["is_new"]), (&json!(true), &json!(false)));
    assert_eq!(first["run"]["id"], second["run"]["id"]);

    let path = format!("/v1/runs/{}/cancel", first["run"]["id"].as_str().unwrap());
    let run = agent.post(&path, json!({}), 202).await;
    assert_eq!((&run["status"], &run["outcome"]), (&json!("completed"), &json!("cancelled")));
    let problem = agent.post(&path, json!({}), 409).await;
    assert_eq!(problem["code"], "conflict");
    assert_eq!(agent.engine.writes(), [], "nothing was begun");
}

#[tokio::test]
async fn a_plan_writes_nothing_and_tells_why() {
    let agent = Fixture::working().await;
    let plan = agent.post("/v1/projects/shop/plan", apply(WEB), 200).await;
    assert_eq!(plan["has_changes"], true);
    let causes: Vec<&str> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["cause"]["code"].as_str().unwrap())
        .collect();
    assert_eq!(causes, ["missing", "missing", "never_started"], "{plan}");
    assert_eq!(agent.engine.writes(), []);
    assert_eq!(agent.get("/v1/projects").await["items"], json!([]));
    assert_eq!(agent.get("/v1/runs").await["items"], json!([]));
}

#[tokio::test]
async fn what_is_wrong_with_files_has_its_place() {
    let agent = Fixture::working().await;
    let wrong = "services:\n  web:\n    imag: x\n";
    for verb in ["plan", "up"] {
        let path = format!("/v1/projects/shop/{verb}");
        let problem = agent.post(&path, apply(wrong), 422).await;
        assert_eq!(problem["code"], "invalid_project");
        let found = &problem["diagnostics"][0];
        assert_eq!((&found["line"], &found["column"]), (&json!(3), &json!(5)), "{problem}");
        assert!(found["text"].as_str().unwrap().contains("image"), "{problem}");
    }
    let problem = agent.post("/v1/projects/other/up", apply(WEB), 422).await;
    assert!(problem["detail"].as_str().unwrap().contains("\"shop\", not \"other\""), "{problem}");
    assert_eq!(agent.get("/v1/runs").await["items"], json!([]), "a refusal made a run");
}

#[tokio::test]
async fn an_image_that_is_not_there_fails_the_run_and_is_named() {
    let agent = Fixture::working().await;
    let absent = "services:\n  web: {image: 'absent:1', pull_policy: never}\n";
    let run = agent.up(absent).await;
    let events = agent.events(&run, None, usize::MAX).await;
    let end = &events.last().unwrap().data;
    assert_eq!(end["outcome"], "failed", "{end}");
    assert!(end["failure_summary"].to_string().contains("absent:1"), "{end}");
}

#[tokio::test]
async fn lists_go_on_where_they_ended() {
    let agent = Fixture::working().await;
    for command in ["one", "two", "three"] {
        let run = agent.up(&WEB.replace("serve", command)).await;
        agent.events(&run, None, usize::MAX).await;
    }
    let whole = agent.get("/v1/runs?project=shop&outcome=succeeded").await;
    let mut parts = Vec::new();
    let mut after = String::new();
    loop {
        let part = agent.get(&format!("/v1/runs?limit=2{after}")).await;
        parts.extend(part["items"].as_array().unwrap().clone());
        let Some(next) = part["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(parts.len(), 3);
    assert_eq!(Value::Array(parts), whole["items"]);
    let none = agent.get("/v1/runs?type=restart_project").await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_done_makes_no_run() {
    let agent = Fixture::working().await;
    let run = agent.up(WEB).await;
    agent.events(&run, None, usize::MAX).await;
    let before = agent.get("/v1/runs").await;
    let nosuch = Some(json!({"services": ["nosuch"]}));
    let (status, problem) = agent.ask(Method::POST, "/v1/projects/shop/restart", nosuch).await;
    assert!(status.is_client_error(), "{problem}");
    assert!(problem.to_string().contains("nosuch"), "{problem}");
    let (status, problem) = agent.ask(Method::POST, "/v1/projects/NOTVALID/down", None).await;
    assert!(status.is_client_error(), "{problem}");
    assert_eq!(problem["detail"], "`NOTVALID` is not a project name");
    assert_eq!(agent.get("/v1/runs").await, before);
}

#[tokio::test]
async fn pausing_restarting_and_removing_are_recorded() {
    let agent = Fixture::working().await;
    let run = agent.up(WEB).await;
    agent.events(&run, None, usize::MAX).await;
    let project = agent.post("/v1/projects/shop/pause", json!({}), 200).await;
    assert_eq!(project["desired"], "paused");
    let project = agent.post("/v1/projects/shop/resume", json!({}), 200).await;
    assert_eq!(project["desired"], "running");
    for (verb, body) in [("restart", json!({"services": ["web"]})), ("down", json!({}))] {
        let accepted = agent.post(&format!("/v1/projects/shop/{verb}"), body, 202).await;
        let run = accepted["run"]["id"].as_str().unwrap();
        let events = agent.events(run, None, usize::MAX).await;
        assert_eq!(events.last().unwrap().data["outcome"], "succeeded", "{verb}: {events:?}");
    }
    let (status, _) = agent.ask(Method::GET, "/v1/projects/shop", None).await;
    assert_eq!(status, 404, "the project is gone");
    for verb in ["pause", "resume", "restart"] {
        let problem = agent.post(&format!("/v1/projects/shop/{verb}"), json!({}), 404).await;
        assert_eq!(problem["code"], "not_found", "{verb}");
    }
    let audit = agent.get("/v1/audit?target_type=project&target_id=shop&limit=500").await;
    let types = audit["items"].to_string();
    for event_type in ["project.applied", "project.paused", "project.resumed", "project.removed"] {
        assert!(types.contains(event_type), "{event_type}: {types}");
    }
}

#[tokio::test]
async fn an_engine_that_is_away_is_said() {
    let agent = Fixture::working().await;
    agent.engine.set_unreachable(true);
    let problem = agent.post("/v1/projects/shop/plan", apply(WEB), 502).await;
    assert_eq!(problem["code"], "engine");
    let (status, ready) = agent.ask(Method::GET, "/readyz", None).await;
    assert_eq!((status.as_u16(), &ready["ready"]), (503, &json!(false)));
    agent.engine.set_unreachable(false);
    assert_eq!(agent.get("/readyz").await["ready"], true);
}

#[tokio::test]
async fn build_contexts_are_checked_and_asked_for() {
    let agent = Fixture::new().await;
    let digest = "ab".repeat(32);
    let wanted = agent.post("/v1/contexts/wanted", json!({ "digests": [digest] }), 200).await;
    assert_eq!(wanted["missing"], json!([digest]));
    let request = agent.http.put(format!("http://wharf/v1/contexts/{digest}"));
    let archive = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let response = request.body(archive).send().await.unwrap();
    assert_eq!(response.status(), 422, "an archive under a wrong name");
    let missing = "services:\n  web: {build: {context: /project}}\n";
    let mut body = apply(missing);
    body["bundle"]["build_contexts"] = json!([
        {"service": "web", "path": "/project", "dockerfile": "Dockerfile", "digest": digest}
    ]);
    let problem = agent.post("/v1/projects/shop/up", body, 409).await;
    assert_eq!(problem["code"], "contexts_missing");
    assert_eq!(problem["missing_contexts"], json!([digest]));
    assert!(!agent.dir.path().join(format!("contexts/{digest}.tar")).exists());
}

/// An archive comes in part by part, and what breaks off or is too large leaves nothing behind.
#[tokio::test]
async fn a_context_comes_in_part_by_part() {
    let agent = Fixture::new().await;
    let dir = agent.dir.path().join("contexts");
    let files = || -> Vec<String> {
        let files = std::fs::read_dir(&dir).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    let put = |digest: &str, parts: Vec<Result<Vec<u8>, std::io::Error>>| {
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
        agent.http.put(format!("http://wharf/v1/contexts/{digest}")).body(body).send()
    };
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("data"), vec![b'x'; 300_000]).unwrap();
    let entry = ContextEntry {
        path: "data".to_owned(),
        mode: 0o644,
        kind: ContextKind::File(Digest::of(&vec![b'x'; 300_000])),
    };
    let archive = contexts::pack(root.path(), std::slice::from_ref(&entry)).unwrap();
    let digest = context_digest(&[entry]).to_string();

    let parts: Vec<_> = archive.chunks(10_000).map(|part| Ok(part.to_vec())).collect();
    assert_eq!(put(&digest, parts).await.unwrap().status(), 204);
    assert_eq!(files(), [format!("{digest}.tar")]);
    assert_eq!(std::fs::read(dir.join(format!("{digest}.tar"))).unwrap(), archive);

    let broken = vec![Ok(vec![0; 10_000]), Err(std::io::Error::other("cut off"))];
    assert!(put(&"cd".repeat(32), broken).await.is_err());
    // The first part again and again is no archive.
    let large = (0..40).map(|_| Ok(archive[..30_000].to_vec())).collect();
    let refused = put(&"ef".repeat(32), large).await.unwrap();
    assert_eq!(refused.status(), 422, "no archive: {refused:?}");
    let patience = tokio::time::timeout(Duration::from_secs(10), async {
        while files().len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    patience.await.expect("what was not kept goes");
}

#[tokio::test]
async fn output_is_read_line_by_line() {
    let agent = Fixture::working().await;
    let output = vec![(false, "hello".to_owned()), (true, "oh".to_owned())];
    agent.engine.behave("shop-web-1", Behaviour { output, ..Behaviour::default() });
    let run = agent.up(WEB).await;
    agent.events(&run, None, usize::MAX).await;
    let url = "http://wharf/v1/projects/shop/logs";
    let text = agent.http.get(url).send().await.unwrap().text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|line| (&line["stream"], &line["text"])).collect();
    assert_eq!(told, [(&json!("stdout"), &json!("hello")), (&json!("stderr"), &json!("oh"))]);
    assert_eq!(lines[0]["container"], "shop-web-1");

    // A follower goes on until the agent stops.
    let mut stream =
        agent.http.get(format!("{url}?follow=true")).send().await.unwrap().bytes_stream();
    assert!(stream.next().await.is_some());
    agent.supervisor.stop_token().cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        while stream.next().await.is_some() {}
    });
    ended.await.unwrap();
}

#[tokio::test]
async fn series_count_what_runs() {
    let agent = Fixture::working().await;
    let run = agent.up(WEB).await;
    agent.events(&run, None, usize::MAX).await;
    let url = "http://wharf/metrics";
    let text = agent.http.get(url).send().await.unwrap().text().await.unwrap();
    for line in [
        "wharf_store_up 1",
        "wharf_runs{status=\"queued\"} 0",
        "wharf_oldest_run_age_seconds{status=\"running\"} 0",
        "wharf_engine_up 1",
        "wharf_projects{desired=\"running\"} 1",
        "wharf_containers{health=\"none\",project=\"shop\",state=\"running\"} 1",
        "wharf_api_requests_total{method=\"POST\",status=\"202\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_schedule_is_made_shown_run_paused_and_removed() {
    let fixture = Fixture::working().await;
    fixture.up(WEB).await;
    let path = "/v1/schedules/nightly";
    let (status, problem) = fixture.ask(Method::GET, path, None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &"not_found".into()));
    let never =
        json!({"cron": "0 0 31 2 *", "task": {"type": "restart_project", "project": "shop"}});
    let (status, problem) = fixture.ask(Method::PUT, path, Some(never)).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("never fires"), "{problem}");
    let put = json!({
        "cron": "30 3 * * *", "time_zone": "Europe/Berlin",
        "task": {"type": "restart_project", "project": "shop"}, "overlap": "queue",
    });
    let (status, made) = fixture.ask(Method::PUT, path, Some(put)).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!((&made["name"], &made["cron"]), (&"nightly".into(), &"30 3 * * *".into()));
    assert!(made["next"]["local"].as_str().unwrap().contains(" 03:30 CE"), "{made}");
    let listed = fixture.get("/v1/schedules").await;
    assert_eq!(listed["items"][0], fixture.get(path).await);
    let next = fixture.get("/v1/schedules/nightly/next?count=3").await;
    assert_eq!(next["items"].as_array().unwrap().len(), 3);
    let accepted = fixture.post("/v1/schedules/nightly/run", json!({}), 202).await;
    assert_eq!(accepted["run"]["type"], "restart_project");
    let paused = fixture.post("/v1/schedules/nightly/pause", json!({}), 200).await;
    assert_eq!((&paused["is_paused"], &paused["next"]), (&true.into(), &Value::Null));
    let resumed = fixture.post("/v1/schedules/nightly/resume", json!({}), 200).await;
    assert_eq!(resumed["is_paused"], false);
    let (status, _) = fixture.ask(Method::DELETE, path, None).await;
    assert_eq!(status, 204);
    assert_eq!(fixture.get("/v1/schedules").await["items"], json!([]));
    let audit = fixture.get("/v1/audit?event_type=schedule.removed").await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");
}

#[tokio::test]
async fn alerts_take_secrets_and_never_show_them() {
    let fixture = Fixture::new().await;
    let rule = json!({"event": "operations.run.*", "receivers": ["ops"]});
    let path = "/v1/alerts/rules/all";
    let (status, _) = fixture.ask(Method::PUT, path, Some(rule.clone())).await;
    assert_eq!(status, 404, "its receiver is not there");
    let receiver = json!({
        "url": "https://hooks.example.org/SECRET-1", "headers": {"x-token": "SECRET-2"},
        "signing_key": "SECRET-3-SECRET-3",
    });
    let ops = "/v1/alerts/receivers/ops";
    let (status, made) = fixture.ask(Method::PUT, ops, Some(receiver)).await;
    assert_eq!(status, 200, "{made}");
    let (status, _) = fixture.ask(Method::PUT, path, Some(rule)).await;
    assert_eq!(status, 200);
    let (status, problem) = fixture.ask(Method::DELETE, ops, None).await;
    assert_eq!(status, 409, "{problem}");
    let sent = fixture.post("/v1/alerts/receivers/ops/test", json!({}), 202).await;
    assert_eq!((&sent["event"], &sent["status"]), (&"alerts.test".into(), &"pending".into()));
    let id = sent["id"].as_str().unwrap();
    assert_eq!(fixture.get(&format!("/v1/alerts/deliveries/{id}")).await["receiver"], "ops");
    fixture.post(&format!("/v1/alerts/deliveries/{id}/retry"), json!({}), 202).await;
    let shown = [
        fixture.get("/v1/alerts/receivers").await,
        fixture.get("/v1/alerts/rules").await,
        fixture.get("/v1/alerts/deliveries?receiver=ops&status=pending").await,
        fixture.get("/v1/audit").await,
    ];
    assert_eq!(shown[0]["items"][0]["target"], "https://hooks.example.org");
    assert_eq!(shown[1]["items"][0]["receivers"], json!(["ops"]));
    assert_eq!(shown[2]["items"].as_array().unwrap().len(), 1);
    assert!(shown.iter().all(|body| !body.to_string().contains("SECRET")), "{shown:?}");
}
