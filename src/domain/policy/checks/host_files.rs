//! Checks of the files of an engine. Owns whose they have to be and what others may do with them.
//! Face: `CHECKS`, `looked_at`. Never takes a file that nobody looked at for one that is not there.

use std::collections::BTreeSet;

use super::{CheckId, HostCheck, Verdict, fail, unknown};
use crate::domain::alerts::Severity;
use crate::domain::policy::paths::{is_within, resolved};
use crate::facts::{DaemonOption, FileFacts, FileLook, HostFacts};

/// A kind of file with what is demanded of it.
struct Demand {
    places: Places,
    /// Its group may be this one, by name; else it is root's.
    group: Option<&'static str>,
    /// Permission bits that it may have.
    mode_max: u32,
}

/// Where files of a kind lie.
enum Places {
    /// At these paths, as far as they exist.
    Paths(&'static [&'static str]),
    /// Below this folder.
    Folder(&'static str),
    /// Where an option of the daemon says.
    Option(&'static str),
}

/// What is demanded, in the order of the checks.
const DEMANDS: [Demand; 12] = [
    Demand {
        places: Places::Paths(&[
            "/etc/systemd/system/docker.service",
            "/lib/systemd/system/docker.service",
            "/usr/lib/systemd/system/docker.service",
        ]),
        group: None,
        mode_max: 0o644,
    },
    Demand {
        places: Places::Paths(&[
            "/etc/systemd/system/docker.socket",
            "/lib/systemd/system/docker.socket",
            "/usr/lib/systemd/system/docker.socket",
        ]),
        group: None,
        mode_max: 0o644,
    },
    Demand { places: Places::Paths(&["/etc/docker"]), group: None, mode_max: 0o755 },
    Demand { places: Places::Folder("/etc/docker/certs.d"), group: None, mode_max: 0o444 },
    Demand { places: Places::Option("tlscacert"), group: None, mode_max: 0o444 },
    Demand { places: Places::Option("tlscert"), group: None, mode_max: 0o444 },
    Demand { places: Places::Option("tlskey"), group: None, mode_max: 0o400 },
    Demand { places: Places::Paths(&["/run/docker.sock"]), group: Some("docker"), mode_max: 0o660 },
    Demand { places: Places::Paths(&["/etc/docker/daemon.json"]), group: None, mode_max: 0o644 },
    Demand { places: Places::Paths(&["/etc/default/docker"]), group: None, mode_max: 0o644 },
    Demand { places: Places::Paths(&["/etc/sysconfig/docker"]), group: None, mode_max: 0o644 },
    Demand {
        places: Places::Paths(&["/run/containerd/containerd.sock"]),
        group: None,
        mode_max: 0o660,
    },
];

pub(super) const CHECKS: [HostCheck; 12] = [
    HostCheck {
        id: CheckId::HostFileService,
        title: "The daemon's unit is root's and nobody else writes it",
        severity: Severity::High,
        rationale: "Who may change it starts the daemon with options of their own.",
        remediation: REMEDIATION,
        cis: &["3.1", "3.2"],
        judge: |host, _| judge(host, &DEMANDS[0]),
    },
    HostCheck {
        id: CheckId::HostFileSocketUnit,
        title: "The unit of the daemon's socket is root's and nobody else writes it",
        severity: Severity::High,
        rationale: "Who may change it opens the daemon to others.",
        remediation: REMEDIATION,
        cis: &["3.3", "3.4"],
        judge: |host, _| judge(host, &DEMANDS[1]),
    },
    HostCheck {
        id: CheckId::HostFileFolder,
        title: "The daemon's configuration folder is root's and nobody else writes it",
        severity: Severity::High,
        rationale: "Who may add files there configures the daemon, and whose certificates count.",
        remediation: REMEDIATION,
        cis: &["3.5", "3.6"],
        judge: |host, _| judge(host, &DEMANDS[2]),
    },
    HostCheck {
        id: CheckId::HostFileRegistryCertificates,
        title: "Certificates of registries are root's and nobody writes them",
        severity: Severity::Medium,
        rationale: "Who may change them chooses which registry is believed.",
        remediation: REMEDIATION,
        cis: &["3.7", "3.8"],
        judge: |host, _| judge(host, &DEMANDS[3]),
    },
    HostCheck {
        id: CheckId::HostFileTlsAuthority,
        title: "The daemon's certificate authority is root's and nobody writes it",
        severity: Severity::High,
        rationale: "Who may change it chooses whose certificates command the daemon.",
        remediation: REMEDIATION,
        cis: &["3.9", "3.10"],
        judge: |host, _| judge(host, &DEMANDS[4]),
    },
    HostCheck {
        id: CheckId::HostFileTlsCertificate,
        title: "The daemon's certificate is root's and nobody writes it",
        severity: Severity::Medium,
        rationale: "Who may change it keeps clients from the daemon.",
        remediation: REMEDIATION,
        cis: &["3.11", "3.12"],
        judge: |host, _| judge(host, &DEMANDS[5]),
    },
    HostCheck {
        id: CheckId::HostFileTlsKey,
        title: "The daemon's key is root's and nobody else reads it",
        severity: Severity::Critical,
        rationale: "Who reads it can be taken for the daemon.",
        remediation: REMEDIATION,
        cis: &["3.13", "3.14"],
        judge: |host, _| judge(host, &DEMANDS[6]),
    },
    HostCheck {
        id: CheckId::HostFileSocket,
        title: "The daemon's socket is root's and the group docker's alone",
        severity: Severity::Critical,
        rationale: "Who may write to it is root on the host.",
        remediation: REMEDIATION,
        cis: &["3.15", "3.16"],
        judge: |host, _| judge(host, &DEMANDS[7]),
    },
    HostCheck {
        id: CheckId::HostFileConfiguration,
        title: "The daemon's configuration is root's and nobody else writes it",
        severity: Severity::High,
        rationale: "Who may change it configures the daemon.",
        remediation: REMEDIATION,
        cis: &["3.17", "3.18"],
        judge: |host, _| judge(host, &DEMANDS[8]),
    },
    HostCheck {
        id: CheckId::HostFileDefaults,
        title: "The daemon's environment in /etc/default is root's and nobody else writes it",
        severity: Severity::High,
        rationale: "Who may change it starts the daemon with options of their own.",
        remediation: REMEDIATION,
        cis: &["3.19", "3.20"],
        judge: |host, _| judge(host, &DEMANDS[9]),
    },
    HostCheck {
        id: CheckId::HostFileSysconfig,
        title: "The daemon's environment in /etc/sysconfig is root's and nobody else writes it",
        severity: Severity::High,
        rationale: "Who may change it starts the daemon with options of their own.",
        remediation: REMEDIATION,
        cis: &["3.21", "3.22"],
        judge: |host, _| judge(host, &DEMANDS[10]),
    },
    HostCheck {
        id: CheckId::HostFileContainerdSocket,
        title: "The socket of containerd is root's alone",
        severity: Severity::Critical,
        rationale: "Who may write to it is root on the host.",
        remediation: REMEDIATION,
        cis: &["3.23", "3.24"],
        judge: |host, _| judge(host, &DEMANDS[11]),
    },
];

const REMEDIATION: &str = "`chown` and `chmod` it to what is demanded";

/// Every path that the checks want to be looked at on this host, and folders whose files they want
/// to be listed.
pub fn looked_at(host: &HostFacts) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for demand in &DEMANDS {
        match &demand.places {
            Places::Paths(paths) => files.extend(paths.iter().map(|path| (*path).to_owned())),
            Places::Folder(folder) => drop(folders.insert((*folder).to_owned())),
            Places::Option(name) => {
                if let DaemonOption::Set(values) = host.option(name, name) {
                    files.extend(values);
                }
            }
        }
    }
    (files, folders)
}

const NEEDS: &str = "host.files";

fn judge(host: &HostFacts, demand: &Demand) -> Verdict {
    match &demand.places {
        Places::Paths(paths) => judge_paths(host, demand, paths),
        Places::Folder(folder) => judge_folder(host, demand, folder),
        Places::Option(name) => match host.option(name, name) {
            DaemonOption::Set(values) => {
                let paths: Vec<&str> = values.iter().map(String::as_str).collect();
                judge_paths(host, demand, &paths)
            }
            // There is none that the daemon uses.
            DaemonOption::Default => Verdict::Pass,
            DaemonOption::Unknown => unknown(vec!["host.daemon_options"]),
        },
    }
}

fn judge_paths(host: &HostFacts, demand: &Demand, paths: &[&str]) -> Verdict {
    let mut is_all_known = true;
    for path in paths {
        match look(host, path) {
            Some(FileLook::Found(file)) => {
                if let Some(reason) = wrong(file, demand) {
                    return fail(format!("`{path}` {reason}"), &[path]);
                }
            }
            Some(FileLook::Absent) => {}
            None => is_all_known = false,
        }
    }
    if is_all_known { Verdict::Pass } else { unknown(vec![NEEDS]) }
}

/// What was found at a path, or at another spelling of it.
fn look<'a>(host: &'a HostFacts, path: &str) -> Option<&'a FileLook> {
    host.files.get(path).or_else(|| {
        let path = resolved(path, Some(host));
        let is_same = |own: &&String| resolved(own, Some(host)) == path;
        host.files.keys().find(is_same).and_then(|own| host.files.get(own))
    })
}

fn judge_folder(host: &HostFacts, demand: &Demand, folder: &str) -> Verdict {
    let below = host.files.iter().filter(|(path, _)| is_within(path, folder) && *path != folder);
    for (path, look) in below {
        if let FileLook::Found(file) = look
            && !file.is_folder
            && let Some(reason) = wrong(file, demand)
        {
            return fail(format!("`{path}` {reason}"), &[path]);
        }
    }
    let is_absent = host.files.get(folder) == Some(&FileLook::Absent);
    if is_absent || host.listed.contains(folder) { Verdict::Pass } else { unknown(vec![NEEDS]) }
}

fn wrong(file: &FileFacts, demand: &Demand) -> Option<String> {
    const PERMISSIONS: u32 = 0o777;
    if file.uid != 0 {
        return Some(format!("belongs to user {} and not to root", file.uid));
    }
    let is_named = demand.group.is_some() && file.group.as_deref() == demand.group;
    let is_group = file.gid == 0 || is_named;
    if !is_group {
        let group = file.group.clone().unwrap_or_else(|| file.gid.to_string());
        return Some(format!("belongs to the group {group}"));
    }
    let mode = file.mode & PERMISSIONS;
    (mode & !demand.mode_max != 0)
        .then(|| format!("has mode {mode:03o}, which allows more than {:03o}", demand.mode_max))
}
