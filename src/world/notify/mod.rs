//! Tells somebody outside of something. Owns the trait and what a message is. Face: `Notify`,
//! `Message`, `HttpNotify`, `FakeNotify`. Never follows a redirect, never reads an endless answer,
//! and never says in an error where it sent to: an address may hold a secret.

mod fake;
mod http;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::base::Secret;
use crate::domain::alerts::NotReceived;

pub use fake::{FakeNotify, Scripted};
pub use http::HttpNotify;

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub url: Secret<String>,
    /// Its headers: name and value.
    pub headers: Vec<(String, Secret<String>)>,
    /// JSON.
    pub body: Bytes,
    /// How long the receiver may take to answer.
    pub timeout: Duration,
}

/// Tells somebody outside.
pub trait Notify: Send + Sync {
    /// Sends a message once. The answer is the receiver's status, between 200 and 299.
    ///
    /// # Errors
    /// When the receiver is not reached, does not answer in time, or answers anything else.
    fn send(&self, message: Message) -> BoxFuture<'_, Result<u16, NotReceived>>;
}

/// What an answer means.
fn judge(status: u16, excerpt: &str) -> Result<u16, NotReceived> {
    if (200..300).contains(&status) {
        return Ok(status);
    }
    let error = match (status, excerpt.trim()) {
        (300..400, _) => format!("it answered {status}; redirects are not followed"),
        (_, "") => format!("it answered {status}"),
        (_, said) => format!("it answered {status}: {said}"),
    };
    Err(NotReceived { http_status: Some(status), error })
}

fn too_late(timeout: Duration) -> NotReceived {
    let error =
        format!("it did not answer within {}", crate::base::units::format_duration(timeout));
    NotReceived { http_status: None, error }
}
