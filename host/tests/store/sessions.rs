//! Sessions.

use picloud::store::{Session, Store};

use crate::fixtures::open;
use crate::on_both_databases;

fn session(token_sha256: &str, expires_at: i64) -> Session {
    Session {
        token_sha256: token_sha256.to_owned(),
        principal: "owner".to_owned(),
        csrf_token: "csrf".to_owned(),
        created_at: 1,
        seen_at: 1,
        expires_at,
    }
}

async fn is_there(store: &Store, token_sha256: &str, now: i64) -> bool {
    store.find_session(token_sha256, now).await.unwrap().is_some()
}

on_both_databases! {
    async fn a_session_is_found_until_its_time_is_up(database) {
        let store = open(database).await;
        let begun = session("a", 100);
        store.insert_session(begun.clone()).await.unwrap();
        assert_eq!(store.find_session("a", 99).await.unwrap(), Some(begun));
        assert!(!is_there(&store, "a", 100).await);
        assert!(!is_there(&store, "b", 99).await);
    }

    async fn a_session_is_renewed_unless_it_has_ended(database) {
        let store = open(database).await;
        store.insert_session(session("a", 100)).await.unwrap();
        store.renew_session("a", 50, 150).await.unwrap();
        let renewed = Session { seen_at: 50, ..session("a", 150) };
        assert_eq!(store.find_session("a", 149).await.unwrap(), Some(renewed));
        store.renew_session("a", 150, 250).await.unwrap();
        assert!(!is_there(&store, "a", 150).await);
        store.renew_session("b", 50, 150).await.unwrap();
        assert!(!is_there(&store, "b", 60).await);
    }

    async fn a_session_ends_by_itself_or_with_all_of_its_principal(database) {
        let store = open(database).await;
        for token in ["a", "b", "c"] {
            store.insert_session(session(token, 100)).await.unwrap();
        }
        let other = Session { principal: "ada".to_owned(), ..session("d", 100) };
        store.insert_session(other).await.unwrap();
        store.delete_session("a").await.unwrap();
        store.delete_session("a").await.unwrap();
        assert!(!is_there(&store, "a", 1).await && is_there(&store, "b", 1).await);
        assert_eq!(store.delete_sessions_of("owner").await.unwrap(), 2);
        assert!(!is_there(&store, "b", 1).await && is_there(&store, "d", 1).await);
    }

    async fn sessions_that_are_over_are_swept_in_batches(database) {
        let store = open(database).await;
        for (token, expires_at) in [("a", 100), ("b", 101), ("c", 102), ("d", 103)] {
            store.insert_session(session(token, expires_at)).await.unwrap();
        }
        assert_eq!(store.delete_expired_sessions(102, 2).await.unwrap(), 2);
        assert_eq!(store.delete_expired_sessions(102, 2).await.unwrap(), 1);
        assert_eq!(store.delete_expired_sessions(102, 2).await.unwrap(), 0);
        assert!(is_there(&store, "d", 0).await && !is_there(&store, "c", 0).await);
    }
}
