//! The routes of alerts. Owns `/v1/alerts…`. Face: the handlers. Never shows what a receiver is told
//! by, and never sends anything: deliveries are sent from the outbox.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{Json, Path, Query, Reply, parse};
use super::problem::{Problem, ProblemCode};
use super::runs::page_request;
use super::wire::{DeliveryView, Page, ReceiverPut, ReceiverView, RulePut, RuleView};
use crate::base::Name;
use crate::operations::alerts::AlertError;
use crate::operations::projects::Asker;
use crate::store::DeliveryFilter;

impl From<AlertError> for Problem {
    fn from(error: AlertError) -> Self {
        let text = error.to_string();
        match error {
            AlertError::Unknown { .. } => Self::new(ProblemCode::NotFound, text).hint(
                "`wharf alert rules`, `wharf alert receivers` and `wharf alert ls` list them",
            ),
            AlertError::NoReceiver | AlertError::TooMany | AlertError::Webhook(_) => {
                Self::new(ProblemCode::BadRequest, text)
            }
            AlertError::Store(source) => Self::from(source),
        }
    }
}

/// Which rule a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RulePath {
    /// The rule's name
    name: String,
}

/// Which receiver a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ReceiverPath {
    /// The receiver's name
    name: String,
}

/// Which delivery a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DeliveryPath {
    /// The delivery's id
    id: String,
}

/// Rules, by name
#[utoipa::path(
    get, path = "/v1/alerts/rules", operation_id = "list_alert_rules", tag = "alerts",
    responses((status = 200, body = Page<RuleView>))
)]
pub(super) async fn rules(Inside(api): Inside) -> Reply<Page<RuleView>> {
    let receivers = api.alerts.receivers().await?;
    let rules = api.alerts.rules().await?;
    let items = rules.iter().map(|rule| RuleView::of(rule, &receivers)).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Makes a rule or replaces one
#[utoipa::path(
    put, path = "/v1/alerts/rules/{name}", operation_id = "put_alert_rule", tag = "alerts",
    params(RulePath),
    request_body = RulePut,
    responses(
        (status = 200, body = RuleView),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn put_rule(
    Inside(api): Inside,
    asker: Asker,
    Path(RulePath { name }): Path<RulePath>,
    Json(put): Json<RulePut>,
) -> Reply<RuleView> {
    let name: Name = parse("name", &name)?;
    let rule = api.alerts.put_rule(name, put.into(), &asker).await?;
    Ok(axum::Json(RuleView::of(&rule, &api.alerts.receivers().await?)))
}

/// Removes a rule
#[utoipa::path(
    delete, path = "/v1/alerts/rules/{name}", operation_id = "remove_alert_rule", tag = "alerts",
    params(RulePath),
    responses((status = 204), (status = 404, body = Problem))
)]
pub(super) async fn remove_rule(
    Inside(api): Inside,
    asker: Asker,
    Path(RulePath { name }): Path<RulePath>,
) -> Result<StatusCode, Problem> {
    api.alerts.remove_rule(&name, &asker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Receivers, by name
#[utoipa::path(
    get, path = "/v1/alerts/receivers", operation_id = "list_alert_receivers", tag = "alerts",
    responses((status = 200, body = Page<ReceiverView>))
)]
pub(super) async fn receivers(Inside(api): Inside) -> Reply<Page<ReceiverView>> {
    let items = api.alerts.receivers().await?.iter().map(ReceiverView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Makes a receiver or replaces one
#[utoipa::path(
    put, path = "/v1/alerts/receivers/{name}", operation_id = "put_alert_receiver", tag = "alerts",
    params(ReceiverPath),
    request_body = ReceiverPut,
    responses((status = 200, body = ReceiverView), (status = 400, body = Problem))
)]
pub(super) async fn put_receiver(
    Inside(api): Inside,
    asker: Asker,
    Path(ReceiverPath { name }): Path<ReceiverPath>,
    Json(put): Json<ReceiverPut>,
) -> Reply<ReceiverView> {
    let name: Name = parse("name", &name)?;
    let (webhook, timeout) = put.into_webhook();
    let receiver = api.alerts.put_receiver(name, webhook, timeout, &asker).await?;
    Ok(axum::Json(ReceiverView::from(&receiver)))
}

/// Removes a receiver, with what is on its way to it
#[utoipa::path(
    delete, path = "/v1/alerts/receivers/{name}", operation_id = "remove_alert_receiver",
    tag = "alerts", params(ReceiverPath),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn remove_receiver(
    Inside(api): Inside,
    asker: Asker,
    Path(ReceiverPath { name }): Path<ReceiverPath>,
) -> Result<StatusCode, Problem> {
    api.alerts.remove_receiver(&name, &asker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a receiver a test; the answer is the delivery to look at
#[utoipa::path(
    post, path = "/v1/alerts/receivers/{name}/test", operation_id = "test_alert_receiver",
    tag = "alerts", params(ReceiverPath),
    responses((status = 202, body = DeliveryView), (status = 404, body = Problem))
)]
pub(super) async fn test(
    Inside(api): Inside,
    asker: Asker,
    Path(ReceiverPath { name }): Path<ReceiverPath>,
) -> Result<(StatusCode, axum::Json<DeliveryView>), Problem> {
    let delivery = api.alerts.test(&name, &asker).await?;
    let view = DeliveryView::of(&delivery, &api.alerts.receivers().await?);
    Ok((StatusCode::ACCEPTED, axum::Json(view)))
}

/// Which deliveries are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeliveryQuery {
    /// In this status: `pending`, `delivered` or `given_up`.
    status: Option<String>,
    /// To the receiver of this name.
    receiver: Option<String>,
    /// About this run.
    run_id: Option<String>,
    /// Most items, up to 500.
    limit: Option<usize>,
    /// The `next` of the last part.
    after: Option<String>,
}

/// Deliveries, newest first; ended ones are kept for 30 days
#[utoipa::path(
    get, path = "/v1/alerts/deliveries", operation_id = "list_alert_deliveries", tag = "alerts",
    params(DeliveryQuery),
    responses((status = 200, body = Page<DeliveryView>), (status = 404, body = Problem))
)]
pub(super) async fn deliveries(
    Inside(api): Inside,
    Query(query): Query<DeliveryQuery>,
) -> Reply<Page<DeliveryView>> {
    let receiver_id = match &query.receiver {
        Some(name) => Some(api.alerts.receiver(name).await?.id),
        None => None,
    };
    let filter = DeliveryFilter {
        status: query.status.as_deref().map(|text| parse("status", text)).transpose()?,
        receiver_id,
        run_id: query.run_id.as_deref().map(|text| parse("run_id", text)).transpose()?,
        ..DeliveryFilter::workspace(api.within.workspace())
    };
    let receivers = api.alerts.receivers().await?;
    let page = api.alerts.deliveries(filter, page_request(query.limit, query.after)).await?;
    Ok(axum::Json(Page::of(page, |delivery| DeliveryView::of(&delivery, &receivers))))
}

/// One delivery
#[utoipa::path(
    get, path = "/v1/alerts/deliveries/{id}", operation_id = "show_alert_delivery", tag = "alerts",
    params(DeliveryPath),
    responses((status = 200, body = DeliveryView), (status = 404, body = Problem))
)]
pub(super) async fn delivery(
    Inside(api): Inside,
    Path(DeliveryPath { id }): Path<DeliveryPath>,
) -> Reply<DeliveryView> {
    let delivery = api.alerts.delivery(parse("id", &id)?).await?;
    Ok(axum::Json(DeliveryView::of(&delivery, &api.alerts.receivers().await?)))
}

/// Sends a delivery again at once, also one that was given up
#[utoipa::path(
    post, path = "/v1/alerts/deliveries/{id}/retry", operation_id = "retry_alert_delivery",
    tag = "alerts", params(DeliveryPath),
    responses(
        (status = 202, body = DeliveryView),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn retry(
    Inside(api): Inside,
    asker: Asker,
    Path(DeliveryPath { id }): Path<DeliveryPath>,
) -> Result<(StatusCode, axum::Json<DeliveryView>), Problem> {
    let delivery = api.alerts.retry(parse("id", &id)?, &asker).await?;
    let view = DeliveryView::of(&delivery, &api.alerts.receivers().await?);
    Ok((StatusCode::ACCEPTED, axum::Json(view)))
}
