//! Makes and names identifiers: UUID version 7 (RFC 9562), so that they sort by creation time.
//! Owns one newtype per noun. Face: `RunId`, `EventId`, … and their `generate`. Never mixes two
//! kinds: passing a run's id for a revision's does not compile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Clock, Entropy};

/// A text that is not a UUID.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not an id of a {noun}: a UUID is expected")]
pub struct IdError {
    /// The noun that was asked for.
    pub noun: &'static str,
    /// What was given.
    pub text: String,
    #[source]
    source: uuid::Error,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id from the given time and randomness.
            pub fn generate(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self(version_7(clock, entropy))
            }

            /// The id with these 16 bytes; for fixed records such as the first workspace.
            pub const fn from_u128(value: u128) -> Self {
                Self(Uuid::from_u128(value))
            }

            /// The 16 bytes, for use in keys and nonces.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = |source| IdError { noun: $noun, text: text.to_owned(), source };
                Uuid::from_str(text).map(Self).map_err(wrong)
            }
        }
    )*};
}

ids! {
    /// Names an `OperationRun`.
    RunId = "run";
    /// Names an audit event.
    EventId = "audit event";
    /// Names a workspace.
    WorkspaceId = "workspace";
    /// Names a tenant.
    TenantId = "tenant";
    /// Names a user.
    UserId = "user";
    /// Names a provider connection.
    ConnectionId = "provider connection";
    /// Names a host: made at an agent's first start, kept in its state folder.
    HostId = "host";
    /// Names one stored bundle of a project's files.
    RevisionId = "revision";
    /// Names a schedule.
    ScheduleId = "schedule";
    /// Names a rule of the alerts.
    RuleId = "alert rule";
    /// Names who hears of alerts.
    ReceiverId = "alert receiver";
    /// Names an alert on its way to a receiver.
    DeliveryId = "alert delivery";
    /// Names a login to a registry of images.
    LoginId = "registry login";
    /// Names a token, in its text too.
    TokenId = "token";
    /// Names a client certificate that stands for a user.
    CertificateId = "certificate";
    /// Names one time that the glass was broken.
    ElevationId = "elevation";
    /// Names a finding.
    FindingId = "finding";
    /// Names an exception from a finding.
    ExceptionId = "finding exception";
}

fn version_7(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
    let mut random = [0; 10];
    entropy.fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}
