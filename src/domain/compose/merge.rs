//! Lays one file's tree over another's. Owns the rules for each kind of value, `!reset` and
//! `!override`. Face: `merge`, `settle`. Never looks at a short form: both trees are spelled out.

use super::schema::{Fields, Shape, Unique};
use super::unique::without_doubles;
use crate::base::yaml::{Map, Node, Value};

/// `base` with `over` laid on top; `None` when `over` takes the value away.
pub(super) fn merge(base: Node, over: Node, shape: &'static Shape) -> Option<Node> {
    match over.tag.as_deref() {
        Some("!reset") => return None,
        Some("!override") => return Some(settle(over)),
        _ => {}
    }
    if over.is_null() {
        return Some(base);
    }
    if base.is_null() {
        return Some(settle(over));
    }
    let mark = over.mark.clone();
    let value = match (shape, base.value, over.value) {
        (Shape::Short(_, inner) | Shape::OrNull(inner), base_value, over_value) => {
            let base = Node::new(base_value, base.mark);
            let over = Node::new(over_value, over.mark);
            return merge(base, over, inner);
        }
        (Shape::Object(fields), Value::Map(base), Value::Map(over)) => {
            Value::Map(merge_maps(base, over, |key| child(fields, key)))
        }
        (Shape::Map(inner), Value::Map(base), Value::Map(over)) => {
            Value::Map(merge_maps(base, over, |_| Some(inner)))
        }
        (Shape::Pairs(_) | Shape::Options, Value::Map(base), Value::Map(over)) => {
            Value::Map(merge_maps(base, over, |_| None))
        }
        (Shape::List(inner, Unique::Subnet), Value::Seq(base), Value::Seq(over)) => {
            Value::Seq(merge_pools(base, over, inner))
        }
        (Shape::List(_, unique), Value::Seq(base), Value::Seq(over)) => {
            let items = base.into_iter().chain(over.into_iter().map(settle)).collect();
            Value::Seq(without_doubles(items, *unique))
        }
        (Shape::Hosts, Value::Seq(base), Value::Seq(over)) => {
            let items = base.into_iter().chain(over).collect();
            Value::Seq(without_doubles(items, Unique::Text))
        }
        (_, _, value) => value,
    };
    Some(settle(Node::new(value, mark)))
}

/// Address pools: those of the later file, each with what the earlier file says of the same subnet.
fn merge_pools(mut base: Vec<Node>, over: Vec<Node>, shape: &'static Shape) -> Vec<Node> {
    let subnet = |node: &Node| Some(node.as_map()?.get("subnet")?.as_scalar()?.text.clone());
    let merged = |item: Node| {
        let wanted = subnet(&item);
        match base.iter().position(|below| wanted.is_some() && subnet(below) == wanted) {
            Some(place) => merge(base.remove(place), item, shape),
            None => Some(settle(item)),
        }
    };
    over.into_iter().filter_map(merged).collect()
}

/// The kind of a known key; `None` replaces the whole value.
fn child(fields: &'static Fields, key: &str) -> Option<&'static Shape> {
    fields.find(key).map(|field| &field.shape)
}

fn merge_maps(mut base: Map, over: Map, shape_of: impl Fn(&str) -> Option<&'static Shape>) -> Map {
    for (key, value) in over.0 {
        let is_other_driver = key.text == "logging" && drivers_differ(base.get("logging"), &value);
        let below = base.remove(&key.text);
        let merged = match (below, shape_of(&key.text)) {
            (Some((_, below)), Some(shape)) if !is_other_driver => merge(below, value, shape),
            _ if value.tag.as_deref() == Some("!reset") => None,
            _ => Some(settle(value)),
        };
        if let Some(merged) = merged {
            base.0.push((key, merged));
        }
    }
    base
}

/// Options of one log driver mean nothing to another.
fn drivers_differ(base: Option<&Node>, over: &Node) -> bool {
    let driver = |node: &Node| Some(node.as_map()?.get("driver")?.as_scalar()?.text.clone());
    match (base.and_then(driver), driver(over)) {
        (Some(base), Some(over)) => base != over,
        _ => false,
    }
}

/// A tree that nothing lies below: `!reset` entries go, `!override` marks are done.
pub(super) fn settle(mut node: Node) -> Node {
    let is_reset = |node: &Node| node.tag.as_deref() == Some("!reset");
    node.tag = None;
    match &mut node.value {
        Value::Map(map) => {
            map.0.retain(|(_, value)| !is_reset(value));
            for (_, value) in &mut map.0 {
                settle_in_place(value);
            }
        }
        Value::Seq(items) => {
            items.retain(|item| !is_reset(item));
            items.iter_mut().for_each(settle_in_place);
        }
        Value::Null | Value::Scalar(_) => {}
    }
    node
}

fn settle_in_place(node: &mut Node) {
    let value = std::mem::replace(&mut node.value, Value::Null);
    node.value = settle(Node::new(value, node.mark.clone())).value;
    node.tag = None;
}
