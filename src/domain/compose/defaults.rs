//! Completes the merged model: profiles, defaults, names, implicit networks and dependencies. Owns
//! the order of these steps and what each default is. Face: `Loader::complete`. Never changes what
//! the files say.

use std::collections::BTreeSet;

use super::check;
use super::interpolate::Variables;
use super::keys::FILE_SHAPE;
use super::load::{Halt, Loader, Strictness, no_place};
use super::no_effect;
use super::read::{bare, quoted, require};
use crate::base::yaml::{Key, Map, Mark, Node, Scalar, Value};

impl Loader<'_> {
    /// The final model, and the services whose profiles are not active.
    pub(super) fn complete(
        &mut self,
        model: Map,
        name: &str,
        directory: &str,
        variables: &Variables,
    ) -> Result<(Map, BTreeSet<String>), Halt> {
        let root = Node::new(Value::Map(model), no_place());
        require(&root, &FILE_SHAPE, "the file", &mut self.problems);
        let Value::Map(mut model) = root.value else {
            return Ok((Map::default(), BTreeSet::new()));
        };
        let disabled = self.drop_inactive(&mut model, variables);
        self.stop_at_problems()?;
        for service in entries_mut(&mut model, "services") {
            complete_service(service, directory);
        }
        check::check(&model, &disabled, &mut self.problems);
        self.stop_at_problems()?;
        if self.strictness == Strictness::PassOver {
            fill_in(&mut model, directory);
        }
        no_effect::warn(&model, &mut self.warnings);
        for (name, node) in
            model.get("services").and_then(Node::as_map).into_iter().flat_map(|m| &m.0)
        {
            if let Some(service) = node.as_map() {
                self.note_literals(&name.text, service);
            }
        }
        for service in entries_mut(&mut model, "services") {
            let resolved = self.resolve_environment(service, variables);
            self.or_pass_over(resolved)?;
        }
        name_resources(&mut model, name);
        keep_used(&mut model);
        Ok((model, disabled))
    }

    /// Takes out the services whose profiles are not active; answers their names.
    fn drop_inactive(&mut self, model: &mut Map, variables: &Variables) -> BTreeSet<String> {
        let set = variables.get("COMPOSE_PROFILES").unwrap_or_default();
        let mut active: BTreeSet<String> = match self.options.profiles.as_slice() {
            [] => set.split(',').map(|name| name.trim().to_owned()).collect(),
            given => given.iter().cloned().collect(),
        };
        let mut disabled = BTreeSet::new();
        let Some(Value::Map(services)) = model.get_mut("services").map(|node| &mut node.value)
        else {
            return disabled;
        };
        for name in &self.options.services {
            let profiles = services.get(name).and_then(|service| service.as_map()?.get("profiles"));
            let names = profiles.and_then(Node::as_seq).unwrap_or_default().iter();
            active.extend(names.filter_map(Node::as_scalar).map(|name| name.text.clone()));
        }
        services.0.retain(|(key, service)| {
            let Some(map) = service.as_map() else {
                let message = format!("service `{}` must be a mapping", key.text);
                self.problems.push(key.mark.problem("compose.wrong_kind", message));
                return false;
            };
            let profiles = map.get("profiles").and_then(Node::as_seq).unwrap_or_default();
            let is_active = |profile: &Node| {
                profile.as_scalar().is_some_and(|profile| active.contains(profile.text.as_str()))
            };
            let keep =
                profiles.is_empty() || active.contains("*") || profiles.iter().any(is_active);
            if !keep {
                disabled.insert(key.text.clone());
            }
            keep
        });
        disabled
    }
}

/// The mappings of a section.
fn entries_mut<'m>(model: &'m mut Map, section: &str) -> impl Iterator<Item = &'m mut Map> {
    map_in(model, section)
        .into_iter()
        .flat_map(|map| &mut map.0)
        .filter_map(|(_, node)| as_map_mut(node))
}

fn as_map_mut(node: &mut Node) -> Option<&mut Map> {
    match &mut node.value {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

fn map_in<'m>(map: &'m mut Map, key: &str) -> Option<&'m mut Map> {
    map.get_mut(key).and_then(as_map_mut)
}

fn items_in<'m>(map: &'m mut Map, key: &str) -> impl Iterator<Item = &'m mut Map> {
    let items = match map.get_mut(key).map(|node| &mut node.value) {
        Some(Value::Seq(items)) => items.as_mut_slice(),
        _ => &mut [],
    };
    items.iter_mut().filter_map(as_map_mut)
}

fn text_in<'m>(map: &'m Map, key: &str) -> Option<&'m str> {
    map.get(key)?.as_scalar().map(|scalar| scalar.text.as_str())
}

fn key(name: &str, mark: &Mark) -> Key {
    Key { text: name.to_owned(), plain: false, mark: mark.clone() }
}

/// Sets a key that is absent (empty text is a value); the place is that of a neighbour.
fn set_default(map: &mut Map, name: &str, value: Scalar) {
    if map.get(name).is_some() {
        return;
    }
    let mark = map.0.first().map_or_else(no_place, |(key, _)| key.mark.clone());
    map.insert(key(name, &mark), Node::new(Value::Scalar(value), mark.clone()));
}

fn complete_service(service: &mut Map, directory: &str) {
    if let Some(build) = map_in(service, "build") {
        set_default(build, "context", quoted(directory));
        if text_in(build, "dockerfile_inline").is_none_or(str::is_empty) {
            set_default(build, "dockerfile", quoted("Dockerfile"));
        }
    }
    for dependency in entries_mut(service, "depends_on") {
        set_default(dependency, "condition", quoted("service_started"));
        set_default(dependency, "required", bare("true"));
    }
    for port in items_in(service, "ports") {
        set_default(port, "mode", quoted("ingress"));
        set_default(port, "protocol", quoted("tcp"));
    }
    for secret in items_in(service, "secrets") {
        let target = format!("/run/secrets/{}", text_in(secret, "source").unwrap_or_default());
        set_default(secret, "target", quoted(target));
    }
    for request in items_in(service, "gpus") {
        ask_for_all_devices(request);
    }
    if text_in(service, "pull_policy") == Some("if_not_present")
        && let Some(node) = service.get_mut("pull_policy")
    {
        node.value = Value::Scalar(quoted("missing"));
    }
    add_default_network(service);
    add_dependencies(service);
}

/// What is referred to and declared nowhere stands for what a declaration without words would be.
fn fill_in(model: &mut Map, directory: &str) {
    let mut missing: Vec<(&str, String)> = Vec::new();
    for service in entries_mut(model, "services") {
        if service.get("image").is_none() && service.get("build").is_none() {
            let build = Node::new(Value::Map(Map::default()), no_place());
            service.insert(key("build", &no_place()), build);
            if let Some(build) = map_in(service, "build") {
                set_default(build, "context", quoted(directory));
                set_default(build, "dockerfile", quoted("Dockerfile"));
            }
        }
        let networks = map_in(service, "networks").map(|map| map.0.as_slice()).unwrap_or_default();
        missing.extend(networks.iter().map(|(key, _)| ("networks", key.text.clone())));
        for mount in items_in(service, "volumes") {
            if text_in(mount, "type") == Some("volume") {
                missing.extend(text_in(mount, "source").map(|name| ("volumes", name.to_owned())));
            }
        }
    }
    for (section, name) in missing {
        if model.get(section).is_none() {
            model.insert(
                key(section, &no_place()),
                Node::new(Value::Map(Map::default()), no_place()),
            );
        }
        if let Some(entries) = map_in(model, section)
            && entries.get(&name).is_none()
        {
            entries.insert(key(&name, &no_place()), Node::new(Value::Null, no_place()));
        }
    }
}

/// A request that neither counts nor names devices means all of them.
fn ask_for_all_devices(request: &mut Map) {
    if request.get("device_ids").is_none() {
        set_default(request, "count", bare("-1"));
    }
}

/// A service that names no network joins the one called `default`.
fn add_default_network(service: &mut Map) {
    let has_mode = text_in(service, "network_mode").is_some_and(|mode| !mode.is_empty());
    let has_networks = map_in(service, "networks").is_some_and(|networks| !networks.0.is_empty());
    if !has_mode && !has_networks {
        let network = (key("default", &no_place()), Node::new(Value::Null, no_place()));
        let networks = Node::new(Value::Map(Map(vec![network])), no_place());
        service.insert(key("networks", &no_place()), networks);
    }
}

/// Links, shared namespaces and shared volumes make a service depend on another one.
fn add_dependencies(service: &mut Map) {
    let mut found: Vec<(String, bool, Mark)> = Vec::new();
    let texts = |name: &str| -> Vec<(String, Mark)> {
        let items = service.get(name).and_then(Node::as_seq).unwrap_or_default();
        let text = |node: &Node| Some((node.as_scalar()?.text.clone(), node.mark.clone()));
        items.iter().filter_map(text).collect()
    };
    for (link, mark) in texts("links") {
        found.push((link.split(':').next().unwrap_or_default().to_owned(), true, mark));
    }
    for name in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(name) {
            let text = node.as_scalar().map_or("", |scalar| scalar.text.as_str());
            if let Some(other) = text.strip_prefix("service:") {
                found.push((other.to_owned(), true, node.mark.clone()));
            }
        }
    }
    for (volumes, mark) in texts("volumes_from") {
        if !volumes.starts_with("container:") {
            found.push((volumes.split(':').next().unwrap_or_default().to_owned(), false, mark));
        }
    }
    if found.is_empty() {
        return;
    }
    if service.get("depends_on").is_none() {
        let empty = Node::new(Value::Map(Map::default()), no_place());
        service.insert(key("depends_on", &no_place()), empty);
    }
    let Some(dependencies) = map_in(service, "depends_on") else { return };
    for (name, restart, mark) in found {
        if dependencies.get(&name).is_some() {
            continue;
        }
        let mut fields = Map::default();
        let mut put = |name: &str, value: Scalar| {
            fields.insert(key(name, &mark), Node::new(Value::Scalar(value), mark.clone()));
        };
        put("condition", quoted("service_started"));
        put("required", bare("true"));
        put("restart", bare(restart.to_string()));
        dependencies.insert(key(&name, &mark), Node::new(Value::Map(fields), mark.clone()));
    }
}

/// Gives networks, volumes, configs and secrets their names on the engine.
fn name_resources(model: &mut Map, project: &str) {
    let uses_default = entries_mut(model, "services")
        .any(|service| map_in(service, "networks").is_some_and(|map| map.get("default").is_some()));
    if uses_default {
        if model.get("networks").is_none() {
            let empty = Node::new(Value::Map(Map::default()), no_place());
            model.insert(key("networks", &no_place()), empty);
        }
        if let Some(networks) = map_in(model, "networks")
            && networks.get("default").is_none()
        {
            let empty = Node::new(Value::Map(Map::default()), no_place());
            networks.insert(key("default", &no_place()), empty);
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        let Some(entries) = map_in(model, section) else { continue };
        for (name, node) in &mut entries.0 {
            if node.is_null() {
                node.value = Value::Map(Map::default());
            }
            let Value::Map(map) = &mut node.value else { continue };
            relocate_external_name(map);
            let is_external = text_in(map, "external") == Some("true");
            let engine_name =
                if is_external { name.text.clone() } else { format!("{project}_{}", name.text) };
            set_default(map, "name", quoted(engine_name));
        }
    }
}

/// The old `external: {name: x}` means `external: true` and `name: x`.
fn relocate_external_name(map: &mut Map) {
    let Some(external) = map.get_mut("external") else { return };
    let Value::Map(old) = &external.value else { return };
    let name = text_in(old, "name").map(str::to_owned);
    external.value = Value::Scalar(bare("true"));
    if let Some(name) = name {
        set_default(map, "name", quoted(name));
    }
}

/// Drops networks, volumes, configs and secrets that no active service uses.
fn keep_used(model: &mut Map) {
    let mut used: BTreeSet<(&str, String)> = BTreeSet::new();
    for service in entries_mut(model, "services") {
        let networks = map_in(service, "networks").map(|map| map.0.as_slice()).unwrap_or_default();
        used.extend(networks.iter().map(|(key, _)| ("networks", key.text.clone())));
        for mount in items_in(service, "volumes") {
            if text_in(mount, "type") == Some("volume") {
                used.extend(text_in(mount, "source").map(|name| ("volumes", name.to_owned())));
            }
        }
        for section in ["configs", "secrets"] {
            for reference in items_in(service, section) {
                used.extend(text_in(reference, "source").map(|name| (section, name.to_owned())));
            }
        }
        if let Some(build) = map_in(service, "build") {
            for secret in items_in(build, "secrets") {
                used.extend(text_in(secret, "source").map(|name| ("secrets", name.to_owned())));
            }
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        if let Some(entries) = map_in(model, section) {
            entries.0.retain(|(key, _)| used.contains(&(section, key.text.clone())));
        }
    }
}
