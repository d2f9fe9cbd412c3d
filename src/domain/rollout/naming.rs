//! Names what a project's objects are called on the engine. Owns Compose's naming scheme and the
//! temporary name of a replacement. Face: the functions. Never invents a name that
//! `docker compose` would not recognise.

use crate::facts::{Instance, ProjectSpec, ServiceUnit};

/// The label of an image with the digest of what it was built from.
pub const CONTEXT_LABEL: &str = "wharfinger.context";

/// The name of an instance's container: the declared one, or `<project>-<service>-<number>`.
pub fn container_name(unit: &ServiceUnit, instance: &Instance) -> String {
    match &unit.container_name {
        Some(name) => name.clone(),
        None => format!("{}-{}-{}", instance.project, instance.service, instance.number),
    }
}

/// The name of a replacement until the container that it replaces is gone. It is the same each
/// time, so that a second attempt finds what the first one left.
pub fn replacement_name(replaced_id: &str, name: &str) -> String {
    format!("{}_{name}", replaced_id.get(..REPLACED_ID_DIGITS).unwrap_or(replaced_id))
}

/// Is this a name that `replacement_name` made of `name`?
pub fn is_replacement_name(candidate: &str, name: &str) -> bool {
    let Some((id, rest)) = candidate.split_once('_') else { return false };
    let is_id = id.len() == REPLACED_ID_DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id && rest == name
}

/// Hexadecimal digits of an id in a temporary name.
pub(super) const REPLACED_ID_DIGITS: usize = 12;

/// The image of a service: the declared one, or for a build without a name `<project>-<service>`.
pub fn image_reference(project: &ProjectSpec, service: &str, unit: &ServiceUnit) -> String {
    if unit.spec.image.is_empty() {
        format!("{}-{service}", project.name)
    } else {
        unit.spec.image.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacement_is_known_by_its_name() {
        let id = "0123456789abcdef";
        let name = replacement_name(id, "shop-web-1");
        assert_eq!(name, "0123456789ab_shop-web-1");
        for (candidate, expect) in [
            (name.as_str(), true),
            ("shop-web-1", false),
            ("0123456789ab_shop-web-2", false),
            ("zzzzzzzzzzzz_shop-web-1", false),
            ("shop_web_1", false),
        ] {
            assert_eq!(is_replacement_name(candidate, "shop-web-1"), expect, "{candidate}");
        }
    }
}
