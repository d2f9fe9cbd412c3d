//! Makes tokens and takes their worth. Owns how long they live. Face: `NewToken`, the commands of
//! `Access`. Never keeps the text of one: who asked for it sees it once.

use std::time::Duration;

use super::Access;
use super::commands::{AccessError, check_held, unknown};
use crate::base::Secret;
use crate::base::ids::TokenId;
use crate::base::time::after;
use crate::domain::access::{CapabilitySet, Grant, Reach, Token, TokenText};
use crate::domain::audit::EventType;
use crate::domain::redaction::SafeText;
use crate::operations::projects::Asker;
use crate::store::AccessWrite;

/// How long a token lives when nobody says otherwise.
pub const TOKEN_LIFE_DEFAULT: Duration = Duration::from_secs(90 * 24 * 3600);
const LIFE_MIN: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A token that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What it is for.
    pub label: String,
    /// Whose it is, by name or id: a member.
    pub user: String,
    /// The most it allows; none for all that its user may do.
    pub capabilities: Option<CapabilitySet>,
    /// The most it reaches, by name or id; none for all that its user reaches.
    pub tenants: Option<Vec<String>>,
    /// How long it lives.
    pub life: Duration,
}

impl Access {
    /// Makes a token for a member of the workspace. Its text is the answer, and is not kept.
    ///
    /// # Errors
    /// When its user is no member or holds more than the asker, or the store does not take it.
    pub async fn create_token(
        &self,
        new: NewToken,
        (asker, grant): (&Asker, &Grant),
    ) -> Result<(Token, Secret<String>), AccessError> {
        if new.life < LIFE_MIN || new.life > LIFE_MAX {
            return Err(AccessError::Life);
        }
        let known = self.known().await?;
        let user = self.user(&known, &new.user)?;
        let standing = known.standing(user.id, self.within.workspace());
        let standing = standing.ok_or_else(|| unknown("member", &user.name))?;
        let capabilities = new.capabilities.unwrap_or(standing.capabilities);
        // Whoever makes it sees its text: it is worth no more than they are.
        check_held(capabilities, grant)?;
        let reach = match &new.tenants {
            Some(names) => Reach::Some(self.tenants(&known, names)?.collect()),
            None => standing.reach,
        };
        let (clock, entropy) = (&*self.ambient.clock, &*self.ambient.entropy);
        let text = TokenText::generate(TokenId::generate(clock, entropy), entropy);
        let now = self.ambient.now();
        let token = Token {
            id: text.id,
            label: SafeText::new(new.label),
            user_id: user.id,
            workspace_id: Some(self.within.workspace()),
            capabilities,
            reach,
            hash: text.hash(entropy),
            created_at: now,
            expires_at: after(now, new.life),
            revoked_at: None,
        };
        let summary = format!(
            "{} made a token for {}, worth something until {}",
            asker.name, user.name, token.expires_at
        );
        let target = ("access_token", token.id.to_string(), token.label.to_string());
        let write = AccessWrite::InsertToken(Box::new(token.clone()));
        self.record(write, EventType::TokenCreated, target, asker, summary).await?;
        Ok((token, text.reveal()))
    }

    /// A token of the workspace is worth nothing any more, from now on here, and after
    /// `DIRECTORY_AGE_MAX` on other agents of the database.
    ///
    /// # Errors
    /// When there is none, or the store does not take it.
    pub async fn revoke_token(&self, id: TokenId, asker: &Asker) -> Result<Token, AccessError> {
        let known = self.known().await?;
        let here = Some(self.within.workspace());
        let token = known.token(id).filter(|it| it.workspace_id == here);
        let token = token.ok_or_else(|| unknown("token", &id.to_string()))?;
        let at = self.ambient.now();
        let summary = format!("{} revoked the token {}", asker.name, token.label);
        let target = ("access_token", id.to_string(), token.label.to_string());
        let write = AccessWrite::RevokeToken { id, at };
        self.record(write, EventType::TokenRevoked, target, asker, summary).await?;
        Ok(Token { revoked_at: Some(token.revoked_at.unwrap_or(at)), ..token.clone() })
    }
}
