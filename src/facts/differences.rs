//! Compares a contract with what was found. Owns the rule what counts as different. Face:
//! `differences`. Never shows the value of an environment variable.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::effective::normalise;
use super::{NetworkMode, ServiceSpec};

/// One field that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// Where, such as `resources.memory_bytes` or `environment.PASSWORD`.
    pub field: String,
    /// What was declared; `None` is nothing.
    pub declared: Option<String>,
    /// What was found; `None` is nothing.
    pub observed: Option<String>,
}

impl fmt::Display for FieldDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: {} → {}", self.field, shown(&self.observed), shown(&self.declared))
    }
}

/// What stands for a value that must not be shown.
const SECRET: &str = "[secret]";

/// Fields that the engine fills from its own configuration, which is not known here, when nothing
/// is declared: then they are not compared.
const FILLED_BY_ENGINE: [&str; 7] = [
    "init",
    "runtime",
    "logging.",
    "resources.shm_size_bytes",
    "resources.memory_swap_bytes",
    "resources.memory_swappiness",
    "security.cgroupns_mode",
];

/// The fields in which a container differs from its contract, by name; empty when it is as
/// declared. `declared` comes from [`super::effective()`], with its references to other services
/// resolved.
///
/// Not compared: the image, because one name stands for other images over time (compare ids); the
/// platform, which is the image's; and the priority of networks, which leaves no trace.
pub fn differences(declared: &ServiceSpec, observed: &ServiceSpec) -> Vec<FieldDifference> {
    let (mut declared, mut observed) = (declared.clone(), observed.clone());
    normalise(&mut declared);
    normalise(&mut observed);
    let is_named_by_engine = takes_names_from_elsewhere(&declared);
    let (declared_leaves, observed_leaves) = (leaves(&declared), leaves(&observed));
    let fields: BTreeSet<&String> = declared_leaves.keys().chain(observed_leaves.keys()).collect();
    let mut found: Vec<FieldDifference> = Vec::new();
    for field in fields {
        let (ours, theirs) = (declared_leaves.get(field), observed_leaves.get(field));
        let is_undeclared_default = ours.is_none()
            && theirs.is_some_and(|value| is_default(field, value, is_named_by_engine));
        if ours != theirs && !is_undeclared_default && !is_never_compared(field) {
            found.push(FieldDifference {
                field: field.clone(),
                declared: ours.cloned(),
                observed: theirs.cloned(),
            });
        }
    }
    found.extend(environment_differences(&declared, &observed));
    found.sort_by(|a, b| a.field.cmp(&b.field));
    found
}

/// A container in a foreign network or name space bears the host name of that.
fn takes_names_from_elsewhere(spec: &ServiceSpec) -> bool {
    let is_foreign = matches!(
        spec.network_mode,
        NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::Service(_)
    );
    is_foreign || spec.security.uts_mode.as_deref() == Some("host")
}

fn is_never_compared(field: &str) -> bool {
    let is_priority = field.starts_with("network_mode.networks.") && field.ends_with(".priority");
    field == "image" || field == "platform" || is_priority
}

/// May the engine have filled in `value` where nothing was declared?
fn is_default(field: &str, value: &str, is_named_by_engine: bool) -> bool {
    match field {
        "hostname" | "domainname" => is_named_by_engine,
        "security.ipc_mode" => value == "private" || value == "shareable",
        _ if field.starts_with("network_mode.networks.") => field.ends_with(".mac_address"),
        _ => FILLED_BY_ENGINE.iter().any(|prefix| field.starts_with(prefix)),
    }
}

fn environment_differences(declared: &ServiceSpec, observed: &ServiceSpec) -> Vec<FieldDifference> {
    let names: BTreeSet<&String> =
        declared.environment.keys().chain(observed.environment.keys()).collect();
    let shown = |side: Option<_>| side.map(|_| SECRET.to_owned());
    let compared = names.into_iter().filter_map(|name| {
        let (ours, theirs) = (declared.environment.get(name), observed.environment.get(name));
        (ours != theirs).then(|| FieldDifference {
            field: format!("environment.{name}"),
            declared: shown(ours),
            observed: shown(theirs),
        })
    });
    compared.collect()
}

/// Every leaf of a contract by its path. What is absent, empty or false has none.
fn leaves(spec: &ServiceSpec) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // A contract is made of strings, integers, lists and maps with string keys: always JSON.
    let value = serde_json::to_value(spec).unwrap_or(Value::Null);
    collect("", &value, &mut found);
    if let NetworkMode::Networks(networks) = &spec.network_mode {
        let member = |name| (format!("network_mode.networks.{name}"), "member".to_owned());
        found.extend(networks.keys().map(member));
    }
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Null | Value::Bool(false) => return,
        Value::Array(items) if items.is_empty() => return,
        Value::Object(fields) => match duration(fields) {
            Some(text) => text,
            None => {
                let separator = if path.is_empty() { "" } else { "." };
                for (name, field) in fields {
                    collect(&format!("{path}{separator}{name}"), field, found);
                }
                return;
            }
        },
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    found.insert(path.to_owned(), text);
}

/// A length of time in seconds, as serde writes `Duration`.
fn duration(fields: &serde_json::Map<String, Value>) -> Option<String> {
    let seconds = fields.get("secs")?.as_u64()?;
    match fields.get("nanos")?.as_u64()? {
        0 => Some(format!("{seconds}s")),
        nanos => Some(format!("{}s", format!("{seconds}.{nanos:09}").trim_end_matches('0'))),
    }
}

#[cfg(test)]
mod tests;
