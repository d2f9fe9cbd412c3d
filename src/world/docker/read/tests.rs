//! One check, one verdict: a compose file is judged, the container that is made of it is written as
//! the engine's request, reported with what an engine adds, read, and judged again.

use super::*;
use crate::domain::compose::{Answer, Files, Inputs, Loaded, Options, load, lower};
use crate::domain::policy::{CHECKS, Parameters, Subject, Verdict, VolumeOptions};
use crate::facts::ProjectSpec;
use crate::world::docker::NewContainer;
use crate::world::docker::create::requests;
use crate::world::docker::version::ApiVersion;

fn project(text: &str) -> ProjectSpec {
    let content = Answer::Content(text.as_bytes().to_vec());
    let files = Files::from([("/p/compose.yaml".to_owned(), content)]);
    let options = Options { directory: "/p".to_owned(), ..Options::default() };
    let mut known = files.clone();
    let project = loop {
        match load(&options, &BTreeMap::new(), &known) {
            Ok(Loaded::Done(project)) => break *project,
            Ok(Loaded::Needs(paths)) => {
                known.extend(paths.into_iter().map(|path| (path, Answer::Missing)));
            }
            Err(problems) => panic!("{text}\n{problems}"),
        }
    };
    lower(&project, &Inputs { files, ..Inputs::default() }).unwrap()
}

/// What an engine reports of a container of service `web`.
fn report(spec: &ServiceSpec) -> ContainerInspectResponse {
    let new = NewContainer {
        name: "p-web-1".to_owned(),
        image: spec.image.clone(),
        spec: spec.clone(),
        bookkeeping: BTreeMap::new(),
        resolved_namespaces: BTreeMap::new(),
        kept_volumes: BTreeMap::new(),
    };
    let body = requests(&new, ApiVersion::NEWEST).unwrap().body;
    let mut host = body.host_config.clone().unwrap();
    let endpoints = body.networking_config.clone().unwrap().endpoints_config;
    let mut config = serde_json::to_value(&body).unwrap();
    for key in ["HostConfig", "NetworkingConfig"] {
        config.as_object_mut().unwrap().remove(key);
    }
    // What the engine fills in by itself.
    let is_host = |mode: &Option<String>| mode.as_deref() == Some("host");
    if host.privileged == Some(true) || is_host(&host.pid_mode) || is_host(&host.ipc_mode) {
        host.security_opt.get_or_insert_default().push("label=disable".to_owned());
    }
    let has_driver = host.log_config.as_ref().is_some_and(|log| log.typ.is_some());
    if !has_driver {
        let log = host.log_config.get_or_insert_default();
        log.typ = Some("json-file".to_owned());
        log.config.get_or_insert_default();
    }
    host.pids_limit = host.pids_limit.or(Some(0));
    host.memory = host.memory.or(Some(0));
    host.nano_cpus = host.nano_cpus.or(Some(0));
    host.cpu_shares = host.cpu_shares.or(Some(0));
    host.shm_size = host.shm_size.or(Some(64 << 20));
    host.ipc_mode.get_or_insert_with(|| "private".to_owned());
    for mode in [&mut host.pid_mode, &mut host.uts_mode, &mut host.userns_mode] {
        mode.get_or_insert_default();
    }
    host.cgroup_parent.get_or_insert_default();
    host.masked_paths = Some(vec!["/proc/kcore".to_owned()]);
    ContainerInspectResponse {
        id: Some("0a".repeat(32)),
        name: Some("/p-web-1".to_owned()),
        config: serde_json::from_value(config).unwrap(),
        host_config: Some(host),
        network_settings: Some(bollard::models::NetworkSettings {
            networks: endpoints,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// How many checks fail, after it was made sure that both ways give the same.
fn failures(body: &str) -> usize {
    let text = format!("services:\n  web:\n    image: web:1\n    user: app\n{body}");
    let project = project(&text);
    let declared = &project.services["web"].spec;
    let found = container(report(declared));
    let parameters = Parameters::default();
    let names = project.volumes.values();
    let volumes: VolumeOptions =
        names.map(|volume| (volume.name.clone(), volume.driver_options.clone())).collect();
    let (peers, volumes) = (Some(&[][..]), Some(&volumes));
    let before = Subject { peers, volumes, ..Subject::new("web", declared) };
    let live =
        Subject { peers, volumes, container: Some(&found), ..Subject::new("web", &found.spec) };
    let mut failures = 0;
    for check in CHECKS {
        let (file, engine) =
            ((check.judge)(&before, &parameters), (check.judge)(&live, &parameters));
        let is_known = !matches!(file, Verdict::Unknown { .. });
        let is_same = std::mem::discriminant(&file) == std::mem::discriminant(&engine);
        assert!(!is_known || is_same, "{}: {file:?}, then {engine:?}\n{text}", check.id);
        failures += usize::from(matches!(file, Verdict::Fail { .. }));
    }
    failures
}

const SAFE: &str = "
    cap_drop: [ALL]
    cpus: 0.5
    healthcheck: {test: [CMD, look]}
    logging: {driver: local}
    mem_limit: 64m
    networks: [back]
    pids_limit: 99
    ports: ['127.0.0.1:8080:8080']
    read_only: true
    restart: on-failure:3
    security_opt: ['no-new-privileges=true']
    sysctls: {net.core.somaxconn: 9}
    ulimits: {nofile: 9}
    volumes: ['./data:/data', 'db:/db']
volumes: {db: {}}
networks: {back: {}}
";

const OPEN: &str = "
    cap_add: [sys_admin, ipc_lock]
    cgroup: host
    cgroup_parent: /x
    devices: [/dev/sda]
    environment: {API_TOKEN: x}
    healthcheck: {disable: true}
    ipc: host
    logging: {driver: none}
    network_mode: host
    pid: host
    privileged: true
    restart: always
    security_opt: ['seccomp:unconfined', 'apparmor=unconfined', 'no-new-privileges:false']
    sysctls: {net.ipv4.ip_forward: 1}
    ulimits: {nofile: -1}
    userns_mode: host
    uts: host
    volumes: ['/var/run/docker.sock:/s', '/etc/:/e:ro,rshared']
";

const PUBLISHED: &str = "
    cap_drop: [NET_RAW]
    cpu_shares: 1024
    network_mode: bridge
    pids_limit: -1
    ports: ['80:80', '[::]:443:443']
    read_only: false
";

#[test]
fn a_container_gets_the_verdict_of_its_file() {
    // The image is not pinned by digest.
    assert_eq!(failures(SAFE), 1);
    assert!(failures(OPEN) > 25, "{}", failures(OPEN));
    let silent = failures("");
    assert!((8..15).contains(&silent), "{silent}");
    assert!(failures(PUBLISHED) > 8, "{}", failures(PUBLISHED));
}

#[test]
fn what_shows_the_kernels_files_is_told_from_what_hides_them() {
    let host = |paths: Option<&[&str]>| {
        let paths = paths.map(|paths| paths.iter().map(|path| (*path).to_owned()).collect());
        let paths: Option<Vec<String>> = paths;
        HostConfig { masked_paths: paths.clone(), readonly_paths: paths, ..HostConfig::default() }
    };
    assert_eq!(security_options(&host(Some(&[]))), [UNMASKED.to_owned()].into());
    assert_eq!(security_options(&host(Some(&["/proc/kcore"]))), BTreeSet::new());
    assert_eq!(security_options(&host(None)), BTreeSet::new());
}

#[test]
fn all_that_is_exposed_is_published_when_somebody_says_so() {
    let mut host = HostConfig { publish_all_ports: Some(true), ..HostConfig::default() };
    let exposed = ["80/tcp".to_owned(), "53/udp".to_owned()];
    let chosen = |container_port, protocol| PortBinding {
        container_port,
        protocol,
        host_ip: None,
        host_port: None,
    };
    let expect = BTreeSet::from([chosen(80, Protocol::Tcp), chosen(53, Protocol::Udp)]);
    assert_eq!(published(&host, &exposed), expect);
    host.publish_all_ports = Some(false);
    assert_eq!(published(&host, &exposed), BTreeSet::new());
}
