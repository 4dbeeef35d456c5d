//! The description of the API, made from its handlers.
//!
//! Invariant: `docs/openapi.json` is this description; `tests/openapi.rs` compares
//! them.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
    SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};

use crate::error::{ErrorBody, Refusal};

/// Where the API starts.
const API: &str = "/api/v1";
/// The name of the one way to be let in.
const KEY: &str = "key";

/// The whole description: the API, of which the paths lack their beginning, and
/// the probes.
pub(super) fn document(api: OpenApi, probes: OpenApi) -> OpenApi {
    let info = InfoBuilder::new()
        .title("PiCloud")
        .description(Some(
            "The admin API. Every time is in microseconds since 1970, and every error is \
             `{\"error\": {\"code\", \"message\", …}}`.",
        ))
        .version(env!("CARGO_PKG_VERSION"))
        .build();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An API key with the scope that the operation names, or the owner key, which the \
             first start prints.",
        ))
        .build();
    let mut components = Components::new();
    components.add_security_scheme(KEY, SecurityScheme::Http(scheme));
    for (name, schema) in
        [(ErrorBody::name(), ErrorBody::schema()), (Refusal::name(), Refusal::schema())]
    {
        components.schemas.insert(name.into_owned(), schema);
    }
    let mut doc = OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new(KEY, [] as [&str; 0])]))
        .build()
        .nest(API, api);
    doc.merge(probes);
    for operation in doc.paths.paths.values_mut().flat_map(operations) {
        describe_errors(operation);
    }
    doc
}

/// Answers the description to everybody: it is no secret, and tools that read it
/// have no key.
pub(super) fn router(doc: &OpenApi) -> Router {
    // A description that cannot be written is caught by the same test.
    let text = doc.to_json().unwrap_or_default();
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], text) };
    Router::new().route("/api/v1/openapi.json", get(answer))
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
        .into_iter()
        .filter_map(Option::as_mut)
}

fn describe_errors(operation: &mut Operation) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(ErrorBody::name()))).build();
    let error = ResponseBuilder::new()
        .description("It was not done")
        .content("application/json", body)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(error));
}
