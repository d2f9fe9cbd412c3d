//! A plan: atomic steps, what each waits for, why it is there, and how it is undone. Owns `Plan`,
//! `Step` and `Action`, their digest and their text. Face: `Plan`. Never holds a secret value or a
//! whole specification: it is shown, stored and compared, and the executor looks the rest up.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cause, FieldChange};
use crate::base::{CanonicalError, Digest, canonical};
use crate::facts::{Condition, HookKind, Instance};

/// What has to be done to make a project as declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// In an order in which each step comes after those it waits for.
    pub steps: Vec<Step>,
    /// What the operator should know, although nothing is done about it.
    pub notices: Vec<Notice>,
    /// What changes of containers, by their names: for people, and no part of what is done.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Vec<FieldChange>>,
}

/// The place of a step in its plan, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub u32);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One atomic effect: at most one call that changes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its place.
    pub id: StepId,
    /// What is done.
    pub action: Action,
    /// What it is done to: the name of a container, network, volume, image or service.
    pub subject: String,
    /// Why.
    pub cause: Cause,
    /// The cause as a sentence, for readers of the JSON.
    pub cause_text: String,
    /// Steps that must have succeeded before.
    pub depends_on: Vec<StepId>,
    /// Steps that must have ended before, well or not.
    pub after: Vec<StepId>,
    /// How its effect is taken back.
    pub undo: String,
}

/// What a step does. Containers that exist are named by the engine's id as well, so that a
/// namesake that appeared since the plan was made is never hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Action {
    /// Builds the image of a service.
    BuildImage {
        /// The service whose build it is.
        service: String,
        /// The name it gets.
        image: String,
    },
    /// Fetches an image.
    PullImage {
        /// Its reference.
        image: String,
        /// A particular platform.
        platform: Option<String>,
    },
    /// Makes a network.
    CreateNetwork {
        /// Its key in the project.
        key: String,
    },
    /// Removes a network.
    RemoveNetwork,
    /// Makes a volume.
    CreateVolume {
        /// Its key in the project.
        key: String,
    },
    /// Removes a volume and its data.
    RemoveVolume,
    /// Removes an image.
    RemoveImage,
    /// Writes the files that the containers of a service mount.
    WriteFiles {
        /// The service.
        service: String,
    },
    /// Makes a container, without starting it.
    CreateContainer {
        /// Which one.
        instance: Instance,
        /// Id of the container that it replaces, whose anonymous volumes it takes over.
        replaces: Option<String>,
    },
    /// Makes a container a member of a network.
    ConnectNetwork {
        /// The container.
        container: Target,
        /// The network's name.
        network: String,
    },
    /// Ends a membership.
    DisconnectNetwork {
        /// The container.
        container: Target,
        /// The network's name.
        network: String,
    },
    /// Starts a container.
    StartContainer {
        /// The container.
        container: Target,
    },
    /// Stops a container.
    StopContainer {
        /// The container.
        container: Target,
    },
    /// Stops and starts a container.
    RestartContainer {
        /// The container.
        container: Target,
    },
    /// Lets a frozen container go on.
    UnpauseContainer {
        /// The container.
        container: Target,
    },
    /// Changes limits and the restart policy of a container, which goes on as it is.
    UpdateContainer {
        /// The container.
        container: Target,
        /// Names of the settings that change.
        fields: Vec<String>,
    },
    /// Gives a container its name.
    RenameContainer {
        /// The container.
        container: Target,
        /// The new name.
        name: String,
    },
    /// Removes a container, and never its volumes.
    RemoveContainer {
        /// The container.
        container: Target,
    },
    /// Notes down that a container is kept from now on. The engine is not touched.
    AdoptContainer {
        /// The container.
        container: Target,
    },
    /// Waits until a container is as a dependent needs it.
    WaitFor {
        /// The container.
        container: Target,
        /// What is waited for.
        condition: Condition,
        /// How long it has to stay so, in seconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        steady_seconds: u64,
    },
    /// Executes a command that is hooked to the start or stop of a container.
    RunHook {
        /// The container.
        container: Target,
        /// Which of the service's lists it stands in.
        hook: HookKind,
        /// Its place in that list, from 0.
        index: usize,
    },
    /// Lets time pass between one replacement and the next.
    Pause {
        /// How much, in seconds.
        seconds: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(seconds: &u64) -> bool {
    *seconds == 0
}

/// A container of the project: what it is for, and its id when it exists already.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// What it is for.
    pub instance: Instance,
    /// The engine's id; `None` for the container that this plan makes for the instance.
    pub id: Option<String>,
}

impl Action {
    /// The verb and the noun, such as `create container`.
    pub fn title(&self) -> &'static str {
        match self {
            Self::BuildImage { .. } => "build image",
            Self::PullImage { .. } => "pull image",
            Self::CreateNetwork { .. } => "create network",
            Self::RemoveNetwork => "remove network",
            Self::CreateVolume { .. } => "create volume",
            Self::RemoveVolume => "remove volume",
            Self::RemoveImage => "remove image",
            Self::WriteFiles { .. } => "write files of",
            Self::CreateContainer { replaces: None, .. } => "create container",
            Self::CreateContainer { replaces: Some(_), .. } => "create replacement",
            Self::ConnectNetwork { .. } => "connect",
            Self::DisconnectNetwork { .. } => "disconnect",
            Self::StartContainer { .. } => "start",
            Self::StopContainer { .. } => "stop",
            Self::RestartContainer { .. } => "restart",
            Self::UnpauseContainer { .. } => "unpause",
            Self::UpdateContainer { .. } => "update container",
            Self::RenameContainer { .. } => "rename",
            Self::RemoveContainer { .. } => "remove container",
            Self::AdoptContainer { .. } => "adopt",
            Self::Pause { .. } => "pause before",
            Self::RunHook { hook: HookKind::PostStart, .. } => "run post_start of",
            Self::RunHook { hook: HookKind::PreStop, .. } => "run pre_stop of",
            Self::WaitFor { condition: Condition::ServiceStarted, .. } => "wait until running",
            Self::WaitFor { condition: Condition::ServiceHealthy, .. } => "wait until healthy",
            Self::WaitFor { condition: Condition::ServiceCompletedSuccessfully, .. } => {
                "wait until completed"
            }
        }
    }

    /// How the effect is taken back.
    pub fn undo(&self) -> &'static str {
        match self {
            Self::BuildImage { .. } => "remove the image; an earlier one has lost its name",
            Self::PullImage { .. } => "remove the image",
            Self::CreateNetwork { .. } => "remove the network",
            Self::RemoveNetwork => "create the network again; its addresses may differ",
            Self::CreateVolume { .. } => "remove the volume while it is empty",
            Self::RemoveVolume => "restore its data from a backup",
            Self::RemoveImage => "pull or build the image again",
            Self::WriteFiles { .. } => "remove the files",
            Self::CreateContainer { .. } => "remove the container; its volumes stay",
            Self::ConnectNetwork { .. } => "disconnect it",
            Self::DisconnectNetwork { .. } => "connect it",
            Self::StartContainer { .. } => "stop it",
            Self::StopContainer { .. } => "start it",
            Self::RestartContainer { .. } | Self::WaitFor { .. } | Self::Pause { .. } => {
                "nothing to undo"
            }
            Self::RunHook { .. } => "what the command did stays done",
            Self::UnpauseContainer { .. } => "pause it",
            Self::UpdateContainer { .. } => {
                "apply the former revision; a limit that was not there \
                                             before goes only with the container"
            }
            Self::RenameContainer { .. } => "give it its old name",
            Self::RemoveContainer { .. } => {
                "apply the former revision; the volumes are still there"
            }
            Self::AdoptContainer { .. } => "forget the record; the container stays",
        }
    }

    /// Does it change something on the engine? Waiting, noting down and writing our own files
    /// do not.
    pub fn writes_to_engine(&self) -> bool {
        !matches!(
            self,
            Self::WaitFor { .. }
                | Self::Pause { .. }
                | Self::AdoptContainer { .. }
                | Self::WriteFiles { .. }
        )
    }

    /// Does it provide an image? What follows is planned anew with the image's true id.
    pub fn provides_image(&self) -> bool {
        matches!(self, Self::BuildImage { .. } | Self::PullImage { .. })
    }

    /// Does what follows go on when it fails? Nothing may keep a container from being stopped.
    pub fn may_fail(&self) -> bool {
        matches!(self, Self::RunHook { hook: HookKind::PreStop, .. })
    }

    /// What names it among the steps of a run, over all attempts.
    pub fn key(&self, subject: &str) -> String {
        match self {
            Self::RunHook { hook, index, .. } => format!("run_{}[{index}]:{subject}", hook.key()),
            _ => format!("{}:{subject}", self.title().replace(' ', "_")),
        }
    }

    /// The same for people.
    pub fn described(&self, subject: &str) -> String {
        match self {
            Self::RunHook { hook, index, .. } => {
                format!("run {}[{index}] of {subject}", hook.key())
            }
            _ => format!("{} {subject}", self.title()),
        }
    }
}

/// Something worth knowing that no step changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Notice {
    /// Stable, machine-readable name.
    pub code: String,
    /// What it is about.
    pub subject: String,
    /// The sentence: lower case, no full stop.
    pub message: String,
}

impl Step {
    /// Does it only ask a registry whether its image is still the same? `pull_policy: always` does
    /// so at every `up`, `daily` and its kin when the last time is long ago, and only a new image is a change.
    pub fn only_asks(&self) -> bool {
        matches!(self.cause, Cause::PullAlways | Cause::PullDue { .. })
    }

    /// Does it change something on the engine, as far as is known before?
    pub fn writes_to_engine(&self) -> bool {
        self.action.writes_to_engine() && !self.only_asks()
    }
}

impl Plan {
    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Is something known not to be as declared?
    pub fn has_changes(&self) -> bool {
        self.steps.iter().any(|step| !step.only_asks())
    }

    /// Steps that change something on the engine.
    pub fn engine_writes(&self) -> usize {
        self.steps.iter().filter(|step| step.writes_to_engine()).count()
    }

    /// The steps alone that take back a failed replacement; `None` without any. They wait for
    /// nothing else.
    pub fn returns(&self) -> Option<Self> {
        let mut places = BTreeMap::new();
        let mut steps = Vec::new();
        for step in self.steps.iter().filter(|step| step.cause == Cause::ReplacementFailed) {
            let mut step = step.clone();
            let placed = |ids: &[StepId]| {
                ids.iter().filter_map(|id| places.get(id).copied()).collect::<Vec<StepId>>()
            };
            (step.depends_on, step.after) = (placed(&step.depends_on), placed(&step.after));
            let id = StepId(u32::try_from(steps.len() + 1).unwrap_or(u32::MAX));
            places.insert(std::mem::replace(&mut step.id, id), id);
            steps.push(step);
        }
        let project = self.project.clone();
        (!steps.is_empty()).then(|| Self { project, steps, ..Self::default() })
    }

    /// The step with this id.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.get(usize::try_from(id.0).ok()?.checked_sub(1)?)
    }

    /// What policy, approval and the executor mean by "this plan": two plans with one digest do
    /// the same to the same things for the same reasons.
    ///
    /// # Errors
    /// Only when a number has no exact form, which no plan contains.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        Ok(Digest::of(&canonical::to_bytes(&(&self.project, &self.steps))?))
    }
}

impl Plan {
    /// The steps as a table.
    pub(super) fn write_steps(&self, into: &mut impl fmt::Write) -> fmt::Result {
        let widths = Widths::of(&self.steps);
        self.steps.iter().try_for_each(|step| widths.write(into, step))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            writeln!(f, "{}: nothing to do", self.project)?;
        } else {
            let plural = if self.steps.len() == 1 { "" } else { "s" };
            writeln!(f, "{}: {} step{plural}", self.project, self.steps.len())?;
        }
        self.write_steps(f)?;
        for notice in &self.notices {
            writeln!(f, "note: {}: {}", notice.subject, notice.message)?;
        }
        Ok(())
    }
}

/// Column widths, so that a plan reads as a table.
struct Widths {
    id: usize,
    what: usize,
}

impl Widths {
    fn of(steps: &[Step]) -> Self {
        let id = steps.len().to_string().len();
        let what = steps.iter().map(|step| what(step).chars().count()).max().unwrap_or(0);
        Self { id, what }
    }

    fn write(&self, f: &mut impl fmt::Write, step: &Step) -> fmt::Result {
        let (id, what) = (step.id.to_string(), what(step));
        write!(f, "  {id:>0$}  {what:<1$}  {2}", self.id, self.what, step.cause_text)?;
        let mut before: Vec<_> = step.depends_on.iter().chain(&step.after).collect();
        before.sort_unstable();
        if !before.is_empty() {
            let ids: Vec<_> = before.iter().map(ToString::to_string).collect();
            write!(f, "  [after {}]", ids.join(", "))?;
        }
        f.write_str("\n")
    }
}

fn what(step: &Step) -> String {
    let told = step.action.described(&step.subject);
    match &step.action {
        Action::ConnectNetwork { network, .. } => format!("{told} to {network}"),
        Action::DisconnectNetwork { network, .. } => format!("{told} from {network}"),
        Action::RenameContainer { name, .. } => format!("{told} to {name}"),
        _ => told,
    }
}
