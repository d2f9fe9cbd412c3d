//! The routes of findings and compliance. Owns `/v1/findings…` and `/v1/compliance`. Face: the handlers.
//! Never decides what the lifecycle allows.

use std::collections::BTreeMap;

use axum::extract::Extension;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::access::Inside;
use super::extract::{Json, JsonOrDefault, Path, Query, Reply, parse, parse_list};
use super::problem::{Problem, ProblemCode};
use super::runs::page_request;
use super::wire::{
    AuditRow, ComplianceCounts, ComplianceRow, ComplianceView, ExceptionAsk, ExceptionDecision,
    ExceptionRevoke, ExceptionView, FindingAct, FindingAssign, FindingDetail, FindingView, Page,
    Viewer,
};
use crate::base::ids::{FindingId, TenantId, UserId};
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::domain::access::{Capability, Directory, Grant};
use crate::domain::findings::{
    Command, Decision, Finding, FindingException, FindingStatus, Tally, Verb,
};
use crate::domain::redaction::SafeText;
use crate::operations::findings::{Aim, Compliance, FINDING_TARGET, FindingError};
use crate::operations::projects::Asker;
use crate::store::{AuditFilter, FindingFilter, PageRequest};

/// Records of the audit log that a finding's page shows.
const HISTORY_MAX: usize = 100;

impl From<FindingError> for Problem {
    fn from(error: FindingError) -> Self {
        let text = error.to_string();
        match error {
            FindingError::Unknown { .. } => {
                Self::new(ProblemCode::NotFound, text).hint("`wharf findings ls` lists them")
            }
            FindingError::Refused(_) => Self::new(ProblemCode::Conflict, text)
                .hint("`wharf findings show ID` says where it stands and what is possible"),
            FindingError::NoReason => Self::new(ProblemCode::BadRequest, text),
            FindingError::Busy => Self::new(ProblemCode::Conflict, text).hint("try again"),
            FindingError::Store(source) => Self::from(source),
        }
    }
}

/// Which findings are wanted. Lists are separated by commas.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FindingQuery {
    /// In these statuses: `open` stands for all that are not over.
    status: Option<String>,
    /// Of these severities.
    severity: Option<String>,
    /// Of these types: `drift`, `policy_violation`.
    #[serde(rename = "type")]
    finding_type: Option<String>,
    /// That this policy says.
    policy: Option<String>,
    /// By this check.
    check: Option<String>,
    /// Of this project.
    project: Option<String>,
    /// About this subject.
    subject: Option<String>,
    /// That this member works on, by name or id.
    assignee: Option<String>,
    /// Of the tenant with this id.
    tenant_id: Option<String>,
    /// Only what should have been dealt with by now.
    overdue: Option<bool>,
    /// With this text in the subject or in what is told, whatever the case.
    search: Option<String>,
    /// Most items, up to 500.
    limit: Option<usize>,
    /// The `next` of the last part.
    after: Option<String>,
}

/// Which finding a route is about.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct FindingPath {
    /// The finding's id
    #[param(value_type = String)]
    id: FindingId,
}

/// Which exception of which finding a route is about.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ExceptionPath {
    /// The finding's id
    #[param(value_type = String)]
    id: FindingId,
    /// The exception's id, or `open` for the one that is asked for or in force
    exception: String,
}

impl ExceptionPath {
    fn aim(&self) -> Result<Aim, Problem> {
        let exception = match self.exception.as_str() {
            "open" => None,
            id => Some(parse("exception", id)?),
        };
        Ok(Aim { finding: self.id, exception })
    }
}

/// Findings, the most severe first, then the newest
#[utoipa::path(
    get, path = "/v1/findings", operation_id = "list_findings", tag = "findings",
    params(FindingQuery),
    responses(
        (status = 200, body = Page<FindingView>),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn list(
    Inside(api): Inside,
    Query(query): Query<FindingQuery>,
) -> Reply<Page<FindingView>> {
    let now = api.ambient.now();
    let directory = api.access.directory().await?;
    let is_overdue = query.overdue.unwrap_or(false);
    let statuses = match query.status.as_deref() {
        Some("open") => FindingStatus::open(),
        None if is_overdue => FindingStatus::open(),
        words => parse_list("status", words)?,
    };
    let assignee = query.assignee.as_deref().map(|text| member(&api, &directory, text));
    let filter = FindingFilter {
        tenant_id: query.tenant_id.as_deref().map(|id| parse("tenant_id", id)).transpose()?,
        statuses,
        severities: parse_list("severity", query.severity.as_deref())?,
        types: parse_list("type", query.finding_type.as_deref())?,
        policy: query.policy,
        check_id: query.check,
        project: query.project,
        subject: query.subject,
        assignee: assignee.transpose()?,
        due_before: is_overdue.then_some(now),
        search: query.search,
        ..FindingFilter::workspace(api.within.workspace())
    };
    let page = api.findings.list(filter, page_request(query.limit, query.after)).await?;
    Ok(axum::Json(Page::of(page, |finding| FindingView::of(&finding, &directory, now))))
}

/// One finding with its exceptions and its history
#[utoipa::path(
    get, path = "/v1/findings/{id}", operation_id = "show_finding", tag = "findings",
    params(FindingPath),
    responses((status = 200, body = FindingDetail), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Inside(api): Inside,
    Extension(grant): Extension<Grant>,
    Path(FindingPath { id }): Path<FindingPath>,
) -> Reply<FindingDetail> {
    let (finding, exceptions) = api.findings.find(id).await?;
    detail(&api, &grant, &finding, &exceptions).await
}

/// Says that somebody looked at a finding, works on it, put it right, is done with it, or was not
#[utoipa::path(
    post, path = "/v1/findings/{id}/status", operation_id = "change_finding", tag = "findings",
    params(FindingPath),
    request_body = FindingAct,
    responses(
        (status = 200, body = FindingDetail),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn act(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(FindingPath { id }): Path<FindingPath>,
    Json(body): Json<FindingAct>,
) -> Reply<FindingDetail> {
    let reason = said(body.reason.as_deref());
    let command = match body.verb {
        Verb::Triage => Command::Triage,
        Verb::Start => Command::Start,
        Verb::Resolve => Command::Resolve,
        Verb::Close => Command::Close,
        Verb::Reopen => Command::Reopen,
        verb @ (Verb::Assign | Verb::Accept) => {
            let text = format!("`{verb}` has a route of its own");
            let hint = "`POST /v1/findings/{id}/assignee`, `POST /v1/findings/{id}/exceptions`";
            return Err(Problem::new(ProblemCode::BadRequest, text).hint(hint));
        }
    };
    if command == Command::Close && reason.is_none() {
        return Err(FindingError::NoReason.into());
    }
    let finding = api.findings.act(id, command, reason, &asker).await?;
    changed(&api, &grant, finding.id).await
}

/// Gives a finding to a member, or takes it back
#[utoipa::path(
    post, path = "/v1/findings/{id}/assignee", operation_id = "assign_finding", tag = "findings",
    params(FindingPath),
    request_body = FindingAssign,
    responses(
        (status = 200, body = FindingDetail),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn assign(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(FindingPath { id }): Path<FindingPath>,
    Json(body): Json<FindingAssign>,
) -> Reply<FindingDetail> {
    let directory = api.access.directory().await?;
    let (finding, _) = api.findings.find(id).await?;
    let assignee = match &body.assignee {
        Some(text) => Some(reaching(&api, &directory, text, finding.tenant_id)?),
        None => None,
    };
    let finding = api.findings.act(id, Command::Assign(assignee), None, &asker).await?;
    changed(&api, &grant, finding.id).await
}

/// Asks for the risk of a finding to be accepted; another person decides
#[utoipa::path(
    post, path = "/v1/findings/{id}/exceptions", operation_id = "ask_finding_exception",
    tag = "findings",
    params(FindingPath),
    request_body = ExceptionAsk,
    responses(
        (status = 201, body = ExceptionView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn ask(
    Inside(api): Inside,
    asker: Asker,
    Path(FindingPath { id }): Path<FindingPath>,
    Json(body): Json<ExceptionAsk>,
) -> Result<(StatusCode, axum::Json<ExceptionView>), Problem> {
    let wanted = (SafeText::new(&body.reason), body.expires_at);
    let owner = person(&asker)?;
    let exception = api.findings.ask_exception(id, wanted, (&asker, owner)).await?;
    let directory = api.access.directory().await?;
    Ok((StatusCode::CREATED, axum::Json(ExceptionView::of(&exception, &directory))))
}

/// Accepts the risk of a finding, or does not; never who asked for it
#[utoipa::path(
    post, path = "/v1/findings/{id}/exceptions/{exception}/decision",
    operation_id = "decide_finding_exception", tag = "findings",
    params(ExceptionPath),
    request_body = ExceptionDecision,
    responses(
        (status = 200, body = FindingDetail),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn decide(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(path): Path<ExceptionPath>,
    Json(body): Json<ExceptionDecision>,
) -> Reply<FindingDetail> {
    let decision = if body.is_approved { Decision::Approve } else { Decision::Reject };
    let (reason, by) = (said(body.reason.as_deref()), person(&asker)?);
    let who = (&asker, by);
    let (finding, _) = api.findings.decide_exception(path.aim()?, decision, reason, who).await?;
    changed(&api, &grant, finding.id).await
}

/// Takes an exception back, or what was asked for
#[utoipa::path(
    post, path = "/v1/findings/{id}/exceptions/{exception}/revoke",
    operation_id = "revoke_finding_exception", tag = "findings",
    params(ExceptionPath),
    request_body = Option<ExceptionRevoke>,
    responses(
        (status = 200, body = FindingDetail),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn revoke(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(path): Path<ExceptionPath>,
    JsonOrDefault(body): JsonOrDefault<ExceptionRevoke>,
) -> Reply<FindingDetail> {
    let (reason, by) = (said(body.reason.as_deref()), person(&asker)?);
    let (aim, who) = (path.aim()?, (&asker, by));
    let (finding, _) = api.findings.decide_exception(aim, Decision::Revoke, reason, who).await?;
    changed(&api, &grant, finding.id).await
}

/// What the compliance is wanted of.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ComplianceQuery {
    /// A row for each `policy`, `project` or `tenant`; `policy` when it is not said.
    by: Option<String>,
    /// Of this policy.
    policy: Option<String>,
    /// Of this project.
    project: Option<String>,
    /// Of the tenant with this id.
    tenant_id: Option<String>,
}

/// How subjects stood to policies when they were judged last
#[utoipa::path(
    get, path = "/v1/compliance", operation_id = "show_compliance", tag = "findings",
    params(ComplianceQuery),
    responses((status = 200, body = ComplianceView), (status = 400, body = Problem))
)]
pub(super) async fn compliance(
    Inside(api): Inside,
    Query(query): Query<ComplianceQuery>,
) -> Reply<ComplianceView> {
    let by = query.by.as_deref().unwrap_or("policy");
    let tenant_id = query.tenant_id.as_deref().map(|id| parse::<TenantId>("tenant_id", id));
    let tenant_id = tenant_id.transpose()?;
    let directory = api.access.directory().await?;
    let name = |row: &Compliance| -> Result<String, Problem> {
        match by {
            "policy" => Ok(row.policy.clone()),
            "project" => Ok(row.project.clone().unwrap_or_else(|| "-".to_owned())),
            "tenant" => {
                let tenant = directory.tenants.iter().find(|it| it.id == row.tenant_id);
                Ok(tenant.map_or_else(|| row.tenant_id.to_string(), |it| it.name.clone()))
            }
            other => Err(Problem::new(
                ProblemCode::BadRequest,
                format!("parameter `by`: `{other}` is neither `policy`, `project` nor `tenant`"),
            )),
        }
    };
    let is_wanted = |row: &&Compliance| {
        query.policy.as_ref().is_none_or(|policy| *policy == row.policy)
            && query.project.as_ref().is_none_or(|it| row.project.as_ref() == Some(it))
            && tenant_id.is_none_or(|tenant_id| tenant_id == row.tenant_id)
    };
    let found = api.findings.compliance().await?;
    let mut rows: BTreeMap<String, Tally> = BTreeMap::new();
    let mut total = Tally::default();
    for row in found.iter().filter(is_wanted) {
        rows.entry(name(row)?).or_default().join(row.tally);
        total.join(row.tally);
    }
    if rows.is_empty() && !["policy", "project", "tenant"].contains(&by) {
        let text = format!("parameter `by`: `{by}` is neither `policy`, `project` nor `tenant`");
        return Err(Problem::new(ProblemCode::BadRequest, text));
    }
    let row = |(name, tally)| ComplianceRow { name, counts: ComplianceCounts::from(tally) };
    let items = rows.into_iter().map(row).collect();
    Ok(axum::Json(ComplianceView { by: by.to_owned(), items, total: total.into() }))
}

/// The finding after it was changed.
async fn changed(api: &Api, grant: &Grant, id: FindingId) -> Reply<FindingDetail> {
    let (finding, exceptions) = api.findings.find(id).await?;
    detail(api, grant, &finding, &exceptions).await
}

async fn detail(
    api: &Api,
    grant: &Grant,
    finding: &Finding,
    exceptions: &[FindingException],
) -> Reply<FindingDetail> {
    let directory = api.access.directory().await?;
    let history = match grant.capabilities.has(Capability::AuditView) {
        true => Some(history(api, grant, &directory, finding.id).await?),
        false => None,
    };
    let now = api.ambient.now();
    Ok(axum::Json(FindingDetail::of((finding, exceptions), history, &directory, now)))
}

async fn history(
    api: &Api,
    grant: &Grant,
    directory: &Directory,
    id: FindingId,
) -> Result<Vec<AuditRow>, Problem> {
    let filter = AuditFilter {
        target_type: Some(FINDING_TARGET.to_owned()),
        target_id: Some(id.to_string()),
        reach: api.within.reach.clone(),
        ..AuditFilter::workspace(api.within.workspace())
    };
    let first = PageRequest::first(HISTORY_MAX.min(PAGE_ITEMS_MAX));
    let found = api.store.audit(filter, first).await?;
    let viewer = Viewer { capabilities: grant.capabilities, directory: Some(directory) };
    Ok(found.items.iter().map(|record| AuditRow::of(record, viewer)).collect())
}

/// A text, when there is one.
fn said(text: Option<&str>) -> Option<SafeText> {
    text.filter(|text| !text.trim().is_empty()).map(SafeText::new)
}

/// Who asks, as the record that answers for it.
fn person(asker: &Asker) -> Result<UserId, Problem> {
    asker.user_id.ok_or_else(|| {
        let text = format!("{} has no record, and cannot answer for an exception", asker.name);
        Problem::new(ProblemCode::Forbidden, text)
            .hint("`wharf access` makes a user and a member of the workspace")
    })
}

/// A member of the workspace, by name or id.
fn member(api: &Api, directory: &Directory, text: &str) -> Result<UserId, Problem> {
    let workspace = api.within.workspace();
    let id = text.parse::<UserId>().ok();
    let is_meant = |user: &&crate::domain::access::User| match id {
        Some(id) => user.id == id,
        None => user.name == text && directory.standing(user.id, workspace).is_some(),
    };
    let found = directory.users.iter().find(is_meant);
    let unknown = || {
        Problem::new(ProblemCode::NotFound, format!("there is no member {text}"))
            .hint("`wharf access members` lists them")
    };
    found.map(|user| user.id).ok_or_else(unknown)
}

/// A member who reaches a tenant.
fn reaching(
    api: &Api,
    directory: &Directory,
    text: &str,
    tenant: TenantId,
) -> Result<UserId, Problem> {
    let id = member(api, directory, text)?;
    let standing = directory.standing(id, api.within.workspace());
    let reaches = standing.is_some_and(|it| {
        it.reach.covers(Some(tenant)) && it.capabilities.has(Capability::FindingsView)
    });
    match reaches {
        true => Ok(id),
        false => {
            let text = format!("{text} does not reach the finding, and cannot work on it");
            Err(Problem::new(ProblemCode::BadRequest, text))
        }
    }
}
