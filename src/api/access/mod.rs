//! Lets requests in: who asks, where, and whether they may. Owns the one place where a route's need
//! is checked. Face: `check`, `Inside`, `Gate`, `Peer`. Never lets a handler see more than it granted.

mod caller;
mod gate;

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::{Problem, ProblemCode};
use crate::base::ids::TenantId;
use crate::domain::access::{Asked, Capability, Denied, Directory, Grant, Need, Reach, decide};
use crate::operations::Within;
use crate::operations::projects::Asker;
use crate::store::Scope;

pub use gate::{Gate, Peer, Remote};

pub(super) use caller::Caller;

use gate::Origin;

/// Names the workspace that a request is about.
pub const WORKSPACE: &str = "wharf-workspace";
/// Names the tenant that a request is about.
pub const TENANT: &str = "wharf-tenant";

/// What checks requests, on its way to the check.
#[derive(Clone)]
pub(super) struct Entry(pub(super) Api);

/// Lets a request through to its handler, with what it was granted, or refuses it.
pub(super) async fn check(need: Need, mut request: Request, next: Next) -> Response {
    match enter(need, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Finds out who asks for what, and leaves in the request what the handler works with.
///
/// # Errors
/// When they may not: the problem tells them no more than they may know.
pub(super) async fn enter(need: Need, request: &mut Request) -> Result<(), Problem> {
    if need == Need::Open {
        return Ok(());
    }
    // Without it nobody is let in.
    let entry = request.extensions().get::<Entry>().cloned();
    let Entry(api) = entry.ok_or_else(|| caller::refusal("an unknown user"))?;
    let origin = origin(request).ok_or_else(|| caller::refusal("an unknown user"))?;
    let caller = Caller::of(&api, need, (origin, request.headers())).await?;
    let grant = judge(&api, &caller, need, request.headers())?;
    request.extensions_mut().insert(caller.asker(grant.as_ref()));
    if let Some(grant) = grant {
        if grant.is_platform {
            api.access.note_login(&caller.asker(Some(&grant)), grant.user_id).await?;
        }
        let asked = named_tenant(&caller, &grant, request.headers())?;
        let borders = within(&api.within.scope, &caller.directory, &grant, asked);
        request.extensions_mut().insert(borders);
        request.extensions_mut().insert(grant);
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

fn origin(request: &Request) -> Option<Origin> {
    let known = request.extensions();
    let host = known.get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| Origin::Host(*peer));
    let remote = || known.get::<ConnectInfo<Remote>>().map(|ConnectInfo(it)| Origin::Remote(*it));
    host.or_else(remote)
}

/// Asks `decide`, which alone says who may do what.
fn judge(
    api: &Api,
    caller: &Caller,
    need: Need,
    headers: &HeaderMap,
) -> Result<Option<Grant>, Problem> {
    let workspace_id = match header(headers, WORKSPACE)? {
        Some(text) => caller.directory.workspace(text).ok_or_else(absent)?.id,
        None => caller.workspace(&api.within.scope),
    };
    let tenant_id = match header(headers, TENANT)? {
        Some(text) => Some(caller.directory.tenant(workspace_id, text).ok_or_else(absent)?.id),
        None => None,
    };
    let standing = caller.standing(workspace_id);
    let platform = caller.directory.platform().unwrap_or(caller::NOWHERE);
    let asked = Asked { workspace_id, tenant_id };
    decide(&caller.principal, need, asked, standing.as_ref(), platform).map_err(|denied| {
        match denied {
            Denied::NotFound => absent(),
            Denied::Forbidden(capability) => forbidden(capability),
        }
    })
}

/// Somebody may know of it, but not do it.
pub(super) fn forbidden(capability: Capability) -> Problem {
    let detail = format!("you may not do this: it needs {capability}");
    Problem::new(ProblemCode::Forbidden, detail)
        .hint("`wharf access whoami` says what you may; an owner can change it")
}

fn named_tenant(
    caller: &Caller,
    grant: &Grant,
    headers: &HeaderMap,
) -> Result<Option<TenantId>, Problem> {
    let text = header(headers, TENANT)?;
    let tenant = text.and_then(|text| caller.directory.tenant(grant.workspace_id, text));
    Ok(tenant.map(|tenant| tenant.id))
}

/// Where the handler acts. Lists show everything within reach, unless a tenant is named; what is
/// made belongs to the host's tenant, or else to the oldest one within reach.
pub(super) fn within(
    home: &Scope,
    directory: &Directory,
    grant: &Grant,
    asked: Option<TenantId>,
) -> Within {
    let is_home = grant.workspace_id == home.workspace_id;
    let is_default = is_home && grant.reach.covers(Some(home.tenant_id));
    let tenant_id = asked.or_else(|| is_default.then_some(home.tenant_id)).unwrap_or_else(|| {
        let own = directory.tenants.iter();
        let mut own = own.filter(|it| grant.sees(it.workspace_id, Some(it.id)));
        own.next().map_or(home.tenant_id, |it| it.id)
    });
    let reach = match asked {
        Some(tenant) => grant.reach.and(&Reach::Some([tenant].into())),
        None => grant.reach.clone(),
    };
    let (workspace_id, scope) = (grant.workspace_id, home.clone());
    Within { scope: Scope { workspace_id, tenant_id, ..scope }, reach, is_home }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let read = |value: &'a axum::http::HeaderValue| {
        value.to_str().map_err(|_| {
            Problem::new(ProblemCode::BadRequest, format!("the header `{name}` is no text"))
        })
    };
    headers.get(name).map(read).transpose()
}

/// What is not there, and what somebody may not know of, is answered alike.
pub(super) fn absent() -> Problem {
    Problem::new(ProblemCode::NotFound, "nothing of the kind is within your reach")
        .hint("`wharf access whoami` says where you are a member, and which tenants you reach")
}

/// The agent as a handler may see it: with borders.
pub(super) struct Inside(pub(super) Api);

impl FromRequestParts<Api> for Inside {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        // A route that needs nothing of a workspace has none to show.
        let within = parts.extensions.get::<Within>().cloned().ok_or_else(absent)?;
        Ok(Self(api.within(within)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let asker = parts.extensions.get::<Self>().cloned();
        asker.ok_or_else(|| caller::refusal("an unknown user"))
    }
}
