//! What is mounted, where more is known than a file says.

use super::declared::host;
use super::*;
use crate::facts::{HostFacts, Mount, MountKind};

fn bound(source: &str, read_only: bool) -> ServiceSpec {
    service(|spec| {
        let kind = MountKind::Bind {
            source: source.to_owned(),
            propagation: None,
            create_host_path: true,
            selinux: None,
        };
        spec.mounts.insert("/x".to_owned(), Mount { kind, read_only });
    })
}

#[test]
fn what_the_host_knows_of_links_and_sockets_counts() {
    let mut host = host(|_| {});
    host.sockets.insert("/srv/engine/api".to_owned());
    host.symlinks.insert("/opt/conf".to_owned(), "/etc".to_owned());
    host.symlinks.insert("/opt/sock".to_owned(), "../run".to_owned());
    let judged_on = |host: &HostFacts, id: CheckId, source: &str| {
        let spec = bound(source, true);
        let word = told(id, &Subject { host: Some(host), ..Subject::new("web", &spec) });
        word.split(':').next().unwrap().to_owned()
    };
    let judged = |id: CheckId, source: &str| judged_on(&host, id, source);
    assert_eq!(judged(CheckId::DockerSocket, "/srv/engine/api"), "fail");
    assert_eq!(judged(CheckId::DockerSocket, "/srv/engine"), "fail");
    assert_eq!(judged(CheckId::DockerSocket, "/srv/other"), "pass");
    assert_eq!(judged(CheckId::DockerSocket, "/opt/sock/docker.sock"), "fail");
    assert_eq!(judged(CheckId::HostPaths, "/opt/conf/ssh"), "fail");
    assert_eq!(judged(CheckId::HostPaths, "/opt/other"), "pass");
    assert_eq!(judged(CheckId::DockerSocket, "/var"), "fail");
    host.symlinks.insert("/var/run".to_owned(), "/run".to_owned());
    assert_eq!(judged_on(&host, CheckId::DockerSocket, "/var"), "pass");
    assert_eq!(judged_on(&host, CheckId::DockerSocket, "/var/run"), "fail");
    let spec = bound("/opt/conf/ssh", true);
    assert_eq!(told(CheckId::HostPaths, &Subject::new("web", &spec)), "pass");
}

#[test]
fn who_else_writes_is_unknown_without_the_others() {
    let alone = bound("/srv", false);
    assert_eq!(told(CheckId::SharedVolume, &Subject::new("web", &alone)), "unknown: peers");
}
