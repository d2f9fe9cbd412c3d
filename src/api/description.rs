//! Completes the description of the API with what attributes of handlers cannot say. Owns which
//! operation can get an answer from the layers before it or from what reads its request. Face:
//! `complete`. Never describes an answer of a handler: its own attributes do.

use utoipa::openapi::path::Operation;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema};

use super::problem::ProblemCode;

/// The media type of problem documents, which the attributes would repeat everywhere.
const PROBLEM: &str = "application/problem+json";

/// Completes the description.
pub(super) fn complete(description: &mut OpenApi) {
    if let Some(components) = &mut description.components {
        let parts: Vec<String> = components.schemas.values().flat_map(parts).collect();
        for part in parts {
            if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&part) {
                object.additional_properties = None;
            }
        }
    }
    for path in description.paths.paths.values_mut() {
        let reading = [&mut path.get].into_iter().flatten().map(|it| (it, false));
        let writing = [&mut path.post, &mut path.put, &mut path.delete].into_iter().flatten();
        for (operation, writes) in reading.chain(writing.map(|it| (it, true))) {
            operation.responses.responses.values_mut().for_each(name_problem_type);
            for code in before_the_handler(operation, writes) {
                let (status, title) = code.row();
                let answers = &mut operation.responses.responses;
                answers.entry(status.as_str().to_owned()).or_insert_with(|| problem(title));
            }
        }
    }
}

/// The schemas that a schema is put together of. A part cannot forbid what the other parts add.
fn parts(schema: &RefOr<Schema>) -> Vec<String> {
    let RefOr::T(Schema::AllOf(all)) = schema else { return Vec::new() };
    let named = all.items.iter().filter_map(|item| match item {
        RefOr::Ref(part) => part.ref_location.rsplit('/').next().map(str::to_owned),
        RefOr::T(_) => None,
    });
    named.collect()
}

/// What an operation may answer before its handler does anything, or because the store refuses.
fn before_the_handler(operation: &Operation, writes: bool) -> Vec<ProblemCode> {
    let mut codes = vec![
        ProblemCode::Unauthenticated,
        ProblemCode::Forbidden,
        // The workspace or the tenant that it names is out of reach.
        ProblemCode::NotFound,
        ProblemCode::TooMany,
        ProblemCode::Unavailable,
    ];
    let body = operation.request_body.as_ref();
    if body.is_some() || operation.parameters.as_ref().is_some_and(|them| !them.is_empty()) {
        codes.push(ProblemCode::BadRequest);
    }
    if body.is_some() {
        codes.push(ProblemCode::TooLarge);
    }
    let takes_json = |body: &RefOr<RequestBody>| match body {
        RefOr::T(body) => body.content.contains_key("application/json"),
        RefOr::Ref(_) => false,
    };
    if body.is_some_and(takes_json) {
        codes.push(ProblemCode::UnsupportedMediaType);
    }
    if writes {
        codes.push(ProblemCode::DiskFull);
    }
    codes
}

fn problem(title: &str) -> RefOr<Response> {
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description(title).content(PROBLEM, content).build().into()
}

fn name_problem_type(response: &mut RefOr<Response>) {
    let RefOr::T(response) = response else { return };
    let is_problem = |content: &RefOr<Content>| match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) => {
            schema.ref_location.ends_with("/Problem")
        }
        _ => false,
    };
    if response.content.get("application/json").is_some_and(is_problem)
        && let Some(content) = response.content.shift_remove("application/json")
    {
        response.content.insert(PROBLEM.to_owned(), content);
    }
}
