//! Says what a list picks and where its next page begins, for every dialect. Owns the restrictions of
//! lists and the form of their cursors. Face: one function per list. Never says what is selected: the
//! columns are the dialect's.

use super::filter::{Bound, Marks, Restriction, nanos};
use super::{
    AuditFilter, Cursor, DeliveryFilter, FindingFilter, PageRequest, RunFilter, StoreError,
    severity_rank,
};
use crate::base::ids::{DeliveryId, FindingId};
use crate::base::limits::AUDIT_OPTIONS_RECORDS;
use crate::domain::alerts::Delivery;
use crate::domain::findings::Finding;
use crate::domain::runs::OperationRun;

/// The order of a list of runs of the table `r`: newest first.
pub(super) const RUNS_ORDER: &str = "r.created_at DESC, r.id DESC";
/// The order of a list of deliveries of the table `d`: newest first.
pub(super) const DELIVERIES_ORDER: &str = "d.created_at DESC, d.id DESC";

/// The order of a list of findings of the table `f`: the most severe first, then the newest.
pub(super) const FINDINGS_ORDER: &str = "f.severity_rank DESC, f.id DESC";

/// Which runs of the table `r` are on this page.
pub(super) fn runs(
    marks: Marks,
    filter: &RunFilter,
    page: &PageRequest,
) -> Result<Restriction, StoreError> {
    Ok(Restriction::new(marks)
        .equals("r.workspace_id", filter.workspace_id.to_string())
        .within("r.tenant_id", &filter.reach)
        .equals_if("r.tenant_id", filter.tenant_id.as_ref())
        .equals_if("r.subject", filter.subject.as_ref())
        .any_of("r.type", &filter.run_types)
        .any_of("r.status", &filter.statuses)
        .any_of("r.outcome", &filter.outcomes)
        .any_of("r.source", &filter.sources)
        .literally(match filter.is_dead_letter {
            Some(true) => Some("r.is_dead_letter = 1"),
            Some(false) => Some("r.is_dead_letter = 0"),
            None => None,
        })
        .at_least("r.created_at", filter.from.map(nanos))
        .less_than("r.created_at", filter.until.map(nanos))
        .below("r.created_at, r.id", page.after.as_ref().map(run_place).transpose()?))
}

/// The place of a run in a list.
pub(super) fn run_cursor(run: &OperationRun) -> Cursor {
    Cursor(format!("{}~{}", nanos(run.created_at), run.id))
}

fn run_place(Cursor(text): &Cursor) -> Result<Vec<Bound>, StoreError> {
    text.split_once('~')
        .and_then(|(at, id)| Some(vec![Bound::Number(at.parse().ok()?), id.to_owned().into()]))
        .ok_or_else(|| StoreError::BadCursor(text.clone()))
}

/// Which deliveries of the table `d` are on this page.
pub(super) fn deliveries(
    marks: Marks,
    filter: &DeliveryFilter,
    page: &PageRequest,
) -> Result<Restriction, StoreError> {
    Ok(Restriction::new(marks)
        .equals("d.workspace_id", filter.workspace_id.to_string())
        .equals_if("d.status", filter.status.as_ref())
        .equals_if("d.receiver_id", filter.receiver_id.as_ref())
        .equals_if("d.run_id", filter.run_id.as_ref())
        .below("d.created_at, d.id", page.after.as_ref().map(delivery_place).transpose()?))
}

/// The place of a delivery in a list.
pub(super) fn delivery_cursor(delivery: &Delivery) -> Cursor {
    Cursor(format!("{}:{}", nanos(delivery.event.occurred_at), delivery.id))
}

fn delivery_place(Cursor(text): &Cursor) -> Result<Vec<Bound>, StoreError> {
    let bad = || StoreError::BadCursor(text.clone());
    let (nanos, id) = text.split_once(':').ok_or_else(bad)?;
    let id: DeliveryId = id.parse().map_err(|_| bad())?;
    Ok(vec![Bound::Number(nanos.parse().map_err(|_| bad())?), Bound::Text(id.to_string())])
}

/// Which findings of the table `f` are on this page.
pub(super) fn findings(
    marks: Marks,
    filter: &FindingFilter,
    page: &PageRequest,
) -> Result<Restriction, StoreError> {
    // Said as the index of open ones says it.
    let is_open = !filter.statuses.is_empty() && filter.statuses.iter().all(|it| !it.is_over());
    // A name among others, as JSON has it.
    let policy = filter.policy.as_ref().map(|name| format!("\"{name}\""));
    Ok(Restriction::new(marks)
        .equals("f.workspace_id", filter.workspace_id.to_string())
        .within("f.tenant_id", &filter.reach)
        .equals_if("f.tenant_id", filter.tenant_id.as_ref())
        .literally(is_open.then_some("f.status NOT IN ('resolved', 'closed')"))
        .any_of("f.status", &filter.statuses)
        .any_of("f.severity", &filter.severities)
        .any_of("f.type", &filter.types)
        .contains("f.policies", policy.as_deref())
        .equals_if("f.check_id", filter.check_id.as_ref())
        .equals_if("f.project", filter.project.as_ref())
        .equals_if("f.subject", filter.subject.as_ref())
        .equals_if("f.assignee", filter.assignee.as_ref())
        .less_than("f.due_at", filter.due_before.map(nanos))
        .contains("(f.subject || ' ' || f.title || ' ' || f.message)", filter.search.as_deref())
        .below("f.severity_rank, f.id", page.after.as_ref().map(finding_place).transpose()?))
}

/// The place of a finding in a list.
pub(super) fn finding_cursor(finding: &Finding) -> Cursor {
    Cursor(format!("{}_{}", severity_rank(finding.severity), finding.id))
}

fn finding_place(Cursor(text): &Cursor) -> Result<Vec<Bound>, StoreError> {
    let bad = || StoreError::BadCursor(text.clone());
    let (rank, id) = text.split_once('_').ok_or_else(bad)?;
    let id: FindingId = id.parse().map_err(|_| bad())?;
    Ok(vec![Bound::Number(rank.parse().map_err(|_| bad())?), Bound::Text(id.to_string())])
}

/// Which records of the audit log pass the filter, whatever the page.
pub(super) fn audit(marks: Marks, filter: &AuditFilter) -> Restriction {
    Restriction::new(marks)
        .equals("workspace_id", filter.workspace_id.to_string())
        .within("tenant_id", &filter.reach)
        .equals_if("tenant_id", filter.tenant_id.as_ref())
        .any_of("event_type", &filter.event_types)
        .any_of("outcome", &filter.outcomes)
        .equals_if("actor_type", filter.actor_type.as_ref())
        .equals_if("actor_label", filter.actor_label.as_ref())
        .equals_if("target_type", filter.target_type.as_ref())
        .equals_if("target_id", filter.target_id.as_ref())
        .equals_if("operation_run_id", filter.operation_run_id.as_ref())
        .at_least("occurred_at", filter.date_from.map(nanos))
        .less_than("occurred_at", filter.date_until.map(nanos))
        .contains("summary", filter.search.as_deref())
}

/// Counts the newest records that pass the filter by what one can filter by, in a dialect's `order`.
pub(super) fn audit_options(
    marks: Marks,
    filter: &AuditFilter,
    order: &str,
) -> (String, Vec<Bound>) {
    let columns = "event_type, outcome, actor_type, actor_label, target_type, tenant_id";
    let select = format!("SELECT {columns} FROM audit_events");
    let (newest, values) = audit(marks, filter).query(&select, order, AUDIT_OPTIONS_RECORDS);
    let sql = format!("SELECT {columns}, count(*) FROM ({newest}) AS newest GROUP BY {columns}");
    (sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::WorkspaceId;

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let workspace = WorkspaceId::from_u128(1);
        for text in ["", "1", "x~y", "1:y", "~", "1_y"] {
            let page =
                PageRequest { after: Some(Cursor(text.to_owned())), ..PageRequest::default() };
            let refused = |list: Result<Restriction, StoreError>| matches!(list, Err(StoreError::BadCursor(told)) if told == text);
            assert!(
                refused(runs(Marks::Dollar, &RunFilter::workspace(workspace), &page)),
                "{text}"
            );
            let filter = DeliveryFilter::workspace(workspace);
            assert!(refused(deliveries(Marks::Question, &filter, &page)), "{text}");
            let filter = FindingFilter::workspace(workspace);
            assert!(refused(findings(Marks::Question, &filter, &page)), "{text}");
        }
    }
}
