//! Checks that the parts of a model fit together: references, cycles, contradictions. Owns these
//! rules. Face: `check`. Never looks at one value alone: the schema has done that.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Diagnostic;
use crate::base::suggest::closest;
use crate::base::yaml::{Key, Map, Mark, Node};

/// Reports everything that does not fit. `disabled` are services whose profiles are not active.
pub(super) fn check(model: &Map, disabled: &BTreeSet<String>, problems: &mut Vec<Diagnostic>) {
    let mut checker = Checker { model, disabled, problems };
    for (key, node) in section(model, "services") {
        if let Some(service) = node.as_map() {
            checker.service(key, service);
        }
    }
    for name in ["networks", "volumes", "configs", "secrets"] {
        for (key, node) in section(model, name) {
            if let Some(resource) = node.as_map() {
                checker.resource(name, key, resource);
            } else if node.is_null() && matches!(name, "configs" | "secrets") {
                checker.resource(name, key, &Map::default());
            }
        }
    }
    checker.container_names();
    checker.cycles();
}

struct Checker<'a> {
    model: &'a Map,
    disabled: &'a BTreeSet<String>,
    problems: &'a mut Vec<Diagnostic>,
}

fn section<'m>(model: &'m Map, name: &str) -> &'m [(Key, Node)] {
    model.get(name).and_then(Node::as_map).map(|map| map.0.as_slice()).unwrap_or_default()
}

fn items<'m>(map: &'m Map, key: &str) -> &'m [Node] {
    map.get(key).and_then(Node::as_seq).unwrap_or_default()
}

fn text<'m>(map: &'m Map, key: &str) -> Option<&'m str> {
    let text = map.get(key)?.as_scalar()?.text.as_str();
    (!text.is_empty()).then_some(text)
}

impl Checker<'_> {
    fn report(&mut self, mark: &Mark, message: String, help: Option<String>) {
        let problem = mark.problem("compose.inconsistent", message);
        self.problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    fn service(&mut self, key: &Key, service: &Map) {
        let name = &key.text;
        let build = service.get("build").and_then(Node::as_map);
        let is_provided = service.get("provider").is_some();
        if text(service, "image").is_none() && build.is_none() && !is_provided {
            let message = format!("service `{name}` has neither an image nor a build context");
            self.report(&key.mark, message, Some("add `image:` or `build:`".to_owned()));
        }
        self.service_networks(name, service);
        for (dependency, fields) in section(service, "depends_on") {
            let required = fields.as_map().and_then(|fields| text(fields, "required"));
            if required != Some("false") || !self.disabled.contains(&dependency.text) {
                self.dependency(name, dependency);
            }
        }
        for port in items(service, "ports") {
            let target = port.as_map().and_then(|map| text(map, "target"));
            if target.is_none_or(|target| target.parse::<u16>() == Ok(0)) {
                let message = format!("a port of service `{name}` has no number in the container");
                let help = "name the port that the program listens to, from 1 to 65535".to_owned();
                self.report(&port.mark, message, Some(help));
            }
        }
        for mount in items(service, "volumes") {
            let Some(map) = mount.as_map() else { continue };
            if text(map, "target").is_none() {
                let message = format!("a mount of service `{name}` has no target");
                self.report(&mount.mark, message, None);
            }
            if let (Some("volume"), Some(source)) = (text(map, "type"), text(map, "source")) {
                self.reference(name, "volumes", "volume", source, &mount.mark);
            }
        }
        let build_secrets = build.map(|build| items(build, "secrets")).unwrap_or_default();
        let secrets = items(service, "secrets").iter().chain(build_secrets);
        let secrets = secrets.map(|item| ("secrets", "secret", item));
        let configs = items(service, "configs").iter().map(|item| ("configs", "config", item));
        for (section, noun, item) in secrets.chain(configs) {
            if let Some(source) = item.as_map().and_then(|map| text(map, "source")) {
                self.reference(name, section, noun, source, &item.mark);
            }
        }
        self.contradictions(name, service, build);
    }

    fn service_networks(&mut self, name: &str, service: &Map) {
        let networks = section(service, "networks");
        if let (Some(mode), Some((first, _))) = (service.get("network_mode"), networks.first()) {
            let message = format!(
                "service `{name}` declares `network_mode` and `networks`, which exclude each other"
            );
            let help = format!("`networks` is in line {}", first.mark.location().line);
            self.report(&mode.mark, message, Some(help));
        }
        for (network, _) in networks {
            if network.text != "default" {
                self.reference(name, "networks", "network", &network.text, &network.mark);
            }
        }
    }

    fn dependency(&mut self, name: &str, dependency: &Key) {
        let target = &dependency.text;
        let services = section(self.model, "services");
        if services.iter().any(|(key, _)| key.text == *target) {
            return;
        }
        let (message, help) = if self.disabled.contains(target) {
            let message = format!("service `{name}` depends on `{target}`, which is not active");
            (message, Some("activate one of its profiles with --profile".to_owned()))
        } else {
            let near = closest(target, services.iter().map(|(key, _)| key.text.as_str()));
            let message = format!("service `{name}` depends on undefined service `{target}`");
            (message, near.map(|near| format!("did you mean `{near}`?")))
        };
        self.report(&dependency.mark, message, help);
    }

    fn reference(&mut self, name: &str, place: &str, noun: &str, target: &str, mark: &Mark) {
        let known = section(self.model, place);
        if known.iter().any(|(key, _)| key.text == target) {
            return;
        }
        let near = closest(target, known.iter().map(|(key, _)| key.text.as_str()));
        let message = format!("service `{name}` refers to undefined {noun} `{target}`");
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it under the top-level `{place}:`"),
        };
        self.report(mark, message, Some(help));
    }

    fn contradictions(&mut self, name: &str, service: &Map, build: Option<&Map>) {
        let deploy = service.get("deploy").and_then(Node::as_map);
        let replicas = deploy.and_then(|deploy| deploy.get("replicas"));
        let count = |node: Option<&Node>| node?.as_scalar()?.text.parse::<i64>().ok();
        if let (Some(scale), Some(replicas)) = (count(service.get("scale")), count(replicas))
            && scale != replicas
        {
            let mark = service.get("scale").map(|node| node.mark.clone());
            let message = format!("service `{name}`: `scale` and `deploy.replicas` differ");
            if let Some(mark) = mark {
                self.report(&mark, message, None);
            }
        }
        self.distinct_limits(name, service, deploy);
        let wanted = count(replicas).or_else(|| count(service.get("scale"))).unwrap_or(1);
        if let Some(node) = service.get("container_name").filter(|_| wanted > 1) {
            let message = format!("service `{name}` has `container_name` and {wanted} replicas");
            let help = "names of containers are unique: remove `container_name`";
            self.report(&node.mark, message, Some(help.to_owned()));
        }
        if let (Some(node), Some(platform), Some(build)) =
            (service.get("platform"), text(service, "platform"), build)
        {
            let platforms = items(build, "platforms");
            let listed =
                |item: &Node| item.as_scalar().is_some_and(|scalar| scalar.text == platform);
            if !platforms.is_empty() && !platforms.iter().any(listed) {
                let message = format!(
                    "service `{name}`: `build.platforms` must include `platform` `{platform}`"
                );
                self.report(&node.mark, message, None);
            }
        }
        if let Some(build) = build
            && let (Some(node), Some(_)) = (build.get("dockerfile_inline"), build.get("dockerfile"))
        {
            let both = "`dockerfile` and `dockerfile_inline` exclude each other";
            self.report(&node.mark, format!("service `{name}`: {both}"), None);
        }
    }

    /// What is said twice must be said alike: as a key of the service and below `deploy`.
    fn distinct_limits(&mut self, name: &str, service: &Map, deploy: Option<&Map>) {
        const TWICE: [(&str, &str, &str); 4] = [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("pids_limit", "limits", "pids"),
            ("mem_reservation", "reservations", "memory"),
        ];
        let resources = deploy.and_then(|deploy| deploy.get("resources")?.as_map());
        for (own, kind, below) in TWICE {
            let side = resources.and_then(|resources| resources.get(kind)?.as_map());
            let (Some(node), Some(left)) = (service.get(own), text(service, own)) else { continue };
            let Some(right) = side.and_then(|side| text(side, below)) else { continue };
            if left != "0" && left != right {
                let message = format!(
                    "service `{name}`: `{own}` and `deploy.resources.{kind}.{below}` differ"
                );
                self.report(&node.mark, message, None);
            }
        }
    }

    fn resource(&mut self, place: &str, key: &Key, resource: &Map) {
        let name = &key.text;
        let is_external = resource.get("external").is_some_and(|node| {
            node.as_map().is_some() || text(resource, "external") == Some("true")
        });
        if is_external {
            for (other, node) in &resource.0 {
                // The canonical model shows an empty `ipam` for every network.
                let is_empty = node.as_map().is_some_and(|map| map.0.is_empty());
                let allowed = ["name", "external"].contains(&other.text.as_str());
                if !allowed && !is_empty && !other.text.starts_with("x-") {
                    let message =
                        format!("`{place}.{name}` is external and declares `{}`", other.text);
                    let help = "what is made elsewhere can only be named here";
                    self.report(&other.mark, message, Some(help.to_owned()));
                }
            }
            return;
        }
        let sources: &[&str] = match place {
            "configs" => &["file", "environment", "content"],
            "secrets" => &["file", "environment"],
            _ => return,
        };
        let given = sources.iter().filter(|source| resource.get(source).is_some()).count();
        let has_driver = resource.get("driver").is_some();
        if given != 1 && !(given == 0 && has_driver) {
            let message =
                format!("`{place}.{name}` needs exactly one of `{}`", sources.join("`, `"));
            self.report(&key.mark, message, None);
        }
    }

    /// Names of containers are unique on an engine.
    fn container_names(&mut self) {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, node) in section(self.model, "services") {
            let Some(service) = node.as_map() else { continue };
            let (Some(given), Some(name)) =
                (service.get("container_name"), text(service, "container_name"))
            else {
                continue;
            };
            if let Some(owner) = owners.insert(name, &key.text) {
                let message = format!(
                    "services `{owner}` and `{}` have the same `container_name` `{name}`",
                    key.text
                );
                self.report(&given.mark, message, Some("give each its own, or none".to_owned()));
            }
        }
    }

    /// Reports each dependency that closes a circle.
    fn cycles(&mut self) {
        let mut edges: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
        for (key, node) in section(self.model, "services") {
            let service = node.as_map();
            let dependencies = service.map(|map| section(map, "depends_on")).unwrap_or_default();
            edges.insert(&key.text, dependencies.iter().map(|(key, _)| key).collect());
        }
        let mut done: BTreeSet<&str> = BTreeSet::new();
        let names: Vec<&str> = edges.keys().copied().collect();
        for name in names {
            let mut path = Vec::new();
            if let Some((mark, names)) = find_cycle(name, &edges, &mut done, &mut path) {
                let message = format!("dependency cycle: {}", names.join(" → "));
                self.report(mark, message, Some("remove one of these dependencies".to_owned()));
            }
        }
    }
}

/// Walks in depth, without recursion: a chain may be as long as the file.
fn find_cycle<'a>(
    start: &'a str,
    edges: &BTreeMap<&'a str, Vec<&'a Key>>,
    done: &mut BTreeSet<&'a str>,
    path: &mut Vec<(&'a str, usize)>,
) -> Option<(&'a Mark, Vec<&'a str>)> {
    if done.contains(start) {
        return None;
    }
    path.push((start, 0));
    while let Some((name, next)) = path.last_mut() {
        let name = *name;
        let Some(key) = edges.get(name).and_then(|keys| keys.get(*next)) else {
            done.insert(name);
            path.pop();
            continue;
        };
        *next += 1;
        let target = key.text.as_str();
        if let Some(from) = path.iter().position(|(name, _)| *name == target) {
            let mut names: Vec<&str> = path[from..].iter().map(|(name, _)| *name).collect();
            names.push(target);
            done.extend(path.iter().map(|(name, _)| *name));
            return Some((&key.mark, names));
        }
        if edges.contains_key(target) && !done.contains(target) {
            path.push((target, 0));
        }
    }
    None
}
