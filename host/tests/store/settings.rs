//! Settings of the instance.

use futures::future::join_all;
use picloud::store::{AppSecret, Conflict, Error, Resource, Session, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::database::Kind;
use crate::fixtures::{app, id, now, open};
use crate::on_both_databases;

on_both_databases! {
    async fn a_setting_is_inserted_once_and_changed_after(database) {
        let store = open(database).await;
        assert_eq!(store.find_setting("owner_key").await.unwrap(), None);
        let early = store.update_setting("owner_key", "x", now()).await;
        assert!(
            matches!(early, Err(Error::NotFound(Resource::Setting))),
            "{early:?}"
        );

        assert!(
            store
                .insert_setting("owner_key", "one", now())
                .await
                .unwrap()
        );
        assert!(
            !store
                .insert_setting("owner_key", "two", now())
                .await
                .unwrap()
        );
        assert_eq!(
            store.find_setting("owner_key").await.unwrap().as_deref(),
            Some("one")
        );

        store
            .update_setting("owner_key", "three", now())
            .await
            .unwrap();
        assert_eq!(
            store.find_setting("owner_key").await.unwrap().as_deref(),
            Some("three")
        );
    }

    async fn of_many_who_insert_a_setting_one_succeeds(database) {
        let store = open(database).await;
        let inserts = (0..50).map(|n| {
            let store = store.clone();
            async move {
                store
                    .insert_setting("owner_key", &n.to_string(), now())
                    .await
                    .unwrap()
            }
        });
        let inserted = join_all(inserts)
            .await
            .into_iter()
            .filter(|inserted| *inserted)
            .count();
        assert_eq!(inserted, 1);
    }

    async fn with_a_credential_ends_what_was_made_with_it(database) {
        let store = open(database).await;
        let never = store.replace_credential("owner_key", "b", "owner", now()).await;
        assert!(matches!(never, Err(Error::NotFound(Resource::Setting))), "{never:?}");
        assert!(store.insert_setting("owner_key", "a", now()).await.unwrap());
        for (principal, token) in [("owner", "1"), ("user:7", "2")] {
            let at = now();
            let session = Session {
                token_sha256: token.to_owned(),
                principal: principal.to_owned(),
                csrf_token: "c".to_owned(),
                created_at: at,
                seen_at: at,
                expires_at: at + 1_000_000_000,
            };
            store.insert_session(session).await.unwrap();
        }
        store.replace_credential("owner_key", "b", "owner", now()).await.unwrap();
        assert_eq!(store.find_setting("owner_key").await.unwrap().as_deref(), Some("b"));
        assert_eq!(store.find_session("1", i64::MIN).await.unwrap(), None);
        assert!(store.find_session("2", i64::MIN).await.unwrap().is_some());
        store.close().await.unwrap();
    }

    async fn a_database_that_cannot_hold_every_text_is_refused(database) {
        if database.kind != Kind::Postgres {
            return;
        }
        let (address, name) = database.plain_url.rsplit_once('/').unwrap();
        let other = format!("{name}_ascii");
        let mut connection = PgConnection::connect(&database.plain_url).await.unwrap();
        let make = format!(
            "CREATE DATABASE {other} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        );
        sqlx::query(AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
        let refused = Store::open(&format!("{address}/{other}").parse().unwrap()).await;
        let drop = format!("DROP DATABASE {other} WITH (FORCE)");
        sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
        let said = refused.map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("SQL_ASCII") && said.contains("UTF8"), "{said}");
    }

    async fn a_secret_of_the_platform_is_kept_and_put_under_another_key(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let secret = |id: &str, key_id: &str, created_at: i64| AppSecret {
            id: id.to_owned(),
            app_id: shop.id.clone(),
            name: "requests".to_owned(),
            sealed_value: "sealed".to_owned(),
            wrapped_key: format!("wrapped {id}"),
            key_id: key_id.to_owned(),
            created_at,
        };
        let (first, second) = (secret("a", "old", 1), secret("b", "old", 2));
        for secret in [&first, &second] {
            store.insert_app_secret(secret.clone()).await.unwrap();
        }
        let nobody = AppSecret { app_id: id(), ..secret("c", "old", 3) };
        let refused = store.insert_app_secret(nobody).await;
        assert!(matches!(refused, Err(Error::NotFound(Resource::App))), "{refused:?}");
        let there = store.list_app_secrets(&shop.id, "requests").await.unwrap();
        assert_eq!(there, [second.clone(), first.clone()]);
        assert!(store.list_app_secrets(&shop.id, "other").await.unwrap().is_empty());
        assert!(store.list_secrets(&shop.id).await.unwrap().is_empty());

        store.note_master_key("new", 4).await.unwrap();
        let late = store.insert_app_secret(secret("d", "old", 5)).await;
        assert!(matches!(late, Err(Error::Conflict(Conflict::MasterKey))), "{late:?}");
        assert_eq!(store.list_app_secrets_under("old", 1).await.unwrap(), std::slice::from_ref(&first));
        let rewrap = async |seen: &AppSecret| {
            store.rewrap_app_secret(seen.clone(), "again".to_owned(), "new".to_owned()).await.unwrap()
        };
        assert!(rewrap(&first).await);
        assert!(!rewrap(&first).await, "the secret has changed in the meantime");
        assert_eq!(store.list_app_secrets_under("old", 9).await.unwrap(), [second]);
        store.delete_app(&shop.id).await.unwrap();
        assert!(store.list_app_secrets(&shop.id, "requests").await.unwrap().is_empty());
        store.close().await.unwrap();
    }
}
