//! Secrets, which the store treats as bytes.

use picloud::store::{App, AppId, Conflict, Error, Resource, Secret, Store};

use crate::fixtures::{app, id, now, open};
use crate::on_both_databases;

fn secret(app_id: &AppId, name: &str, key_id: &str) -> Secret {
    Secret {
        app_id: app_id.clone(),
        name: name.to_owned(),
        version: 1,
        sealed_value: format!("value of {name}"),
        wrapped_key: format!("key of {name} under {key_id}"),
        key_id: key_id.to_owned(),
        created_at: now(),
        updated_at: now(),
    }
}

async fn put(store: &Store, app: &App, name: &str, key_id: &str) -> Result<i64, Error> {
    let put = store.put_secret(secret(&app.id, name, key_id), 3).await;
    put.map(|facts| facts.version)
}

on_both_databases! {
    async fn a_secret_is_set_replaced_found_and_deleted(database) {
        let store = open(database).await;
        let (shop, blog) = (app(&store, "shop").await, app(&store, "blog").await);
        let before = store.revision();
        assert_eq!(put(&store, &shop, "B", "k1").await.unwrap(), 1);
        assert!(store.revision() > before, "caches are invalidated");
        assert_eq!(put(&store, &shop, "A", "k1").await.unwrap(), 1);
        let again = Secret { sealed_value: "new".into(), created_at: 0, updated_at: 7, ..secret(&shop.id, "B", "k1") };
        let facts = store.put_secret(again, 3).await.unwrap();
        assert_eq!((facts.version, facts.updated_at), (2, 7));
        assert_ne!(facts.created_at, 0);
        let found = store.find_secret(&shop.id, "B").await.unwrap().unwrap();
        assert_eq!((&*found.sealed_value, found.version), ("new", 2));
        let names: Vec<_> = store.list_secrets(&shop.id).await.unwrap().into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["A", "B"]);

        assert_eq!(store.find_secret(&blog.id, "B").await.unwrap(), None);
        assert_eq!(store.find_secret(&shop.id, "B\0").await.unwrap(), None);
        let foreign = store.delete_secret(&blog.id, "B").await;
        assert!(matches!(foreign, Err(Error::NotFound(Resource::Secret))), "{foreign:?}");
        let before = store.revision();
        store.delete_secret(&shop.id, "B").await.unwrap();
        assert!(store.revision() > before, "caches are invalidated");
        assert_eq!(store.find_secret(&shop.id, "B").await.unwrap(), None);
        let orphan = store.put_secret(secret(&id(), "B", "k1"), 3).await;
        assert!(matches!(orphan, Err(Error::NotFound(Resource::App))), "{orphan:?}");
    }

    async fn an_app_has_only_so_many_secrets_and_any_of_them_can_be_replaced(database) {
        let store = open(database).await;
        let (shop, blog) = (app(&store, "shop").await, app(&store, "blog").await);
        for name in ["A", "B", "C"] {
            put(&store, &shop, name, "k1").await.unwrap();
        }
        let full = put(&store, &shop, "D", "k1").await;
        assert!(matches!(full, Err(Error::Conflict(Conflict::SecretsMax(3)))), "{full:?}");
        assert_eq!(put(&store, &shop, "C", "k1").await.unwrap(), 2);
        put(&store, &blog, "D", "k1").await.unwrap();
    }

    async fn secrets_go_with_their_app(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        put(&store, &shop, "A", "k1").await.unwrap();
        store.delete_app(&shop.id).await.unwrap();
        assert_eq!(store.list_secret_key_ids().await.unwrap(), [""; 0]);
    }

    async fn secrets_of_two_master_keys_are_never_mixed(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        put(&store, &shop, "A", "k1").await.unwrap();
        let other = put(&store, &shop, "B", "k2").await;
        assert!(matches!(other, Err(Error::Conflict(Conflict::MasterKey))), "{other:?}");
        // Without secrets, any master key can be the first.
        store.delete_secret(&shop.id, "A").await.unwrap();
        put(&store, &shop, "B", "k2").await.unwrap();
        let old = put(&store, &shop, "A", "k1").await;
        assert!(matches!(old, Err(Error::Conflict(Conflict::MasterKey))), "{old:?}");
        assert_eq!(store.list_secret_key_ids().await.unwrap(), ["k2"]);
    }

    async fn a_secret_is_rewrapped_unless_it_was_changed_meanwhile(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        for name in ["A", "B"] {
            put(&store, &shop, name, "k1").await.unwrap();
        }
        store.begin_rewrapping("k2", now()).await.unwrap();
        let late = put(&store, &shop, "C", "k1").await;
        assert!(matches!(late, Err(Error::Conflict(Conflict::MasterKey))), "{late:?}");
        let seen = store.list_secrets_to_rewrap("k2", 10).await.unwrap();
        assert_eq!(seen.len(), 2);
        assert_eq!(store.list_secrets_to_rewrap("k2", 1).await.unwrap(), seen[..1]);
        put(&store, &shop, "B", "k2").await.unwrap();
        let rewrapped: Vec<_> = [
            store.rewrap_secret(seen[0].clone(), "new".into(), "k2".into()).await.unwrap(),
            store.rewrap_secret(seen[1].clone(), "new".into(), "k2".into()).await.unwrap(),
        ].into();
        assert_eq!(rewrapped, [true, false]);
        let found = store.find_secret(&shop.id, "A").await.unwrap().unwrap();
        let expected = Secret { wrapped_key: "new".into(), key_id: "k2".into(), ..seen[0].clone() };
        assert_eq!(found, expected);
        assert_eq!(store.list_secrets_to_rewrap("k2", 10).await.unwrap(), []);
        assert_eq!(store.list_secret_key_ids().await.unwrap(), ["k2"]);
    }
}
