//! Holds what a user's program asks of another: JSON that we keep and never read. Owns its bound
//! and its canonical form. Face: `Payload`, `Hosted`. Never holds two spellings of one value.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Subject;
use crate::base::limits::{JOB_KEY_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::base::{CanonicalError, Name, canonical};

/// JSON in its canonical form, at most `PAYLOAD_BYTES_MAX` long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(String);

/// Why something cannot be a payload or a key.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It has no canonical form.
    #[error("the payload has no canonical form; write numbers that are no small integers as text")]
    NotCanonical(#[source] CanonicalError),
    /// It is too long.
    #[error(
        "the payload is {0} bytes long and may have {PAYLOAD_BYTES_MAX}; keep large data in a file \
         or a table and name it in the payload"
    )]
    TooLong(usize),
    /// A key is empty or too long.
    #[error("the key {0:?} is empty or longer than {JOB_KEY_BYTES_MAX} bytes")]
    Key(String),
}

impl Payload {
    /// The payload with this value.
    ///
    /// # Errors
    /// When it has no canonical form or is too long.
    pub fn new(value: &Value) -> Result<Self, PayloadError> {
        let bytes = canonical::to_bytes(value).map_err(PayloadError::NotCanonical)?;
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLong(bytes.len()));
        }
        Ok(Self(String::from_utf8(bytes).unwrap_or_default()))
    }

    /// One that was canonical when it was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl Default for Payload {
    /// The payload `null`.
    fn default() -> Self {
        Self("null".to_owned())
    }
}

/// Checks the key of a job, or the identity key of a run.
///
/// # Errors
/// When it is empty or too long.
pub fn check_key(key: &str) -> Result<(), PayloadError> {
    match key.is_empty() || key.len() > JOB_KEY_BYTES_MAX {
        true => Err(PayloadError::Key(key.to_owned())),
        false => Ok(()),
    }
}

/// A run that a user's program executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosted {
    /// Its registered type.
    pub run_type: Name,
    /// What it is to do.
    #[serde(default)]
    pub payload: Payload,
    /// Requests with this key ask for the same while one is not completed; without one, those with
    /// equal payloads do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What it locks; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}
