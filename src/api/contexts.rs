//! The routes of build contexts. Owns `/v1/contexts…` and which contexts are still needed. Face: the
//! handlers, `collect_contexts`. Never keeps a context under a name that its files do not give.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use futures_util::StreamExt as _;

use super::Api;
use super::access::Inside;
use super::extract::{Json, Path, Reply, discard};
use super::problem::{Problem, ProblemCode};
use super::wire::{ContextsMissing, ContextsWanted};
use crate::base::{Digest, chain};
use crate::domain::compose::Bundle;
use crate::world::contexts::{ContextError, Contexts};

/// Which build contexts the agent does not have
#[utoipa::path(
    post, path = "/v1/contexts/wanted", operation_id = "ask_wanted_contexts", tag = "projects", request_body = ContextsWanted,
    responses((status = 200, body = ContextsMissing), (status = 400, body = Problem))
)]
pub(super) async fn wanted(
    Inside(api): Inside,
    Json(wanted): Json<ContextsWanted>,
) -> Reply<ContextsMissing> {
    let digests = wanted.digests.iter().map(|text| digest(text));
    let digests: BTreeSet<Digest> = digests.collect::<Result<_, _>>()?;
    let missing = digests.iter().filter(|digest| !api.contexts.has(digest));
    Ok(axum::Json(ContextsMissing { missing: missing.map(ToString::to_string).collect() }))
}

/// Sends one build context: a tar archive, under the digest of what it holds
#[utoipa::path(
    put, path = "/v1/contexts/{digest}", operation_id = "send_context", tag = "projects",
    params(("digest" = String, Path, description = "64 hexadecimal digits")),
    request_body(content = inline(String), content_type = "application/x-tar"),
    responses(
        (status = 204, description = "kept"),
        (status = 413, body = Problem),
        (status = 422, body = Problem)
    )
)]
pub(super) async fn put(
    Inside(api): Inside,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let mut parts = body.into_data_stream();
    let kept = keep(&api, &name, &mut parts).await;
    if kept.is_err() {
        discard(parts).await;
    }
    kept.map(|()| StatusCode::NO_CONTENT)
}

async fn keep(api: &Api, name: &str, parts: &mut BodyDataStream) -> Result<(), Problem> {
    let digest = digest(name)?;
    let mut upload = on_contexts(api, Contexts::begin).await?;
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| {
            Problem::new(ProblemCode::BadRequest, format!("the body broke off: {error}"))
        })?;
        upload = on_contexts(api, move |_| {
            upload.write(&part)?;
            Ok(upload)
        })
        .await?;
    }
    on_contexts(api, move |contexts| contexts.keep(&digest, upload)).await
}

fn digest(text: &str) -> Result<Digest, Problem> {
    Digest::from_hex(text).ok_or_else(|| {
        Problem::new(ProblemCode::BadRequest, format!("{text:?} is not a SHA-256 digest"))
    })
}

/// Removes build contexts that were sent before `before` and that no stored bundle names. Returns
/// how many.
///
/// # Errors
/// When the store or the folder cannot be read.
pub async fn collect_contexts(api: &Api, before: SystemTime) -> Result<usize, Problem> {
    let mut needed = BTreeSet::new();
    for project in api.store.projects(api.within.workspace()).await? {
        let revisions = [project.revision_id, project.deployed_revision_id];
        for revision in revisions.into_iter().flatten() {
            let content = api.store.revision_content(revision).await?;
            match serde_json::from_slice::<Bundle>(content.expose()) {
                Ok(bundle) => {
                    needed.extend(bundle.build_contexts.iter().map(|context| context.digest));
                }
                // Then nothing is known to be superfluous.
                Err(_) => return Ok(0),
            }
        }
    }
    on_contexts(api, move |contexts| contexts.collect(&needed, before)).await
}

async fn on_contexts<T: Send + 'static>(
    api: &Api,
    act: impl FnOnce(&Contexts) -> Result<T, ContextError> + Send + 'static,
) -> Result<T, Problem> {
    let contexts = Arc::clone(&api.contexts);
    #[expect(clippy::disallowed_methods, reason = "the disk is waited for on a thread")]
    let acted = tokio::task::spawn_blocking(move || act(&contexts)).await;
    match acted {
        Ok(result) => result.map_err(Problem::from),
        Err(lost) => Err(Problem::new(ProblemCode::Internal, lost.to_string())),
    }
}

impl From<ContextError> for Problem {
    fn from(error: ContextError) -> Self {
        let (code, hint) = match &error {
            ContextError::Digest { .. } => {
                (ProblemCode::InvalidProject, "a file changed while it was packed: try again")
            }
            ContextError::Entry(_) => {
                (ProblemCode::InvalidProject, "leave it out in .dockerignore")
            }
            ContextError::Archive(_) => (ProblemCode::InvalidProject, "send a whole tar archive"),
            ContextError::TooLarge => (ProblemCode::TooLarge, "leave files out in .dockerignore"),
            ContextError::NoRoom(_) => {
                (ProblemCode::DiskFull, "raise `contexts.size_max` in the agent's configuration")
            }
            ContextError::Missing(_) => (ProblemCode::ContextsMissing, "send it first"),
            ContextError::System { .. } => {
                (ProblemCode::Unavailable, "check the state folder of the agent")
            }
        };
        Self::new(code, chain(&error)).hint(hint)
    }
}
