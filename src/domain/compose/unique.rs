//! Says which items of a list mean the same thing. Owns the identity of ports, mounts and
//! references. Face: `without_doubles`. Never compares more than that identity: the later item
//! wins.

use super::schema::Unique;
use crate::base::yaml::{Node, Value};

/// The items without those that a later one replaces; the first one's place is kept.
pub(super) fn without_doubles(items: Vec<Node>, unique: Unique) -> Vec<Node> {
    if unique == Unique::No {
        return items;
    }
    let mut places = std::collections::BTreeMap::new();
    let mut kept: Vec<Node> = Vec::new();
    for item in items {
        let Some(identity) = identity(&item, unique) else {
            kept.push(item);
            continue;
        };
        match places.get(&identity) {
            Some(place) => kept[*place] = item,
            None => {
                places.insert(identity, kept.len());
                kept.push(item);
            }
        }
    }
    kept
}

fn identity(item: &Node, unique: Unique) -> Option<String> {
    if let Value::Scalar(scalar) = &item.value {
        let counts = matches!(unique, Unique::Text | Unique::Distinct);
        return counts.then(|| scalar.text.clone());
    }
    let map = item.as_map()?;
    let field = |name: &str| map.get(name).and_then(Node::as_scalar).map(|s| s.text.as_str());
    match unique {
        Unique::No | Unique::Text | Unique::Distinct | Unique::Subnet => None,
        Unique::Target => field("target").map(str::to_owned),
        Unique::Path => field("path").map(str::to_owned),
        Unique::Mounted(directory) => match field("target") {
            Some(target) => Some(target.to_owned()),
            None => Some(format!("{directory}/{}", field("source")?)),
        },
        Unique::Port => Some(format!(
            "{}:{}:{}/{}",
            field("host_ip").unwrap_or("0.0.0.0"),
            field("published").unwrap_or_default(),
            field("target")?,
            field("protocol").unwrap_or("tcp"),
        )),
    }
}
