use std::process::Stdio;

use serde_json::json;

use crate::postgres::Server;
use crate::support::{Host, code, fill, portrait, text, wait_until};

fn setting(server: &Server, database: &str) -> String {
    let socket = server.socket();
    format!("store: {{postgres: {{host: {}, database: {database}}}}}\n", socket.display())
}

#[tokio::test]
async fn an_agent_on_postgres_works_restarts_and_shares_its_queue() {
    let name = Server::shared().database().await;
    let mut host = Host::started(&setting(Server::shared(), &name));
    fill(&host);
    let health = host.ask("GET", "/healthz", &json!(null));
    assert!(health.is_some(), "{}", host.log());
    assert!(!host.state_dir().join("wharf.db").exists(), "nothing lies in SQLite");
    let before = portrait(&host);
    assert_eq!(host.stop().code(), Some(0), "{}", host.log());
    host.start();
    assert_eq!(portrait(&host), before);
    let events = host.json(&["audit", "ls", "--limit", "500"]);
    let types: Vec<_> = events["items"].as_array().unwrap().iter().collect();
    let count = |kind: &str| types.iter().filter(|it| it["event_type"] == kind).count();
    let counts = (count("store.created"), count("agent.started"), count("agent.stopped"));
    assert_eq!(counts, (1, 2, 1));

    // An agent of another host takes work that was asked for here.
    let other = Host::started(&setting(Server::shared(), &name));
    let queue = other.json(&["queue", "show"]);
    assert_eq!(queue["agents"].as_array().unwrap().len(), 2, "{queue}");
    let id = host.enqueue("from here");
    wait_until("the other host's worker has done it", || {
        other.work("there", "complete", &json!({"outcome": "succeeded"}));
        host.json(&["run", "show", &id])["run"]["status"] == "completed"
    });
    let detail = host.json(&["run", "show", &id]);
    assert_eq!(detail["attempts"][0]["worker"], "there", "{detail}");
}

#[tokio::test]
async fn the_worked_client_works_on_postgres() {
    let name = Server::shared().database().await;
    let host = Host::started(&setting(Server::shared(), &name));
    let client = |args: &[&str]| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/queue/client.py");
        let mut command = std::process::Command::new("python3");
        command.arg(file).arg(args[0]).arg(host.socket()).args(&args[1..]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let run = client(&["enqueue", "order-1"]);
    let bulk = client(&["bulk", "march", "20"]);
    let said = client(&["work", "mailer", "4"]);
    assert_eq!(said.lines().count(), 21, "{said}");
    for id in [run, bulk] {
        let detail = host.json(&["run", "show", &id]);
        assert_eq!(detail["run"]["outcome"], "succeeded", "{detail}");
    }
}

#[tokio::test]
async fn an_agent_whose_server_is_down_says_so_and_ends() {
    let server = Server::own();
    let name = server.database().await;
    let settings = setting(&server, &name);
    let mut host = Host::started(&settings);
    host.stop();
    server.stop();
    let refused = host.refused();
    let said = text(&refused.stderr);
    assert_eq!(code(&refused), Some(75), "{said}");
    assert!(
        said.contains("does not answer") && said.contains("start the database server"),
        "{said}"
    );
    server.start();
    host.start();
    host.stop();
    host.configure(&settings.replace(&name, "absent"));
    let refused = host.refused();
    let said = text(&refused.stderr);
    assert_eq!(code(&refused), Some(75), "{said}");
    assert!(said.contains("does not let the agent in"), "{said}");
    server.kill();
}
