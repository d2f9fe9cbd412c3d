//! Writes the file systems of a contract. Owns the choice among the engine's three ways to say it.
//! Face: `write`. Never creates a host directory that the contract wants to exist.

use bollard::models::{
    HostConfig, Mount as RequestedMount, MountBindOptions, MountTmpfsOptions, MountType,
    MountVolumeOptions,
};

use super::NewContainer;
use super::create::{Refusal, known, needs};
use super::version::ApiVersion;
use crate::facts::{Mount, MountKind};

/// Writes the mounts into `host`; answers with the targets of new anonymous volumes.
///
/// A volume kept from a predecessor is mounted by its name over the target of an anonymous one,
/// also where only the image declares it.
pub(super) fn write(
    new: &NewContainer,
    api: ApiVersion,
    host: &mut HostConfig,
) -> Result<Vec<String>, Refusal> {
    let mut writer = Writer::default();
    for (target, mount) in &new.spec.mounts {
        let kept = new.kept_volumes.get(target.trim_end_matches('/'));
        match (&mount.kind, kept) {
            (MountKind::Anonymous, Some(name)) => writer.volume(target, name, mount.read_only),
            _ => writer.add(target, mount, api)?,
        }
    }
    for (target, name) in &new.kept_volumes {
        let mut declared = new.spec.mounts.keys();
        if !declared.any(|declared| declared.trim_end_matches('/') == target) {
            writer.volume(target, name, false);
        }
    }
    host.binds = Some(writer.binds);
    host.mounts = Some(writer.mounts);
    host.tmpfs = Some(writer.memory.into_iter().collect());
    Ok(writer.anonymous)
}

#[derive(Default)]
struct Writer {
    binds: Vec<String>,
    mounts: Vec<RequestedMount>,
    memory: Vec<(String, String)>,
    anonymous: Vec<String>,
}

impl Writer {
    fn volume(&mut self, target: &str, name: &str, read_only: bool) {
        self.mounts.push(mount(target, MountType::VOLUME, name, read_only));
    }

    fn add(&mut self, target: &str, declared: &Mount, api: ApiVersion) -> Result<(), Refusal> {
        let read_only = declared.read_only;
        match &declared.kind {
            MountKind::Bind { .. } => self.bind(target, declared)?,
            MountKind::Volume { name, no_copy, subpath } => {
                if subpath.is_some() {
                    let field = format!("volumes.{target}.subpath");
                    needs(api, ApiVersion::VOLUME_SUBPATH, &field)?;
                }
                let options = MountVolumeOptions {
                    no_copy: Some(*no_copy),
                    subpath: subpath.clone(),
                    ..MountVolumeOptions::default()
                };
                self.mounts.push(RequestedMount {
                    volume_options: Some(options),
                    ..mount(target, MountType::VOLUME, name, read_only)
                });
            }
            MountKind::Anonymous if read_only => {
                self.mounts.push(RequestedMount {
                    source: None,
                    ..mount(target, MountType::VOLUME, "", true)
                });
            }
            MountKind::Anonymous => self.anonymous.push(target.to_owned()),
            MountKind::Tmpfs { .. } => self.memory(target, declared),
            MountKind::NamedPipe { source } => {
                self.mounts.push(mount(target, MountType::NPIPE, source, read_only));
            }
            MountKind::Cluster { source } => {
                let field = format!("volumes.{target}.type: cluster");
                needs(api, ApiVersion::CLUSTER_VOLUMES, &field)?;
                self.mounts.push(mount(target, MountType::CLUSTER, source, read_only));
            }
        }
        Ok(())
    }

    /// Only the short form creates a missing directory and relabels; only the long form fails when
    /// the directory is missing.
    fn bind(&mut self, target: &str, declared: &Mount) -> Result<(), Refusal> {
        let MountKind::Bind { source, propagation, create_host_path, selinux } = &declared.kind
        else {
            return Ok(());
        };
        if !create_host_path {
            if selinux.is_some() {
                let field = format!("volumes.{target}.bind.selinux");
                return Err(format!("{field} cannot go with create_host_path: false"));
            }
            let field = format!("volumes.{target}.bind.propagation");
            let options = MountBindOptions {
                propagation: known(propagation, &field)?,
                ..MountBindOptions::default()
            };
            self.mounts.push(RequestedMount {
                bind_options: Some(options),
                ..mount(target, MountType::BIND, source, declared.read_only)
            });
            return Ok(());
        }
        if source.contains(':') || target.contains(':') {
            let field = format!("volumes.{target}");
            return Err(format!("{field}: a path with a colon needs create_host_path: false"));
        }
        let access = if declared.read_only { "ro" } else { "rw" };
        let options =
            std::iter::once(access).chain(selinux.as_deref()).chain(propagation.as_deref());
        let options: Vec<&str> = options.collect();
        self.binds.push(format!("{source}:{target}:{}", options.join(",")));
        Ok(())
    }

    /// Raw options exist only in the short form.
    fn memory(&mut self, target: &str, declared: &Mount) {
        let MountKind::Tmpfs { size_bytes, mode, options } = &declared.kind else { return };
        match options {
            Some(raw) => {
                let access = declared.read_only.then(|| "ro".to_owned());
                let size = size_bytes.map(|size| format!("size={size}"));
                let bits = mode.map(|mode| format!("mode={mode:o}"));
                let raw = Some(raw.clone()).filter(|raw| !raw.is_empty());
                let all: Vec<String> = [raw, access, size, bits].into_iter().flatten().collect();
                self.memory.push((target.to_owned(), all.join(",")));
            }
            None => {
                let options = MountTmpfsOptions {
                    size_bytes: size_bytes.map(|size| i64::try_from(size).unwrap_or(i64::MAX)),
                    mode: mode.map(i64::from),
                    ..MountTmpfsOptions::default()
                };
                self.mounts.push(RequestedMount {
                    source: None,
                    tmpfs_options: Some(options),
                    ..mount(target, MountType::TMPFS, "", declared.read_only)
                });
            }
        }
    }
}

fn mount(target: &str, kind: MountType, source: &str, read_only: bool) -> RequestedMount {
    RequestedMount {
        target: Some(target.to_owned()),
        source: Some(source.to_owned()),
        typ: Some(kind),
        read_only: Some(read_only),
        ..RequestedMount::default()
    }
}
