//! Checks of what keeps a process inside: profiles, privileges, kernel parameters. Owns
//! how security options are read, in every spelling that the engine takes. Face: `PRIVILEGED`,
//! `CHECKS`. Never counts twice: what follows from `privileged` is that check's alone.

use serde_json::Value;

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, is_failure, quoted, unknown};
use crate::domain::alerts::Severity;
use crate::domain::policy::{Remedy, SpecChange};
use crate::facts::ServiceSpec;

pub(super) const PRIVILEGED: Check = Check {
    id: CheckId::Privileged,
    title: "No container is privileged",
    severity: Severity::Critical,
    rationale: "A privileged container has every capability and every device of the host, and no \
                profile confines it: root inside is root outside.",
    remediation: "remove `privileged: true`; add the capability or device that is really needed",
    cis: &["5.5"],
    judge: privileged,
    remedy: Some(|subject, _| {
        let is_privileged = subject.spec.security.privileged;
        is_privileged.then(|| Remedy::Recreate(vec![SpecChange::Unprivileged]))
    }),
};

pub(super) const CHECKS: [Check; 8] = [
    Check {
        id: CheckId::NoNewPrivileges,
        title: "Processes gain no privileges that they were not started with",
        severity: Severity::Medium,
        rationale: "Without it a program with the set-user-id bit makes root of whoever runs it \
                    inside the container.",
        remediation: "declare `security_opt: [no-new-privileges:true]`",
        cis: &["5.26"],
        judge: no_new_privileges,
        remedy: Some(set_no_new_privileges),
    },
    Check {
        id: CheckId::Seccomp,
        title: "A seccomp profile filters what processes ask of the kernel",
        severity: Severity::High,
        rationale: "The engine's profile keeps processes from some fifty calls of the kernel that \
                    services do not need and that many escapes began with.",
        remediation: "remove `seccomp=unconfined`, or name a profile that allows what is needed",
        cis: &["5.22"],
        judge: seccomp,
        remedy: Some(|subject, parameters| {
            is_failure(&seccomp(subject, parameters)).then_some(())?;
            remove_options(subject, |key, value| {
                key == "seccomp" || key == "label" && value.starts_with("seccomp")
            })
        }),
    },
    Check {
        id: CheckId::Apparmor,
        title: "No container is taken out of AppArmor",
        severity: Severity::High,
        rationale: "The engine's profile denies writing to the kernel's files and mounting; \
                    `unconfined` takes that away.",
        remediation: "remove `apparmor=unconfined`, or name a profile",
        cis: &["5.2"],
        judge: apparmor,
        remedy: Some(|subject, _| remove_options(subject, is_apparmor_off)),
    },
    Check {
        id: CheckId::Selinux,
        title: "No container is taken out of SELinux",
        severity: Severity::High,
        rationale: "Its label is what keeps a process that broke out from the host's files.",
        remediation: "remove `label=disable`; give mounts a label with `z` or `Z` instead",
        cis: &["5.3"],
        judge: selinux,
        remedy: Some(|subject, parameters| {
            is_failure(&selinux(subject, parameters)).then_some(())?;
            remove_options(subject, is_selinux_off)
        }),
    },
    Check {
        id: CheckId::ReadOnlyRoot,
        title: "The root file system of containers is read-only",
        severity: Severity::Medium,
        rationale: "Whoever breaks in cannot change the program or leave one behind; what has to \
                    be written goes to volumes and memory, where it is seen.",
        remediation: "declare `read_only: true`, and `tmpfs` or volumes for what is written",
        cis: &["5.13"],
        judge: read_only_root,
        remedy: Some(|subject, _| {
            let is_writable = !subject.spec.security.read_only;
            is_writable.then(|| Remedy::Recreate(vec![SpecChange::ReadOnlyRoot]))
        }),
    },
    Check {
        id: CheckId::MaskedPaths,
        title: "The kernel's own files stay masked",
        severity: Severity::High,
        rationale: "The engine hides files of `/proc` and `/sys` that tell of the host or change \
                    it; `systempaths=unconfined` shows them.",
        remediation: "remove `systempaths=unconfined`",
        cis: &[],
        judge: masked_paths,
        remedy: Some(|subject, _| remove_options(subject, is_unmasked)),
    },
    Check {
        id: CheckId::Sysctls,
        title: "Only harmless kernel parameters are set",
        severity: Severity::Medium,
        rationale: "Some parameters of a container's namespaces weaken it or let it forward what \
                    is not its own.",
        remediation: "remove it from `sysctls`, or allow it with `sysctls_allowed`",
        cis: &[],
        judge: sysctls,
        remedy: Some(remove_sysctls),
    },
    Check {
        id: CheckId::CgroupParent,
        title: "Containers are in the engine's control group",
        severity: Severity::Low,
        rationale: "Limits of the engine's group do not count in another one, and nobody looks \
                    for a container there.",
        remediation: "remove `cgroup_parent`, or allow it with `cgroup_parents_allowed`",
        cis: &["5.25"],
        judge: cgroup_parent,
        remedy: Some(|subject, parameters| {
            foreign_parent(subject, parameters)?;
            Some(Remedy::Recreate(vec![SpecChange::DefaultCgroupParent]))
        }),
    },
];

fn privileged(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    match subject.spec.security.privileged {
        true => fail("it is privileged", &["privileged"]),
        false => Verdict::Pass,
    }
}

/// Security options as the engine reads them: `key=value`, or in the old way `key:value`; a word
/// alone has no value.
fn options(spec: &ServiceSpec) -> impl Iterator<Item = (&str, &str, &str)> {
    spec.security.security_opt.iter().map(|option| {
        let split = option.split_once('=').or_else(|| option.split_once(':'));
        let (key, value) = split.unwrap_or((option, ""));
        (option.as_str(), key.trim(), value.trim())
    })
}

fn remove_options(subject: &Subject<'_>, is_wrong: fn(&str, &str) -> bool) -> Option<Remedy> {
    let wrong = options(subject.spec).filter(|(_, key, value)| is_wrong(key, value));
    let changes: Vec<SpecChange> =
        wrong.map(|(option, _, _)| SpecChange::RemoveSecurityOption(option.to_owned())).collect();
    (!changes.is_empty()).then_some(Remedy::Recreate(changes))
}

/// The word alone, and what Go reads as true.
fn is_new_privileges_off(value: &str) -> bool {
    matches!(value, "" | "1" | "t" | "T" | "true" | "TRUE" | "True")
}

const NO_NEW_PRIVILEGES: &str = "no-new-privileges";

fn no_new_privileges(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let given: Vec<(&str, &str)> = options(subject.spec)
        .filter(|(_, key, _)| *key == NO_NEW_PRIVILEGES)
        .map(|(option, _, value)| (option, value))
        .collect();
    let at = &["security_opt"];
    // The last of several counts, and the order is not known any more.
    if let Some((option, _)) = given.iter().find(|(_, value)| !is_new_privileges_off(value)) {
        return fail(format!("it says `{option}`"), at);
    }
    if !given.is_empty() {
        return Verdict::Pass;
    }
    let by_host = subject.host.and_then(|host| host.security_option(NO_NEW_PRIVILEGES));
    match by_host {
        Some(Some(_)) => Verdict::Pass,
        _ => fail("it does not say `no-new-privileges:true`", at),
    }
}

fn set_no_new_privileges(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    is_failure(&no_new_privileges(subject, parameters)).then_some(())?;
    let given = options(subject.spec).filter(|(_, key, _)| *key == NO_NEW_PRIVILEGES);
    let mut changes: Vec<SpecChange> =
        given.map(|(option, _, _)| SpecChange::RemoveSecurityOption(option.to_owned())).collect();
    changes.push(SpecChange::AddSecurityOption(format!("{NO_NEW_PRIVILEGES}:true")));
    Some(Remedy::Recreate(changes))
}

fn seccomp(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let at = &["security_opt"];
    let mut needs = Vec::new();
    let mut is_given = false;
    // `label:seccomp:unconfined` is no label: it means to take the profile off.
    let misplaced = |key: &str, value: &str| {
        key == "label" && matches!(value, "seccomp:unconfined" | "seccomp=unconfined")
    };
    let mut all = options(subject.spec);
    if let Some((option, ..)) = all.find(|(_, key, value)| misplaced(key, value)) {
        return fail(format!("it says `{option}`"), at);
    }
    for (option, _, value) in options(subject.spec).filter(|(_, key, _)| *key == "seccomp") {
        is_given = true;
        match value {
            "unconfined" => return fail(format!("it says `{option}`"), at),
            // The engine's own, and nothing, which is the same.
            "builtin" | "default" | "" => {}
            _ => match serde_json::from_str::<Value>(value) {
                Ok(profile) if allows_all(&profile) => {
                    return fail("its seccomp profile allows every call", at);
                }
                Ok(_) => {}
                Err(_) => needs.push("seccomp.profile"),
            },
        }
    }
    if !needs.is_empty() {
        return unknown(needs);
    }
    match subject.host.and_then(|host| host.security_option("seccomp")) {
        Some(None) if !is_given => fail("its engine has no seccomp", &[]),
        Some(Some(profile)) if !is_given && profile.ends_with("unconfined") => {
            fail("its engine's own seccomp profile is `unconfined`", &[])
        }
        _ => Verdict::Pass,
    }
}

/// A profile whose default is to allow, and that denies nothing.
fn allows_all(profile: &Value) -> bool {
    let allows = |action: Option<&Value>| {
        matches!(action.and_then(Value::as_str), Some("SCMP_ACT_ALLOW" | "SCMP_ACT_LOG"))
    };
    let rules = profile.get("syscalls").and_then(Value::as_array);
    let denies = rules.is_some_and(|rules| rules.iter().any(|rule| !allows(rule.get("action"))));
    allows(profile.get("defaultAction")) && !denies
}

fn is_apparmor_off(key: &str, value: &str) -> bool {
    key == "apparmor" && value == "unconfined"
}

fn apparmor(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    says(subject, is_apparmor_off)
}

/// `spc_t` and `unconfined_t` are labels, but confine nothing.
fn is_selinux_off(key: &str, value: &str) -> bool {
    let kind = value.strip_prefix("type:");
    let is_free = kind.is_some_and(|kind| kind == "spc_t" || kind.starts_with("unconfined"));
    (key == "label" && (value == "disable" || is_free)) || (key == "disable" && value.is_empty())
}

/// The engine takes the label off by itself where so much is shared with the host: that is what
/// fails.
fn selinux(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let security = &subject.spec.security;
    let is_host = |mode: &Option<String>| mode.as_deref() == Some("host");
    let is_engines =
        security.privileged || is_host(&security.pid_mode) || is_host(&security.ipc_mode);
    says(subject, if is_engines { is_label_foreign } else { is_selinux_off })
}

fn is_label_foreign(key: &str, value: &str) -> bool {
    is_selinux_off(key, value) && value.starts_with("type:")
}

fn is_unmasked(key: &str, value: &str) -> bool {
    key == "systempaths" && value == "unconfined"
}

fn masked_paths(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    says(subject, is_unmasked)
}

fn says(subject: &Subject<'_>, is_wrong: fn(&str, &str) -> bool) -> Verdict {
    let found = options(subject.spec).find(|(_, key, value)| is_wrong(key, value));
    match found {
        Some((option, _, _)) => fail(format!("it says `{option}`"), &["security_opt"]),
        None => Verdict::Pass,
    }
}

fn read_only_root(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    match subject.spec.security.read_only {
        true => Verdict::Pass,
        false => fail("its root file system can be written", &["read_only"]),
    }
}

/// What these say is what a careful host says; other values of them weaken.
const HARDENING: [(&str, &[&str]); 9] = [
    (".accept_redirects", &["0"]),
    (".accept_source_route", &["0"]),
    (".disable_ipv6", &["1"]),
    (".forwarding", &["0"]),
    (".ip_forward", &["0"]),
    (".log_martians", &["1"]),
    (".rp_filter", &["1", "2"]),
    (".secure_redirects", &["0"]),
    (".send_redirects", &["0"]),
];

fn foreign_sysctls<'a>(subject: &Subject<'a>, parameters: &Parameters) -> Vec<&'a str> {
    let is_foreign = |(name, value): &(&String, &String)| {
        // The kernel takes `net/ipv4/ip_forward` for the same.
        let name = name.replace('/', ".");
        let is_hardening = |(end, values): &(&str, &[&str])| {
            name.starts_with("net.") && name.ends_with(end) && values.contains(&value.trim())
        };
        !parameters.sysctls_allowed.contains(&name) && !HARDENING.iter().any(is_hardening)
    };
    let given = subject.spec.security.sysctls.iter();
    given.filter(is_foreign).map(|(name, _)| name.as_str()).collect()
}

fn sysctls(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let found = foreign_sysctls(subject, parameters);
    match found.as_slice() {
        [] => Verdict::Pass,
        [first, ..] => {
            fail(format!("it sets {}", quoted(found.iter().copied())), &["sysctls", first])
        }
    }
}

fn remove_sysctls(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let names = foreign_sysctls(subject, parameters).into_iter();
    let changes: Vec<SpecChange> =
        names.map(|name| SpecChange::RemoveSysctl(name.to_owned())).collect();
    (!changes.is_empty()).then_some(Remedy::Recreate(changes))
}

/// The engine's own groups, by either of its ways to manage them.
const OWN_PARENTS: [&str; 4] = ["", "docker", "/docker", "system.slice"];

fn foreign_parent<'a>(subject: &Subject<'a>, parameters: &Parameters) -> Option<&'a str> {
    let parent = subject.spec.security.cgroup_parent.as_deref()?;
    let is_own = OWN_PARENTS.contains(&parent.trim_end_matches('/'));
    (!is_own && !parameters.cgroup_parents_allowed.contains(parent)).then_some(parent)
}

fn cgroup_parent(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    match foreign_parent(subject, parameters) {
        Some(parent) => fail(format!("it is below `{parent}`"), &["cgroup_parent"]),
        None => Verdict::Pass,
    }
}
