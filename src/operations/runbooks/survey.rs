//! Looks at what a runbook would do, and at which jobs that makes. Owns one look per runbook. Face:
//! `survey`. Never changes what it looks at: before a start and in the run's first step it is the
//! same look.

use std::collections::BTreeMap;

use crate::base::ids::{TenantId, WorkspaceId};
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::domain::runbooks::{Argument, Ask, Preflight, RunbookKey, Scope};
use crate::domain::runs::{OperationRun, Payload, RunType};
use crate::store::{NewJob, PageRequest, RunFilter, Store, StoreError};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Survey {
    /// For the operator, and for the digest.
    pub(super) preflight: Preflight,
    /// For the run: one job per tenant, or one for the host.
    pub(super) jobs: Vec<NewJob>,
}

/// Looks.
pub(super) async fn survey(
    store: &dyn Store,
    workspace: WorkspaceId,
    ask: &Ask,
) -> Result<Survey, StoreError> {
    match ask.key {
        RunbookKey::FindingsLifecycleBackfill => findings(store, workspace, ask).await,
        RunbookKey::RunsRetryFailed => dead_letters(store, workspace, ask).await,
        // What a file would do is planned from the file.
        RunbookKey::AuditVerify | RunbookKey::StoreMaintenance | RunbookKey::File(_) => {
            Ok(of_host())
        }
    }
}

async fn findings(
    store: &dyn Store,
    workspace: WorkspaceId,
    ask: &Ask,
) -> Result<Survey, StoreError> {
    let totals = store.finding_totals(workspace, ask.target_tenant_id).await?;
    let mut jobs: Vec<NewJob> = totals.iter().map(|it| job(Some(it.tenant_id))).collect();
    if let (Some(tenant), true) = (ask.target_tenant_id, jobs.is_empty()) {
        jobs.push(job(Some(tenant)));
    }
    let preflight = Preflight {
        affected_count: totals.iter().map(|it| it.lacking).sum(),
        total_count: totals.iter().map(|it| it.total).sum(),
        estimated_tenants: (ask.scope == Scope::AllTenants).then_some(jobs.len() as u64),
        facts: BTreeMap::new(),
    };
    Ok(Survey { preflight, jobs })
}

async fn dead_letters(
    store: &dyn Store,
    workspace: WorkspaceId,
    ask: &Ask,
) -> Result<Survey, StoreError> {
    let limit = limit(ask);
    let mut by_tenant: BTreeMap<Option<TenantId>, u64> = BTreeMap::new();
    let mut by_type: BTreeMap<String, u64> = BTreeMap::new();
    let mut page = PageRequest::first(PAGE_ITEMS_MAX);
    loop {
        let found = store.runs(letters(workspace, ask, ask.target_tenant_id), page).await?;
        for run in found.items.iter().filter(|run| is_wanted(ask, run)) {
            *by_tenant.entry(run.tenant_id).or_default() += 1;
            *by_type.entry(run.run_type().to_string()).or_default() += 1;
        }
        match found.next {
            None => break,
            after => page = PageRequest { limit: PAGE_ITEMS_MAX, after },
        }
    }
    let preflight = Preflight {
        affected_count: by_tenant.values().map(|letters| limit.min(*letters)).sum(),
        total_count: by_tenant.values().sum(),
        estimated_tenants: (ask.scope == Scope::AllTenants).then_some(by_tenant.len() as u64),
        facts: by_type.into_iter().map(|(kind, count)| (kind, count.to_string())).collect(),
    };
    Ok(Survey { preflight, jobs: by_tenant.into_keys().map(job).collect() })
}

/// What is done to this host has no count beforehand: looking is what it does.
fn of_host() -> Survey {
    let preflight = Preflight { total_count: 1, ..Preflight::default() };
    Survey { preflight, jobs: vec![job(None)] }
}

/// The dead letters that are asked for.
pub(super) fn letters(workspace: WorkspaceId, ask: &Ask, tenant: Option<TenantId>) -> RunFilter {
    let run_type = match ask.arguments.get("run_type") {
        Some(Argument::Text(text)) => text.parse::<RunType>().ok(),
        _ => None,
    };
    RunFilter {
        tenant_id: tenant,
        run_types: run_type.into_iter().collect(),
        is_dead_letter: Some(true),
        ..RunFilter::workspace(workspace)
    }
}

/// Whether a dead letter is what is asked for: a text that names no type means none.
pub(super) fn is_wanted(ask: &Ask, letter: &OperationRun) -> bool {
    match ask.arguments.get("run_type") {
        Some(wanted) => letter.run_type().key() == wanted.to_string(),
        None => true,
    }
}

/// At most so many letters of each tenant.
pub(super) fn limit(ask: &Ask) -> u64 {
    match ask.arguments.get("limit") {
        Some(Argument::Whole(limit)) => u64::try_from(*limit).unwrap_or(0),
        _ => u64::MAX,
    }
}

fn job(tenant_id: Option<TenantId>) -> NewJob {
    let key = tenant_id.map_or_else(|| "workspace".to_owned(), |id| id.to_string());
    NewJob { key, tenant_id, payload: Payload::default() }
}
