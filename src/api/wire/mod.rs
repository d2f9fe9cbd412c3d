//! Shapes the JSON of the API. Owns every wire type. Face: the types re-exported here, and their
//! conversions from the domain. Never changes the meaning of a field within `/v1`.

mod access;
mod agent;
mod alerts;
mod audit;
mod exec;
mod glass;
mod hosted;
mod images;
mod instances;
mod plans;
mod platform;
mod policies;
mod projects;
mod queue;
mod registries;
mod runbooks;
mod runs;
mod schedules;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store;

pub use access::{
    MemberPut, MemberView, RoleGranted, RoleView, StandingHere, TenantPut, TenantView, TokenMade,
    TokenNew, TokenView, UserPut, UserView, WhoamiView, reached,
};
pub use agent::AgentView;
pub use alerts::{DeliveryView, ReceiverPut, ReceiverView, RulePut, RuleView};
pub use audit::{
    ActorView, AuditDetail, AuditErase, AuditErased, AuditFilters, AuditKey, AuditPurge,
    AuditPurged, AuditRow, AuditTenant, ContextItemView, TargetView, Viewer, cloud_event,
};
pub use exec::{
    EXEC_MEDIA_TYPE, ExecEnded, ExecNew, ExecSize, Frame, FrameError, FrameKind, Frames,
};
pub use glass::{CertificateNew, CertificateView, ElevationView, GlassBreak, GlassMend};
pub use hosted::{
    ClaimWork, ClaimedWork, Complete, Enqueue, EnqueueBatch, EnqueueJob, EnqueuedBatch, Fail,
    FanOut, HeardView, JobView, Progress, RetryRule, StandingView, StepProgress, TypeDefinition,
    TypeView, WorkFailure, WorkItem,
};
pub use images::{Build, ImageCheck, ImageEnd, ImageView, Pull};
pub use instances::{AddressView, EndpointsView, InstanceView, LimitsView, UsageView};
pub use plans::{CauseView, ChangeView, FieldChangeView, NoticeView, PlanView, PlannedStep};
pub use platform::{WorkspacePut, WorkspaceView};
pub use policies::{PolicyExceptionView, PolicyList, PolicyRuleView, PolicyView};
pub use projects::{
    Apply, ApplyOptions, ContainerView, ContextsMissing, ContextsWanted, DownOptions, LogRecord,
    ProjectDetail, ProjectView, RestartOptions, ServiceView, SourceView,
};
pub use queue::{
    ControlView, DepthView, Parts, PutControl, QueueAgentView, QueueView, Retry, WaitingWorker,
};
pub use registries::{RegistryLoginPut, RegistryLoginView};
pub use runbooks::{
    ApprovalView, ParameterView, PlatformInitiatorView, PreflightView, ReasonView, RunDecision,
    RunbookAsk, RunbookList, RunbookOfRun, RunbookStart, RunbookStep, RunbookView, StepOfRunbook,
};
pub use runs::{
    AttemptView, ConfigurationView, FailureView, RunAccepted, RunDetail, RunEvent, RunView,
    ServiceEnd, StepView, WaitingView,
};
pub use schedules::{FiringView, SchedulePut, ScheduleView, TaskView};

/// One part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// What to give as `after` for the next part; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of the store in the words of the wire.
    pub fn of<S>(page: store::Page<S>, view: impl FnMut(S) -> T) -> Self {
        Self {
            items: page.items.into_iter().map(view).collect(),
            next: page.next.map(|cursor| cursor.0),
        }
    }
}
