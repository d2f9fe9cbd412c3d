//! Promises about containers.

use std::net::TcpListener;
use std::time::Duration;

use wharfinger::facts::{
    ContainerState, Health, HealthProbe, Healthcheck, LiveSettings, Mount, MountKind, NetworkMode,
    PortBinding, Protocol, RestartPolicy,
};
use wharfinger::world::docker::fake::{Behaviour, HealthCourse};
use wharfinger::world::docker::{ContainerFilter, EngineErrorKind, RemoveContainer};

use super::{Bench, assert_fails, shell};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
const BY_FORCE: RemoveContainer = RemoveContainer { force: true, anonymous_volumes: false };

pub async fn container_lives_from_create_to_remove(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let new = bench.container("one", &image);
    let id = engine.create_container(&new).await.unwrap();
    let made = bench.look(&new.name).await;
    assert_eq!((made.id.as_str(), made.state), (id.as_str(), ContainerState::Created));
    assert_eq!(made.name, new.name);
    assert!(made.created_at.is_some() && made.started_at.is_none());
    let facts = engine.image(&image).await.unwrap().unwrap();
    assert_eq!(made.image_id, facts.id);

    assert_eq!(engine.processes(&id).await.unwrap(), None);
    assert_eq!(engine.processes(&bench.name("nobody")).await.unwrap(), None);
    engine.start_container(&id).await.unwrap();
    engine.start_container(&id).await.expect("a second start is no error");
    assert_eq!(engine.processes(&id).await.unwrap().unwrap(), ["/bin/busybox sleep 3600"]);
    let running = bench.look(&id).await;
    assert_eq!((running.state, running.health), (ContainerState::Running, Health::None));
    assert!(running.started_at.is_some());
    assert!(running.addresses["bridge"].ipv4_address.contains('.'), "{:?}", running.addresses);

    assert_fails(
        engine.remove_container(&id, RemoveContainer::default()).await,
        EngineErrorKind::Conflict,
    );
    engine.stop_container(&id, AT_ONCE).await.unwrap();
    engine.stop_container(&id, AT_ONCE).await.expect("a second stop is no error");
    assert_eq!(bench.look(&id).await.state, ContainerState::Exited);
    engine.restart_container(&id, AT_ONCE).await.unwrap();
    assert_eq!(bench.look(&id).await.state, ContainerState::Running);

    engine.unpause_container(&id).await.expect("one that is not frozen is no error");
    let other = bench.name("other");
    engine.rename_container(&id, &other).await.unwrap();
    assert_eq!(bench.look(&id).await.name, other);
    engine.remove_container(&id, BY_FORCE).await.unwrap();
    assert_eq!(engine.container(&id).await.unwrap(), None);
}

pub async fn calls_about_missing_containers_say_so(bench: &Bench) {
    let engine = &bench.engine;
    let name = bench.name("nobody");
    let missing = EngineErrorKind::NotFound;
    assert_eq!(engine.container(&name).await.unwrap(), None);
    assert_fails(engine.start_container(&name).await, missing);
    assert_fails(engine.stop_container(&name, None).await, missing);
    assert_fails(engine.restart_container(&name, None).await, missing);
    assert_fails(engine.unpause_container(&name).await, missing);
    let settings = LiveSettings::default();
    assert_fails(engine.update_container(&name, &settings).await, missing);
    assert_fails(engine.remove_container(&name, BY_FORCE).await, missing);
    assert_fails(engine.rename_container(&name, &bench.name("other")).await, missing);
}

pub async fn names_are_unique(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let first = bench.container("first", &image);
    engine.create_container(&first).await.unwrap();
    assert_fails(engine.create_container(&first).await, EngineErrorKind::Conflict);
    let second = engine.create_container(&bench.container("second", &image)).await.unwrap();
    let renamed = engine.rename_container(&second, &first.name).await;
    assert_fails(renamed, EngineErrorKind::Conflict);
}

pub async fn impossible_containers_are_refused(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("CMD []").await;
    let without_command = bench.container("idle", &image);
    assert_fails(engine.create_container(&without_command).await, EngineErrorKind::Invalid);

    let without_image = bench.container("blank", &bench.name("no-image"));
    let kind = EngineErrorKind::ImageUnavailable;
    assert_fails(engine.create_container(&without_image).await, kind);

    let mut unresolved = bench.container("guest", &image);
    unresolved.spec.command = shell("true");
    unresolved.spec.network_mode = NetworkMode::Service("host".to_owned());
    assert_fails(engine.create_container(&unresolved).await, EngineErrorKind::Invalid);
}

pub async fn port_is_taken_once(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let probe = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let publish = |what: &str| {
        let mut new = bench.container(what, &image);
        new.spec.ports.insert(PortBinding {
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: None,
            host_port: Some(port.to_string()),
        });
        new
    };
    let first = bench.run(&publish("first")).await;
    let second = engine.create_container(&publish("second")).await.unwrap();
    assert_fails(engine.start_container(&second).await, EngineErrorKind::PortInUse);
    let refused = bench.look(&second).await;
    assert_ne!(refused.state, ContainerState::Running);
    assert!(refused.state_error.is_some(), "the engine remembers why");
    engine.stop_container(&first, AT_ONCE).await.unwrap();
    engine.start_container(&second).await.expect("the port is free again");
}

fn checked_by(line: &str) -> Option<Healthcheck> {
    Some(Healthcheck {
        probe: HealthProbe::Exec(shell(line).unwrap_or_default()),
        interval: Some(Duration::from_millis(200)),
        timeout: None,
        retries: Some(1),
        start_period: None,
        start_interval: None,
    })
}

pub async fn health_is_found_out(bench: &Bench) {
    let image = bench.image("").await;
    let mut well = bench.container("well", &image);
    well.spec.healthcheck = checked_by("exit 0");
    let id = bench.run(&well).await;
    bench.wait_until(&id, "health", |facts| facts.health == Health::Healthy).await;

    let mut ill = bench.container("ill", &image);
    ill.spec.healthcheck = checked_by("exit 1");
    let course = HealthCourse::UnhealthyAfter(1);
    (bench.script)(&ill.name, Behaviour { health: course, ..Behaviour::default() });
    let id = bench.run(&ill).await;
    bench.wait_until(&id, "illness", |facts| facts.health == Health::Unhealthy).await;
}

pub async fn exit_status_is_kept_and_policy_obeyed(bench: &Bench) {
    let image = bench.image("").await;
    let ending = |what: &str| {
        let mut new = bench.container(what, &image);
        new.spec.command = shell("exit 3");
        (bench.script)(&new.name, Behaviour { exit: Some((0, 3)), ..Behaviour::default() });
        new
    };
    let id = bench.run(&ending("once")).await;
    let ended = |facts: &wharfinger::facts::ContainerFacts| facts.state == ContainerState::Exited;
    let facts = bench.wait_until(&id, "the end", ended).await;
    assert_eq!((facts.exit_code, facts.restart_count), (3, 0));
    assert!(facts.finished_at.is_some());

    let mut new = ending("thrice");
    new.spec.restart = RestartPolicy::OnFailure { retries_max: 2 };
    let id = bench.run(&new).await;
    let given_up = |facts: &wharfinger::facts::ContainerFacts| {
        facts.state == ContainerState::Exited && facts.restart_count == 2
    };
    let facts = bench.wait_until(&id, "the last end", given_up).await;
    assert_eq!(facts.exit_code, 3);
}

/// Limits, as an engine of two processors enforces them.
fn limits(memory_bytes: i64) -> LiveSettings {
    LiveSettings {
        memory_bytes: Some(memory_bytes),
        memory_reservation_bytes: Some(memory_bytes / 2),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".to_owned()),
        pids_max: Some(50),
        restart: RestartPolicy::OnFailure { retries_max: 2 },
        ..LiveSettings::default()
    }
}

pub async fn settings_change_while_a_container_goes_on(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let mut new = bench.container("one", &image);
    limits(64 << 20).write_to(&mut new.spec);
    let id = bench.run(&new).await;
    let before = bench.look(&id).await;
    assert_eq!(limits(64 << 20).differences(&LiveSettings::of(&before.spec)), []);

    let cpus = Some(500_000_000);
    let other = LiveSettings { nano_cpus: cpus, pids_max: None, ..limits(128 << 20) };
    engine.update_container(&id, &other).await.unwrap();
    let after = bench.look(&id).await;
    assert_eq!(other.differences(&LiveSettings::of(&after.spec)), []);
    assert_eq!((after.state, after.started_at), (ContainerState::Running, before.started_at));
    assert_eq!(after.restart_count, 0);

    // A limit that is not given stays.
    engine.update_container(&id, &LiveSettings::default()).await.unwrap();
    let kept = LiveSettings { restart: RestartPolicy::No, ..other };
    assert_eq!(kept.differences(&LiveSettings::of(&bench.look(&id).await.spec)), []);

    // One that does not run has them from its next start on.
    engine.stop_container(&id, AT_ONCE).await.unwrap();
    let last = LiveSettings { memory_bytes: Some(96 << 20), ..kept };
    engine.update_container(&id, &last).await.unwrap();
    let ended = bench.look(&id).await;
    assert_eq!(ended.state, ContainerState::Exited);
    assert_eq!(last.differences(&LiveSettings::of(&ended.spec)), []);
}

pub async fn impossible_changes_are_refused(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let mut new = bench.container("one", &image);
    new.spec.resources.cpu_quota_micros = Some(50_000);
    new.spec.resources.cpu_period_micros = Some(100_000);
    let id = bench.run(&new).await;
    let before = LiveSettings::of(&bench.look(&id).await.spec);
    let cpus = LiveSettings { nano_cpus: Some(500_000_000), ..LiveSettings::default() };
    assert_fails(engine.update_container(&id, &cpus).await, EngineErrorKind::Conflict);
    let little = LiveSettings { memory_bytes: Some(1 << 20), ..LiveSettings::default() };
    assert_fails(engine.update_container(&id, &little).await, EngineErrorKind::Invalid);
    assert_eq!(LiveSettings::of(&bench.look(&id).await.spec), before);
}

pub async fn filter_takes_all_labels(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    for (what, tier) in [("a", "front"), ("b", "back")] {
        let mut new = bench.container(what, &image);
        new.spec.labels.insert("tier".to_owned(), tier.to_owned());
        engine.create_container(&new).await.unwrap();
    }
    let names = async |pairs: &[(&str, &str)]| {
        let mut filter = ContainerFilter { labels: bench.bookkeeping() };
        filter.labels.extend(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        let found = engine.containers(&filter).await.unwrap();
        let mut names: Vec<String> = found.into_iter().map(|facts| facts.name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&[]).await, [bench.name("a"), bench.name("b")]);
    assert_eq!(names(&[("tier", "back")]).await, [bench.name("b")]);
    assert_eq!(names(&[("tier", "")]).await, [bench.name("a"), bench.name("b")]);
    assert_eq!(names(&[("tier", "none")]).await, [""; 0]);
}

pub async fn anonymous_volume_survives_its_container_when_kept(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("VOLUME [\"/data\"]").await;
    let first = bench.run(&bench.container("first", &image)).await;
    let volumes = bench.look(&first).await.anonymous_volumes;
    let name = volumes["/data"].clone();
    engine.remove_container(&first, BY_FORCE).await.unwrap();
    assert!(engine.volume(&name).await.unwrap().is_some(), "it is kept unless asked for");

    let mut second = bench.container("second", &image);
    second.kept_volumes = volumes.clone();
    let second = bench.run(&second).await;
    let facts = bench.look(&second).await;
    assert_eq!(facts.anonymous_volumes, volumes);
    let anonymous = Mount { kind: MountKind::Anonymous, read_only: false };
    assert_eq!(facts.spec.mounts.get("/data"), Some(&anonymous));
    let how = RemoveContainer { force: true, anonymous_volumes: true };
    engine.remove_container(&second, how).await.unwrap();
    assert_eq!(engine.volume(&name).await.unwrap(), None);
}
