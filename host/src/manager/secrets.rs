//! `/apps/{app}/secrets`: encrypted values that an app's scripts can read.
//!
//! Invariant: no response contains a value: secrets can be set here, but never read.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Names, Path, Query};
use super::lists::{List, PageQuery};
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::secrets::{SecretValue, VALUE_BYTES_MAX};
use crate::store::{Resource, SecretFacts};

/// The pattern of a secret's name.
pub(super) const NAME: &str = "^[A-Za-z_][A-Za-z0-9_.-]*$";
/// The longest name, in characters.
pub(super) const NAME_CHARS_MAX: usize = 128;

/// A secret, without its value.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Secret {
    /// The name by which scripts read it.
    pub name: String,
    /// The version, from 1; it grows with every new value.
    pub version: i64,
    /// When it was first set, in microseconds since 1970.
    pub created_at: i64,
    /// When the value was last set, in microseconds since 1970.
    pub updated_at: i64,
}

impl From<SecretFacts> for Secret {
    fn from(facts: SecretFacts) -> Self {
        let SecretFacts { name, version, created_at, updated_at } = facts;
        Self { name, version, created_at, updated_at }
    }
}

/// A secret's new value.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// 1 to 32768 bytes. It is never shown again.
    #[serde(serialize_with = "reveal")]
    #[schema(value_type = String, format = Password)]
    pub value: SecretValue,
}

/// Writes the value into a request, the only place where it is written in clear.
fn reveal<S: Serializer>(value: &SecretValue, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(value.reveal())
}

/// The path of a secret.
#[derive(Debug, Deserialize)]
pub struct SecretPath {
    app: String,
    name: String,
}

impl Names for SecretPath {
    const RESOURCE: Resource = Resource::Secret;
}

/// The page of secrets to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SecretsQuery {
    /// Number of items to return, 1 to 200. Default: 50.
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
    let page = PageQuery::new(query.limit, query.offset)?;
    let secrets = control_plane.store.list_secrets(&app.id).await?;
    Ok(Json(page.list_part(secrets, Secret::from)))
}

/// Creates a secret, or sets the value of an existing one.
#[utoipa::path(put, path = "/apps/{app}/secrets/{name}", tag = "secrets",
    params(("app" = String, Path, description = "The app's name"),
        ("name" = String, Path, description = "The secret's name")), request_body = PutSecret,
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "The value is replaced", body = Secret),
        (status = 201, description = "The secret is created", body = Secret)))]
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
    responses((status = 204, description = "The secret is deleted")))]
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
/// `Invalid` if the text cannot be the name of a secret.
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
