//! Breaks the glass: a platform user holds everything for a time. Owns how long, and that somebody
//! hears of it. Face: the commands of `Access`. Never lets it happen without a reason.

use std::sync::PoisonError;
use std::time::Duration;

use super::Access;
use super::commands::{AccessError, check_held, unknown};
use crate::base::ids::{ElevationId, EventId, UserId};
use crate::base::limits::{BROKEN_GLASS_MAX, GLASS_LOOK_INTERVAL};
use crate::base::time::{after, between};
use crate::domain::access::{
    Capability, CapabilitySet, Directory, Elevation, Grant, Reason, UserKind,
};
use crate::domain::alerts::broken_glass_event;
use crate::domain::audit::person::PERSON_TARGET;
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::operations::projects::Asker;
use crate::store::{AccessWrite, AlertWrite, Conflict, StoreError, Write};

const LIFE_MIN: Duration = Duration::from_secs(60);
/// A platform user who asks again and again has come in once in so long.
const LOGIN_INTERVAL: Duration = Duration::from_secs(3600);

impl Access {
    /// Whoever asks holds everything, everywhere, for a time. The workspace of the host hears of it.
    ///
    /// # Errors
    /// When no reason is given or the time is too long, or the store does not take it.
    pub async fn break_glass(
        &self,
        (reason, life): (Reason, Duration),
        (asker, grant): (&Asker, &Grant),
    ) -> Result<Elevation, AccessError> {
        if !(LIFE_MIN..=BROKEN_GLASS_MAX).contains(&life) {
            return Err(AccessError::GlassLife);
        }
        if reason.reason_text.as_str().trim().is_empty() {
            return Err(AccessError::NoReason);
        }
        let now = self.ambient.now();
        let elevation = Elevation {
            id: ElevationId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            user_id: grant.user_id,
            reason,
            started_at: now,
            expires_at: after(now, life),
            ended_at: None,
        };
        let home = self.store.scope().workspace_id;
        let until = elevation.expires_at;
        let summary = format!("{} broke the glass, until {until} at the longest", asker.name);
        let why = format!("{}: {}", elevation.reason.reason_code, elevation.reason.reason_text);
        let told = SafeText::new(format!("{summary}: {why}"));
        let alert = broken_glass_event(home, elevation.id, told, now);
        let context = EventContext {
            reason: Some(SafeText::new(why)),
            platform_user_id: Some(grant.user_id),
            ..asker.context()
        };
        let writes = vec![
            Write::Access(AccessWrite::InsertElevation(Box::new(elevation.clone()))),
            Write::Alert(AlertWrite::Raise(Box::new(alert))),
        ];
        let target = (PERSON_TARGET, grant.user_id.to_string(), asker.name.clone());
        let (kind, written) = (EventType::BreakGlassStarted, (writes, context));
        self.record_with(written, kind, target, asker, summary).await?;
        Ok(elevation)
    }

    /// What somebody holds by broken glass ends: who asks, or the platform user who is named.
    ///
    /// # Errors
    /// When there is no such user or they hold nothing so, or the store does not take it.
    pub async fn mend_glass(
        &self,
        user: Option<&str>,
        (asker, grant): (&Asker, &Grant),
    ) -> Result<(), AccessError> {
        let known = self.known().await?;
        let (user_id, name) = match user {
            Some(text) => {
                check_held(CapabilitySet::of(&[Capability::PlatformUsers]), grant)?;
                let user = self.user_of(&known, text, &[UserKind::Platform])?;
                (user.id, user.name.clone())
            }
            None => (grant.user_id, asker.name.clone()),
        };
        let at = self.ambient.now();
        if !known.elevations.iter().any(|it| it.user_id == user_id && it.holds(at)) {
            return Err(unknown("broken glass of", &name));
        }
        let summary = format!("{} ended what {name} held by broken glass", asker.name);
        let target = (PERSON_TARGET, user_id.to_string(), name);
        let write = AccessWrite::EndElevations { user_id, at };
        self.record(write, EventType::BreakGlassEnded, target, asker, summary).await
    }

    /// Records the end of broken glass whose time is over: once for each, however many agents look.
    /// Returns how long until the next look.
    ///
    /// # Errors
    /// When the store does not answer or take it.
    pub async fn end_elapsed(&self) -> Result<Duration, StoreError> {
        let now = self.ambient.now();
        let known = self.directory().await?;
        let mut next = after(now, GLASS_LOOK_INTERVAL);
        for elevation in known.elevations.iter().filter(|it| it.ended_at.is_none()) {
            if elevation.expires_at <= now {
                self.end(elevation, &known).await?;
            } else {
                next = next.min(elevation.expires_at);
            }
        }
        Ok(between(now, next))
    }

    async fn end(&self, elevation: &Elevation, known: &Directory) -> Result<(), StoreError> {
        let user = known.users.iter().find(|it| it.id == elevation.user_id);
        let user_id = elevation.user_id.to_string();
        let name = user.map_or_else(|| user_id.clone(), |it| it.name.clone());
        let home = self.store.scope().workspace_id;
        let workspace_id = known.platform().unwrap_or(home);
        let summary = format!("The time was over for which {name} held everything by broken glass");
        let event = AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id,
            tenant_id: None,
            event_type: EventType::BreakGlassEnded,
            summary: SafeText::new(summary),
            outcome: Outcome::Success,
            actor: Actor::agent(),
            target: Some(Target {
                target_type: PERSON_TARGET.to_owned(),
                target_id: user_id,
                target_label: name,
                workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context: EventContext {
                platform_user_id: Some(elevation.user_id),
                ..EventContext::default()
            },
            occurred_at: elevation.expires_at,
        };
        let at = self.ambient.now();
        let write = Write::Access(AccessWrite::EndElapsed { id: elevation.id, at });
        let committed = self.store.commit(vec![write], event.into()).await;
        self.forget();
        match committed {
            // Another agent, or a command, was faster.
            Err(StoreError::Conflict(Conflict::Missing { .. })) => Ok(()),
            committed => committed,
        }
    }

    /// Records that a platform user came in: once an hour for each, and not for each request.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn note_login(&self, asker: &Asker, user_id: UserId) -> Result<(), StoreError> {
        let now = self.ambient.now();
        let last = || self.proofs.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |at: &_| between(*at, now) >= LOGIN_INTERVAL;
        if last().get(&user_id).is_some_and(|at| !is_old(at)) {
            return Ok(());
        }
        let directory = self.directory().await?;
        let home = self.store.scope();
        let event = AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: directory.platform().unwrap_or(home.workspace_id),
            tenant_id: None,
            event_type: EventType::PlatformUserLoggedIn,
            summary: SafeText::new(format!("{} came in as a platform user", asker.name)),
            outcome: Outcome::Info,
            actor: asker.actor(&home),
            target: None,
            operation_run_id: None,
            context: EventContext { platform_user_id: Some(user_id), ..asker.context() },
            occurred_at: now,
        };
        self.store.commit(Vec::new(), event.into()).await?;
        let mut logins = last();
        logins.retain(|_, at| !is_old(at));
        logins.insert(user_id, now);
        Ok(())
    }
}
