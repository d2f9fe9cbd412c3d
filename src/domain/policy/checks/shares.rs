//! Lists all that is mounted into a container. Owns what is mounted by a detour: a volume that is a
//! folder of the host, and what `volumes_from` brings. Face: `Mounted`, `mounted`. Never judges.

use super::{Subject, peer};
use crate::domain::policy::paths::resolved;
use crate::facts::{Mount, MountKind, ServiceSpec};

/// How far `volumes_from` is followed.
const DEPTH_MAX: usize = 8;

/// Kinds of file systems whose device is no path of this host.
const REMOTE: [&str; 7] = ["nfs", "nfs3", "nfs4", "cifs", "smb3", "tmpfs", "9p"];

/// One thing that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    /// What it is.
    pub(super) source: Source,
    /// Where it is inside.
    pub(super) target: String,
    /// It cannot be written.
    pub(super) read_only: bool,
    /// How mounts below it spread.
    pub(super) propagation: Option<String>,
    /// The service declares it itself, as a path: what takes it away is known.
    pub(super) is_own_bind: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A path of the host.
    Host {
        /// As it is spelled.
        spelled: String,
        /// As the engine uses it.
        path: String,
    },
    /// A volume that is no path of the host, as far as is known.
    Volume(String),
    /// A named pipe of Windows.
    Pipe(String),
}

/// All mounts of a service, and the facts that are missing for more.
pub(super) fn mounted(subject: &Subject<'_>) -> (Vec<Mounted>, Vec<&'static str>) {
    mounted_by(subject, subject.spec, true)
}

/// Those of `spec`, which is the subject's own or that of a peer.
pub(super) fn mounted_by(
    subject: &Subject<'_>,
    spec: &ServiceSpec,
    is_own: bool,
) -> (Vec<Mounted>, Vec<&'static str>) {
    let mut found = Found { subject, mounts: Vec::new(), needs: Vec::new() };
    found.walk(spec, is_own, false, 0);
    (found.mounts, found.needs)
}

struct Found<'s, 'a> {
    subject: &'s Subject<'a>,
    mounts: Vec<Mounted>,
    needs: Vec<&'static str>,
}

impl Found<'_, '_> {
    fn walk(&mut self, spec: &ServiceSpec, is_own: bool, read_only: bool, depth: usize) {
        for (target, mount) in &spec.mounts {
            self.mount(target, mount, is_own, read_only);
        }
        for from in &spec.volumes_from {
            let from = from.strip_prefix("container:").unwrap_or(from);
            let (name, mode) = from.split_once(':').unwrap_or((from, ""));
            match peer(self.subject, name).filter(|_| depth < DEPTH_MAX) {
                Some(other) => self.walk(other, false, read_only || mode == "ro", depth + 1),
                None => self.needs.push("peers"),
            }
        }
    }

    fn mount(&mut self, target: &str, mount: &Mount, is_own: bool, read_only: bool) {
        let read_only = read_only || mount.read_only;
        let propagation = match &mount.kind {
            MountKind::Bind { propagation, .. } => propagation.clone(),
            _ => None,
        };
        let sources = match &mount.kind {
            MountKind::Bind { source, .. } => vec![self.host(source)],
            MountKind::Volume { name, .. } => self.volume(name),
            MountKind::NamedPipe { source } => vec![Source::Pipe(source.clone())],
            MountKind::Anonymous | MountKind::Tmpfs { .. } | MountKind::Cluster { .. } => {
                return;
            }
        };
        let is_own_bind = is_own && matches!(mount.kind, MountKind::Bind { .. });
        self.mounts.extend(sources.into_iter().map(|source| Mounted {
            source,
            target: target.to_owned(),
            read_only,
            propagation: propagation.clone(),
            is_own_bind,
        }));
    }

    fn host(&self, spelled: &str) -> Source {
        let path = resolved(spelled, self.subject.host);
        Source::Host { spelled: spelled.to_owned(), path }
    }

    /// A volume of the driver `local` can mount any path or disk: `type: none, o: bind, device:
    /// /etc`. Others have an option for the path, which several drivers call `mountpoint`.
    fn volume(&mut self, name: &str) -> Vec<Source> {
        // An external volume can have any name, and a path in the place of a name is a path.
        if name.starts_with('/') {
            return vec![self.host(name)];
        }
        let known = self.subject.volumes.and_then(|volumes| volumes.get(name));
        let Some(options) = known else {
            self.needs.push("volume.options");
            return vec![Source::Volume(name.to_owned())];
        };
        let option = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
        let layers = option("o").split(',').filter_map(|part| {
            let (key, value) = part.split_once('=')?;
            matches!(key.trim(), "lowerdir" | "upperdir").then_some(value)
        });
        let devices = [option("device"), option("mountpoint")];
        let devices = devices.into_iter().filter(|_| !REMOTE.contains(&option("type")));
        let paths = devices.chain(layers.flat_map(|value| value.split(':')));
        let paths: Vec<Source> =
            paths.filter(|path| path.starts_with('/')).map(|path| self.host(path)).collect();
        if paths.is_empty() { vec![Source::Volume(name.to_owned())] } else { paths }
    }
}
