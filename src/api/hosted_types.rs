//! The routes of hosted types. Owns `/v1/queue/types…`. Face: the handlers. Never takes a name
//! without a dot: those are our own.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{JsonOrDefault, Path, Reply, parse};
use super::problem::Problem;
use super::wire::{Page, TypeDefinition, TypeView};
use crate::base::Name;
use crate::operations::hosted::TypeRequest;
use crate::operations::projects::Asker;

/// Which hosted type a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TypePath {
    /// The type's name, with a dot, such as `shop.send_invoices`
    name: String,
}

/// Hosted types, by name
#[utoipa::path(
    get, path = "/v1/queue/types", operation_id = "list_queue_types", tag = "queue",
    responses((status = 200, body = Page<TypeView>))
)]
pub(super) async fn list(Inside(api): Inside) -> Reply<Page<TypeView>> {
    let items = api.hosted.types().await?.iter().map(TypeView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// One hosted type
#[utoipa::path(
    get, path = "/v1/queue/types/{name}", operation_id = "show_queue_type", tag = "queue",
    params(TypePath),
    responses((status = 200, body = TypeView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Inside(api): Inside,
    Path(TypePath { name }): Path<TypePath>,
) -> Reply<TypeView> {
    let name: Name = parse("name", &name)?;
    Ok(axum::Json(TypeView::from(&api.hosted.type_named(name).await?)))
}

/// Registers a hosted type, or replaces its definition
///
/// Runs that exist go on under the new definition. Registering the same again changes nothing.
#[utoipa::path(
    put, path = "/v1/queue/types/{name}", operation_id = "put_queue_type", tag = "queue",
    request_body = TypeDefinition,
    params(TypePath),
    responses(
        (status = 200, body = TypeView),
        (status = 201, body = TypeView),
        (status = 400, body = Problem)
    )
)]
pub(super) async fn put(
    Inside(api): Inside,
    asker: Asker,
    Path(TypePath { name }): Path<TypePath>,
    JsonOrDefault(definition): JsonOrDefault<TypeDefinition>,
) -> Result<(StatusCode, axum::Json<TypeView>), Problem> {
    let definition = definition.definition(&name);
    let request = TypeRequest { name: parse("name", &name)?, definition };
    let (hosted, is_new) = api.hosted.register(request, &asker).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(TypeView::from(&hosted))))
}

/// Removes a hosted type that no active run is of
#[utoipa::path(
    delete, path = "/v1/queue/types/{name}", operation_id = "delete_queue_type", tag = "queue",
    params(TypePath),
    responses(
        (status = 204),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn delete(
    Inside(api): Inside,
    asker: Asker,
    Path(TypePath { name }): Path<TypePath>,
) -> Result<StatusCode, Problem> {
    api.hosted.remove_type(parse("name", &name)?, &asker).await?;
    Ok(StatusCode::NO_CONTENT)
}
