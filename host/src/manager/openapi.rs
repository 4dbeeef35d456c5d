//! The OpenAPI document, generated from the handlers.
//!
//! The schemas are derived from the types. [`rules`] adds the bounds and patterns that the handlers
//! check, [`errors`] the error statuses of each operation.
//!
//! Invariant: `docs/openapi.json` is this document; `tests/openapi.rs` compares them.

mod errors;
mod names;
mod rules;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa::{PartialSchema, ToSchema};

use crate::error::{ErrorBody, Refusal};

/// The path prefix of the API.
const API: &str = "/api/v1";
/// The name of the only security scheme.
const KEY: &str = "key";
/// The operations whose body is optional.
const OPTIONAL_BODIES: [&str; 3] = ["execute_script", "fire_trigger", "put_file"];
/// Parameters whose types are optional, because they are checked after access, but which are
/// required.
const REQUIRED: [(&str, &str); 1] = [("list_app_stats", "apps")];
/// Builds the whole document: the API, whose paths get their prefix here, and the probes.
pub(super) fn document(api: OpenApi, probes: OpenApi) -> Value {
    let info = InfoBuilder::new()
        .title("PiCloud")
        .description(Some(
            "The admin API. Every time is in microseconds since 1970, and every error is \
             `{\"error\": {\"code\", \"message\", …}}`. A length is in characters; where the \
             server counts bytes, a shorter text can be refused if it is not ASCII.",
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
    // A document that cannot be serialised fails the same test.
    let mut doc = serde_json::to_value(doc).unwrap_or_default();
    doc["servers"] = json!([{ "url": "/", "description": "This server" }]);
    doc["info"]["license"] =
        json!({ "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" });
    complete(&mut doc);
    doc
}

/// Serves the document to everyone: it is not secret, and tools that read it have no key.
pub(super) fn router(doc: &Value) -> Router {
    let text = doc.to_string();
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], text) };
    Router::new().route("/api/v1/openapi.json", get(answer))
}

/// Adds the parts that cannot be derived from the types.
fn complete(doc: &mut Value) {
    for (place, rule) in rules::all() {
        let places = places(doc, place);
        for schema in places {
            add(schema, &rule);
        }
    }
    let known = doc["components"]["schemas"].clone();
    for (_, schema) in schemas(doc) {
        close_cases(schema, &known);
    }
    bound_integers(doc);
    for (path, operation) in operations(doc) {
        errors::describe(operation, path);
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        if OPTIONAL_BODIES.contains(&&*id) {
            operation["requestBody"]["required"] = json!(false);
        }
        let has_after = parameters(operation).any(|parameter| parameter["name"] == "after");
        for parameter in parameters(operation) {
            if has_after && parameter["name"] == "offset" {
                parameter["schema"]["maximum"] = json!(super::lists::OFFSET_MAX);
            }
            if REQUIRED.iter().any(|(of, name)| id == *of && parameter["name"] == *name) {
                parameter["required"] = json!(true);
            }
        }
    }
}

/// Returns the schemas at a place, in the notation of [`rules`].
fn places<'a>(doc: &'a mut Value, place: &str) -> Vec<&'a mut Value> {
    let (field, is_items) = match place.strip_suffix("[]") {
        Some(field) => (field, true),
        None => (place, false),
    };
    let found: Vec<&mut Value> = if let Some((id, name)) = field.split_once('?') {
        let of_id = move |operation: &Map<String, Value>| operation["operationId"] == id;
        parameters_where(doc, of_id, move |parameter| parameter["name"] == name)
    } else {
        match field.split_once('.') {
            Some((place @ ("path" | "query"), name)) => parameters_where(
                doc,
                |_| true,
                move |parameter| parameter["in"] == place && parameter["name"] == name,
            ),
            Some((schema, name)) => {
                let of_name = schemas(doc).filter(|(known, _)| *known == schema);
                of_name.flat_map(|(_, schema)| properties(schema, name)).collect()
            }
            None => Vec::new(),
        }
    };
    match is_items {
        true => found.into_iter().filter_map(|schema| schema.get_mut("items")).collect(),
        false => found,
    }
}

fn parameters_where(
    doc: &mut Value,
    of: impl Fn(&Map<String, Value>) -> bool,
    is: impl Fn(&Value) -> bool,
) -> Vec<&mut Value> {
    let operations = operations(doc).filter(|(_, operation)| of(operation));
    let parameters = operations.flat_map(|(_, operation)| parameters(operation));
    parameters
        .filter(|parameter| is(parameter))
        .filter_map(|parameter| parameter.get_mut("schema"))
        .collect()
}

/// Returns the property with that name, in an object or in each case of a union.
fn properties<'a>(schema: &'a mut Value, name: &str) -> Vec<&'a mut Value> {
    let mut found = Vec::new();
    let Some(schema) = schema.as_object_mut() else { return found };
    for (part, value) in schema {
        match part.as_str() {
            "properties" => found.extend(value.get_mut(name)),
            "oneOf" | "allOf" => {
                for case in value.as_array_mut().into_iter().flatten() {
                    found.extend(properties(case, name));
                }
            }
            _ => {}
        }
    }
    found
}

/// Adds a rule to a schema.
fn add(schema: &mut Value, rule: &Value) {
    for (keyword, value) in rule.as_object().into_iter().flatten() {
        schema[keyword] = value.clone();
    }
    // `enum` lists all allowed values, so it must contain null if the value can be absent.
    let takes_null = schema["type"].as_array().is_some_and(|types| types.contains(&json!("null")));
    if let Some(names) = schema.get_mut("enum").and_then(Value::as_array_mut)
        && takes_null
        && !names.contains(&Value::Null)
    {
        names.push(Value::Null);
    }
}

/// Forbids other members in the cases of a tagged union. A case that combines a type and a tag is
/// merged into one object: that type forbids other members too, so no value would match both.
fn close_cases(schema: &mut Value, known: &Value) {
    for case in schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(parts) = case.get("allOf").and_then(Value::as_array) {
            *case = merged(parts, known);
        }
        match case.as_object_mut() {
            Some(case) if case.contains_key("properties") && case.contains_key("type") => {
                case.insert("additionalProperties".to_owned(), json!(false));
            }
            _ => {}
        }
    }
}

fn merged(parts: &[Value], known: &Value) -> Value {
    let mut whole = json!({});
    for part in parts {
        let name = part["$ref"].as_str().and_then(|of| of.rsplit('/').next());
        let part = name.map_or(part, |name| &known[name]);
        for (keyword, value) in part.as_object().into_iter().flatten() {
            match (&mut whole[keyword], value) {
                (Value::Object(have), Value::Object(more)) => have.extend(more.clone()),
                (Value::Array(have), Value::Array(more)) => have.extend(more.clone()),
                (have, value) => *have = value.clone(),
            }
        }
    }
    whole
}

/// Gives an integer without bounds of its own the bounds of its type.
fn bound_integers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        Value::Object(members) => {
            members.values_mut().for_each(bound_integers);
            let is_unsigned = members.contains_key("minimum");
            let (least, most) = match members.get("format").and_then(Value::as_str) {
                Some("int64") => (json!(i64::MIN), json!(i64::MAX)),
                Some("int32") if is_unsigned => (json!(0), json!(u32::MAX)),
                Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
                _ => return,
            };
            members.entry("minimum").or_insert(least);
            members.entry("maximum").or_insert(most);
        }
        _ => {}
    }
}

fn schemas(doc: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    let schemas = doc["components"]["schemas"].as_object_mut().into_iter().flatten();
    schemas.map(|(name, schema)| (name.as_str(), schema))
}

fn operations(doc: &mut Value) -> impl Iterator<Item = (&str, &mut Map<String, Value>)> {
    let paths = doc["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.filter_map(|(_, operation)| Some((path.as_str(), operation.as_object_mut()?)))
    })
}

fn parameters(operation: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::{names, secrets};

    fn doc() -> Value {
        serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap()
    }

    #[test]
    fn every_rule_has_a_place() {
        let mut doc = doc();
        for (place, rule) in rules::all() {
            let places = places(&mut doc, place);
            assert!(!places.is_empty(), "{place}");
            let keyword = rule.as_object().unwrap().keys().next().unwrap();
            assert!(places.iter().all(|schema| !schema[keyword].is_null()), "{place}");
        }
        for (of, name) in REQUIRED {
            assert!(!places(&mut doc, &format!("{of}?{name}")).is_empty(), "{of} {name}");
        }
    }

    #[test]
    fn a_pattern_accepts_what_the_check_accepts() {
        let samples: Vec<String> =
            ["", "a", "a-b", "a_b", "a.b", "A", "_a", "-a", "1a", "ä", "a b"]
                .into_iter()
                .map(str::to_owned)
                .chain(["a\n".to_owned()])
                .chain([62, 63, 64, 128, 129].map(|length| "a".repeat(length)))
                .collect();
        let matches =
            |pattern: &str, text: &str| regex::Regex::new(pattern).unwrap().is_match(text);
        for text in &samples {
            let app = names::check_app_name(text).is_ok();
            assert_eq!(matches(names::APP_NAME, text), app, "{text}");
            let script = names::check_script_name(text).is_ok();
            assert_eq!(matches(names::SCRIPT_NAME, text), script, "{text}");
            let secret = secrets::check_name(text).is_ok();
            let fits = text.len() <= secrets::NAME_CHARS_MAX;
            assert_eq!(matches(secrets::NAME, text) && fits, secret, "{text}");
        }
    }
}
