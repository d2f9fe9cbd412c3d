//! The routes of policies. Owns `/v1/policies…`. Face: the handlers. Never changes one: policies come from
//! files that the configuration names.

use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{Path, Reply};
use super::problem::{Problem, ProblemCode};
use super::wire::{PolicyList, PolicyView};

/// Which policy a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PolicyPath {
    /// The policy's name
    pub(super) name: String,
}

/// The policies in force on this host, and why newer ones are not
#[utoipa::path(
    get, path = "/v1/policies", operation_id = "list_policies", tag = "policies",
    responses((status = 200, body = PolicyList))
)]
pub(super) async fn list(Inside(api): Inside) -> Reply<PolicyList> {
    Ok(axum::Json(PolicyList::of(&api.policies.policies().now(), &api.policies.loading())))
}

/// One policy that is in force
#[utoipa::path(
    get, path = "/v1/policies/{name}", operation_id = "show_policy", tag = "policies",
    params(PolicyPath),
    responses((status = 200, body = PolicyView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Inside(api): Inside,
    Path(PolicyPath { name }): Path<PolicyPath>,
) -> Reply<PolicyView> {
    let set = api.policies.policies().now();
    let unknown = || {
        Problem::new(ProblemCode::NotFound, format!("no policy {name:?} is in force"))
            .hint("`wharf policy ls --agent` lists them")
    };
    Ok(axum::Json(PolicyView::of(set.policy(&name).ok_or_else(unknown)?, &set)))
}
