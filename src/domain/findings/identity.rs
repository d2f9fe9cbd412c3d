//! Decides when two findings are the same. Owns the evidence and the keys made of it. Face:
//! `Evidence::recurrence_key`, `lineage_key`. Never lets a tenant's key meet another's.

use serde::{Deserialize, Serialize};

use crate::base::Digest;
use crate::base::ids::TenantId;
use crate::base::keyed::keyed;

/// Changes when what is hashed changes.
const VERSION: &[u8] = b"wharfinger finding 1";

keyed! {
    /// What kinds of finding there are.
    pub enum FindingType: "type of finding" {
        /// Something is not as the baseline says.
        Drift = "drift",
        /// Something is not as a policy says.
        PolicyViolation = "policy_violation",
    }
}

keyed! {
    /// How a subject differs from its baseline.
    pub enum ChangeType: "type of change" {
        /// It is gone.
        Missing = "missing",
        /// Nothing says that it should be there.
        Unexpected = "unexpected",
        /// It is another than it was.
        Changed = "changed",
    }
}

/// What was seen, and what makes it the same as something seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Evidence {
    /// A subject differs from a baseline.
    Drift {
        /// The snapshot that it was compared with.
        baseline_snapshot_id: String,
        /// The kind of subject.
        policy_type: String,
        /// The subject.
        subject_external_id: String,
        /// How it differs.
        change_type: ChangeType,
    },
    /// A subject breaks a policy.
    PolicyViolation {
        /// The check.
        check_id: String,
        /// The subject.
        subject_external_id: String,
        /// The place inside the subject.
        place: String,
    },
}

impl Evidence {
    /// The kind of finding that it makes.
    pub const fn finding_type(&self) -> FindingType {
        match self {
            Self::Drift { .. } => FindingType::Drift,
            Self::PolicyViolation { .. } => FindingType::PolicyViolation,
        }
    }

    /// What it is about.
    pub fn subject(&self) -> &str {
        match self {
            Self::Drift { subject_external_id, .. }
            | Self::PolicyViolation { subject_external_id, .. } => subject_external_id,
        }
    }

    /// The check that was broken; policies only.
    pub fn check_id(&self) -> Option<&str> {
        match self {
            Self::Drift { .. } => None,
            Self::PolicyViolation { check_id, .. } => Some(check_id),
        }
    }

    /// The place inside the subject; policies only.
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::Drift { .. } => None,
            Self::PolicyViolation { place, .. } => Some(place),
        }
    }

    /// Equal for what is the same.
    pub fn recurrence_key(&self, tenant: TenantId) -> Digest {
        match self {
            Self::Drift { baseline_snapshot_id, .. } => {
                self.drift_key(tenant, b"recurrence", baseline_snapshot_id)
            }
            Self::PolicyViolation { check_id, subject_external_id, place } => Digest::of_parts(&[
                VERSION,
                b"policy_violation",
                tenant.as_bytes(),
                check_id.as_bytes(),
                subject_external_id.as_bytes(),
                place.as_bytes(),
            ]),
        }
    }

    /// The same without the snapshot, so that history survives a new capture; drift only.
    pub fn lineage_key(&self, tenant: TenantId) -> Option<Digest> {
        match self {
            Self::Drift { .. } => Some(self.drift_key(tenant, b"lineage", "")),
            Self::PolicyViolation { .. } => None,
        }
    }

    fn drift_key(&self, tenant: TenantId, of: &[u8], snapshot: &str) -> Digest {
        let Self::Drift { policy_type, subject_external_id, change_type, .. } = self else {
            return Digest::zero();
        };
        Digest::of_parts(&[
            VERSION,
            b"drift",
            of,
            tenant.as_bytes(),
            snapshot.as_bytes(),
            policy_type.as_bytes(),
            subject_external_id.as_bytes(),
            change_type.key().as_bytes(),
        ])
    }
}
