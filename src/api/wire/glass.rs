//! Shapes certificates that stand for users, and broken glass. Owns their wire types. Face: the
//! types. Never shows a key.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReasonView;
use crate::base::Timestamp;
use crate::base::ids::UserId;
use crate::domain::access::{Certificate, Directory, Elevation};

/// A client certificate that stands for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateView {
    /// Its id.
    pub id: String,
    /// Who it stands for, by name.
    pub user: String,
    /// SHA-256 of its DER form.
    pub fingerprint: String,
    /// When it was registered.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// A client certificate that is to stand for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateNew {
    /// Who it stands for, by name or id.
    pub user: String,
    /// SHA-256 of its DER form: 64 digits, with or without colons.
    pub fingerprint: String,
}

/// A time for which a platform user holds everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ElevationView {
    /// Its id.
    pub id: String,
    /// Who, by name.
    pub user: String,
    /// Why.
    pub reason: ReasonView,
    /// From when.
    #[schema(value_type = String)]
    pub started_at: Timestamp,
    /// Until when, at the longest.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// When it ended: before its time or, as soon as that is recorded, with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
    /// Whether it holds now.
    pub holds: bool,
}

/// Breaks the glass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GlassBreak {
    /// Why.
    pub reason: ReasonView,
    /// For how many seconds; an hour when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_seconds: Option<u64>,
}

/// Ends what somebody holds by broken glass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GlassMend {
    /// Whose, by name or id; of who asks when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl CertificateView {
    /// A certificate in the words of the wire.
    pub fn of(certificate: &Certificate, directory: &Directory) -> Self {
        Self {
            id: certificate.id.to_string(),
            user: name(directory, certificate.user_id),
            fingerprint: certificate.fingerprint.to_string(),
            created_at: certificate.created_at,
        }
    }
}

impl ElevationView {
    /// An elevation in the words of the wire.
    pub fn of(elevation: &Elevation, directory: &Directory, now: Timestamp) -> Self {
        Self {
            id: elevation.id.to_string(),
            user: name(directory, elevation.user_id),
            reason: ReasonView {
                reason_code: elevation.reason.reason_code,
                reason_text: elevation.reason.reason_text.to_string(),
            },
            started_at: elevation.started_at,
            expires_at: elevation.expires_at,
            ended_at: elevation.ended_at,
            holds: elevation.holds(now),
        }
    }
}

fn name(directory: &Directory, user: UserId) -> String {
    let found = directory.users.iter().find(|it| it.id == user);
    found.map_or_else(|| user.to_string(), |it| it.name.clone())
}
