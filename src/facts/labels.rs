//! Names the labels by which containers, networks and volumes are known to belong to a project.
//! Owns Compose's names and this agent's. Face: the constants, `instance_of`, `is_bookkeeping`.
//! Never decides by Compose's hash: it changes with Compose's version.

use std::collections::BTreeMap;

use super::Instance;

/// The project that an object belongs to.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
/// The service that a container runs.
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// The number of the replica, from 1.
pub const COMPOSE_CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
/// `True` for a container of `compose run`, else `False`.
pub const COMPOSE_ONEOFF: &str = "com.docker.compose.oneoff";
/// Compose's own hash. Compose ignores containers without it, so it is written, but never read.
pub const COMPOSE_CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Paths of the compose files, separated by commas.
pub const COMPOSE_CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The directory that relative paths start from.
pub const COMPOSE_WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// Id of the image that a container was made from.
pub const COMPOSE_IMAGE: &str = "com.docker.compose.image";
/// Dependencies, as `service:condition:restart` separated by commas.
pub const COMPOSE_DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// The version of Compose that made the object.
pub const COMPOSE_VERSION: &str = "com.docker.compose.version";
/// A network's key in the compose file.
pub const COMPOSE_NETWORK: &str = "com.docker.compose.network";
/// A volume's key in the compose file.
pub const COMPOSE_VOLUME: &str = "com.docker.compose.volume";

/// Our versioned hash over the contract: `v2:` and 64 hexadecimal digits.
pub const CONTRACT: &str = "wharfinger.contract";
/// The project, on every object of ours: with it, an object may be removed by us.
pub const PROJECT: &str = "wharfinger.project";
/// The agent that made the object, by its id: agents on one engine leave each other's alone.
pub const OWNER: &str = "wharfinger.owner";
/// What the agent itself consists of, such as its engine's proxy: enforcement never touches it.
pub const PART: &str = "wharfinger.part";
/// The run that made the object.
pub const RUN: &str = "wharfinger.run";

const COMPOSE_PREFIX: &str = "com.docker.compose.";
const OWN_PREFIX: &str = "wharfinger.";

/// Is it a label of Compose's or of this agent's, and no part of the user's contract?
pub fn is_bookkeeping(key: &str) -> bool {
    key.starts_with(COMPOSE_PREFIX) || key.starts_with(OWN_PREFIX)
}

/// The labels without the bookkeeping.
pub fn without_bookkeeping(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_users = |(key, _): &(&String, &String)| !is_bookkeeping(key);
    labels.iter().filter(is_users).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Which instance a container with these labels is.
///
/// A container started by hand from an image that Compose built inherits the image's labels of
/// project and service; only the number shows that it is a container of the project.
pub fn instance_of(labels: &BTreeMap<String, String>) -> Option<Instance> {
    Some(Instance {
        project: labels.get(COMPOSE_PROJECT)?.clone(),
        service: labels.get(COMPOSE_SERVICE)?.clone(),
        number: labels.get(COMPOSE_CONTAINER_NUMBER)?.parse().ok()?,
    })
}

/// Is it a container of `compose run`?
pub fn is_oneoff(labels: &BTreeMap<String, String>) -> bool {
    labels.get(COMPOSE_ONEOFF).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn container_of_a_composed_image_is_no_instance_without_a_number() {
        let mut found = labels(&[(COMPOSE_PROJECT, "shop"), (COMPOSE_SERVICE, "web")]);
        assert_eq!(instance_of(&found), None);
        found.insert(COMPOSE_CONTAINER_NUMBER.to_owned(), "2".to_owned());
        let expect = Instance { project: "shop".into(), service: "web".into(), number: 2 };
        assert_eq!(instance_of(&found), Some(expect));
    }

    #[test]
    fn users_labels_survive_the_removal_of_bookkeeping() {
        let found = labels(&[(COMPOSE_VERSION, "2"), (CONTRACT, "v1:00"), ("com.docker.x", "y")]);
        assert_eq!(without_bookkeeping(&found), labels(&[("com.docker.x", "y")]));
    }
}
