//! Lists the runbooks that the agent brings. Owns the catalog. Face: `RunbookKey::built_in`. Never
//! knows how one is executed.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::parameters::{Kind, Parameter};
use super::{Argument, Scope};
use crate::base::keyed::keyed;
use crate::base::{CanonicalError, Digest, Name, canonical};
use crate::domain::access::Capability;

keyed! {
    /// The runbooks there are: the agent's own, and those of files.
    pub enum RunbookKey: "runbook", or File if Name::is_dotted, like "<the key of a file>" {
        /// Gives old findings their lifecycle, and makes one of those that are the same.
        FindingsLifecycleBackfill = "findings.lifecycle.backfill",
        /// Tries dead letters again.
        RunsRetryFailed = "runs.retry_failed",
        /// Follows the audit log from its beginning.
        AuditVerify = "audit.verify",
        /// Checks the database and renews what its plans are made from.
        StoreMaintenance = "store.maintenance",
    }
}

keyed! {
    /// When a reason must be given. For all tenants, and with the glass broken, always.
    pub enum ReasonRule: "rule of reasons" {
        /// Always.
        Always = "always",
        /// For all tenants.
        AllTenants = "all_tenants",
    }
}

keyed! {
    /// What a runbook's run locks, for one tenant and for all: no two of the same kind work on one
    /// tenant at once.
    pub enum Locks: "locks" {
        /// The findings of a tenant, or of all.
        Findings = "findings",
        /// The dead letters of a tenant, or of all.
        DeadLetters = "dead_letters",
        /// The audit log of the host.
        Audit = "audit",
        /// The database.
        Store = "store",
        /// A runbook of a file: it runs once at a time, whatever its operations lock themselves.
        Runbook = "runbook",
    }
}

impl Locks {
    /// Whether it is a thing of one host: only its agent can do it.
    pub const fn is_of_host(self) -> bool {
        matches!(self, Self::Audit | Self::Store | Self::Runbook)
    }
}

/// What is fixed about a runbook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its key.
    pub key: RunbookKey,
    /// For people: its name.
    pub label: Cow<'static, str>,
    /// For people: what it does.
    pub description: Cow<'static, str>,
    /// What whoever starts it must be allowed.
    pub capability: Capability,
    /// How long it usually takes, in seconds.
    pub estimated_seconds: u64,
    /// How far it can reach.
    pub scopes: Cow<'static, [Scope]>,
    /// What it can be told.
    pub parameters: Cow<'static, [Parameter]>,
    /// When it needs a reason.
    pub reason: ReasonRule,
    /// What it locks.
    pub locks: Locks,
}

impl Entry {
    /// How long it usually takes.
    pub const fn estimated_duration(&self) -> Duration {
        Duration::from_secs(self.estimated_seconds)
    }

    /// Tells this entry from one of another version of the program.
    ///
    /// # Errors
    /// Never for what is in the catalog: it has a canonical form.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        Ok(Digest::of_parts(&[b"wharfinger runbook 1", &canonical::to_bytes(self)?]))
    }
}

const BOTH: &[Scope] = &[Scope::SingleTenant, Scope::AllTenants];
const ALL: &[Scope] = &[Scope::AllTenants];

static BACKFILL: Entry = Entry {
    key: RunbookKey::FindingsLifecycleBackfill,
    label: Cow::Borrowed("Backfill the lifecycle of findings"),
    description: Cow::Borrowed(
        "Gives findings of the form before lifecycles what they lack (first and last seen, \
                  times seen, due date, recurrence key) and makes one finding of those that are the \
                  same. Done a second time, it changes nothing.",
    ),
    capability: Capability::RunbooksRun,
    estimated_seconds: 300,
    scopes: Cow::Borrowed(BOTH),
    parameters: Cow::Borrowed(&[]),
    reason: ReasonRule::AllTenants,
    locks: Locks::Findings,
};

static RETRY_FAILED: Entry = Entry {
    key: RunbookKey::RunsRetryFailed,
    label: Cow::Borrowed("Try failed runs again"),
    description: Cow::Borrowed(
        "Tries dead letters again, each as a new run: all of it, or only the jobs that \
                  were not done.",
    ),
    capability: Capability::RunbooksRun,
    estimated_seconds: 60,
    scopes: Cow::Borrowed(BOTH),
    parameters: Cow::Borrowed(&[
        Parameter {
            name: Cow::Borrowed("run_type"),
            label: Cow::Borrowed("Only runs of this type"),
            kind: Kind::Text { chars_max: 40 },
            default: None,
            is_needed: false,
        },
        Parameter {
            name: Cow::Borrowed("limit"),
            label: Cow::Borrowed("At most so many of each tenant"),
            kind: Kind::Whole { min: 1, max: 10_000 },
            default: Some(Argument::Whole(1_000)),
            is_needed: false,
        },
        Parameter {
            name: Cow::Borrowed("failed_jobs_only"),
            label: Cow::Borrowed("Of bulk runs, only the jobs that were not done"),
            kind: Kind::YesNo,
            default: Some(Argument::YesNo(true)),
            is_needed: false,
        },
    ]),
    reason: ReasonRule::AllTenants,
    locks: Locks::DeadLetters,
};

static VERIFY: Entry = Entry {
    key: RunbookKey::AuditVerify,
    label: Cow::Borrowed("Verify the audit log"),
    description: Cow::Borrowed(
        "Follows this host's audit log from its first record to its last and compares each \
                  with the columns that serve the filters. Changes nothing.",
    ),
    capability: Capability::RunbooksRun,
    estimated_seconds: 60,
    scopes: Cow::Borrowed(ALL),
    parameters: Cow::Borrowed(&[]),
    reason: ReasonRule::AllTenants,
    locks: Locks::Audit,
};

static MAINTENANCE: Entry = Entry {
    key: RunbookKey::StoreMaintenance,
    label: Cow::Borrowed("Maintain the database"),
    description: Cow::Borrowed(
        "Checks the database for damage, and renews the statistics that its plans are made \
                  from.",
    ),
    capability: Capability::RunbooksRun,
    estimated_seconds: 60,
    scopes: Cow::Borrowed(ALL),
    parameters: Cow::Borrowed(&[]),
    reason: ReasonRule::AllTenants,
    locks: Locks::Store,
};

impl RunbookKey {
    /// What is fixed about one of the agent's own; none for one of a file, whose entry is read.
    pub const fn built_in(self) -> Option<&'static Entry> {
        match self {
            Self::FindingsLifecycleBackfill => Some(&BACKFILL),
            Self::RunsRetryFailed => Some(&RETRY_FAILED),
            Self::AuditVerify => Some(&VERIFY),
            Self::StoreMaintenance => Some(&MAINTENANCE),
            Self::File(_) => None,
        }
    }

    /// What its runs lock.
    pub fn locks(self) -> Locks {
        self.built_in().map_or(Locks::Runbook, |entry| entry.locks)
    }
}
