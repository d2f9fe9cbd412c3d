//! Says what went wrong, in the one form that every route answers with (RFC 9457). Owns the table
//! of problem codes. Face: `Problem`, `ProblemCode`. Never carries a raw error of a library.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::keyed::keyed;
use crate::base::{Diagnostic, Diagnostics};

keyed! {
    /// What kind of problem it is. Stable: clients match on it.
    pub enum ProblemCode: "problem code" {
        /// The request cannot be understood.
        BadRequest = "bad_request",
        /// The body is not the JSON that is expected.
        BadJson = "bad_json",
        /// The caller did not prove who they are.
        Unauthenticated = "unauthenticated",
        /// The caller is not allowed in.
        Forbidden = "forbidden",
        /// The route, project, run or record does not exist.
        NotFound = "not_found",
        /// The route exists, but not with this method.
        MethodNotAllowed = "method_not_allowed",
        /// The state of the agent forbids it.
        Conflict = "conflict",
        /// The worker's attempt is over: somebody else took over, or the run ended.
        StaleAttempt = "stale_attempt",
        /// More of this is under way than may be.
        TooMany = "too_many",
        /// Build contexts must be sent first.
        ContextsMissing = "contexts_missing",
        /// The body is too large.
        TooLarge = "too_large",
        /// The body has the wrong media type.
        UnsupportedMediaType = "unsupported_media_type",
        /// The project's files are wrong; see `diagnostics`.
        InvalidProject = "invalid_project",
        /// A registry of images does not let the agent in.
        RegistryDenied = "registry_denied",
        /// The agent made a mistake.
        Internal = "internal",
        /// The engine could not do it.
        Engine = "engine",
        /// The agent does not take it now: it stops, or its database does not answer.
        Unavailable = "unavailable",
        /// The disk of the agent's database is full.
        DiskFull = "disk_full",
    }
}

impl ProblemCode {
    /// The status and the title, which never change for a code.
    pub const fn row(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "The request cannot be understood"),
            Self::BadJson => (StatusCode::BAD_REQUEST, "The body is not the expected JSON"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "Nobody knows who asks"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "This user is not allowed in"),
            Self::NotFound => (StatusCode::NOT_FOUND, "It does not exist"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "The route does not know this method")
            }
            Self::Conflict => (StatusCode::CONFLICT, "The present state forbids it"),
            Self::StaleAttempt => (StatusCode::CONFLICT, "The attempt is over"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "Too much of this is under way"),
            Self::ContextsMissing => (StatusCode::CONFLICT, "Build contexts must be sent first"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body has the wrong media type")
            }
            Self::InvalidProject => {
                (StatusCode::UNPROCESSABLE_ENTITY, "The project's files are wrong")
            }
            Self::RegistryDenied => {
                (StatusCode::UNPROCESSABLE_ENTITY, "The registry does not let the agent in")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The agent made a mistake"),
            Self::Engine => (StatusCode::BAD_GATEWAY, "The Docker Engine could not do it"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "The agent cannot do it now"),
            Self::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "The agent's disk is full"),
        }
    }
}

impl ProblemCode {
    /// How long a client waits before it asks the same again; none where that does not help.
    pub const fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::Unavailable | Self::TooMany => Some(1),
            Self::DiskFull => Some(5),
            _ => None,
        }
    }
}

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is, as a relative path that names its code.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The kind in words; the same for every problem of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The kind, for programs.
    #[schema(value_type = String, example = "invalid_project")]
    pub code: ProblemCode,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Seconds until it is worth asking again, when that is known better than by its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// Of a stale attempt: the number of the one that counts now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Of a stale attempt: who executes the one that counts now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Digests of the build contexts that must be sent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_contexts: Vec<String>,
    /// Problems with the project's files, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<DiagnosticView>,
}

/// One problem with a user's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiagnosticView {
    /// Stable name of the problem.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// The file as the user named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// All of it for people, with an excerpt of the line.
    pub text: String,
}

impl From<&Diagnostic> for DiagnosticView {
    fn from(diagnostic: &Diagnostic) -> Self {
        let at = diagnostic.location.as_ref();
        Self {
            code: diagnostic.code.to_owned(),
            message: diagnostic.message.clone(),
            file: at.map(|at| at.file.clone()),
            line: at.map(|at| at.line),
            column: at.map(|at| at.column),
            help: diagnostic.help.clone(),
            text: diagnostic.to_string(),
        }
    }
}

impl Problem {
    /// A problem of a kind: what happened this time.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let (status, title) = code.row();
        Self {
            type_uri: format!("/problems/{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: None,
            code,
            hint: None,
            retry_after_seconds: None,
            attempt: None,
            worker: None,
            missing_contexts: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// There is no such thing.
    pub fn not_found(noun: &str, name: impl std::fmt::Display) -> Self {
        Self::new(ProblemCode::NotFound, format!("there is no {noun} {name}"))
    }
}

impl From<Diagnostics> for Problem {
    fn from(found: Diagnostics) -> Self {
        let detail = match found.0.as_slice() {
            [only] => only.message.clone(),
            several => format!("{} problems in the project's files", several.len()),
        };
        let diagnostics = found.0.iter().map(DiagnosticView::from).collect();
        Self { diagnostics, ..Self::new(ProblemCode::InvalidProject, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.code == ProblemCode::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        let seconds = self.retry_after_seconds.or(self.code.retry_after_seconds());
        if let Some(seconds) = seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // `name_instance` adds the path on the way out.
        response.extensions_mut().insert(self);
        response
    }
}
