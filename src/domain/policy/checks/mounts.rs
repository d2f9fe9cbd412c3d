//! Checks of what is mounted from the host and between services. Owns which mounts give the host
//! away. Face: `CHECKS`. Never trusts a spelling: a path is resolved before it is judged.

use std::collections::BTreeMap;

use super::shares::{Mounted, Source, mounted, mounted_by};
use super::{Check, CheckId, Parameters, Subject, Verdict, fail, pass_unless, quoted, unknown};
use crate::domain::alerts::Severity;
use crate::domain::policy::paths::{
    holds_socket, is_harmless, is_socket, is_within, keeps_secrets, resolved, system_folder,
};
use crate::domain::policy::{Remedy, SpecChange};
use crate::facts::MountKind;

pub(super) const CHECKS: [Check; 4] = [
    Check {
        id: CheckId::DockerSocket,
        title: "No container can command an engine",
        severity: Severity::Critical,
        rationale: "Who reaches the engine's socket starts a privileged container and is root on \
                    the host. A read-only mount changes nothing: it does not keep anybody from \
                    connecting.",
        remediation: "remove the mount; let a proxy in between that passes only what is needed",
        cis: &["5.32"],
        judge: docker_socket,
        remedy: Some(remove_sockets),
    },
    Check {
        id: CheckId::HostPaths,
        title: "No folder of the host's system is mounted",
        severity: Severity::High,
        rationale: "What is mounted of the system tells secrets of the host, or changes it: its \
                    accounts, its services, its kernel.",
        remediation: "mount only the data that is needed, from a volume or a folder of its own, \
                      or allow the path with `host_paths_allowed`",
        cis: &["5.6"],
        judge: host_paths,
        remedy: None,
    },
    Check {
        id: CheckId::MountPropagation,
        title: "No mount spreads to the host",
        severity: Severity::High,
        rationale: "With shared propagation what is mounted inside appears on the host and in \
                    other containers.",
        remediation: "remove `propagation: shared`; `rslave` lets mounts of the host come in only",
        cis: &["5.20"],
        judge: mount_propagation,
        remedy: Some(make_private),
    },
    Check {
        id: CheckId::SharedVolume,
        title: "No volume has several services that write to it",
        severity: Severity::Low,
        rationale: "Whoever breaks into one of them changes what the other one reads; and two \
                    that write at once destroy each other's data, unless they are made for it.",
        remediation: "let one write and the others mount it with `read_only: true`",
        cis: &[],
        judge: shared_volume,
        remedy: None,
    },
];

const AT: &[&str] = &["volumes"];

/// Sockets that only this host, or only this policy, knows.
fn more_sockets<'a>(
    subject: &'a Subject<'_>,
    parameters: &'a Parameters,
) -> impl Iterator<Item = &'a String> + Clone {
    subject.host.into_iter().flat_map(|host| &host.sockets).chain(&parameters.sockets)
}

/// Why a mount lets an engine be commanded.
fn commands(subject: &Subject<'_>, parameters: &Parameters, mount: &Mounted) -> Option<String> {
    let more = more_sockets(subject, parameters);
    match &mount.source {
        Source::Host { spelled, path } if is_socket(path, more.clone()) => {
            Some(format!("`{spelled}` at `{}` is an engine's socket", mount.target))
        }
        Source::Host { spelled, path } if holds_socket(path, more) || holds_run(subject, path) => {
            Some(format!("`{spelled}` at `{}` has an engine's socket in it", mount.target))
        }
        Source::Pipe(pipe) if pipe.to_ascii_lowercase().contains("docker_engine") => {
            Some(format!("`{pipe}` is an engine's pipe"))
        }
        _ => None,
    }
}

/// `/var/run` is a link on common systems, and then nothing of it is in `/var`; only the host can
/// tell.
fn holds_run(subject: &Subject<'_>, path: &str) -> bool {
    let is_link = subject.host.is_some_and(|host| host.symlinks.contains_key("/var/run"));
    path == "/var" && !is_link
}

/// `- /run/docker.sock` alone is an empty volume at that place, of no use to anybody: the socket was
/// meant, and the next one to look at it will say so.
fn means_socket<'a>(subject: &Subject<'a>, parameters: &Parameters) -> Option<&'a str> {
    let anonymous = subject.spec.mounts.iter().filter(|(_, m)| m.kind == MountKind::Anonymous);
    let mut targets = anonymous.map(|(target, _)| target.as_str());
    targets.find(|target| is_socket(&resolved(target, None), more_sockets(subject, parameters)))
}

fn docker_socket(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    if let Some(target) = means_socket(subject, parameters) {
        return fail(format!("`{target}` without a source was meant to be an engine's socket"), AT);
    }
    let (mounts, needs) = mounted(subject);
    if let Some(reason) = mounts.iter().find_map(|mount| commands(subject, parameters, mount)) {
        return fail(reason, AT);
    }
    let more = more_sockets(subject, parameters);
    let is_socket = |path: &str| is_socket(path, more.clone()) || holds_socket(path, more.clone());
    match read_files(subject).find(|(_, _, path)| is_socket(path)) {
        Some((at, spelled, _)) => fail(format!("`{spelled}` leads to an engine's socket"), &[at]),
        None => pass_unless(needs),
    }
}

/// Only where every way to the socket is a mount of its own: else taking one away helps nobody.
fn remove_sockets(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let (mounts, _) = mounted(subject);
    let is_way = |mount: &&Mounted| commands(subject, parameters, mount).is_some();
    let ways: Vec<&Mounted> = mounts.iter().filter(is_way).collect();
    let is_known = !ways.is_empty()
        && means_socket(subject, parameters).is_none()
        && ways.iter().all(|mount| mount.is_own_bind);
    let remove = |mount: &&Mounted| SpecChange::RemoveMount(mount.target.clone());
    is_known.then(|| Remedy::Recreate(ways.iter().map(remove).collect()))
}

fn host_paths(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let (mounts, needs) = mounted(subject);
    let found: Vec<&str> = mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            Source::Host { spelled, path } => {
                // The socket itself fails above; once is enough.
                let is_told = is_socket(path, more_sockets(subject, parameters));
                let mut allowed = parameters.host_paths_allowed.iter();
                let is_allowed = allowed.any(|allowed| is_within(path, trimmed(allowed)));
                let is_systems = system_folder(path, mount.read_only).is_some();
                (is_systems && !is_told && !is_allowed).then_some(spelled.as_str())
            }
            Source::Volume(_) | Source::Pipe(_) => None,
        })
        .collect();
    if !found.is_empty() {
        return fail(format!("it has {} of the host", quoted(found)), AT);
    }
    let is_allowed = |path: &str| {
        parameters.host_paths_allowed.iter().any(|allowed| is_within(path, trimmed(allowed)))
    };
    match read_files(subject).find(|(_, _, path)| keeps_secrets(path) && !is_allowed(path)) {
        Some((at, spelled, _)) => fail(format!("it gets `{spelled}` of the host"), &[at]),
        None => pass_unless(needs),
    }
}

/// Files of the host that are read into configs and secrets: the key that says so, the path as it is
/// spelled, and resolved.
fn read_files<'a>(
    subject: &Subject<'a>,
) -> impl Iterator<Item = (&'static str, &'a str, String)> + use<'a> {
    let (files, host) = (subject.files, subject.host);
    files.into_iter().flat_map(BTreeMap::values).filter_map(move |file| {
        let spelled = file.read_from.as_deref()?;
        let at = if file.is_secret { "secrets" } else { "configs" };
        Some((at, spelled, resolved(spelled, host)))
    })
}

fn trimmed(path: &str) -> &str {
    if path == "/" { path } else { path.trim_end_matches('/') }
}

fn is_shared(mount: &&Mounted) -> bool {
    matches!(mount.propagation.as_deref(), Some("shared" | "rshared"))
}

fn mount_propagation(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let (mounts, needs) = mounted(subject);
    match mounts.iter().find(is_shared) {
        Some(mount) => fail(format!("mounts below `{}` spread to the host", mount.target), AT),
        // A volume has no propagation, whatever it is.
        None => pass_unless(needs.into_iter().filter(|need| *need != "volume.options").collect()),
    }
}

fn make_private(subject: &Subject<'_>, _: &Parameters) -> Option<Remedy> {
    let (mounts, _) = mounted(subject);
    let shared: Vec<&Mounted> = mounts.iter().filter(is_shared).collect();
    let is_known = !shared.is_empty() && shared.iter().all(|mount| mount.is_own_bind);
    let change = |mount: &&Mounted| SpecChange::PrivateMount(mount.target.clone());
    is_known.then(|| Remedy::Recreate(shared.iter().map(change).collect()))
}

/// What two writers could disturb each other in.
fn writable(mounts: Vec<Mounted>, subject: &Subject<'_>, parameters: &Parameters) -> Vec<Source> {
    let is_data = |source: &Source| match source {
        Source::Host { path, .. } => {
            !is_harmless(path) && !is_socket(path, more_sockets(subject, parameters))
        }
        Source::Volume(_) => true,
        Source::Pipe(_) => false,
    };
    let mounts = mounts.into_iter().filter(|mount| !mount.read_only);
    mounts.map(|mount| mount.source).filter(is_data).collect()
}

fn is_same(ours: &Source, theirs: &Source) -> bool {
    match (ours, theirs) {
        (Source::Host { path: ours, .. }, Source::Host { path: theirs, .. }) => {
            is_within(ours, theirs) || is_within(theirs, ours)
        }
        (Source::Volume(ours), Source::Volume(theirs)) => ours == theirs,
        _ => false,
    }
}

fn shared_volume(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let (mounts, needs) = mounted(subject);
    let ours = writable(mounts, subject, parameters);
    // A volume whose options are not known is still the same volume elsewhere.
    let needs = needs.into_iter().filter(|need| *need != "volume.options").collect();
    if ours.is_empty() {
        return pass_unless(needs);
    }
    let Some(peers) = subject.peers else { return unknown(vec!["peers"]) };
    for (name, spec) in peers.iter().filter(|(_, spec)| !std::ptr::eq(*spec, subject.spec)) {
        let (mounts, _) = mounted_by(subject, spec, false);
        let theirs = writable(mounts, subject, parameters);
        let shared = ours.iter().find(|ours| theirs.iter().any(|theirs| is_same(ours, theirs)));
        if let Some(shared) = shared {
            let what = match shared {
                Source::Host { spelled, .. } => spelled,
                Source::Volume(name) | Source::Pipe(name) => name,
            };
            return fail(format!("`{name}` writes to `{what}` as well"), AT);
        }
    }
    pass_unless(needs)
}
