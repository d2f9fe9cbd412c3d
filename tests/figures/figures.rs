//! `make bench`: our figures beside a bound measured in the same run, as ratios. Nothing here
//! passes or fails: machines are noisy, so look at the ratios.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that cannot go on panics"
)]
#![expect(clippy::print_stdout, reason = "figures are printed")]
#![expect(unreachable_pub, reason = "the modules of a program have no outside")]

#[path = "../docker/support/mod.rs"]
#[expect(dead_code, reason = "the proofs use more of the shared support than the figures do")]
mod support;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use support::agent::Agent;
use support::engine;
use support::project::Project;

/// Deploys and raw sequences that are measured in turn.
const ROUNDS: usize = 3;

fn main() {
    // `cargo test` passes arguments of its own; there is nothing to choose here.
    deploy_against_raw_calls(20);
    plan_time(100);
    idle_footprint(50);
}

fn services(count: usize) -> String {
    let mut text = String::from("services:\n");
    for number in 1..=count {
        let _ = write!(
            text,
            "  s{number:03}:\n    image: @IMAGE@\n    init: true\n    command: [sleep, '3600']\n    \
             environment: {{NUMBER: '{number}'}}\n    mem_limit: 64m\n"
        );
    }
    text
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// `wharf up` against the same network, creates and starts through the engine's API, one by one.
fn deploy_against_raw_calls(count: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let project = Project::new("wharfbench-up", &services(count));
        let start = Instant::now();
        agent.must(&project, "up", &[]);
        ours.push(start.elapsed());
        agent.must(&project, "down", &["--volumes"]);
        raw.push(raw_calls(count));
    }
    let (ours, raw) = (median(ours), median(raw));
    println!(
        "up of {count} services: {ours:.2?}; the sum of the raw engine calls: {raw:.2?}; \
         ratio {:.2} (goal <= 1.2)",
        ours.as_secs_f64() / raw.as_secs_f64()
    );
}

/// The engine's own time for one network and `count` containers, created and started in turn by a
/// client without any logic.
fn raw_calls(count: usize) -> Duration {
    let name = "wharfbench-raw";
    engine::remove_project(name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let label = format!("com.docker.compose.project={name}");
    let body = |number: usize| {
        serde_json::json!({
            "Image": engine::busybox(), "Cmd": ["sleep", "3600"],
            "Env": [format!("NUMBER={number}")],
            "Labels": {"com.docker.compose.project": name},
            "HostConfig": {"Init": true, "Memory": 64 << 20, "NetworkMode": name},
        })
    };
    let client = reqwest::Client::builder().unix_socket(engine::socket()).build();
    let client = client.expect("a client");
    let post = async |path: String, body: serde_json::Value| {
        let answer = client.post(format!("http://engine{path}")).json(&body).send().await;
        let answer = answer.expect("the engine answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.expect("a body")
    };
    let spent = runtime.block_on(async {
        let start = Instant::now();
        let labels = serde_json::json!({"com.docker.compose.project": name});
        let network = serde_json::json!({"Name": name, "Labels": labels});
        post("/networks/create".to_owned(), network).await;
        for number in 1..=count {
            let created =
                post(format!("/containers/create?name={name}-{number}"), body(number)).await;
            let created: serde_json::Value = serde_json::from_str(&created).expect("JSON");
            let id = created["Id"].as_str().expect("an id").to_owned();
            post(format!("/containers/{id}/start"), serde_json::json!({})).await;
        }
        start.elapsed()
    });
    let filter = format!("label={label}");
    let ids = engine::docker_text(&["ps", "-aq", "--filter", &filter]);
    assert_eq!(ids.lines().count(), count, "the raw sequence made what it was to make");
    engine::remove_project(name);
    spent
}

/// Load, lower and plan of a project that is not deployed yet, without the engine's answers.
fn plan_time(count: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let project = Project::new("wharfbench-plan", &services(count));
    let file = project.file();
    let file = file.to_str().expect("a path");
    let (mut load, mut plan, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let start = Instant::now();
        assert!(agent.wharf(&["--version"]).status.success());
        bare.push(start.elapsed());
        let start = Instant::now();
        assert!(agent.wharf(&["compose", "config", "-f", file]).status.success());
        load.push(start.elapsed());
        let start = Instant::now();
        assert_eq!(agent.on(&project, "plan", &[]).status.code(), Some(2));
        plan.push(start.elapsed());
    }
    println!(
        "{count} services: load {:.1?}, load and plan through the agent {:.1?}; \
         of each, starting a process {:.1?}",
        median(load),
        median(plan),
        median(bare)
    );
}

/// Memory and processor time of an agent that has nothing to do but watch `count` containers.
fn idle_footprint(count: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let project = Project::new("wharfbench-idle", &services(count));
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    agent.must(&project, "up", &[]);
    // Settled after a deploy, and settled after a start, are two different footprints.
    let after_deploy = resident_bytes(agent.pid());
    agent.stop();
    agent.start();
    std::thread::sleep(Duration::from_secs(5));
    let ticks = cpu_ticks(agent.pid());
    let watched = Duration::from_secs(20);
    std::thread::sleep(watched);
    let spent = cpu_ticks(agent.pid()) - ticks;
    // Linux counts processor time in hundredths of a second for user space (USER_HZ).
    println!(
        "idle with {count} containers: {:.1} MB resident (goal < 40), {:.1} MB right after the \
         deploy, {:.2} % of one CPU",
        resident_bytes(agent.pid()) as f64 / 1e6,
        after_deploy as f64 / 1e6,
        spent as f64 / watched.as_secs_f64()
    );
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
    let kilobytes: u64 =
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number of kB");
    kilobytes * 1024
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let after_name = stat.rsplit(')').next().expect("fields after the name");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
    // Fields 14 and 15 of proc(5), counted from the third.
    ticks(11) + ticks(12)
}
