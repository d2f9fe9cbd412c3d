//! Hands out work. Owns the order in which runs and jobs begin. Face: `claim`. Never waits for
//! another agent that takes work at the same time, and never hands out what a lock, a pause or a
//! limit stands against.

use tokio_postgres::Row;

use super::cache::Cache;
use super::fault::Fault;
use super::flush::{Calls, Owned, Pending};
use super::rows::{nanos, number, parsed, text};
use super::server::Session;
use super::statements::Sql;
use crate::base::ids::RunId;
use crate::base::limits::CLAIM_MAX;
use crate::base::{Timestamp, chain};
use crate::domain::audit::AuditEvent;
use crate::domain::runs::{OperationRun, RunState, RunType};
use crate::store::ledger::{Act, Held, Ledger};
use crate::store::{Claim, Claimed};

/// What could begin: a run or one of its jobs.
struct Candidate {
    /// Jobs first, then by priority and age.
    rank: (bool, i16, i64),
    run_id: RunId,
    job: Option<String>,
}

/// What became of a candidate.
enum Taken {
    Work(Box<Claimed>),
    /// A run whose jobs were made already waits for them now.
    Opened,
    Not,
}

/// Takes work. What it answers has begun, and so have the events.
pub(super) async fn claim(
    session: &Session,
    cache: &mut Cache,
    pending: &mut Pending,
    claim: &Claim,
) -> Result<(Vec<Claimed>, Vec<AuditEvent>), Fault> {
    let limit = claim.limit.min(CLAIM_MAX);
    let (mut taken, mut events) = (Vec::new(), Vec::new());
    if make_due_ready(session, claim.claimant.at).await? {
        pending.touch();
    }
    while taken.len() < limit {
        let held = held(session, cache).await?;
        let candidates = candidates(session, cache, claim, &held, limit - taken.len()).await?;
        if candidates.is_empty() {
            break;
        }
        prefetch(session, cache, &candidates).await?;
        let mut is_opened = false;
        for candidate in candidates {
            match take(session, cache, pending, claim, candidate, &mut events).await? {
                Taken::Work(claimed) => taken.push(*claimed),
                Taken::Opened => is_opened = true,
                Taken::Not => {}
            }
        }
        if is_opened {
            // Their jobs are found as soon as they are written out.
            session.ask(pending.take(cache)?, false).await?;
            *cache = Cache { revisions: std::mem::take(&mut cache.revisions), ..Cache::default() };
        }
    }
    Ok((taken, events))
}

/// What is due is ready from now on: queued runs whose time has come, runs and jobs whose pause
/// after a failure is over. Answers whether anything was.
async fn make_due_ready(session: &Session, at: Timestamp) -> Result<bool, Fault> {
    let mut calls = Calls::default();
    calls.add(Sql::ReadyRuns, vec![Box::new(nanos(at))]);
    calls.add(Sql::ReadyJobs, vec![Box::new(nanos(at))]);
    let answers = session.ask(calls, false).await?;
    Ok(answers.iter().any(|rows| !rows.is_empty()))
}

/// The parts of the queue from which nothing can be taken now.
async fn held(session: &Session, cache: &mut Cache) -> Result<Vec<Held>, Fault> {
    let mut ledger = Ledger::default();
    cache.provide_limits(session, &mut ledger).await?;
    Ok(ledger.held())
}

/// What could begin, first first. Nobody else can take it until the transaction ends.
async fn candidates(
    session: &Session,
    cache: &mut Cache,
    claim: &Claim,
    held: &[Held],
    limit: usize,
) -> Result<Vec<Candidate>, Fault> {
    let common = || -> Vec<Owned> {
        let held = held.iter().map(|(id, scope)| format!("{id}|{scope}")).collect::<Vec<_>>();
        vec![
            Box::new(claim.run_types.iter().map(ToString::to_string).collect::<Vec<_>>()),
            Box::new(claim.claimant.holder.host_id.map(|id| id.to_string())),
            Box::new(claim.workspace_id.map(|id| id.to_string())),
            Box::new(held),
            Box::new(i64::try_from(limit).unwrap_or(i64::MAX)),
            Box::new(claim.claimant.tenants.ids()),
        ]
    };
    let mut calls = Calls::default();
    let mut values = common();
    let tried = cache.tried_jobs.iter().map(|(id, key)| format!("{id}|{key}"));
    values.push(Box::new(tried.collect::<Vec<_>>()));
    calls.add(Sql::ReadyJobsFor, values);
    let mut values = common();
    values.push(Box::new(cache.tried_runs.iter().map(ToString::to_string).collect::<Vec<_>>()));
    values.push(Box::new(nanos(claim.claimant.at)));
    calls.add(Sql::ReadyRunsFor, values);
    let answers = session.ask(calls, false).await?;
    let mut found = Vec::new();
    for (rows, of_jobs) in answers.iter().zip([true, false]) {
        for row in rows {
            found.push(candidate(row, of_jobs)?);
        }
    }
    // Stable: jobs of one run keep their order.
    found.sort_by_key(|candidate| (candidate.rank, candidate.run_id));
    found.truncate(limit);
    for Candidate { run_id, job, .. } in &found {
        match job {
            Some(key) => drop(cache.tried_jobs.insert((*run_id, key.clone()))),
            None => drop(cache.tried_runs.insert(*run_id)),
        }
    }
    Ok(found)
}

fn candidate(row: &Row, of_jobs: bool) -> Result<Candidate, Fault> {
    let priority: i16 = number(row.try_get(1)?)?;
    Ok(Candidate {
        rank: (!of_jobs, -priority, row.try_get(2)?),
        run_id: parsed(row, 0, "run id")?,
        job: if of_jobs { Some(text(row, 3)?) } else { None },
    })
}

async fn prefetch(
    session: &Session,
    cache: &mut Cache,
    candidates: &[Candidate],
) -> Result<(), Fault> {
    let acts = candidates.iter().map(|candidate| {
        vec![match &candidate.job {
            Some(key) => Act::StartJob { run_id: candidate.run_id, key },
            None => Act::Start { run_id: candidate.run_id },
        }]
    });
    cache.prefetch(session, &acts.collect::<Vec<_>>()).await
}

async fn take(
    session: &Session,
    cache: &mut Cache,
    pending: &mut Pending,
    claim: &Claim,
    candidate: Candidate,
    events: &mut Vec<AuditEvent>,
) -> Result<Taken, Fault> {
    let Candidate { run_id, job, .. } = candidate;
    let claimant = &claim.claimant;
    let mut ledger = Ledger::default();
    let begun = match &job {
        None => {
            cache.provide(session, &mut ledger, Act::Start { run_id }).await?;
            ledger.start(run_id, claimant)
        }
        Some(key) => {
            cache.provide(session, &mut ledger, Act::StartJob { run_id, key }).await?;
            ledger.start_job(run_id, key, claimant).map(Some)
        }
    };
    let lease_until = match begun {
        Ok(lease_until) => lease_until,
        Err(conflict) => {
            // Another candidate of this transaction took the lock or the last place, or the type
            // is not registered any more.
            tracing::debug!(%run_id, reason = chain(&conflict), "not taken");
            return Ok(Taken::Not);
        }
    };
    let notices = ledger.take_notices();
    events.extend(notices.iter().filter_map(|notice| claim.teller.tell(notice)));
    let taken = match lease_until {
        None => Taken::Opened,
        Some(lease_until) => {
            let run = ledger.run(run_id)?.clone();
            let job = match job {
                Some(key) => Some(ledger.job(run_id, &key)?.clone()),
                None => None,
            };
            Taken::Work(Box::new(Claimed { run, job, lease_until }))
        }
    };
    pending.add(&mut ledger, cache);
    Ok(taken)
}

/// Whether nothing of this type waits for a worker already: nobody jumps the queue.
pub(super) async fn is_first(
    session: &Session,
    cache: &Cache,
    pending: &mut Pending,
    run_type: RunType,
    at: Timestamp,
) -> Result<bool, Fault> {
    let waits_here =
        |run: &OperationRun| run.run_type() == run_type && run.state == RunState::Queued;
    if cache.runs.values().flatten().any(waits_here) {
        return Ok(false);
    }
    if make_due_ready(session, at).await? {
        pending.touch();
    }
    let mut calls = Calls::default();
    calls.add(Sql::AnyReady, vec![Box::new(run_type.to_string())]);
    let answers = session.ask(calls, false).await?;
    Ok(answers.iter().all(Vec::is_empty))
}
