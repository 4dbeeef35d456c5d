//! Grouped writes.

use std::pin::pin;

use futures::future::join_all;
use futures::poll;
use picloud::store::{Conflict, Error};

use crate::fixtures::{ALL, Plain, app, new_app, open};
use crate::on_both_databases;

on_both_databases! {
    async fn of_a_group_only_the_bad_write_fails(database) {
        let store = open(database).await;
        app(&store, "taken").await;
        let before = store.revision();
        let mut plain = Plain::connect(database).await;
        plain.hold("apps").await;

        // They wait behind the first write, which waits for the lock, and become one group.
        let names = (0..100).map(|n| {
            if n == 42 {
                "taken".to_owned()
            } else {
                format!("app-{n}")
            }
        });
        let mut inserts = pin!(join_all(names.map(|name| store.insert_app(new_app(&name)))));
        assert!(poll!(inserts.as_mut()).is_pending());
        plain.let_go().await;

        for (n, inserted) in inserts.await.into_iter().enumerate() {
            match inserted {
                Ok(app) => assert_eq!(app.name, format!("app-{n}")),
                Err(Error::Conflict(Conflict::AppName)) => assert_eq!(n, 42),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(store.list_apps(ALL).await.unwrap().len(), 100);
        let commits = store.revision() - before;
        assert!(
            (1..=2).contains(&commits),
            "100 writes took {commits} commits"
        );
    }

    async fn five_hundred_concurrent_writes_all_succeed(database) {
        let store = open(database).await;
        let before = store.revision();
        let inserts = (0..500).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.insert_app(new_app(&format!("app-{n}"))).await })
        });
        for inserted in join_all(inserts).await {
            inserted.unwrap().unwrap();
        }
        assert_eq!(store.list_apps(ALL).await.unwrap().len(), 500);
        let commits = store.revision() - before;
        assert!(commits < 500, "nothing was grouped: {commits} commits");
    }

    async fn more_writes_than_the_queue_holds_wait_for_their_turn(database) {
        let store = open(database).await;
        let mut plain = Plain::connect(database).await;
        plain.hold("apps").await;
        let mut inserts = pin!(join_all(
            (0..1500).map(|n| store.insert_app(new_app(&n.to_string())))
        ));
        assert!(poll!(inserts.as_mut()).is_pending());
        plain.let_go().await;
        assert!(inserts.await.iter().all(Result::is_ok));
    }

    async fn a_write_whose_caller_went_away_is_carried_out(database) {
        let store = open(database).await;
        let mut plain = Plain::connect(database).await;
        plain.hold("apps").await;
        {
            let mut abandoned = pin!(store.insert_app(new_app("abandoned")));
            assert!(poll!(abandoned.as_mut()).is_pending());
        }
        plain.let_go().await;
        // The writer handles one write after the other.
        app(&store, "next").await;
        store.find_app_by_name("abandoned").await.unwrap();
    }

    async fn a_read_sees_every_write_that_was_answered(database) {
        let store = open(database).await;
        for n in 0..50 {
            let made = app(&store, &n.to_string()).await;
            assert_eq!(store.find_app(&made.id).await.unwrap(), made);
        }
    }

    async fn reads_go_on_while_a_write_waits(database) {
        let store = open(database).await;
        let made = app(&store, "shop").await;
        let mut plain = Plain::connect(database).await;
        plain.hold("apps").await;
        let mut insert = pin!(store.insert_app(new_app("blog")));
        assert!(poll!(insert.as_mut()).is_pending());
        assert_eq!(store.list_apps(ALL).await.unwrap(), [made]);
        store.ping().await.unwrap();
        plain.let_go().await;
        insert.await.unwrap();
    }
}
