//! `/apps/{app}/secrets`: what an app's scripts know.
//!
//! Invariant: no answer has a value: a secret is set here, and never shown.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Names, Path, Query};
use super::lists::{List, Page};
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::secrets::{SecretValue, VALUE_BYTES_MAX};
use crate::store::{Resource, SecretFacts};

/// What a secret can be called.
pub(super) const NAME: &str = "^[A-Za-z_][A-Za-z0-9_.-]*$";
/// The longest name, in characters.
pub(super) const NAME_CHARS_MAX: usize = 128;

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
pub struct Secret {
    /// What scripts ask for.
    name: String,
    /// From 1; grows with every new value.
    version: i64,
    /// When it was first set, in microseconds since 1970.
    created_at: i64,
    /// When its value was set, in microseconds since 1970.
    updated_at: i64,
}

impl From<SecretFacts> for Secret {
    fn from(facts: SecretFacts) -> Self {
        let SecretFacts { name, version, created_at, updated_at } = facts;
        Self { name, version, created_at, updated_at }
    }
}

/// A secret's new value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// 1 to 32768 bytes. It is not shown again.
    #[schema(value_type = String, format = Password)]
    value: SecretValue,
}

/// A secret of an app.
#[derive(Debug, Deserialize)]
pub struct SecretPath {
    app: String,
    name: String,
}

impl Names for SecretPath {
    const RESOURCE: Resource = Resource::Secret;
}

/// Which secrets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SecretsQuery {
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists an app's secrets by name, without their values.
#[utoipa::path(get, path = "/apps/{app}/secrets", tag = "secrets",
    params(("app" = String, Path, description = "The app's name"), SecretsQuery),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "A page of secrets", body = List<Secret>)))]
pub(super) async fn list_secrets(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<SecretsQuery>,
) -> Result<Json<List<Secret>>> {
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let page = Page::new(query.limit, query.offset)?;
    let secrets = control_plane.store.list_secrets(&app.id).await?;
    Ok(Json(page.list_part(secrets, Secret::from)))
}

/// Sets a secret, a new one or one that there is.
#[utoipa::path(put, path = "/apps/{app}/secrets/{name}", tag = "secrets",
    params(("app" = String, Path, description = "The app's name"),
        ("name" = String, Path, description = "The secret's name")), request_body = PutSecret,
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "It has a new value", body = Secret),
        (status = 201, description = "It is new", body = Secret)))]
pub(super) async fn put_secret(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(SecretPath { app, name }): Path<SecretPath>,
    body: Body<PutSecret>,
) -> Result<(StatusCode, Json<Secret>)> {
    let app = control_plane.app(&caller, &app, Capability::AppManageSecrets).await?;
    let value = body.read()?.value.without_bom();
    check_name(&name)?;
    if !(1..=VALUE_BYTES_MAX).contains(&value.reveal().len()) {
        let reason = format!("must have 1 to {VALUE_BYTES_MAX} bytes");
        return Err(Error::Invalid(Refusal::field("value", &reason)));
    }
    let change = Change::new("put_secret", Resource::Secret, &name, &name).in_app(&app.id);
    let store = control_plane.change(&caller, change);
    let set = control_plane.secrets.set(&store, &app.id, &name, &value).await?;
    let status = if set.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(set.into())))
}

/// Deletes a secret.
#[utoipa::path(delete, path = "/apps/{app}/secrets/{name}", tag = "secrets",
    params(("app" = String, Path, description = "The app's name"),
        ("name" = String, Path, description = "The secret's name")),
    security(("key" = ["app:admin"])),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_secret(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(SecretPath { app, name }): Path<SecretPath>,
) -> Result<StatusCode> {
    let app = control_plane.app(&caller, &app, Capability::AppManageSecrets).await?;
    let change = Change::new("delete_secret", Resource::Secret, &name, &name).in_app(&app.id);
    control_plane.change(&caller, change).delete_secret(&app.id, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// # Errors
/// `Invalid` for what cannot be a secret's name.
pub(super) fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if begins && goes_on && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    let reason = format!(
        "must be a letter or an underscore and then letters, digits, `_`, `.` or `-`, at most \
         {NAME_CHARS_MAX} characters"
    );
    Err(Error::Invalid(Refusal::field("name", &reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fit_for_a_url_and_for_an_environment() {
        let longest = "A".repeat(128);
        for name in ["A", "_", "stripe.key-2", "MAIL_PASSWORD", longest.as_str()] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let too_long = "A".repeat(129);
        for name in ["", "2A", "-a", ".a", "a b", "a/b", "ä", "a\0", &too_long] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
