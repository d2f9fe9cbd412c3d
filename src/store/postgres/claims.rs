//! Hands out work. Owns the order in which runs and jobs begin. Face: `claim`, `ahead`. Never waits for
//! another agent that takes work at the same time, and never hands out what a lock, a pause or a
//! limit stands against.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio_postgres::Row;

use super::batch::Work;
use super::cache::Cache;
use super::fault::Fault;
use super::flush::{Calls, Owned, Pending};
use super::rows::{nanos, number, parsed, text};
use super::server::Session;
use super::statements::Sql;
use crate::base::ids::{HostId, RunId, WorkspaceId};
use crate::base::limits::CLAIM_MAX;
use crate::base::{Timestamp, chain};
use crate::domain::audit::AuditEvent;
use crate::domain::runs::{OperationRun, RunState, RunType, Tenants};
use crate::store::ledger::{Act, Held, Ledger, Need};
use crate::store::{Claim, Claimed};

/// What could begin: a run or one of its jobs.
#[derive(Debug)]
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

/// What the claims of one transaction look for together: those that want the same are asked once.
#[derive(Debug)]
pub(super) struct Queue {
    run_types: Vec<RunType>,
    workspace_id: Option<WorkspaceId>,
    host_id: Option<HostId>,
    tenants: Tenants,
    /// How much they want together.
    wanted: usize,
    found: VecDeque<Candidate>,
    /// Nothing more was found than is here.
    is_exhausted: bool,
}

impl Queue {
    fn is_of(&self, claim: &Claim) -> bool {
        self.run_types == claim.run_types
            && self.workspace_id == claim.workspace_id
            && self.host_id == claim.claimant.holder.host_id
            && self.tenants == claim.claimant.tenants
    }
}

/// What is asked together with the beginning of a transaction.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) needs: BTreeSet<Need>,
    pub(super) calls: Calls,
    pub(super) asked: Vec<Asked>,
}

/// What a statement that goes ahead asks.
pub(super) enum Asked {
    Due,
    Ready(RunType),
    Candidates { queue: usize, of_jobs: bool },
}

/// What the claims and the admissions of a transaction ask first, in one round trip for all of
/// them. Candidates are among it as long as nothing is known to hold the queue back.
pub(super) fn ahead(cache: &mut Cache, works: &[&Work], is_held_back: bool) -> Ahead {
    let mut ahead = Ahead::default();
    let (mut due_at, mut types) = (None, BTreeSet::new());
    for work in works {
        match work {
            Work::Claim(claim) => {
                due_at = due_at.max(Some(claim.claimant.at));
                let queue = queue_of(cache, claim);
                cache.queues[queue].wanted += claim.limit.min(CLAIM_MAX);
                let names = claim.run_types.iter().filter_map(|run_type| match run_type {
                    RunType::Hosted(name) => Some(*name),
                    _ => None,
                });
                let needs =
                    claim.workspace_id.map(|id| names.map(move |it| Need::Definition(id, it)));
                ahead.needs.extend(needs.into_iter().flatten());
            }
            Work::Admit(admit) if admit.claimant.is_some() => {
                due_at = due_at.max(admit.claimant.as_ref().map(|claimant| claimant.at));
                types.insert(admit.run.run_type());
            }
            _ => {}
        }
    }
    let Some(at) = due_at else { return ahead };
    ahead.needs.insert(Need::Controls);
    for sql in [Sql::ReadyRuns, Sql::ReadyJobs] {
        ahead.calls.add(sql, vec![Box::new(nanos(at))]);
        ahead.asked.push(Asked::Due);
    }
    for run_type in types {
        ahead.calls.add(Sql::AnyReady, vec![Box::new(run_type.to_string())]);
        ahead.asked.push(Asked::Ready(run_type));
    }
    if !is_held_back {
        for queue in 0..cache.queues.len() {
            ask_for(&mut ahead.calls, cache, queue, at, &[]);
            ahead.asked.extend([true, false].map(|of_jobs| Asked::Candidates { queue, of_jobs }));
        }
    }
    ahead
}

/// Takes over what was asked ahead. Answers whether what was due became ready.
pub(super) async fn absorb(
    session: &Session,
    cache: &mut Cache,
    asked: Vec<Asked>,
    answers: &[Vec<Row>],
) -> Result<bool, Fault> {
    let mut is_due = false;
    let mut found: BTreeMap<usize, Vec<Candidate>> = BTreeMap::new();
    for (asked, rows) in asked.into_iter().zip(answers) {
        match asked {
            Asked::Due => is_due |= !rows.is_empty(),
            Asked::Ready(run_type) => {
                cache.ready_types.insert(run_type, !rows.is_empty());
            }
            Asked::Candidates { queue, of_jobs } => {
                let found = found.entry(queue).or_default();
                for row in rows {
                    found.push(candidate(row, of_jobs)?);
                }
            }
        }
    }
    // What holds the queue back decides about candidates: they are asked for again.
    if cache.controls.as_ref().is_some_and(Vec::is_empty) {
        for (queue, candidates) in found {
            keep(session, cache, queue, candidates).await?;
        }
    }
    Ok(is_due)
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
    while taken.len() < limit {
        let candidates = candidates(session, cache, claim, limit - taken.len()).await?;
        if candidates.is_empty() {
            break;
        }
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

/// The parts of the queue from which nothing can be taken now.
async fn held(session: &Session, cache: &mut Cache) -> Result<Vec<Held>, Fault> {
    let mut ledger = Ledger::default();
    cache.provide_limits(session, &mut ledger).await?;
    Ok(ledger.held())
}

/// The place of a claim's queue in the cache.
fn queue_of(cache: &mut Cache, claim: &Claim) -> usize {
    let known = cache.queues.iter().position(|queue| queue.is_of(claim));
    known.unwrap_or_else(|| {
        cache.queues.push(Queue {
            run_types: claim.run_types.clone(),
            workspace_id: claim.workspace_id,
            host_id: claim.claimant.holder.host_id,
            tenants: claim.claimant.tenants.clone(),
            wanted: 0,
            found: VecDeque::new(),
            is_exhausted: false,
        });
        cache.queues.len() - 1
    })
}

/// What could begin, first first. Nobody else can take it until the transaction ends.
async fn candidates(
    session: &Session,
    cache: &mut Cache,
    claim: &Claim,
    limit: usize,
) -> Result<Vec<Candidate>, Fault> {
    let queue = queue_of(cache, claim);
    if cache.queues[queue].found.is_empty() && !cache.queues[queue].is_exhausted {
        cache.queues[queue].wanted = cache.queues[queue].wanted.max(limit);
        let held = held(session, cache).await?;
        let mut calls = Calls::default();
        ask_for(&mut calls, cache, queue, claim.claimant.at, &held);
        let answers = session.ask(calls, false).await?;
        let mut found = Vec::new();
        for (rows, of_jobs) in answers.iter().zip([true, false]) {
            for row in rows {
                found.push(candidate(row, of_jobs)?);
            }
        }
        keep(session, cache, queue, found).await?;
    }
    let queue = &mut cache.queues[queue];
    let taken = limit.min(queue.found.len());
    queue.wanted = queue.wanted.saturating_sub(taken);
    Ok(queue.found.drain(..taken).collect())
}

/// The statements that look for what a queue wants: jobs, then runs.
fn ask_for(calls: &mut Calls, cache: &Cache, queue: usize, at: Timestamp, held: &[Held]) {
    let queue = &cache.queues[queue];
    let common = || -> Vec<Owned> {
        let held = held.iter().map(|(id, scope)| format!("{id}|{scope}")).collect::<Vec<_>>();
        vec![
            Box::new(queue.run_types.iter().map(ToString::to_string).collect::<Vec<_>>()),
            Box::new(queue.host_id.map(|id| id.to_string())),
            Box::new(queue.workspace_id.map(|id| id.to_string())),
            Box::new(held),
            Box::new(i64::try_from(queue.wanted).unwrap_or(i64::MAX)),
            Box::new(queue.tenants.ids()),
        ]
    };
    let mut values = common();
    let tried = cache.tried_jobs.iter().map(|(id, key)| format!("{id}|{key}"));
    values.push(Box::new(tried.collect::<Vec<_>>()));
    values.push(Box::new(nanos(at)));
    calls.add(Sql::ReadyJobsFor, values);
    let mut values = common();
    values.push(Box::new(cache.tried_runs.iter().map(ToString::to_string).collect::<Vec<_>>()));
    values.push(Box::new(nanos(at)));
    calls.add(Sql::ReadyRunsFor, values);
}

/// Keeps what was found for a queue, and loads what its beginning looks at.
async fn keep(
    session: &Session,
    cache: &mut Cache,
    queue: usize,
    mut found: Vec<Candidate>,
) -> Result<(), Fault> {
    // Two queues of one transaction may want the same.
    found.retain(|Candidate { run_id, job, .. }| match job {
        Some(key) => !cache.tried_jobs.contains(&(*run_id, key.clone())),
        None => !cache.tried_runs.contains(run_id),
    });
    // Stable: jobs of one run keep their order.
    found.sort_by_key(|candidate| (candidate.rank, candidate.run_id));
    let wanted = cache.queues[queue].wanted;
    cache.queues[queue].is_exhausted = found.len() < wanted;
    found.truncate(wanted);
    for Candidate { run_id, job, .. } in &found {
        match job {
            Some(key) => drop(cache.tried_jobs.insert((*run_id, key.clone()))),
            None => drop(cache.tried_runs.insert(*run_id)),
        }
    }
    prefetch(session, cache, &found).await?;
    cache.queues[queue].found.extend(found);
    Ok(())
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
    if let Some(is_waiting) = cache.ready_types.get(&run_type) {
        return Ok(!is_waiting);
    }
    let mut calls = Calls::default();
    for sql in [Sql::ReadyRuns, Sql::ReadyJobs] {
        calls.add(sql, vec![Box::new(nanos(at))]);
    }
    calls.add(Sql::AnyReady, vec![Box::new(run_type.to_string())]);
    let answers = session.ask(calls, false).await?;
    let is_waiting = answers.last().is_some_and(|rows| !rows.is_empty());
    if answers.iter().rev().skip(1).any(|rows| !rows.is_empty()) {
        pending.touch();
    }
    Ok(!is_waiting)
}
