//! Lowers what is mounted into a container. Owns the translation of the long form and of `tmpfs`.
//! Face: `lower`. Never checks that a path exists: it may be on another machine.

use std::collections::BTreeMap;

use super::section::Section;
use super::service::Context;
use crate::facts::{Mount, MountKind};

/// Mounts by target path.
pub(super) fn lower(context: &Context<'_>, section: &mut Section<'_>) -> BTreeMap<String, Mount> {
    let mut mounts = BTreeMap::new();
    for mut mount in section.sections("volumes") {
        // A hint for file sharing with a virtual machine; Linux has nothing to do for it.
        mount.ignore("consistency");
        let read_only = mount.flag("read_only").unwrap_or_default();
        let target = mount.text("target").unwrap_or_default();
        if !target.starts_with('/') {
            mount.refuse("target", &format!("`{target}` is not an absolute path"));
        }
        if let Some(kind) = kind(context, &mut mount) {
            mounts.insert(target, Mount { kind, read_only });
        }
    }
    for text in section.texts("tmpfs") {
        let (target, options) = match text.split_once(':') {
            Some((target, options)) => (target, Some(options.to_owned())),
            None => (text.as_str(), None),
        };
        let kind = MountKind::Tmpfs { size_bytes: None, mode: None, options };
        mounts.insert(target.to_owned(), Mount { kind, read_only: false });
    }
    mounts
}

fn kind(context: &Context<'_>, mount: &mut Section<'_>) -> Option<MountKind> {
    let source = mount.text("source");
    let kind = mount.text("type").unwrap_or_default();
    let needs_source = matches!(kind.as_str(), "bind" | "npipe" | "cluster");
    if needs_source && source.is_none() {
        mount.refuse("source", "it is missing");
    }
    match kind.as_str() {
        "bind" => {
            // The short form may name options of the other kind; the loader has warned of them.
            mount.ignore("volume");
            let mut options = mount.section("bind");
            let mut text = |key: &str| options.as_mut().and_then(|options| options.text(key));
            Some(MountKind::Bind {
                source: source?,
                propagation: text("propagation"),
                create_host_path: text("create_host_path").as_deref() == Some("true"),
                selinux: text("selinux"),
            })
        }
        "volume" => {
            mount.ignore("bind");
            let mut options = mount.section("volume");
            let mut text = |key: &str| options.as_mut().and_then(|options| options.text(key));
            let (no_copy, subpath) = (text("nocopy").as_deref() == Some("true"), text("subpath"));
            let Some(source) = source else {
                if no_copy || subpath.is_some() {
                    mount.refuse("volume", "a volume without a name takes no options");
                }
                return Some(MountKind::Anonymous);
            };
            let name = context.names.volumes.get(&source).cloned().unwrap_or(source);
            Some(MountKind::Volume { name, no_copy, subpath })
        }
        "tmpfs" => {
            let mut options = mount.section("tmpfs");
            let size = options.as_mut().and_then(|options| options.number("size"));
            let mode = options.as_mut().and_then(|options| options.number("mode"));
            Some(MountKind::Tmpfs { size_bytes: size, mode, options: None })
        }
        "npipe" => Some(MountKind::NamedPipe { source: source? }),
        "cluster" => Some(MountKind::Cluster { source: source? }),
        _ => {
            mount.refuse("type", "an image cannot be mounted");
            None
        }
    }
}
