//! Proves who holds a token or a certificate, and slows down who guesses or asks too much. Owns the count
//! of failures and what was proved lately. Face: `Access::prove`, `prove_certificate`, `pace`. Never
//! tells why a proof is worth nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Access;
use crate::base::ids::{EventId, TokenId, UserId};
use crate::base::limits::{CALLERS_SEEN_MAX, PROOFS_KEPT_MAX};
use crate::base::time::after;
use crate::base::{Digest, Timestamp};
use crate::domain::access::{Allowance, Directory, Refused, Throttle, Token, TokenText, User};
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::store::StoreError;

/// How long a token that was proved needs no new proof. What the records say of it is asked each time.
const PROOF_KEPT: Duration = Duration::from_secs(60);

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// A user of the host who asks.
    User(u32),
    /// A user of the host who sends tokens that prove nothing.
    Source(u32),
    /// An address from which somebody asks who proves nothing.
    Address(IpAddr),
    /// A token.
    Token(TokenId),
    /// A client certificate.
    Certificate(Digest),
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The token proves nothing: it is none, was revoked, has expired, or is not the right one.
    #[error("the token or certificate is worth nothing")]
    Worthless,
    /// They have to wait.
    #[error("too many requests, or too many proofs that prove nothing")]
    Wait(Duration),
    /// The store did not answer.
    #[error("the records of access cannot be read")]
    Store(#[source] StoreError),
}

/// What was seen lately.
pub(super) struct Proofs {
    throttle: Mutex<Throttle<Counted>>,
    allowance: Allowance,
    /// By the digest of a token's text: until when it needs no new proof.
    kept: Mutex<BTreeMap<Digest, (TokenId, Timestamp)>>,
    /// When platform users came in, as far as that was recorded.
    pub(super) logins: Mutex<BTreeMap<UserId, Timestamp>>,
}

impl Default for Proofs {
    fn default() -> Self {
        Self::new(Allowance::default())
    }
}

impl Proofs {
    pub(super) fn new(allowance: Allowance) -> Self {
        let throttle = Mutex::new(Throttle::new(CALLERS_SEEN_MAX));
        Self { throttle, allowance, kept: Mutex::default(), logins: Mutex::default() }
    }
}

impl Access {
    /// Takes one request of somebody into account.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn pace(&self, who: Counted) -> Result<(), ProofError> {
        let now = self.ambient.now();
        let mut throttle = self.proofs.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.ask(&who, &self.proofs.allowance, now).map_err(wait)
    }

    /// The token with this text, when it is worth something now; and the records that say so.
    ///
    /// # Errors
    /// When it is worth nothing, or whoever sends it has to wait.
    pub async fn prove(
        &self,
        text: &str,
        source: Counted,
    ) -> Result<(Arc<Directory>, Token), ProofError> {
        let read = TokenText::parse(text);
        let mut counted = vec![source];
        counted.extend(read.as_ref().ok().map(|read| Counted::Token(read.id)));
        self.check_open(&counted)?;
        let directory = self.directory().await.map_err(ProofError::Store)?;
        let found = read.ok().and_then(|read| {
            let token = self.worth(&directory, read.id)?;
            self.is_proved(text, &read, token).then(|| token.clone())
        });
        match found {
            Some(token) => {
                self.pace(Counted::Token(token.id))?;
                Ok((directory, token))
            }
            None => {
                self.failed(&counted).await;
                Err(ProofError::Worthless)
            }
        }
    }

    /// The user whom a client certificate stands for; TLS proved that they hold its key.
    ///
    /// # Errors
    /// When it stands for nobody who may come in, or whoever sends it has to wait.
    pub async fn prove_certificate(
        &self,
        fingerprint: Digest,
        source: Counted,
    ) -> Result<(Arc<Directory>, User), ProofError> {
        self.check_open(&[source])?;
        let directory = self.directory().await.map_err(ProofError::Store)?;
        let mut known = directory.certificates.iter();
        let found = known.find(|it| it.fingerprint == fingerprint);
        match found.and_then(|it| directory.user(it.user_id)).cloned() {
            Some(user) => {
                self.pace(Counted::Certificate(fingerprint))?;
                Ok((directory, user))
            }
            None => {
                self.failed(&[source]).await;
                Err(ProofError::Worthless)
            }
        }
    }

    fn check_open(&self, counted: &[Counted]) -> Result<(), ProofError> {
        let now = self.ambient.now();
        let throttle = self.proofs.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        counted.iter().try_for_each(|who| throttle.open(who, now).map_err(wait))
    }

    /// A token whose time is not over, of a user who may come in.
    fn worth<'a>(&self, directory: &'a Directory, id: TokenId) -> Option<&'a Token> {
        let token = directory.token(id)?;
        let is_worth = token.revoked_at.is_none()
            && self.ambient.now() < token.expires_at
            && directory.user(token.user_id).is_some();
        is_worth.then_some(token)
    }

    /// Whether the text proves the token; what was proved lately is not computed again.
    fn is_proved(&self, text: &str, read: &TokenText, token: &Token) -> bool {
        let (digest, now) = (Digest::of(text.trim().as_bytes()), self.ambient.now());
        let kept = || self.proofs.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept().get(&digest).is_some_and(|(id, until)| *id == token.id && now < *until) {
            return true;
        }
        if !read.proves(&token.hash) {
            return false;
        }
        let mut kept = kept();
        if kept.len() >= PROOFS_KEPT_MAX {
            kept.retain(|_, (_, until)| now < *until);
        }
        if kept.len() >= PROOFS_KEPT_MAX {
            kept.clear();
        }
        kept.insert(digest, (token.id, after(now, PROOF_KEPT)));
        true
    }

    /// Somebody failed to prove who they are. That a door was shut by it is recorded, once.
    async fn failed(&self, counted: &[Counted]) {
        let now = self.ambient.now();
        let shut: Vec<Counted> = {
            let mut throttle = self.proofs.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            let shuts = |who: &&Counted| throttle.fail(who, &self.proofs.allowance, now);
            counted.iter().filter(shuts).copied().collect()
        };
        for who in shut {
            let event = self.locked_out(who, now);
            tracing::warn!(?who, "locked out: too many proofs that prove nothing");
            if let Err(error) = self.store.commit(Vec::new(), event.into()).await {
                tracing::error!(%error, "a lock-out could not be recorded");
            }
        }
    }

    fn locked_out(&self, who: Counted, now: Timestamp) -> AuditEvent {
        let scope = &self.within.scope;
        let (target_type, target_id) = match who {
            Counted::User(uid) | Counted::Source(uid) => ("os_user", uid.to_string()),
            Counted::Token(id) => ("access_token", id.to_string()),
            Counted::Certificate(fingerprint) => ("access_certificate", fingerprint.to_string()),
            // It may be a person's: the record can be rid of it.
            Counted::Address(_) => ("address", "in its context".to_owned()),
        };
        let ip = match who {
            Counted::Address(ip) => Some(ip.to_string()),
            _ => None,
        };
        let seconds = self.proofs.allowance.shut.as_secs();
        let summary = format!(
            "{target_type} {target_id} is locked out for {seconds} seconds: too many proofs that \
             prove nothing"
        );
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: None,
            event_type: EventType::AccessLockedOut,
            summary: SafeText::new(summary),
            outcome: Outcome::Blocked,
            actor: Actor::agent(),
            target: Some(Target {
                target_type: target_type.to_owned(),
                target_label: target_id.clone(),
                target_id,
                workspace_id: scope.workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context: EventContext { ip, ..EventContext::default() },
            occurred_at: now,
        }
    }
}

fn wait(refused: Refused) -> ProofError {
    match refused {
        Refused::TooMany(pause) | Refused::LockedOut(pause) => ProofError::Wait(pause),
    }
}
