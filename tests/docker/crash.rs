//! Kills the real agent with SIGKILL at every engine call and every store commit of a deploy of five
//! services, starts it again, and looks at the engine, the runs and the audit log.
//!
//! `WHARF_CRASH_POINTS=all` tries every point (`make soak`); otherwise a spread of them, chosen by a
//! fixed seed and printed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;
use crate::support::project::{FIVE_SERVICES, Project};

/// Points tried by the short form.
const SHORT_FORM: usize = 12;
/// Deploys that run beside each other; each has its own agent and project.
const LANES: usize = 6;

#[test]
fn deploy_converges_after_a_kill_at_any_point() {
    let points = record_points();
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for point in &points {
        *by_name.entry(point).or_default() += 1;
    }
    println!("crash points of one deploy of five services: {}", points.len());
    for (name, count) in &by_name {
        println!("  {count:4} {name}");
    }
    assert!(points.len() > 60, "a deploy of five services has more points than {}", points.len());
    for kind in ["engine.create_container.after", "engine.start_container.before"] {
        assert!(by_name.contains_key(kind), "no point {kind} was recorded");
    }
    assert!(by_name.contains_key("store.commit.before"), "no store commit was recorded");

    let chosen = choose(points.len());
    let next = AtomicUsize::new(0);
    let killed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (next, killed, chosen, points) = (&next, &killed, &chosen, &points);
            scope.spawn(move || {
                while let Some(&at) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let name = points.get(at - 1).map_or("?", String::as_str);
                    if kill_at(lane, at, name) {
                        killed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let killed = killed.load(Ordering::SeqCst);
    println!(
        "kills: {killed} of {} points tried ({} exist); all converged",
        chosen.len(),
        points.len()
    );
    // The number of polls while waiting for health differs from run to run, so that the very last
    // points may lie behind the end of a shorter deploy.
    assert!(killed * 10 >= chosen.len() * 8, "too few kills took place: {killed}");
}

/// Which points to try, from 1.
fn choose(count: usize) -> Vec<usize> {
    if std::env::var("WHARF_CRASH_POINTS").as_deref() == Ok("all") {
        return (1..=count).collect();
    }
    let seed: usize = std::env::var("WHARF_TEST_SEED").map_or(7, |s| s.parse().expect("a number"));
    let stride = count.div_ceil(SHORT_FORM);
    println!("seed {seed}: every {stride}th point; all of them with WHARF_CRASH_POINTS=all");
    (1..=count).filter(|at| at % stride == seed % stride).collect()
}

/// Deploys once without a kill and returns the points it passed, from the agent's start.
fn record_points() -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("points");
    let project = Project::new("wharfcrash-record", FIVE_SERVICES);
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.set_env("WHARF_CRASH_LOG", log.to_str().expect("a path in UTF-8"));
    agent.start();
    agent.must(&project, "up", &[]);
    agent.stop();
    let recorded = std::fs::read_to_string(&log).expect("the agent recorded its points");
    // Each line is a number and a name.
    recorded
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// One kill and what follows. False when the deploy ended before it reached the point.
fn kill_at(lane: usize, at: usize, point: &str) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let project = Project::new(&format!("wharfcrash-{lane}"), FIVE_SERVICES);
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.set_env("WHARF_CRASH_AT", &at.to_string());
    agent.spawn();
    // The kill may come before the socket exists, before the answer, or after it.
    let mut promised = None;
    wait_until("the agent was killed or has deployed", || {
        if agent.exited().is_some() {
            return true;
        }
        let up = agent.on(&project, "up", &["--detach", "--format", "json"]);
        if !up.status.success() {
            return false;
        }
        promised = Some(run_id(&up.stdout));
        true
    });
    let mut was_killed = false;
    if let Some(id) = &promised {
        wait_until("the run ended or the agent was killed", || {
            was_killed = agent.exited().is_some();
            was_killed || outcome_of(&agent, id).is_some()
        });
    } else {
        was_killed = true;
    }
    agent.kill();
    agent.unset_env("WHARF_CRASH_AT");
    agent.start();

    let context = format!("kill {at} at {point}");
    let id = promised.unwrap_or_else(|| {
        run_id(&agent.on(&project, "up", &["--detach", "--format", "json"]).stdout)
    });
    wait_until(&format!("the run ended after {context}"), || outcome_of(&agent, &id).is_some());
    let outcome = outcome_of(&agent, &id).expect("just seen");
    let told = || text(&agent.wharf(&["run", "show", &id]).stdout);
    assert_eq!(outcome, "succeeded", "{context}:\n{}\n{}", agent.log(), told());
    check_engine(&project.name, &context);
    let plan = agent.on(&project, "plan", &[]);
    assert_eq!(plan.status.code(), Some(0), "{context}: {}", text(&plan.stdout));
    check_records(&agent, &id, &context);
    agent.stop();
    was_killed
}

fn run_id(stdout: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(stdout)));
    answer["run"]["id"].as_str().expect("the answer names its run").to_owned()
}

fn outcome_of(agent: &Agent, id: &str) -> Option<String> {
    let output = agent.wharf(&["run", "show", id, "--format", "json"]);
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    (run["run"]["status"] == "completed")
        .then(|| run["run"]["outcome"].as_str().expect("an outcome").to_owned())
}

/// Exactly the five containers, four running and the job ended well; no leftover of a recreate.
fn check_engine(project: &str, context: &str) {
    let ids = engine::containers_of(project);
    assert_eq!(ids.len(), 5, "{context}: {ids:?}");
    let mut seen = BTreeMap::new();
    for id in ids {
        let format = "{{.Name}} {{.State.Status}} {{.State.ExitCode}}";
        let line = engine::docker_text(&["inspect", "-f", format, &id]);
        let mut words = line.split(' ');
        let name = words.next().expect("a name").trim_start_matches('/').to_owned();
        seen.insert(name, words.collect::<Vec<_>>().join(" "));
    }
    for service in ["store", "api", "worker", "web"] {
        let name = format!("{project}-{service}-1");
        assert_eq!(seen.get(&name).map(String::as_str), Some("running 0"), "{context}: {seen:?}");
    }
    let job = format!("{project}-migrate-1");
    assert_eq!(seen.get(&job).map(String::as_str), Some("exited 0"), "{context}: {seen:?}");
}

/// One deploy, completed once; one unbroken audit log.
fn check_records(agent: &Agent, id: &str, context: &str) {
    let runs = agent.json(&["run", "ls", "--type", "deploy_project"]);
    let unfinished: Vec<_> = runs["items"]
        .as_array()
        .expect("a list of runs")
        .iter()
        .filter(|run| run["status"] != "completed")
        .collect();
    assert!(unfinished.is_empty(), "{context}: {unfinished:?}");
    let events = agent.json(&["audit", "ls", "--limit", "500"]);
    let events = events["items"].as_array().expect("a list of events");
    let mut numbers: Vec<u64> =
        events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    numbers.sort_unstable();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "{context}: the audit log has a hole");
    let ends = events
        .iter()
        .filter(|event| event["event_type"] == "deployment.completed")
        .filter(|event| event["operation_run_id"] == id)
        .count();
    assert_eq!(ends, 1, "{context}: the deploy must be completed exactly once");
}
