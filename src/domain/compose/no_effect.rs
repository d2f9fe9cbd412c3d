//! Warns of keys that mean something to a cluster, and nothing to one host. Owns their list and the
//! reasons. Face: `warn`. Never refuses: what runs is what is written.

use super::lower::holds_something;
use crate::base::Diagnostic;
use crate::base::yaml::{Key, Map, Node};

/// Paths below an entry of a section, and why they say nothing here. Docker Compose passes over
/// them in silence.
const KEYS: [(&str, &[&str], &str); 14] = [
    ("services", &["deploy", "placement"], "every container runs on this host"),
    ("services", &["deploy", "endpoint_mode"], "names lead to the containers themselves"),
    (
        "services",
        &["deploy", "rollback_config"],
        "what failed returns to the container that is still there",
    ),
    (
        "services",
        &["deploy", "update_config", "max_failure_ratio"],
        "one container that fails ends the replacement",
    ),
    ("services", &["deploy", "labels"], "containers take theirs from `labels`"),
    (
        "services",
        &["deploy", "resources", "reservations", "cpus"],
        "nothing else is placed on the host by it",
    ),
    (
        "services",
        &["deploy", "resources", "reservations", "generic_resources"],
        "nothing is placed by it",
    ),
    (
        "services",
        &["deploy", "restart_policy", "delay"],
        "the engine waits by itself, longer each time",
    ),
    (
        "services",
        &["deploy", "restart_policy", "window"],
        "the engine takes a start for good after ten seconds",
    ),
    ("configs", &["labels"], "the content becomes a file"),
    ("configs", &["template_driver"], "the content is taken as it is"),
    ("secrets", &["labels"], "the content becomes a file"),
    ("secrets", &["driver_opts"], "the content becomes a file"),
    ("secrets", &["template_driver"], "the content is taken as it is"),
];

/// Adds a warning for each of these keys that a model fills.
pub(super) fn warn(model: &Map, warnings: &mut Vec<Diagnostic>) {
    for (section, path, reason) in &KEYS {
        let entries = model.get(section).and_then(Node::as_map).map(|map| map.0.as_slice());
        for (name, node) in entries.unwrap_or_default() {
            let Some((key, value)) = find(node, path) else { continue };
            if holds_something(value) {
                let path = path.join(".");
                let message =
                    format!("`{section}.{}.{path}` has no effect on one host: {reason}", name.text);
                let problem = key.mark.problem("compose.no_effect", message);
                warnings
                    .push(problem.help("leave it for a cluster that reads the file, or remove it"));
            }
        }
    }
}

fn find<'m>(node: &'m Node, path: &[&str]) -> Option<(&'m Key, &'m Node)> {
    let (first, rest) = path.split_first()?;
    let (key, below) = node.as_map()?.entry(first)?;
    if rest.is_empty() { Some((key, below)) } else { find(below, rest) }
}
