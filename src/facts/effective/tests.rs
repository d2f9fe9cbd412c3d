use super::*;
use crate::base::Secret;

fn image(defaults: ServiceSpec) -> ImageFacts {
    ImageFacts {
        last_tagged_at: None,
        id: "sha256:1".to_owned(),
        tags: Vec::new(),
        digests: Vec::new(),
        defaults,
        platform: "linux/amd64".to_owned(),
        size_bytes: 0,
        created_at: None,
    }
}

fn words(text: &str) -> Option<Vec<String>> {
    Some(text.split_whitespace().map(str::to_owned).collect())
}

fn check_process(own: [Option<Vec<String>>; 2], expect: [Option<Vec<String>>; 2]) {
    let [entrypoint, command] = own;
    let defaults = ServiceSpec {
        entrypoint: words("/entry"),
        command: words("serve"),
        ..ServiceSpec::default()
    };
    let declared = ServiceSpec { entrypoint, command, ..ServiceSpec::default() };
    let found = effective(&declared, &image(defaults));
    assert_eq!([found.entrypoint, found.command], expect);
}

#[test]
fn own_entry_point_drops_the_images_arguments() {
    check_process([None, None], [words("/entry"), words("serve")]);
    check_process([None, words("migrate")], [words("/entry"), words("migrate")]);
    check_process([None, words("")], [words("/entry"), words("serve")]);
    check_process([words("/mine"), None], [words("/mine"), None]);
    check_process([words("/mine"), words("a")], [words("/mine"), words("a")]);
    check_process([words(""), None], [None, words("serve")]);
}

#[test]
fn images_settings_fill_only_what_is_not_declared() {
    let text = |text: &str| Some(text.to_owned());
    let defaults = ServiceSpec {
        environment: BTreeMap::from([
            ("PATH".to_owned(), Secret::new("/bin".to_owned())),
            ("MODE".to_owned(), Secret::new("image".to_owned())),
        ]),
        user: text("app"),
        working_dir: text("/srv"),
        labels: BTreeMap::from([
            ("tier".to_owned(), "back".to_owned()),
            (labels::COMPOSE_PROJECT.to_owned(), "builder".to_owned()),
        ]),
        expose: BTreeSet::from(["80/tcp".to_owned()]),
        mounts: BTreeMap::from([
            ("/data/".to_owned(), Mount { kind: MountKind::Anonymous, read_only: false }),
            ("/log".to_owned(), Mount { kind: MountKind::Anonymous, read_only: false }),
        ]),
        ..ServiceSpec::default()
    };
    let volume = MountKind::Volume { name: "shop_data".to_owned(), no_copy: false, subpath: None };
    let declared = ServiceSpec {
        environment: BTreeMap::from([("MODE".to_owned(), Secret::new("own".to_owned()))]),
        user: text("0"),
        mounts: BTreeMap::from([(
            "/data".to_owned(),
            Mount { kind: volume.clone(), read_only: false },
        )]),
        ..ServiceSpec::default()
    };
    let found = effective(&declared, &image(defaults));
    assert_eq!(found.environment["PATH"].expose(), "/bin");
    assert_eq!(found.environment["MODE"].expose(), "own");
    assert_eq!(found.user, text("0"));
    assert_eq!(found.working_dir, text("/srv"));
    assert_eq!(found.labels, BTreeMap::from([("tier".to_owned(), "back".to_owned())]));
    assert_eq!(found.expose, BTreeSet::from(["80/tcp".to_owned()]));
    let kinds: Vec<_> = found.mounts.iter().map(|(at, mount)| (at.as_str(), &mount.kind)).collect();
    assert_eq!(kinds, [("/data", &volume), ("/log", &MountKind::Anonymous)]);
}

#[test]
fn timings_of_an_inherited_check_come_from_both_sides() {
    let check = |probe, interval: u64, retries| Healthcheck {
        probe,
        interval: Some(Duration::from_secs(interval)),
        timeout: None,
        retries,
        start_period: None,
        start_interval: None,
    };
    let probe = HealthProbe::Shell("true".to_owned());
    let defaults = ServiceSpec {
        healthcheck: Some(check(probe.clone(), 5, Some(7))),
        ..ServiceSpec::default()
    };
    let declared = ServiceSpec {
        healthcheck: Some(check(HealthProbe::Inherit, 9, None)),
        ..ServiceSpec::default()
    };
    let found = effective(&declared, &image(defaults));
    assert_eq!(found.healthcheck, Some(check(probe, 9, Some(7))));
    let alone = effective(&declared, &image(ServiceSpec::default()));
    assert_eq!(alone.healthcheck, None, "there is nothing to inherit");
}

/// Both contracts mean the same to the engine.
fn check_equal(change: impl Fn(&mut ServiceSpec), other: impl Fn(&mut ServiceSpec)) {
    let (mut one, mut two) = (ServiceSpec::default(), ServiceSpec::default());
    change(&mut one);
    other(&mut two);
    normalise(&mut one);
    normalise(&mut two);
    assert_eq!(one, two);
    let once = one.clone();
    normalise(&mut one);
    assert_eq!(one, once, "writing it the one way twice changes nothing");
}

#[test]
fn two_words_about_privileges_stay_two() {
    let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    check_equal(
        |spec| {
            let both = &["no-new-privileges:true", "no-new-privileges:false"];
            spec.security.security_opt = set(both);
        },
        |spec| {
            let both = &["no-new-privileges", "no-new-privileges=false"];
            spec.security.security_opt = set(both);
        },
    );
    let mut spec = ServiceSpec::default();
    spec.security.security_opt = set(&["no-new-privileges:true", "no-new-privileges:0"]);
    normalise(&mut spec);
    assert_eq!(spec.security.security_opt.len(), 2);
    spec.security.security_opt = set(&["no-new-privileges:false"]);
    normalise(&mut spec);
    assert_eq!(spec.security.security_opt.len(), 0);
}

#[test]
fn spellings_of_one_meaning_become_equal() {
    let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    check_equal(
        |spec| spec.security.cap_add = set(&["cap_net_admin", "ALL"]),
        |spec| spec.security.cap_add = set(&["NET_ADMIN", "CAP_ALL"]),
    );
    check_equal(
        |spec| spec.security.security_opt = set(&["no-new-privileges:true", "seccomp:unconfined"]),
        |spec| spec.security.security_opt = set(&["no-new-privileges", "seccomp=unconfined"]),
    );
    check_equal(|spec| spec.stop_signal = Some("15".to_owned()), |_| {});
    check_equal(
        |spec| spec.stop_signal = Some("quit".to_owned()),
        |spec| spec.stop_signal = Some("SIGQUIT".to_owned()),
    );
    check_equal(|spec| spec.stop_grace_period = Some(Duration::from_millis(9_001)), |_| {});
    check_equal(
        |spec| spec.extra_hosts = set(&["db=[::1]"]),
        |spec| spec.extra_hosts = set(&["db:::1"]),
    );
    check_equal(
        |spec| spec.external_links = set(&["/db:/shop-web-1/store"]),
        |spec| spec.external_links = set(&["db:store"]),
    );
    check_equal(
        |spec| spec.expose = set(&["80-82"]),
        |spec| spec.expose = set(&["80/tcp", "81/tcp", "82/tcp"]),
    );
    check_equal(
        |spec| {
            spec.resources.memory_bytes = Some(64 << 20);
            spec.resources.memory_swap_bytes = Some(128 << 20);
        },
        |spec| spec.resources.memory_bytes = Some(64 << 20),
    );
    check_equal(
        |spec| spec.network_mode = NetworkMode::Other("bridge".to_owned()),
        |spec| spec.network_mode = NetworkMode::default(),
    );
}

#[test]
fn raw_options_of_a_memory_file_system_are_understood() {
    let mount = |read_only, size_bytes, mode, options: Option<&str>| Mount {
        kind: MountKind::Tmpfs { size_bytes, mode, options: options.map(str::to_owned) },
        read_only,
    };
    let at = |mount| BTreeMap::from([("/run".to_owned(), mount)]);
    check_equal(
        |spec| {
            spec.mounts = at(mount(false, None, None, Some("uid=5,size=1m,ro,mode=0700,noexec")))
        },
        |spec| {
            spec.mounts = at(mount(true, Some(1 << 20), Some(0o700), Some("noexec,uid=5")));
        },
    );
}

#[test]
fn references_to_services_become_containers() {
    let mut spec = ServiceSpec {
        network_mode: NetworkMode::Service("db".to_owned()),
        ..ServiceSpec::default()
    };
    spec.security.ipc_mode = Some("service:db".to_owned());
    spec.security.pid_mode = Some("host".to_owned());
    let from = ["db:ro", "web", "container:db:ro", "container:other"];
    spec.volumes_from = from.map(str::to_owned).into();
    let resolved = [("service:db", "abc"), ("db", "abc")];
    let resolved = resolved.map(|(name, id)| (name.to_owned(), id.to_owned())).into();
    resolve_namespaces(&mut spec, &resolved);
    let from: Vec<&str> = spec.volumes_from.iter().map(String::as_str).collect();
    assert_eq!(from, ["abc:ro", "db:ro", "other", "web"]);
    assert_eq!(spec.network_mode, NetworkMode::Container("abc".to_owned()));
    assert_eq!(spec.security.ipc_mode.as_deref(), Some("container:abc"));
    assert_eq!(spec.security.pid_mode.as_deref(), Some("host"));
}
