//! Signs what is true of the log at a moment, and that a part of it was purged. Owns the ed25519
//! keys (RFC 8032), checkpoints and tombstones. Face: `SigningKey`, `VerifyingKey`, `Checkpoint`,
//! `Tombstone`. Never shows the private key.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::base::canonical::{CanonicalError, to_bytes};
use crate::base::ids::HostId;
use crate::base::keyed::keyed;
use crate::base::{Digest, Secret, Timestamp};

/// Keep signatures of one kind apart from those of every other.
const CHECKPOINT_DOMAIN: &[u8] = b"wharfinger checkpoint 1";
const TOMBSTONE_DOMAIN: &[u8] = b"wharfinger tombstone 1";

/// The private half of the host's audit key.
pub struct SigningKey(Ed25519KeyPair);

/// A seed that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these 32 bytes are no ed25519 key")]
pub struct NotAKey;

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// The key of a seed.
    ///
    /// # Errors
    /// Never for 32 random bytes; the library reserves the right.
    pub fn from_seed(seed: &Secret<[u8; 32]>) -> Result<Self, NotAKey> {
        Ed25519KeyPair::from_seed_unchecked(seed.expose()).map(Self).map_err(|_| NotAKey)
    }

    /// The half that everybody may have.
    pub fn public(&self) -> VerifyingKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        VerifyingKey(bytes)
    }

    fn sign(&self, domain: &[u8], content: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.0.sign(&[domain, content].concat()).as_ref());
        Signature(bytes)
    }

    /// Signs that the log was so.
    ///
    /// # Errors
    /// When it has no canonical form.
    pub fn checkpoint(&self, sealed: Sealed) -> Result<Checkpoint, CanonicalError> {
        let key_id = self.public().id();
        let content = to_bytes(&(&sealed, &key_id))?;
        let signature = self.sign(CHECKPOINT_DOMAIN, &content);
        Ok(Checkpoint { sealed, key_id, signature })
    }

    /// Signs that a part of the log was purged.
    ///
    /// # Errors
    /// When it has no canonical form.
    pub fn tombstone(&self, purged: Purged) -> Result<Tombstone, CanonicalError> {
        let key_id = self.public().id();
        let content = to_bytes(&(&purged, &key_id))?;
        let signature = self.sign(TOMBSTONE_DOMAIN, &content);
        Ok(Tombstone { purged, key_id, signature })
    }
}

macro_rules! hexadecimal {
    ($name:ident, $bytes:literal, $noun:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let mut bytes = [0; $bytes];
                let read = hex::decode_to_slice(text.trim(), &mut bytes);
                let wrong = |_| {
                    format!(
                        concat!("{:?} is no ", $noun, ": {} hexadecimal digits"),
                        text,
                        2 * $bytes
                    )
                };
                read.map(|()| Self(bytes)).map_err(wrong)
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.to_string()
            }
        }
    };
}

/// The public half of an audit key: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VerifyingKey([u8; 32]);

/// An ed25519 signature: 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 64]);

hexadecimal!(VerifyingKey, 32, "public key");
hexadecimal!(Signature, 64, "signature");

impl VerifyingKey {
    /// What it is called: the first 16 digits of its SHA-256.
    pub fn id(&self) -> String {
        let mut digits = Digest::of(&self.0).to_string();
        digits.truncate(16);
        digits
    }

    fn verifies(&self, domain: &[u8], content: &[u8], signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(&[domain, content].concat(), &signature.0).is_ok()
    }
}

/// What a checkpoint seals: everything up to a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Whose log.
    pub host_id: HostId,
    /// Where the segment before ends, sealed or purged; 0 when it is the first. So a checkpoint that
    /// is taken away is missed by the next.
    pub after: u64,
    /// The last record of the segment.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
    /// When it was sealed.
    pub at: Timestamp,
}

/// A signed statement that the log was so. What never left the host can be signed anew by whoever
/// has its key: so it is pushed outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What it seals.
    #[serde(flatten)]
    pub sealed: Sealed,
    /// The key that signed it.
    pub key_id: String,
    /// Its signature.
    pub signature: Signature,
}

impl Checkpoint {
    /// Whether this key signed it.
    pub fn is_by(&self, key: &VerifyingKey) -> bool {
        key.id() == self.key_id
            && to_bytes(&(&self.sealed, &self.key_id))
                .is_ok_and(|content| key.verifies(CHECKPOINT_DOMAIN, &content, &self.signature))
    }
}

keyed! {
    /// Why a part of the log was purged.
    pub enum PurgeCause: "cause of a purge" {
        /// It was older than what is kept.
        Retention = "retention",
        /// A platform user asked for it.
        Request = "request",
    }
}

/// Whole segments that were purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Whose log.
    pub host_id: HostId,
    /// The first record that is gone.
    pub from_seq: u64,
    /// The last one: a checkpoint sealed it.
    pub to_seq: u64,
    /// The hash that the first one followed.
    pub before_hash: Digest,
    /// The hash of the last one: what remains follows it.
    pub last_hash: Digest,
    /// Why.
    pub cause: PurgeCause,
    /// Everything before this time was to go.
    pub before: Timestamp,
    /// When it went.
    pub at: Timestamp,
}

/// A signed statement that whole segments were purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// What was purged.
    #[serde(flatten)]
    pub purged: Purged,
    /// The key that signed it.
    pub key_id: String,
    /// Its signature.
    pub signature: Signature,
}

impl Tombstone {
    /// Whether this key signed it.
    pub fn is_by(&self, key: &VerifyingKey) -> bool {
        key.id() == self.key_id
            && to_bytes(&(&self.purged, &self.key_id))
                .is_ok_and(|content| key.verifies(TOMBSTONE_DOMAIN, &content, &self.signature))
    }
}
