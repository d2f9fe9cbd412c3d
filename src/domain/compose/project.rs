//! Holds a loaded project in Compose's own shape: a tree that the schema has checked, with the
//! place of every key. Owns access to it. Face: `Project`. Never holds a short form, a relative
//! path or a variable.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::paths::clean;
use crate::base::yaml::{Map, Node};
use crate::base::{Diagnostic, Location, Secret};
use crate::domain::redaction::Known;

/// A loaded project.
pub struct Project {
    /// The name: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// The directory that relative paths started from.
    pub directory: String,
    /// What works but is probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// Names of the variables that the files asked for.
    pub variables: BTreeSet<String>,
    /// Services whose profiles are not active: neither wanted nor left over.
    pub inactive: BTreeSet<String>,
    /// What would have to be fetched before the project can be deployed.
    pub(super) elsewhere: Vec<Diagnostic>,
    /// What is wrong in the files and was passed over: only a survey does that.
    pub passed_over: Vec<Diagnostic>,
    /// By service, the names in `environment` whose values stand in a compose file.
    pub(super) literals: BTreeMap<String, BTreeSet<String>>,
    pub(super) model: Map,
    /// Content of configs and secrets that come from variables, by `configs.x` and `secrets.y`.
    pub(super) from_environment: BTreeMap<String, Secret<String>>,
    /// Values of variables that nothing that is said about the project may show.
    pub(super) secrets: Known,
}

/// A directory that an image is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalContext {
    /// The absolute directory.
    pub path: String,
    /// The Dockerfile, relative to it.
    pub dockerfile: String,
}

/// The path of a Dockerfile inside its context; one outside begins with `../` or `/`.
pub(super) fn dockerfile_in(context: &str, dockerfile: &str) -> String {
    let inside = dockerfile.strip_prefix(context).and_then(|rest| rest.strip_prefix('/'));
    clean(inside.unwrap_or(dockerfile))
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<&str> = self.services().map(|(name, _)| name).collect();
        f.debug_struct("Project")
            .field("name", &self.name)
            .field("directory", &self.directory)
            .field("services", &services)
            .finish_non_exhaustive()
    }
}

impl Project {
    /// The services, by name.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.section("services")
    }

    /// The entries of a top-level section, by name.
    pub(super) fn section(&self, name: &str) -> impl Iterator<Item = (&str, &Node)> {
        let map = self.model.get(name).and_then(Node::as_map);
        map.into_iter().flat_map(|map| map.0.iter().map(|(key, node)| (key.text.as_str(), node)))
    }

    /// One entry of a top-level section.
    pub(super) fn entry(&self, section: &str, name: &str) -> Option<&Node> {
        self.model.get(section)?.as_map()?.get(name)
    }

    /// Where a service says something: the deepest key of `path` that a file holds. `None` when no
    /// file holds the service itself.
    pub fn place(&self, service: &str, path: &[&str]) -> Option<Location> {
        let (key, node) = self.model.get("services")?.as_map()?.entry(service)?;
        let (mut mark, mut node) = (&key.mark, node);
        for name in path {
            let Some((key, below)) = node.as_map().and_then(|map| map.entry(name)) else { break };
            if key.mark.file().is_empty() {
                break;
            }
            mark = &key.mark;
            node = below;
        }
        (!mark.file().is_empty()).then(|| mark.location())
    }

    /// The names in a service's `environment` whose values stand in a compose file itself, and not
    /// in a file of variables or in the caller's environment.
    pub fn literals(&self, service: &str) -> Option<&BTreeSet<String>> {
        self.literals.get(service)
    }

    /// Files of the client whose content becomes part of containers: configs and secrets, by the
    /// key in the compose file (`configs.x`, `secrets.y`).
    pub fn content_files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for section in ["configs", "secrets"] {
            for (name, node) in self.section(section) {
                let file = node.as_map().and_then(|map| map.get("file")).and_then(Node::as_scalar);
                if let Some(file) = file {
                    files.insert(format!("{section}.{name}"), file.text.clone());
                }
            }
        }
        files
    }

    /// Local build contexts, by service.
    pub fn build_contexts(&self) -> BTreeMap<String, LocalContext> {
        let mut contexts = BTreeMap::new();
        for (name, node) in self.services() {
            let Some(build) = node.as_map().and_then(|map| map.get("build")?.as_map()) else {
                continue;
            };
            let text = |key: &str| Some(build.get(key)?.as_scalar()?.text.as_str());
            let Some(path) = text("context").filter(|path| path.starts_with('/')) else { continue };
            let dockerfile = text("dockerfile").filter(|name| !name.is_empty());
            let dockerfile = dockerfile_in(path, dockerfile.unwrap_or("Dockerfile"));
            contexts.insert(name.to_owned(), LocalContext { path: path.to_owned(), dockerfile });
        }
        contexts
    }
}
