//! Notices what time does to findings: exceptions that are over, dates that were missed, findings that
//! nobody needs any more. Owns one round of that. Face: `Findings::tidy`. Never does more in a
//! round than a page of each.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Findings, is_outrun, name, writes};
use crate::base::Timestamp;
use crate::base::ids::{EventId, FindingId};
use crate::base::limits::FINDINGS_PAGE;
use crate::domain::alerts::overdue_finding_event;
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome};
use crate::domain::findings::{
    Change as FindingChange, ExceptionStatus, Finding, FindingException, expire,
};
use crate::domain::redaction::SafeText;
use crate::store::{AlertWrite, FindingWrite, StoreError, Write};

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Exceptions that are over.
    pub expired: u64,
    /// Findings of which somebody was told that they are overdue.
    pub overdue: u64,
    /// Findings that were forgotten.
    pub purged: u64,
    /// There may be more to do.
    pub is_cut: bool,
}

impl Findings {
    /// One round: ends exceptions whose time is over, tells of what is overdue, and forgets what was over
    /// for longer than `keep_finished`. Several agents may do it at once.
    ///
    /// # Errors
    /// When the store does not answer or take it.
    pub async fn tidy(&self, keep_finished: Duration) -> Result<Tidied, StoreError> {
        let now = self.ambient.now();
        let mut done = Tidied::default();
        self.end_exceptions(now, &mut done).await?;
        self.tell_overdue(now, &mut done).await?;
        let kept = SignedDuration::try_from(keep_finished).unwrap_or(SignedDuration::MAX);
        let before = now.saturating_sub(kept).unwrap_or(Timestamp::MIN);
        self.purge(before, &mut done).await?;
        Ok(done)
    }

    async fn end_exceptions(&self, now: Timestamp, done: &mut Tidied) -> Result<(), StoreError> {
        let over = self.store.exceptions_over(now, FINDINGS_PAGE).await?;
        done.is_cut |= over.len() == FINDINGS_PAGE;
        let ids: Vec<FindingId> = over.iter().map(|it| it.finding_id).collect();
        let rows = if ids.is_empty() { Vec::new() } else { self.store.findings_by_id(ids).await? };
        for exception in &over {
            let one = std::slice::from_ref(exception);
            let observed = expire(one, &rows, now);
            let mut events: Vec<AuditEvent> = Vec::new();
            for happened in &observed.happened {
                events.push(self.told(happened, Actor::agent()));
            }
            let row = rows.iter().find(|row| row.id == exception.finding_id);
            if let (Some(row), true) = (row, events.is_empty()) {
                events.push(self.lapsed(row, exception));
            }
            match self.change(writes(&observed), events).await {
                Ok(()) => done.expired += 1,
                Err(error) if is_outrun(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The event of an exception that ended without changing its finding.
    fn lapsed(&self, row: &Finding, exception: &FindingException) -> AuditEvent {
        let what = match exception.status {
            ExceptionStatus::Requested => "nobody decided about it in time",
            _ => "its time is over",
        };
        let summary = format!("An exception of {} ended: {what}", name(row));
        let context = EventContext {
            before_status: Some(row.status.to_string()),
            after_status: Some(row.status.to_string()),
            ..EventContext::default()
        };
        self.event(EventType::FindingExceptionExpired, row, Actor::agent(), (summary, context))
    }

    async fn tell_overdue(&self, now: Timestamp, done: &mut Tidied) -> Result<(), StoreError> {
        let overdue = self.store.findings_overdue(now, FINDINGS_PAGE).await?;
        done.is_cut |= overdue.len() == FINDINGS_PAGE;
        for row in overdue {
            let Some(due_at) = row.due_at else { continue };
            let finding = Finding {
                overdue_told_at: Some(now),
                updated_at: now.max(row.updated_at),
                version: row.version + 1,
                ..row.clone()
            };
            let summary = format!("{} should have been dealt with by {due_at}", name(&row));
            let about = format!("{}/{}", row.id, due_at.as_second());
            let place = (row.workspace_id, row.tenant_id);
            let alert = overdue_finding_event(row.severity, place, &about, &summary, now);
            let context = EventContext {
                after_status: Some(row.status.to_string()),
                project: row.told.project.clone(),
                ..EventContext::default()
            };
            let event =
                self.event(EventType::FindingOverdue, &row, Actor::agent(), (summary, context));
            let event = AuditEvent { outcome: Outcome::Info, ..event };
            let change = FindingChange { finding, seen_version: row.version };
            let writes = vec![
                Write::Finding(FindingWrite::Update(vec![change])),
                Write::Alert(AlertWrite::Raise(Box::new(alert))),
            ];
            match self.change(writes, vec![event]).await {
                Ok(()) => done.overdue += 1,
                Err(error) if is_outrun(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn purge(&self, before: Timestamp, done: &mut Tidied) -> Result<(), StoreError> {
        let old = self.store.findings_finished(before, FINDINGS_PAGE).await?;
        done.is_cut |= old.len() == FINDINGS_PAGE;
        let mut rest = old.as_slice();
        // One event per workspace: each has a log of its own.
        while let Some(first) = rest.first() {
            let workspace_id = first.workspace_id;
            let theirs = rest.iter().take_while(|row| row.workspace_id == workspace_id).count();
            let (these, others) = rest.split_at(theirs);
            rest = others;
            let ids: Vec<FindingId> = these.iter().map(|row| row.id).collect();
            let count = ids.len() as u64;
            let event = AuditEvent {
                id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
                workspace_id,
                tenant_id: None,
                event_type: EventType::FindingsPurged,
                summary: SafeText::new(format!(
                    "{count} findings that were over before {before} were forgotten"
                )),
                outcome: Outcome::Success,
                actor: Actor::agent(),
                target: None,
                operation_run_id: None,
                context: EventContext {
                    items_succeeded: Some(count),
                    reason: Some(SafeText::new("older than `findings.keep_finished`")),
                    ..EventContext::default()
                },
                occurred_at: self.ambient.now(),
            };
            let purge = Write::Finding(FindingWrite::Purge(ids));
            match self.change(vec![purge], vec![event]).await {
                Ok(()) => done.purged += count,
                Err(error) if is_outrun(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
