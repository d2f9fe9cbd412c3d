//! What is shared with the host or with other containers, where no file says so.

use super::declared::host;
use super::*;

#[test]
fn the_name_of_an_external_network_is_taken_for_the_mode() {
    let spec = service(|spec| {
        let networks = [("host".to_owned(), crate::facts::Attachment::default())].into();
        spec.network_mode = crate::facts::NetworkMode::Networks(networks);
    });
    assert!(told(CheckId::HostNetwork, &Subject::new("web", &spec)).starts_with("fail"));
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
