//! Users, members, keys and the audit log.

use picloud::store::{
    ApiKey, ApiKeyScope, AppId, AppRole, AuditEntry, AuditFilter, Conflict, Error, InstanceRole,
    Json, NewInvitation, Page, Resource, Store, User, UserChange, UserId,
};

use crate::fixtures::{ALL, app, id, new_app, now, open};
use crate::on_both_databases;

fn user(name: &str, role: InstanceRole) -> User {
    let at = now();
    User {
        id: id(),
        name: name.to_owned(),
        role,
        password_hash: None,
        invitation_sha256: Some(format!("invitation of {name}")),
        invitation_expires_at: Some(at + 10),
        invited_by: None,
        invited_with: None,
        oidc_issuer: None,
        oidc_subject: None,
        disabled_at: None,
        signed_in_at: None,
        created_at: at,
        updated_at: at,
    }
}

async fn made(store: &Store, name: &str, role: InstanceRole) -> User {
    let user = user(name, role);
    store.insert_user(user.clone()).await.unwrap();
    user
}

fn key(principal: &str, user_id: Option<UserId>, prefix: &str) -> ApiKey {
    ApiKey {
        id: id(),
        user_id,
        principal: principal.to_owned(),
        name: "k".to_owned(),
        prefix: prefix.to_owned(),
        key_sha256: format!("sha256 of {prefix}"),
        scopes: "script:read".to_owned(),
        app_id: None,
        made_with: None,
        expires_at: None,
        last_used_at: None,
        created_at: now(),
    }
}

fn entry(app_id: Option<&AppId>, action: &str) -> AuditEntry {
    AuditEntry {
        id: id(),
        app_id: app_id.cloned(),
        principal: "owner".to_owned(),
        principal_name: "owner".to_owned(),
        key_prefix: None,
        address: "192.0.2.1".to_owned(),
        action: action.to_owned(),
        resource: "app".to_owned(),
        resource_id: "id".to_owned(),
        resource_name: "name".to_owned(),
        before: None,
        after: Some(Json::of(&1).unwrap()),
        created_at: now(),
    }
}

async fn audited(store: &Store, filter: &AuditFilter<'_>) -> Vec<String> {
    let entries = store.list_audit(filter, ALL).await.unwrap().rows;
    entries.into_iter().map(|entry| entry.action).collect()
}

on_both_databases! {
    async fn a_user_is_found_by_id_name_invitation_and_identity(database) {
        let store = open(database).await;
        made(&store, "owner", InstanceRole::Owner).await;
        let ada = made(&store, "ada", InstanceRole::Member).await;
        assert_eq!(store.find_user(&ada.id).await.unwrap(), ada);
        assert_eq!(store.find_user_by_name("ada").await.unwrap(), ada);
        let expires_at = ada.invitation_expires_at.unwrap();
        let invited = async |now| store.find_invited_user("invitation of ada", now).await;
        assert_eq!(invited(expires_at - 1).await.unwrap(), ada);
        assert!(matches!(invited(expires_at).await, Err(Error::NotFound(Resource::User))));
        for nobody in ["Ada", "", "a\0"] {
            let found = store.find_user_by_name(nobody).await;
            assert!(matches!(found, Err(Error::NotFound(Resource::User))), "{nobody}");
        }
        let taken = store.insert_user(user("ada", InstanceRole::Member)).await;
        assert!(matches!(taken, Err(Error::Conflict(Conflict::UserName))));

        let identity = Some(("issuer".to_owned(), "subject".to_owned()));
        let change = UserChange { identity: identity.clone(), updated_at: 7, ..UserChange::default() };
        let linked = store.update_user(&ada.id, change.clone()).await.unwrap();
        assert_eq!((linked.invitation_sha256.clone(), linked.updated_at), (None, 7));
        assert_eq!(store.find_user_by_identity("issuer", "subject").await.unwrap(), linked);
        let other = made(&store, "eve", InstanceRole::Member).await;
        let taken = store.update_user(&other.id, change).await;
        assert!(matches!(taken, Err(Error::Conflict(Conflict::Identity))));
        let names: Vec<_> = store.list_users(ALL).await.unwrap().into_iter().map(|u| u.name).collect();
        assert_eq!(names, ["ada", "eve", "owner"]);
        let page = store.list_users(Page { limit: 1, offset: 1 }).await.unwrap();
        assert_eq!(page[0].name, "eve");
    }

    async fn the_first_user_is_made_once(database) {
        let store = open(database).await;
        assert!(store.insert_first_user(user("admin", InstanceRole::Owner)).await.unwrap());
        assert!(!store.insert_first_user(user("other", InstanceRole::Owner)).await.unwrap());
        assert_eq!(store.list_users(ALL).await.unwrap().len(), 1);
    }

    async fn a_password_takes_an_invitation_s_place_and_a_change_leaves_the_rest(database) {
        let store = open(database).await;
        let owner = made(&store, "owner", InstanceRole::Owner).await;
        let hash = Some("hash".to_owned());
        let change = UserChange { password_hash: hash.clone(), updated_at: 5, ..UserChange::default() };
        let changed = store.update_user(&owner.id, change).await.unwrap();
        assert_eq!((changed.password_hash.clone(), changed.invitation_sha256), (hash.clone(), None));
        let invitation = Some(NewInvitation {
            sha256: "new".to_owned(),
            expires_at: 9,
            by: "owner".to_owned(),
            with: None,
        });
        let change = UserChange { invitation, updated_at: 6, ..UserChange::default() };
        let changed = store.update_user(&owner.id, change).await.unwrap();
        assert_eq!((changed.password_hash, changed.invitation_expires_at), (hash, Some(9)));
        let nobody = store.update_user(&id(), UserChange::default()).await;
        assert!(matches!(nobody, Err(Error::NotFound(Resource::User))));
    }

    async fn the_last_owner_stays(database) {
        let store = open(database).await;
        let owner = made(&store, "owner", InstanceRole::Owner).await;
        let refused = |done| assert!(matches!(done, Err(Error::Conflict(Conflict::LastOwner))));
        let change = |role, enabled| UserChange { role, enabled, updated_at: 5, ..UserChange::default() };
        refused(store.update_user(&owner.id, change(Some(InstanceRole::Admin), None)).await.map(drop));
        refused(store.update_user(&owner.id, change(None, Some(false))).await.map(drop));
        refused(store.delete_user(&owner.id, "user:x").await);
        assert_eq!(store.find_user(&owner.id).await.unwrap(), owner, "nothing was changed");
        let second = made(&store, "second", InstanceRole::Owner).await;
        let disabled = store.update_user(&owner.id, change(None, Some(false))).await.unwrap();
        assert_eq!(disabled.disabled_at, Some(5));
        refused(store.delete_user(&second.id, "user:x").await);
        store.delete_user(&owner.id, "user:x").await.unwrap();
    }

    async fn members_come_and_go_and_go_with_their_user_and_their_app(database) {
        let store = open(database).await;
        made(&store, "owner", InstanceRole::Owner).await;
        let (shop, blog) = (app(&store, "shop").await, app(&store, "blog").await);
        let (ada, eve) = (
            made(&store, "ada", InstanceRole::Member).await,
            made(&store, "eve", InstanceRole::Member).await,
        );
        let before = store.revision();
        store.upsert_member(&shop.id, &ada.id, AppRole::Viewer, 1).await.unwrap();
        assert!(store.revision() > before, "the change can stop or resume triggers");
        store.upsert_member(&shop.id, &ada.id, AppRole::Editor, 2).await.unwrap();
        store.upsert_member(&shop.id, &eve.id, AppRole::AppAdmin, 3).await.unwrap();
        store.upsert_member(&blog.id, &eve.id, AppRole::Viewer, 4).await.unwrap();
        let member = store.find_member(&shop.id, &ada.id).await.unwrap();
        assert_eq!((member.role, member.created_at, member.updated_at), (AppRole::Editor, 1, 2));
        assert_eq!(store.find_app_role(&shop.id, &ada.id).await.unwrap(), Some(AppRole::Editor));
        assert_eq!(store.find_app_role(&blog.id, &ada.id).await.unwrap(), None);
        let names = async |app_id| {
            let members = store.list_members(app_id, ALL).await.unwrap();
            members.into_iter().map(|member| member.user_name).collect::<Vec<_>>()
        };
        assert_eq!(names(&shop.id).await, ["ada", "eve"]);
        let apps = async |user: &User| {
            let apps = store.list_apps_of(&user.id, ALL).await.unwrap();
            apps.into_iter().map(|app| app.name).collect::<Vec<_>>()
        };
        assert_eq!((apps(&ada).await, apps(&eve).await), (vec!["shop".to_owned()], vec!["blog".to_owned(), "shop".to_owned()]));
        let nobody = store.upsert_member(&shop.id, &id(), AppRole::Viewer, 5).await;
        assert!(matches!(nobody, Err(Error::NotFound(Resource::Member))));
        store.delete_member(&shop.id, &ada.id).await.unwrap();
        let again = store.delete_member(&shop.id, &ada.id).await;
        assert!(matches!(again, Err(Error::NotFound(Resource::Member))));
        store.delete_user(&eve.id, "user:x").await.unwrap();
        assert_eq!(names(&shop.id).await, [""; 0]);
        store.delete_app(&blog.id).await.unwrap();
    }

    async fn keys_are_found_by_their_prefix_and_go_with_their_user_and_their_app(database) {
        let store = open(database).await;
        made(&store, "owner", InstanceRole::Owner).await;
        let (shop, ada) = (app(&store, "shop").await, made(&store, "ada", InstanceRole::Member).await);
        let principal = format!("user:{}", ada.id);
        let of_ada = key(&principal, Some(ada.id.clone()), "pck_1");
        let of_shop = ApiKey { app_id: Some(shop.id.clone()), ..key("owner", None, "pck_2") };
        for key in [&of_ada, &of_shop] {
            store.insert_api_key(key.clone()).await.unwrap();
        }
        assert_eq!(store.find_api_key_by_prefix("pck_1").await.unwrap(), Some(of_ada.clone()));
        assert_eq!(store.find_api_key_by_prefix("pck_3").await.unwrap(), None);
        let found = async |scope: ApiKeyScope<'_>| {
            let keys = store.list_api_keys(scope, ALL).await.unwrap();
            keys.into_iter().map(|key| key.prefix).collect::<Vec<_>>()
        };
        assert_eq!(found(ApiKeyScope::Principal(&principal)).await, ["pck_1"]);
        assert_eq!(found(ApiKeyScope::App(&shop.id)).await, ["pck_2"]);
        assert_eq!(found(ApiKeyScope::Instance).await, ["pck_2", "pck_1"]);
        store.note_api_key_use(&of_ada.id, 7).await.unwrap();
        assert_eq!(store.find_api_key(&of_ada.id).await.unwrap().last_used_at, Some(7));
        let gone = ApiKey { app_id: Some(id()), ..key("owner", None, "pck_4") };
        assert!(matches!(store.insert_api_key(gone).await, Err(Error::NotFound(Resource::App))));
        store.delete_user(&ada.id, &principal).await.unwrap();
        store.delete_app(&shop.id).await.unwrap();
        assert_eq!(found(ApiKeyScope::Instance).await, [""; 0]);
        let revoked = store.delete_api_key(&of_ada.id).await;
        assert!(matches!(revoked, Err(Error::NotFound(Resource::ApiKey))));
    }

    async fn an_entry_is_written_with_its_change_or_not_at_all(database) {
        let store = open(database).await;
        let shop = store.on_behalf(entry(None, "make")).insert_app(new_app("shop")).await.unwrap();
        let again = store.on_behalf(entry(None, "make again")).insert_app(new_app("shop")).await;
        assert!(matches!(again, Err(Error::Conflict(Conflict::AppName))));
        app(&store, "quiet").await;
        assert_eq!(audited(&store, &AuditFilter::default()).await, ["make"]);
        store.append_audit(entry(Some(&shop.id), "look")).await.unwrap();
        assert_eq!(audited(&store, &AuditFilter::default()).await, ["look", "make"]);
        let filter = AuditFilter { app_id: Some(&shop.id), ..AuditFilter::default() };
        assert_eq!(audited(&store, &filter).await, ["look"]);
        let filter = AuditFilter { action: Some("make"), principal: Some("owner"), ..AuditFilter::default() };
        assert_eq!(audited(&store, &filter).await, ["make"]);
        let filter = AuditFilter { resource_id: Some("other"), ..AuditFilter::default() };
        assert_eq!(audited(&store, &filter).await, [""; 0]);
    }

    async fn old_entries_go_in_batches(database) {
        let store = open(database).await;
        let mut times = Vec::new();
        for action in ["a", "b", "c"] {
            let entry = entry(None, action);
            times.push(entry.created_at);
            store.append_audit(entry).await.unwrap();
        }
        assert_eq!(store.delete_audit_before(times[2], 1).await.unwrap(), 1);
        assert_eq!(store.delete_audit_before(times[2], 10).await.unwrap(), 1);
        assert_eq!(store.delete_audit_before(times[2], 10).await.unwrap(), 0);
        assert_eq!(audited(&store, &AuditFilter::default()).await, ["c"]);
    }
}
