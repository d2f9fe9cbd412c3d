use super::*;

fn defaults() -> Config {
    read("agent.yaml", "state_dir: /var/lib/wharfinger\n", None).unwrap()
}

/// Reads `text` and compares everything that is wrong with it.
fn check(text: &str, expect: &[&str]) {
    let found = match read("agent.yaml", text, None) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, expect, "{text}");
}

#[test]
fn smallest_configuration_is_one_line() {
    let config = defaults();
    assert_eq!(config.socket.path, Path::new("/var/lib/wharfinger/wharf.sock"));
    assert_eq!(config.socket.mode, 0o660);
    assert_eq!(config.engine_address, "unix:///var/run/docker.sock");
    assert!(config.convergence.enabled);
}

#[test]
fn docker_host_is_the_default_of_the_engine_only() {
    let host = Some("unix:///run/user/1000/docker.sock");
    let config = read("a", "state_dir: /s", host).unwrap();
    assert_eq!(config.engine_address, "unix:///run/user/1000/docker.sock");
    let config = read("a", "state_dir: /s\nengine: {address: 'unix:///x'}", host).unwrap();
    assert_eq!(config.engine_address, "unix:///x");
}

#[test]
fn defaults_are_those_of_the_table() {
    let values = defaults().values();
    assert_eq!(values.len(), KEYS.len());
    for key in KEYS.iter().filter(|key| !key.default.starts_with('(')) {
        let (section, name) = key.path.split_once('.').unwrap();
        let text = format!("state_dir: /s\n{section}:\n  {name}: {}\n", key.default);
        let written = read("agent.yaml", &text, None).unwrap();
        assert_eq!(written.values()[key.path], values[key.path], "{}", key.path);
    }
}

#[test]
fn problems_name_their_place_and_the_remedy() {
    check("", &["agent.yaml:1:1: `state_dir` is missing\n 1 | \n   | ^"]);
    check(
        "state_dir: /s\nlog: {levle: debug}\n",
        &["agent.yaml:2:7: unknown key `levle`\n 2 | log: {levle: debug}\n   |       ^\n \
           help: did you mean `level`?"],
    );
    check(
        "state_dir: var\n",
        &["agent.yaml:1:12: `state_dir` must be an absolute path, found `var`\n 1 | state_dir: \
           var\n   |            ^\n help: begin it with `/`"],
    );
    check(
        "state_dir: /s\nengine:\n  address: tcp://10.0.0.1:2375\n",
        &[
            "agent.yaml:3:12: `address` must be `unix:///PATH`, found `tcp://10.0.0.1:2375`\n 3 |   \
           address: tcp://10.0.0.1:2375\n   |            ^\n help: an engine on another host needs \
           an agent on that host",
        ],
    );
    check(
        "state_dir: /s\nsocket: {mode: 0999}\n",
        &["agent.yaml:2:16: `mode` must be an octal number up to 0777, such as `0660`\n 2 | \
           socket: {mode: 0999}\n   |                ^"],
    );
    check(
        "state_dir: /s\nruns: {shutdown_deadline: 10h}\n",
        &["agent.yaml:2:27: `shutdown_deadline` must be from 1s to 1h0m0s, found 10h0m0s\n 2 | \
           runs: {shutdown_deadline: 10h}\n   |                           ^"],
    );
}

#[test]
fn an_agent_serves_all_tenants_unless_it_names_some() {
    assert_eq!(defaults().tenants, Tenants::All);
    let (first, second) =
        ("0190f3c2-7a1e-7c3b-9a57-2f6d1c0b4e11", "0190f3c2-7a1e-7c3b-9a57-2f6d1c0b4e12");
    let text = format!("state_dir: /s\nruns: {{tenants: [{second}, {first}]}}\n");
    let config = read("a", &text, None).unwrap();
    assert_eq!(config.tenants.ids(), Some(vec![first.to_owned(), second.to_owned()]));
    assert_eq!(config.values()["runs.tenants"], format!("[{first}, {second}]"));
    let found = changes(&defaults(), &config).needs_restart;
    assert!(found.contains(&"runs.tenants"), "{found:?}");
    check(
        "state_dir: /s\nruns: {tenants: []}\n",
        &[
            "agent.yaml:2:17: `tenants` must name a tenant\n 2 | runs: {tenants: []}\n   |                 ^\n help: leave the key out to serve all of them",
        ],
    );
    check(
        "state_dir: /s\nruns: {tenants: [acme]}\n",
        &[
            "agent.yaml:2:18: `tenants` lists ids of tenants\n 2 | runs: {tenants: [acme]}\n   |                  ^\n help: write each like 0190f3c2-7a1e-7c3b-9a57-2f6d1c0b4e11",
        ],
    );
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "socket: {mode: x}\nstate_dri: /s\nconvergence: {enabled: yes}\n";
    let problems = read("agent.yaml", text, None).unwrap_err().0;
    let places: Vec<_> = problems
        .iter()
        .map(|found| found.location.as_ref().map(|at| (at.line, at.column)))
        .collect();
    assert_eq!(places, [Some((1, 1)), Some((1, 16)), Some((2, 1)), Some((3, 24))]);
}

#[test]
fn permission_bits_are_octal_however_they_are_written() {
    for text in ["0660", "660", "0o660", "'0660'"] {
        let config = read("a", &format!("state_dir: /s\nsocket: {{mode: {text}}}"), None).unwrap();
        assert_eq!(config.socket.mode, 0o660, "{text}");
    }
}

#[test]
fn a_reload_tells_what_waits_for_a_restart() {
    let text = "state_dir: /var/lib/wharfinger\nlog: {level: debug}\nruns: {workers: 2}\n";
    let found = changes(&defaults(), &read("agent.yaml", text, None).unwrap());
    assert_eq!(found.applied, ["log.level"]);
    assert_eq!(found.needs_restart, ["runs.workers"]);
}

#[test]
fn the_manual_in_the_tree_is_fresh() {
    crate::fresh_file("docs/configuration.md", &manual());
}

#[test]
fn the_store_is_sqlite_or_a_postgres_database() {
    assert_eq!(defaults().store, StorePlace::Sqlite);
    assert_eq!(read("a", "state_dir: /s\nstore: sqlite", None).unwrap().store, StorePlace::Sqlite);
    let text = "state_dir: /s\nstore: {postgres: {host: /run/postgresql, port: 5433}}";
    let config = read("a", text, None).unwrap();
    let expect = Postgres {
        host: "/run/postgresql".to_owned(),
        port: 5433,
        database: "wharf".to_owned(),
        user: "wharf".to_owned(),
        password_file: None,
        readers: STORE_READERS_MAX,
    };
    assert_eq!(config.store, StorePlace::Postgres(expect));
    assert_eq!(config.values()["store.postgres.host"], "/run/postgresql");
    let wrong = |text: &str| read("a", text, None).unwrap_err().0.len();
    assert_eq!(wrong("state_dir: /s\nstore: mysql"), 1);
    assert_eq!(wrong("state_dir: /s\nstore: {postgres: {}}"), 1);
    assert_eq!(wrong("state_dir: /s\nstore: {postgres: {host: x, port: 0, prot: 1}}"), 2);
}

#[test]
fn an_anchor_is_a_file_or_an_address_and_no_address_is_told() {
    let text = "state_dir: /s\naudit: {retention_days: 400, anchors: [{file: /mnt/a}, \
                {webhook: 'https://x/secret'}]}";
    let config = read("a", text, None).unwrap();
    assert_eq!(config.audit.retention_days, Some(400));
    let expect = [
        AnchorPlace::File("/mnt/a".into()),
        AnchorPlace::Webhook("https://x/secret".to_owned().into()),
    ];
    assert_eq!(config.audit.anchors, expect);
    let told = &config.values()["audit.anchors"];
    assert!(told.starts_with("[file: /mnt/a, webhook: [") && !told.contains("secret"), "{told}");
    let wrong = |text: &str| read("a", text, None).unwrap_err().0.len();
    assert_eq!(wrong("state_dir: /s\naudit: {anchors: [{file: mnt}]}"), 1);
    assert_eq!(wrong("state_dir: /s\naudit: {anchors: [{webhook: ftp://x}]}"), 1);
    assert_eq!(wrong("state_dir: /s\naudit: {anchors: [{}], retention_days: 0}"), 2);
}
