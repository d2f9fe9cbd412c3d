//! What is mounted: compliant, violating and evasive spellings.

use super::declared::{host, table, table_with};
use super::*;
use crate::facts::{HostFacts, Mount, MountKind};

const DATA: &str = "volumes: {data: {}}\n";

fn local(device: &str) -> String {
    format!("volumes: {{data: {{driver_opts: {{type: none, o: bind, device: '{device}'}}}}}}\n")
}

#[test]
fn the_engines_socket_is_found_by_every_way() {
    let socket = local("/var/run/docker.sock");
    let holder = "  other:\n    image: o:1\n    volumes: ['/run/docker.sock:/s']\n";
    table(
        CheckId::DockerSocket,
        &[
            ("", "", "pass"),
            ("volumes: ['data:/data']", DATA, "pass"),
            ("volumes: ['/srv/docker:/data', './run:/run']", "", "pass"),
            ("volumes: ['/run/mysqld:/run/mysqld']", "", "pass"),
            ("volumes: ['/var/run/docker.sock:/var/run/docker.sock']", "", "fail"),
            ("volumes: ['/run/docker.sock:/x']", "", "fail"),
            ("volumes: ['/var/run/docker.sock:/x:ro']", "", "fail"),
            ("volumes: ['/var/run/../run/docker.sock:/x']", "", "fail"),
            ("volumes: ['//var//run/./docker.sock:/x']", "", "fail"),
            ("volumes: [{type: bind, source: /var/run/docker.sock, target: /x}]", "", "fail"),
            (
                "volumes: [{type: bind, source: /run/docker.sock, target: /x, read_only: true}]",
                "",
                "fail",
            ),
            ("volumes: ['${SOCK:-/var/run/docker.sock}:/x']", "", "fail"),
            (
                "volumes: ['/var/run:/r']",
                "",
                "fail: `/var/run` at `/r` has an engine's socket in it",
            ),
            ("volumes: ['/run/:/r:ro']", "", "fail"),
            ("volumes: ['/:/host']", "", "fail"),
            ("volumes: ['/proc/1/root/run/docker.sock:/x']", "", "fail"),
            ("volumes: ['/var:/v']", "", "fail"),
            ("volumes: ['/run/containerd/containerd.sock:/x']", "", "fail"),
            ("volumes: ['/run/containerd:/x']", "", "fail"),
            ("volumes: ['/run/podman/podman.sock:/x']", "", "fail"),
            ("volumes: ['/run/user/1000/docker.sock:/x']", "", "fail"),
            ("volumes: ['/home/me/.docker/run/docker.sock:/x']", "", "fail"),
            ("volumes: ['data:/x']", &socket, "fail"),
            ("volumes_from: [other]", holder, "fail"),
            ("volumes_from: ['other:ro']", holder, "fail"),
            ("volumes_from: ['container:else']", "", "unknown: peers"),
            (
                "volumes: ['data:/x']",
                "volumes: {data: {external: true}}\n",
                "unknown: volume.options",
            ),
            (
                "volumes: [{type: npipe, source: '\\\\.\\pipe\\docker_engine', target: /x}]",
                "",
                "fail",
            ),
        ],
    );
}

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
fn sensitive_paths_are_found_however_they_are_spelled() {
    let etc = local("/etc/../etc/");
    let overlay = "volumes: {data: {driver_opts: {type: overlay, device: overlay, \
                   o: 'lowerdir=/srv/a:/etc,upperdir=/srv/u,workdir=/srv/w'}}}\n";
    let plugin = "volumes: {data: {driver: local-persist, driver_opts: {mountpoint: /var/data}}}\n";
    let disk = "volumes: {data: {driver_opts: {type: ext4, device: /dev/sda1}}}\n";
    let nfs = "volumes: {data: {driver_opts: {type: nfs, o: 'addr=10.0.0.1', device: ':/etc'}}}\n";
    let share = "volumes: {data: {driver_opts: {type: cifs, device: '//nas/etc'}}}\n";
    table(
        CheckId::HostPaths,
        &[
            ("", "", "pass"),
            ("volumes: ['./data:/data', '/srv/shop:/shop', '/opt/x:/x']", "", "pass"),
            ("volumes: ['/home/me/shop/data:/data']", "", "pass"),
            ("volumes: ['data:/etc']", DATA, "pass"),
            ("volumes: ['/etc/localtime:/etc/localtime:ro', '/etc/ssl/certs:/c:ro']", "", "pass"),
            ("volumes: ['/etc/localtime:/etc/localtime']", "", "fail"),
            ("volumes: ['/etc:/host']", "", "fail: it has `/etc` of the host at volumes"),
            ("volumes: ['/etc:/host:ro']", "", "fail"),
            ("volumes: ['/etc/:/host']", "", "fail"),
            ("volumes: ['/etc/../etc:/host']", "", "fail"),
            ("volumes: ['//etc//ssh:/host']", "", "fail"),
            ("volumes: ['/srv/../etc/shadow:/x:ro']", "", "fail"),
            ("volumes: [{type: bind, source: /etc/letsencrypt, target: /x}]", "", "fail"),
            ("volumes: ['/:/host:ro']", "", "fail"),
            ("volumes: ['/..:/host']", "", "fail"),
            ("volumes: ['/proc:/host/proc:ro', '/sys:/host/sys:ro']", "", "fail"),
            ("volumes: ['/proc/1/root:/host']", "", "fail"),
            ("volumes: ['/proc/1/root/srv/data:/x']", "", "pass"),
            ("volumes: ['/lib/modules:/lib/modules:ro']", "", "fail"),
            ("volumes: ['/dev/sda:/x']", "", "fail"),
            ("volumes: ['/boot:/b', '/usr:/u']", "", "fail"),
            ("volumes: ['/root/.ssh:/x']", "", "fail"),
            ("volumes: ['/home/me/.ssh:/x:ro']", "", "fail"),
            ("volumes: ['/home:/x']", "", "fail"),
            ("volumes: ['/var/lib/backup/data:/x']", "", "fail"),
            ("volumes: ['../../../etc:/x']", "", "fail"),
            ("volumes: ['data:/x']", &etc, "fail"),
            ("volumes: ['data:/x']", "volumes: {data: {external: true, name: /etc}}\n", "fail"),
            ("volumes: ['data:/x']", overlay, "fail"),
            ("volumes: ['data:/x']", plugin, "fail"),
            ("volumes: ['data:/x']", disk, "fail"),
            ("volumes: ['data:/x']", nfs, "pass"),
            ("volumes: ['data:/x']", share, "pass"),
            (
                "volumes_from: [other]",
                "  other:\n    image: o:1\n    volumes: ['/etc:/e']\n",
                "fail",
            ),
            // One cause, one failure.
            ("volumes: ['/var/run/docker.sock:/x']", "", "pass"),
        ],
    );
    let parameters = Parameters {
        host_paths_allowed: ["/etc/letsencrypt/".to_owned()].into(),
        ..Parameters::default()
    };
    table_with(
        CheckId::HostPaths,
        &parameters,
        &[
            ("volumes: ['/etc/letsencrypt/live:/x']", "", "pass"),
            ("volumes: ['/etc/letsencrypt/../shadow:/x']", "", "fail"),
            ("volumes: ['/etc/letsencrypt2:/x']", "", "fail"),
        ],
    );
}

#[test]
fn mounts_do_not_spread() {
    let long = "volumes: [{type: bind, source: /srv, target: /s, bind: {propagation: rshared}}]";
    let slave = "volumes: [{type: bind, source: /srv, target: /s, bind: {propagation: rslave}}]";
    table(
        CheckId::MountPropagation,
        &[
            ("", "", "pass"),
            ("volumes: ['/srv:/s']", "", "pass"),
            ("volumes: ['/srv:/s:rprivate']", "", "pass"),
            ("volumes: ['data:/data']", "volumes: {data: {external: true}}\n", "pass"),
            (slave, "", "pass"),
            (long, "", "fail: mounts below `/s` spread to the host at volumes"),
            ("volumes: ['/srv:/s:shared']", "", "fail"),
            ("volumes: ['/srv:/s:ro,rshared']", "", "fail"),
        ],
    );
}

#[test]
fn a_volume_has_one_writer() {
    let other = |volumes: &str| format!("  other:\n    image: o:1\n    volumes: [{volumes}]\n");
    let with_data = |volumes: &str| format!("{}{DATA}", other(volumes));
    table(
        CheckId::SharedVolume,
        &[
            ("", "", "pass"),
            ("volumes: ['data:/data']", DATA, "pass"),
            (
                "volumes: ['data:/data']",
                &with_data("'data:/d'"),
                "fail: `other` writes to `p_data`",
            ),
            ("volumes: ['data:/data:ro']", &with_data("'data:/d'"), "pass"),
            ("volumes: ['data:/data']", &with_data("'data:/d:ro'"), "pass"),
            ("volumes: ['./logic:/app']", &other("'./logic:/app'"), "fail"),
            ("volumes: ['./logic/:/app']", &other("'./x/../logic:/b'"), "fail"),
            ("volumes: ['./logic/sub:/app']", &other("'./logic:/b'"), "fail"),
            ("volumes: ['./logic-2:/app']", &other("'./logic:/b'"), "pass"),
            ("volumes_from: [other]", &with_data("'data:/d'"), "fail"),
            ("volumes_from: ['other:ro']", &with_data("'data:/d'"), "pass"),
            ("volumes: ['/etc/localtime:/t']", &other("'/etc/localtime:/t'"), "pass"),
            ("volumes: ['data:/d', 'more:/m']", "volumes: {data: {}, more: {}}\n", "pass"),
        ],
    );
    let alone = bound("/srv", false);
    assert_eq!(told(CheckId::SharedVolume, &Subject::new("web", &alone)), "unknown: peers");
}
