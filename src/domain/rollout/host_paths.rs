//! Decides which paths of the host a project may use. Owns the rule for bind mounts and devices.
//! Face: `host_paths`, `HostPathPolicy::refusals`. Never looks at the file system: symbolic links
//! are resolved by the caller.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use crate::facts::{MountKind, ProjectSpec};

/// Who asked for the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// A user of the host, by number.
    User(u32),
    /// The agent itself, for what was let through before.
    Agent,
}

impl Caller {
    fn may_use_everything(self) -> bool {
        matches!(self, Self::User(0) | Self::Agent)
    }
}

/// A path of the host in a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPathUse {
    /// The service that uses it.
    pub service: String,
    /// The path, as declared.
    pub path: String,
    /// A missing directory is made; otherwise it must exist.
    pub may_be_created: bool,
}

/// All paths of the host that a project uses.
pub fn host_paths(project: &ProjectSpec) -> BTreeSet<HostPathUse> {
    let mut found = BTreeSet::new();
    for (service, unit) in &project.services {
        let mut add = |path: &str, may_be_created| {
            let (service, path) = (service.clone(), path.to_owned());
            found.insert(HostPathUse { service, path, may_be_created });
        };
        for mount in unit.spec.mounts.values() {
            if let MountKind::Bind { source, create_host_path, .. } = &mount.kind {
                add(source, *create_host_path);
            }
        }
        for device in &unit.spec.security.devices {
            add(&device.source, false);
        }
    }
    found
}

/// Where users other than root may mount from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPathPolicy {
    /// Absolute directories.
    pub roots: Vec<String>,
}

/// A path that may not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostPathRefusal {
    /// It is relative, or climbs with `..`.
    #[error("service {service:?} uses {path:?}, which is not an absolute, plain path")]
    NotPlain {
        /// The service.
        service: String,
        /// The path.
        path: String,
    },
    /// It is outside the configured roots.
    #[error("service {service:?} uses {path:?}, which only root may mount")]
    OutsideRoots {
        /// The service.
        service: String,
        /// The path.
        path: String,
    },
    /// It does not exist, and is not to be created.
    #[error("service {service:?} uses {path:?}, which does not exist")]
    Missing {
        /// The service.
        service: String,
        /// The path.
        path: String,
    },
}

impl HostPathRefusal {
    /// The stable, machine-readable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotPlain { .. } => "host_path_not_plain",
            Self::OutsideRoots { .. } => "host_path_outside_roots",
            Self::Missing { .. } => "host_path_missing",
        }
    }

    /// What the operator can do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotPlain { .. } => "write the path without `.` and `..`",
            Self::OutsideRoots { .. } => "add its directory to `host_paths.roots`, or ask root",
            Self::Missing { .. } => "create it, or set `create_host_path: true`",
        }
    }

    /// The service.
    pub fn service(&self) -> &str {
        match self {
            Self::NotPlain { service, .. }
            | Self::OutsideRoots { service, .. }
            | Self::Missing { service, .. } => service,
        }
    }
}

impl HostPathPolicy {
    /// May the caller use this path? `resolved` is the same path with its symbolic links followed
    /// as far as it exists: a link inside a root must not lead out of it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(
        &self,
        used: &HostPathUse,
        resolved: &str,
        caller: Caller,
    ) -> Result<(), HostPathRefusal> {
        let (service, path) = (used.service.clone(), used.path.clone());
        if !is_plain(&used.path) {
            return Err(HostPathRefusal::NotPlain { service, path });
        }
        let is_allowed = caller.may_use_everything()
            || self
                .roots
                .iter()
                .any(|root| is_plain(root) && Path::new(resolved).starts_with(root));
        if is_allowed { Ok(()) } else { Err(HostPathRefusal::OutsideRoots { service, path }) }
    }
}

fn is_plain(path: &str) -> bool {
    let path = Path::new(path);
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, resolved: &str, caller: Caller, expect: Result<(), &str>) {
        let policy = HostPathPolicy { roots: vec!["/srv/data".into()] };
        let service = "web".to_owned();
        let used = HostPathUse { service, path: path.into(), may_be_created: true };
        let found = policy.check(&used, resolved, caller).map_err(|refusal| refusal.code());
        assert_eq!(found, expect, "{path}");
    }

    #[test]
    fn users_mount_only_from_the_configured_roots() {
        let user = Caller::User(1000);
        check("/srv/data/www", "/srv/data/www", user, Ok(()));
        check("/srv/data", "/srv/data", user, Ok(()));
        check("/srv/database", "/srv/database", user, Err("host_path_outside_roots"));
        check("/etc", "/etc", user, Err("host_path_outside_roots"));
        check("/srv/data/link", "/etc", user, Err("host_path_outside_roots"));
        check("/srv/data/../../etc", "/etc", user, Err("host_path_not_plain"));
        check("data", "data", user, Err("host_path_not_plain"));
    }

    #[test]
    fn root_mounts_everything() {
        check("/etc", "/etc", Caller::User(0), Ok(()));
        check("/etc", "/etc", Caller::Agent, Ok(()));
        check("../etc", "/etc", Caller::User(0), Err("host_path_not_plain"));
    }
}
