//! What is mounted, where more is known than a file says.

use super::declared::host;
use super::*;
use crate::facts::{ContentFile, HostFacts, Mount, MountKind};

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

#[test]
fn what_is_read_into_configs_and_secrets_counts_as_mounted() {
    let spec = service(|_| {});
    let judged = |id: CheckId, path: &str, is_secret: bool| {
        let content = Secret::new(Vec::new());
        let read_from = Some(path.to_owned());
        let file = ContentFile { content, uid: 0, gid: 0, mode: 0o444, is_secret, read_from };
        let files = BTreeMap::from([("/run/secrets/x".to_owned(), file)]);
        told(id, &Subject { files: Some(&files), ..Subject::new("web", &spec) })
    };
    for path in ["/var/run/docker.sock", "/run/./containerd/containerd.sock", "/var/run"] {
        let found = judged(CheckId::DockerSocket, path, true);
        assert_eq!(found, format!("fail: `{path}` leads to an engine's socket at secrets"));
    }
    for path in ["/etc/shadow", "/etc//ssh/ssh_host_rsa_key", "/proc/1/root/etc/shadow"] {
        let found = judged(CheckId::HostPaths, path, false);
        assert_eq!(found, format!("fail: it gets `{path}` of the host at configs"));
    }
    for path in ["/root/.ssh/id_rsa", "/home/it/.aws/credentials", "/dev/sda", "/"] {
        assert!(judged(CheckId::HostPaths, path, true).starts_with("fail"), "{path}");
    }
    for path in ["/etc/shop/key", "/srv/it", "/root/shop/db_password", "/run/secrets.d/key"] {
        assert_eq!(judged(CheckId::HostPaths, path, true), "pass", "{path}");
        assert_eq!(judged(CheckId::DockerSocket, path, true), "pass", "{path}");
    }
}
