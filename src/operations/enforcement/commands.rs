//! What people say to enforcement, and what it tells them. Owns the switch, maintenance, what is asked
//! for by hand, and the look that changes nothing. Face: `Enforcement`. Never acts on a container
//! itself: a run does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event;
use super::look::{Look, LookError};
use crate::base::Ambient;
use crate::base::limits::{
    MAINTENANCE_LONGEST, MAINTENANCES_MAX, REASON_CHARS_MAX, RELEASE_GRACE_LONGEST,
};
use crate::base::time::after;
use crate::domain::audit::{AuditEvents, EventType, Outcome};
use crate::domain::enforcement::{
    Decision, Enforced, Keeper, Maintenance, Place, PlannedStep, Settings, Switch, Treated, steps,
};
use crate::domain::runs::{EnforcePolicy, Inputs, ReleaseContainer};
use crate::facts::ContainerFacts;
use crate::operations::projects::Asker;
use crate::operations::rollout::Rollout;
use crate::operations::{Admitted, Door, SubmitError, Within};
use crate::store::{EnforcementWrite, StoreError, Write};
use crate::world::docker::{EngineError, EngineErrorKind};

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum EnforcementError {
    /// The engine has no such container.
    #[error("no container {0} on this engine")]
    NoContainer(String),
    /// Nothing is done to the container.
    #[error("nothing is done to container {0}")]
    NotTreated(String),
    /// It may never be touched.
    #[error("container {name} is not touched: {why}")]
    Untouchable {
        /// The container.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// There is no maintenance there.
    #[error("no maintenance of {0}")]
    NoMaintenance(Place),
    /// There is too much.
    #[error("at most {MAINTENANCES_MAX} places are worked on at once")]
    TooMany,
    /// A text or a time is out of its bounds.
    #[error("{0}")]
    Invalid(String),
    /// The engine does not answer.
    #[error(transparent)]
    Engine(EngineError),
    /// The run could not be asked for.
    #[error(transparent)]
    Submit(SubmitError),
    /// The store did not answer or take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

impl From<LookError> for EnforcementError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Engine(error) => Self::Engine(error),
            LookError::Store(error) => Self::Store(error),
        }
    }
}

/// How it stands with enforcement.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What the configuration says.
    pub settings: Settings,
    /// What stands.
    pub enforced: Enforced,
    /// How many containers were dealt with within the window.
    pub recent: usize,
}

/// Speaks with people about enforcement. Cheap to clone.
#[derive(Clone)]
pub struct Enforcement {
    rollout: Rollout,
    door: Door,
    ambient: Ambient,
    within: Within,
}

impl Enforcement {
    /// On this engine and store.
    pub fn new(rollout: Rollout, door: Door, ambient: Ambient) -> Self {
        let within = Within::host(rollout.store.scope());
        Self { rollout, door, ambient, within }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// How it stands now. Maintenance that is over is not told.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn standing(&self) -> Result<Standing, EnforcementError> {
        let now = self.ambient.now();
        let round = self.rollout.enforcement_round(now, None).await;
        let mut round = round.map_err(EnforcementError::Store)?;
        round.enforced.maintenance.retain(|one| now < one.ends_at);
        let recent = round.recent.len();
        Ok(Standing { settings: round.settings, enforced: round.enforced, recent })
    }

    /// Containers that enforcement holds back, by id, and what it did.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn held_back(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let enforced = self.rollout.store.enforced(self.within.workspace()).await?;
        let held = enforced.treated.into_values().filter(Treated::holds_back);
        Ok(held.map(|it| (it.container_id.clone(), it.told())).collect())
    }

    /// Switches enforcement off or on.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn switch(
        &self,
        is_off: bool,
        reason: String,
        asker: &Asker,
    ) -> Result<Switch, EnforcementError> {
        let reason = bounded(reason)?;
        let switch = Switch { is_off, by: asker.name.clone(), reason, at: self.ambient.now() };
        let word = if is_off { "off" } else { "on" };
        let summary = format!("{} switched enforcement {word}: {}", asker.name, switch.reason);
        let workspace_id = self.within.workspace();
        let write = EnforcementWrite::PutSwitch { workspace_id, switch: switch.clone() };
        let place = Place::Host;
        self.record(write, EventType::EnforcementSwitched, (&place, &summary), asker).await?;
        Ok(switch)
    }

    /// Begins maintenance, or gives it another end.
    ///
    /// # Errors
    /// When it lasts too long, there is too much, or the store does not take it.
    pub async fn begin_maintenance(
        &self,
        place: Place,
        lasts: Duration,
        reason: String,
        asker: &Asker,
    ) -> Result<Maintenance, EnforcementError> {
        let reason = bounded(reason)?;
        if lasts.is_zero() || lasts > MAINTENANCE_LONGEST {
            let days = MAINTENANCE_LONGEST.as_secs() / 86_400;
            let text = format!("maintenance lasts between a second and {days} days");
            return Err(EnforcementError::Invalid(text));
        }
        let standing = self.standing().await?;
        let others = standing.enforced.maintenance.iter().filter(|one| one.place != place);
        if others.count() >= MAINTENANCES_MAX {
            return Err(EnforcementError::TooMany);
        }
        let began_at = self.ambient.now();
        let ends_at = after(began_at, lasts);
        let by = asker.name.clone();
        let maintenance = Maintenance { place: place.clone(), by, reason, began_at, ends_at };
        let summary = format!(
            "{} began maintenance of {place} until {ends_at:.0}: {}",
            asker.name, maintenance.reason
        );
        let write = EnforcementWrite::PutMaintenance {
            workspace_id: self.within.workspace(),
            maintenance: maintenance.clone(),
        };
        self.record(write, EventType::MaintenanceBegun, (&place, &summary), asker).await?;
        Ok(maintenance)
    }

    /// Ends maintenance.
    ///
    /// # Errors
    /// When there is none, or the store does not take it.
    pub async fn end_maintenance(
        &self,
        place: Place,
        asker: &Asker,
    ) -> Result<(), EnforcementError> {
        let standing = self.standing().await?;
        if !standing.enforced.maintenance.iter().any(|one| one.place == place) {
            return Err(EnforcementError::NoMaintenance(place));
        }
        let summary = format!("{} ended maintenance of {place}", asker.name);
        let write = EnforcementWrite::DropMaintenance {
            workspace_id: self.within.workspace(),
            place: place.clone(),
        };
        self.record(write, EventType::MaintenanceEnded, (&place, &summary), asker).await
    }

    /// Asks for a container to be shut off, whatever policies say.
    ///
    /// # Errors
    /// When there is no such container, it may not be touched, or the run cannot be asked for.
    pub async fn quarantine(
        &self,
        container: &str,
        reason: String,
        asker: &Asker,
    ) -> Result<Admitted, EnforcementError> {
        let reason = bounded(reason)?;
        let (found, look) = self.look(container).await?;
        let why = match look.keeper {
            Keeper::Ourselves => Some("it is a part of the agent"),
            Keeper::OtherAgent => Some("another agent made it"),
            Keeper::Ours { .. } | Keeper::Unmanaged => None,
        };
        if let Some(why) = why {
            return Err(EnforcementError::Untouchable { name: found.name, why });
        }
        let inputs = Inputs::EnforcePolicy(EnforcePolicy {
            container_id: found.id,
            name: found.name,
            project: project_of(&look.keeper),
            codes: Vec::new(),
            by_hand: Some(reason),
            noticed_at: None,
        });
        self.submit(inputs, asker).await
    }

    /// Asks for what was done about a container to be taken back. Policies leave it alone for as long
    /// as `grace` says.
    ///
    /// # Errors
    /// When nothing is done to it, or the run cannot be asked for.
    pub async fn release(
        &self,
        container: &str,
        reason: String,
        grace: Duration,
        asker: &Asker,
    ) -> Result<Admitted, EnforcementError> {
        let reason = bounded(reason)?;
        if grace > RELEASE_GRACE_LONGEST {
            let days = RELEASE_GRACE_LONGEST.as_secs() / 86_400;
            let text = format!(
                "a released container is left alone for at most {days} days; an exception lasts longer"
            );
            return Err(EnforcementError::Invalid(text));
        }
        let enforced = self.rollout.store.enforced(self.within.workspace()).await;
        let enforced = enforced.map_err(EnforcementError::Store)?;
        let is_it = |id: &str, name: &str| {
            id == container
                || name == container
                || (container.len() >= CONTAINER_ID_CHARS_MIN && id.starts_with(container))
        };
        let treated = enforced.treated.into_values().find(|it| is_it(&it.container_id, &it.name));
        let treated = treated.ok_or_else(|| EnforcementError::NotTreated(container.to_owned()))?;
        let inputs = Inputs::ReleaseContainer(ReleaseContainer {
            container_id: treated.container_id,
            name: treated.name,
            project: treated.project,
            reason,
            grace_seconds: grace.as_secs(),
        });
        self.submit(inputs, asker).await
    }

    /// What would be done about a container now, and by which steps. Changes nothing.
    ///
    /// # Errors
    /// When there is no such container, or engine or store do not answer.
    pub async fn plan(
        &self,
        container: &str,
    ) -> Result<(ContainerFacts, Look, Vec<PlannedStep>), EnforcementError> {
        let (found, look) = self.look(container).await?;
        let planned = match &look.decision {
            Decision::Act { rung, changes, .. } => steps(*rung, &found, changes),
            Decision::Leave(_) => Vec::new(),
        };
        Ok((found, look, planned))
    }

    async fn look(&self, container: &str) -> Result<(ContainerFacts, Look), EnforcementError> {
        let found = match self.rollout.engine.container(container).await {
            // What cannot be a container's name is none's.
            Err(error) if error.kind == EngineErrorKind::Invalid => None,
            found => found.map_err(EnforcementError::Engine)?,
        };
        let found = found.ok_or_else(|| EnforcementError::NoContainer(container.to_owned()))?;
        let round = self.rollout.enforcement_round(self.ambient.now(), None).await;
        let mut round = round.map_err(EnforcementError::Store)?;
        let look = self.rollout.look_at(&mut round, &found, None).await?;
        Ok((found, look))
    }

    async fn submit(&self, inputs: Inputs, asker: &Asker) -> Result<Admitted, EnforcementError> {
        let request = asker.request(&self.within.scope, inputs);
        self.door.submit(request).await.map_err(EnforcementError::Submit)
    }

    async fn record(
        &self,
        write: EnforcementWrite,
        event_type: EventType,
        (place, summary): (&Place, &str),
        asker: &Asker,
    ) -> Result<(), EnforcementError> {
        let scope = &self.within.scope;
        let text = place.to_string();
        let project = match place {
            Place::Host => None,
            Place::Project(name) => Some(name.as_str()),
        };
        let what = (event_type, Outcome::Success, asker.actor(scope));
        let target = ("enforcement", text.as_str(), text.as_str());
        let event = event(&self.ambient, scope, what, target, (project, summary));
        let committed =
            self.rollout.store.commit(vec![Write::Enforcement(write)], AuditEvents::from(event));
        committed.await.map_err(EnforcementError::Store)
    }
}

/// As much of a container's id as names one for certain.
const CONTAINER_ID_CHARS_MIN: usize = 12;

/// The project as a part of which this agent keeps a container.
pub(crate) fn project_of(keeper: &Keeper) -> Option<String> {
    match keeper {
        Keeper::Ours { project } => Some(project.clone()),
        _ => None,
    }
}

fn bounded(reason: String) -> Result<String, EnforcementError> {
    let reason = reason.trim().to_owned();
    let chars = reason.chars().count();
    match (1..=REASON_CHARS_MAX).contains(&chars) {
        true => Ok(reason),
        false => {
            let text = format!("a reason has between 1 and {REASON_CHARS_MAX} characters");
            Err(EnforcementError::Invalid(text))
        }
    }
}
