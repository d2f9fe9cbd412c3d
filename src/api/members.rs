//! The routes of access. Owns `/v1/access…`. Face: the handlers. Never decides who may do what, and
//! tells a token's text to who made it alone.

use axum::extract::Extension;
use axum::http::StatusCode;
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

use super::Api;
use super::access::{Caller, Inside};
use super::extract::{Json, Path, Reply, parse};
use super::problem::{Problem, ProblemCode};
use super::wire::{
    MemberPut, MemberView, Page, RoleGranted, RoleView, StandingHere, TenantPut, TenantView,
    TokenMade, TokenNew, TokenView, UserPut, UserView, WhoamiView, reached,
};
use crate::base::ids::TokenId;
use crate::domain::access::{BuiltInRole, Directory, Grant, Via};
use crate::operations::access::{AccessError, MemberSpec, NewToken, TOKEN_LIFE_DEFAULT, UserSpec};
use crate::operations::projects::Asker;

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let text = error.to_string();
        match error {
            AccessError::Unknown { .. } => Self::new(ProblemCode::NotFound, text)
                .hint("`wharf access users` and `wharf access roles` list what there is"),
            AccessError::Ambiguous(_) => {
                Self::new(ProblemCode::Conflict, text).hint("name them by their id")
            }
            AccessError::Beyond(_) | AccessError::BeyondReach => {
                Self::new(ProblemCode::Forbidden, text)
                    .hint("`wharf access whoami` says what you hold")
            }
            AccessError::BuiltIn(_) | AccessError::PlatformWorkspace(_) => {
                Self::new(ProblemCode::Conflict, text).hint("choose another name")
            }
            AccessError::Owned(_) => Self::new(ProblemCode::Conflict, text)
                .hint("`wharf access workspaces` says who owns it"),
            AccessError::Name
            | AccessError::IdAsName
            | AccessError::Role(_)
            | AccessError::Life
            | AccessError::GlassLife
            | AccessError::NoReason => Self::new(ProblemCode::BadRequest, text),
            AccessError::Store(source) => Self::from(source),
        }
    }
}

/// Which user, role, tenant or workspace a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct NamePath {
    /// The name, or of users, tenants and workspaces the id
    pub(super) name: String,
}

/// Which token a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TokenPath {
    /// The token's id
    id: String,
}

/// Who asks, and what they may do
#[utoipa::path(
    get, path = "/v1/access/me", operation_id = "tell_me", tag = "access",
    responses((status = 200, body = WhoamiView))
)]
pub(super) async fn whoami(Extension(caller): Extension<Caller>) -> axum::Json<WhoamiView> {
    let directory = &caller.directory;
    let here = directory.workspaces.iter().filter_map(|workspace| {
        let standing = caller.bounded(workspace.id)?;
        Some(StandingHere {
            workspace_id: workspace.id.to_string(),
            workspace: workspace.name.clone(),
            tenants: reached(directory, &standing.reach),
            capabilities: standing.capabilities,
        })
    });
    axum::Json(WhoamiView {
        name: caller.principal.name.clone(),
        via: match caller.principal.via {
            Via::PeerCredentials { .. } => "peer_credentials",
            Via::Token(_) => "token",
            Via::Certificate(_) => "certificate",
        }
        .to_owned(),
        is_platform: caller.principal.platform.is_some(),
        workspaces: here.collect(),
    })
}

/// The members of the workspace, by name
#[utoipa::path(
    get, path = "/v1/access/members", operation_id = "list_members", tag = "access",
    responses((status = 200, body = Page<MemberView>))
)]
pub(super) async fn members(Inside(api): Inside) -> Reply<Page<MemberView>> {
    let directory = api.access.directory().await?;
    let here = |it: &&crate::domain::access::Membership| it.workspace_id == api.within.workspace();
    let members = directory.memberships.iter().filter(here);
    let mut items: Vec<MemberView> =
        members.filter_map(|it| member(&directory, &api, it.user_id)).collect();
    items.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(axum::Json(Page { items, next: None }))
}

/// Makes a user a member, or changes their role and the tenants they reach
#[utoipa::path(
    put, path = "/v1/access/members/{name}", operation_id = "put_member", tag = "access",
    params(NamePath), request_body = MemberPut,
    responses(
        (status = 200, body = MemberView),
        (status = 403, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn put_member(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(NamePath { name }): Path<NamePath>,
    Json(put): Json<MemberPut>,
) -> Reply<MemberView> {
    let spec = MemberSpec { role: put.role, tenants: put.tenants };
    let membership = api.access.put_member(&name, spec, (&asker, &grant)).await?;
    let directory = api.access.directory().await?;
    let view = member(&directory, &api, membership.user_id);
    view.map(axum::Json).ok_or_else(|| Problem::not_found("member", name))
}

/// Takes a user's membership
#[utoipa::path(
    delete, path = "/v1/access/members/{name}", operation_id = "remove_member", tag = "access",
    params(NamePath),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn remove_member(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(NamePath { name }): Path<NamePath>,
) -> Result<StatusCode, Problem> {
    api.access.drop_member(&name, (&asker, &grant)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn member(directory: &Directory, api: &Api, user: crate::base::ids::UserId) -> Option<MemberView> {
    let workspace = api.within.workspace();
    let user = directory.users.iter().find(|it| it.id == user)?;
    let is_theirs = |it: &&crate::domain::access::Membership| {
        it.user_id == user.id && it.workspace_id == workspace
    };
    let membership = directory.memberships.iter().find(is_theirs)?;
    let reach = directory.standing(user.id, workspace).map(|it| it.reach);
    Some(MemberView {
        user_id: user.id.to_string(),
        name: user.name.clone(),
        email: user.email.clone(),
        os_uid: user.os_user.map(|it| it.uid),
        role: membership.role.to_string(),
        tenants: reach.map_or(Some(Vec::new()), |reach| reached(directory, &reach)),
        is_disabled: user.disabled_at.is_some(),
    })
}

/// All users of the store, below and above workspaces
#[utoipa::path(
    get, path = "/v1/access/users", operation_id = "list_users", tag = "access",
    responses((status = 200, body = Page<UserView>))
)]
pub(super) async fn users(Inside(api): Inside) -> Reply<Page<UserView>> {
    let directory = api.access.directory().await?;
    let items = directory.users.iter().map(UserView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Makes a user, or changes one
#[utoipa::path(
    put, path = "/v1/access/users/{name}", operation_id = "put_user", tag = "access",
    params(NamePath), request_body = UserPut,
    responses(
        (status = 200, body = UserView),
        (status = 400, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn put_user(
    Inside(api): Inside,
    asker: Asker,
    Path(NamePath { name }): Path<NamePath>,
    Json(put): Json<UserPut>,
) -> Reply<UserView> {
    let UserPut { kind, email, os_uid, is_disabled, is_break_glass } = put;
    let spec = UserSpec { kind, email, os_uid, is_disabled, is_break_glass };
    let user = api.access.put_user(&name, spec, &asker).await?;
    Ok(axum::Json(UserView::from(&user)))
}

/// The roles that a member of the workspace can have
#[utoipa::path(
    get, path = "/v1/access/roles", operation_id = "list_roles", tag = "access",
    responses((status = 200, body = Page<RoleView>))
)]
pub(super) async fn roles(Inside(api): Inside) -> Reply<Page<RoleView>> {
    let directory = api.access.directory().await?;
    let built_in = BuiltInRole::ALL.iter().map(|role| RoleView {
        name: role.to_string(),
        is_built_in: true,
        capabilities: role.capabilities(),
    });
    let own = directory.roles.iter().filter(|it| it.workspace_id == api.within.workspace());
    let items = built_in.chain(own.map(RoleView::from)).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Makes a role of the workspace's own, or changes it
#[utoipa::path(
    put, path = "/v1/access/roles/{name}", operation_id = "put_role", tag = "access",
    params(NamePath), request_body = RoleGranted,
    responses(
        (status = 200, body = RoleView),
        (status = 400, body = Problem),
        (status = 403, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn put_role(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(NamePath { name }): Path<NamePath>,
    Json(put): Json<RoleGranted>,
) -> Reply<RoleView> {
    let capabilities = put.capabilities.into_iter().collect();
    let role = api.access.put_role(&name, capabilities, (&asker, &grant)).await?;
    Ok(axum::Json(RoleView::from(&role)))
}

/// Removes a role of the workspace's own that no member has
#[utoipa::path(
    delete, path = "/v1/access/roles/{name}", operation_id = "remove_role", tag = "access",
    params(NamePath),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn remove_role(
    Inside(api): Inside,
    asker: Asker,
    Path(NamePath { name }): Path<NamePath>,
) -> Result<StatusCode, Problem> {
    api.access.drop_role(&name, &asker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tenants of the workspace that are within reach, oldest first
#[utoipa::path(
    get, path = "/v1/access/tenants", operation_id = "list_tenants", tag = "access",
    responses((status = 200, body = Page<TenantView>))
)]
pub(super) async fn tenants(Inside(api): Inside) -> Reply<Page<TenantView>> {
    let directory = api.access.directory().await?;
    let here = directory.tenants.iter();
    let here = here.filter(|it| api.within.sees(it.workspace_id, Some(it.id)));
    Ok(axum::Json(Page { items: here.map(TenantView::from).collect(), next: None }))
}

/// Makes a tenant, or changes it
#[utoipa::path(
    put, path = "/v1/access/tenants/{name}", operation_id = "put_tenant", tag = "access",
    params(NamePath), request_body = TenantPut,
    responses((status = 200, body = TenantView), (status = 400, body = Problem))
)]
pub(super) async fn put_tenant(
    Inside(api): Inside,
    asker: Asker,
    Path(NamePath { name }): Path<NamePath>,
    Json(put): Json<TenantPut>,
) -> Reply<TenantView> {
    let tenant = api.access.put_tenant(&name, (put.stage, put.external_id), &asker).await?;
    Ok(axum::Json(TenantView::from(&tenant)))
}

/// The tokens of the workspace, oldest first; dead ones are told of for 90 days
#[utoipa::path(
    get, path = "/v1/access/tokens", operation_id = "list_tokens", tag = "access",
    responses((status = 200, body = Page<TokenView>))
)]
pub(super) async fn tokens(Inside(api): Inside) -> Reply<Page<TokenView>> {
    let directory = api.access.directory().await?;
    let here = Some(api.within.workspace());
    let here = directory.tokens.iter().filter(|it| it.workspace_id == here);
    let items = here.map(|token| TokenView::of(token, &directory)).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Makes a token; its text is told this once
#[utoipa::path(
    post, path = "/v1/access/tokens", operation_id = "create_token", tag = "access",
    request_body = TokenNew,
    responses(
        (status = 201, body = TokenMade),
        (status = 400, body = Problem),
        (status = 403, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn create_token(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Json(new): Json<TokenNew>,
) -> Result<(StatusCode, axum::Json<TokenMade>), Problem> {
    let new = NewToken {
        label: new.label,
        user: new.user,
        capabilities: new.capabilities.map(|given| given.into_iter().collect()),
        tenants: new.tenants,
        life: new.life_seconds.map_or(TOKEN_LIFE_DEFAULT, Duration::from_secs),
    };
    let (token, text) = api.access.create_token(new, (&asker, &grant)).await?;
    let directory = api.access.directory().await?;
    let details = TokenView::of(&token, &directory);
    let made = TokenMade { token: text.expose().clone(), details };
    Ok((StatusCode::CREATED, axum::Json(made)))
}

/// Takes a token's worth, from now on
#[utoipa::path(
    post, path = "/v1/access/tokens/{id}/revoke", operation_id = "revoke_token", tag = "access",
    params(TokenPath),
    responses((status = 200, body = TokenView), (status = 404, body = Problem))
)]
pub(super) async fn revoke_token(
    Inside(api): Inside,
    asker: Asker,
    Path(TokenPath { id }): Path<TokenPath>,
) -> Reply<TokenView> {
    let id: TokenId = parse("id", &id)?;
    let token = api.access.revoke_token(id, &asker).await?;
    let directory = api.access.directory().await?;
    Ok(axum::Json(TokenView::of(&token, &directory)))
}
