//! Keeps findings: records what looks see, does what people decide, and tidies up. Owns how often a write
//! is tried again, and the events. Face: `Findings`, `Recorded`, `FindingError`. Never decides:
//! `domain::findings` does.

mod commands;
mod housekeeping;
#[cfg(test)]
mod proofs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Within;
use crate::base::ids::{EventId, FindingId, TenantId};
use crate::base::limits::{FINDINGS_PAGE, PAGE_RETRIES_MAX};
use crate::base::{Ambient, Digest};
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::findings::{
    Change as FindingChange, Finding, FindingStatus, Happened, Look, Observed, Violation, What,
    observe_seen, observe_unseen, standings,
};
use crate::domain::redaction::SafeText;
use crate::store::{Change, FindingWrite, Store, StoreError, Teller, Write};

pub use commands::{Aim, Compliance, FindingError};
pub use housekeeping::Tidied;

/// The findings of a store, for those who look and those who decide. Cheap to clone.
#[derive(Clone)]
pub struct Findings {
    store: Arc<dyn Store>,
    ambient: Ambient,
    within: Within,
}

/// What a look came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Seen for the first time.
    pub created: u64,
    /// Seen again, and nothing else.
    pub seen_again: u64,
    /// Seen again after they were over, or after they were accepted.
    pub reopened: u64,
    /// Not there any more.
    pub resolved: u64,
}

impl Recorded {
    fn add(&mut self, observed: &Observed) {
        self.seen_again += observed.seen_again;
        for happened in &observed.happened {
            match happened.what {
                What::Created => self.created += 1,
                What::Resolved => self.resolved += 1,
                What::StillAccepted => self.seen_again += 1,
                What::Reopened | What::AcceptanceVoid | What::ExceptionExpired => {
                    self.reopened += 1;
                }
            }
        }
    }
}

impl Findings {
    /// On this store.
    pub fn new(store: Arc<dyn Store>, ambient: Ambient) -> Self {
        let within = Within::host(store.scope());
        Self { store, ambient, within }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// The policies that a tenant's open findings and its compliance name, in force or not. Whoever looks
    /// at all of a tenant names them in the look, so that what is not in force any more ends.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn policies_named(&self, tenant: TenantId) -> Result<BTreeSet<String>, StoreError> {
        self.store.policies_named(tenant).await
    }

    /// Records what somebody saw: new findings, those seen again, those that came back, those that are
    /// not there any more, and how the subjects stand to the policies. Page by page; recorded again
    /// after a failure in between, a look changes nothing twice.
    ///
    /// # Errors
    /// When the store does not answer or take it, or others are faster again and again.
    pub async fn record(&self, look: Look) -> Result<Recorded, StoreError> {
        let mut recorded = Recorded::default();
        let keys: Vec<Digest> = look.violations.iter().map(|it| it.key(look.tenant)).collect();
        let seen: BTreeSet<Digest> = keys.iter().copied().collect();
        let mut accepted = BTreeSet::new();
        for (part, keys) in look.violations.chunks(FINDINGS_PAGE).zip(keys.chunks(FINDINGS_PAGE)) {
            let page = self.seen(&look, part, keys, &mut accepted).await?;
            recorded.add(&page);
        }
        let mut after: Option<FindingId> = None;
        loop {
            let (page, last) = self.unseen(&look, &seen, after).await?;
            recorded.add(&page);
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        self.stand(&look, &excepted(&look, &accepted)).await?;
        Ok(recorded)
    }

    /// Records some violations. `accepted` gets the keys of those that are.
    async fn seen(
        &self,
        look: &Look,
        part: &[Violation],
        keys: &[Digest],
        accepted: &mut BTreeSet<Digest>,
    ) -> Result<Observed, StoreError> {
        let mut tries = 0;
        loop {
            let known = self.store.findings_by_fingerprint(look.tenant, keys.to_vec()).await?;
            let ids = known.iter().filter(|row| may_be_excepted(row)).map(|row| row.id).collect();
            let exceptions = self.store.exceptions_of(ids).await?;
            let mut new_id = || FindingId::generate(&*self.ambient.clock, &*self.ambient.entropy);
            let workspace = self.within.workspace();
            let observed = observe_seen((workspace, look), part, &known, &exceptions, &mut new_id);
            match self.write(&observed, look).await {
                Err(error) if is_outrun(&error) && tries < PAGE_RETRIES_MAX => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => {
                    let changed = observed.changes.iter().map(|change| &change.finding);
                    let by_id: BTreeMap<FindingId, &Finding> =
                        known.iter().chain(changed).map(|row| (row.id, row)).collect();
                    let still =
                        by_id.values().filter(|it| it.status == FindingStatus::RiskAccepted);
                    accepted.extend(still.filter_map(|row| row.recurrence_key));
                    return Ok(observed);
                }
            }
        }
    }

    /// Resolves what a page of open findings is about and was not seen. Answers where the next page
    /// begins.
    async fn unseen(
        &self,
        look: &Look,
        seen: &BTreeSet<Digest>,
        after: Option<FindingId>,
    ) -> Result<(Observed, Option<FindingId>), StoreError> {
        let mut tries = 0;
        loop {
            let rows = self.store.open_findings(look.tenant, after, FINDINGS_PAGE).await?;
            let last = rows.last().map(|row| row.id).filter(|_| rows.len() == FINDINGS_PAGE);
            let observed = observe_unseen(&rows, look, seen);
            match self.write(&observed, look).await {
                Err(error) if is_outrun(&error) && tries < PAGE_RETRIES_MAX => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok((observed, last)),
            }
        }
    }

    async fn stand(
        &self,
        look: &Look,
        accepted: &BTreeSet<(String, String)>,
    ) -> Result<(), StoreError> {
        let subjects = (!look.is_whole).then(|| look.subjects.keys().cloned().collect());
        let known = self.store.policy_standings(look.tenant, subjects).await?;
        let changes = standings(&known, look, accepted);
        let (workspace_id, tenant_id) = (self.within.workspace(), look.tenant);
        for changes in changes.parts(FINDINGS_PAGE) {
            let stand = FindingWrite::Stand { workspace_id, tenant_id, changes };
            self.change(vec![Write::Finding(stand)], Vec::new()).await?;
        }
        Ok(())
    }

    /// Writes what a look changes, with an event for each thing that happened.
    async fn write(&self, observed: &Observed, look: &Look) -> Result<(), StoreError> {
        if observed.is_empty() {
            return Ok(());
        }
        let events = observed.happened.iter().map(|happened| {
            let mut event = self.told(happened, Actor::agent());
            event.operation_run_id = look.run;
            event.occurred_at = look.at;
            event
        });
        let events = events.collect();
        self.change(writes(observed), events).await
    }

    /// Writes changes with their events. Without one it is housekeeping: that something was seen once
    /// more, and how subjects stand.
    async fn change(&self, writes: Vec<Write>, events: Vec<AuditEvent>) -> Result<(), StoreError> {
        let change = Change { writes, events, teller: Teller::new(|_| None) };
        self.store.change(change).await.map(drop)
    }

    /// The event of something that happened by itself.
    fn told(&self, happened: &Happened, actor: Actor) -> AuditEvent {
        let Happened { what, before, finding } = happened;
        let name = name(finding);
        let (event_type, summary) = match what {
            What::Created => {
                let message = &finding.told.message;
                let (kind, severity) = (EventType::FindingCreated, finding.severity);
                (kind, format!("{name} was found ({severity}): {message}"))
            }
            What::Reopened => (EventType::FindingReopened, format!("{name} was found again")),
            What::AcceptanceVoid => {
                let kind = EventType::FindingReopened;
                (kind, format!("{name} is not what was accepted any more"))
            }
            What::ExceptionExpired => {
                let kind = EventType::FindingExceptionExpired;
                (kind, format!("{name} is accepted no more: the time of its exception is over"))
            }
            What::StillAccepted => {
                let kind = EventType::FindingStatusChanged;
                (kind, format!("{name} was found again, and is still accepted"))
            }
            What::Resolved => (EventType::FindingResolved, format!("{name} is not there any more")),
        };
        let context = EventContext {
            before_status: before.map(|status| status.to_string()),
            after_status: Some(finding.status.to_string()),
            project: finding.told.project.clone(),
            ..EventContext::default()
        };
        self.event(event_type, finding, actor, (summary, context))
    }

    fn event(
        &self,
        event_type: EventType,
        finding: &Finding,
        actor: Actor,
        (summary, context): (String, EventContext),
    ) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: finding.workspace_id,
            tenant_id: Some(finding.tenant_id),
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Success,
            actor,
            target: Some(Target {
                target_type: FINDING_TARGET.to_owned(),
                target_id: finding.id.to_string(),
                target_label: name(finding),
                workspace_id: finding.workspace_id,
                tenant_id: Some(finding.tenant_id),
            }),
            operation_run_id: None,
            context,
            occurred_at: self.ambient.now(),
        }
    }
}

/// What events about findings are about.
pub const FINDING_TARGET: &str = "finding";

/// A finding in a few words: what and where.
fn name(finding: &Finding) -> String {
    let subject = finding.evidence.subject();
    let what = match finding.evidence.check_id() {
        Some(check) => check,
        None => finding.finding_type().key(),
    };
    format!("{what} in {subject}")
}

/// The writes of what a look changes.
fn writes(observed: &Observed) -> Vec<Write> {
    let mut writes = Vec::new();
    if !observed.new.is_empty() {
        writes.push(Write::Finding(FindingWrite::Add(observed.new.clone())));
    }
    if !observed.changes.is_empty() {
        writes.push(update(&observed.changes));
    }
    for change in &observed.exceptions {
        let change = FindingWrite::ChangeException(Box::new(change.clone()));
        writes.push(Write::Finding(change));
    }
    writes
}

fn update(changes: &[FindingChange]) -> Write {
    Write::Finding(FindingWrite::Update(changes.to_vec()))
}

/// Whether an exception may say something about a finding that is seen.
fn may_be_excepted(row: &Finding) -> bool {
    row.status.is_over() || row.status == FindingStatus::RiskAccepted
}

/// Whether somebody else was faster: reading again helps.
fn is_outrun(error: &StoreError) -> bool {
    matches!(error.conflict(), Some(crate::store::Conflict::Stale { .. }))
}

/// Policies and subjects whose every violation is accepted.
fn excepted(look: &Look, accepted: &BTreeSet<Digest>) -> BTreeSet<(String, String)> {
    let mut all: BTreeMap<(String, String), bool> = BTreeMap::new();
    for violation in &look.violations {
        let is_accepted = accepted.contains(&violation.key(look.tenant));
        for policy in &violation.policies {
            let key = (policy.clone(), violation.subject.clone());
            *all.entry(key).or_insert(true) &= is_accepted;
        }
    }
    all.into_iter().filter(|(_, is_accepted)| *is_accepted).map(|(key, _)| key).collect()
}
