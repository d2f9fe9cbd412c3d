use std::time::Duration;

use super::*;
use crate::base::Secret;
use crate::facts::{Attachment, Logging, Mount, MountKind};

fn check(declare: impl Fn(&mut ServiceSpec), observe: impl Fn(&mut ServiceSpec), expect: &[&str]) {
    let (mut declared, mut observed) = (ServiceSpec::default(), ServiceSpec::default());
    declare(&mut declared);
    observe(&mut observed);
    let found = differences(&declared, &observed);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, expect);
}

#[test]
fn equal_contracts_do_not_differ() {
    check(|_| {}, |_| {}, &[]);
}

#[test]
fn one_changed_field_is_named_with_both_sides() {
    check(
        |spec| spec.resources.memory_bytes = Some(1024),
        |spec| spec.resources.memory_bytes = Some(2048),
        &["resources.memory_bytes: 2048 → 1024"],
    );
    check(|spec| spec.security.read_only = true, |_| {}, &["security.read_only: nothing → true"]);
    check(
        |_| {},
        |spec| spec.stop_grace_period = Some(Duration::from_secs(90)),
        &["stop_grace_period: 90s → nothing"],
    );
    let volume = |name: &str| {
        let kind = MountKind::Volume { name: name.to_owned(), no_copy: false, subpath: None };
        BTreeMap::from([("/data".to_owned(), Mount { kind, read_only: false })])
    };
    check(
        |spec| spec.mounts = volume("new"),
        |spec| spec.mounts = volume("old"),
        &["mounts./data.kind.volume.name: old → new"],
    );
}

#[test]
fn values_of_the_environment_are_never_shown() {
    let with =
        |value: &str| BTreeMap::from([("PASSWORD".to_owned(), Secret::new(value.to_owned()))]);
    check(
        |spec| spec.environment = with("one"),
        |spec| spec.environment = with("two"),
        &["environment.PASSWORD: [secret] → [secret]"],
    );
    check(
        |_| {},
        |spec| spec.environment = with("two"),
        &["environment.PASSWORD: [secret] → nothing"],
    );
}

#[test]
fn missing_membership_of_a_network_is_a_difference() {
    let member = |names: &[&str], attachment: Attachment| {
        let of = |name: &&str| ((*name).to_owned(), attachment.clone());
        NetworkMode::Networks(names.iter().map(of).collect())
    };
    let plain = Attachment::default();
    check(
        |spec| spec.network_mode = member(&["front", "back"], plain.clone()),
        |spec| spec.network_mode = member(&["back"], plain.clone()),
        &["network_mode.networks.front: nothing → member"],
    );
    let generated = Attachment {
        mac_address: Some("02:42:ac:11:00:02".to_owned()),
        priority: 5,
        ..Attachment::default()
    };
    check(
        |spec| spec.network_mode = member(&["back"], plain.clone()),
        |spec| spec.network_mode = member(&["back"], generated.clone()),
        &[],
    );
}

#[test]
fn engines_own_defaults_are_no_difference_unless_declared_otherwise() {
    let logging = |driver: &str, pairs: &[(&str, &str)]| {
        let options = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Some(Logging { driver: Some(driver.to_owned()), options })
    };
    let filled = |spec: &mut ServiceSpec| {
        spec.logging = logging("json-file", &[("max-size", "10m")]);
        spec.runtime = Some("runc".to_owned());
        spec.resources.shm_size_bytes = Some(64 << 20);
        spec.security.ipc_mode = Some("private".to_owned());
        spec.security.cgroupns_mode = Some("host".to_owned());
    };
    check(|_| {}, filled, &[]);
    check(
        |spec| spec.logging = logging("local", &[]),
        filled,
        &["logging.driver: json-file → local"],
    );
    check(
        |_| {},
        |spec| spec.security.ipc_mode = Some("host".to_owned()),
        &["security.ipc_mode: host → nothing"],
    );
}

#[test]
fn host_name_counts_only_where_the_container_has_its_own() {
    let named = |spec: &mut ServiceSpec| spec.hostname = Some("box".to_owned());
    check(|_| {}, named, &["hostname: box → nothing"]);
    check(
        |spec| spec.network_mode = NetworkMode::Host,
        |spec| {
            spec.network_mode = NetworkMode::Host;
            named(spec);
        },
        &[],
    );
}
