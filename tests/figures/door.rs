//! Puts the same load on the queue through its door: HTTP over the agent's Unix socket, as a worker
//! in any language does. Owns the agent's inside and its clients. Face: `rates`. Never leaves out
//! what a request costs: identity, JSON, the runner beside it.

#![expect(clippy::disallowed_methods, reason = "its tasks end with the program")]

use std::path::Path;
use std::sync::Arc;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use wharfinger::api::access::Gate;
use wharfinger::api::listen::{self, SocketOptions};
use wharfinger::api::metrics::Metrics;
use wharfinger::api::{self, About, Api};
use wharfinger::base::Ambient;
use wharfinger::domain::policy::PolicySet;
use wharfinger::domain::rollout::HostPathPolicy;
use wharfinger::operations::access::Access;
use wharfinger::operations::alerts::Alerts;
use wharfinger::operations::backups::Backups;
use wharfinger::operations::enforcement::SharedEnforcement;
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
use wharfinger::world::advisories::Advisories;
use wharfinger::world::content_files::FilesInMemory;
use wharfinger::world::contexts::Contexts;
use wharfinger::world::docker::fake::FakeEngine;
use wharfinger::world::runbook_files::Folder;
use wharfinger::world::tasks::Supervisor;

use crate::ours::rate;

const NAME: &str = "bench.door";

/// How often per second so many callers enqueue, claim and complete, each with three requests.
pub async fn rates(
    store: Arc<dyn Store>,
    folder: &Path,
    ambient: &Ambient,
    callers: &[usize],
) -> Vec<(usize, f64)> {
    let http = open(store, folder, ambient);
    let definition = json!({"label": "Measure", "lease_ms": 60_000});
    ask(&http, Method::PUT, &format!("/v1/queue/types/{NAME}"), definition).await;
    let mut rates = Vec::new();
    for &callers in callers {
        let http = &http;
        let act = |caller, number| async move {
            let run = json!({"type": NAME, "payload": {"caller": caller, "number": number}});
            ask(http, Method::POST, "/v1/queue/runs", run).await;
            let claim = json!({"types": [NAME], "worker": "bench", "limit": 1});
            let claimed = ask(http, Method::POST, "/v1/queue/claims", claim).await;
            let items = claimed["items"].as_array().unwrap();
            for item in items {
                let path = format!("{}/complete", item["path"].as_str().unwrap());
                ask(http, Method::POST, &path, json!({})).await;
            }
            items.len() as u64
        };
        rates.push((callers, rate(callers, act).await));
    }
    rates
}

/// Opens the doors of an agent with this store.
fn open(store: Arc<dyn Store>, folder: &Path, ambient: &Ambient) -> Client {
    let keys = Keys::open_or_create(folder, &*ambient.entropy).unwrap();
    let engine = FakeEngine::new(Arc::clone(&ambient.clock));
    let rollout = Rollout {
        engine: engine.clone(),
        store: Arc::clone(&store),
        key: keys.hash_key().clone(),
        files: Arc::new(FilesInMemory::default()),
        contexts: Arc::new(Contexts::open(folder, 1 << 20).unwrap()),
        policies: SharedPolicies::new(PolicySet::default()),
        enforcement: SharedEnforcement::off(),
    };
    let policies = PolicyKeeper::new(
        rollout.policies.clone(),
        Arc::clone(&store),
        ambient.clone(),
        folder,
        Arc::new(|_, _| {}),
    );
    let supervisor = Supervisor::new();
    let runner = Runner::new(
        Arc::clone(&store),
        ambient.clone(),
        Operations::on_projects(&rollout),
        Arc::new(supervisor.clone()),
        RunnerOptions::new("bench"),
    );
    let path = folder.join("wharf.sock");
    let socket = SocketOptions { path: path.clone(), mode: 0o600, group_id: None };
    let listener = listen::bind(&socket).unwrap();
    let contexts = Arc::clone(&rollout.contexts);
    let policy = HostPathPolicy::default();
    let api = Api {
        store: Arc::clone(&store),
        door: runner.door(),
        hosted: runner.hosted(),
        enforcement: wharfinger::operations::enforcement::Enforcement::new(
            rollout.clone(),
            runner.door(),
            ambient.clone(),
        ),
        policies,
        scans: Scans::new(
            rollout.clone(),
            runner.door(),
            Advisories::below(folder, None),
            ambient.clone(),
        ),
        projects: Projects::new(rollout, runner.door(), ambient.clone(), policy),
        schedules: Schedules::new(Arc::clone(&store), runner.door(), ambient.clone()),
        runbooks: Runbooks::new(
            Arc::clone(&store),
            runner.door(),
            ambient.clone(),
            Folder::default(),
        ),
        backups: Backups::new(Arc::clone(&store), ambient.clone()),
        alerts: Alerts::new(Arc::clone(&store), ambient.clone()),
        exec: Exec::new(
            Arc::clone(&store),
            engine.clone(),
            ambient.clone(),
            Arc::new(supervisor.clone()),
            supervisor.stop_token(),
        ),
        registries: Registries::new(Arc::clone(&store), engine.clone(), ambient.clone()),
        findings: Findings::new(Arc::clone(&store), ambient.clone()),
        engine,
        ambient: ambient.clone(),
        metrics: Arc::new(Metrics::new().unwrap()),
        contexts,
        access: Access::new(Arc::clone(&store), ambient.clone()),
        gate: Gate {
            own_uid: rustix::process::geteuid().as_raw(),
            group_id: None,
            group_role: None,
        },
        within: Within::host(store.scope()),
        about: Arc::new(About {
            started_at: ambient.now(),
            state_dir: folder.to_owned(),
            engine_address: "fake".to_owned(),
        }),
        stop: supervisor.stop_token(),
    };
    tokio::spawn(api.hosted.clone().keep());
    tokio::spawn(api::serve(listener, api::Routes::new(), api));
    tokio::spawn(runner.serve());
    Client::builder().unix_socket(path).build().unwrap()
}

async fn ask(http: &Client, method: Method, path: &str, body: Value) -> Value {
    let request = http.request(method, format!("http://wharf{path}")).json(&body);
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}
