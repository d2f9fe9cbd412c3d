//! Does what people decide about findings. Owns the events that say so. Face: the commands of `Findings`,
//! `FindingError`. Never does what the lifecycle refuses, and tells nobody of what is out of their reach.

use super::{Findings, is_outrun, name, update};
use crate::base::Timestamp;
use crate::base::ids::{ExceptionId, FindingId, TenantId, UserId};
use crate::base::limits::PAGE_RETRIES_MAX;
use crate::domain::audit::{AuditEvent, EventContext, EventType};
use crate::domain::findings::{
    Change, Command, Decision, ExceptionChange, ExceptionStatus, Finding, FindingException,
    Refused, Tally, check_exception, command, decide_exception,
};
use crate::domain::redaction::SafeText;
use crate::operations::projects::Asker;
use crate::store::{
    FindingFilter, FindingWrite, Page, PageRequest, StandingCount, StoreError, Write,
};

/// Why something was not done with a finding. Nothing is recorded then.
#[derive(Debug, thiserror::Error)]
pub enum FindingError {
    /// There is none within reach.
    #[error("there is no {noun} {id}")]
    Unknown {
        /// The kind of thing.
        noun: &'static str,
        /// Its id.
        id: String,
    },
    /// Its lifecycle says no.
    #[error(transparent)]
    Refused(Refused),
    /// It has to be said why.
    #[error("a reason is needed")]
    NoReason,
    /// Others change it again and again.
    #[error("the finding was changed by others again and again")]
    Busy,
    /// The store did not answer or take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

/// Which exception of which finding somebody decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    /// The finding.
    pub finding: FindingId,
    /// One of its exceptions; none for the one that is open.
    pub exception: Option<ExceptionId>,
}

/// How the subjects of a project stand to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compliance {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The policy.
    pub policy: String,
    /// The project; none for what is of none.
    pub project: Option<String>,
    /// How many stand how.
    pub tally: Tally,
}

impl Findings {
    /// Findings within reach that pass the filter, the most severe first, then the newest.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(
        &self,
        filter: FindingFilter,
        page: PageRequest,
    ) -> Result<Page<Finding>, StoreError> {
        let workspace_id = self.within.workspace();
        let reach = self.within.reach.clone();
        self.store.findings(FindingFilter { workspace_id, reach, ..filter }, page).await
    }

    /// A finding within reach, with its exceptions.
    ///
    /// # Errors
    /// When there is none, or the store does not answer.
    pub async fn find(
        &self,
        id: FindingId,
    ) -> Result<(Finding, Vec<FindingException>), FindingError> {
        let found = self.store.findings_by_id(vec![id]).await.map_err(FindingError::Store)?;
        let is_seen = |row: &Finding| self.within.sees(row.workspace_id, Some(row.tenant_id));
        let row = found.into_iter().find(is_seen);
        let row = row.ok_or_else(|| unknown("finding", &id))?;
        let exceptions = self.store.finding_exceptions(id).await.map_err(FindingError::Store)?;
        Ok((row, exceptions))
    }

    /// Does something with a finding. Done already, it changes nothing.
    ///
    /// # Errors
    /// When there is none, its lifecycle says no, or the store does not take it.
    pub async fn act(
        &self,
        id: FindingId,
        what: Command,
        reason: Option<SafeText>,
        asker: &Asker,
    ) -> Result<Finding, FindingError> {
        for _ in 0..PAGE_RETRIES_MAX {
            let (row, _) = self.find(id).await?;
            let now = self.ambient.now();
            let Some(change) = command(&row, what, now).map_err(FindingError::Refused)? else {
                return Ok(row);
            };
            let after = change.finding.clone();
            let event = self.acted(what, (&row, &after), reason.clone(), asker);
            if self.tried(vec![update(&[change])], vec![event]).await? {
                return Ok(after);
            }
        }
        Err(FindingError::Busy)
    }

    fn acted(
        &self,
        what: Command,
        (before, after): (&Finding, &Finding),
        reason: Option<SafeText>,
        asker: &Asker,
    ) -> AuditEvent {
        let (who, name) = (&asker.name, name(before));
        let (event_type, summary) = match what {
            Command::Triage => (EventType::FindingStatusChanged, format!("{who} looked at {name}")),
            Command::Start => {
                (EventType::FindingStatusChanged, format!("{who} began to work on {name}"))
            }
            Command::Assign(Some(_)) => {
                (EventType::FindingAssigned, format!("{who} gave {name} to somebody"))
            }
            Command::Assign(None) => {
                (EventType::FindingAssigned, format!("{who} took {name} from who had it"))
            }
            Command::Resolve => {
                (EventType::FindingResolved, format!("{who} says that {name} was put right"))
            }
            Command::Close => (EventType::FindingClosed, format!("{who} closed {name}")),
            Command::Reopen => (EventType::FindingReopened, format!("{who} reopened {name}")),
        };
        let is_given = matches!(what, Command::Assign(_));
        let context = EventContext {
            before_status: Some(before.status.to_string()),
            after_status: Some(after.status.to_string()),
            from_assignee_user_id: before.assignee.filter(|_| is_given),
            to_assignee_user_id: after.assignee.filter(|_| is_given),
            reason,
            project: before.told.project.clone(),
            ..asker.context()
        };
        self.event(event_type, before, asker.actor(&self.within.scope), (summary, context))
    }

    /// Asks for the risk of a finding to be accepted until a time. Another person decides.
    ///
    /// # Errors
    /// When there is none, its lifecycle says no, no reason is given, or the store does not take it.
    pub async fn ask_exception(
        &self,
        id: FindingId,
        (reason, expires_at): (SafeText, Timestamp),
        (asker, owner): (&Asker, UserId),
    ) -> Result<FindingException, FindingError> {
        if reason.as_str().trim().is_empty() {
            return Err(FindingError::NoReason);
        }
        for _ in 0..PAGE_RETRIES_MAX {
            let (row, others) = self.find(id).await?;
            let now = self.ambient.now();
            check_exception(&row, &others, expires_at, now).map_err(FindingError::Refused)?;
            let Some(evidence_hash) = row.evidence_hash else {
                return Err(FindingError::Refused(Refused::NoEvidence));
            };
            let exception = FindingException {
                id: ExceptionId::generate(&*self.ambient.clock, &*self.ambient.entropy),
                workspace_id: row.workspace_id,
                tenant_id: row.tenant_id,
                finding_id: row.id,
                scope_key: row.scope_key.clone(),
                owner,
                approver: None,
                reason: reason.to_string(),
                expires_at,
                status: ExceptionStatus::Requested,
                evidence_hash,
                created_at: now,
            };
            let summary =
                format!("{} asks to accept {} until {expires_at}", asker.name, name(&row));
            let context = EventContext {
                before_status: Some(row.status.to_string()),
                after_status: Some(row.status.to_string()),
                reason: Some(reason.clone()),
                project: row.told.project.clone(),
                ..asker.context()
            };
            let actor = asker.actor(&self.within.scope);
            let kind = EventType::FindingExceptionRequested;
            let event = self.event(kind, &row, actor, (summary, context));
            let change = ExceptionChange { exception: exception.clone(), seen_status: None };
            // One whose time is over, and that nobody ended yet, does not stand in the way.
            let lapsed = others.iter().filter(|it| !it.counts(now)).filter_map(lapse);
            let exceptions = lapsed.chain([change]);
            // The finding itself changes, so that of two who ask at once one is decided anew.
            let updated_at = now.max(row.updated_at);
            let finding = Finding { version: row.version + 1, updated_at, ..row.clone() };
            let mut writes = vec![update(&[Change { finding, seen_version: row.version }])];
            writes.extend(
                exceptions.map(|it| Write::Finding(FindingWrite::ChangeException(Box::new(it)))),
            );
            if self.tried(writes, vec![event]).await? {
                return Ok(exception);
            }
        }
        Err(FindingError::Busy)
    }

    /// Decides about an exception. Who asked for it cannot approve or reject it.
    ///
    /// # Errors
    /// When there is none, it is decided already or their own, or the store does not take it.
    pub async fn decide_exception(
        &self,
        aim: Aim,
        decision: Decision,
        reason: Option<SafeText>,
        (asker, by): (&Asker, UserId),
    ) -> Result<(Finding, FindingException), FindingError> {
        for _ in 0..PAGE_RETRIES_MAX {
            let (row, exceptions) = self.find(aim.finding).await?;
            let now = self.ambient.now();
            let is_meant = |it: &&FindingException| match aim.exception {
                Some(id) => it.id == id,
                None => it.is_open(now),
            };
            let exception = exceptions.iter().find(is_meant);
            let exception =
                exception.ok_or_else(|| unknown("open exception of finding", &aim.finding))?;
            let (decided, change) = decide_exception(&row, exception, decision, by, now)
                .map_err(FindingError::Refused)?;
            let after = change.as_ref().map_or(&row, |it| &it.finding).clone();
            let event = self.decided((&row, &after), &decided.exception, reason.clone(), asker);
            let answer = decided.exception.clone();
            let mut writes: Vec<Write> =
                change.iter().map(|it| update(std::slice::from_ref(it))).collect();
            writes.push(Write::Finding(FindingWrite::ChangeException(Box::new(decided))));
            if self.tried(writes, vec![event]).await? {
                return Ok((after, answer));
            }
        }
        Err(FindingError::Busy)
    }

    fn decided(
        &self,
        (before, after): (&Finding, &Finding),
        exception: &FindingException,
        reason: Option<SafeText>,
        asker: &Asker,
    ) -> AuditEvent {
        let (who, name) = (&asker.name, name(before));
        let until = exception.expires_at;
        let (event_type, summary) = match exception.status {
            ExceptionStatus::Approved => {
                (EventType::FindingRiskAccepted, format!("{who} accepted {name} until {until}"))
            }
            ExceptionStatus::Rejected => {
                (EventType::FindingExceptionRejected, format!("{who} did not accept {name}"))
            }
            _ => {
                let kind = EventType::FindingExceptionRevoked;
                (kind, format!("{who} took back the exception of {name}"))
            }
        };
        let context = EventContext {
            before_status: Some(before.status.to_string()),
            after_status: Some(after.status.to_string()),
            reason: reason.or_else(|| Some(SafeText::new(&exception.reason))),
            project: before.told.project.clone(),
            ..asker.context()
        };
        self.event(event_type, before, asker.actor(&self.within.scope), (summary, context))
    }

    /// How subjects within reach stand, by tenant, policy and project.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn compliance(&self) -> Result<Vec<Compliance>, StoreError> {
        let counts = self.store.standing_counts(Some(self.within.workspace())).await?;
        let is_seen = |count: &StandingCount| self.within.reach.covers(Some(count.tenant_id));
        Ok(tallied(counts.into_iter().filter(is_seen)))
    }

    /// Whether it was written; false when others were faster.
    async fn tried(
        &self,
        writes: Vec<Write>,
        events: Vec<AuditEvent>,
    ) -> Result<bool, FindingError> {
        match self.change(writes, events).await {
            Ok(()) => Ok(true),
            Err(error) if is_outrun(&error) => Ok(false),
            Err(error) => Err(FindingError::Store(error)),
        }
    }
}

/// One row for each tenant, policy and project, of counts that come in this order.
fn tallied(counts: impl Iterator<Item = StandingCount>) -> Vec<Compliance> {
    let mut rows: Vec<Compliance> = Vec::new();
    for count in counts {
        let StandingCount { tenant_id, policy, project, standing, subjects } = count;
        let is_same = |row: &Compliance| {
            row.tenant_id == tenant_id && row.policy == policy && row.project == project
        };
        match rows.last_mut().filter(|row| is_same(row)) {
            Some(row) => row.tally.add(standing, subjects),
            None => {
                let mut tally = Tally::default();
                tally.add(standing, subjects);
                rows.push(Compliance { tenant_id, policy, project, tally });
            }
        }
    }
    rows
}

/// The end of an exception whose time is over, when nobody wrote it down yet.
fn lapse(exception: &FindingException) -> Option<ExceptionChange> {
    use ExceptionStatus::{Approved, Requested};
    let is_open = matches!(exception.status, Requested | Approved);
    is_open.then(|| ExceptionChange {
        exception: FindingException { status: ExceptionStatus::Expired, ..exception.clone() },
        seen_status: Some(exception.status),
    })
}

fn unknown(noun: &'static str, id: &FindingId) -> FindingError {
    FindingError::Unknown { noun, id: id.to_string() }
}
