//! The rules that the derived schemas lack: bounds, patterns, enums and formats.
//!
//! A place is `Schema.field`, `Schema.field[]` for the items of a list, `path.name` or
//! `query.name` for a parameter, and `operation?name` for a parameter of one operation. A rule
//! is the part of a JSON schema that is added there.
//!
//! Invariant: each bound is the constant that the check itself uses. Tests below, and `make
//! contract` from outside, verify that each pattern accepts the same texts as the check.

use serde_json::{Value, json};

use crate::auth::{
    PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, Scope, USER_NAME_CHARS_MAX as USER_CHARS_MAX,
};
use crate::cron::{Dst, EXPRESSION_BYTES_MAX, Misfire, Overlap};
use crate::events::rules;
use crate::limits::MEMORY_BYTES_MIN;
use crate::manager::route_pattern::PATTERN_BYTES_MAX;
use crate::manager::source::SOURCE_BYTES_MAX;
use crate::manager::{
    api_keys, dead_letters, executions, lists, names, policies, private_hosts, routes, secrets,
    stats, triggers,
};
use crate::secrets::VALUE_BYTES_MAX;
use crate::store::{
    AppRole, Backoff, Delivery, ExecutionStatus, InstanceRole, Operation, TriggerKind,
};

/// Text that a database can store: without NUL.
const TEXT: &str = r"^[^\u0000]*$";
/// Text with at least one character that is not a space.
const SOME_TEXT: &str = r"\S";
/// The name of a header (RFC 9110, section 5.1). `*` is a valid name too.
const HEADER: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
/// The value of a header (RFC 9110, section 5.5). Non-ASCII text is sent as UTF-8.
const HEADER_VALUE: &str = r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$";
/// An origin as browsers write it, or `*`.
const ORIGIN: &str = r"^(\*|[A-Za-z][A-Za-z0-9+.-]*://[^/?#@*\s]+)$";
/// The user of basic authentication (RFC 7617, section 2).
const BASIC_USER: &str = r"^[^:\u0000-\u001f\u007f-\u009f]+$";
/// The path of a route. The pattern does not forbid a repeated parameter.
const ROUTE_PATH: &str = concat!(
    r"^(/|(/(([^/?#%{}\u0000-\u001f\u007f]|%[0-9A-Fa-f]{2})+|\{[A-Za-z_][A-Za-z0-9_]*\}))+",
    r"(/\{\*[A-Za-z_][A-Za-z0-9_]*\})?|/\{\*[A-Za-z_][A-Za-z0-9_]*\})$"
);
/// The signed message of a signature must contain the body.
const SIGNED: &str = r"\{body\}";
/// Between 1 and 50 names, separated by commas.
const APP_NAMES: &str = r"^,*[^,]+(,+[^,]+){0,49},*$";

fn text(least: usize, most: usize) -> Value {
    json!({ "minLength": least, "maxLength": most, "pattern": TEXT })
}

fn some(pattern: &str, most: usize) -> Value {
    json!({ "minLength": 1, "maxLength": most, "pattern": pattern })
}

fn within(least: impl Into<Value>, most: impl Into<Value>) -> Value {
    json!({ "minimum": least.into(), "maximum": most.into() })
}

fn items(least: usize, most: usize) -> Value {
    json!({ "minItems": least, "maxItems": most })
}

/// Returns the rule that allows only these names.
fn one_of(names: impl IntoIterator<Item = &'static str>) -> Value {
    json!({ "enum": names.into_iter().collect::<Vec<_>>() })
}

/// Returns a pattern for the methods of routes, ignoring case.
fn method_pattern() -> String {
    let any_case = |method: &&str| -> String {
        let one = |c: char| match c {
            '*' => r"\*".to_owned(),
            c => format!("[{c}{}]", c.to_ascii_lowercase()),
        };
        method.chars().map(one).collect()
    };
    format!("^({})$", routes::METHODS.iter().map(any_case).collect::<Vec<_>>().join("|"))
}

/// Returns every place with its rule.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    [parameters(), apps_and_scripts(), of_routes(), of_triggers(), of_accounts(), of_storage()]
        .concat()
}

fn parameters() -> Vec<(&'static str, Value)> {
    let id = || json!({ "format": "uuid" });
    let kinds = || one_of(TriggerKind::ALL.iter().map(|kind| kind.as_str()));
    let statuses = || one_of(ExecutionStatus::ALL.iter().map(|status| status.as_str()));
    let some_text = || json!({ "pattern": TEXT });
    let name = || text(1, rules::NAME_BYTES_MAX);
    let key = || text(1, rules::KEY_BYTES_MAX);
    let cursor = || json!({ "format": "cursor" });
    vec![
        ("path.app", json!({ "pattern": names::APP_NAME })),
        ("path.id", id()),
        ("path.key_id", id()),
        ("path.user_id", id()),
        ("path.version", json!({ "minimum": 1, "maximum": i64::MAX })),
        ("path.bucket", name()),
        ("path.collection", name()),
        ("path.key", key()),
        ("path.path", key()),
        ("path.host", json!({ "minLength": 1 })),
        ("path.user", json!({ "minLength": 1 })),
        ("put_secret?name", some(secrets::NAME, secrets::NAME_CHARS_MAX)),
        ("delete_secret?name", some(secrets::NAME, secrets::NAME_CHARS_MAX)),
        ("query.limit", within(1, lists::LIMIT_MAX)),
        ("query.offset", within(0, i64::MAX)),
        ("query.buckets", within(1, stats::BUCKETS_MAX)),
        ("query.kind", kinds()),
        ("query.trigger", kinds()),
        ("query.status", statuses()),
        ("query.trigger_id", id()),
        ("query.script_id", id()),
        ("query.event_id", id()),
        ("query.caused_by", id()),
        ("query.prefix", some_text()),
        ("query.principal", some_text()),
        ("query.action", some_text()),
        ("query.resource_id", some_text()),
        ("query.source", some_text()),
        ("query.older_than_s", json!({ "minimum": 0, "maximum": u32::MAX, "format": "int64" })),
        ("list_app_stats?apps", json!({ "pattern": APP_NAMES })),
        ("list_app_executions?q", json!({ "maxLength": executions::TEXT_CHARS_MAX })),
        ("list_script_executions?q", json!({ "maxLength": executions::TEXT_CHARS_MAX })),
        ("list_audit?after", cursor()),
        ("list_app_audit?after", cursor()),
        ("list_dead_letters?after", cursor()),
        ("count_dead_letters?after", cursor()),
        ("list_outbox?after", cursor()),
        ("purge_outbox?after", cursor()),
        ("list_abandoned_executions?after", cursor()),
        ("query.before", cursor()),
        ("list_app_executions?after", json!({ "format": "execution-cursor" })),
        ("list_script_executions?after", json!({ "format": "execution-cursor" })),
        ("list_entries?after", some_text()),
        ("list_files?after", some_text()),
    ]
}

fn apps_and_scripts() -> Vec<(&'static str, Value)> {
    let description = || text(0, names::DESCRIPTION_CHARS_MAX);
    let source = || json!({ "maxLength": SOURCE_BYTES_MAX, "format": "rhai" });
    vec![
        ("NewApp.name", json!({ "pattern": names::APP_NAME })),
        ("NewApp.description", description()),
        ("AppChange.name", json!({ "pattern": names::APP_NAME })),
        ("AppChange.description", description()),
        ("NewScript.name", json!({ "pattern": names::SCRIPT_NAME })),
        ("NewScript.description", description()),
        ("NewScript.source", source()),
        ("ScriptChange.source", source()),
        ("ScriptChange.description", description()),
        ("CheckSource.source", json!({ "maxLength": SOURCE_BYTES_MAX })),
        ("ScriptLimits.fuel_max", within(1, i64::MAX)),
        ("ScriptLimits.memory_bytes_max", within(MEMORY_BYTES_MIN, i64::MAX)),
        ("ScriptLimits.wall_ms_max", within(1, i64::MAX)),
        ("ScriptRollback.version", within(1, i64::MAX)),
        ("NewDomain.host", json!({ "format": "idn-hostname", "minLength": 1 })),
        ("Outbound.private_hosts", items(0, private_hosts::HOSTS_MAX)),
        ("Outbound.private_hosts[]", json!({ "format": "private-host", "minLength": 1 })),
        ("ExecuteRequest.method", json!({ "pattern": HEADER })),
        (
            "ExecuteRequest.headers[]",
            json!({ "minItems": 2, "prefixItems": [
                { "type": "string", "pattern": HEADER },
                { "type": "string", "pattern": HEADER_VALUE },
            ] }),
        ),
    ]
}

fn of_routes() -> Vec<(&'static str, Value)> {
    let concurrency = || within(1, policies::CONCURRENCY_MAX);
    let delivery = || one_of(Delivery::ALL.iter().map(|delivery| delivery.as_str()));
    let header = || some(HEADER, policies::TEXT_BYTES_MAX);
    let id = || json!({ "format": "uuid" });
    vec![
        ("NewRoute.script_id", id()),
        ("NewRoute.method", json!({ "pattern": method_pattern() })),
        ("NewRoute.path", some(ROUTE_PATH, PATTERN_BYTES_MAX)),
        ("NewRoute.host", json!({ "format": "idn-hostname" })),
        ("NewRoute.delivery", delivery()),
        ("NewRoute.concurrency_max", concurrency()),
        ("RouteChange.script_id", id()),
        ("RouteChange.delivery", delivery()),
        ("RouteChange.concurrency_max", concurrency()),
        ("IngressChange.concurrency_max", concurrency()),
        ("RateLimit.requests", within(1, policies::REQUESTS_MAX)),
        ("RateLimit.per_s", within(1, policies::DAY_S)),
        ("Cors.origins", items(1, policies::LISTED_MAX)),
        ("Cors.origins[]", json!({ "maxLength": policies::TEXT_BYTES_MAX, "pattern": ORIGIN })),
        ("Cors.headers", items(0, policies::LISTED_MAX)),
        ("Cors.headers[]", header()),
        ("Cors.exposed_headers", items(0, policies::LISTED_MAX)),
        ("Cors.exposed_headers[]", header()),
        ("Cors.max_age_s", within(0, policies::DAY_S)),
        ("RouteAuth.secrets", items(1, policies::SECRETS_MAX)),
        ("RouteAuth.secrets[]", some(secrets::NAME, secrets::NAME_CHARS_MAX)),
        ("RouteAuth.header", header()),
        ("RouteAuth.user", some(BASIC_USER, policies::TEXT_BYTES_MAX)),
        ("HmacAuth.secrets", items(1, policies::SECRETS_MAX)),
        ("HmacAuth.secrets[]", some(secrets::NAME, secrets::NAME_CHARS_MAX)),
        ("HmacAuth.tolerance_s", within(1, policies::DAY_S)),
        ("CustomSignature.header", header()),
        ("CustomSignature.timestamp_header", header()),
        ("CustomSignature.prefix", json!({ "maxLength": policies::TEXT_BYTES_MAX })),
        (
            "CustomSignature.signed",
            json!({ "maxLength": policies::TEXT_BYTES_MAX, "pattern": SIGNED }),
        ),
    ]
}

fn of_triggers() -> Vec<(&'static str, Value)> {
    let name = || text(1, rules::NAME_BYTES_MAX);
    let id = || json!({ "format": "uuid" });
    let dst = || one_of(Dst::ALL.iter().map(|dst| dst.as_str()));
    let schedule =
        || json!({ "format": "cron", "minLength": 1, "maxLength": EXPRESSION_BYTES_MAX });
    let zone = || json!({ "format": "time-zone" });
    let kinds = one_of(TriggerKind::ALL.iter().map(|kind| kind.as_str()));
    let operations = one_of(Operation::ALL.iter().map(|operation| operation.as_str()));
    vec![
        ("NewTrigger.script_id", id()),
        ("TriggerChange.script_id", id()),
        ("TriggerOn.collection", name()),
        ("TriggerOn.queue", name()),
        ("TriggerOn.topic", name()),
        ("TriggerOn.bucket", name()),
        ("TriggerOn.path", name()),
        ("TriggerOn.operations", json!({ "minItems": 1 })),
        ("TriggerOn.operations[]", operations),
        ("TriggerOn.schedule", schedule()),
        ("TriggerOn.zone", zone()),
        ("TriggerOn.dst", dst()),
        ("TriggerOn.misfire", one_of(Misfire::ALL.iter().map(|misfire| misfire.as_str()))),
        ("TriggerOn.overlap", one_of(Overlap::ALL.iter().map(|overlap| overlap.as_str()))),
        ("TriggerOn.source_kind", kinds),
        ("TriggerOn.source_trigger_id", id()),
        ("TriggerOn.source_script_id", id()),
        ("TriggerRetry.attempts_max", within(1, triggers::ATTEMPTS_MAX)),
        ("TriggerRetry.backoff", one_of(Backoff::ALL.iter().map(|backoff| backoff.as_str()))),
        ("TriggerRetry.base_ms", within(0, triggers::WAIT_MS_MAX)),
        ("TriggerRetry.cap_ms", within(0, triggers::WAIT_MS_MAX)),
        ("TriggerRetry.jitter", within(0, 1)),
        ("PreviewSchedule.schedule", schedule()),
        ("PreviewSchedule.zone", zone()),
        ("PreviewSchedule.dst", dst()),
        ("DeadLettersQuery.limit", within(1, dead_letters::BULK_MAX)),
        ("DeadLettersQuery.after", json!({ "format": "cursor" })),
        ("DeadLettersQuery.offset", within(0, lists::OFFSET_MAX)),
        ("DeadLettersQuery.kind", one_of(TriggerKind::ALL.iter().map(|kind| kind.as_str()))),
        ("DeadLettersQuery.script_id", id()),
        ("DeadLettersQuery.trigger_id", id()),
    ]
}

fn of_accounts() -> Vec<(&'static str, Value)> {
    let password = || json!({ "minLength": PASSWORD_CHARS_MIN, "maxLength": PASSWORD_CHARS_MAX });
    let roles = || one_of(InstanceRole::ALL.iter().map(|role| role.as_str()));
    vec![
        ("CreateApiKey.name", some(SOME_TEXT, api_keys::NAME_CHARS_MAX)),
        ("CreateApiKey.scopes", json!({ "minItems": 1 })),
        ("CreateApiKey.scopes[]", one_of(Scope::ALL.iter().map(|scope| scope.as_str()))),
        ("CreateApiKey.app", json!({ "pattern": names::APP_NAME })),
        ("CreateApiKey.expires_in_days", within(1, api_keys::DAYS_MAX)),
        ("AcceptInvitation.password", password()),
        ("ChangePassword.password", password()),
        ("NewUser.name", some("^[a-z0-9][a-z0-9._@+-]*$", USER_CHARS_MAX)),
        ("NewUser.role", roles()),
        ("UserChange.role", roles()),
        ("SetMember.role", one_of(AppRole::ALL.iter().map(|role| role.as_str()))),
    ]
}

fn of_storage() -> Vec<(&'static str, Value)> {
    let name = || text(1, rules::NAME_BYTES_MAX);
    vec![
        ("PutSecret.value", json!({ "minLength": 1, "maxLength": VALUE_BYTES_MAX })),
        ("SetKey.ttl_ms", within(1, rules::TTL_MS_MAX)),
        ("SendEvent.queue", name()),
        ("SendEvent.topic", name()),
        ("SendEvent.dedupe", name()),
        ("SendEvent.delay_ms", within(0, rules::DELAY_MS_MAX)),
        ("FireTrigger.operation", name()),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::manager::app_stats;

    #[test]
    fn no_place_has_two_rules() {
        let mut places = BTreeSet::new();
        for (place, _) in all() {
            assert!(places.insert(place), "{place}");
        }
        assert_eq!(app_stats::APPS_MAX, 50, "APP_NAMES counts them");
    }
}
