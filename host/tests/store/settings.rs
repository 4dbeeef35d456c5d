//! Settings of the instance.

use futures::future::join_all;
use picloud::store::{Error, Resource};

use crate::fixtures::{now, open};
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
}
