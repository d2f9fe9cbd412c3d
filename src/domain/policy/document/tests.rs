//! The object has exactly the fields that it is said to have, whatever is known; and the manual lists
//! them.

use super::*;
use crate::base::Secret;
use crate::facts::{DaemonFacts, DeviceMapping, Health, Logging, Ulimit};

/// A container that runs with this contract.
pub(in crate::domain::policy) fn container(spec: ServiceSpec) -> ContainerFacts {
    ContainerFacts {
        health: Health::Healthy,
        restart_count: 2,
        created_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        ..ContainerFacts::running("shop-web-1", spec)
    }
}

/// A contract with something in every list.
fn rich() -> ServiceSpec {
    let mut spec =
        ServiceSpec { image: "r.example/a/web:1@sha256:ab".to_owned(), ..ServiceSpec::default() };
    spec.user = Some("app".to_owned());
    spec.environment.insert("TOKEN".to_owned(), Secret::new("hunter2".to_owned()));
    spec.labels.insert("tier".to_owned(), "web".to_owned());
    spec.healthcheck = Some(Healthcheck {
        probe: HealthProbe::Exec(vec!["a".to_owned()]),
        interval: Some(Duration::from_secs(5)),
        timeout: None,
        retries: None,
        start_period: None,
        start_interval: None,
    });
    spec.ports.insert(PortBinding {
        container_port: 80,
        protocol: Protocol::Tcp,
        host_ip: None,
        host_port: Some("8000-8010".to_owned()),
    });
    let bind = MountKind::Bind {
        source: "/etc".to_owned(),
        propagation: Some("rshared".to_owned()),
        create_host_path: false,
        selinux: None,
    };
    spec.mounts.insert("/host".to_owned(), Mount { kind: bind, read_only: true });
    spec.mounts.insert("/data".to_owned(), Mount { kind: MountKind::Anonymous, read_only: false });
    spec.resources.ulimits.insert("nofile".to_owned(), Ulimit { soft: 1, hard: 2 });
    spec.security.devices.push(DeviceMapping {
        source: "/dev/a".to_owned(),
        target: "/dev/a".to_owned(),
        permissions: "r".to_owned(),
    });
    spec.security.security_opt.insert("no-new-privileges:true".to_owned());
    spec.logging = Some(Logging { driver: Some("json-file".to_owned()), options: BTreeMap::new() });
    spec
}

fn image_of(defaults: ServiceSpec) -> ImageFacts {
    ImageFacts {
        last_tagged_at: None,
        id: "sha256:1".to_owned(),
        tags: vec!["web:1".to_owned()],
        digests: Vec::new(),
        defaults,
        platform: "linux/amd64".to_owned(),
        size_bytes: 5,
        created_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
    }
}

/// Where a value is not what its shape says.
fn misfits(value: &Value, shape: Shape, path: &str, found: &mut Vec<String>) {
    let mut wrong = || found.push(format!("{path}: {} is no {}", value.kind(), shape.text()));
    match (shape, value) {
        (_, Value::Null | Value::Unknown(_)) if path != "root" => {}
        (Shape::Text, Value::Text(_))
        | (Shape::Whole, Value::Whole(_))
        | (Shape::YesNo, Value::YesNo(_)) => {}
        (Shape::List(item), Value::List(list)) => {
            for value in &list.items {
                misfits(value, *item, &format!("{path}[]"), found);
            }
        }
        (Shape::Map(item), Value::Map(map)) if !map.is_object => {
            for value in map.entries.values() {
                misfits(value, *item, &format!("{path}{{}}"), found);
            }
        }
        (Shape::Object(fields), Value::Map(map)) if map.is_object => {
            let named: BTreeSet<Key> = fields.iter().map(|field| Key::text(field.name)).collect();
            let held: BTreeSet<Key> = map.entries.keys().cloned().collect();
            for key in named.symmetric_difference(&held) {
                found.push(format!("{path}: {key:?} is in one of the two"));
            }
            for field in fields {
                if let Some(value) = map.entries.get(&Key::text(field.name)) {
                    misfits(value, field.shape, &format!("{path}.{}", field.name), found);
                }
            }
        }
        _ => wrong(),
    }
}

#[test]
fn the_object_has_the_shape_that_conditions_are_checked_against() {
    let (spec, image) = (rich(), image_of(rich()));
    let container = container(rich());
    let daemon = DaemonFacts::default();
    let host = HostFacts { daemon: Some(daemon), ..HostFacts::default() };
    let literals = BTreeSet::from(["TOKEN".to_owned()]);
    let processes = ["sshd".to_owned()];
    let bare = Subject::new("web", &spec);
    let whole = Subject {
        project: Some("shop"),
        image: Some(&image),
        container: Some(&container),
        host: Some(&host),
        literals: Some(&literals),
        processes: Some(&processes),
        now: Some("2026-03-01T00:00:00Z".parse().unwrap()),
        ..bare
    };
    let empty = ServiceSpec::default();
    for subject in [bare, whole, Subject { image: Some(&image), ..bare }, Subject::new("x", &empty)]
    {
        let mut found = Vec::new();
        misfits(&document(&subject), Shape::Object(ROOT), "root", &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn no_value_of_the_environment_is_in_the_object() {
    let (spec, image) = (rich(), image_of(rich()));
    let subject = Subject { image: Some(&image), ..Subject::new("web", &spec) };
    let shown = format!("{:?}", document(&subject));
    assert!(shown.contains("TOKEN") && !shown.contains("hunter2"));
}

#[test]
fn a_reference_is_taken_apart() {
    let check = |text: &str, expect: [&str; 4]| {
        let it = Reference::of(text);
        let found = [it.registry, it.repository, it.tag.unwrap_or("-"), it.digest.unwrap_or("-")];
        assert_eq!(found, expect, "{text}");
    };
    check("web", ["docker.io", "web", "-", "-"]);
    check("acme/web:1", ["docker.io", "acme/web", "1", "-"]);
    check("r.example:5000/a/web", ["r.example:5000", "a/web", "-", "-"]);
    check("localhost/web:1@sha256:ab", ["localhost", "web", "1", "sha256:ab"]);
}

/// `path` and what it can be, of every field, with those of its objects behind it.
fn rows(fields: &[Field], rows: &mut Vec<String>) {
    for field in fields {
        let (shape, below) = match field.shape {
            Shape::List(Shape::Object(below)) => ("a list of objects".to_owned(), Some(*below)),
            Shape::Map(Shape::Object(below)) => ("a map of objects".to_owned(), Some(*below)),
            Shape::Object(below) => ("an object".to_owned(), Some(below)),
            Shape::List(item) => {
                (format!("a list of {}s", item.text().trim_start_matches("a ")), None)
            }
            Shape::Map(item) => {
                (format!("a map to {}s", item.text().trim_start_matches("a ")), None)
            }
            other => (other.text().to_owned(), None),
        };
        rows.push(format!("| `{}` | {shape} | {} |", field.path, field.tells));
        // Fields of one that is described elsewhere already are not listed twice.
        let is_own = |below: &&[Field]| below.iter().all(|it| it.path.starts_with(field.path));
        if let Some(below) = below.filter(is_own) {
            self::rows(below, rows);
        }
    }
}

#[test]
fn the_manual_lists_every_field() {
    let mut expected = Vec::new();
    rows(ROOT, &mut expected);
    let manual = include_str!("../../../../docs/policies.md");
    let begin = "| field | what it can be | what it tells |\n|---|---|---|\n";
    let listed = manual.split_once(begin).map(|(_, rest)| rest).unwrap_or_default();
    let listed = listed.split("\n\n").next().unwrap_or_default().trim_end();
    let expected = expected.join("\n");
    assert!(listed == expected, "docs/policies.md should list:\n{expected}");
}
