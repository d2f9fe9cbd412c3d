//! The ways in which somebody gives the agent a secret. Owns what is planted where. Face: one function
//! a kind of giver. Never gives a secret in a place that is open by its nature, such as a name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::EACH;
use super::garden::Garden;
use super::harvest::{Harvest, ask, json as body};
use crate::support::agent::Agent;
use crate::support::project::Project;

/// A text as YAML and JSON both read it. A dollar sign would be interpolated; there is none.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A project that runs, with secrets in every place that takes one.
pub fn to_a_project(agent: &Agent, garden: &mut Garden, harvest: &mut Harvest) -> Project {
    let mut environment = String::new();
    let mut command = Vec::new();
    let mut check = Vec::new();
    let mut arguments = String::new();
    let (mut dotenv, mut env_file) = (String::new(), String::new());
    let (mut secrets, mut configs, mut granted) = (String::new(), String::new(), String::new());
    let project = Project::new("wharfgarden", "");
    for n in 0..EACH {
        let named = quoted(&garden.secret("environment, named like a secret"));
        let plain = quoted(&garden.secret("environment, named like nothing"));
        environment
            .push_str(&format!("      DB_PASSWORD_{n}: {named}\n      GREETING_{n}: {plain}\n"));
        environment.push_str(&format!("      FROM_DOTENV_{n}: ${{DOTENV_{n}}}\n"));
        dotenv.push_str(&format!("DOTENV_{n}={}\n", garden.word(".env, interpolated")));
        dotenv.push_str(&format!("GIVEN_{n}={}\n", garden.word("secret of the environment")));
        env_file.push_str(&format!("API_KEY_{n}={}\n", garden.word("env_file")));
        command.push(quoted(&format!("--password={}", garden.secret("command"))));
        check.push(quoted(&garden.secret("health check")));
        arguments.push_str(&format!("        TOKEN_{n}: {}\n", garden.word("build argument")));
        project.write(&format!("secrets/{n}"), &garden.secret("secret file"));
        secrets.push_str(&format!("  file{n}: {{file: secrets/{n}}}\n"));
        secrets.push_str(&format!("  given{n}: {{environment: GIVEN_{n}}}\n"));
        let content = quoted(&garden.secret("config content"));
        configs.push_str(&format!("  inline{n}: {{content: {content}}}\n"));
        granted.push_str(&format!("file{n}, given{n}, "));
    }
    let inline: Vec<String> = (0..EACH).map(|n| format!("inline{n}")).collect();
    let compose = format!(
        "services:
  web:
    image: @IMAGE@
    command: [sh, -c, 'exec sleep 3600', sh, {}]
    init: true
    env_file: [web.env]
    environment:
{environment}    healthcheck: {{test: [CMD, echo, {}], interval: 1s}}
    secrets: [{granted}]
    configs: [{}]
  built:
    build:
      context: .
      args:
{arguments}    command: [sleep, '3600']
    init: true
secrets:
{secrets}configs:
{configs}",
        command.join(", "),
        check.join(", "),
        inline.join(", ")
    );
    project.write("Dockerfile", "FROM @IMAGE@\nARG TOKEN_0\nARG TOKEN_1\nRUN true \"$TOKEN_0\"\n");
    project.write(".dockerignore", "*\n!Dockerfile\n");
    project.write("compose.yaml", &compose);
    project.write(".env", &dotenv);
    project.write("web.env", &env_file);
    harvest.output("wharf plan", &agent.on(&project, "plan", &[]));
    harvest.text("wharf up", agent.must(&project, "up", &[]));
    harvest.output("wharf ps", &agent.on(&project, "ps", &["--format", "json"]));
    // Changes of secrets are causes that a plan names.
    project.write(
        "web.env",
        &env_file
            .replace("API_KEY_0=", &format!("API_KEY_0={}", garden.word("a changed env_file"))),
    );
    harvest.output("wharf plan", &agent.on(&project, "plan", &[]));
    harvest.output("wharf plan", &agent.on(&project, "plan", &["--format", "json"]));
    harvest.text("wharf up", agent.must(&project, "up", &[]));
    // A build that fails and says what it was given.
    let failing = "FROM @IMAGE@\nARG TOKEN_1\nRUN echo \"password=$TOKEN_1\" && false\n";
    project.write("Dockerfile", failing);
    harvest.output("wharf up", &agent.on(&project, "up", &[]));
    project
}

/// Files that are refused at a line that holds a secret, or because of its value.
pub fn to_files_that_are_refused(agent: &Agent, garden: &mut Garden, harvest: &mut Harvest) {
    for _ in 0..EACH {
        let mut refuse = |compose: String, dotenv: String| {
            let project = Project::new("wharfweeds", &compose);
            project.write(".env", &dotenv);
            for format in ["text", "json"] {
                let output = agent.on(&project, "plan", &["--format", format]);
                assert!(!output.status.success(), "accepted: {compose}");
                harvest.output("wharf plan, refused", &output);
            }
        };
        let web = "services:\n  web:\n    image: @IMAGE@\n";
        let list = quoted(&garden.secret("a value of the wrong kind"));
        refuse(format!("{web}    environment:\n      DB_PASSWORD: [{list}]\n"), String::new());
        let (one, two) = (garden.word("a key given twice"), garden.word("a key given twice"));
        let twice = format!("      DB_PASSWORD: {one}\n      DB_PASSWORD: {two}\n");
        refuse(format!("{web}    environment:\n{twice}"), String::new());
        let open = garden.word("a line that YAML cannot read");
        refuse(format!("{web}    environment:\n      DB_PASSWORD: \"{open}\n"), String::new());
        let limit = garden.word("a variable that is no size");
        refuse(format!("{web}    mem_limit: ${{DB_PASSWORD}}\n"), format!("DB_PASSWORD={limit}\n"));
        let port = garden.word("a variable that is no port");
        refuse(format!("{web}    ports: ['${{TOKEN}}']\n"), format!("TOKEN={port}\n"));
        let wanted = garden.word("the words of an interpolation");
        refuse(format!("{web}    hostname: ${{ABSENT:?password={wanted}}}\n"), String::new());
        let quote = garden.word("a line that .env cannot have");
        refuse(web.to_owned(), format!("DB_PASSWORD=\"{quote}\n"));
    }
}

/// Receivers of alerts, none of which can be reached.
pub fn to_receivers(agent: &Agent, garden: &mut Garden, harvest: &mut Harvest) {
    for n in 0..EACH {
        let urls = [
            format!("http://127.0.0.1:9/services/{}", garden.word("path of a webhook")),
            format!("http://127.0.0.1:9/?token={}", garden.word("query of a webhook")),
            format!("http://user:{}@127.0.0.1:9/", garden.word("password of a webhook")),
        ];
        for (kind, url) in urls.iter().enumerate() {
            let authorization = format!("Bearer {}", garden.word("header of a webhook"));
            let receiver = json!({
                "url": url, "headers": { "authorization": authorization },
                "signing_key": garden.secret("signing key of a webhook"), "timeout_seconds": 1,
            });
            let path = format!("/v1/alerts/receivers/garden-{kind}-{n}");
            harvest.asked(agent, "PUT", &path, &receiver);
            harvest.asked(agent, "POST", &format!("{path}/test"), &Value::Null);
        }
    }
}

/// Runs of a program that fails, each time with other words.
pub fn to_words_of_programs(agent: &Agent, garden: &mut Garden, harvest: &mut Harvest) {
    let definition = json!({
        "label": "Talks too much", "counts": ["total", "processed"],
        "reason_codes": ["garden.failed"], "retry": { "attempts_max": 1 },
    });
    harvest.asked(agent, "PUT", "/v1/queue/types/garden.talk", &definition);
    for n in 0..EACH {
        let percent = utf8_percent_encode(
            &garden.secret("failure: percent-encoded in an address"),
            NON_ALPHANUMERIC,
        )
        .to_string();
        let basic =
            STANDARD.encode(format!("user:{}", garden.secret("failure: Basic authorization")));
        let messages = [
            format!("login failed with password={}", garden.secret("failure: an assignment")),
            format!("no answer from postgres://app:{}@db/shop", garden.word("failure: an address")),
            format!("refused: Authorization: Bearer {}", garden.secret("failure: a bearer")),
            format!("refused: Authorization: Basic {basic}"),
            format!("sent {}", json!({ "api_key": garden.secret("failure: JSON") })),
            format!("GET https://host/x?token={percent} failed"),
        ];
        for (kind, message) in messages.iter().enumerate() {
            let run = json!({ "type": "garden.talk", "identity": format!("{kind}-{n}") });
            harvest.asked(agent, "POST", "/v1/queue/runs", &run);
            let claim =
                json!({ "types": ["garden.talk"], "worker": "w", "limit": 1, "wait_seconds": 5 });
            let claimed = harvest.asked(agent, "POST", "/v1/queue/claims", &claim);
            let path = claimed["items"][0]["path"].as_str().unwrap().to_owned();
            let log =
                json!({ "log": format!("token: {}", garden.secret("progress of a program")) });
            harvest.asked(agent, "POST", &format!("{path}/progress"), &log);
            let failure = json!({ "reason_code": "garden.failed", "message": message });
            harvest.asked(agent, "POST", &format!("{path}/fail"), &failure);
        }
    }
}

/// Reasons that somebody gives for what they start.
pub fn to_reasons(agent: &Agent, garden: &mut Garden, harvest: &mut Harvest) {
    let path = "/v1/runbooks/findings.lifecycle.backfill";
    for _ in 0..EACH {
        let ask = json!({ "scope": "all_tenants" });
        let looked = harvest.asked(agent, "POST", &format!("{path}/preflight"), &ask);
        let text = format!("the password: {} is wrong", garden.secret("reason of a runbook"));
        let start = json!({
            "scope": "all_tenants", "preflight_digest": looked["digest"],
            "reason": { "reason_code": "SUPPORT", "reason_text": text },
        });
        let started = harvest.asked(agent, "POST", &format!("{path}/start"), &start);
        assert!(started["run"]["id"].is_string(), "{started}");
    }
}

/// Tokens, what they are called, and why the glass is broken.
pub fn to_access(agent: &Agent, garden: &mut Garden, harvest: &mut Harvest) {
    harvest.asked(agent, "PUT", "/v1/access/users/kim", &json!({}));
    let member = json!({ "role": "viewer", "tenants": null });
    harvest.asked(agent, "PUT", "/v1/access/members/kim", &member);
    for _ in 0..EACH {
        let label = format!("the one with api_key={}", garden.secret("label of a token"));
        let new = json!({ "label": label, "user": "kim" }).to_string();
        let made = body(&ask(agent, "POST", "/v1/access/tokens", "", &new));
        // Who made it is told it, this once.
        let token = made["token"].as_str().unwrap();
        harvest.text("/v1/access/tokens", made["details"].to_string());
        garden.plant("a token", token.rsplit('_').next().unwrap());
        let bearer = format!("authorization: Bearer {token}\r\n");
        let me = ask(agent, "GET", "/v1/access/me", &bearer, "");
        assert_eq!(body(&me)["name"], "kim", "{}", String::from_utf8_lossy(&me));
        harvest.text("/v1/access/me", me);
        let password = garden.secret("reason of broken glass");
        let text = format!("{token} is somebody else's, and so is password={password}");
        let reason = json!({ "reason_code": "SECURITY", "reason_text": text });
        let broken = json!({ "reason": reason, "life_seconds": 60 });
        let broken = harvest.asked(agent, "POST", "/v1/access/break-glass", &broken);
        assert!(broken["id"].is_string(), "{broken}");
    }
}

/// Requests that cannot be read, and hold a secret at the place that is wrong.
pub fn to_requests_that_are_malformed(agent: &Agent, garden: &mut Garden, harvest: &mut Harvest) {
    for _ in 0..EACH {
        let number = json!({ "type": "garden.talk", "payload": {}, "priority": garden.secret("a body: a number") });
        let unknown = json!({ "url": "http://127.0.0.1:9/", "secret": garden.secret("a body: a key that is unknown") });
        let receiver = json!({ "url": garden.secret("a body: an address that is none") });
        let cut = format!("{{\"url\": \"{}", garden.word("a body: cut off"));
        for (method, path, body) in [
            ("POST", "/v1/queue/runs", number.to_string()),
            ("PUT", "/v1/alerts/receivers/weed", unknown.to_string()),
            ("PUT", "/v1/alerts/receivers/weed", receiver.to_string()),
            ("PUT", "/v1/alerts/receivers/weed", cut),
        ] {
            refused(agent, harvest, (method, path, "", &body));
        }
        let query = format!("/v1/runs?token={}", garden.word("an unknown parameter"));
        refused(agent, harvest, ("GET", &query, "", ""));
        let query = format!("/v1/runs?limit={}", garden.word("a parameter that is no number"));
        refused(agent, harvest, ("GET", &query, "", ""));
        let bearer =
            format!("authorization: Bearer {}\r\n", garden.word("a token that nobody gave out"));
        harvest.text("/v1/runs", ask(agent, "GET", "/v1/runs", &bearer, ""));
        let client = format!("user-agent: curl token={}\r\n", garden.word("the name of a client"));
        harvest.text("/v1/runs", ask(agent, "GET", "/v1/runs", &client, ""));
    }
}

fn refused(agent: &Agent, harvest: &mut Harvest, asked: (&str, &str, &str, &str)) {
    let (method, path, headers, text) = asked;
    let answer = ask(agent, method, path, headers, text);
    let code = body(&answer)["code"].clone();
    assert!(code.is_string(), "{method} {path} {text}: {}", String::from_utf8_lossy(&answer));
    harvest.text(path.split('?').next().unwrap_or(path), &answer);
}
