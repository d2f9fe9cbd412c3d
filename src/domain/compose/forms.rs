//! Spells out short forms. Owns what each of them means. Face: `expand`, `settle_paths`. Never
//! checks the long form: the schema does that afterwards.

use super::paths::clean;
use super::ports;
use super::read::{Reading, bare, integer, is_remote, quoted};
use super::schema::Form;
use crate::base::yaml::{Key, Map, Mark, Node, Value};

/// What a short form became.
pub(super) enum Expanded {
    /// The long form, still to be read.
    Long(Node),
    /// The final value.
    Done(Node),
}

/// The long form of a value; a long form stays as it is. `None` after a reported problem.
pub(super) fn expand(
    reading: &mut Reading<'_>,
    node: Node,
    form: Form,
    key: &str,
) -> Option<Expanded> {
    let text = node.as_scalar().map(|scalar| scalar.to_text());
    let mark = node.mark.clone();
    let long = match (form, text) {
        (Form::Build, Some(text)) => map(&mark, [("context", text)]),
        (Form::Extends, Some(text)) => map(&mark, [("service", text)]),
        (Form::Include, Some(text)) => map(&mark, [("path", text)]),
        (Form::Reference | Form::SecretReference, Some(source)) => map(&mark, [("source", source)]),
        (Form::OneOrMore | Form::Ssh, Some(text)) => {
            Node::new(Value::Seq(vec![Node::text(text, mark.clone())]), mark)
        }
        (Form::Mount, Some(text)) => return mount(reading, &node, &text).map(Expanded::Long),
        (Form::Device, Some(text)) => return device(reading, &node, &text).map(Expanded::Long),
        (Form::EnvFile, Some(text)) => {
            Node::new(Value::Seq(vec![map(&mark, [("path", text)])]), mark)
        }
        (Form::EnvFile, None) => each_text_in(node, |text, mark| map(mark, [("path", text)])),
        (Form::Gpus, Some(text)) if text == "all" => {
            Node::new(Value::Seq(vec![map(&mark, [("count", text)])]), mark)
        }
        (Form::Ulimit, Some(_)) => {
            let Some(limit) = node.as_scalar().and_then(integer) else {
                reading.wrong_kind(&node, key, "a whole number, or `soft` and `hard`");
                return None;
            };
            let limit = Node::new(Value::Scalar(bare(limit.to_string())), mark);
            return Some(Expanded::Done(limit));
        }
        (Form::External, None) => return external(reading, node, key),
        (Form::Ports, None) => return ports(reading, node, key),
        (Form::DependsOn, None) => {
            reading.refuse_doubles(node.as_seq().unwrap_or_default(), key);
            names(node, |mark| map(mark, [("condition", "service_started".to_owned())]))
        }
        (Form::Networks, None) => {
            reading.refuse_doubles(node.as_seq().unwrap_or_default(), key);
            names(node, |mark| Node::new(Value::Null, mark.clone()))
        }
        (Form::Ssh, None) => match node.value {
            Value::Map(pairs) => {
                let lines = pairs.0.into_iter().map(|(name, value)| {
                    let path = value.as_scalar().map(|scalar| scalar.to_text());
                    let line = path.map(|path| format!("{}={path}", name.text));
                    Node::text(line.unwrap_or(name.text), name.mark)
                });
                Node::new(Value::Seq(lines.collect()), mark)
            }
            _ => node,
        },
        _ => node,
    };
    Some(Expanded::Long(long))
}

/// Makes the paths of a long form absolute where another key says that it is a path.
pub(super) fn settle_paths(reading: &mut Reading<'_>, mut node: Node, form: Form) -> Node {
    let Value::Map(map) = &mut node.value else { return node };
    match form {
        Form::Mount => {
            if reading.takes_as_meant {
                complete_mount(reading, map, &node.mark);
            }
            let is_bind = text_of(map, "type") == Some("bind");
            rewrite(map, "source", |source| match is_bind {
                true => reading.absolute(source),
                false => source.to_owned(),
            });
            rewrite(map, "target", |target| match target {
                "" => String::new(),
                _ => clean(target),
            });
        }
        Form::Build => {
            if let Some(Value::Map(contexts)) =
                map.get_mut("additional_contexts").map(|node| &mut node.value)
            {
                let names: Vec<String> = contexts.0.iter().map(|(k, _)| k.text.clone()).collect();
                for name in names {
                    rewrite(contexts, &name, |context| match is_remote(context) {
                        true => context.to_owned(),
                        false => reading.absolute(context),
                    });
                }
            }
        }
        Form::Volume => {
            let is_local = text_of(map, "driver") == Some("local");
            if let Some(Value::Map(options)) =
                map.get_mut("driver_opts").map(|node| &mut node.value)
                && is_local
                && text_of(options, "o") == Some("bind")
            {
                rewrite(options, "device", |device| reading.absolute(device));
            }
        }
        _ => {}
    }
    node
}

/// What a mount leaves out and yet plainly means.
fn complete_mount(reading: &mut Reading<'_>, map: &mut Map, mark: &Mark) {
    let Some(source) = text_of(map, "source").map(str::to_owned) else { return };
    let kind = if is_path(&source) { "bind" } else { "volume" };
    for (name, text) in [("type", kind), ("target", &source)] {
        if map.get(name).is_none() {
            reading.refuse(
                mark,
                "compose.missing_key",
                format!("`{name}` is missing in `volumes`"),
            );
            map.insert(key(name, mark), Node::text(text, mark.clone()));
        }
    }
}

fn text_of<'a>(map: &'a Map, key: &str) -> Option<&'a str> {
    Some(map.get(key)?.as_scalar()?.text.as_str())
}

fn rewrite(map: &mut Map, key: &str, change: impl FnOnce(&str) -> String) {
    if let Some(Value::Scalar(scalar)) = map.get_mut(key).map(|node| &mut node.value) {
        *scalar = quoted(change(&scalar.text));
    }
}

fn key(name: &str, mark: &Mark) -> Key {
    Key { text: name.to_owned(), plain: false, mark: mark.clone() }
}

/// A mapping of texts at one place.
fn map<const N: usize>(mark: &Mark, entries: [(&str, String); N]) -> Node {
    let entries =
        entries.into_iter().map(|(name, text)| (key(name, mark), Node::text(text, mark.clone())));
    Node::new(Value::Map(Map(entries.collect())), mark.clone())
}

/// Puts an entry into a mapping that stands at the place of its short form.
fn put(node: &mut Node, name: &str, value: Value) {
    let mark = node.mark.clone();
    if let Value::Map(map) = &mut node.value {
        map.insert(key(name, &mark), Node::new(value, mark.clone()));
    }
}

fn each_text_in(mut node: Node, long: impl Fn(String, &Mark) -> Node) -> Node {
    if let Value::Seq(items) = &mut node.value {
        for item in items {
            if let Some(text) = item.as_scalar().map(|scalar| scalar.to_text()) {
                *item = long(text, &item.mark);
            }
        }
    }
    node
}

/// A list of names as a mapping; anything else stays.
fn names(node: Node, value: impl Fn(&Mark) -> Node) -> Node {
    let all_texts = |items: &[Node]| items.iter().all(|item| item.as_scalar().is_some());
    match node.value {
        Value::Seq(items) if all_texts(&items) => {
            let mut entries = Map::default();
            for item in items {
                if let Some(text) = item.as_scalar().map(|scalar| scalar.to_text()) {
                    entries.insert(key(&text, &item.mark), value(&item.mark));
                }
            }
            Node { value: Value::Map(entries), ..Node::new(Value::Null, node.mark) }
        }
        value => Node { value, ..Node::new(Value::Null, node.mark) },
    }
}

fn external(reading: &mut Reading<'_>, node: Node, key: &str) -> Option<Expanded> {
    match &node.value {
        Value::Map(map) if map.0.iter().all(|(name, _)| name.text == "name") => {
            let message = "`external` with a mapping is an old form";
            let warning = node.problem("compose.old_form", message);
            reading.warnings.push(warning.help("write `external: true` and `name: …`"));
            Some(Expanded::Done(node))
        }
        _ => {
            reading.wrong_kind(&node, key, "`true` or `false`");
            None
        }
    }
}

fn ports(reading: &mut Reading<'_>, node: Node, key: &str) -> Option<Expanded> {
    let Value::Seq(items) = node.value else {
        reading.wrong_kind(&node, key, "a list");
        return None;
    };
    let mut long = Vec::new();
    for item in items {
        let Some(spec) = item.as_scalar().map(|scalar| scalar.to_text()) else {
            long.push(item);
            continue;
        };
        let parsed = ports::parse(&spec);
        if parsed.is_err() && reading.takes_as_meant {
            long.push(long_port(ports::as_meant(&spec), &item.mark));
        }
        match parsed {
            Ok(ports) => long.extend(ports.into_iter().map(|port| long_port(port, &item.mark))),
            Err(reason) => {
                let message = format!("`{spec}` is not a port: {reason}");
                let problem = item.problem("compose.port", message);
                let help = "write `published:target`, such as \"8080:80\", in quotes";
                reading.problems.push(problem.help(help));
            }
        }
    }
    Some(Expanded::Long(Node::new(Value::Seq(long), node.mark)))
}

fn long_port(port: ports::Port, mark: &Mark) -> Node {
    let mut node = map(mark, [("mode", "ingress".to_owned()), ("protocol", port.protocol)]);
    put(&mut node, "target", Value::Scalar(bare(port.target.to_string())));
    if let Some(published) = port.published {
        put(&mut node, "published", Value::Scalar(quoted(published)));
    }
    if let Some(host_ip) = port.host_ip {
        put(&mut node, "host_ip", Value::Scalar(quoted(host_ip)));
    }
    node
}

fn device(reading: &mut Reading<'_>, node: &Node, text: &str) -> Option<Node> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            let message = format!("`{text}` is not a device mapping");
            reading.refuse(&node.mark, "compose.device", message);
            return None;
        }
    };
    let entries = [("source", source), ("target", target), ("permissions", permissions)];
    Some(map(&node.mark, entries.map(|(name, text)| (name, text.to_owned()))))
}

const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

/// `[source:]target[:options]`; a source that looks like a path is a bind mount.
fn mount(reading: &mut Reading<'_>, node: &Node, text: &str) -> Option<Node> {
    if (1..=2).contains(&text.len()) {
        // Too short to have parts, as Docker Compose sees it.
        return Some(map(&node.mark, [("type", "volume".to_owned()), ("target", text.to_owned())]));
    }
    let parts = split_mount(text);
    let problem = if parts.iter().any(String::is_empty) {
        Some("an empty section between colons")
    } else if parts.len() > 3 {
        Some("too many colons")
    } else {
        None
    };
    if let Some(problem) = problem {
        let message = format!("`{text}` is not a mount: {problem}");
        reading.refuse(&node.mark, "compose.mount", message);
        return None;
    }
    let (source, target) = match &parts[..] {
        [target] => (None, target),
        [source, target, ..] => (Some(source.as_str()), target),
        [] => return None,
    };
    let is_bind = source.is_some_and(is_path);
    let kind = if is_bind { "bind" } else { "volume" };
    let mut long = map(&node.mark, [("type", kind.to_owned()), ("target", target.clone())]);
    if let Some(source) = source {
        put(&mut long, "source", Value::Scalar(quoted(source)));
    }
    // Options of the other kind are kept as well: Docker Compose prints them.
    let (mut bind, mut volume) = (map(&node.mark, []), map(&node.mark, []));
    for option in parts.get(2).map_or("", String::as_str).split(',') {
        match option {
            "ro" => put(&mut long, "read_only", Value::Scalar(bare("true"))),
            "nocopy" => put(&mut volume, "nocopy", Value::Scalar(bare("true"))),
            "z" | "Z" => put(&mut bind, "selinux", Value::Scalar(quoted(option))),
            _ if PROPAGATIONS.contains(&option) => {
                put(&mut bind, "propagation", Value::Scalar(quoted(option)));
            }
            "rw" | "" => {}
            _ => {
                let message = format!("the mount option `{option}` has no effect here");
                let warning = node.problem("compose.mount_option", message);
                reading.warnings.push(warning);
            }
        }
    }
    let other = if is_bind { &volume } else { &bind };
    for (option, _) in other.as_map().map(|map| map.0.as_slice()).unwrap_or_default() {
        let message = format!("the mount option `{}` has no effect on a {kind}", option.text);
        reading.warnings.push(node.problem("compose.mount_option", message));
    }
    if is_bind {
        put(&mut bind, "create_host_path", Value::Scalar(bare("true")));
    }
    for (name, details, is_own) in [("bind", bind, is_bind), ("volume", volume, !is_bind)] {
        if is_own || details.as_map().is_some_and(|map| !map.0.is_empty()) {
            put(&mut long, name, details.value);
        }
    }
    Some(long)
}

/// Splits at colons, except the one of a Windows drive letter.
fn split_mount(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for character in text.chars() {
        let part = parts.last().map_or("", String::as_str);
        let is_drive = part.len() == 1 && part.starts_with(|c: char| c.is_ascii_alphabetic());
        match parts.last_mut() {
            Some(part) if character != ':' || is_drive => part.push(character),
            _ => parts.push(String::new()),
        }
    }
    parts
}

fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
        || source.starts_with("\\\\")
        || (source.as_bytes().get(1) == Some(&b':')
            && source.starts_with(|c: char| c.is_ascii_alphabetic()))
}
