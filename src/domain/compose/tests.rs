//! Whole projects through the loader: merging, extending, including, completing, lowering.

use std::collections::BTreeMap;

mod hooks;
mod lowering;
mod schema;
mod spelling;
mod surveying;
mod yaml_form;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::{Diagnostics, Digest};
use crate::facts::{Condition, HealthProbe, MountKind, NetworkMode, ProjectSpec, RestartPolicy};

/// A project in memory: files by their path in `/p`.
struct Case<'a> {
    files: &'a [(&'a str, &'a str)],
    options: Options,
    environment: &'a [(&'a str, &'a str)],
}

fn case<'a>(files: &'a [(&'a str, &'a str)]) -> Case<'a> {
    let options = Options { directory: "/p".to_owned(), ..Options::default() };
    Case { files, options, environment: &[] }
}

impl Case<'_> {
    fn answers(&self) -> Files {
        let absolute = |path: &str| format!("/p/{path}");
        let files = self.files.iter();
        files.map(|(p, t)| (absolute(p), Answer::Content(t.as_bytes().to_vec()))).collect()
    }

    fn load(&self) -> Result<Project, Diagnostics> {
        let all = self.answers();
        let pairs = self.environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let environment: BTreeMap<String, String> = pairs.collect();
        let mut known = Files::new();
        for _ in 0..50 {
            match load(&self.options, &environment, &known)? {
                Loaded::Done(project) => return Ok(*project),
                Loaded::Needs(paths) => {
                    for path in paths {
                        assert!(!known.contains_key(&path), "{path} was asked for twice");
                        let answer = all.get(&path).cloned().unwrap_or(Answer::Missing);
                        known.insert(path, answer);
                    }
                }
            }
        }
        panic!("the loader does not stop asking");
    }

    fn model(&self) -> Value {
        match self.load() {
            Ok(project) => canonical(&project),
            Err(problems) => panic!("{problems}"),
        }
    }

    /// First lines of all problems.
    fn problems(&self) -> Vec<String> {
        match self.load() {
            Ok(project) => panic!("accepted: {}", canonical(&project)),
            Err(problems) => first_lines(&problems),
        }
    }

    fn lower(&self) -> Result<ProjectSpec, Diagnostics> {
        let inputs = Inputs {
            files: self.answers(),
            context_digests: BTreeMap::from([("web".to_owned(), Digest::of(b"context"))]),
        };
        lower(&self.load()?, &inputs)
    }
}

fn first_lines(problems: &Diagnostics) -> Vec<String> {
    let text = |problem: &crate::base::Diagnostic| problem.to_string();
    problems.0.iter().map(|p| text(p).lines().next().unwrap_or_default().to_owned()).collect()
}

/// The canonical form of service `web`, without what every service has.
fn web(files: &[(&str, &str)]) -> Value {
    let mut model = case(files).model();
    let mut service = model["services"]["web"].take();
    if let Some(fields) = service.as_object_mut() {
        let default = json!({"default": null});
        fields.retain(|key, value| {
            !(value.is_null() || key == "image" || (key == "networks" && *value == default))
        });
    }
    service
}

fn check_web(body: &str, expect: Value) {
    let text = format!("services:\n  web:\n    image: i\n{body}");
    assert_eq!(web(&[("compose.yaml", &text)]), expect, "{body}");
}

#[test]
fn short_forms_become_long_forms() {
    check_web("    command: sh -c 'a b'\n", json!({"command": ["sh", "-c", "a b"]}));
    check_web("    command: []\n", json!({"command": []}));
    check_web(
        "    ports: [80, '8080:81/udp']\n",
        json!({"ports": [
        {"mode": "ingress", "protocol": "tcp", "target": 80},
        {"mode": "ingress", "protocol": "udp", "published": "8080", "target": 81}]}),
    );
    check_web(
        "    ports: [{target: '80', published: 8080}]\n",
        json!({"ports": [
        {"mode": "ingress", "protocol": "tcp", "published": "8080", "target": 80}]}),
    );
    check_web(
        "    volumes: ['./a:/b:ro,z', '/anon', '~/h:/h']\n",
        json!({"volumes": [
        {"type": "bind", "source": "/p/a", "target": "/b", "read_only": true,
         "bind": {"create_host_path": true, "selinux": "z"}},
        {"type": "volume", "target": "/anon", "volume": {}},
        {"type": "bind", "source": "/p/~/h", "target": "/h", "bind": {"create_host_path": true}}]}),
    );
    check_web(
        "    healthcheck: {test: curl x, interval: 90s, retries: 3}\n",
        json!({"healthcheck":
        {"test": ["CMD-SHELL", "curl x"], "interval": "1m30s", "retries": 3}}),
    );
    check_web(
        "    extra_hosts: ['b:1.1.1.1', 'a=[::1]']\n",
        json!({"extra_hosts":
        ["a=::1", "b=1.1.1.1"]}),
    );
    check_web(
        "    ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}\n",
        json!({"ulimits":
        {"nproc": 5, "nofile": {"soft": 1, "hard": 2}}}),
    );
    check_web("    dns: 1.1.1.1\n    tmpfs: /t\n", json!({"dns": ["1.1.1.1"], "tmpfs": ["/t"]}));
    check_web(
        "    devices: ['/dev/a:/dev/b']\n",
        json!({"devices":
        [{"source": "/dev/a", "target": "/dev/b", "permissions": "rwm"}]}),
    );
    check_web(
        "    mem_limit: 1.5g\n    cpus: '0.10'\n    shm_size: 64\n",
        json!({
        "mem_limit": "1610612736", "cpus": 0.1, "shm_size": "64"}),
    );
}

#[test]
fn values_are_text_where_text_is_meant() {
    check_web(
        "    environment: {A: 1.10, B: yes, C: 0x10, D: '1.10', E: null, F: true}\n",
        json!({"environment":
            {"A": "1.1", "B": "yes", "C": "16", "D": "1.10", "E": null, "F": "true"}}),
    );
    check_web("    labels: [a=1, b]\n", json!({"labels": {"a": "1", "b": ""}}));
    check_web(
        "    environment: [A=b=c, D=$$x]\n",
        json!({"environment": {"A": "b=c", "D": "$$x"}}),
    );
    check_web("    restart: no\n", json!({"restart": "no"}));
    check_web("    init: 'false'\n    tty: 'yes'\n", json!({"init": false, "tty": true}));
}

#[test]
fn later_files_are_laid_over_earlier_ones() {
    let check = |base: &str, over: &str, expect: Value| {
        let wrap = |body: &str| format!("services:\n  web:\n    image: i\n    {body}\n");
        let files = [("compose.yaml", wrap(base)), ("compose.override.yaml", wrap(over))];
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
        assert_eq!(web(&files), expect, "{base} + {over}");
    };
    check("command: a", "command: b c", json!({"command": ["b", "c"]}));
    check(
        "environment: [A=1, B=1]",
        "environment: {B: 2}",
        json!({"environment":
        {"A": "1", "B": "2"}}),
    );
    check("dns: 1.1.1.1", "dns: [2.2.2.2]", json!({"dns": ["1.1.1.1", "2.2.2.2"]}));
    check("expose: [80, 81]", "expose: ['80']", json!({"expose": ["80", "81"]}));
    check(
        "volumes: ['vol:/x', '/y']",
        "volumes: ['/z:/x']",
        json!({"volumes": [
        {"type": "bind", "source": "/z", "target": "/x", "bind": {"create_host_path": true}},
        {"type": "volume", "target": "/y"}]}),
    );
    check(
        "ports: ['80:80']",
        "ports: ['80:80', '81:81']",
        json!({"ports": [
        {"mode": "ingress", "protocol": "tcp", "published": "80", "target": 80},
        {"mode": "ingress", "protocol": "tcp", "published": "81", "target": 81}]}),
    );
    check(
        "ports: ['80:80']",
        "ports: !override ['81:81']",
        json!({"ports": [
        {"mode": "ingress", "protocol": "tcp", "published": "81", "target": 81}]}),
    );
    check("ports: ['80:80']", "ports: !reset []", json!({}));
    check(
        "environment: {A: 1, B: 1}",
        "environment: {A: !reset null}",
        json!({"environment":
        {"B": "1"}}),
    );
    check(
        "logging: {driver: a, options: {x: 1}}",
        "logging: {driver: b}",
        json!({"logging":
        {"driver": "b"}}),
    );
    check(
        "logging: {driver: a, options: {x: 1}}",
        "logging: {options: {y: 2}}",
        json!({"logging":
        {"driver": "a", "options": {"x": "1", "y": "2"}}}),
    );
    check(
        "build: ./c",
        "build: {args: {A: 1}}",
        json!({"build":
        {"context": "/p/c", "dockerfile": "Dockerfile", "args": {"A": "1"}}}),
    );
}

#[test]
fn a_service_extends_another_one() {
    let base = "services:\n  base:\n    image: b\n    environment: {A: 1, B: 1}\n    volumes: \
                ['./d:/d']\n";
    let main = "services:\n  mid:\n    extends: {file: sub/base.yaml, service: base}\n    \
                environment: {B: 2}\n  web:\n    extends: mid\n    image: i\n";
    assert_eq!(
        web(&[("compose.yaml", main), ("sub/base.yaml", base)]),
        json!({"environment": {"A": "1", "B": "2"}, "volumes": [{"type": "bind",
            "source": "/p/sub/d", "target": "/d", "bind": {"create_host_path": true}}]})
    );
    let cycle = "services:\n  a:\n    extends: b\n  b:\n    extends: a\n";
    let problems = case(&[("compose.yaml", cycle)]).problems();
    assert_eq!(problems[0], "compose.yaml:3:14: `extends` runs in a circle: a → b → a");
    let unknown = "services:\n  web:\n    extends: bas\n  base:\n    image: i\n";
    let problems = case(&[("compose.yaml", unknown)]).problems();
    assert_eq!(
        problems,
        ["compose.yaml:3:14: cannot extend `bas`: `compose.yaml` has no such service"]
    );
}

#[test]
fn an_included_project_keeps_its_directory_and_variables() {
    let main =
        "include: [sub/compose.yaml]\nservices:\n  web:\n    image: i\n    depends_on: [db]\n";
    let sub = "services:\n  db:\n    image: db:${TAG:-none}\n    build: .\n";
    let files = [("compose.yaml", main), ("sub/compose.yaml", sub), ("sub/.env", "TAG=7\n")];
    let model = case(&files).model();
    assert_eq!(model["services"]["db"]["image"], "db:7");
    assert_eq!(model["services"]["db"]["build"]["context"], "/p/sub");
    let conflict = "include: [sub/compose.yaml]\nservices:\n  db:\n    image: other\n";
    let files = [("compose.yaml", conflict), ("sub/compose.yaml", sub)];
    let expect =
        "compose.yaml:1:11: `services.db` of the included project is declared here as well";
    assert_eq!(case(&files).problems(), [expect]);
    let circle = "include: [compose.yaml]\nservices: {}\n";
    let problems = case(&[("compose.yaml", circle)]).problems();
    assert_eq!(problems, ["compose.yaml:1:11: `include` of `compose.yaml` runs in a circle"]);
}

#[test]
fn variables_come_from_the_environment_before_the_env_file() {
    let text = "services:\n  web:\n    image: i:${A}-${B}-$C\n";
    let files = [("compose.yaml", text), (".env", "A=file\nB=file\n")];
    let mut case = case(&files);
    case.environment = &[("A", "shell"), ("UNUSED", "x")];
    let project = case.load().unwrap();
    assert_eq!(canonical(&project)["services"]["web"]["image"], "i:shell-file-");
    assert!(project.variables.contains("A") && !project.variables.contains("UNUSED"));
    assert_eq!(project.warnings.len(), 1, "{:?}", project.warnings);
    case.options.env_files = vec!["none.env".to_owned()];
    assert_eq!(case.problems(), ["there is no file `none.env`"]);
}

#[test]
fn environment_wins_over_env_files_and_later_files_over_earlier_ones() {
    let text = "services:\n  web:\n    image: i\n    env_file: [a.env, {path: b.env}, {path: none, \
                required: false}]\n    environment: [C=service, SHELL_ONE]\n";
    let files = [("compose.yaml", text), ("a.env", "A=a\nB=a\nC=a\n"), ("b.env", "B=b\nD=${A}\n")];
    let mut case = case(&files);
    case.environment = &[("SHELL_ONE", "s"), ("A", "shell")];
    let expect = json!({"A": "a", "B": "b", "C": "service", "D": "a", "SHELL_ONE": "s"});
    assert_eq!(case.model()["services"]["web"]["environment"], expect);
}

#[test]
fn a_service_that_is_named_brings_its_profiles_and_no_others() {
    let text = "services:\n  web: {image: i}\n  debug: {image: d, profiles: [dev]}\n  \
                proxy: {image: p, profiles: [dev, edge]}\n  job: {image: j, profiles: [batch]}\n";
    let files = [("compose.yaml", text), (".env", "COMPOSE_PROFILES=batch\n")];
    let mut case = case(&files);
    let names = |case: &Case<'_>| -> Vec<String> {
        case.load().unwrap().services().map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names(&case), ["web", "job"]);
    case.options.services = vec!["debug".to_owned(), "nobody".to_owned()];
    assert_eq!(names(&case), ["web", "debug", "proxy", "job"]);
}

#[test]
fn profiles_choose_services_and_unused_resources_go() {
    let text = "services:\n  web:\n    image: i\n  debug:\n    image: d\n    profiles: [dev]\n    \
                volumes: ['vol:/v']\nvolumes:\n  vol:\n  w:\n";
    let files = [("compose.yaml", text)];
    let mut case = case(&files);
    assert_eq!(case.model()["services"].as_object().unwrap().len(), 1);
    assert_eq!(case.model().get("volumes"), None);
    case.options.profiles = vec!["dev".to_owned()];
    assert_eq!(case.model()["volumes"], json!({"vol": {"name": "p_vol"}}));
    case.options.profiles.clear();
    case.environment = &[("COMPOSE_PROFILES", "x,dev")];
    assert_eq!(case.model()["services"].as_object().unwrap().len(), 2);
}

#[test]
fn the_name_follows_the_order_of_the_specification() {
    let files =
        [("compose.yaml", "name: given\nservices:\n  web:\n    image: $COMPOSE_PROJECT_NAME\n")];
    let mut case = case(&files);
    assert_eq!(case.model()["name"], "given");
    assert_eq!(case.model()["services"]["web"]["image"], "given");
    case.environment = &[("COMPOSE_PROJECT_NAME", "env")];
    assert_eq!(case.model()["name"], "env");
    case.options.project_name = Some("asked".to_owned());
    assert_eq!(case.model()["name"], "asked");
    case.options.project_name = Some("No".to_owned());
    assert_eq!(case.problems(), ["`No` is not a project name"]);
}

#[test]
fn problems_name_the_place_and_come_together() {
    let check = |text: &str, expect: &[&str]| {
        assert_eq!(case(&[("compose.yaml", text)]).problems(), expect, "{text}");
    };
    check(
        "services:\n  web:\n    imag: x\n    tty: maybe\n",
        &[
            "compose.yaml:3:5: unknown key `imag`",
            "compose.yaml:4:10: `tty` must be `true` or `false`, found `maybe`",
        ],
    );
    check(
        "services:\n  web:\n    image: ${X:?set X}\n",
        &["compose.yaml:3:12: required variable `X` is missing a value: set X"],
    );
    check(
        "services:\n  a:\n    image: i\n    depends_on: [b]\n  b:\n    image: i\n    depends_on: \
           [a]\n",
        &["compose.yaml:7:18: dependency cycle: a → b → a"],
    );
    check(
        "services:\n  a:\n    image: i\n    networks: [n]\n    volumes: ['vol:/v']\n    \
         secrets: [s]\n",
        &[
            "compose.yaml:4:16: service `a` refers to undefined network `n`",
            "compose.yaml:5:15: service `a` refers to undefined volume `vol`",
            "compose.yaml:6:15: service `a` refers to undefined secret `s`",
        ],
    );
    check(
        "services:\n  a: {}\n",
        &["compose.yaml:2:3: service `a` has neither an image nor a \
        build context"],
    );
    check("services:\n  a:\n", &["compose.yaml:2:3: service `a` must be a mapping"]);
    check("services: [a]\n", &["compose.yaml:1:11: `services` must be a mapping, found a list"]);
    check(
        "services:\n  a:\n    image: 1.5\n",
        &["compose.yaml:3:12: `image` must be text, found `1.5`"],
    );
    check(
        "services:\n  a:\n    image: i\n    ports: ['x:80']\n",
        &["compose.yaml:4:13: `x:80` is not a port: `x` is not a port from 0 to 65535"],
    );
    check(
        "services:\n  a:\n    image: !x i\n",
        &["compose.yaml:3:12: the tag `!x` has no meaning \
        in a compose file"],
    );
    check(
        "services:\n  a:\n    image: i\n    env_file: no.env\n",
        &["compose.yaml:4:15: env file `no.env` not found"],
    );
    check(
        "services:\n  a:\n    image: i\n    depends_on:\n      b: {condition: started}\n",
        &["compose.yaml:5:22: `condition` cannot be `started`"],
    );
}

#[test]
fn lowering_translates_what_containers_are_made_of() {
    let text = "
services:
  web:
    build: {context: ., args: {A: '1'}}
    container_name: w
    depends_on: {db: {condition: service_healthy, restart: true}}
    environment: {A: b, UNSET: null}
    restart: on-failure:3
    cap_add: [cap_net_admin, SYS_TIME]
    ports: ['127.0.0.1:8080:80']
    volumes: ['data:/data:ro', '/anon']
    tmpfs: '/run:size=1m'
    networks: {front: {aliases: [w]}}
    configs: [{source: c, target: /etc/c, mode: 0400}]
    deploy: {resources: {limits: {cpus: '0.5', memory: 64m}}}
  db:
    image: db
    healthcheck: {test: [CMD, ok]}
    network_mode: host
networks: {front: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}
volumes: {data: {}}
configs: {c: {file: ./c.txt}}
";
    let spec = case(&[("compose.yaml", text), ("c.txt", "hello")]).lower().unwrap();
    let web = &spec.services["web"];
    assert_eq!(web.spec.image, "p-web");
    assert!(web.build.as_ref().unwrap().context_digest.is_some());
    assert_eq!(web.depends_on["db"].condition, Condition::ServiceHealthy);
    assert_eq!(web.spec.environment.keys().collect::<Vec<_>>(), ["A"]);
    assert_eq!(web.spec.restart, RestartPolicy::OnFailure { retries_max: 3 });
    assert_eq!(web.spec.security.cap_add.iter().collect::<Vec<_>>(), ["NET_ADMIN", "SYS_TIME"]);
    assert_eq!(web.spec.resources.nano_cpus, Some(500_000_000));
    assert_eq!(web.spec.resources.memory_bytes, Some(64 << 20));
    assert_eq!(web.spec.mounts["/anon"].kind, MountKind::Anonymous);
    assert!(
        matches!(&web.spec.mounts["/data"].kind, MountKind::Volume { name, .. } if name == "p_data")
    );
    let NetworkMode::Networks(networks) = &web.spec.network_mode else { panic!("no networks") };
    assert_eq!(networks["p_front"].aliases.iter().collect::<Vec<_>>(), ["w", "web"]);
    let file = &web.files["/etc/c"];
    assert_eq!((file.content.expose().as_slice(), file.mode), (&b"hello"[..], 0o400));
    let db = &spec.services["db"].spec;
    assert_eq!(db.network_mode, NetworkMode::Host);
    assert_eq!(db.healthcheck.as_ref().unwrap().probe, HealthProbe::Exec(vec!["ok".to_owned()]));
    assert_eq!(spec.networks["front"].ipam.as_ref().unwrap().pools.len(), 1);
}

#[test]
fn the_canonical_model_is_a_compose_file_with_the_same_model() {
    let text = "services:\n  web:\n    image: i\n    command: echo $$HOME\n    \
                ports: ['8000-8001:80-81']\n    \
                environment: {A: 'x$$y'}\n    volumes: ['dd:/d', './b:/b']\n    mem_limit: 1g\n    \
                healthcheck: {test: ok, interval: 1m}\nvolumes: {dd: {}}\n";
    let model = case(&[("compose.yaml", text)]).model();
    let again = case(&[("compose.yaml", &model.to_string())]).model();
    assert_eq!(again, model);
}

#[test]
fn a_bundle_survives_the_way_and_hides_its_content() {
    let options = Options { directory: "/p".to_owned(), ..Options::default() };
    let text = "services:\n  web:\n    image: i\n    environment: [PASSWORD=hunter2]\n";
    let mut files: BTreeMap<String, BundleFile> =
        [(".env"), ("compose.yml"), ("docker-compose.yml"), ("docker-compose.yaml")]
            .into_iter()
            .map(|name| (format!("/p/{name}"), BundleFile::Missing))
            .collect();
    files.insert("/p/compose.yaml".to_owned(), BundleFile::Text(text.to_owned()));
    let bundle = Bundle { options, files, ..Bundle::default() };
    let problems = load_bundle(&bundle).unwrap_err();
    assert!(first_lines(&problems).iter().all(|line| line.starts_with("the bundle does not hold")));
    let mut bundle = bundle;
    for name in ["compose", "docker-compose"] {
        for end in ["yaml", "yml"] {
            let path = format!("/p/{name}.override.{end}");
            bundle.files.insert(path, BundleFile::Missing);
        }
    }
    let sent: Bundle = serde_json::from_str(&serde_json::to_string(&bundle).unwrap()).unwrap();
    assert_eq!(sent, bundle);
    let project = load_bundle(&sent).unwrap();
    assert!(!format!("{bundle:?} {project:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(
        body in "[ \\-:\\[\\]{}&*!<>|'\"#$?+a-d0-2\n]{0,120}",
        key in "(ports|volumes|build|environment|depends_on|networks|extends|command|ulimits)",
    ) {
        let text = format!("services:\n  web:\n    image: i\n    {key}: {body}\n");
        let case = case(&[]);
        let files = [("compose.yaml", text.as_str()), (".env", body.as_str())];
        let _ = Case { files: &files, ..case }.lower();
    }
}
