//! What keeps a process inside: compliant, violating and evasive spellings.

use super::declared::{Case, container, host, table, table_with};
use super::*;

#[test]
fn privileged_is_privileged_however_it_is_written() {
    table(
        CheckId::Privileged,
        &[
            ("", "", "pass"),
            ("privileged: false", "", "pass"),
            ("privileged: true", "", "fail: it is privileged at privileged"),
            ("privileged: ${P:-true}", "", "fail"),
            ("privileged: 'true'", "", "fail"),
            ("<<: {privileged: true}", "", "fail"),
        ],
    );
}

#[test]
fn dangerous_capabilities_are_found_by_what_is_in_force() {
    table(
        CheckId::CapabilitiesDangerous,
        &[
            ("", "", "pass"),
            ("cap_drop: [ALL]\ncap_add: [NET_BIND_SERVICE, CHOWN]", "", "pass"),
            ("cap_add: [IPC_LOCK]", "", "pass"),
            ("cap_add: [SYS_ADMIN]", "", "fail: it adds `SYS_ADMIN` at cap_add"),
            ("cap_add: [cap_sys_admin]", "", "fail"),
            ("cap_add: [Cap_Sys_Ptrace]", "", "fail"),
            ("cap_drop: [ALL]\ncap_add: [SYS_MODULE]", "", "fail"),
            ("cap_drop: [SYS_ADMIN]\ncap_add: [SYS_ADMIN]", "", "fail"),
            ("cap_add: [ALL]", "", "fail: it adds every capability"),
            ("cap_add: [all]\ncap_drop: [ALL]", "", "fail"),
            ("cap_add: [CAP_ALL]\ncap_drop: [NET_RAW]", "", "fail"),
            // One cause, one failure.
            ("privileged: true\ncap_add: [SYS_ADMIN]", "", "pass"),
        ],
    );
}

#[test]
fn added_capabilities_have_to_be_allowed() {
    table(
        CheckId::CapabilitiesAdded,
        &[
            ("", "", "pass"),
            ("cap_drop: [ALL]\ncap_add: [CHOWN]", "", "pass"),
            (
                "cap_add: [IPC_LOCK, sys_nice]",
                "",
                "fail: it adds `IPC_LOCK`, `SYS_NICE` at cap_add",
            ),
            ("cap_add: [CAP_WAKE_ALARM]", "", "fail"),
            ("cap_add: [SYS_ADMIN]", "", "pass"),
        ],
    );
    let mut parameters = Parameters::default();
    parameters.capabilities_allowed.insert("IPC_LOCK".to_owned());
    table_with(CheckId::CapabilitiesAdded, &parameters, &[("cap_add: [ipc_lock]", "", "pass")]);
    parameters.capabilities_allowed.insert("SYS_PTRACE".to_owned());
    let allowed = [("cap_add: [SYS_PTRACE]", "", "pass"), ("cap_add: [SYS_ADMIN]", "", "fail")];
    table_with(CheckId::CapabilitiesDangerous, &parameters, &allowed);
}

#[test]
fn capabilities_are_dropped_before_some_are_added() {
    table(
        CheckId::CapabilitiesDropped,
        &[
            ("cap_drop: [ALL]", "", "pass"),
            ("cap_drop: [all]\ncap_add: [CHOWN]", "", "pass"),
            ("cap_drop: [CAP_ALL]", "", "pass"),
            ("", "", "fail: it does not drop `ALL` capabilities at cap_drop"),
            ("cap_drop: [NET_RAW]", "", "fail"),
            ("cap_drop: [ALL]\ncap_add: [ALL]", "", "fail"),
        ],
    );
}

#[test]
fn only_what_the_engine_reads_as_true_keeps_from_new_privileges() {
    table(
        CheckId::NoNewPrivileges,
        &[
            ("security_opt: ['no-new-privileges:true']", "", "pass"),
            ("security_opt: ['no-new-privileges=true']", "", "pass"),
            ("security_opt: [no-new-privileges]", "", "pass"),
            ("security_opt: ['no-new-privileges:1']", "", "pass"),
            ("security_opt: ['no-new-privileges:true', 'apparmor=shop']", "", "pass"),
            ("", "", "fail: it does not say `no-new-privileges:true` at security_opt"),
            ("security_opt: ['apparmor=shop']", "", "fail"),
            (
                "security_opt: ['no-new-privileges:false']",
                "",
                "fail: it says `no-new-privileges:false`",
            ),
            ("security_opt: ['no-new-privileges=false']", "", "fail"),
            ("security_opt: ['no-new-privileges:0']", "", "fail"),
            ("security_opt: ['no-new-privileges:true', 'no-new-privileges:false']", "", "fail"),
            ("security_opt: ['no-new-privileges:f']", "", "fail"),
        ],
    );
    let mut spec = service(|_| {});
    let safe = host(|it| {
        it.security_options.insert("name=no-new-privileges".to_owned());
    });
    let judged = |spec: &ServiceSpec| {
        told(CheckId::NoNewPrivileges, &Subject { host: Some(&safe), ..Subject::new("web", spec) })
    };
    assert_eq!(judged(&spec), "pass");
    spec.security.security_opt.insert("no-new-privileges:false".to_owned());
    assert!(judged(&spec).starts_with("fail"));
}

#[test]
fn profiles_are_not_taken_off() {
    table(
        CheckId::Seccomp,
        &[
            ("", "", "pass"),
            ("security_opt: ['seccomp=unconfined']", "", "fail: it says `seccomp=unconfined`"),
            ("security_opt: ['seccomp:unconfined']", "", "fail"),
            ("security_opt: ['no-new-privileges:true', 'seccomp:unconfined']", "", "fail"),
            ("security_opt: ['seccomp=builtin']", "", "pass"),
            ("security_opt: ['seccomp=./profile.json']", "", "unknown: seccomp.profile"),
            (r#"security_opt: ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']"#, "", "fail"),
            (
                r#"security_opt: ['seccomp={"defaultAction":"SCMP_ACT_LOG","syscalls":[]}']"#,
                "",
                "fail",
            ),
            (r#"security_opt: ['seccomp={"defaultAction":"SCMP_ACT_ERRNO"}']"#, "", "pass"),
        ],
    );
    table(
        CheckId::Apparmor,
        &[
            ("", "", "pass"),
            ("security_opt: ['apparmor=docker-default']", "", "pass"),
            ("security_opt: ['apparmor=unconfined']", "", "fail"),
            ("security_opt: ['apparmor:unconfined']", "", "fail"),
        ],
    );
    table(
        CheckId::Selinux,
        &[
            ("", "", "pass"),
            ("security_opt: ['label=level:s0:c1']", "", "pass"),
            ("security_opt: ['label=type:svirt_apache_t']", "", "pass"),
            ("security_opt: ['label=disable']", "", "fail"),
            (
                "security_opt: ['label:disable']",
                "",
                "fail: it says `label:disable` at security_opt",
            ),
            ("security_opt: ['label:type:spc_t']", "", "fail"),
            ("security_opt: ['label=type:unconfined_t']", "", "fail"),
            // The engine writes this into its report of such a container by itself.
            ("pid: host", "", "pass"),
            ("pid: host\nsecurity_opt: ['label:disable']", "", "pass"),
            ("ipc: host\nsecurity_opt: ['label=type:spc_t']", "", "fail"),
        ],
    );
    table(
        CheckId::MaskedPaths,
        &[
            ("", "", "pass"),
            ("security_opt: ['systempaths=unconfined']", "", "fail"),
            ("security_opt: ['systempaths:unconfined']", "", "fail"),
        ],
    );
}

#[test]
fn a_container_that_shows_the_kernels_files_is_found() {
    let spec = service(|_| {});
    let mut container = container(spec.clone(), &image(|_| {}));
    let judged = |container: &crate::facts::ContainerFacts| {
        told(
            CheckId::MaskedPaths,
            &Subject { container: Some(container), ..Subject::new("w", &spec) },
        )
    };
    assert_eq!(judged(&container), "pass");
    container.unmasked = true;
    assert!(judged(&container).starts_with("fail"));
}

#[test]
fn an_engine_without_seccomp_filters_nothing() {
    let spec = service(|_| {});
    let judged = |options: &[&str]| {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let host = host(|it| it.security_options = options);
        told(CheckId::Seccomp, &Subject { host: Some(&host), ..Subject::new("web", &spec) })
    };
    assert_eq!(judged(&["name=seccomp,profile=builtin"]), "pass");
    assert!(judged(&["name=seccomp,profile=unconfined"]).starts_with("fail"));
    assert!(judged(&["name=apparmor"]).starts_with("fail"));
}

#[test]
fn the_root_file_system_is_read_only() {
    table(
        CheckId::ReadOnlyRoot,
        &[
            ("read_only: true", "", "pass"),
            ("read_only: ${RO:-true}", "", "pass"),
            ("", "", "fail: its root file system can be written at read_only"),
            ("read_only: false", "", "fail"),
            ("tmpfs: [/tmp]", "", "fail"),
        ],
    );
}

#[test]
fn kernel_parameters_are_harmless_or_allowed() {
    table(
        CheckId::Sysctls,
        &[
            ("", "", "pass"),
            ("sysctls: {net.core.somaxconn: 1024}", "", "pass"),
            (
                "sysctls: [net.ipv4.ip_forward=1]",
                "",
                "fail: it sets `net.ipv4.ip_forward` at sysctls",
            ),
            ("sysctls: {net.ipv4.conf.all.rp_filter: 0}", "", "fail"),
            ("sysctls: {kernel.shmmax: 1}", "", "fail"),
            ("sysctls: {net.ipv4.ip_forward: 0, net.ipv6.conf.all.disable_ipv6: 1}", "", "pass"),
            ("sysctls: {net.ipv4.conf.all.rp_filter: 1}", "", "pass"),
            ("sysctls: {net.ipv6.conf.all.disable_ipv6: 0}", "", "fail"),
        ],
    );
}

#[test]
fn devices_of_the_host_are_not_passed_on() {
    table(
        CheckId::Devices,
        &[
            ("", "", "pass"),
            ("devices: ['/dev/null:/dev/null']", "", "pass"),
            (
                "devices: ['/dev/sda:/dev/xvda']",
                "",
                "fail: it has `/dev/sda` of the host at devices",
            ),
            ("devices: ['/dev/sda:/dev/null:r']", "", "fail"),
            ("devices: ['//dev/./sda']", "", "fail"),
            ("devices: ['/dev/null/../sda:/dev/null']", "", "fail"),
            ("devices: [{source: /dev/kmsg, target: /dev/kmsg}]", "", "fail"),
            ("device_cgroup_rules: ['b *:* rwm']", "", "fail: it may use devices by the rule"),
        ],
    );
    let parameters =
        Parameters { devices_allowed: ["/dev/dri".to_owned()].into(), ..Parameters::default() };
    table_with(
        CheckId::Devices,
        &parameters,
        &[
            ("devices: ['/dev/dri/renderD128']", "", "pass"),
            ("devices: ['/dev/dri/../sda']", "", "fail"),
            ("devices: ['/dev/dri-other']", "", "fail"),
        ],
    );
}

#[test]
fn the_control_group_is_the_engines() {
    table(
        CheckId::CgroupParent,
        &[
            ("", "", "pass"),
            ("cgroup_parent: /docker/", "", "pass"),
            ("cgroup_parent: system.slice", "", "pass"),
            ("cgroup_parent: /outside", "", "fail: it is below `/outside` at cgroup_parent"),
            ("cgroup_parent: machine.slice", "", "fail"),
        ],
    );
}

#[test]
fn everything_that_is_repaired_at_once_passes_at_once() {
    let case = Case::new(
        "privileged: true\ncap_add: [ALL, IPC_LOCK]\npid: host\nipc: host\nuts: host\n\
         userns_mode: host\ncgroup: host\ncgroup_parent: /x\nsecurity_opt: ['seccomp:unconfined', \
         'apparmor=unconfined', 'label:disable', 'no-new-privileges:false']\ndevices: [/dev/sda]\n\
         sysctls: {net.ipv4.ip_forward: 1}\nulimits: {nofile: -1}\nrestart: always\n\
         volumes: ['/var/run:/r', '/srv:/s:rshared']",
        "",
    );
    let parameters = Parameters::default();
    let mut spec = case.web().clone();
    // Taking privileges away shows what they covered, so that it takes a second look.
    for _ in 0..2 {
        let before = spec.clone();
        for check in CHECKS {
            let subject = Subject::new("web", &before);
            let remedy = check.remedy.and_then(|remedy| remedy(&subject, &parameters));
            remedy.into_iter().for_each(|remedy| remedy.apply(&mut spec));
        }
    }
    let subject = Subject::new("web", &spec);
    for check in CHECKS.iter().filter(|check| check.remedy.is_some()) {
        let by_parameter =
            matches!(check.id, CheckId::MemoryLimit | CheckId::CpuLimit | CheckId::ImageDigest);
        let verdict = (check.judge)(&subject, &parameters);
        let failed = matches!(verdict, Verdict::Fail { .. });
        assert_eq!(failed, by_parameter, "{}: {verdict:?}", check.id);
    }
}
