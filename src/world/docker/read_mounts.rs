//! Reads which file systems a container has. Owns the engine's three ways to say it: binds, mounts
//! and tmpfs. Face: `mounts`, `anonymous_names`. Never tells a volume that was kept for a successor
//! from an anonymous one: by its name it is one.

use std::collections::BTreeMap;

use bollard::models::{HostConfig, Mount as ReportedMount, MountPoint, MountType};

use super::read::unsigned;
use crate::facts::{Mount, MountKind};

/// Length of the name that the engine makes up for a volume without one.
const ANONYMOUS_NAME_CHARS: usize = 64;

/// Did the engine make this name up?
pub(super) fn is_anonymous(volume: &str) -> bool {
    volume.len() == ANONYMOUS_NAME_CHARS && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Everything that is mounted, by target. `declared` are the targets of anonymous volumes, the
/// image's included; a mount over one of them hides it.
pub(super) fn mounts(host: &HostConfig, declared: Vec<String>) -> BTreeMap<String, Mount> {
    let anonymous = Mount { kind: MountKind::Anonymous, read_only: false };
    let trimmed = |target: String| target.trim_end_matches('/').to_owned();
    let mut found: BTreeMap<String, Mount> =
        declared.into_iter().map(|target| (trimmed(target), anonymous.clone())).collect();
    let binds = host.binds.iter().flatten().filter_map(|line| bind(line));
    let mounts = host.mounts.iter().flatten().cloned().filter_map(mount);
    let memory = host.tmpfs.iter().flatten().map(|(target, options)| {
        let options = Some(options.clone()).filter(|options| !options.is_empty());
        let kind = MountKind::Tmpfs { size_bytes: None, mode: None, options };
        (target.clone(), Mount { kind, read_only: false })
    });
    found.extend(binds.chain(mounts).chain(memory).map(|(target, mount)| (trimmed(target), mount)));
    found
}

/// `source:target[:options]`, where the source is a path or a volume's name.
fn bind(line: &str) -> Option<(String, Mount)> {
    let mut fields = line.split(':');
    let (source, target) = (fields.next()?, fields.next()?);
    let options: Vec<&str> = fields.next().unwrap_or_default().split(',').collect();
    let among = |known: &[&str]| {
        options.iter().find(|option| known.contains(option)).map(|option| (*option).to_owned())
    };
    let kind = if source.starts_with('/') {
        MountKind::Bind {
            source: source.to_owned(),
            propagation: among(&["private", "rprivate", "shared", "rshared", "slave", "rslave"]),
            create_host_path: true,
            selinux: among(&["z", "Z"]),
        }
    } else {
        volume(source, options.contains(&"nocopy"), None)
    };
    Some((target.to_owned(), Mount { kind, read_only: options.contains(&"ro") }))
}

fn volume(name: &str, no_copy: bool, subpath: Option<String>) -> MountKind {
    if name.is_empty() || is_anonymous(name) {
        MountKind::Anonymous
    } else {
        MountKind::Volume { name: name.to_owned(), no_copy, subpath }
    }
}

fn mount(report: ReportedMount) -> Option<(String, Mount)> {
    let source = report.source.unwrap_or_default();
    let kind = match report.typ? {
        MountType::BIND => {
            let options = report.bind_options.unwrap_or_default();
            MountKind::Bind {
                source,
                propagation: options.propagation.map(|mode| mode.to_string()),
                create_host_path: options.create_mountpoint.unwrap_or_default(),
                selinux: None,
            }
        }
        MountType::VOLUME => {
            let options = report.volume_options.unwrap_or_default();
            volume(&source, options.no_copy.unwrap_or_default(), options.subpath)
        }
        MountType::TMPFS => {
            let options = report.tmpfs_options.unwrap_or_default();
            MountKind::Tmpfs {
                size_bytes: options.size_bytes.map(|size| unsigned(Some(size))),
                mode: options.mode.and_then(|mode| u32::try_from(mode).ok()),
                options: None,
            }
        }
        MountType::NPIPE => MountKind::NamedPipe { source },
        MountType::CLUSTER => MountKind::Cluster { source },
        MountType::IMAGE => return None,
    };
    Some((report.target?, Mount { kind, read_only: report.read_only.unwrap_or_default() }))
}

/// Names of the anonymous volumes, by target.
pub(super) fn anonymous_names(points: Vec<MountPoint>) -> BTreeMap<String, String> {
    let of_volume = |point: MountPoint| {
        let name = point.name.filter(|name| is_anonymous(name))?;
        Some((point.destination?, name))
    };
    points.into_iter().filter_map(of_volume).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, target: &str, kind: MountKind, read_only: bool) {
        assert_eq!(bind(line), Some((target.to_owned(), Mount { kind, read_only })), "{line}");
    }

    #[test]
    fn short_form_is_a_path_or_a_volume() {
        let path = |propagation: Option<&str>, selinux: Option<&str>| MountKind::Bind {
            source: "/srv".to_owned(),
            propagation: propagation.map(str::to_owned),
            create_host_path: true,
            selinux: selinux.map(str::to_owned),
        };
        check("/srv:/data", "/data", path(None, None), false);
        check("/srv:/data:ro,z,rslave", "/data", path(Some("rslave"), Some("z")), true);
        let named = |no_copy| volume("shop_db", no_copy, None);
        check("shop_db:/data:rw", "/data", named(false), false);
        check("shop_db:/data:ro,nocopy", "/data", named(true), true);
        check(&format!("{}:/data", "0a".repeat(32)), "/data", MountKind::Anonymous, false);
    }
}
