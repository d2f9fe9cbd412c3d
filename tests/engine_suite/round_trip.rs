//! Promises about what is read back of a contract.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wharfinger::facts::{
    Attachment, DeviceMapping, DeviceRequest, HealthProbe, Healthcheck, Ipam, IpamPool, Logging,
    Mount, MountKind, NetworkMode, NetworkSpec, PortBinding, Protocol, RestartPolicy, ServiceSpec,
    Ulimit, differences, effective,
};
use wharfinger::world::docker::{EngineErrorKind, NewContainer};

use super::{Bench, assert_fails, shell};

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn map(items: &[(&str, &str)]) -> BTreeMap<String, String> {
    items.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A contract with every field that an Engine 20.10 on any Linux host can honour.
async fn full_contract(bench: &Bench, image: &str) -> NewContainer {
    let back = bench.network("back").await;
    let front = NetworkSpec {
        name: bench.name("front"),
        ipam: Some(Ipam {
            pools: vec![IpamPool { subnet: text("10.213.77.0/24"), ..IpamPool::default() }],
            ..Ipam::default()
        }),
        ..NetworkSpec::default()
    };
    bench.engine.create_network(&front, &bench.bookkeeping()).await.unwrap();
    let volume = bench.volume("data").await;
    let mut new = bench.container("full", image);
    let spec = &mut new.spec;
    spec.command = shell("/bin/busybox sleep 3600");
    spec.entrypoint = Some(vec!["/bin/busybox".to_owned(), "env".to_owned()]);
    spec.environment = map(&[("EMPTY", ""), ("SUM", "a=b"), ("FLAVOUR", "own")])
        .into_iter()
        .map(|(key, value)| (key, value.into()))
        .collect();
    spec.labels = map(&[("tier", "back"), ("com.example.note", "two words")]);
    spec.user = text("12:34");
    spec.group_add = set(&["56"]);
    spec.working_dir = text("/srv");
    spec.hostname = text("box");
    spec.domainname = text("example.test");
    spec.tty = true;
    spec.stdin_open = true;
    spec.init = Some(true);
    spec.stop_signal = text("SIGUSR1");
    spec.stop_grace_period = Some(Duration::from_secs(33));
    spec.restart = RestartPolicy::OnFailure { retries_max: 4 };
    spec.healthcheck = Some(Healthcheck {
        probe: HealthProbe::Shell("test -e /bin/busybox".to_owned()),
        interval: Some(Duration::from_secs(11)),
        timeout: Some(Duration::from_millis(2500)),
        retries: Some(6),
        start_period: Some(Duration::from_secs(7)),
        start_interval: None,
    });
    spec.ports = ports();
    spec.expose = set(&["9000", "7000-7002/udp"]);
    spec.mounts = mounts(&volume);
    spec.network_mode = networks(&bench.name("front"), &back);
    spec.extra_hosts = set(&["db=10.0.0.9", "six=::1"]);
    spec.dns = vec!["10.0.0.2".to_owned(), "10.0.0.1".to_owned()];
    spec.dns_search = vec!["example.test".to_owned()];
    spec.dns_options = vec!["ndots:2".to_owned()];
    spec.logging = Some(Logging { driver: text("json-file"), options: map(&[("max-size", "1m")]) });
    spec.runtime = text("runc");
    resources(spec);
    security(spec);
    new
}

fn ports() -> BTreeSet<PortBinding> {
    let port = |container_port, protocol, host_ip: Option<&str>, host_port: Option<&str>| {
        let (host_ip, host_port) = (host_ip.map(str::to_owned), host_port.map(str::to_owned));
        PortBinding { container_port, protocol, host_ip, host_port }
    };
    BTreeSet::from([
        port(80, Protocol::Tcp, Some("127.0.0.1"), Some("18480")),
        port(80, Protocol::Tcp, None, Some("18481-18489")),
        port(53, Protocol::Udp, None, None),
    ])
}

fn mounts(volume: &str) -> BTreeMap<String, Mount> {
    let mount = |target: &str, read_only, kind| (target.to_owned(), Mount { kind, read_only });
    let bind = |create_host_path, propagation: Option<&str>| MountKind::Bind {
        source: "/tmp".to_owned(),
        propagation: propagation.map(str::to_owned),
        create_host_path,
        selinux: None,
    };
    let named = |no_copy| MountKind::Volume { name: volume.to_owned(), no_copy, subpath: None };
    let tmpfs = |options: Option<&str>| MountKind::Tmpfs {
        size_bytes: Some(1 << 20),
        mode: Some(0o1770),
        options: options.map(str::to_owned),
    };
    BTreeMap::from([
        mount("/bind/made", true, bind(true, Some("private"))),
        mount("/bind/found", false, bind(false, Some("private"))),
        mount("/volume", false, named(false)),
        mount("/volume-raw", true, named(true)),
        mount("/anonymous", false, MountKind::Anonymous),
        mount("/memory", false, tmpfs(None)),
        mount("/memory-raw", true, tmpfs(Some("noexec,uid=5"))),
    ])
}

fn networks(front: &str, back: &str) -> NetworkMode {
    let pinned = Attachment {
        aliases: set(&["web", "www"]),
        ipv4_address: text("10.213.77.9"),
        priority: 10,
        ..Attachment::default()
    };
    let other = Attachment { aliases: set(&["api"]), ..Attachment::default() };
    NetworkMode::Networks(BTreeMap::from([(front.to_owned(), pinned), (back.to_owned(), other)]))
}

fn resources(spec: &mut ServiceSpec) {
    let resources = &mut spec.resources;
    resources.memory_bytes = Some(64 << 20);
    resources.memory_reservation_bytes = Some(32 << 20);
    resources.nano_cpus = Some(500_000_000);
    resources.cpu_shares = Some(512);
    resources.cpuset_cpus = text("0");
    resources.pids_max = Some(77);
    resources.shm_size_bytes = Some(8 << 20);
    resources.oom_score_adj = Some(100);
    resources.ulimits = BTreeMap::from([("nofile".to_owned(), Ulimit { soft: 1000, hard: 2000 })]);
}

fn security(spec: &mut ServiceSpec) {
    let security = &mut spec.security;
    security.read_only = true;
    security.cap_add = set(&["net_admin"]);
    security.cap_drop = set(&["CAP_MKNOD", "CHOWN"]);
    security.security_opt = set(&["no-new-privileges:true", "seccomp=unconfined"]);
    security.ipc_mode = text("shareable");
    security.pid_mode = text("host");
    security.uts_mode = None;
    security.cgroupns_mode = text("host");
    security.cgroup_parent = text("/wharf-suite");
    security.devices = vec![DeviceMapping {
        source: "/dev/null".to_owned(),
        target: "/dev/nothing".to_owned(),
        permissions: "rw".to_owned(),
    }];
    security.device_cgroup_rules = set(&["c 1:3 rwm"]);
    security.sysctls = map(&[("net.ipv4.ip_forward", "1")]);
}

async fn found_differences(bench: &Bench, declared: &NewContainer, id: &str) -> Vec<String> {
    let image = bench.engine.image(&declared.image).await.unwrap().expect("the image is there");
    let declared = effective(&declared.spec, &image);
    let observed = bench.look(id).await.spec;
    differences(&declared, &observed).iter().map(ToString::to_string).collect()
}

const IMAGE: &str = "ENV FLAVOUR=image\nENV EXTRA=1\nLABEL from=image\nEXPOSE 6000\n\
                     VOLUME [\"/image-data\"]\nHEALTHCHECK CMD [\"/bin/busybox\", \"true\"]";

pub async fn contract_is_read_back_as_it_was_written(bench: &Bench) {
    let image = bench.image(IMAGE).await;
    let new = full_contract(bench, &image).await;
    let id = bench.engine.create_container(&new).await.unwrap();
    assert_eq!(found_differences(bench, &new, &id).await, [""; 0], "before the start");
    bench.engine.start_container(&id).await.unwrap();
    assert_eq!(found_differences(bench, &new, &id).await, [""; 0], "while it runs");
    bench.engine.stop_container(&id, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(found_differences(bench, &new, &id).await, [""; 0], "after the stop");
}

pub async fn plain_contract_is_read_back(bench: &Bench) {
    let image = bench.image(IMAGE).await;
    for (what, mode) in [
        ("bridge", NetworkMode::default()),
        ("host", NetworkMode::Host),
        ("none", NetworkMode::None),
    ] {
        let mut new = bench.container(what, &image);
        new.spec.network_mode = mode;
        let id = bench.run(&new).await;
        assert_eq!(found_differences(bench, &new, &id).await, [""; 0], "{what}");
    }
    let owner = bench.look(&bench.name("bridge")).await.id;
    let mut guest = bench.container("guest", &image);
    guest.spec.network_mode = NetworkMode::Service("bridge".to_owned());
    guest.spec.security.ipc_mode = None;
    guest.resolved_namespaces = BTreeMap::from([("service:bridge".to_owned(), owner)]);
    let id = bench.run(&guest).await;
    wharfinger::facts::resolve_namespaces(&mut guest.spec, &guest.resolved_namespaces);
    assert_eq!(found_differences(bench, &guest, &id).await, [""; 0], "guest");
}

/// No machine that tests run on has such a device: a container is made, and fails to start.
pub async fn devices_of_a_driver_are_read_back_and_missed_by_name(bench: &Bench) {
    let image = bench.image(IMAGE).await;
    let mut new = bench.container("devices", &image);
    let request = DeviceRequest {
        driver: text("wharf-has-none"),
        count: -1,
        device_ids: BTreeSet::new(),
        capabilities: [set(&["gpu", "utility"])].into(),
        options: map(&[("mode", "shared")]),
    };
    let named = DeviceRequest {
        driver: None,
        count: 0,
        device_ids: set(&["GPU-1", "0"]),
        capabilities: [set(&["gpu"])].into(),
        options: BTreeMap::new(),
    };
    new.spec.security.device_requests = vec![request, named];
    let id = bench.engine.create_container(&new).await.unwrap();
    assert_eq!(found_differences(bench, &new, &id).await, [""; 0]);
    let mut other = new.clone();
    other.spec.security.device_requests[0].count = 1;
    let found = found_differences(bench, &other, &id).await;
    assert!(found.len() == 1 && found[0].starts_with("security.device_requests: "), "{found:?}");
    let started = bench.engine.start_container(&id).await;
    let message = started.as_ref().unwrap_err().message.clone();
    assert!(message.contains("could not select device driver"), "{message}");
    assert_fails(started, EngineErrorKind::NoDevice);
}

pub async fn planted_difference_is_found(bench: &Bench) {
    let image = bench.image(IMAGE).await;
    let new = full_contract(bench, &image).await;
    let id = bench.engine.create_container(&new).await.unwrap();
    let mut other = new.clone();
    other.spec.resources.memory_bytes = Some(65 << 20);
    other.spec.environment.insert("FLAVOUR".to_owned(), "other".to_owned().into());
    other.spec.security.cap_drop = set(&["CHOWN"]);
    other.spec.labels.remove("tier");
    let found = found_differences(bench, &other, &id).await;
    assert_eq!(
        found,
        [
            "environment.FLAVOUR: [secret] → [secret]",
            "labels.tier: back → nothing",
            "resources.memory_bytes: 67108864 → 68157440",
            "security.cap_drop: [\"CHOWN\",\"MKNOD\"] → [\"CHOWN\"]",
        ]
    );
}
