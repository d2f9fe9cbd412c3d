//! Decides when two requests ask for the same, and what a run locks. Owns the identity hash and
//! the subject. Face: `identity_hash`, `Subject`. Never lets the name of a stored copy make equal
//! files differ.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{DeployChoices, DeployProject, Hosted, Inputs, UpdateAdvisories};
use crate::base::canonical::{CanonicalError, to_bytes};
use crate::base::ids::{TenantId, WorkspaceId};
use crate::base::{Digest, Name, keyed::UnknownKey};
use crate::domain::runbooks::Locks;

/// Changes when the hashed form changes, so that old and new hashes are never confused.
const IDENTITY_VERSION: &[u8] = b"wharfinger run identity 1";
/// The same for hosted runs, whose parts are hashed as they are: there may be very many of them.
const HOSTED_VERSION: &[u8] = b"wharfinger hosted run identity 1";

/// The hash of (workspace, tenant, type, normalised inputs).
///
/// # Errors
/// When the inputs have no canonical form.
pub fn identity_hash(
    workspace: WorkspaceId,
    tenant: Option<TenantId>,
    inputs: &Inputs,
) -> Result<Digest, CanonicalError> {
    if let Inputs::Hosted(hosted) = inputs {
        return Ok(hosted_identity(workspace, tenant, hosted));
    }
    let asked = json!({
        "workspace": workspace.to_string(),
        "tenant": tenant.map(|tenant| tenant.to_string()),
        "type": inputs.run_type().key(),
        "inputs": normalised(inputs),
    });
    Ok(Digest::of_parts(&[IDENTITY_VERSION, &to_bytes(&asked)?]))
}

/// The inputs without what does not change what is asked for: the order of services, the id of the
/// stored copy, and whether a person or the agent noticed that something must be done.
fn normalised(inputs: &Inputs) -> Value {
    match inputs {
        Inputs::DeployProject(deploy) => deploy_asked(deploy),
        Inputs::RemoveProject(remove) => json!({
            "project": remove.project,
            "volumes": remove.volumes,
        }),
        Inputs::RestartProject(restart) => json!({
            "project": restart.project,
            "services": sorted(&restart.services),
        }),
        Inputs::PullImages(pull) => json!({
            "project": pull.project,
            "revision": pull.revision_digest,
            "services": sorted(&pull.choices.services),
            "wanted": pull.wanted,
            "include_deps": pull.choices.include_deps,
            "include_buildable": pull.choices.include_buildable,
            "missing_only": pull.choices.missing_only,
            "ignore_failures": pull.choices.ignore_failures,
        }),
        Inputs::BuildImages(build) => json!({
            "project": build.project,
            "revision": build.revision_digest,
            "services": sorted(&build.choices.services),
            "wanted": build.wanted,
            "include_deps": build.choices.include_deps,
            "no_cache": build.choices.no_cache,
            "pull": build.choices.pull,
        }),
        Inputs::CheckImages(check) => json!({ "projects": sorted(&check.projects) }),
        Inputs::ScanImages(scan) => json!({
            "projects": sorted(&scan.projects),
            "images": sorted(&scan.images),
        }),
        Inputs::UpdateAdvisories(UpdateAdvisories {}) => json!({}),
        Inputs::HealInstance(heal) => json!({
            "project": heal.project,
            "service": heal.service,
            "number": heal.number,
            "container": heal.container_id,
            "try": heal.number_of_try,
        }),
        Inputs::EnforcePolicy(enforce) => json!({
            "container": enforce.container_id,
            "codes": sorted(&enforce.codes),
            "is_by_hand": enforce.by_hand.is_some(),
        }),
        Inputs::ReleaseContainer(release) => json!({ "container": release.container_id }),
        // What was found and why it is done do not change what is asked for.
        Inputs::RunRunbook(start) if start.file.is_none() => json!({ "runbook": start.runbook }),
        // What another content of the file asks for is something else.
        Inputs::RunRunbook(start) => json!({
            "runbook": start.runbook,
            "definition": start.definition,
        }),
        Inputs::Hosted(hosted) => json!({ "payload": hosted.payload.as_str() }),
    }
}

/// Every choice is named here, so that a new one cannot be forgotten.
fn deploy_asked(deploy: &DeployProject) -> Value {
    let DeployChoices {
        services,
        force_recreate,
        recreate_volumes,
        keep_orphans,
        rebuild,
        adopt,
        wait_timeout_seconds,
        source: _,
    } = &deploy.choices;
    let mut asked = json!({
        "project": deploy.project,
        "revision": deploy.revision_digest,
        "services": sorted(services),
        "wanted": deploy.wanted,
        "force_recreate": force_recreate,
        "keep_orphans": keep_orphans,
        "rebuild": rebuild,
        "adopt": adopt,
        "wait_timeout_seconds": wait_timeout_seconds,
    });
    // Runs that are older than this choice keep their identity.
    if !recreate_volumes.is_empty() {
        asked["recreate_volumes"] = json!(sorted(recreate_volumes));
    }
    asked
}

/// Of the identity key when there is one, else of the payload. The same key asks for the same
/// whatever the payload: that is what it is given for.
fn hosted_identity(workspace: WorkspaceId, tenant: Option<TenantId>, hosted: &Hosted) -> Digest {
    let (kind, asked) = match &hosted.identity {
        Some(key) => (b"key".as_slice(), key.as_str()),
        None => (b"payload".as_slice(), hosted.payload.as_str()),
    };
    Digest::of_parts(&[
        HOSTED_VERSION,
        workspace.as_bytes(),
        tenant.as_ref().map_or(&[], |tenant| tenant.as_bytes().as_slice()),
        hosted.run_type.as_str().as_bytes(),
        kind,
        asked.as_bytes(),
        hosted.subject.as_ref().map_or("", Subject::as_str).as_bytes(),
    ])
}

fn sorted(services: &[String]) -> Vec<&str> {
    let mut services: Vec<_> = services.iter().map(String::as_str).collect();
    services.sort_unstable();
    services.dedup();
    services
}

/// What a run locks: no two runs of one subject ever execute at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

impl Subject {
    /// A compose project.
    pub fn project(name: &str) -> Self {
        Self(format!("project:{name}"))
    }

    /// A container that is a part of no project of ours, by the engine's id.
    pub fn container(id: &str) -> Self {
        Self(format!("container:{id}"))
    }

    /// Something that a user's program names: `app:<key>`.
    pub fn app(key: &str) -> Self {
        Self(format!("app:{key}"))
    }

    /// What a runbook locks of one tenant: `findings:<tenant>`.
    pub fn tenant(locks: Locks, tenant: TenantId) -> Self {
        Self(format!("{locks}:{tenant}"))
    }

    /// What it locks when it reaches all tenants: `findings:all`.
    pub fn all(locks: Locks) -> Self {
        Self(format!("{locks}:all"))
    }

    /// A runbook of a file: `runbook:<key>`.
    pub fn runbook(key: Name) -> Self {
        Self(format!("{}:{key}", Locks::Runbook))
    }

    /// Reads the form `kind:name`.
    ///
    /// # Errors
    /// When the kind is unknown.
    pub fn parse(text: &str) -> Result<Self, UnknownKey> {
        match text.split_once(':') {
            Some((kind, name)) if is_kind(kind) && !name.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(UnknownKey {
                noun: "kind of subject",
                key: text.to_owned(),
                known: "project:<name>, container:<id>, app:<key>, what a runbook locks: findings:<tenant>"
                    .to_owned(),
            }),
        }
    }

    /// The form `kind:name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_kind(kind: &str) -> bool {
    matches!(kind, "project" | "container" | "app") || kind.parse::<Locks>().is_ok()
}

impl TryFrom<String> for Subject {
    type Error = UnknownKey;

    fn try_from(text: String) -> Result<Self, UnknownKey> {
        Self::parse(&text)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
