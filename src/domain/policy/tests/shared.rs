//! What is shared with the host or with other containers: compliant, violating and evasive
//! spellings.

use super::declared::{host, table};
use super::*;

const HOSTS: &str =
    "  other:\n    image: o:1\n    network_mode: host\n    pid: host\n    ipc: host\n";
const OWN: &str = "  other:\n    image: o:1\n";

#[test]
fn the_hosts_network_is_found_by_every_name() {
    table(
        CheckId::HostNetwork,
        &[
            ("", "", "pass"),
            ("network_mode: none", "", "pass"),
            ("network_mode: bridge", "", "pass"),
            (
                "network_mode: host",
                "",
                "fail: it is in the host's network namespace at network_mode",
            ),
            ("network_mode: ${MODE:-host}", "", "fail"),
            ("network_mode: 'service:other'", OWN, "pass"),
            (
                "network_mode: 'service:other'",
                HOSTS,
                "fail: it is in the host's network namespace, thr",
            ),
            ("network_mode: 'container:else'", "", "unknown: peers"),
            ("networks: [n]", "networks: {n: {external: true, name: shop}}\n", "pass"),
        ],
    );
    // The name of an external network is taken for the mode.
    let spec = service(|spec| {
        let networks = [("host".to_owned(), crate::facts::Attachment::default())].into();
        spec.network_mode = crate::facts::NetworkMode::Networks(networks);
    });
    assert!(told(CheckId::HostNetwork, &Subject::new("web", &spec)).starts_with("fail"));
}

#[test]
fn the_hosts_other_namespaces_are_found() {
    table(
        CheckId::HostPid,
        &[
            ("", "", "pass"),
            ("pid: host", "", "fail: it is in the host's process namespace at pid"),
            ("pid: 'service:other'", HOSTS, "fail"),
            ("pid: 'service:other'", OWN, "pass"),
            ("pid: 'container:else'", "", "unknown"),
        ],
    );
    table(
        CheckId::HostIpc,
        &[
            ("", "", "pass"),
            ("ipc: private", "", "pass"),
            ("ipc: shareable", "", "pass"),
            ("ipc: host", "", "fail"),
            ("ipc: 'service:other'", HOSTS, "fail"),
            ("ipc: 'service:other'", OWN, "pass"),
        ],
    );
    table(CheckId::HostUts, &[("", "", "pass"), ("uts: host", "", "fail")]);
    table(CheckId::HostUserns, &[("", "", "pass"), ("userns_mode: host", "", "fail")]);
    table(
        CheckId::HostCgroupns,
        &[("", "", "pass"), ("cgroup: private", "", "pass"), ("cgroup: host", "", "fail")],
    );
}

#[test]
fn a_ring_of_services_ends() {
    // No file declares one; what is found may be anything.
    let joins =
        |name: &str| service(|spec| spec.security.pid_mode = Some(format!("service:{name}")));
    let (first, second) = (joins("second"), joins("first"));
    let peers = [("first", &first), ("second", &second)];
    let subject = Subject { peers: Some(&peers), ..Subject::new("first", &first) };
    assert_eq!(told(CheckId::HostPid, &subject), "pass");
}

#[test]
fn an_old_engine_shows_the_hosts_control_groups() {
    let spec = service(|_| {});
    let judged = |version: &str| {
        let host = host(|it| version.clone_into(&mut it.cgroup_version));
        told(CheckId::HostCgroupns, &Subject { host: Some(&host), ..Subject::new("web", &spec) })
    };
    assert_eq!(judged("2"), "pass");
    assert!(judged("1").starts_with("fail"));
}

#[test]
fn namespaces_of_other_containers_are_told() {
    table(
        CheckId::JoinedNamespace,
        &[
            ("", "", "pass"),
            ("network_mode: host", "", "pass"),
            (
                "network_mode: 'service:other'",
                OWN,
                "fail: it shares the network namespace of `other`",
            ),
            ("network_mode: 'container:abc'", "", "fail"),
            ("pid: 'service:other'", OWN, "fail"),
            ("ipc: 'container:abc'", "", "fail"),
            ("ipc: shareable", "", "pass"),
        ],
    );
}
