//! Turns data into one sequence of bytes and hashes it. Owns canonical JSON and the two digests.
//! Face: `to_bytes`, `Digest`, `HashKey`. Never hashes floats or integers past 2^53, because other
//! readers of the same JSON would see other numbers.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The largest integer that every JSON reader represents exactly (RFC 8259, section 6).
const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The value does not map to JSON.
    #[error("cannot represent the value as JSON")]
    NotJson(#[source] serde_json::Error),
    /// A number that other readers could round.
    #[error("the number {0} has no exact form in JSON")]
    InexactNumber(String),
}

/// The canonical bytes of a value: JSON with sorted keys and no white space.
///
/// # Errors
/// When the value is not JSON, or holds a float or an integer past 2^53.
pub fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value).map_err(CanonicalError::NotJson)?;
    refuse_inexact(&value)?;
    serde_json::to_vec(&value).map_err(CanonicalError::NotJson)
}

fn refuse_inexact(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            match magnitude {
                Some(magnitude) if magnitude <= MAX_EXACT_INTEGER => Ok(()),
                _ => Err(CanonicalError::InexactNumber(number.to_string())),
            }
        }
        Value::Array(items) => items.iter().try_for_each(refuse_inexact),
        Value::Object(fields) => fields.values().try_for_each(refuse_inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// A SHA-256 digest, printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The plain digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of all that a reader gives, without holding it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_reader(from: &mut impl std::io::Read) -> std::io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut part = [0; 8192];
        loop {
            match from.read(&mut part)? {
                0 => return Ok(Self(hasher.finalize().into())),
                size => hasher.update(&part[..size]),
            }
        }
    }

    /// The digest of several parts, each preceded by its length, so that no two lists collide.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// Thirty-two zero bytes: what the first link of a chain follows.
    pub const fn zero() -> Self {
        Self([0; 32])
    }

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::from_hex(&text).ok_or_else(|| format!("{text:?} is not a SHA-256 digest"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// The host's key for digests of content that may be secret: without it, a digest of a short
/// password could be reversed by trying passwords.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// A key from 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 (RFC 2104) of some bytes.
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        // HMAC takes a key of any length, so this construction has no failing case.
        match Hmac::<Sha256>::new_from_slice(&self.0) {
            Ok(mut mac) => {
                mac.update(bytes);
                Digest(mac.finalize().into_bytes().into())
            }
            Err(_) => unreachable!("HMAC accepts keys of every length"),
        }
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_of_keys_does_not_matter() {
        let one = to_bytes(&json!({"b": 1, "a": [true, null]})).unwrap();
        let two = to_bytes(&json!({"a": [true, null], "b": 1})).unwrap();
        assert_eq!(one, two);
        assert_eq!(one, br#"{"a":[true,null],"b":1}"#);
    }

    #[test]
    fn numbers_that_a_reader_could_round_are_refused() {
        for value in [json!(0.5), json!((1_u64 << 53) + 1), json!([{"x": -1.0}])] {
            assert!(matches!(to_bytes(&value), Err(CanonicalError::InexactNumber(_))), "{value}");
        }
        assert!(to_bytes(&json!(1_u64 << 53)).is_ok());
    }

    #[test]
    fn parts_are_kept_apart() {
        assert_ne!(Digest::of_parts(&[b"ab", b"c"]), Digest::of_parts(&[b"a", b"bc"]));
    }
}
