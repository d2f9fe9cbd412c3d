//! `wharf policy` without an agent: exit codes, places, what is excepted and what is not known, in all forms.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::text;

const WEB: &str = "services:\n  web:\n    image: web:1\n    privileged: true\n    pid: host\n    \
                   env_file: [absent.env]\n  old:\n    image: web:1\n    privileged: true\n    \
                   profiles: [old]\n";

const OWN: &str = "
name: own
title: Our own
owner: us
action: {production: deny, default: audit}
checks: [privileged, host_pid, non_root_user]
conditions:
  - id: registry
    title: Images come from our registry
    expression: service.registry == 'r.example'
    message: its image comes from elsewhere
    remediation: push it
    at: [image]
exceptions:
  - rules: [privileged]
    match: {services: [old]}
    owner: ann
    approver: ben
    reason: it goes in spring
    expires: 2999-01-01
";

fn put(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).unwrap();
}

fn wharf(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharf"))
        .arg("policy")
        .args(args)
        .current_dir(folder)
        .env("DOCKER_HOST", "unix:///nonexistent/engine.sock")
        .output()
        .unwrap()
}

#[test]
fn codes_tell_clean_files_from_findings_and_from_what_cannot_be_judged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    put(path, "compose.yaml", WEB);
    put(path, "clean.yaml", "services: {web: {image: 'web:1'}}\n");
    put(path, "broken.yaml", "services: {web: {imag: x}}\n");
    put(path, "models.yaml", "services: {web: {image: 'web:1', credential_spec: {file: x}}}\n");
    put(path, "own.yaml", OWN);
    put(
        path,
        "own.test.yaml",
        "policy: own\ntests:\n  - {name: t, compose: {services: {web: \
                                {image: 'r.example/web:1'}}}, expect: {registry: pass}}\n",
    );
    put(path, "bad.yaml", "name: bad\ntitle: t\nowner: o\nchecks: [privileeged]\n");
    let check = |args: &[&str], code: i32, word: &str| {
        let output = wharf(path, args);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    };
    check(&["check"], 1, "compose.yaml:4:5");
    check(&["check"], 1, "absent.env is not there");
    check(&["check", "--shipped", "baseline", "-f", "clean.yaml"], 0, "0 findings");
    check(&["check", "--shipped", "baseline", "-f", "models.yaml"], 0, "credential_spec");
    // What is refused is judged as far as it can be read.
    check(&["check", "-f", "broken.yaml"], 1, "broken.yaml:1:18");
    check(&["check", "-f", "broken.yaml", "--fail-on", "quarantine"], 2, "unknown key `imag`");
    check(&["check", "-f", "absent.yaml"], 2, "absent.yaml");
    check(&["check", "--policy", "bad.yaml"], 2, "bad.yaml:4:10");
    check(&["check", "--shipped", "base"], 64, "known here: baseline");
    check(&["check", "--engine"], 2, "/nonexistent/engine.sock");
    check(&["check", "--policy", "own.yaml", "--fail-on", "quarantine"], 0, "own: deny");
    check(&["check", "--policy", "own.yaml", "--fail-on", "deny"], 1, "own: deny");
    check(
        &["check", "--policy", "own.yaml", "--stage", "staging", "--fail-on", "warn"],
        0,
        "audit",
    );
    check(&["check", "--fail-on", "hihg"], 64, "did you mean `high`?");
    check(&["test", "own.yaml"], 0, "own: 1 tests, 0 failed");
    check(&["test", "own.test.yaml"], 0, "own: 1 tests, 0 failed");
    check(&["test", "--shipped"], 0, "baseline: ");
    check(&["test", "bad.yaml"], 2, "privileeged");
    check(&["ls"], 0, "cis-docker");
    check(&["ls", "--checks"], 0, "docker_socket");
    check(&["show", "own", "--policy", "own.yaml"], 0, "approved by ben");
    check(&["show", "privileged"], 0, "5.5");
    check(&["show", "cis:5.32"], 0, "docker_socket");
    check(&["show", "privilege"], 66, "no policy and no check");
}

#[test]
fn all_forms_tell_findings_from_exceptions_and_from_what_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    put(path, "compose.yaml", WEB);
    put(path, "own.yaml", OWN);
    let told = |format: &str| {
        let output = wharf(path, &["check", "--policy", "own.yaml", "--format", format]);
        text(&output.stdout)
    };
    let json: Value = serde_json::from_str(&told("json")).unwrap();
    let rows = json["findings"].as_array().unwrap();
    let verdicts = |service: &str, rule: &str| {
        let mut row = rows.iter().filter(|row| row["subject"] == service && row["rule"] == rule);
        row.next().map(|row| row["verdict"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(verdicts("web", "rule.privileged"), "fail");
    assert_eq!(verdicts("old", "rule.privileged"), "excepted");
    assert_eq!(verdicts("web", "rule.non_root_user"), "unknown");
    assert_eq!(verdicts("web", "policy.own.registry"), "fail");
    assert_eq!(verdicts("old", "rule.host_pid"), "", "what passes is not told");
    let sarif: Value = serde_json::from_str(&told("sarif")).unwrap();
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().unwrap();
    let of = |rule: &str, line: u64| {
        let is_it = |result: &&Value| {
            let region = &result["locations"][0]["physicalLocation"]["region"];
            result["ruleId"] == rule && region["startLine"] == line
        };
        results.iter().find(is_it).unwrap_or_else(|| panic!("{rule} {line}: {results:?}"))
    };
    let privileged = of("rule.privileged", 4);
    assert_eq!(privileged["level"], "error");
    assert_eq!(privileged["properties"]["cis"][0], "5.5");
    assert!(privileged["suppressions"].is_null());
    let excepted = of("rule.privileged", 9);
    let why = excepted["suppressions"][0]["justification"].as_str().unwrap();
    assert!(why.contains("it goes in spring") && why.contains("approved by ben"), "{why}");
    assert_eq!(of("policy.own.registry", 3)["properties"]["policy"], "own");
    assert!(results.iter().all(|result| result["ruleId"] != "rule.non_root_user"));
    let notes = run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
    assert!(notes.iter().any(|it| it["associatedRule"]["id"] == "rule.non_root_user"), "{notes:?}");
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    }
    let said = told("text");
    for word in ["excepted: old: `rule.privileged`", "unknown: web: `rule.non_root_user` needs"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}
