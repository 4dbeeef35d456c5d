//! `/keys`: the API keys that programs authenticate with.
//!
//! Invariant: the text of a key is returned once, when the key is created.
//! Invariant: a key created with another key never has more rights than it, and is revoked with it.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Body, Path, Query};
use super::lists::{List, PageQuery};
use crate::auth::{self, Caller, Capability, Change, Scope};
use crate::error::{Error, Refusal, Result};
use crate::store::{self, ApiKeyId, ApiKeyScope, AppId, Resource};

/// The longest lifetime of a key, in days.
pub(super) const DAYS_MAX: i64 = 3650;
/// The most keys of one principal.
const KEYS_MAX: i64 = 200;
/// The longest name, in characters.
pub(super) const NAME_CHARS_MAX: usize = 100;
const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// An API key, without its secret part.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct ApiKey {
    /// The key's id.
    pub id: String,
    /// The name its owner gave it.
    pub name: String,
    /// The first characters of the key; they identify it and are not secret.
    #[schema(example = "pck_1f2e3d4c5b6a")]
    pub prefix: String,
    /// The scopes of the key.
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Extensible<Scope>>,
    /// The name of the only app the key can be used in; `null` for all apps of its owner.
    pub app: Option<String>,
    /// The name of the user it belongs to, or the principal if that is not a user.
    pub owner: String,
    /// When it expires, in microseconds since 1970; `null` if it never does.
    pub expires_at: Option<i64>,
    /// When it was last used, in microseconds since 1970, accurate to about a minute.
    pub last_used_at: Option<i64>,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
}

/// A key that has just been created.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct NewApiKey {
    /// The key's public fields.
    #[serde(flatten)]
    pub shown: ApiKey,
    /// The key itself. It is shown only in this response.
    pub key: String,
}

/// The key to create.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateApiKey)]
pub struct CreateApiKey {
    /// A name that says what the key is for, 1 to 100 characters.
    #[schema(example = "deploys from CI")]
    pub name: String,
    /// The scopes: `script:read`, `script:write`, `route:write`, `domain:manage`, `app:admin`,
    /// `log:read`, `instance:admin`; at least one.
    #[schema(value_type = Vec<String>)]
    pub scopes: BTreeSet<Scope>,
    /// The name of the only app it can be used in. Default: all apps of its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Lifetime in days, 1 to 3,650. Default: the key never expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_days: Option<i64>,
}

/// Filters for a list of keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApiKeysQuery {
    /// Lists the keys of all users; needs the right to manage users. Default: only the caller's
    /// own.
    #[serde(default)]
    all: bool,
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists the caller's own keys, or those of all users, newest first.
#[utoipa::path(get, path = "/keys", tag = "keys", params(ApiKeysQuery), security(("key" = ["instance:admin"])),
    responses((status = 200, description = "A page of keys", body = List<ApiKey>)))]
pub(super) async fn list_api_keys(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Query(query): Query<ApiKeysQuery>,
) -> Result<Json<List<ApiKey>>> {
    caller.check(Capability::OwnAccountManage)?;
    let page = PageQuery::new(query.limit, query.offset)?;
    let principal = caller.principal.to_string();
    let scope = if query.all {
        caller.check(Capability::InstanceManageUsers)?;
        ApiKeyScope::Instance
    } else {
        ApiKeyScope::Principal(&principal)
    };
    let keys = control_plane.store.list_api_keys(scope, page.rows()).await?;
    let mut shown = Vec::with_capacity(keys.len());
    for key in keys {
        shown.push(shown_key(&control_plane, key).await?);
    }
    Ok(Json(page.list(shown, |key| key)))
}

/// Creates a key for the caller. The key acts for its owner, limited to its scopes. It is shown
/// only in this response.
#[utoipa::path(post, path = "/keys", tag = "keys", request_body = CreateApiKey,
    security(("key" = ["instance:admin"])),
    responses((status = 201, description = "The new key", body = NewApiKey)))]
pub(super) async fn create_api_key(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    body: Body<CreateApiKey>,
) -> Result<impl IntoResponse> {
    caller.check(Capability::OwnAccountManage)?;
    let body = body.read()?;
    let key = checked(&control_plane, &caller, body).await?;
    let auth::NewKey { text, prefix, sha256 } = auth::generate_api_key(&control_plane.clock);
    let key = store::ApiKey { prefix, key_sha256: sha256, ..key };
    let change = changed("create_api_key", &key)
        .to(&json!({ "scopes": key.scopes, "app_id": key.app_id, "expires_at": key.expires_at }));
    control_plane.change(&caller, change).insert_api_key(key.clone()).await?;
    let shown = shown_key(&control_plane, key).await?;
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, no_store, Json(NewApiKey { shown, key: text })))
}

/// Revokes a key. The key and every key created with it stop working at once.
#[utoipa::path(delete, path = "/keys/{key_id}", tag = "keys",
    params(("key_id" = String, Path, description = "The key's id")), security(("key" = ["instance:admin"])),
    responses((status = 204, description = "The key is revoked")))]
pub(super) async fn delete_api_key(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<ApiKeyId>,
) -> Result<StatusCode> {
    caller.check(Capability::OwnAccountManage)?;
    let key = control_plane.store.find_api_key(&id).await?;
    let is_own = key.principal == caller.principal.to_string();
    if !is_own && caller.check(Capability::InstanceManageUsers).is_err() {
        return Err(Error::not_found(Resource::ApiKey));
    }
    let change = changed("delete_api_key", &key)
        .from(&json!({ "scopes": key.scopes, "app_id": key.app_id, "principal": key.principal }));
    control_plane.change(&caller, change).delete_api_key(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Validates the request and builds the row to store, without the key itself.
async fn checked(
    control_plane: &ControlPlane,
    caller: &Caller,
    body: CreateApiKey,
) -> Result<store::ApiKey> {
    let invalid = |field, reason: &str| Err(Error::Invalid(Refusal::field(field, reason)));
    if !(1..=NAME_CHARS_MAX).contains(&body.name.trim().chars().count()) {
        return invalid("name", &format!("must have 1 to {NAME_CHARS_MAX} characters"));
    }
    if body.scopes.is_empty() {
        return invalid("scopes", "must name at least one");
    }
    if body.expires_in_days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
        return invalid("expires_in_days", &format!("must be 1 to {DAYS_MAX}"));
    }
    let now = control_plane.clock.now_us();
    let wanted = body.expires_in_days.map(|days| now + days * DAY_US);
    let mut app_id: Option<AppId> = None;
    if let Some(name) = &body.app {
        app_id = Some(control_plane.app(caller, name, Capability::AppRead).await?.id);
    }
    let mut expires_at = wanted;
    if let Some(with) = caller.key() {
        if !body.scopes.is_subset(&with.scopes) {
            let message = "a key cannot create a key with scopes that it lacks";
            return Err(Error::Forbidden(Refusal::new("scope_missing", message)));
        }
        app_id = app_id.or_else(|| with.app_id.clone());
        expires_at = [wanted, with.expires_at].into_iter().flatten().min();
    }
    let principal = caller.principal.to_string();
    let (scope, page) =
        (ApiKeyScope::Principal(&principal), store::Page { limit: 1, offset: KEYS_MAX - 1 });
    if !control_plane.store.list_api_keys(scope, page).await?.is_empty() {
        let refusal = Refusal::new("too_many_keys", format!("a user can have {KEYS_MAX} keys"));
        return Err(Error::Unprocessable(refusal.with("limit", "keys").with("most", KEYS_MAX)));
    }
    Ok(store::ApiKey {
        id: control_plane.clock.new_id().into(),
        user_id: caller.user_id().cloned(),
        principal,
        name: body.name.trim().to_owned(),
        prefix: String::new(),
        key_sha256: String::new(),
        scopes: body.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "),
        app_id,
        made_with: caller.key().map(|with| with.id.clone()),
        expires_at,
        last_used_at: None,
        created_at: now,
    })
}

async fn shown_key(control_plane: &ControlPlane, key: store::ApiKey) -> Result<ApiKey> {
    let store = &control_plane.store;
    let app = match &key.app_id {
        Some(id) => store.find_app(id).await.ok().map(|app| app.name),
        None => None,
    };
    let owner = match &key.user_id {
        Some(id) => store.find_user(id).await.map(|user| user.name).unwrap_or_default(),
        None => key.principal,
    };
    Ok(ApiKey {
        id: key.id.into(),
        name: key.name,
        prefix: key.prefix,
        scopes: auth::scopes_of(&key.scopes).into_iter().map(Into::into).collect(),
        app,
        owner,
        expires_at: key.expires_at,
        last_used_at: key.last_used_at,
        created_at: key.created_at,
    })
}

fn changed(action: &'static str, key: &store::ApiKey) -> Change {
    let change = Change::new(action, Resource::ApiKey, key.id.as_str(), &key.name);
    match &key.app_id {
        Some(app_id) => change.in_app(app_id),
        None => change,
    }
}
