//! The worked client of `examples/queue` against a real agent process: a run that succeeds, one that
//! fails until it is a dead letter, a bulk run by several workers, a worker that is killed.
#![expect(clippy::unwrap_used, reason = "a test's helper fails the test")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(90);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that is killed when the test is over.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Agent {
    dir: tempfile::TempDir,
    _process: Killed,
}

impl Agent {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("agent.yaml");
        let nobody = dir.path().join("nobody.sock");
        let text = format!(
            "state_dir: {}\nengine: {{address: 'unix://{}'}}\n",
            dir.path().join("state").display(),
            nobody.display()
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["agent", "--config"]).arg(config).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = Killed(command.spawn().unwrap());
        let agent = Self { dir, _process: process };
        wait_until("the agent answers", || agent.wharf(&["queue", "show"]).is_some());
        agent
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("state/wharf.sock")
    }

    /// The result of a command as JSON; none when it failed.
    fn wharf(&self, args: &[&str]) -> Option<Value> {
        let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(args)
            .args(["--format", "json"])
            .env("WHARF_SOCKET", self.socket())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    fn json(&self, args: &[&str]) -> Value {
        self.wharf(args).unwrap_or_else(|| panic!("wharf {args:?} failed"))
    }

    fn run(&self, id: &str) -> Value {
        self.json(&["run", "show", id])["run"].clone()
    }

    fn ended(&self, id: &str) -> Value {
        wait_until("the run has ended", || self.run(id)["status"] == "completed");
        self.run(id)
    }

    fn client(&self, args: &[&str]) -> Command {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/queue/client.py");
        let mut command = Command::new("python3");
        command.arg(file).arg(args[0]).arg(self.socket()).args(&args[1..]);
        command.stdin(Stdio::null());
        command
    }

    /// Asks for a run; gives its id.
    fn ask(&self, args: &[&str]) -> String {
        let output = self.client(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn worker(&self, name: &str) -> Killed {
        let log = std::fs::File::create(self.dir.path().join(name)).unwrap();
        let mut command = self.client(&["work", name]);
        Killed(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    fn said(&self, worker: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(worker)).unwrap()
    }
}

#[test]
fn the_worked_client_is_short() {
    let text = include_str!("../examples/queue/client.py");
    assert!(text.lines().count() < 80, "{} lines", text.lines().count());
}

#[test]
fn a_run_is_asked_for_claimed_and_completed() {
    let agent = Agent::start();
    let _worker = agent.worker("mailer");
    let id = agent.ask(&["enqueue", "order-1"]);
    let run = agent.ended(&id);
    assert_eq!((&run["outcome"], &run["attempt"]), (&json!("succeeded"), &json!(1)), "{run}");
    assert_eq!(run["summary_counts"], json!({"mails": 1, "processed": 1}));
    let detail = agent.json(&["run", "show", &id]);
    assert_eq!(detail["attempts"][0]["worker"], "mailer");
    assert_eq!(detail["payload"]["order"], "order-1");
    let events = agent.json(&["audit", "ls", "--run", &id]);
    let types: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|it| it["event_type"].clone()).collect();
    let expect = ["operation_run.completed", "operation_run.started", "operation_run.queued"];
    assert_eq!(types, expect);
}

#[test]
fn a_failing_run_is_tried_again_until_it_is_a_dead_letter_and_then_by_hand() {
    let agent = Agent::start();
    let _worker = agent.worker("mailer");
    let id = agent.ask(&["enqueue", "order-2", "3"]);
    let run = agent.ended(&id);
    assert_eq!((&run["outcome"], &run["attempt"]), (&json!("failed"), &json!(3)), "{run}");
    assert_eq!(run["failure_summary"][0]["reason_code"], "mail.bounced");
    let dead = agent.json(&["run", "ls", "--dead"]);
    assert_eq!(dead["items"][0]["id"], json!(id), "{dead}");
    let attempts = agent.json(&["run", "show", &id])["attempts"].clone();
    let time = |attempt: usize, field: &str| -> jiff::Timestamp {
        attempts[attempt][field].as_str().unwrap().parse().unwrap()
    };
    let pause = |next: usize| {
        time(next, "started_at").duration_since(time(next - 1, "ended_at")).as_millis()
    };
    assert!(pause(1) >= 160, "first pause {} ms", pause(1));
    assert!(pause(2) >= 320, "second pause {} ms", pause(2));

    let again = agent.json(&["run", "retry", &id])["run"]["id"].as_str().unwrap().to_owned();
    assert_eq!(agent.run(&again)["retried_from"], json!(id));
    assert_eq!(agent.ended(&again)["outcome"], "failed");
    assert_eq!(agent.run(&id)["is_dead_letter"], false);
    assert!(agent.wharf(&["run", "retry", &id]).is_none(), "it was tried again already");
    agent.json(&["run", "dismiss", &again]);
    assert_eq!(agent.json(&["run", "ls", "--dead"])["items"], json!([]));
}

#[test]
fn a_bulk_run_of_many_jobs_by_several_workers_ends_once_with_exact_counts() {
    let agent = Agent::start();
    let _workers: Vec<_> = (0..4).map(|n| agent.worker(&format!("mailer-{n}"))).collect();
    let id = agent.ask(&["bulk", "march", "200"]);
    let run = agent.ended(&id);
    assert_eq!(run["outcome"], "succeeded", "{run}");
    assert_eq!(run["summary_counts"], json!({"mails": 200, "processed": 200}));
    assert_eq!(run["jobs"]["succeeded"], 200);
    let mut done: Vec<String> = Vec::new();
    for n in 0..4 {
        let said = agent.said(&format!("mailer-{n}"));
        done.extend(said.lines().map(str::to_owned));
    }
    done.sort();
    let mut expected: Vec<_> = (0..200).map(|n| format!("march-{n} attempt 1")).collect();
    expected.sort();
    assert_eq!(done, expected, "each job once");
    let events = agent.json(&["audit", "ls", "--run", &id, "--type", "operation_run.completed"]);
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    let jobs = agent.json(&["run", "jobs", &id, "--limit", "150"]);
    let rest = jobs["next"].as_str().unwrap();
    let rest = agent.json(&["run", "jobs", &id, "--limit", "150", "--after", rest]);
    assert_eq!(rest["items"].as_array().unwrap().len(), 50);
}

#[test]
fn the_work_of_a_killed_worker_is_taken_over_when_its_lease_is_over() {
    let agent = Agent::start();
    agent.ask(&["enqueue", "register"]);
    let first = agent.worker("first");
    wait_until("the first run is done", || agent.said("first").contains("register attempt 1"));
    let payload = agent.dir.path().join("payload");
    std::fs::write(&payload, r#"{"order": "slow", "seconds": 4}"#).unwrap();
    let payload = payload.to_str().unwrap();
    let args = ["run", "enqueue", "shop.send_invoice", "--payload", payload, "--subject", "slow"];
    let id = agent.json(&args)["run"]["id"].as_str().unwrap().to_owned();
    wait_until("the worker has it", || agent.said("first").contains("slow attempt 1"));
    drop(first);
    let _second = agent.worker("second");
    let run = agent.ended(&id);
    assert_eq!((&run["outcome"], &run["attempt"]), (&json!("succeeded"), &json!(2)), "{run}");
    let attempts = agent.json(&["run", "show", &id])["attempts"].clone();
    assert_eq!(
        (&attempts[0]["end"], &attempts[1]["worker"]),
        (&json!("interrupted"), &json!("second"))
    );
    assert_eq!(run["summary_counts"]["processed"], 1, "{run}");
}

#[test]
fn a_cancelled_run_is_stopped_by_its_worker() {
    let agent = Agent::start();
    agent.ask(&["enqueue", "register"]);
    let _worker = agent.worker("mailer");
    let payload = agent.dir.path().join("payload");
    std::fs::write(&payload, r#"{"order": "slow", "seconds": 600}"#).unwrap();
    let payload = payload.to_str().unwrap();
    let args = ["run", "enqueue", "shop.send_invoice", "--payload", payload];
    let id = agent.json(&args)["run"]["id"].as_str().unwrap().to_owned();
    wait_until("the worker has it", || agent.said("mailer").contains("slow attempt 1"));
    agent.json(&["run", "cancel", &id]);
    assert_eq!(agent.ended(&id)["outcome"], "cancelled");
}
