//! The API against its description: a public tester makes up requests from docs/openapi.json, sends
//! them to a real agent on a real engine, and compares each answer with what is described.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

use crate::support::agent::{Agent, text};
use crate::support::engine;

/// What every answer is compared with.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";
/// Requests made up at random for each operation, beside those that cover its every parameter.
const EXAMPLES: u32 = 4;

/// A port of loopback that leads to the agent's socket: the tester speaks TCP only.
struct Bridge {
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Bridge {
    #[expect(clippy::disallowed_methods, reason = "the bridge's runtime owns its connections")]
    fn to(socket: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for the bridge");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let socket = socket.to_owned();
        runtime.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let socket = socket.clone();
                tokio::spawn(async move {
                    let Ok(mut agent) = UnixStream::connect(&socket).await else { return };
                    // Either side may end the conversation as it likes.
                    let _ = copy_bidirectional(&mut client, &mut agent).await;
                });
            }
        });
        Self { port, _runtime: runtime }
    }
}

/// Sends made-up requests to the agent, and compares its answers with the description.
fn compare(bridge: &Bridge, description: &Path, more: &[&str]) -> Output {
    let tester = std::env::var_os("WHARF_TEST_SCHEMATHESIS")
        .expect("WHARF_TEST_SCHEMATHESIS names the program; `make test` installs it");
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker/openapi");
    Command::new(tester)
        .arg("run")
        .arg(description)
        .args(["--url", &format!("http://127.0.0.1:{}", bridge.port)])
        .args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS])
        .args(["--max-examples", &EXAMPLES.to_string(), "--seed", "1"])
        .args(["--request-timeout", "10", "--continue-on-failure", "--no-color"])
        .args(["--workers", "2"])
        .args(more)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", hooks)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(description.parent().expect("a folder"))
        .output()
        .expect("the tester runs")
}

/// Makes one of everything that can be asked for by name, so that not all that is made up is not
/// found. Answers what to put where in the description.
fn furnish(agent: &Agent) -> Vec<(&'static str, &'static str, String)> {
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/queue/client.py");
    let mut asked = Command::new("python3");
    asked.arg(client).arg("enqueue").arg(agent.state_dir.join("wharf.sock")).arg("order-1");
    let asked = asked.output().expect("the worked client runs");
    assert!(asked.status.success(), "{}", text(&asked.stderr));
    let run = text(&asked.stdout).trim().to_owned();
    for made in [
        "alert add-receiver desk --url http://127.0.0.1:9/",
        "alert add-rule all --to desk",
        "schedule add nightly --hosted shop.send_invoice --cron @daily",
        "access add-user kim --no-uid --role viewer",
        "access put-role readers runs.view",
    ] {
        let words: Vec<&str> = made.split(' ').collect();
        let made = agent.wharf(&words);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    vec![
        ("/v1/runs/{id}", "id", run.clone()),
        ("/v1/queue/runs/{id}", "id", run),
        ("/v1/queue/types/{name}", "name", "shop.send_invoice".to_owned()),
        ("/v1/alerts/receivers/{name}", "name", "desk".to_owned()),
        ("/v1/alerts/rules/{name}", "name", "all".to_owned()),
        ("/v1/schedules/{name}", "name", "nightly".to_owned()),
        ("/v1/access/members/{name}", "name", "kim".to_owned()),
        ("/v1/access/users/{name}", "name", "kim".to_owned()),
        ("/v1/access/roles/{name}", "name", "readers".to_owned()),
    ]
}

/// Puts what exists into the description as examples: they are asked for too.
fn give_examples(description: &mut Value, furniture: &[(&str, &str, String)]) {
    let mut given = 0;
    for (path, item) in description["paths"].as_object_mut().unwrap() {
        let operations = item.as_object_mut().unwrap().values_mut();
        for parameter in
            operations.filter_map(|it| it.get_mut("parameters")?.as_array_mut()).flatten()
        {
            let is_it = |(start, name, _): &&(&str, &str, String)| {
                path.starts_with(start) && parameter["name"] == *name
            };
            if let Some((_, _, value)) = furniture.iter().find(is_it) {
                parameter["example"] = Value::from(value.as_str());
                given += 1;
            }
        }
    }
    assert!(given > furniture.len(), "{given} examples: the paths are called otherwise");
}

#[test]
fn every_answer_to_a_made_up_request_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let bridge = Bridge::to(&agent.state_dir.join("wharf.sock"));
    let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let mut description: Value =
        serde_json::from_str(&std::fs::read_to_string(tree).unwrap()).unwrap();
    give_examples(&mut description, &furnish(&agent));
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, description.to_string()).unwrap();

    let compared = compare(&bridge, &file, &[]);
    let said = text(&compared.stdout);
    assert!(compared.status.success(), "{said}\n{}", text(&compared.stderr));
    let count = description["paths"].as_object().unwrap().len();
    let summary = said.lines().find(|line| line.contains(" generated, "));
    println!("{count} paths: {}", summary.unwrap_or_default().trim());

    // An answer that nobody described is found.
    let answers = description.pointer_mut("/paths/~1v1~1runs~1{id}/get/responses").unwrap();
    answers.as_object_mut().unwrap().remove("400").expect("it is described");
    std::fs::write(&file, description.to_string()).unwrap();
    let compared = compare(&bridge, &file, &["--include-operation-id", "show_run"]);
    let said = text(&compared.stdout);
    assert!(!compared.status.success() && said.contains("Undocumented status code"), "{said}");
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}
