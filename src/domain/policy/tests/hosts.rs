//! Hosts: what is seen of a daemon and its files, and the verdict.

use super::declared::host;
use super::*;
use crate::facts::{DaemonFacts, DaemonFile, FileFacts, FileLook, HostFacts};

fn judged(id: CheckId, host: &HostFacts) -> String {
    words((host_check(id).unwrap().judge)(host, &Parameters::default()))
}

/// A host whose daemon was started with this file and no arguments.
fn configured(json: &str) -> HostFacts {
    HostFacts {
        daemon_file: DaemonFile::Read(serde_json::from_str(json).unwrap()),
        daemon_arguments: Some(BTreeMap::new()),
        ..HostFacts::default()
    }
}

#[test]
fn of_a_host_that_nobody_looked_at_nothing_is_known() {
    let host = HostFacts::default();
    for judged in judge_host(&host, &Parameters::default()) {
        let is_unknown = matches!(judged.verdict, Verdict::Unknown { .. });
        assert!(is_unknown, "{}: {:?}", judged.check.id, judged.verdict);
    }
}

#[test]
fn options_of_the_daemon_are_judged_with_their_defaults() {
    let table = [
        (CheckId::HostIcc, r#"{"icc": false}"#, "pass"),
        (CheckId::HostIcc, "{}", "fail: `icc` is not set at icc"),
        (CheckId::HostIcc, r#"{"icc": true}"#, "fail: `icc` is on"),
        (CheckId::HostLogLevel, "{}", "pass"),
        (CheckId::HostLogLevel, r#"{"log-level": "info"}"#, "pass"),
        (CheckId::HostLogLevel, r#"{"log-level": "debug"}"#, "fail"),
        (CheckId::HostLogLevel, r#"{"log-level": "error"}"#, "fail"),
        (CheckId::HostLogLevel, r#"{"log-level": "info", "debug": true}"#, "fail: `debug` is on"),
        (CheckId::HostIptables, "{}", "pass"),
        (CheckId::HostIptables, r#"{"iptables": false}"#, "fail: `iptables` is off"),
        (CheckId::HostInsecureRegistries, "{}", "pass"),
        (CheckId::HostInsecureRegistries, r#"{"insecure-registries": ["127.0.0.1:5000"]}"#, "pass"),
        (CheckId::HostInsecureRegistries, r#"{"insecure-registries": ["10.0.0.0/8"]}"#, "fail"),
        (CheckId::HostTls, "{}", "pass"),
        (CheckId::HostTls, r#"{"hosts": ["unix:///run/docker.sock", "fd://"]}"#, "pass"),
        (CheckId::HostTls, r#"{"hosts": ["tcp://0.0.0.0:2375"]}"#, "fail"),
        (CheckId::HostTls, r#"{"hosts": ["tcp://0.0.0.0:2376"], "tls": true}"#, "fail"),
        (CheckId::HostTls, r#"{"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": true}"#, "pass"),
        (CheckId::HostUlimits, "{}", "fail"),
        (
            CheckId::HostUlimits,
            r#"{"default-ulimits": {"nofile": {"Soft": 1, "Hard": 2}}}"#,
            "pass",
        ),
        (CheckId::HostUsernsRemap, "{}", "fail"),
        (CheckId::HostUsernsRemap, r#"{"userns-remap": "default"}"#, "pass"),
        (CheckId::HostCgroupParent, "{}", "pass"),
        (CheckId::HostCgroupParent, r#"{"cgroup-parent": "/x"}"#, "fail"),
        (CheckId::HostBaseDeviceSize, "{}", "pass"),
        (CheckId::HostBaseDeviceSize, r#"{"storage-opts": ["dm.basesize=20G"]}"#, "fail"),
        (CheckId::HostAuthorization, "{}", "fail"),
        (CheckId::HostAuthorization, r#"{"authorization-plugins": ["opa"]}"#, "pass"),
        (CheckId::HostNoNewPrivileges, "{}", "fail"),
        (CheckId::HostNoNewPrivileges, r#"{"no-new-privileges": true}"#, "pass"),
        (CheckId::HostUserlandProxy, "{}", "fail"),
        (CheckId::HostUserlandProxy, r#"{"userland-proxy": false}"#, "pass"),
        (CheckId::HostFileTlsKey, "{}", "pass"),
    ];
    for (id, json, expect) in table {
        let found = judged(id, &configured(json));
        assert!(found.starts_with(expect), "{id}: {json}: {found}");
    }
}

#[test]
fn what_an_engine_says_of_itself_is_judged() {
    let check = |id: CheckId, change: &dyn Fn(&mut DaemonFacts), expect: &str| {
        let found = judged(id, &host(|daemon| change(daemon)));
        assert!(found.starts_with(expect), "{id}: {found}");
    };
    let option = |name: &'static str| {
        move |it: &mut DaemonFacts| {
            it.security_options.insert(name.to_owned());
        }
    };
    let driver =
        |name: &'static str| move |it: &mut DaemonFacts| name.clone_into(&mut it.storage_driver);
    check(CheckId::HostSwarm, &|_| {}, "pass");
    check(CheckId::HostSwarm, &|it| it.is_in_swarm = true, "fail");
    check(CheckId::HostStorageDriver, &driver("overlay2"), "pass");
    check(CheckId::HostStorageDriver, &driver("aufs"), "fail: the storage driver is `aufs`");
    check(CheckId::HostLiveRestore, &|it| it.live_restore = true, "pass");
    check(CheckId::HostLiveRestore, &|it| it.is_in_swarm = true, "pass");
    check(CheckId::HostLiveRestore, &|_| {}, "fail: containers end with the daemon");
    check(CheckId::HostExperimental, &|_| {}, "pass");
    check(CheckId::HostExperimental, &|it| it.is_experimental = true, "fail");
    check(CheckId::HostSeccomp, &option("name=seccomp,profile=builtin"), "pass");
    check(CheckId::HostSeccomp, &option("name=seccomp,profile=unconfined"), "fail");
    check(CheckId::HostSeccomp, &|_| {}, "fail: the engine has no seccomp");
    check(CheckId::HostUsernsRemap, &option("name=userns"), "pass");
    check(CheckId::HostUsernsRemap, &option("name=rootless"), "pass");
    check(CheckId::HostUsernsRemap, &|_| {}, "fail");
    check(CheckId::HostNoNewPrivileges, &option("name=no-new-privileges"), "pass");
    check(CheckId::HostNoNewPrivileges, &|_| {}, "fail");
    check(CheckId::HostCentralLogging, &|_| {}, "fail: the log driver is `json-file`");
    check(CheckId::HostCentralLogging, &|it| it.logging_driver = "gelf".to_owned(), "pass");
    check(CheckId::HostAuthorization, &|_| {}, "fail");
    let warned =
        "[DEPRECATION NOTICE]: API is accessible on http://0.0.0.0:2375 without encryption.";
    check(CheckId::HostTls, &|it| it.warnings = vec![warned.to_owned()], "fail");
    let own = ["127.0.0.0/8", "::1/128"];
    let registries = |more: Option<&'static str>| {
        move |it: &mut DaemonFacts| {
            it.insecure_registries = own.into_iter().chain(more).map(str::to_owned).collect();
        }
    };
    check(CheckId::HostInsecureRegistries, &registries(None), "pass");
    let open = "fail: `registry.local:5000` need not show a certificate";
    check(CheckId::HostInsecureRegistries, &registries(Some("registry.local:5000")), open);
}

#[test]
fn the_bridge_itself_says_whether_its_containers_reach_each_other() {
    let mut host = configured(r#"{"icc": false}"#);
    let option = |value: &str| {
        [("com.docker.network.bridge.enable_icc".to_owned(), value.to_owned())].into()
    };
    host.bridge_options = Some(option("true"));
    assert!(judged(CheckId::HostIcc, &host).starts_with("fail"));
    host.bridge_options = Some(option("false"));
    assert_eq!(judged(CheckId::HostIcc, &host), "pass");
}

fn found(uid: u32, group: &str, mode: u32) -> FileLook {
    let gid = if group == "root" { 0 } else { 998 };
    FileLook::Found(FileFacts { uid, gid, group: Some(group.to_owned()), mode, is_folder: false })
}

#[test]
fn files_are_roots_and_nobody_else_writes_them() {
    let check = |id: CheckId, path: &str, look: FileLook, expect: &str| {
        let mut host = HostFacts::default();
        host.files.insert(path.to_owned(), look);
        assert_eq!(judged(id, &host), expect, "{id}");
    };
    let json = "/etc/docker/daemon.json";
    let id = CheckId::HostFileConfiguration;
    check(id, json, found(0, "root", 0o644), "pass");
    check(id, json, found(0, "root", 0o600), "pass");
    check(id, json, FileLook::Absent, "pass");
    let wide = format!("fail: `{json}` has mode 664, which allows more than 644 at {json}");
    check(id, json, found(0, "root", 0o664), &wide);
    let user = format!("fail: `{json}` belongs to user 1000 and not to root at {json}");
    check(id, json, found(1000, "root", 0o644), &user);
    let group = format!("fail: `{json}` belongs to the group staff at {json}");
    check(id, json, found(0, "staff", 0o644), &group);
    let id = CheckId::HostFileSocket;
    check(id, "/run/docker.sock", found(0, "docker", 0o660), "pass");
    // The same socket by its other name.
    check(id, "/var/run/docker.sock", found(0, "docker", 0o660), "pass");
    let open = "fail: `/run/docker.sock` has mode 666, which allows more than 660 at \
                /run/docker.sock";
    check(id, "/var/run/docker.sock", found(0, "docker", 0o666), open);
    let id = CheckId::HostFileContainerdSocket;
    let path = "/run/containerd/containerd.sock";
    let group = format!("fail: `{path}` belongs to the group docker at {path}");
    check(id, path, found(0, "docker", 0o660), &group);
}

#[test]
fn of_files_in_many_places_each_is_looked_at() {
    let mut host = HostFacts::default();
    let id = CheckId::HostFileService;
    let (etc, lib) =
        ("/etc/systemd/system/docker.service", "/usr/lib/systemd/system/docker.service");
    host.files.insert(lib.to_owned(), found(0, "root", 0o644));
    assert_eq!(judged(id, &host), "unknown: host.files");
    host.files.insert(etc.to_owned(), FileLook::Absent);
    host.symlinks.insert("/lib".to_owned(), "usr/lib".to_owned());
    assert_eq!(judged(id, &host), "pass");
    host.files.insert(etc.to_owned(), found(0, "root", 0o777));
    assert!(judged(id, &host).starts_with("fail: `/etc/systemd"));
}

#[test]
fn certificates_of_registries_are_known_when_their_folder_was_listed() {
    let mut host = HostFacts::default();
    let (id, folder) = (CheckId::HostFileRegistryCertificates, "/etc/docker/certs.d");
    host.files.insert(folder.to_owned(), FileLook::Absent);
    assert_eq!(judged(id, &host), "pass");
    let certificate = format!("{folder}/r.example.org/ca.crt");
    host.files.insert(folder.to_owned(), found(0, "root", 0o755));
    host.files.insert(certificate.clone(), found(0, "root", 0o444));
    assert_eq!(judged(id, &host), "unknown: host.files");
    host.listed.insert(folder.to_owned());
    // The folder itself is one: its mode is not that of a certificate.
    assert_eq!(judged(id, &host), "pass");
    host.files.insert(certificate, found(0, "root", 0o644));
    assert!(judged(id, &host).starts_with("fail"));
}

#[test]
fn whoever_looks_is_told_where() {
    let host = configured(r#"{"tlskey": "/etc/docker/key.pem"}"#);
    let (files, folders) = looked_at(&host);
    assert!(files.contains("/etc/docker/daemon.json") && files.contains("/etc/docker/key.pem"));
    assert_eq!(folders, BTreeSet::from(["/etc/docker/certs.d".to_owned()]));
    let mut seen = host.clone();
    seen.files = files.into_iter().map(|path| (path, FileLook::Absent)).collect();
    seen.listed = folders;
    for check in HOST_CHECKS.iter().filter(|check| check.id.key().starts_with("host_file_")) {
        assert_eq!(judged(check.id, &seen), "pass", "{}", check.id);
    }
}
