//! Hands hosted work out. Owns the long poll. Face: `ClaimRequest`, `Hosted::claim`. Never asks
//! the store again without news, and never gives one piece of work to two claimants.

use std::time::Duration;

use super::room::{Held, Told};
use super::{Hosted, HostedError};
use crate::base::limits::{
    CLAIM_MAX, CLAIM_TYPES_MAX, CLAIM_WAIT_MAX, CLAIMANTS_WAITING_MAX, JOB_KEY_BYTES_MAX,
};
use crate::domain::audit::Actor;
use crate::domain::runs::{HostedType, RunType};
use crate::operations::events::teller;
use crate::store::{Claim, Claimant, Claimed};

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Work of these types.
    pub run_types: Vec<RunType>,
    /// Most runs and jobs together.
    pub limit: usize,
    /// What the worker calls itself.
    pub worker: String,
    /// How long it waits for work.
    pub wait: Duration,
}

impl ClaimRequest {
    fn check(&self) -> Result<(), HostedError> {
        let wrong = |message: String| Err(HostedError::Invalid(message));
        let types = self.run_types.len();
        if types == 0 || types > CLAIM_TYPES_MAX {
            return wrong(format!("`types` names 1 to {CLAIM_TYPES_MAX} types, not {types}"));
        }
        if self.limit == 0 || self.limit > CLAIM_MAX {
            return wrong(format!("`limit` is 1 to {CLAIM_MAX}, not {}", self.limit));
        }
        let worker = self.worker.len();
        if worker == 0 || worker > JOB_KEY_BYTES_MAX || self.worker.chars().any(char::is_control) {
            return wrong(format!(
                "`worker` is a name of 1 to {JOB_KEY_BYTES_MAX} bytes without control characters"
            ));
        }
        if self.wait > CLAIM_WAIT_MAX {
            let most = CLAIM_WAIT_MAX.as_secs();
            return wrong(format!("`wait_seconds` is at most {most}; ask again for longer waits"));
        }
        Ok(())
    }
}

/// How often somebody looks for work who is not told of it.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

impl Hosted {
    /// Takes work, and waits for it when there is none. What is answered has begun; an empty
    /// answer means that the time is over or the agent stops.
    ///
    /// # Errors
    /// When the request is out of bounds, a type is not registered, too many wait already, the
    /// agent stops, or the store does not answer.
    pub async fn claim(&self, mut request: ClaimRequest) -> Result<Vec<Claimed>, HostedError> {
        request.check()?;
        request.run_types.sort_unstable();
        request.run_types.dedup();
        self.check_types(&request.run_types).await?;
        let over = tokio::time::sleep(request.wait);
        tokio::pin!(over);
        let mut permit = None;
        loop {
            if !self.door.is_open() {
                return Err(HostedError::Closed);
            }
            let seen = self.room().news(&request.run_types);
            let claimed = self.take(&request).await?;
            if !claimed.is_empty() || request.wait.is_zero() {
                return Ok(claimed);
            }
            if !self.within.sees_host() {
                // Whoever waits in the room is given what comes, wherever it comes from.
                tokio::select! {
                    biased;
                    () = &mut over => return Ok(Vec::new()),
                    () = self.drain.cancelled() => return Ok(Vec::new()),
                    () = tokio::time::sleep(LOOK_INTERVAL) => continue,
                }
            }
            if permit.is_none() {
                let free = self.seats.try_acquire();
                permit = Some(free.map_err(|_| HostedError::TooManyWait(CLAIMANTS_WAITING_MAX))?);
            }
            let holder = self.holder(&request.worker);
            let Some(mut seat) = self.room().enter(request.run_types.clone(), holder, seen) else {
                continue;
            };
            let told = tokio::select! {
                biased;
                told = seat.told() => told,
                () = &mut over => return Ok(seat.leave().map_or_else(Vec::new, Held::take)),
                () = self.drain.cancelled() => {
                    return Ok(seat.leave().map_or_else(Vec::new, Held::take));
                }
            };
            match told {
                Told::Work(held) => return Ok(held.take()),
                Told::Look => {}
            }
        }
    }

    /// One look into the store, to its end even when the claimant leaves: what it took is given
    /// back then.
    async fn take(&self, request: &ClaimRequest) -> Result<Vec<Claimed>, HostedError> {
        let claimant = Claimant {
            holder: self.holder(&request.worker),
            tenants: self.door.tenants.clone(),
            at: self.ambient().now(),
        };
        let claim = Claim {
            claimant,
            workspace_id: Some(self.scope().workspace_id),
            run_types: request.run_types.clone(),
            limit: request.limit,
            teller: teller(self.ambient(), Actor::agent()),
        };
        let (own, types) = (self.clone(), request.run_types.clone());
        let taking = async move {
            let limit = claim.limit;
            let claimed = own.store().claim(claim).await;
            // Whoever found as much as it can take leaves the rest to the next; whoever could not
            // look leaves all of it.
            if !matches!(&claimed, Ok(claimed) if claimed.len() < limit) {
                own.room().wake(&types);
            }
            claimed.map(|claimed| Held::new(own.room(), claimed))
        };
        let claimed = self.detached("claim", taking).await??.take();
        for claimed in &claimed {
            self.changed(&claimed.run);
        }
        Ok(claimed)
    }

    async fn check_types(&self, run_types: &[RunType]) -> Result<(), HostedError> {
        let known: Vec<RunType> = self.types().await?.iter().map(HostedType::run_type).collect();
        match run_types.iter().find(|run_type| !known.contains(run_type)) {
            Some(unknown) => Err(HostedError::UnknownType(*unknown)),
            None => Ok(()),
        }
    }
}
