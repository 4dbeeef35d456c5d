//! Opening, closing and opening again.

use picloud::store::{DatabaseUrl, Error, Store};

use crate::fixtures::{app, domain_of, execution, new_app, now, open, route, script};
use crate::on_both_databases;

on_both_databases! {
    async fn an_opened_store_answers_and_knows_its_size(database) {
        let store = open(database).await;
        store.ping().await.unwrap();
        assert!(store.size_bytes().await.unwrap() > 4096);
        assert_eq!(store.revision(), 0);
    }

    async fn opening_again_finds_everything(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        domain_of(&store, &shop.id, "www.example").await;
        store
            .insert_route(route(&hello, "GET", "www.example", "/"))
            .await
            .unwrap();
        store
            .insert_setting("owner_key", "hash", now())
            .await
            .unwrap();
        let row = execution(&shop.id, &hello.id);
        store.record(row.clone()).await.unwrap();
        let before = store.definitions().await.unwrap();
        store.close().await.unwrap();

        let store = open(database).await;
        let after = store.definitions().await.unwrap();
        assert_eq!(
            (after.scripts, after.routes, after.domains),
            (before.scripts, before.routes, before.domains)
        );
        assert_eq!(store.find_app(&shop.id).await.unwrap(), shop);
        assert_eq!(store.find_execution(&row.id).await.unwrap(), row);
        assert_eq!(
            store.find_setting("owner_key").await.unwrap().as_deref(),
            Some("hash")
        );
    }

    async fn a_store_that_was_not_closed_keeps_every_answered_write(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        drop(store);
        assert_eq!(open(database).await.find_app(&shop.id).await.unwrap(), shop);
    }

    async fn a_closed_store_answers_unavailable(database) {
        let store = open(database).await;
        store.close().await.unwrap();
        store.close().await.unwrap();
        assert!(matches!(store.ping().await, Err(Error::Unavailable(_))));
        let write = store.insert_app(new_app("shop")).await;
        assert!(matches!(write, Err(Error::Unavailable(_))), "{write:?}");
    }

    async fn two_stores_share_one_database(database) {
        let (one, two) = (open(database).await, open(database).await);
        let made = app(&one, "shop").await;
        assert_eq!(two.find_app(&made.id).await.unwrap(), made);
        let made = app(&two, "blog").await;
        assert_eq!(one.find_app(&made.id).await.unwrap(), made);
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_unavailable() {
    let nobody: DatabaseUrl = "postgres://someone:secret@127.0.0.1:1/nothing".parse().unwrap();
    let nowhere: DatabaseUrl = "sqlite:/nowhere/at/all/picloud.db".parse().unwrap();
    for url in [nobody, nowhere] {
        let opened = Store::open(&url).await.map(drop);
        assert!(matches!(opened, Err(Error::Unavailable(_))), "{opened:?}");
    }
}

#[tokio::test]
async fn a_file_with_an_odd_name_is_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("50% of ünïcode? #1 & more.db");
    let url = DatabaseUrl::sqlite_file(&file).unwrap();
    Store::open(&url).await.unwrap().close().await.unwrap();
    assert!(file.exists());
}

#[tokio::test]
async fn closing_folds_the_write_ahead_log_into_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picloud.db");
    let store = Store::open(&DatabaseUrl::sqlite_file(&file).unwrap()).await.unwrap();
    app(&store, "shop").await;
    store.ping().await.unwrap();
    assert!(folder.path().join("picloud.db-wal").exists());
    store.close().await.unwrap();
    assert!(!folder.path().join("picloud.db-wal").exists());
}
