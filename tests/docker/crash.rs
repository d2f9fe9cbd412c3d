//! Kills the real agent with SIGKILL at every engine call and every store commit of a deploy, starts
//! it again, and looks at the engine, the runs and the audit log. Five services come up for the first
//! time; and containers make way for their successors, beside them and in turn, and are changed in
//! place.
//!
//! `WHARF_CRASH_POINTS=all` tries every point (`make soak`); otherwise a spread of them, chosen by a
//! fixed seed and printed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;
use crate::support::project::{FIVE_SERVICES, Project};

/// Points tried by the short form.
const SHORT_FORM: usize = 12;
/// Deploys that run beside each other; each has its own agent and project.
const LANES: usize = 6;

/// What is deployed while the agent is killed.
struct Deploy {
    /// Of the projects' names.
    name: &'static str,
    /// What runs already.
    before: Option<String>,
    compose: String,
    /// What the containers are in the end, without the projects' names.
    containers: &'static [(&'static str, &'static str)],
    /// Points that must be among those that are passed.
    passes: &'static [&'static str],
}

#[test]
fn deploy_converges_after_a_kill_at_any_point() {
    converges(&Deploy {
        name: "wharfcrash",
        before: None,
        compose: FIVE_SERVICES.to_owned(),
        containers: &[
            ("api-1", "running 0"),
            ("migrate-1", "exited 0"),
            ("store-1", "running 0"),
            ("web-1", "running 0"),
            ("worker-1", "running 0"),
        ],
        passes: &["engine.create_container.after", "engine.start_container.before"],
    });
}

/// One that is replaced beside its successor, one in turn, and one whose memory is changed.
const SUCCESSION: &str = r#"
services:
  beside:
    image: @IMAGE@
    init: true
    command: [sh, -c, "touch /tmp/ready; exec sleep 3600"]
    environment: {VERSION: one}
    healthcheck: {test: [CMD, test, -f, /tmp/ready], interval: 300ms, timeout: 5s, retries: 10}
    deploy: {replicas: 2, update_config: {order: start-first}}
  inturn:
    image: @IMAGE@
    init: true
    command: [sleep, "3600"]
    environment: {VERSION: one}
    volumes: ["data:/data", /scratch]
    deploy: {update_config: {order: stop-first, monitor: 100ms}}
  inplace:
    image: @IMAGE@
    init: true
    command: [sleep, "3600"]
    mem_limit: 64m
volumes: {data: {}}
"#;

#[test]
fn a_succession_converges_after_a_kill_at_any_point() {
    let next = SUCCESSION.replace("VERSION: one", "VERSION: two").replace("64m", "96m");
    converges(&Deploy {
        name: "wharfcrown",
        before: Some(SUCCESSION.to_owned()),
        compose: next,
        containers: &[
            ("beside-1", "running 0"),
            ("beside-2", "running 0"),
            ("inplace-1", "running 0"),
            ("inturn-1", "running 0"),
        ],
        passes: &[
            "engine.create_container.after",
            "engine.rename_container.after",
            "engine.stop_container.after",
            "engine.update_container.after",
            "engine.remove_container.after",
        ],
    });
}

fn converges(deploy: &Deploy) {
    let points = deploy.record_points();
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for point in &points {
        *by_name.entry(point).or_default() += 1;
    }
    println!("crash points of one deploy of {}: {}", deploy.name, points.len());
    for (name, count) in &by_name {
        println!("  {count:4} {name}");
    }
    assert!(points.len() > 60, "a deploy has more points than {}", points.len());
    for kind in deploy.passes {
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
                    if deploy.kill_at(lane, at, name) {
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

impl Deploy {
    /// Deploys once without a kill and returns the points it passed, from the agent's start.
    fn record_points(&self) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("points");
        let (project, mut agent) = self.prepare("record", folder.path());
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
    fn kill_at(&self, lane: usize, at: usize, point: &str) -> bool {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (project, mut agent) = self.prepare(&lane.to_string(), folder.path());
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
        self.check_engine(&project.name, &context);
        let plan = agent.on(&project, "plan", &[]);
        assert_eq!(plan.status.code(), Some(0), "{context}: {}", text(&plan.stdout));
        check_records(&agent, &id, &context);
        agent.stop();
        was_killed
    }

    /// A project with what runs already, and its agent, which does not run.
    fn prepare(&self, lane: &str, folder: &Path) -> (Project, Agent) {
        let first = self.before.as_deref().unwrap_or(&self.compose);
        let project = Project::new(&format!("{}-{lane}", self.name), first);
        let mut agent = Agent::new(folder, &engine::socket(), "");
        if self.before.is_some() {
            agent.start();
            agent.must(&project, "up", &[]);
            agent.stop();
            project.write("compose.yaml", &self.compose);
        }
        (project, agent)
    }

    /// Exactly the containers that are declared, in the state that they should have; no leftover.
    fn check_engine(&self, project: &str, context: &str) {
        let look = |id: String| {
            let format = "{{.Name}} {{.State.Status}} {{.State.ExitCode}}";
            let line = engine::docker_text(&["inspect", "-f", format, &id]);
            let (name, state) = line.split_once(' ').expect("a name and a state");
            (name.trim_start_matches('/').to_owned(), state.to_owned())
        };
        let found: BTreeMap<_, _> = engine::containers_of(project).into_iter().map(look).collect();
        let wanted = self.containers.iter();
        let wanted = wanted.map(|(name, state)| (format!("{project}-{name}"), (*state).to_owned()));
        assert_eq!(found, wanted.collect(), "{context}");
    }
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
