//! The error statuses of each operation.
//!
//! Most follow from the operation's shape: whether it needs a known caller, names a resource, or
//! takes a body. The rest is listed here by the operation's name.

use serde_json::{Map, Value, json};

/// The operations that fail if the current state does not allow them.
const CONFLICT: &[&str] = &[
    "accept_invitation",
    "approve_domain",
    "claim_domain",
    "create_app",
    "create_route",
    "create_script",
    "create_trigger",
    "create_user",
    "delete_key",
    "delete_member",
    "delete_user",
    "invite_user",
    "replay_dead_letter",
    "resolve_dead_letter",
    "rollback_script",
    "send_event",
    "set_key",
    "set_member",
    "sign_out_everywhere",
    "update_app",
    "update_ingress",
    "update_route",
    "update_script",
    "update_trigger",
    "update_user",
    "verify_domain",
    "change_password",
    "put_file",
    "delete_file",
    "fire_trigger",
];
/// The operations that check the content of their input: a source, a limit, a schedule.
const UNPROCESSABLE: &[&str] = &[
    "create_api_key",
    "create_script",
    "create_trigger",
    "execute_script",
    "preview_schedule",
    "send_event",
    "test_script",
    "update_script",
    "update_trigger",
    "verify_domain",
];
/// The operations with a rate limit for each caller.
const LIMITED: &[&str] = &[
    "accept_invitation",
    "change_password",
    "check_script",
    "execute_script",
    "get_invitation",
    "sign_in",
    "start_oidc",
    "test_script",
];
/// The operations that name a resource in their body or query, not in their path.
const NAMING: &[&str] = &["create_api_key", "get_invitation", "accept_invitation", "start_oidc"];
/// The operations that need free space in the app's storage.
const STORING: &[&str] = &["put_file", "set_key"];

/// Adds the errors of `operation`, all with the same schema.
pub(super) fn describe(operation: &mut Map<String, Value>, path: &str) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let is_public = operation["security"] == json!([{}]);
    let has_body = operation.contains_key("requestBody");
    let in_api = path.starts_with(super::API);
    let is = |list: &[&str]| list.contains(&&*id);
    let errors = [
        (in_api, 400, "The request is not valid"),
        (!is_public || is(&["sign_in"]), 401, "The caller is not authenticated"),
        (in_api, 403, "The caller lacks the right to do this"),
        (path.contains('{') || is(NAMING), 404, "The resource does not exist"),
        (has_body, 408, "The body did not arrive in time"),
        (is(CONFLICT), 409, "The current state does not allow it"),
        (has_body, 413, "The body or a part of it is too large"),
        (in_api, 415, "The request has a `Content-Encoding`"),
        (is(UNPROCESSABLE), 422, "The content of the request is not acceptable"),
        (is(LIMITED), 429, "The caller has reached a rate limit"),
        (true, 503, "The server cannot do this at the moment"),
        (is(STORING), 507, "The app has no storage left"),
    ];
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    for (_, status, description) in errors.into_iter().filter(|(answers, ..)| *answers) {
        let response = responses
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": description }));
        response["content"] = content();
    }
    responses.insert(
        "default".to_owned(),
        json!({ "description": "Another error", "content": content() }),
    );
}

fn content() -> Value {
    json!({ "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } })
}
