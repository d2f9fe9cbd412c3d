use super::*;
use crate::facts::{Mount, MountKind};

fn container(change: impl Fn(&mut NewContainer)) -> NewContainer {
    let mut new = NewContainer {
        name: "shop-web-1".to_owned(),
        image: "web".to_owned(),
        spec: ServiceSpec::default(),
        bookkeeping: BTreeMap::new(),
        resolved_namespaces: BTreeMap::new(),
        kept_volumes: BTreeMap::new(),
    };
    change(&mut new);
    new
}

fn at(target: &str, kind: MountKind) -> BTreeMap<String, Mount> {
    BTreeMap::from([(target.to_owned(), Mount { kind, read_only: false })])
}

fn check_refused(api: ApiVersion, change: impl Fn(&mut NewContainer), expect: &str) {
    let refusal = requests(&container(change), api).expect_err(expect);
    assert!(refusal.starts_with(expect), "{refusal:?} does not begin with {expect:?}");
}

#[test]
fn what_the_api_cannot_say_is_refused_by_name() {
    check_refused(
        ApiVersion(1, 43),
        |new| {
            new.spec.healthcheck = Some(Healthcheck {
                probe: HealthProbe::Inherit,
                interval: None,
                timeout: None,
                retries: None,
                start_period: None,
                start_interval: Some(Duration::from_secs(1)),
            });
        },
        "healthcheck.start_interval needs API 1.44 and the engine speaks 1.43",
    );
    check_refused(
        ApiVersion(1, 44),
        |new| {
            let subpath = Some("sub".to_owned());
            let volume = MountKind::Volume { name: "v".to_owned(), no_copy: false, subpath };
            new.spec.mounts = at("/data", volume);
        },
        "volumes./data.subpath needs API 1.45",
    );
    check_refused(
        ApiVersion(1, 41),
        |new| {
            new.spec.mounts = at("/data", MountKind::Cluster { source: "c".to_owned() });
        },
        "volumes./data.type: cluster needs API 1.42",
    );
    check_refused(
        ApiVersion(1, 42),
        |new| drop(new.spec.annotations.insert("a".to_owned(), "b".to_owned())),
        "annotations needs API 1.43",
    );
    check_refused(
        ApiVersion(1, 43),
        |new| {
            let pinned = Attachment { mac_address: Some("02::1".to_owned()), ..Default::default() };
            new.spec.network_mode =
                NetworkMode::Networks(BTreeMap::from([("front".to_owned(), pinned)]));
        },
        "networks.front.mac_address needs API 1.44",
    );
    check_refused(
        ApiVersion::NEWEST,
        |new| new.spec.network_mode = NetworkMode::Service("db".to_owned()),
        "network_mode: no container stands for service:db",
    );
    check_refused(
        ApiVersion::NEWEST,
        |new| new.spec.security.cgroupns_mode = Some("shared".to_owned()),
        "cgroup: the engine knows no \"shared\"",
    );
}

fn joined(api: ApiVersion) -> (Vec<String>, Vec<String>) {
    let new = container(|new| {
        let member = |priority| Attachment { priority, ..Attachment::default() };
        new.spec.network_mode = NetworkMode::Networks(BTreeMap::from([
            ("a".to_owned(), member(0)),
            ("b".to_owned(), member(10)),
            ("c".to_owned(), member(0)),
        ]));
    });
    let requests = requests(&new, api).unwrap();
    assert_eq!(requests.body.host_config.unwrap().network_mode.as_deref(), Some("b"));
    let at_once = requests.body.networking_config.unwrap().endpoints_config.unwrap();
    let mut at_once: Vec<String> = at_once.into_keys().collect();
    at_once.sort();
    (at_once, requests.later_networks.into_iter().map(|(name, _)| name).collect())
}

#[test]
fn old_engines_get_the_network_of_highest_priority_first_and_the_others_later() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(joined(ApiVersion(1, 43)), (words("b"), words("a c")));
    assert_eq!(joined(ApiVersion(1, 44)), (words("a b c"), words("")));
}

#[test]
fn kept_volume_takes_the_place_of_the_anonymous_one() {
    let new = container(|new| {
        new.spec.mounts = at("/data", MountKind::Anonymous);
        new.kept_volumes = BTreeMap::from([
            ("/data".to_owned(), "old-data".to_owned()),
            ("/log".to_owned(), "old-log".to_owned()),
        ]);
    });
    let body = requests(&new, ApiVersion::NEWEST).unwrap().body;
    assert_eq!(body.volumes, None);
    let mounts = body.host_config.unwrap().mounts.unwrap();
    let sources: Vec<_> = mounts.iter().map(|mount| mount.source.as_deref().unwrap()).collect();
    assert_eq!(sources, ["old-data", "old-log"]);
}
