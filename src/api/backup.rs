//! The route of backups. Owns `/v1/store/backup`. Face: the handler. Never ends an answer in order
//! that is not whole.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;

use super::access::Inside;
use super::problem::{Problem, ProblemCode};
use crate::base::chain;
use crate::operations::projects::Asker;
use crate::store::transfer::TransferError;

/// A backup of the store as it is now; whole only with its last 32 bytes
#[utoipa::path(
    get, path = "/v1/store/backup", operation_id = "take_backup", tag = "agent",
    responses(
        (status = 200, content_type = "application/octet-stream", body = inline(String)),
        (status = 429, body = Problem)
    )
)]
pub(super) async fn take(Inside(api): Inside, asker: Asker) -> Result<Response, Problem> {
    let bytes = api.backups.begin(asker).map_err(|busy| {
        Problem::new(ProblemCode::TooMany, busy.to_string()).hint("wait for its end")
    })?;
    let bytes = bytes.inspect(|bytes| {
        if let Err(error) = bytes {
            tracing::error!(error = %chain(error), "backup broken off");
        }
    });
    // An answer that breaks off must not look like one that has ended.
    let stopped = futures_util::stream::once(api.stop.cancelled_owned())
        .map(|()| Err(TransferError::BrokenOff));
    let ended = bytes.map(Some).chain(futures_util::stream::iter([None]));
    let bytes = futures_util::stream::select(ended, stopped.map(Some))
        .take_while(|bytes| std::future::ready(bytes.is_some()))
        .filter_map(std::future::ready);
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(bytes)).into_response())
}
