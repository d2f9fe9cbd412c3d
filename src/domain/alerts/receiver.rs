//! Says who can be told of an event, and how. Owns the webhook: its address, its headers and its
//! signature. Face: `Receiver`, `Webhook`, `check_webhook`, `signature`. Never prints an address or
//! a header: both may hold a secret.

use std::time::Duration;

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::base::ids::{ReceiverId, WorkspaceId};
use crate::base::limits::{ALERT_HEADERS_MAX, ALERT_TIMEOUT_MAX, ALERT_URL_BYTES_MAX};
use crate::base::{Name, Secret, Timestamp};

/// Who can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its own.
    pub id: ReceiverId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// What people call it; unique in the workspace.
    pub name: Name,
    /// Where it listens, as far as everybody may know: scheme and host.
    pub target: String,
    /// The names of the headers that it gets.
    pub header_names: Vec<String>,
    /// Whether what it gets is signed.
    pub is_signed: bool,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What is needed to tell it; kept sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its address.
    pub url: Secret<String>,
    /// Headers that it gets: name and value.
    pub headers: Vec<(String, Secret<String>)>,
    /// What its messages are signed with.
    pub signing_key: Option<Secret<String>>,
}

/// The sealed form: only the store writes and reads it.
#[derive(Serialize, Deserialize)]
struct Plain {
    url: String,
    headers: Vec<(String, String)>,
    signing_key: Option<String>,
}

impl Webhook {
    /// The text that is sealed.
    pub fn to_sealable(&self) -> Secret<String> {
        let plain = Plain {
            url: self.url.expose().clone(),
            headers: header_values(&self.headers),
            signing_key: self.signing_key.as_ref().map(|key| key.expose().clone()),
        };
        // Texts and lists of texts always have a JSON form.
        Secret::new(serde_json::to_string(&plain).unwrap_or_default())
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// When it is no webhook.
    pub fn from_sealable(text: &Secret<String>) -> Result<Self, serde_json::Error> {
        let plain: Plain = serde_json::from_str(text.expose())?;
        let headers = plain.headers.into_iter();
        Ok(Self {
            url: Secret::new(plain.url),
            headers: headers.map(|(name, value)| (name, Secret::new(value))).collect(),
            signing_key: plain.signing_key.map(Secret::new),
        })
    }

    /// Scheme and host of its address: what everybody may know.
    pub fn target(&self) -> String {
        let url = self.url.expose();
        let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}")
    }
}

/// Headers with their values, for the one who sends them.
pub fn header_values(headers: &[(String, Secret<String>)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.clone(), value.expose().clone())).collect()
}

/// Why a webhook is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// No address that can be sent to.
    #[error("the address must be `https://HOST/…` or `http://HOST/…`, up to 2,000 characters")]
    Url,
    /// A header that no message can carry.
    #[error("{0:?} is no header that can be chosen")]
    Header(String),
    /// A header's value that no message can carry.
    #[error("the value of header {0:?} holds a character that no header can carry")]
    HeaderValue(String),
    /// Too many headers.
    #[error("at most {ALERT_HEADERS_MAX} headers can be chosen")]
    Headers,
    /// A timeout that is none.
    #[error("the timeout must be from 1s to {}s", ALERT_TIMEOUT_MAX.as_secs())]
    Timeout,
    /// A key that anybody guesses.
    #[error("the signing key must have at least 16 characters")]
    SigningKey,
}

/// Headers that the message itself decides.
const OWN_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "idempotency-key",
    "user-agent",
    "x-wharf-event",
    "x-wharf-signature",
];

/// Shortest signing key.
const SIGNING_KEY_CHARS_MIN: usize = 16;

/// Checks what somebody wants messages sent to.
///
/// # Errors
/// When no message could be sent so.
pub fn check_webhook(webhook: &Webhook, timeout: Duration) -> Result<(), WebhookError> {
    let url = webhook.url.expose();
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let is_printable = url.bytes().all(|byte| byte.is_ascii_graphic());
    let has_host = webhook.target().rsplit("//").next().is_some_and(|host| !host.is_empty());
    if !is_web || !is_printable || !has_host || url.len() > ALERT_URL_BYTES_MAX {
        return Err(WebhookError::Url);
    }
    if webhook.headers.len() > ALERT_HEADERS_MAX {
        return Err(WebhookError::Headers);
    }
    for (name, value) in &webhook.headers {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let own = OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own));
        if name.is_empty() || !name.bytes().all(is_token) || own {
            return Err(WebhookError::Header(name.clone()));
        }
        if !value.expose().bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(WebhookError::HeaderValue(name.clone()));
        }
    }
    if timeout < Duration::from_secs(1) || timeout > ALERT_TIMEOUT_MAX {
        return Err(WebhookError::Timeout);
    }
    let key = webhook.signing_key.as_ref();
    if key.is_some_and(|key| key.expose().chars().count() < SIGNING_KEY_CHARS_MIN) {
        return Err(WebhookError::SigningKey);
    }
    Ok(())
}

/// The value of the header by which a receiver knows that a message comes from here and is not an
/// old one: `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY`.
pub fn signature(key: &Secret<String>, at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_second();
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// Why a receiver did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReceived {
    /// Its answer, if it gave one.
    pub http_status: Option<u16>,
    /// What went wrong, for people.
    pub error: String,
}
