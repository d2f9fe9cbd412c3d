//! Hands out work. Owns the order in which runs and jobs begin, and the admission of runs. Face:
//! `claim`, `admit`. Never hands out what a lock, a pause or a limit stands against.

use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::load::Session;
use super::rows::{nanos, parsed};
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::limits::CLAIM_MAX;
use crate::domain::audit::AuditEvent;
use crate::domain::runs::RunType;
use crate::store::ledger::{Act, Ledger, Need};
use crate::store::{Accepted, Admission, Claim, Claimed, Conflict, Notice, Teller};

/// Runs of one type that could begin now, first first. Of runs with one subject, only the first.
const RUNS: &str = "SELECT r.id, r.priority, r.created_at FROM runs r
    WHERE r.ready = 1 AND r.type = ?1
    AND (r.host_id IS NULL OR r.host_id = ?2) AND (?3 IS NULL OR r.workspace_id = ?3)
    AND (r.subject IS NULL OR (
        NOT EXISTS (SELECT 1 FROM locks l WHERE l.scope = r.lock_scope
            AND l.subject = r.subject AND l.run_id <> r.id AND l.expires_at > ?4)
        -- A run that holds the lock comes before an older one: when the clock was set back, or both
        -- came in one instant, each would wait for the other for ever.
        AND (EXISTS (SELECT 1 FROM locks l WHERE l.scope = r.lock_scope
                AND l.subject = r.subject AND l.run_id = r.id AND l.expires_at > ?4)
            OR NOT EXISTS (SELECT 1 FROM runs o WHERE o.status <> 'completed'
                AND o.lock_scope = r.lock_scope AND o.subject = r.subject
                AND o.ready = 1 AND o.type = r.type
                AND (-o.priority, o.created_at, o.id) < (-r.priority, r.created_at, r.id)))))
    AND (?5 IS NULL OR (
        (r.workspace_id || '|workspace') NOT IN (SELECT value FROM json_each(?5))
        AND (r.workspace_id || '|type:' || r.type) NOT IN (SELECT value FROM json_each(?5))
        AND (r.tenant_id IS NULL OR (r.workspace_id || '|tenant:' || r.tenant_id)
            NOT IN (SELECT value FROM json_each(?5)))))
    AND (?7 IS NULL OR r.tenant_id IS NULL OR r.host_id IS NOT NULL
        OR r.tenant_id IN (SELECT value FROM json_each(?7)))
    ORDER BY r.priority DESC, r.created_at, r.id LIMIT ?6";

/// Jobs of one type that could begin now, first first.
const JOBS: &str = "SELECT j.run_id, j.priority, j.created_at, j.key
    FROM run_jobs j CROSS JOIN runs r ON r.id = j.run_id
    WHERE j.ready = 1 AND j.type = ?1
    AND (r.host_id IS NULL OR r.host_id = ?2) AND (?3 IS NULL OR r.workspace_id = ?3)
    AND (?4 IS NULL OR (
        (r.workspace_id || '|workspace') NOT IN (SELECT value FROM json_each(?4))
        AND (r.workspace_id || '|type:' || r.type) NOT IN (SELECT value FROM json_each(?4))
        AND (coalesce(j.tenant_id, r.tenant_id) IS NULL
            OR (r.workspace_id || '|tenant:' || coalesce(j.tenant_id, r.tenant_id))
            NOT IN (SELECT value FROM json_each(?4)))))
    AND (?6 IS NULL OR coalesce(j.tenant_id, r.tenant_id) IS NULL OR r.host_id IS NOT NULL
        OR coalesce(j.tenant_id, r.tenant_id) IN (SELECT value FROM json_each(?6)))
    AND (j.subject IS NULL OR NOT EXISTS (SELECT 1 FROM locks l WHERE l.scope = r.lock_scope
        AND l.subject = j.subject AND l.run_id <> r.id AND l.expires_at > ?7))
    ORDER BY j.priority DESC, j.created_at, j.run_id, j.number LIMIT ?5";

/// What makes ready what is due, and the index that each goes through.
pub(super) const DUE_READY: [(&str, &str); 2] = [
    (
        "UPDATE runs SET ready = 1, waits_for = NULL, wait_until = NULL
         WHERE wait_until IS NOT NULL AND wait_until <= ?
         AND (status = 'queued' OR waits_for = 'back_off')",
        "runs_waiting",
    ),
    (
        "UPDATE run_jobs SET ready = 1
         WHERE wait_until IS NOT NULL AND ready = 0 AND wait_until <= ?",
        "run_jobs_waiting",
    ),
];

/// What could begin: a run or one of its jobs.
struct Candidate {
    run_id: RunId,
    rank: (i16, i64),
    job: Option<String>,
}

/// The statements and the values of an `EXPLAIN`, for the test that they use their index.
#[cfg(test)]
pub(super) const EXPLAINED: [(&str, &str, usize); 2] =
    [(RUNS, "runs_ready", 7), (JOBS, "run_jobs_ready", 7)];

/// What is due is ready from now on: queued runs whose time has come, runs and jobs whose pause
/// after a failure is over.
pub(super) fn make_due_ready(connection: &Connection, at: Timestamp) -> Result<(), Fault> {
    for (statement, _) in DUE_READY {
        connection.prepare_cached(statement)?.execute([nanos(at)])?;
    }
    Ok(())
}

impl Session<'_> {
    /// Takes work. What it answers has begun.
    pub(super) fn claim(
        &mut self,
        claim: &Claim,
    ) -> Result<(Vec<Claimed>, Vec<AuditEvent>), Fault> {
        make_due_ready(self.connection, claim.claimant.at)?;
        let mut ledger = Ledger::default();
        let limit = claim.limit.min(CLAIM_MAX);
        let (mut taken, mut events) = (Vec::new(), Vec::new());
        let has_jobs: bool = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM run_jobs WHERE ready = 1)")?
            .query_row([], |row| row.get(0))?;
        let mut of_jobs = has_jobs;
        self.load_one(&mut ledger, Need::Controls)?;
        for (workspace, scope) in ledger.limited() {
            self.load_one(&mut ledger, Need::Busy(workspace, scope))?;
        }
        while taken.len() < limit {
            let candidates = self.candidates(claim, &ledger, of_jobs, limit - taken.len())?;
            let mut any = false;
            let mut opened = false;
            for candidate in candidates {
                match self.take(&mut ledger, claim, candidate)? {
                    Taken::Work(claimed) => {
                        taken.push(*claimed);
                        any = true;
                    }
                    Taken::Opened => opened = true,
                    Taken::Not => {}
                }
                if taken.len() == limit {
                    break;
                }
            }
            let notices = ledger.take_notices();
            events.extend(notices.iter().filter_map(|notice| claim.teller.tell(notice)));
            self.flush(&mut ledger)?;
            match (any, opened, of_jobs) {
                (_, true, _) => of_jobs = true,
                (true, _, _) => {}
                (false, _, true) => of_jobs = false,
                (false, _, false) => break,
            }
        }
        Ok((taken, events))
    }

    fn candidates(
        &mut self,
        claim: &Claim,
        ledger: &Ledger,
        of_jobs: bool,
        limit: usize,
    ) -> Result<Vec<Candidate>, Fault> {
        let held = ledger.has_controls().then(|| {
            let names = ledger.held().into_iter().map(|(id, scope)| format!("{id}|{scope}"));
            serde_json::Value::from(names.collect::<Vec<_>>()).to_string()
        });
        let host = claim.claimant.holder.host_id.map(|id| id.to_string());
        let workspace = claim.workspace_id.map(|id| id.to_string());
        let served = claim.claimant.tenants.ids();
        let served = served.map(|ids| serde_json::Value::from(ids).to_string());
        let at = nanos(claim.claimant.at);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        for run_type in &claim.run_types {
            let mut statement =
                self.connection.prepare_cached(if of_jobs { JOBS } else { RUNS })?;
            let mut rows = match of_jobs {
                true => {
                    let key = run_type.key();
                    statement.query(params![key, host, workspace, held, most, served, at])?
                }
                false => statement.query(params![
                    run_type.key(),
                    host,
                    workspace,
                    at,
                    held,
                    most,
                    served
                ])?,
            };
            while let Some(row) = rows.next()? {
                found.push(candidate(row, of_jobs)?);
            }
        }
        if claim.run_types.len() > 1 {
            // Stable: jobs of one run keep their order.
            found.sort_by_key(|candidate| (candidate.rank, candidate.run_id));
            found.truncate(limit);
        }
        Ok(found)
    }

    fn take(
        &mut self,
        ledger: &mut Ledger,
        claim: &Claim,
        candidate: Candidate,
    ) -> Result<Taken, Fault> {
        let Candidate { run_id, job, .. } = candidate;
        let claimant = &claim.claimant;
        let begun = match &job {
            None => {
                self.load(ledger, Act::Start { run_id })?;
                ledger.start(run_id, claimant)
            }
            Some(key) => {
                self.load(ledger, Act::StartJob { run_id, key })?;
                ledger.start_job(run_id, key, claimant).map(Some)
            }
        };
        match begun {
            Ok(None) => Ok(Taken::Opened),
            Ok(Some(lease_until)) => {
                let run = ledger.run(run_id)?.clone();
                let job = match job {
                    Some(key) => Some(ledger.job(run_id, &key)?.clone()),
                    None => None,
                };
                Ok(Taken::Work(Box::new(Claimed { run, job, lease_until })))
            }
            // Another candidate of this claim took the lock or the last place.
            Err(Conflict::Locked { .. } | Conflict::HeldBack(_) | Conflict::Illegal { .. }) => {
                Ok(Taken::Not)
            }
            // The type was registered in a database that an older one replaced.
            Err(Conflict::Missing { noun: "hosted type", .. }) => Ok(Taken::Not),
            Err(conflict) => Err(conflict.into()),
        }
    }

    /// Accepts a run, and begins it when somebody wants it and nothing stands against it. What
    /// belongs to the acceptance is written by `others` in between.
    pub(super) fn admit(
        &mut self,
        admission: &Admission,
        others: impl FnOnce(&mut Self, &mut Ledger) -> Result<(), Fault>,
    ) -> Result<(Accepted, Vec<AuditEvent>), Fault> {
        let mut ledger = Ledger::default();
        let run = &admission.run;
        let insert = Act::Insert { run, supersedes: admission.supersedes };
        others(self, &mut ledger)?;
        self.load(&mut ledger, insert)?;
        ledger.insert(run, admission.supersedes)?;
        if let Some(claimant) = &admission.claimant
            && claimant.may_begin(run)
            && self.is_first(run.run_type(), claimant.at)?
        {
            self.load(&mut ledger, Act::Start { run_id: run.id })?;
            match ledger.start(run.id, claimant) {
                Ok(_) | Err(Conflict::Locked { .. } | Conflict::HeldBack(_)) => {}
                Err(conflict) => return Err(conflict.into()),
            }
        }
        self.flush(&mut ledger)?;
        let notices = ledger.take_notices();
        let events = told(&admission.teller, &notices);
        let run = ledger.run(run.id)?.clone();
        Ok((Accepted::New { run, notices }, events))
    }

    /// Whether nothing of this type waits for a worker already: nobody jumps the queue.
    fn is_first(&self, run_type: RunType, at: Timestamp) -> Result<bool, Fault> {
        make_due_ready(self.connection, at)?;
        let waits = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM runs WHERE ready = 1 AND type = ?)")?
            .query_row([run_type.key()], |row| row.get::<_, bool>(0))?;
        Ok(!waits)
    }
}

/// What became of a candidate.
enum Taken {
    Work(Box<Claimed>),
    /// A run whose jobs were made already waits for them now.
    Opened,
    Not,
}

/// The events of notices.
pub(super) fn told(teller: &Teller, notices: &[Notice]) -> Vec<AuditEvent> {
    notices.iter().filter_map(|notice| teller.tell(notice)).collect()
}

fn candidate(row: &Row<'_>, of_jobs: bool) -> Result<Candidate, Fault> {
    let priority: i16 = row.get(1)?;
    Ok(Candidate {
        run_id: parsed(row, 0, "run id")?,
        rank: (-priority, row.get(2)?),
        job: if of_jobs { Some(row.get(3)?) } else { None },
    })
}
