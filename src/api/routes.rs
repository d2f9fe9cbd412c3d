//! Puts the routes together. Owns the list of them, each with what it needs. Face: `Routes`. Never takes a
//! route that does not say what it needs.

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt as _};

use super::{Api, access};
use crate::domain::access::{Capability, Need};

/// A route as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its method: `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// Its path, with the names of its parameters in braces.
    pub path: String,
    /// What it needs.
    pub need: Need,
}

/// Routes under construction.
pub(super) struct Builder {
    router: OpenApiRouter<Api>,
    list: Vec<Route>,
}

impl Builder {
    /// No route yet; the description says what the API is.
    pub(super) fn new(description: OpenApi) -> Self {
        Self { router: OpenApiRouter::with_openapi(description), list: Vec::new() }
    }

    /// Adds one handler, with what it needs; its request's body has at most so many bytes.
    ///
    /// # Panics
    /// When `routes!` was given several handlers: each says for itself what it needs.
    #[must_use]
    pub(super) fn add(
        mut self,
        need: Need,
        body_max: usize,
        route: UtoipaMethodRouter<Api>,
    ) -> Self {
        let (schemas, mut paths, handler) = route;
        let mut found = Vec::new();
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                operation.extensions = Some(extensions(need));
                found.push(Route { method, path: path.clone(), need });
            }
        }
        assert_eq!(found.len(), 1, "one handler for each need: {found:?}");
        self.list.extend(found);
        let check = move |request: Request, next: Next| access::check(need, request, next);
        let route = (schemas, paths, handler)
            .layer(DefaultBodyLimit::max(body_max))
            .layer(middleware::from_fn(check));
        self.router = self.router.routes(route);
        self
    }

    /// The router, its description and the list of its routes.
    pub(super) fn finish(self) -> (axum::Router<Api>, OpenApi, Vec<Route>) {
        let (router, description) = self.router.split_for_parts();
        (router, description, self.list)
    }
}

/// The operations of a path.
pub(super) fn operations(
    item: &mut PathItem,
) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("DELETE", &mut item.delete),
        ("OPTIONS", &mut item.options),
        ("HEAD", &mut item.head),
        ("PATCH", &mut item.patch),
        ("TRACE", &mut item.trace),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// What a route needs, for readers of the description.
fn extensions(need: Need) -> Extensions {
    let (capability, of) = match need {
        Need::Open => (None, "anybody"),
        Need::Known => (None, "caller"),
        Need::Member(capability) => (Some(capability), "tenant"),
        Need::Whole(capability) => (Some(capability), "workspace"),
        Need::Platform(capability) => (Some(capability), "platform"),
    };
    let needed = serde_json::json!({ "capability": capability.map(Capability::key), "of": of });
    // One key: several would come in any order.
    Extensions::builder().add("x-wharf-capability", needed).build()
}
