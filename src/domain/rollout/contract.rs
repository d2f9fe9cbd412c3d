//! Digests what a container is made from, so that any change of the declaration is seen and can be
//! named. Owns `Contract` and its two labels. Face: `Contract::of`, `Contract::differences`. Never
//! stores or shows content: every digest is keyed with the host's key.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::{CanonicalError, Digest, HashKey, canonical};
use crate::facts::{ContainerFacts, ServiceSpec, ServiceUnit, is_live, labels};

/// Which fields are digested, and how. A container of a version that is not known here is compared
/// with what the engine reports instead, so that an upgrade of the agent replaces nothing.
///
/// What an engine changes in place is no part of the whole digest, for a label cannot be changed in
/// place: those settings are compared with what the engine reports.
const VERSION: &str = "v2";

/// The version before, whose whole digest is over all fields.
const FORMER_VERSION: &str = "v1";

/// The label with a short digest of each field, so that a change can be named.
pub const CONTRACT_PARTS: &str = "wharfinger.parts";

/// Hexadecimal digits of a field's digest: enough to tell two values apart, short enough that all
/// fields fit into a label.
const PART_DIGITS: usize = 8;

/// What a container is made from, as digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// `v2:<hex>`: equal means that nothing changed but what is changed in place.
    pub hash: String,
    /// A short digest of each declared field, by its name; those that are changed in place as they
    /// were when the container was made.
    pub parts: BTreeMap<String, String>,
}

impl Contract {
    /// The contract of a service's containers. Replicas, dependencies and the pull policy are no
    /// part of it; the image's id is compared on its own.
    ///
    /// Only what differs from the default counts, so that a field which a later version of the
    /// agent learns changes nothing until somebody uses it.
    ///
    /// # Errors
    /// When a number of the declaration is past 2^53.
    pub fn of(unit: &ServiceUnit, key: &HashKey) -> Result<Self, CanonicalError> {
        let digests = digests(unit, key)?;
        let fixed: BTreeMap<_, _> = digests.iter().filter(|(name, _)| !is_live(name)).collect();
        let hash = key.digest(&canonical::to_bytes(&fixed)?);
        let parts = digests.into_iter().map(|(name, digest)| (name, part(&digest))).collect();
        Ok(Self { hash: format!("{VERSION}:{hash}"), parts })
    }

    /// The whole digest by the rules of the version before.
    ///
    /// # Errors
    /// When a number of the declaration is past 2^53.
    pub fn former(unit: &ServiceUnit, key: &HashKey) -> Result<Digest, CanonicalError> {
        Ok(key.digest(&canonical::to_bytes(&digests(unit, key)?)?))
    }

    /// A contract of which only the digest was kept.
    pub fn of_digest(digest: Digest) -> Self {
        Self { hash: format!("{VERSION}:{digest}"), parts: BTreeMap::new() }
    }

    /// The whole digest; `None` for a contract of a version that is not known here.
    pub fn digest(&self) -> Option<Digest> {
        let (version, digits) = self.hash.split_once(':')?;
        let is_known = version == VERSION || version == FORMER_VERSION;
        if is_known { Digest::from_hex(digits) } else { None }
    }

    /// What stands for a container made from this contract and this image.
    pub fn attempt(&self, image_id: &str) -> Digest {
        Digest::of_parts(&[self.hash.as_bytes(), image_id.as_bytes()])
    }

    /// Was it digested by the rules of the version before?
    pub fn is_former(&self) -> bool {
        self.hash.strip_prefix(FORMER_VERSION).is_some_and(|rest| rest.starts_with(':'))
    }

    /// What our labels on a container say; `None` without them.
    pub fn from_labels(container: &ContainerFacts) -> Option<Self> {
        let hash = container.contract_hash.clone()?;
        let parts = container.all_labels.get(CONTRACT_PARTS);
        let parts = parts.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Some(Self { hash, parts })
    }

    /// The labels that a container made from this contract carries.
    pub fn labels(&self) -> [(String, String); 2] {
        let parts: Map<String, Value> =
            self.parts.iter().map(|(name, part)| (name.clone(), part.clone().into())).collect();
        [
            (labels::CONTRACT.to_owned(), self.hash.clone()),
            (CONTRACT_PARTS.to_owned(), Value::Object(parts).to_string()),
        ]
    }

    /// Was it digested by rules that are known here?
    pub fn is_known_version(&self) -> bool {
        self.digest().is_some()
    }

    /// Names of the fields in which two contracts differ, those aside that are changed in place;
    /// empty when they are equal, and perhaps also when one is of the former version.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        if self.digest().is_some() && self.digest() == other.digest() {
            return Vec::new();
        }
        let names: BTreeSet<_> = self.parts.keys().chain(other.parts.keys()).collect();
        let is_differing = |name: &&&String| self.parts.get(**name) != other.parts.get(**name);
        let (live, fixed): (Vec<&String>, Vec<&String>) =
            names.iter().filter(is_differing).partition(|name| is_live(name));
        let explains_it = self.is_former() && !live.is_empty();
        // Short digests can collide; the whole one has the last word.
        if fixed.is_empty() && !explains_it {
            return vec!["declaration".to_owned()];
        }
        fixed.into_iter().cloned().collect()
    }

    /// Was this field declared alike for both?
    pub fn is_alike(&self, other: &Self, field: &str) -> bool {
        self.parts.contains_key(field) && self.parts.get(field) == other.parts.get(field)
    }
}

/// A digest of each declared field, by its name.
fn digests(unit: &ServiceUnit, key: &HashKey) -> Result<BTreeMap<String, Digest>, CanonicalError> {
    let mut values = BTreeMap::new();
    collect("", as_object(&unit.spec)?, &as_object(&ServiceSpec::default())?, &mut values);
    let mut digests = BTreeMap::new();
    for (name, value) in values {
        digests.insert(name, key.digest(&canonical::to_bytes(&value)?));
    }
    for (name, value) in &unit.spec.environment {
        digests.insert(format!("environment.{name}"), key.digest(value.expose().as_bytes()));
    }
    for (target, file) in &unit.files {
        let owner = format!("{}:{}:{:o}", file.uid, file.gid, file.mode);
        let content = Digest::of_parts(&[owner.as_bytes(), file.content.expose()]);
        digests.insert(format!("files.{target}"), key.digest(content.as_bytes()));
    }
    if let Some(context) = unit.build.as_ref().and_then(|build| build.context_digest) {
        digests.insert("build".to_owned(), key.digest(context.as_bytes()));
    }
    if let Some(name) = &unit.container_name {
        digests.insert("container_name".to_owned(), key.digest(name.as_bytes()));
    }
    Ok(digests)
}

fn part(digest: &Digest) -> String {
    let mut text = digest.to_string();
    text.truncate(PART_DIGITS);
    text
}

fn as_object(spec: &ServiceSpec) -> Result<Map<String, Value>, CanonicalError> {
    match serde_json::to_value(spec).map_err(CanonicalError::NotJson)? {
        Value::Object(fields) => Ok(fields),
        other => Ok(Map::from_iter([("spec".to_owned(), other)])),
    }
}

/// Walks down where the default is an object too, so that `resources.memory_bytes` and
/// `mounts./data` have names of their own.
fn collect(
    prefix: &str,
    fields: Map<String, Value>,
    defaults: &Map<String, Value>,
    into: &mut BTreeMap<String, Value>,
) {
    for (name, value) in fields {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (value, defaults.get(&name)) {
            (value, Some(default)) if value == *default => {}
            (Value::Object(inner), Some(Value::Object(inner_defaults))) => {
                collect(&path, inner, inner_defaults, into);
            }
            (value, _) => {
                into.insert(path, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;
    use crate::facts::{BuildSpec, Condition, ContentFile, Dependency, PullPolicy};

    fn unit() -> ServiceUnit {
        let spec = ServiceSpec { image: "web:1".into(), ..ServiceSpec::default() };
        ServiceUnit { spec, replicas: 1, ..ServiceUnit::default() }
    }

    fn check(change: impl FnOnce(&mut ServiceUnit), expect: &[&str]) {
        let key = HashKey::new([7; 32]);
        let before = Contract::of(&unit(), &key).unwrap();
        let mut changed = unit();
        change(&mut changed);
        let after = Contract::of(&changed, &key).unwrap();
        assert_eq!(before.differences(&after), expect);
        assert_eq!(before.hash == after.hash, expect.is_empty());
    }

    #[test]
    fn a_change_is_named() {
        check(|unit| unit.spec.image = "web:2".into(), &["image"]);
        check(|unit| unit.spec.command = Some(vec![]), &["command"]);
        check(|unit| unit.spec.resources.shm_size_bytes = Some(9), &["resources.shm_size_bytes"]);
        check(
            |unit| {
                unit.spec.environment.insert("PGPASSWORD".into(), Secret::new("hunter2".into()));
            },
            &["environment.PGPASSWORD"],
        );
        check(
            |unit| {
                let content = Secret::new(b"x".to_vec());
                let file = ContentFile {
                    content,
                    uid: 0,
                    gid: 0,
                    mode: 0o444,
                    is_secret: true,
                    read_from: None,
                };
                unit.files.insert("/run/secrets/x".into(), file);
            },
            &["files./run/secrets/x"],
        );
        check(
            |unit| {
                let context_digest = Some(Digest::of(b"context"));
                unit.build = Some(BuildSpec { context_digest, ..BuildSpec::default() });
            },
            &["build"],
        );
        check(|unit| unit.container_name = Some("web".into()), &["container_name"]);
    }

    #[test]
    fn what_is_changed_in_place_is_in_the_parts_alone() {
        check(|unit| unit.spec.resources.memory_bytes = Some(1 << 30), &[]);
        check(|unit| unit.spec.restart = crate::facts::RestartPolicy::Always, &[]);
        let mut limited = unit();
        limited.spec.resources.memory_bytes = Some(1 << 30);
        let key = HashKey::new([7; 32]);
        let contract = Contract::of(&limited, &key).unwrap();
        assert!(contract.is_alike(&contract, "resources.memory_bytes"));
        assert!(
            !Contract::of(&unit(), &key).unwrap().is_alike(&contract, "resources.memory_bytes")
        );
        assert_ne!(Contract::former(&limited, &key).unwrap(), contract.digest().unwrap());
    }

    /// A contract as the version before wrote it.
    fn former(unit: &ServiceUnit, key: &HashKey) -> Contract {
        let hash = format!("v1:{}", Contract::former(unit, key).unwrap());
        Contract { hash, ..Contract::of(unit, key).unwrap() }
    }

    #[test]
    fn a_contract_of_the_version_before_differs_in_what_it_names() {
        let key = HashKey::new([7; 32]);
        let mut made = unit();
        made.spec.resources.memory_bytes = Some(1 << 26);
        let made = former(&made, &key);
        let against = |change: fn(&mut ServiceUnit)| {
            let mut declared = unit();
            change(&mut declared);
            made.differences(&Contract::of(&declared, &key).unwrap())
        };
        assert_eq!(against(|unit| unit.spec.resources.memory_bytes = Some(1 << 27)), [""; 0]);
        let both = against(|unit| {
            unit.spec.resources.memory_bytes = Some(1 << 27);
            unit.spec.user = Some("1000".into());
        });
        assert_eq!(both, ["user"]);
        assert_eq!(former(&unit(), &key).hash.len(), 3 + 64);
    }

    #[test]
    fn what_does_not_decide_how_a_container_runs_changes_nothing() {
        check(|unit| unit.replicas = 5, &[]);
        check(|unit| unit.pull_policy = PullPolicy::Always, &[]);
        check(
            |unit| {
                let condition = Condition::ServiceStarted;
                let edge = Dependency { condition, required: true, restart: false };
                unit.depends_on.insert("db".into(), edge);
            },
            &[],
        );
    }

    #[test]
    fn another_key_gives_another_digest() {
        let one = Contract::of(&unit(), &HashKey::new([1; 32])).unwrap();
        let two = Contract::of(&unit(), &HashKey::new([2; 32])).unwrap();
        assert_ne!(one.hash, two.hash);
    }

    #[test]
    fn no_value_is_readable_in_the_labels() {
        let mut unit = unit();
        unit.spec.environment.insert("PGPASSWORD".into(), Secret::new("hunter2".into()));
        let contract = Contract::of(&unit, &HashKey::new([7; 32])).unwrap();
        assert!(!format!("{:?}", contract.labels()).contains("hunter2"));
    }
}
