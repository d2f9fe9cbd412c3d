//! The wire form of plans. Owns the shape. Face: `PlanView`. Never shows a value that may be
//! secret: plans name fields, not contents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::CanonicalError;
use crate::domain::rollout::{Change, FieldChange, Notice, Plan, Step};

/// What would be done to make a project as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// The project.
    pub project: String,
    /// Two plans with one digest do the same to the same things for the same reasons.
    pub digest: String,
    /// Whether anything is known not to be as declared. A step that only asks a registry for an image
    /// (`pull_policy: always`) is no change.
    pub has_changes: bool,
    /// Steps, each after those it waits for.
    pub steps: Vec<PlannedStep>,
    /// What the operator should know, although nothing is done about it.
    pub notices: Vec<NoticeView>,
    /// What becomes of each container, network, volume and image.
    pub changes: Vec<ChangeView>,
    /// How many of them become what, such as `{"update": 2}`.
    pub summary: BTreeMap<String, u64>,
    /// The changes and the steps, for people.
    pub text: String,
}

/// What becomes of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// The service that it belongs to; else `networks`, `volumes` or `images`.
    pub group: String,
    /// Its name.
    pub subject: String,
    /// `create`, `update`, `replace`, `take back`, `finish`, `start`, `restart`, `adopt`, `connect`,
    /// `remove` or `fetch`.
    #[schema(example = "update")]
    pub kind: String,
    /// Why.
    pub cause: CauseView,
    /// How a container makes way for the one that replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
    /// What changes of a container.
    pub fields: Vec<FieldChangeView>,
}

/// One field of a container that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChangeView {
    /// Its name.
    #[schema(example = "resources.memory_bytes")]
    pub field: String,
    /// What it is; null is nothing, or not shown.
    pub before: Option<String>,
    /// What it becomes; null is nothing, or not shown.
    pub after: Option<String>,
    /// Whether the values are shown: those that may be secret never are.
    pub is_shown: bool,
}

/// One atomic effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedStep {
    /// Its place, from 1.
    pub id: u32,
    /// What is done.
    #[schema(example = "create container")]
    pub action: String,
    /// What it is done to.
    pub subject: String,
    /// Why.
    pub cause: CauseView,
    /// Steps that must have succeeded before.
    pub depends_on: Vec<u32>,
    /// Steps that must have ended before, well or not.
    pub after: Vec<u32>,
    /// How its effect is taken back.
    pub undo: String,
    /// Whether it changes something on the engine.
    pub writes_to_engine: bool,
}

/// Why a step is in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CauseView {
    /// For programs.
    #[schema(example = "contract_changed")]
    pub code: String,
    /// For people.
    pub text: String,
}

/// Something worth knowing that no step changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeView {
    /// For programs.
    pub code: String,
    /// What it is about.
    pub subject: String,
    /// For people.
    pub message: String,
}

impl TryFrom<&Plan> for PlanView {
    type Error = CanonicalError;

    fn try_from(plan: &Plan) -> Result<Self, CanonicalError> {
        Ok(Self {
            project: plan.project.clone(),
            digest: plan.digest()?.to_string(),
            has_changes: plan.has_changes(),
            steps: plan.steps.iter().map(PlannedStep::from).collect(),
            notices: plan.notices.iter().map(NoticeView::from).collect(),
            changes: plan.changes().iter().map(ChangeView::from).collect(),
            summary: plan
                .summary()
                .into_iter()
                .map(|(kind, count)| (kind.word().to_owned(), count as u64))
                .collect(),
            text: plan.diff(),
        })
    }
}

impl From<&Change<'_>> for ChangeView {
    fn from(change: &Change<'_>) -> Self {
        let field = |field: &FieldChange| FieldChangeView {
            field: field.field.clone(),
            before: field.before.clone(),
            after: field.after.clone(),
            is_shown: field.is_shown,
        };
        let cause =
            CauseView { code: change.cause.code().to_owned(), text: change.cause.to_string() };
        Self {
            group: change.group.to_owned(),
            subject: change.subject.to_owned(),
            kind: change.kind.word().to_owned(),
            cause,
            way: change.way.map(str::to_owned),
            fields: change.fields.iter().map(field).collect(),
        }
    }
}

impl From<&Step> for PlannedStep {
    fn from(step: &Step) -> Self {
        Self {
            id: step.id.0,
            action: step.action.title().to_owned(),
            subject: step.subject.clone(),
            cause: CauseView { code: step.cause.code().to_owned(), text: step.cause_text.clone() },
            depends_on: step.depends_on.iter().map(|id| id.0).collect(),
            after: step.after.iter().map(|id| id.0).collect(),
            undo: step.undo.clone(),
            writes_to_engine: step.writes_to_engine(),
        }
    }
}

impl From<&Notice> for NoticeView {
    fn from(notice: &Notice) -> Self {
        Self {
            code: notice.code.clone(),
            subject: notice.subject.clone(),
            message: notice.message.clone(),
        }
    }
}
