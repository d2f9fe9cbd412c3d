//! The routes of hosted types. Owns `/v1/queue/types…`. Face: the handlers. Never takes a name
//! without a dot: those are our own.

use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::access::Caller;
use super::extract::{JsonOrDefault, Path, parse};
use super::problem::Problem;
use super::wire::{Page, TypeDefinition, TypeView};
use crate::base::Name;
use crate::operations::hosted::TypeRequest;

/// Hosted types, by name
#[utoipa::path(
    get, path = "/v1/queue/types", operation_id = "list_queue_types", tag = "queue",
    responses((status = 200, body = Page<TypeView>))
)]
pub(super) async fn list(State(api): State<Api>) -> Result<axum::Json<Page<TypeView>>, Problem> {
    let items = api.hosted.types().await?.iter().map(TypeView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// One hosted type
#[utoipa::path(
    get, path = "/v1/queue/types/{name}", operation_id = "show_queue_type", tag = "queue",
    params(("name" = String, Path, description = "The type's name, such as `shop.send_invoices`")),
    responses((status = 200, body = TypeView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<axum::Json<TypeView>, Problem> {
    let name: Name = parse("name", &name)?;
    Ok(axum::Json(TypeView::from(&api.hosted.type_named(name).await?)))
}

/// Registers a hosted type, or replaces its definition
///
/// Runs that exist go on under the new definition. Registering the same again changes nothing.
#[utoipa::path(
    put, path = "/v1/queue/types/{name}", operation_id = "put_queue_type", tag = "queue",
    request_body = TypeDefinition,
    params(("name" = String, Path, description = "The type's name, with a dot")),
    responses(
        (status = 200, body = TypeView),
        (status = 201, body = TypeView),
        (status = 400, body = Problem)
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    JsonOrDefault(definition): JsonOrDefault<TypeDefinition>,
) -> Result<(StatusCode, axum::Json<TypeView>), Problem> {
    let definition = definition.definition(&name);
    let request = TypeRequest { name: parse("name", &name)?, definition };
    let (hosted, is_new) = api.hosted.register(request, &caller.asker()).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(TypeView::from(&hosted))))
}

/// Removes a hosted type that no active run is of
#[utoipa::path(
    delete, path = "/v1/queue/types/{name}", operation_id = "delete_queue_type", tag = "queue",
    params(("name" = String, Path, description = "The type's name")),
    responses(
        (status = 204),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.hosted.remove_type(parse("name", &name)?, &caller.asker()).await?;
    Ok(StatusCode::NO_CONTENT)
}
