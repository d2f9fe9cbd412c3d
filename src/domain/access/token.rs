//! Reads and makes the text of a token: `wharf_ID_SECRET`. Owns its form. Face: `TokenText`. Never
//! keeps or shows the secret part: what is stored is its hash.

use argon2::password_hash::SaltString;
use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version,
};

use crate::base::ids::TokenId;
use crate::base::{Entropy, Secret};

/// Memory that one hash takes.
const MEMORY_KIB: u32 = 4 << 10;
/// Bytes of randomness in a hash's salt.
const SALT_BYTES: usize = 16;
/// Bytes of randomness in the secret part.
const SECRET_BYTES: usize = 32;
/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "wharf_";

/// A token as its owner has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenText {
    /// Which one it is.
    pub id: TokenId,
    /// What proves it: hexadecimal digits.
    pub secret: Secret<String>,
}

/// A text that is no token. It does not repeat the text, which may be a secret of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no token: one looks like wharf_ID_SECRET, as `wharf access token create` printed it"
)]
pub struct TokenTextError;

impl TokenText {
    /// A new one.
    pub fn generate(id: TokenId, entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; SECRET_BYTES];
        entropy.fill(&mut bytes);
        Self { id, secret: Secret::new(hex::encode(bytes)) }
    }

    /// Reads what its owner sent.
    ///
    /// # Errors
    /// When it is no token at all.
    pub fn parse(text: &str) -> Result<Self, TokenTextError> {
        let rest = text.trim().strip_prefix(PREFIX).ok_or(TokenTextError)?;
        let (id, secret) = rest.split_once('_').ok_or(TokenTextError)?;
        let id = hex::decode(id).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let id = id.map(|bytes| TokenId::from_u128(u128::from_be_bytes(bytes)));
        let is_secret = secret.len() == 2 * SECRET_BYTES
            && secret.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match id {
            Some(id) if is_secret => Ok(Self { id, secret: Secret::new(secret.to_owned()) }),
            _ => Err(TokenTextError),
        }
    }

    /// What is kept of it: argon2id of its secret part, in PHC string form. The secret has 256 bits
    /// of randomness, so that the costs only have to keep guessing of stolen hashes from being free:
    /// `MEMORY_KIB` once, a few milliseconds.
    pub fn hash(&self, entropy: &dyn Entropy) -> Secret<String> {
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt);
        let secret = self.secret.expose().as_bytes();
        let made = SaltString::encode_b64(&salt)
            .and_then(|salt| Ok(hasher().hash_password(secret, &salt)?.to_string()));
        // No text matches an empty one.
        Secret::new(made.unwrap_or_default())
    }

    /// Whether this is the token that was kept so. Takes as long as making the hash.
    pub fn proves(&self, kept: &Secret<String>) -> bool {
        let secret = self.secret.expose().as_bytes();
        let verify = |hash: PasswordHash<'_>| hasher().verify_password(secret, &hash).is_ok();
        PasswordHash::new(kept.expose()).is_ok_and(verify)
    }

    /// The text for its owner, who sees it this once.
    pub fn reveal(&self) -> Secret<String> {
        let (id, secret) = (hex::encode(self.id.as_bytes()), self.secret.expose());
        Secret::new(format!("{PREFIX}{id}_{secret}"))
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, 1, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;

    #[test]
    fn a_hash_is_proved_by_its_token_alone() {
        let entropy = SeededEntropy::new(1);
        let token = TokenText::generate(TokenId::from_u128(1), &entropy);
        let other = TokenText::generate(TokenId::from_u128(1), &entropy);
        let kept = token.hash(&entropy);
        assert!(kept.expose().starts_with("$argon2id$v=19$m=4096,t=1,p=1$"), "{}", kept.expose());
        assert!(token.proves(&kept) && !other.proves(&kept));
        assert_ne!(token.hash(&entropy).expose(), kept.expose(), "each has a salt of its own");
        for damaged in ["", "$argon2id$", "plain"] {
            assert!(!token.proves(&Secret::new(damaged.to_owned())), "{damaged}");
        }
    }

    #[test]
    fn what_was_revealed_is_read_again() {
        let id = TokenId::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff);
        let token = TokenText { id, secret: Secret::new("0f".repeat(SECRET_BYTES)) };
        let text = token.reveal();
        assert_eq!(TokenText::parse(text.expose()), Ok(token));
        assert!(!format!("{:?}", TokenText::parse(text.expose())).contains("0f0f"));
    }

    #[test]
    fn anything_else_is_no_token() {
        let secret = "a".repeat(64);
        let id = "0".repeat(32);
        for text in [
            String::new(),
            "wharf_".to_owned(),
            format!("wharf_{id}"),
            format!("wharf_{id}_"),
            format!("wharf_{id}_{}", "A".repeat(64)),
            format!("wharf_{id}_{}", "é".repeat(32)),
            format!("wharf_{id}_{secret}0"),
            format!("wharf_x{id}_{secret}"),
            format!("ghp_{id}_{secret}"),
        ] {
            assert_eq!(TokenText::parse(&text), Err(TokenTextError), "{text}");
        }
    }
}
