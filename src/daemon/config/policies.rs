//! Reads where policies come from. Owns the section `policies`. Face: `read`, `values`. Never reads a
//! policy: who keeps them does.

use super::{CODE, absolute_path};
use crate::base::suggest::did_you_mean;
use crate::base::yaml::{Fields, Node};
use crate::domain::policy::{Action, shipped_names};
use crate::operations::policies::{PolicySources, Shipped};

/// The folder of policies, and those that are shipped: by name, or with what all their rules do.
pub(super) fn read(fields: &mut Fields<'_>) -> PolicySources {
    let directory = match fields.node("directory") {
        Some(node) => absolute_path(fields, "directory", node),
        None => None,
    };
    let mut shipped: Vec<Shipped> = Vec::new();
    for node in fields.items("shipped") {
        match one(fields, node) {
            Some(one) if shipped.iter().any(|other| other.name == one.name) => {
                let message = format!("`{}` is named twice", one.name);
                fields.report(node.problem(CODE, message));
            }
            one => shipped.extend(one),
        }
    }
    PolicySources { directory, shipped }
}

/// `baseline`, or `{baseline: warn}`.
fn one(fields: &mut Fields<'_>, node: &Node) -> Option<Shipped> {
    let (name, action) = match (node.as_scalar(), node.as_map().map(|map| &map.0[..])) {
        (Some(name), _) => (name.text.clone(), None),
        (None, Some([(name, action)])) => (name.text.clone(), Some(action)),
        _ => {
            let message = "a shipped policy is its name, or its name with an action";
            fields.report(node.problem(CODE, message).help("write `- baseline: warn`"));
            return None;
        }
    };
    let known = shipped_names();
    if !known.contains(&name.as_str()) {
        let problem = node.problem(CODE, format!("no policy `{name}` is shipped"));
        fields.report(problem.help(did_you_mean(&name, &known)));
        return None;
    }
    let Some(node) = action else { return Some(Shipped { name, action: None }) };
    let text = node.as_scalar().map_or("", |scalar| scalar.text.as_str());
    match text.parse::<Action>() {
        Ok(action) => Some(Shipped { name, action: Some(action) }),
        Err(_) => {
            let words: Vec<&str> = Action::ALL.iter().map(|action| action.key()).collect();
            let problem = node.problem(CODE, format!("`{text}` is no action"));
            fields.report(problem.help(did_you_mean(text, &words)));
            None
        }
    }
}

/// The keys of the section with their values in effect.
pub(super) fn values(sources: &PolicySources) -> [(&'static str, String); 2] {
    let directory = sources.directory.as_ref().map(|path| path.display().to_string());
    let shipped = sources.shipped.iter().map(|shipped| match shipped.action {
        Some(action) => format!("{}: {action}", shipped.name),
        None => shipped.name.clone(),
    });
    let shipped: Vec<String> = shipped.collect();
    [
        ("policies.directory", directory.unwrap_or_default()),
        ("policies.shipped", format!("[{}]", shipped.join(", "))),
    ]
}
