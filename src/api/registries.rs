//! The routes of registries. Owns `/v1/registries…`. Face: the handlers. Never shows a password: it
//! comes in and does not go out.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{Json, Path, Reply, parse};
use super::problem::{Problem, ProblemCode};
use super::wire::{Page, RegistryLoginPut, RegistryLoginView};
use crate::base::Secret;
use crate::domain::registries::RegistryHost;
use crate::operations::projects::Asker;
use crate::operations::registries::RegistryError;

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let text = error.to_string();
        match error {
            RegistryError::Unknown(_) => Self::new(ProblemCode::NotFound, text)
                .hint("`wharf registry ls` lists those that it is logged in to"),
            RegistryError::TooMany | RegistryError::Login(_) => {
                Self::new(ProblemCode::BadRequest, text)
            }
            RegistryError::Refused { .. } => Self::new(ProblemCode::RegistryDenied, text)
                .hint("check the user's name and the password; nothing was kept"),
            RegistryError::Engine(source) => Self::from(source),
            RegistryError::Store(source) => Self::from(source),
        }
    }
}

/// Which registry a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RegistryPath {
    /// The registry's host, with its port where it has one: `registry.example.org:5000`
    host: String,
}

/// Registries that the agent is logged in to, by name
#[utoipa::path(
    get, path = "/v1/registries", operation_id = "list_registry_logins", tag = "registries",
    responses((status = 200, body = Page<RegistryLoginView>))
)]
pub(super) async fn list(Inside(api): Inside) -> Reply<Page<RegistryLoginView>> {
    let items = api.registries.logins().await?.iter().map(RegistryLoginView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Logs in to a registry, or logs in anew. Nothing is kept unless the registry takes it
#[utoipa::path(
    put, path = "/v1/registries/{host}", operation_id = "put_registry_login", tag = "registries",
    params(RegistryPath),
    request_body = RegistryLoginPut,
    responses(
        (status = 200, body = RegistryLoginView),
        (status = 400, body = Problem),
        (status = 422, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn put(
    Inside(api): Inside,
    asker: Asker,
    Path(RegistryPath { host }): Path<RegistryPath>,
    Json(put): Json<RegistryLoginPut>,
) -> Reply<RegistryLoginView> {
    let host: RegistryHost = parse("host", &host)?;
    let password = Secret::new(put.password);
    let login = api.registries.login(host, put.username, password, &asker).await?;
    Ok(axum::Json(RegistryLoginView::from(&login)))
}

/// Logs out of a registry
#[utoipa::path(
    delete, path = "/v1/registries/{host}", operation_id = "remove_registry_login",
    tag = "registries", params(RegistryPath),
    responses((status = 204), (status = 404, body = Problem))
)]
pub(super) async fn remove(
    Inside(api): Inside,
    asker: Asker,
    Path(RegistryPath { host }): Path<RegistryPath>,
) -> Result<StatusCode, Problem> {
    api.registries.logout(parse("host", &host)?, &asker).await?;
    Ok(StatusCode::NO_CONTENT)
}
