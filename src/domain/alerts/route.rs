//! Decides which receivers hear of an event. Owns the rules and how they match. Face: `route`,
//! `deliveries`. Never sends an event twice to one receiver, however many rules name it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{AlertEvent, Delivery, Severity};
use crate::base::ids::{DeliveryId, ReceiverId, RuleId, TenantId, WorkspaceId};
use crate::base::limits::ALERT_PATTERN_BYTES_MAX;
use crate::base::{Digest, Name, Timestamp};

/// Changes when deliveries get their ids otherwise.
const DELIVERY_VERSION: &[u8] = b"wharfinger alert delivery 1";

/// A key in which `*` stands for any letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// A text that matches no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern: letters, digits, `.`, `_`, `-` and `*`, such as `operations.run.*`")]
pub struct PatternError(pub String);

impl Pattern {
    /// Matches every key.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether a key fits.
    pub fn matches(&self, key: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = key.strip_prefix(first) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let is_known = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-*".contains(&byte)
        };
        if text.is_empty() || text.len() > ALERT_PATTERN_BYTES_MAX || !text.bytes().all(is_known) {
            return Err(PatternError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which events go to which receivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRule {
    /// Its own.
    pub id: RuleId,
    /// The workspace whose events it routes.
    pub workspace_id: WorkspaceId,
    /// What people call it; unique in the workspace.
    pub name: Name,
    /// Which keys fit.
    pub event: Pattern,
    /// Which types of run fit; what is about no run fits `*` alone.
    pub run_type: Pattern,
    /// Only events of this tenant.
    pub tenant_id: Option<TenantId>,
    /// The least severity that fits.
    pub severity_min: Severity,
    /// Who hears of them.
    pub receivers: Vec<ReceiverId>,
    /// Whether it routes at all.
    pub is_enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl AlertRule {
    /// Whether an event fits.
    pub fn matches(&self, event: &AlertEvent) -> bool {
        let run_type = event.run.as_ref().map(|run| run.run_type.to_string());
        self.is_enabled
            && self.workspace_id == event.workspace_id
            && self.event.matches(event.key.key())
            && self.run_type.matches(run_type.as_deref().unwrap_or_default())
            && self.tenant_id.is_none_or(|tenant| event.tenant_id == Some(tenant))
            && event.severity >= self.severity_min
    }
}

/// The receivers that hear of an event, in the order of the rules, each once.
pub fn route(event: &AlertEvent, rules: &[AlertRule]) -> Vec<ReceiverId> {
    let mut receivers = Vec::new();
    for receiver in rules.iter().filter(|rule| rule.matches(event)).flat_map(|rule| &rule.receivers)
    {
        if !receivers.contains(receiver) {
            receivers.push(*receiver);
        }
    }
    receivers
}

/// The deliveries of an event to these receivers. Their ids follow from both: raised twice, an event
/// is delivered once.
pub fn deliveries(event: &AlertEvent, receivers: &[ReceiverId]) -> Vec<Delivery> {
    receivers
        .iter()
        .map(|receiver_id| {
            let (key, about) = (event.key.key().as_bytes(), event.about.as_bytes());
            let digest = Digest::of_parts(&[DELIVERY_VERSION, key, about, receiver_id.as_bytes()]);
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest.as_bytes()[..16]);
            let id = DeliveryId::from_u128(u128::from_be_bytes(bytes));
            Delivery::new(id, *receiver_id, event.clone())
        })
        .collect()
}
