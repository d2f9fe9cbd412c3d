//! Applies `include`. Owns the sub-project's own directory and variables, and the rule that two
//! projects may only agree on a name, never differ. Face: `Loader::add_includes`. Never fetches
//! anything from a network.

use super::interpolate::Variables;
use super::load::{Answer, Halt, Loader};
use super::paths::{absolute, parent};
use crate::base::yaml::{Map, Node, Value};

const SECTIONS: [&str; 6] = ["services", "networks", "volumes", "secrets", "configs", "models"];

impl Loader<'_> {
    /// Loads what the model includes and adds it.
    pub(super) fn add_includes(
        &mut self,
        model: &mut Map,
        directory: &str,
        variables: &Variables,
        open_files: &mut Vec<String>,
    ) -> Result<(), Halt> {
        let Some((_, include)) = model.remove("include") else { return Ok(()) };
        for item in include.as_seq().unwrap_or_default() {
            let declared = texts(item, "path");
            if let Some(remote) = declared.iter().find(|path| is_elsewhere(path)) {
                let message = format!("`{remote}` is not on this machine and is left out");
                let help = "fetch it into a file and include that: nothing is deployed unseen";
                let problem = item.problem("compose.include_remote", message).help(help);
                self.warnings.push(problem.clone());
                self.elsewhere.push(problem);
                continue;
            }
            let paths: Vec<String> = declared
                .iter()
                .map(|path| absolute(directory, path, variables.get("HOME")))
                .collect();
            let Some(first) = paths.first() else { continue };
            if open_files.contains(first) {
                let message = format!("`include` of `{}` runs in a circle", self.shown(first));
                self.problems.push(item.problem("compose.include_cycle", message));
                continue;
            }
            let found = paths.iter().try_for_each(|path| {
                self.bytes(path, Some(&item.mark))?;
                Ok(())
            });
            if self.or_pass_over(found)?.is_none() {
                continue;
            }
            let own = match texts(item, "project_directory").first() {
                Some(own) => absolute(directory, own, None),
                None => parent(first).to_owned(),
            };
            let variables_below = self.variables_below(item, directory, &own, variables)?;
            let documents = self.documents(&paths)?;
            let depth = open_files.len();
            open_files.extend(paths.iter().cloned());
            let included = self.model(documents, &own, &variables_below, open_files)?;
            open_files.truncate(depth);
            variables.join(&variables_below);
            self.import(included, model, item);
        }
        Ok(())
    }

    /// The outer variables win over those of the sub-project's own files.
    fn variables_below(
        &self,
        item: &Node,
        directory: &str,
        own: &str,
        outer: &Variables,
    ) -> Result<Variables, Halt> {
        let mut variables = outer.fork();
        let mut paths: Vec<String> =
            texts(item, "env_file").iter().map(|path| absolute(directory, path, None)).collect();
        if paths.is_empty() {
            let implicit = format!("{own}/.env");
            if matches!(self.fetch(&implicit)?, Answer::Content(_)) {
                paths.push(implicit);
            }
        }
        for path in paths {
            self.bytes(&path, Some(&item.mark))?;
            for (name, value) in self.env_values(&path, outer)? {
                variables.set_default(name, value);
            }
        }
        Ok(variables)
    }

    fn import(&mut self, included: Map, model: &mut Map, item: &Node) {
        for (section, entries) in included.0 {
            let Value::Map(entries) = entries.value else { continue };
            if !SECTIONS.contains(&section.text.as_str()) {
                continue;
            }
            if model.get(&section.text).is_none() {
                let empty = Node::new(Value::Map(Map::default()), section.mark.clone());
                model.insert(section.clone(), empty);
            }
            let Some(Value::Map(present)) = model.get_mut(&section.text).map(|n| &mut n.value)
            else {
                continue;
            };
            for (key, node) in entries.0 {
                match present.get(&key.text) {
                    None => present.insert(key, node),
                    Some(other) if same(other, &node) => {}
                    Some(_) => {
                        let message = format!(
                            "`{}.{}` of the included project is declared here as well",
                            section.text, key.text
                        );
                        self.problems.push(item.problem("compose.include_conflict", message));
                    }
                }
            }
        }
    }
}

/// Whether what is included would have to be fetched.
fn is_elsewhere(path: &str) -> bool {
    path.contains("://") || ["git@", "github.com/", "oci:"].iter().any(|p| path.starts_with(p))
}

/// The texts under a key, one or several.
fn texts(node: &Node, key: &str) -> Vec<String> {
    let text = |node: &Node| node.as_scalar().map(|scalar| scalar.text.clone());
    match node.as_map().and_then(|map| map.get(key)) {
        Some(node) => match node.as_seq() {
            Some(items) => items.iter().filter_map(text).collect(),
            None => text(node).into_iter().collect(),
        },
        None => Vec::new(),
    }
}

/// Equal but for the places and the order of keys.
fn same(left: &Node, right: &Node) -> bool {
    match (&left.value, &right.value) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar(left), Value::Scalar(right)) => left == right,
        (Value::Seq(left), Value::Seq(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Map(left), Value::Map(right)) => {
            left.0.len() == right.0.len()
                && left.0.iter().all(|(k, l)| right.get(&k.text).is_some_and(|r| same(l, r)))
        }
        _ => false,
    }
}
