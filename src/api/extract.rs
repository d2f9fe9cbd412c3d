//! Reads requests. Owns the extractors, so that each malformed request is answered with a problem
//! document. Face: `Json`, `Query`, `Path`, `Reply`, `discard`. Never lets a library's plain-text
//! refusal out.

use axum::body::BodyDataStream;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use super::problem::{Problem, ProblemCode};
use crate::base::limits::{REFUSED_BODY_TIMEOUT, REQUEST_BYTES_MAX};

/// What a handler answers: JSON, or a problem document.
pub(super) type Reply<T> = Result<axum::Json<T>, Problem>;

/// A JSON body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = axum::Json::<T>::from_request(request, state).await;
        read.map(|axum::Json(value)| Self(value)).map_err(json_problem)
    }
}

fn json_problem(rejection: JsonRejection) -> Problem {
    let detail = rejection.body_text();
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            Problem::new(ProblemCode::UnsupportedMediaType, "the body must be JSON")
                .hint("send the header `content-type: application/json`")
        }
        JsonRejection::BytesRejection(bytes) if bytes.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            too_large()
        }
        _ => Problem::new(ProblemCode::BadJson, detail),
    }
}

/// An optional JSON body: absent means the default.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct JsonOrDefault<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for JsonOrDefault<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let has_type = request.headers().contains_key(axum::http::header::CONTENT_TYPE);
        if !has_type && axum::body::HttpBody::is_end_stream(request.body()) {
            return Ok(Self(T::default()));
        }
        Json::<T>::from_request(request, state).await.map(|Json(value)| Self(value))
    }
}

fn too_large() -> Problem {
    Problem::new(ProblemCode::TooLarge, "the body exceeds the limit of this route")
}

/// Reads the body of a request that is refused and forgets it: a client that is still sending when
/// the connection closes loses the answer. Whoever sends more, or slowly, loses it.
pub(super) async fn discard(mut pieces: BodyDataStream) {
    let reading = async {
        let mut left = REQUEST_BYTES_MAX;
        while let Some(Ok(piece)) = pieces.next().await {
            let Some(less) = left.checked_sub(piece.len()) else { return };
            left = less;
        }
    };
    // What comes too late is not waited for.
    let _ = tokio::time::timeout(REFUSED_BODY_TIMEOUT, reading).await;
}

/// The parameters of the query string.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(value)| Self(value)).map_err(|rejection: QueryRejection| {
            Problem::new(ProblemCode::BadRequest, rejection.body_text())
        })
    }
}

/// The parameters of the path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(value)| Self(value)).map_err(|rejection: PathRejection| {
            Problem::new(ProblemCode::BadRequest, rejection.body_text())
        })
    }
}

/// Reads a parameter's text into a word of the domain.
///
/// # Errors
/// When the text is no such word; the problem says which there are.
pub(super) fn parse<T>(name: &str, text: &str) -> Result<T, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| {
        Problem::new(ProblemCode::BadRequest, format!("parameter `{name}`: {error}"))
    })
}

/// Reads a parameter that may hold several words, separated by commas.
///
/// # Errors
/// When one of them is no such word.
pub(super) fn parse_list<T>(name: &str, text: Option<&str>) -> Result<Vec<T>, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let words = text.unwrap_or_default().split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).map(|word| parse(name, word)).collect()
}
