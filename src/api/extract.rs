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
use crate::domain::redaction::sanitise;

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
    let detail = without_values(&rejection.body_text());
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

/// What is said about a body, without the texts that it holds: one of them may be a secret that is
/// in a wrong place.
fn without_values(detail: &str) -> String {
    let mut rest = detail;
    let mut told = String::with_capacity(detail.len());
    while let Some(at) = rest.find("string \"") {
        let begin = at + "string".len();
        told.push_str(&rest[..begin]);
        // The text is written as Rust writes one.
        let mut is_escaped = false;
        let quoted = rest[begin + 2..].char_indices().find(|(_, c)| {
            let ends = *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            ends
        });
        rest = quoted.map_or("", |(end, _)| &rest[begin + 2 + end + 1..]);
    }
    told.push_str(rest);
    sanitise(&told)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_body_shows_no_text_of_it() {
        let check = |text: &str, expect: &str| assert_eq!(without_values(text), expect);
        let said = r#"a.b: invalid type: string "hun\\ter\"2", expected i8 at line 1 column 9"#;
        check(said, "a.b: invalid type: string, expected i8 at line 1 column 9");
        check(r#"invalid value: string "cut"#, "invalid value: string");
        let two = r#"string "a" and string "b" here"#;
        check(two, "string and string here");
        check("missing field `url` at line 1", "missing field `url` at line 1");
    }
}
