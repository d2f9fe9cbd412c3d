//! Says what a runbook is, whom it is good for and what is known before it starts. Owns the catalog,
//! parameters and preflights. Face: `Entry`, `Ask`, `Preflight`, `Start`. Never executes
//! one, and never lets one start without a preflight.

mod catalog;
pub mod file;
mod parameters;
mod preflight;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::Digest;
use crate::base::ids::{TenantId, UserId};
use crate::base::keyed::keyed;
use crate::domain::access::Reason;

pub use catalog::{Entry, Locks, ReasonRule, RunbookKey};
pub use parameters::{Argument, Arguments, Kind, Parameter, ParameterError};
pub use preflight::Preflight;

keyed! {
    /// How far a runbook reaches.
    pub enum Scope: "scope" {
        /// One tenant.
        SingleTenant = "single_tenant",
        /// Every tenant of the workspace, in one run with a job per tenant.
        AllTenants = "all_tenants",
    }
}

/// Which runbook, for whom, with what: two that are equal ask for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The runbook.
    pub key: RunbookKey,
    /// How far it reaches.
    pub scope: Scope,
    /// The tenant, when it reaches one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_tenant_id: Option<TenantId>,
    /// What it is told; complete, so that a new default changes no run that was asked for before.
    #[serde(default, skip_serializing_if = "Arguments::is_empty")]
    pub arguments: Arguments,
}

/// A platform user who starts a runbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformInitiator {
    /// Who.
    pub platform_user_id: UserId,
    /// Their address at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Their name at that time.
    pub name: String,
    /// Whether they had broken the glass.
    pub is_break_glass: bool,
}

/// What a run of a runbook is asked to do, and what was known when it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Which, for whom, with what.
    pub runbook: Ask,
    /// What the preflight found.
    pub preflight: Preflight,
    /// Its digest: the run finds the same, or is blocked.
    pub preflight_digest: Digest,
    /// The digest of the catalog's entry when it was started.
    pub definition: Digest,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The platform user who started it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_initiator: Option<PlatformInitiator>,
    /// The number of the operating system's user who started one of a file: its steps ask in their
    /// name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asker_uid: Option<u32>,
    /// The content of its file when it was started: what the run does, whatever the file says
    /// later. None for one of the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Why a runbook cannot start so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It does not reach so far, or reaches farther.
    #[error("runbook {key} has no scope {scope}; it has {known}")]
    Scope {
        /// The runbook.
        key: RunbookKey,
        /// What was asked for.
        scope: Scope,
        /// What it has.
        known: String,
    },
    /// One tenant is wanted, and none is named.
    #[error("the scope single_tenant needs a tenant: name it")]
    NoTenant,
    /// All tenants are wanted, and one is named.
    #[error("the scope all_tenants takes no tenant: leave it out, or ask for single_tenant")]
    Tenant,
    /// An argument is wrong.
    #[error(transparent)]
    Parameter(ParameterError),
    /// It needs a reason.
    #[error("a reason is needed: a code (DATA_REPAIR, INCIDENT, SUPPORT, SECURITY) and a text")]
    NoReason,
}

impl Ask {
    /// What somebody asks for, checked against the catalog.
    ///
    /// # Errors
    /// When the runbook has no such scope or parameter, or the tenant is missing or too much.
    pub fn new(
        entry: &Entry,
        scope: Scope,
        target_tenant_id: Option<TenantId>,
        arguments: &Arguments,
    ) -> Result<Self, AskError> {
        let key = entry.key;
        if !entry.scopes.contains(&scope) {
            let known: Vec<&str> = entry.scopes.iter().map(|scope| scope.key()).collect();
            return Err(AskError::Scope { key, scope, known: known.join(", ") });
        }
        match (scope, target_tenant_id) {
            (Scope::SingleTenant, None) => return Err(AskError::NoTenant),
            (Scope::AllTenants, Some(_)) => return Err(AskError::Tenant),
            _ => {}
        }
        let arguments =
            parameters::complete(&entry.parameters, arguments).map_err(AskError::Parameter)?;
        Ok(Self { key, scope, target_tenant_id, arguments })
    }

    /// Whether it may start with this reason, or without one.
    ///
    /// # Errors
    /// When it needs one.
    pub fn check_reason(
        &self,
        entry: &Entry,
        reason: Option<&Reason>,
        is_from_above: bool,
    ) -> Result<(), AskError> {
        let always = entry.reason == ReasonRule::Always;
        let is_needed = always || is_from_above || self.scope == Scope::AllTenants;
        let is_given = reason.is_some_and(|reason| !reason.reason_text.as_str().trim().is_empty());
        if is_needed && !is_given { Err(AskError::NoReason) } else { Ok(()) }
    }
}
