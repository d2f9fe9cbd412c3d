//! The schema, key by key: what each key refuses, what it makes of what it takes, how files are laid
//! over each other, and how quickly what is too much is refused.

use std::fmt::Write as _;

use super::*;

/// The first problem of a service with this body, without its place; or `fine`.
fn verdict(body: &str) -> String {
    let image = if body.starts_with("image") { "" } else { "    image: i\n" };
    let text = format!("services:\n  web:\n{image}    {body}\n  db:\n    image: d\n");
    match case(&[("compose.yaml", &text)]).load() {
        Ok(_) => "fine".to_owned(),
        Err(found) => found.0[0].message.clone(),
    }
}

#[test]
fn what_a_key_does_not_take_is_refused() {
    let cases = [
        // A key without a value, where 2.26 says `must be a mapping` or `must be a list`.
        ("environment:", "`environment` must be a mapping or a list, found nothing"),
        ("ports:", "`ports` must be a list, found nothing"),
        ("volumes:", "`volumes` must be a list, found nothing"),
        ("healthcheck:", "`healthcheck` must be a mapping, found nothing"),
        ("image:", "`image` must be text, found nothing"),
        ("labels: ~", "`labels` must be a mapping or a list, found nothing"),
        ("restart: null", "`restart` must be text, found nothing"),
        ("logging: {driver: }", "`driver` must be text, found nothing"),
        ("command:", "fine"),
        ("entrypoint: null", "fine"),
        ("deploy:", "fine"),
        ("pid: null", "fine"),
        ("environment: {A: }", "fine"),
        ("networks: {default: }", "fine"),
        // Numbers where only text is taken, and the other way round.
        ("image: 15", "`image` must be text, found `15`"),
        ("user: 1000", "`user` must be text, found `1000`"),
        ("container_name: 1", "`container_name` must be text, found `1`"),
        ("restart: true", "`restart` must be text, found `true`"),
        ("restart: no", "fine"),
        (
            "stop_grace_period: 10",
            "`stop_grace_period` must be a duration, such as `90s` or `1m30s`, found `10`",
        ),
        (
            "healthcheck: {interval: 30}",
            "`interval` must be a duration, such as `90s` or `1m30s`, found `30`",
        ),
        (
            "healthcheck: {interval: 30 s}",
            "`interval` must be a duration, such as `90s` or `1m30s`, found `30 s`",
        ),
        ("healthcheck: {retries: three}", "`retries` must be a whole number, found `three`"),
        (
            "deploy: {resources: {limits: {memory: 512}}}",
            "`memory` must be a size in quotes or with a unit, such as `512m`, found `512`",
        ),
        ("deploy: {resources: {limits: {memory: 512M}}}", "fine"),
        ("deploy: {replicas: two}", "`replicas` must be a whole number, found `two`"),
        ("deploy: {update_config: {order: any}}", "`order` cannot be `any`"),
        ("mem_limit: lots", "`mem_limit` must be a size, such as `512m`, found `lots`"),
        ("cpus: half", "`cpus` must be a number, found `half`"),
        ("privileged: maybe", "`privileged` must be `true` or `false`, found `maybe`"),
        ("cgroup: shared", "`cgroup` cannot be `shared`"),
        (
            "pull_policy: sometimes",
            "`pull_policy` must be `always`, `never`, `missing`, `build`, `daily`, `weekly` or a time such as `every_12h`, found `sometimes`",
        ),
        ("pull_policy: every_12h", "fine"),
        (
            "pull_policy: every_",
            "`pull_policy` must be `always`, `never`, `missing`, `build`, `daily`, `weekly` or a time such as `every_12h`, found `every_`",
        ),
        ("secrets: [{source: s, uid: 103}]", "`uid` must be text, found `103`"),
        ("oom_score_adj: low", "`oom_score_adj` must be a whole number, found `low`"),
        // Lists and mappings.
        ("cap_add: ALL", "`cap_add` must be a list, found `ALL`"),
        ("ports: '80:80'", "`ports` must be a list, found `80:80`"),
        ("volumes: {data: /data}", "`volumes` must be a list, found a mapping"),
        (
            "environment: A=1",
            "`environment` must be a mapping or a list of `KEY=value` texts, found `A=1`",
        ),
        ("environment: {A: [1]}", "`A` must be text or a number, found a list"),
        ("environment: {1: a}", "the key `1` must be quoted"),
        ("depends_on: db", "`depends_on` must be a mapping, found `db`"),
        ("depends_on: {db: {}}", "`condition` is missing in `db`"),
        ("depends_on: {db: }", "`condition` is missing in `db`"),
        ("healthcheck: curl", "`healthcheck` must be a mapping, found `curl`"),
        ("networks: default", "`networks` must be a mapping, found `default`"),
        (
            "ulimits: {nofile: many}",
            "`nofile` must be a whole number, or `soft` and `hard`, found `many`",
        ),
        ("ulimits: {nofile: {soft: 1}}", "`hard` is missing in `nofile`"),
        ("extends: {file: a.yaml}", "`extends` needs `service`"),
        ("volumes: [{type: bind, target: /a, from: /b}]", "unknown key `from`"),
        ("volumes: [{target: /a}]", "`type` is missing in `volumes`"),
        ("volumes: [{type: magic, target: /a}]", "`type` cannot be `magic`"),
        ("volumes: ['data:/b:ro:x']", "`data:/b:ro:x` is not a mount: too many colons"),
        ("volumes: ['./a:']", "`./a:` is not a mount: an empty section between colons"),
        ("volumes: ['data:/data']", "service `web` refers to undefined volume `data`"),
        ("ports: [{published: 80}]", "`target` is missing in `ports`"),
        ("ports: ['80:80:80:80']", "`80:80:80:80` is not a port: `80:80` is not an address"),
        ("devices: ['a:b:c:d']", "`a:b:c:d` is not a device mapping"),
        ("build: {}", "fine"),
        ("build: {contxt: .}", "unknown key `contxt`"),
        ("credential_spec: {env: x}", "unknown key `env`"),
        ("configs: [c]", "service `web` refers to undefined config `c`"),
        (
            "scale: 2\n    deploy: {replicas: 3}",
            "service `web`: `scale` and `deploy.replicas` differ",
        ),
        (
            "network_mode: host\n    networks: [default]",
            "service `web` declares `network_mode` and `networks`, which exclude each other",
        ),
        (
            "build: {dockerfile: D, dockerfile_inline: FROM a}",
            "service `web`: `dockerfile` and `dockerfile_inline` exclude each other",
        ),
        (
            "container_name: w\n    deploy: {replicas: 2}",
            "service `web` has `container_name` and 2 replicas",
        ),
        ("depends_on: [web]", "dependency cycle: web → web"),
        ("links: [cache]", "service `web` depends on undefined service `cache`"),
        // The same thing twice.
        ("security_opt: [a, a]", "`security_opt` holds `a` twice"),
        ("group_add: [1, '1']", "`group_add` holds `1` twice"),
        ("depends_on: [db, db]", "`depends_on` holds `db` twice"),
        ("cap_add: [A, A]", "fine"),
        ("dns: [1.1.1.1, 1.1.1.1]", "fine"),
        ("build: {cache_from: [a, a]}", "fine"),
        // What only makes sense elsewhere is read.
        ("develop: {watch: [{path: ., action: sync, target: /a}]}", "fine"),
        ("develop: {watch: [{path: ., action: fly}]}", "`action` cannot be `fly`"),
        ("provider: {type: cloud, options: {size: 1, zones: [a, b]}}", "fine"),
        ("provider: {options: {}}", "`type` is missing in `provider`"),
        ("models: [llm]", "fine"),
        ("post_start: [{command: echo a, user: root}]", "fine"),
        ("pre_stop: [{run: echo}]", "unknown key `run`"),
    ];
    let told = |(body, expect): &(&str, &str)| {
        let found = verdict(body);
        (found != *expect).then(|| format!("{body}\n  found    {found}\n  expected {expect}"))
    };
    let wrong: Vec<String> = cases.iter().filter_map(told).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn top_level_sections_are_as_strict() {
    let check = |tail: &str, expect: &str| {
        let text = format!("services:\n  web:\n    image: i\n{tail}\n");
        let found = match case(&[("compose.yaml", &text)]).load() {
            Ok(_) => "fine".to_owned(),
            Err(found) => found.0[0].message.clone(),
        };
        assert_eq!(found, expect, "{tail}");
    };
    check("volumes:", "`volumes` must be a mapping, found nothing");
    check("networks: ~", "`networks` must be a mapping, found nothing");
    check("networks: {n: }", "fine");
    check("volumes: {v: }", "fine");
    check("secrets: {s: }", "`secrets.s` needs exactly one of `file`, `environment`");
    check("configs: {c: {}}", "`configs.c` needs exactly one of `file`, `environment`, `content`");
    check(
        "configs: {c: {file: a, content: b}}",
        "`configs.c` needs exactly one of `file`, `environment`, `content`",
    );
    check("version: 3.8", "`version` must be text, found `3.8`");
    check("version: '3.8'", "fine");
    check("x-anything: {a: [1, null]}", "fine");
    check("network: {}", "unknown key `network`");
    check(
        "volumes: {v: {external: true, driver: local}}",
        "`volumes.v` is external and declares `driver`",
    );
    check("volumes: {v: {external: {name: w}}}", "fine");
    check("networks: {n: {driver_opts: [a]}}", "`driver_opts` must be a mapping, found a list");
    check("models: {llm: {model: ai/small, context_size: 1024}}", "fine");
    check("models: {llm: {}}", "`model` is missing in `llm`");
    check("name: Shop", "`Shop` is not a project name");
}

#[test]
fn paths_and_mounts_are_those_of_docker_compose() {
    let check = |body: &str, expect: Value| check_web(&format!("    {body}\n"), expect);
    check(
        "volumes: ['C:\\a:/b']",
        json!({"volumes": [{"type": "bind", "source": "C:\\a", "target": "/b",
            "bind": {"create_host_path": true}}]}),
    );
    check("volumes: [/a]", json!({"volumes": [{"type": "volume", "target": "/a"}]}));
    check(
        "volumes: [{type: bind, source: ./a, target: /b/../c, bind: {propagation: rslave}}]",
        json!({"volumes": [{"type": "bind", "source": "/p/a", "target": "/c",
            "bind": {"propagation": "rslave"}}]}),
    );
    check(
        "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 0700}}]",
        json!({"volumes": [{"type": "tmpfs", "target": "/t",
            "tmpfs": {"size": "67108864", "mode": 448}}]}),
    );
    let text = "services:\n  web:\n    image: i\n    volumes: ['data:/d:z', '~/a:/h', '~b:/i']\n\
                volumes:\n  data:\n";
    let files = [("compose.yaml", text)];
    let mut case = case(&files);
    case.environment = &[("HOME", "/home/u")];
    let model = case.model();
    assert_eq!(
        model["services"]["web"]["volumes"],
        json!([
            {"type": "volume", "source": "data", "target": "/d", "bind": {"selinux": "z"},
                "volume": {}},
            {"type": "bind", "source": "/home/u/a", "target": "/h",
                "bind": {"create_host_path": true}},
            {"type": "bind", "source": "/home/u/b", "target": "/i",
                "bind": {"create_host_path": true}},
        ])
    );
    let warned = &case.load().unwrap().warnings;
    assert_eq!(warned[0].message, "the mount option `selinux` has no effect on a volume");
    assert!(case.lower().is_ok());
}

#[test]
fn a_later_file_may_fill_what_an_earlier_one_left_empty() {
    let load = |first: &str, second: &str| {
        let file = |body: &str| format!("services:\n  web:\n    image: i\n    {body}\n");
        let (first, second) = (file(first), file(second));
        let files = [("compose.yaml", first.as_str()), ("compose.override.yaml", second.as_str())];
        web(&files)
    };
    assert_eq!(load("environment:", "environment: {A: 1}"), json!({"environment": {"A": "1"}}));
    assert_eq!(load("environment: {A: 1}", "environment:"), json!({"environment": {"A": "1"}}));
    assert_eq!(load("command: a", "command:"), json!({"command": ["a"]}));
    assert_eq!(
        load("security_opt: [a]", "security_opt: [a, b]"),
        json!({"security_opt": ["a", "b"]})
    );
}

#[test]
fn address_pools_are_laid_over_those_of_the_same_subnet() {
    let file = |config: &str| {
        format!(
            "services: {{web: {{image: i, networks: [n]}}}}\nnetworks:\n  n:\n    ipam:\n      \
             config: {config}\n"
        )
    };
    let pools = |first: &str, second: &str| {
        let (first, second) = (file(first), file(second));
        let files = [("compose.yaml", first.as_str()), ("compose.override.yaml", second.as_str())];
        case(&files).model()["networks"]["n"]["ipam"]["config"].clone()
    };
    let base = "[{subnet: 10.0.0.0/24, gateway: 10.0.0.1}]";
    assert_eq!(
        pools(base, "[{subnet: 10.0.0.0/24, ip_range: 10.0.0.128/25}]"),
        json!([{"subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "ip_range": "10.0.0.128/25"}])
    );
    assert_eq!(pools(base, "[{subnet: 10.1.0.0/24}]"), json!([{"subnet": "10.1.0.0/24"}]));
}

#[test]
fn what_would_have_to_be_fetched_is_left_out_and_not_deployed() {
    let text = "include: ['https://example.org/a.git', 'oci://example.org/b']\n\
                services:\n  web:\n    image: i\n";
    let files = [("compose.yaml", text)];
    let case = case(&files);
    assert_eq!(case.load().unwrap().warnings.len(), 2);
    let problems = first_lines(&case.lower().unwrap_err());
    assert_eq!(
        problems,
        [
            "compose.yaml:1:11: `https://example.org/a.git` is not on this machine and is left out",
            "compose.yaml:1:40: `oci://example.org/b` is not on this machine and is left out",
        ]
    );
}

#[test]
fn what_only_another_program_can_do_is_shown_and_refused() {
    let text = "
services:
  llm: {provider: {type: model, options: {model: x}}}
  web: {image: i, models: {small: {endpoint_var: URL}}, depends_on: [llm]}
models: {small: {model: ai/small}}
";
    let files = [("compose.yaml", text)];
    let case = case(&files);
    let model = case.model();
    assert_eq!(model["services"]["llm"]["provider"]["options"], json!({"model": "x"}));
    assert_eq!(model["services"]["web"]["models"], json!({"small": {"endpoint_var": "URL"}}));
    assert_eq!(model["models"], json!({"small": {"model": "ai/small"}}));
    let problems = first_lines(&case.lower().unwrap_err());
    assert_eq!(
        problems,
        [
            "compose.yaml:3:9: `services.llm.provider` cannot be honoured: another program would \
             have to make this service",
            "compose.yaml:4:19: `services.web.models` cannot be honoured: models are served by \
             another program, not by the engine",
        ]
    );
}

#[test]
fn literals_are_told_from_what_variables_brought() {
    let text = "services:\n  web:\n    image: i\n    env_file: [a.env]\n    environment:\n      \
                A: written\n      B: ${B}\n      C: a$$b\n      D:\n      E: ''\n      G: ${G:-default}\n      H: x${B}\n";
    let files = [("compose.yaml", text), ("a.env", "F=file\n")];
    let mut case = case(&files);
    case.environment = &[("B", "shell"), ("D", "shell")];
    let project = case.load().unwrap();
    let literals: Vec<&str> = project.literals("web").unwrap().iter().map(String::as_str).collect();
    assert_eq!(literals, ["A", "C", "G"]);
    let place = |path: &[&str]| {
        let place = project.place("web", path)?;
        Some((place.line, place.column))
    };
    assert_eq!(place(&["environment", "A"]), Some((6, 7)));
    assert_eq!(place(&["deploy", "resources"]), Some((2, 3)));
    assert_eq!(place(&["networks", "default"]), Some((2, 3)));
    assert_eq!(project.place("nobody", &[]), None);
}

/// A bomb costs what stands in the file, not what it would expand to.
#[test]
fn a_bomb_is_refused_before_it_is_built() {
    let mut laughs = "x-0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
    for level in 1..30 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(laughs, "x-{level}: &a{level} [{below}]");
    }
    laughs.push_str("services: {web: {image: i}}\n");
    let problems = case(&[("compose.yaml", &laughs)]).problems();
    assert_eq!(problems, ["compose.yaml:6:16: more than 200000 values once aliases are expanded"]);
    let deep = format!("services: {}{}\n", "[".repeat(100), "]".repeat(100));
    let problems = case(&[("compose.yaml", &deep)]).problems();
    assert_eq!(problems, ["compose.yaml:1:74: nested more than 64 levels deep"]);
    let mut variables = "services:\n  web:\n    image: i\n    labels:\n".to_owned();
    for number in 0..40 {
        let _ = writeln!(variables, "      l{number}: {}", "${BIG}".repeat(9));
    }
    let big = "x".repeat(1 << 16);
    let pairs = [("BIG", big.as_str())];
    let files = [("compose.yaml", variables.as_str())];
    let mut case = case(&files);
    case.environment = &pairs;
    let problems = case.problems();
    assert!(problems[0].ends_with("variables add more than 16 MiB"), "{problems:?}");
}
