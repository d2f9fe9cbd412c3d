//! Works out the environment and labels of a service. Owns the precedence: `environment` over
//! `env_file`, a later file over an earlier one; likewise `labels` over `label_file`. Face:
//! `Loader::resolve_environment`. Never lets the client's variables in unless a file names them.

use std::collections::BTreeMap;

use super::dotenv;
use super::interpolate::Variables;
use super::load::{Answer, Halt, Loader};
use crate::base::yaml::{Key, Map, Mark, Node, Value};
use crate::base::{Diagnostic, Secret};

impl Loader<'_> {
    /// Replaces `env_file` and `label_file` by what they hold, and names without a value by the
    /// client's variables of these names.
    pub(super) fn resolve_environment(
        &mut self,
        service: &mut Map,
        variables: &Variables,
    ) -> Result<(), Halt> {
        if let Some(Value::Map(build)) = service.get_mut("build").map(|node| &mut node.value) {
            inherit(build, "args", variables);
            // One that stays without a value leaves the Dockerfile its own.
            if let Some(Value::Map(args)) = build.get_mut("args").map(|node| &mut node.value) {
                args.0.retain(|(_, value)| !value.is_null());
            }
        }
        inherit(service, "environment", variables);
        let mut values = Values::new();
        if let Some((_, files)) = service.remove("env_file") {
            for file in files.as_seq().unwrap_or_default() {
                self.read_env_file(file, variables, &mut values)?;
            }
        }
        lay_below(service, "environment", values);
        let mut labels = Values::new();
        if let Some((_, files)) = service.remove("label_file") {
            for file in files.as_seq().unwrap_or_default() {
                let Some(path) = file.as_scalar() else { continue };
                self.bytes(&path.text, Some(&file.mark))?;
                let read = self.env_values(&path.text, variables)?;
                labels.extend(read.into_iter().map(|(k, v)| (k, (v, file.mark.clone()))));
            }
        }
        lay_below(service, "labels", labels);
        Ok(())
    }

    /// The values of configs and secrets that are taken from variables. One that is not set is a
    /// warning: the model can be printed, and only a deployment needs it.
    pub(super) fn values_of_resources(
        &mut self,
        model: &Map,
        variables: &Variables,
    ) -> BTreeMap<String, Secret<String>> {
        let mut values = BTreeMap::new();
        for section in ["configs", "secrets"] {
            let entries = model.get(section).and_then(Node::as_map);
            for (key, node) in entries.map(|map| map.0.as_slice()).unwrap_or_default() {
                let variable = node.as_map().and_then(|map| map.get("environment"));
                let Some(name) = variable.and_then(Node::as_scalar) else { continue };
                match variables.get(&name.text) {
                    Some(value) => {
                        let place = format!("{section}.{}", key.text);
                        values.insert(place, Secret::new(value.to_owned()));
                    }
                    None => {
                        let message = format!("variable `{}` is not set", name.text);
                        let warning = key.mark.problem("compose.variable_unset", message);
                        self.warnings.push(warning.help("a deployment will need it"));
                    }
                }
            }
        }
        values
    }

    fn read_env_file(
        &mut self,
        file: &Node,
        variables: &Variables,
        values: &mut Values,
    ) -> Result<(), Halt> {
        let field = |key: &str| Some(file.as_map()?.get(key)?.as_scalar()?.text.as_str());
        let Some(path) = field("path") else { return Ok(()) };
        match self.fetch(path)? {
            Answer::Missing if field("required") == Some("false") => return Ok(()),
            Answer::Missing => {
                let message = format!("env file `{}` not found", self.shown(path));
                let problem = Diagnostic::new("compose.file_missing", message);
                let help = "create it, or say `required: false`";
                self.problems.push(problem.at(file.mark.location()).help(help));
                return Ok(());
            }
            _ => {}
        }
        self.bytes(path, Some(&file.mark))?;
        let read = if field("format") == Some("raw") {
            dotenv::parse_raw(self.text(path, Some(&file.mark))?)
        } else {
            // What an earlier file set wins over the client's variables of the same name.
            let mut known = variables.fork().into_values();
            known.extend(values.iter().map(|(name, (value, _))| (name.clone(), value.clone())));
            let known = Variables::new(known);
            let read = self.env_values(path, &known)?;
            variables.join(&known);
            read
        };
        values.extend(read.into_iter().map(|(k, v)| (k, (v, file.mark.clone()))));
        Ok(())
    }
}

type Values = BTreeMap<String, (String, Mark)>;

/// Gives names without a value the client's variable, when there is one.
fn inherit(map: &mut Map, key: &str, variables: &Variables) {
    let Some(Value::Map(pairs)) = map.get_mut(key).map(|node| &mut node.value) else { return };
    for (name, node) in &mut pairs.0 {
        if node.is_null()
            && let Some(value) = variables.get(&name.text)
        {
            *node = Node::text(value, node.mark.clone());
        }
    }
}

/// Adds values for names that are not there.
fn lay_below(map: &mut Map, key: &str, values: Values) {
    let Some((_, first)) = values.values().next() else { return };
    let key_node = Key { text: key.to_owned(), plain: false, mark: first.clone() };
    if map.get(key).is_none() {
        let empty = Node::new(Value::Map(Map::default()), first.clone());
        map.insert(key_node, empty);
    }
    let Some(Value::Map(pairs)) = map.get_mut(key).map(|node| &mut node.value) else { return };
    for (name, (value, mark)) in values {
        if pairs.get(&name).is_none() {
            let name = Key { text: name, plain: false, mark: mark.clone() };
            pairs.insert(name, Node::text(value, mark));
        }
    }
}
