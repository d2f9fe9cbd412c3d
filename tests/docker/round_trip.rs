//! From a compose file to the engine and back: what was deployed and read back is the contract that
//! was declared, field by field, for a project that uses every key of a service that this engine knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wharfinger::cli::project_files::read_project;
use wharfinger::domain::compose::{Answer, Inputs, Options, lower, service_keys};
use wharfinger::facts::{
    ContainerFacts, ProjectSpec, ServiceSpec, differences, effective, resolve_namespaces,
};
use wharfinger::world::docker::{DockerEngine, Engine, EngineAddress, NewContainer};

use crate::support::agent::Agent;
use crate::support::engine;
use crate::support::project::Project;

const NAME: &str = "wharfround";

/// Keys that the project leaves out, and why.
const LEFT_OUT: [(&str, &str); 17] = [
    ("annotations", "needs API 1.43"),
    ("blkio_config", "needs a block device that every machine has"),
    ("cpu_count", "Windows only"),
    ("cpu_percent", "Windows only"),
    ("cpu_rt_period", "needs a kernel with real-time groups"),
    ("cpu_rt_runtime", "needs a kernel with real-time groups"),
    ("credential_spec", "Windows only"),
    ("develop", "refused: for people who develop, not for what runs"),
    ("gpus", "a container without the card does not start; the suite of engines reads it back"),
    ("isolation", "Windows only"),
    ("mac_address", "needs API 1.44"),
    ("mem_swappiness", "needs control groups of version 1"),
    ("models", "refused: another program serves them"),
    ("oom_kill_disable", "needs control groups of version 1"),
    ("profiles", "says whether there is a service, not how it runs"),
    ("provider", "refused: another program makes the service"),
    ("storage_opt", "needs quotas on the engine's file system"),
];

const COMPOSE: &str = r#"
x-idle: &idle
  image: @IMAGE@
  command: [sleep, "3600"]
  init: true
  stop_grace_period: 1s

services:
  everything:
    image: @IMAGE@
    container_name: wharfround-everything
    platform: linux/@ARCH@
    pull_policy: missing
    attach: false
    entrypoint: [/bin/busybox, env]
    command: ["OWN=1", /bin/busybox, sleep, "3600"]
    env_file: [./own.env]
    label_file: [./own.labels]
    environment: {EMPTY: "", SUM: "a=b", DOLLAR: "$$HOME"}
    labels: {tier: back, com.example.note: two words}
    user: "12:34"
    group_add: ["56"]
    working_dir: /srv
    hostname: box
    domainname: example.test
    tty: true
    stdin_open: true
    init: true
    stop_signal: SIGUSR1
    stop_grace_period: 2s
    restart: on-failure:4
    healthcheck:
      test: test -e /bin/busybox
      interval: 11s
      timeout: 2500ms
      retries: 6
      start_period: 7s
    expose: ["9000", 7000-7002/udp]
    ports:
      - 127.0.0.1:18493:80
      - {target: 53, protocol: udp, mode: host}
    volumes:
      - data:/volume
      - {type: volume, source: data, target: /raw, read_only: true, volume: {nocopy: true}}
      - {type: bind, source: ., target: /found, bind: {propagation: private, create_host_path: false}}
      - ./:/short:ro
      - /anonymous
      - {type: tmpfs, target: /memory, tmpfs: {size: 1m, mode: 0o1770}}
    tmpfs: ["/memory-raw:noexec,uid=5"]
    configs:
      - {source: motd, target: /etc/motd, uid: "12", gid: "34", mode: 0440}
    secrets:
      - {source: token, target: token, uid: "12", gid: "0", mode: 0400}
    networks:
      front: {aliases: [web, www], ipv4_address: 10.213.78.9, priority: 10}
      back: {aliases: [api]}
    links: [plain, "plain:other"]
    external_links: ["wharfround-outside:legacy", wharfround-beyond]
    depends_on: {plain: {condition: service_started}}
    extra_hosts: ["db=10.0.0.9", "six=::1"]
    dns: [10.0.0.2, 10.0.0.1]
    dns_search: [example.test]
    dns_opt: ["ndots:2"]
    logging: {driver: json-file, options: {max-size: 1m}}
    runtime: runc
    mem_limit: 64m
    mem_reservation: 32m
    memswap_limit: 96m
    cpus: 0.5
    cpu_shares: 512
    cpuset: "0"
    pids_limit: 77
    shm_size: 8m
    oom_score_adj: 100
    ulimits: {nofile: {soft: 1000, hard: 2000}, nproc: 500}
    read_only: true
    cap_add: [net_admin]
    cap_drop: [CAP_MKNOD, CHOWN]
    security_opt: ["no-new-privileges:true", "seccomp=unconfined"]
    ipc: shareable
    pid: host
    cgroup: host
    cgroup_parent: /wharf-round
    devices: ["/dev/null:/dev/nothing:rw"]
    device_cgroup_rules: ["c 1:3 rwm"]
    sysctls: {net.ipv4.ip_forward: "1"}
    # The engine reports no hooks: what they did is looked at.
    post_start:
      - command: [/bin/busybox, sh, -c, 'echo "$$FROM_FILE $$OWN $$(pwd)" > written']
        user: "0:0"
        working_dir: /volume
        environment: {OWN: hook}
    pre_stop:
      - command: [/bin/busybox, sh, -c, "echo stopping > /volume/stopping"]
        user: "0"

  plain:
    <<: *idle
    scale: 2
    networks: [front]

  limited:
    <<: *idle
    cpu_period: 50000
    cpu_quota: 20000
    volumes: ["data:/shared", /own]
    networks: [back]
    deploy:
      replicas: 1
      resources:
        limits: {memory: 48M, pids: 60}
        reservations: {memory: 16M}
      restart_policy: {condition: on-failure, max_attempts: 3}

  hosted:
    <<: *idle
    network_mode: host
    uts: host
    userns_mode: host
    privileged: ${MAY_ALL:-false}
    # Not those of `everything`: an engine of version 20.10 finds no volume behind a tmpfs.
    volumes_from: ["limited:ro"]

  guest:
    extends: {service: hosted}
    network_mode: service:plain
    uts: !reset null
    pid: service:plain
    ipc: service:everything
    volumes_from: !reset []

  built:
    <<: *idle
    image: wharfround-built
    build:
      context: .
      dockerfile_inline: |
        FROM @IMAGE@
        LABEL made=here
    networks: [back]

networks:
  front:
    ipam: {config: [{subnet: 10.213.78.0/24}]}
  back: {internal: true, labels: {kind: inside}}

volumes:
  data: {labels: {kind: kept}}

configs:
  motd: {content: "good day\n"}
secrets:
  token: {file: ./token}
"#;

fn compose() -> String {
    let architecture = engine::docker_text(&["version", "-f", "{{.Server.Arch}}"]);
    COMPOSE.replace("@ARCH@", &architecture)
}

fn project() -> Project {
    let project = Project::new(NAME, &compose());
    project.write("own.env", "FROM_FILE=yes\nQUOTED='two words'\n");
    project.write("own.labels", "from.file=yes\n");
    project.write("token", "open sesame\n");
    project
}

fn declared(project: &Project) -> ProjectSpec {
    let options = Options {
        directory: project.dir.path().to_string_lossy().into_owned(),
        files: vec!["compose.yaml".to_owned()],
        project_name: Some(project.name.clone()),
        ..Options::default()
    };
    let (model, mut files) = read_project(&options).unwrap();
    let token = project.dir.path().join("token");
    let content = Answer::Content(std::fs::read(&token).unwrap());
    files.insert(token.to_string_lossy().into_owned(), content);
    lower(&model, &Inputs { files, ..Inputs::default() }).unwrap()
}

/// What was found of the project, by service and number.
async fn found(engine: &dyn Engine) -> BTreeMap<(String, u32), ContainerFacts> {
    let mut found = BTreeMap::new();
    for id in engine::containers_of(NAME) {
        let facts = engine.container(&id).await.unwrap().expect("it is there");
        let instance = facts.instance.clone().expect("one of the project");
        found.insert((instance.service, instance.number), facts);
    }
    found
}

/// Where containers of the project differ from what `declared` says; the files that the agent mounts
/// for configs and secrets are looked at by themselves.
async fn differing(engine: &dyn Engine, declared: &ProjectSpec) -> Vec<String> {
    let containers = found(engine).await;
    let first = |service: &str| containers[&(service.to_owned(), 1)].id.clone();
    let services = declared.services.keys();
    let resolved = services.map(|name| (format!("service:{name}"), first(name))).collect();
    let mut differing = Vec::new();
    for ((service, number), facts) in &containers {
        let unit = &declared.services[service];
        let image = engine.image(&unit.spec.image).await.unwrap().expect("the image is there");
        let mut contract: ServiceSpec = effective(&unit.spec, &image);
        resolve_namespaces(&mut contract, &resolved);
        // Where service names stand for containers, the engine knows their names.
        let from = |name: &String| {
            let (service, mode) = name.split_once(':').unwrap_or((name, "rw"));
            format!("{}:{mode}", containers[&(service.to_owned(), 1)].id)
        };
        contract.volumes_from = contract.volumes_from.iter().map(from).collect();
        let mut observed = facts.spec.clone();
        observed.mounts.retain(|target, _| !unit.files.contains_key(target));
        let fields = differences(&contract, &observed);
        differing.extend(fields.iter().map(|field| format!("{service}-{number} {field}")));
    }
    differing
}

/// Owner, group, permission bits and content of a file, as the service's own user sees it.
fn file(container: &str, path: &str) -> String {
    let exec = ["exec", container, "/bin/busybox"];
    let stat = engine::docker_text(&[&exec[..], &["stat", "-c", "%u %g %a", path]].concat());
    format!("{stat} {}", engine::docker_text(&[&exec[..], &["cat", path]].concat()))
}

#[tokio::test]
async fn what_is_read_back_is_what_every_key_declares() {
    let folder = tempfile::tempdir().unwrap();
    let project = project();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "host_paths: {roots: ['/']}\n");
    agent.start();
    agent.must(&project, "up", &[]);
    let engine: Arc<dyn Engine> = Arc::new(DockerEngine::at(EngineAddress::Unix(engine::socket())));
    let mut declared = declared(&project);
    assert_eq!(found(&*engine).await.len(), 7);
    assert_eq!(differing(&*engine, &declared).await, [""; 0]);
    let container = "wharfround-everything";
    assert_eq!(file(container, "/etc/motd"), "12 34 440 good day");
    assert_eq!(file(container, "/run/secrets/token"), "12 0 400 open sesame");

    assert_eq!(file(container, "/volume/written"), "0 0 644 yes hook /volume");

    // The other name of a link leads to every container of the service.
    let asked = ["exec", container, "/bin/busybox", "nslookup", "-type=a", "other", "127.0.0.11"];
    let answer = engine::docker_text(&asked);
    let addresses = answer.lines().filter(|line| line.starts_with("Address: 10.213.78."));
    assert_eq!(addresses.count(), 2, "{answer}");

    // Not every machine may start a container that may do everything, but every one makes it.
    let mut spec = declared.services["limited"].spec.clone();
    spec.security.privileged = true;
    let new = NewContainer {
        name: "wharfround-privileged".to_owned(),
        image: spec.image.clone(),
        spec: spec.clone(),
        bookkeeping: [("com.docker.compose.project".to_owned(), NAME.to_owned())].into(),
        resolved_namespaces: BTreeMap::new(),
        kept_volumes: BTreeMap::new(),
    };
    let id = engine.create_container(&new).await.unwrap();
    let image = engine.image(&spec.image).await.unwrap().unwrap();
    let made = engine.container(&id).await.unwrap().unwrap();
    assert_eq!(differences(&effective(&spec, &image), &made.spec), []);
    engine::docker_text(&["rm", "-v", &id]);

    // A field that the engine had dropped would be found.
    let unit = declared.services.get_mut("everything").unwrap();
    unit.spec.resources.pids_max = Some(78);
    unit.spec.security.sysctls.clear();
    unit.spec.dns.reverse();
    let planted = differing(&*engine, &declared).await;
    assert_eq!(
        planted,
        [
            "everything-1 dns: [\"10.0.0.2\",\"10.0.0.1\"] → [\"10.0.0.1\",\"10.0.0.2\"]",
            "everything-1 resources.pids_max: 77 → 78",
            "everything-1 security.sysctls.net.ipv4.ip_forward: 1 → nothing",
        ]
    );

    // And nothing of it is a reason to touch anything.
    agent.must(&project, "plan", &[]);
    agent.kill();
    drop(project);
    engine::docker_text(&["rmi", "wharfround-built"]);
}

#[test]
fn every_key_of_a_service_is_used_or_left_out_for_a_reason() {
    let used: BTreeSet<&str> = COMPOSE
        .lines()
        .filter(|line| line.starts_with("    ") && !line[4..].starts_with([' ', '-']))
        .chain(COMPOSE.lines().filter(|line| line.starts_with("  ") && !line[2..].starts_with(' ')))
        .filter_map(|line| Some(line.trim().split_once(':')?.0))
        .collect();
    let left_out = LEFT_OUT.map(|(key, _)| key);
    let missing: Vec<&str> =
        service_keys().filter(|key| !used.contains(key) && !left_out.contains(key)).collect();
    assert_eq!(missing, [""; 0], "neither used nor left out");
    let unknown: Vec<&&str> =
        left_out.iter().filter(|key| !service_keys().any(|known| known == **key)).collect();
    assert_eq!(unknown, [&""; 0], "left out, and no key");
    let both: Vec<&&str> = left_out.iter().filter(|key| used.contains(**key)).collect();
    assert_eq!(both, [&""; 0], "left out and used");
}
