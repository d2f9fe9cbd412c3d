//! What is known of the machine that containers run on, and of its engine's daemon. Owns
//! `HostFacts` and its parts. Face: the types, `HostFacts::option`. Never says that something is
//! absent when nobody looked: "not looked at" and "not there" are two things.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

/// One host, as far as somebody looked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// What the engine says of itself; `None` when it was not asked.
    pub daemon: Option<DaemonFacts>,
    /// The daemon's configuration file.
    pub daemon_file: DaemonFile,
    /// The daemon's options on its command line, by long name without dashes (`tlsverify`); an
    /// option without a value has an empty list. `None` when its process could not be seen.
    pub daemon_arguments: Option<BTreeMap<String, Vec<String>>>,
    /// Driver options of the network `bridge`; `None` when it was not looked at.
    pub bridge_options: Option<BTreeMap<String, String>>,
    /// What was looked at in the file system, by absolute path.
    pub files: BTreeMap<String, FileLook>,
    /// Folders whose files were listed completely, by absolute path: their files are in `files`.
    pub listed: BTreeSet<String>,
    /// Symbolic links that are known, each from its absolute path to what it says.
    pub symlinks: BTreeMap<String, String>,
    /// Unix sockets on which engines of this host listen.
    pub sockets: BTreeSet<String>,
}

/// What an engine says of itself and of its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DaemonFacts {
    /// Its security options as it lists them: `name=seccomp,profile=builtin`, `name=rootless`, …
    pub security_options: BTreeSet<String>,
    /// The log driver of containers that name none.
    pub logging_driver: String,
    /// Storage driver.
    pub storage_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Registries that it speaks to without checking a certificate: names, and networks as CIDR.
    pub insecure_registries: BTreeSet<String>,
    /// Plugins that are asked before each call of its API.
    pub authorization_plugins: BTreeSet<String>,
    /// Containers go on while it is away.
    pub live_restore: bool,
    /// It has experimental features.
    pub is_experimental: bool,
    /// It is part of a swarm.
    pub is_in_swarm: bool,
    /// What it warns of.
    pub warnings: Vec<String>,
}

/// The daemon's configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DaemonFile {
    /// Nobody looked, or it could not be read.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// Its keys.
    Read(BTreeMap<String, Value>),
}

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileLook {
    /// Nothing.
    Absent,
    /// A file, a folder or a socket.
    Found(FileFacts),
}

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileFacts {
    /// Number of its owner.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
    /// Name of its group, when the host has one for the number.
    pub group: Option<String>,
    /// Permission bits, without the kind of file.
    pub mode: u32,
    /// It is a folder.
    pub is_folder: bool,
}

/// An option of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonOption {
    /// It has these values: one, or several of an option that is given several times.
    Set(Vec<String>),
    /// It is given nowhere: the daemon's default counts.
    Default,
    /// Not everything that could give it was seen.
    Unknown,
}

impl HostFacts {
    /// An option by its name in the configuration file, and on the command line when that differs
    /// (`insecure-registries` and `insecure-registry`).
    pub fn option(&self, key: &str, argument: &str) -> DaemonOption {
        let given = self.daemon_arguments.as_ref().and_then(|given| given.get(argument));
        if let Some(values) = given {
            let is_switch = values.is_empty();
            let on = || vec!["true".to_owned()];
            return DaemonOption::Set(if is_switch { on() } else { values.clone() });
        }
        if let DaemonFile::Read(keys) = &self.daemon_file
            && let Some(value) = keys.get(key)
        {
            return DaemonOption::Set(texts(value));
        }
        let is_all_seen =
            self.daemon_arguments.is_some() && self.daemon_file != DaemonFile::Unknown;
        if is_all_seen { DaemonOption::Default } else { DaemonOption::Unknown }
    }

    /// A security option of the engine by its name, with what follows the name; `None` when the
    /// engine was not asked.
    pub fn security_option(&self, name: &str) -> Option<Option<&str>> {
        let options = &self.daemon.as_ref()?.security_options;
        let found = options.iter().find_map(|option| {
            let rest = option.strip_prefix("name=").unwrap_or(option);
            let (own, rest) = rest.split_once(',').unwrap_or((rest, ""));
            (own == name).then_some(rest)
        });
        Some(found)
    }
}

/// A value of the file as the command line would spell it.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| match value {
                Value::String(text) => format!("{key}={text}"),
                other => format!("{key}={other}"),
            };
            map.iter().map(pair).collect()
        }
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(file: DaemonFile, arguments: Option<&[(&str, &[&str])]>) -> HostFacts {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let daemon_arguments = arguments.map(|given| {
            given.iter().map(|(name, given)| ((*name).to_owned(), values(given))).collect()
        });
        HostFacts { daemon_file: file, daemon_arguments, ..HostFacts::default() }
    }

    fn file(text: &str) -> DaemonFile {
        DaemonFile::Read(serde_json::from_str(text).unwrap())
    }

    fn set(values: &[&str]) -> DaemonOption {
        DaemonOption::Set(values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn the_command_line_counts_before_the_file() {
        let check = |host: HostFacts, expect: DaemonOption| {
            assert_eq!(host.option("icc", "icc"), expect, "{host:?}");
        };
        check(host(file(r#"{"icc": false}"#), Some(&[])), set(&["false"]));
        check(host(file(r#"{"icc": false}"#), None), set(&["false"]));
        check(host(file("{}"), Some(&[("icc", &["false"])])), set(&["false"]));
        check(host(DaemonFile::Unknown, Some(&[("icc", &[])])), set(&["true"]));
    }

    #[test]
    fn an_option_has_its_default_only_where_all_was_seen() {
        let found = |host: HostFacts| host.option("icc", "icc");
        assert_eq!(found(host(DaemonFile::Absent, Some(&[]))), DaemonOption::Default);
        assert_eq!(found(host(file("{}"), Some(&[]))), DaemonOption::Default);
        assert_eq!(found(host(DaemonFile::Absent, None)), DaemonOption::Unknown);
        assert_eq!(found(host(DaemonFile::Unknown, Some(&[]))), DaemonOption::Unknown);
    }

    #[test]
    fn lists_and_mappings_are_spelled_as_on_the_command_line() {
        let host = host(file(r#"{"a": ["x", "y"], "b": {"max-size": "1m", "n": 3}}"#), None);
        assert_eq!(host.option("a", "a"), set(&["x", "y"]));
        assert_eq!(host.option("b", "b"), set(&["max-size=1m", "n=3"]));
    }

    #[test]
    fn a_security_option_is_found_by_its_name() {
        let mut host = HostFacts::default();
        assert_eq!(host.security_option("seccomp"), None);
        let options = ["name=seccomp,profile=builtin".to_owned(), "name=rootless".to_owned()];
        host.daemon =
            Some(DaemonFacts { security_options: options.into(), ..DaemonFacts::default() });
        assert_eq!(host.security_option("seccomp"), Some(Some("profile=builtin")));
        assert_eq!(host.security_option("rootless"), Some(Some("")));
        assert_eq!(host.security_option("selinux"), Some(None));
    }
}
