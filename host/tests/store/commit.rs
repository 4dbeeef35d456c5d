//! The transaction that commits a run.

use picloud::store::{
    Caused, CollectionKey, Commit, Committed, EntryName, EntryRange, Json, Operations, Read,
    Settlement, Space, Store, Write,
};

use crate::events::{claim_one, disposition, event_for};
use crate::fixtures::{ALL, app, execution, id, now, open, script};

fn key(app: &picloud::store::App, name: &str) -> CollectionKey {
    CollectionKey { app_id: app.id.clone(), space: Space::Kv, name: name.to_owned() }
}

fn set(collection: &CollectionKey, name: &str, value: &str) -> Write {
    Write {
        collection: collection.clone(),
        name: name.to_owned(),
        value: Some(Json::from_text(value.to_owned())),
        expires_at: None,
    }
}

fn saw(collection: &CollectionKey, name: Option<&str>, version: i64) -> Read {
    Read { collection: collection.clone(), name: name.map(str::to_owned), version, until: None }
}

async fn commit(store: &Store, reads: Vec<Read>, writes: Vec<Write>) -> Committed {
    store.commit(Commit { reads, writes, at: now(), ..Commit::default() }).await.unwrap()
}

async fn version(store: &Store, key: &CollectionKey, name: &str) -> i64 {
    let entry = EntryName { space: key.space, collection: &key.name, name };
    store.find_entry(&key.app_id, entry, now()).await.unwrap().map_or(0, |entry| entry.version)
}

crate::on_both_databases! {
    async fn what_was_written_is_read(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let a = key(&shop, "a");
        assert_eq!(commit(&store, vec![], vec![set(&a, "k", "1"), set(&a, "l", "[2]")]).await, Committed::Done);
        let name = EntryName { space: Space::Kv, collection: "a", name: "l" };
        let entry = store.find_entry(&shop.id, name, now()).await.unwrap().unwrap();
        assert_eq!((entry.value.as_str(), entry.version), ("[2]", 1));
        let delete = Write { value: None, ..set(&a, "k", "") };
        commit(&store, vec![], vec![delete.clone()]).await;
        assert_eq!(version(&store, &a, "k").await, 0);
        // Deleting a missing key changes nothing.
        commit(&store, vec![], vec![delete]).await;
        assert_eq!(store.find_collection_version(&shop.id, Space::Kv, "a").await.unwrap(), 2);
        let listed = store.list_collections(&shop.id, Space::Kv, ALL).await.unwrap();
        assert_eq!((listed.len(), listed[0].entries, listed[0].version), (1, 1, 2));
    }

    /// However reads, writes and deletions overlap: a read that begins after a commit has been
    /// answered returns that commit's value or a newer one.
    async fn a_read_never_returns_what_has_been_replaced(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let a = key(&shop, "a");
        let newest = std::sync::atomic::AtomicI64::new(0);
        let writer = async {
            for round in 0..200 {
                let write = match round % 5 {
                    4 => Write { value: None, ..set(&a, "k", "") },
                    _ => set(&a, "k", &round.to_string()),
                };
                assert_eq!(commit(&store, vec![], vec![write]).await, Committed::Done);
                let found = version(&store, &a, "k").await;
                assert_eq!(found == 0, round % 5 == 4, "round {round}: {found}");
                newest.store(round, std::sync::atomic::Ordering::SeqCst);
            }
        };
        let reader = async |name: &'static str| {
            loop {
                let least = newest.load(std::sync::atomic::Ordering::SeqCst);
                let entry = EntryName { space: a.space, collection: &a.name, name };
                let found = store.find_entry(&a.app_id, entry, now()).await.unwrap();
                let value = found.map(|entry| entry.value.as_str().parse::<i64>().unwrap());
                assert!(value.is_none_or(|value| value >= least), "{value:?}, committed {least}");
                if least == 199 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        futures::join!(writer, reader("k"), reader("k"), reader("k"), reader("absent"));
    }

    async fn a_version_never_comes_again(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let a = key(&shop, "a");
        commit(&store, vec![], vec![set(&a, "k", "1")]).await;
        let first = version(&store, &a, "k").await;
        commit(&store, vec![], vec![Write { value: None, ..set(&a, "k", "") }]).await;
        commit(&store, vec![], vec![set(&a, "k", "1")]).await;
        assert!(version(&store, &a, "k").await > first);
        let stale = vec![saw(&a, Some("k"), first)];
        assert_eq!(commit(&store, stale, vec![set(&a, "k", "2")]).await, Committed::Conflict);
    }

    async fn nothing_is_written_when_what_was_seen_has_changed(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let (a, b) = (key(&shop, "a"), key(&shop, "b"));
        commit(&store, vec![], vec![set(&a, "k", "1")]).await;
        for stale in [
            saw(&a, Some("k"), 0),
            saw(&a, Some("absent"), 1),
            saw(&a, None, 0),
            saw(&b, None, 1),
        ] {
            let done = commit(&store, vec![stale.clone()], vec![set(&b, "k", "1")]).await;
            assert_eq!(done, Committed::Conflict, "{stale:?}");
            assert!(!store.reads_are_current(&[stale], now()).await.unwrap());
        }
        assert_eq!(version(&store, &b, "k").await, 0);
        let current = vec![saw(&a, Some("k"), 1), saw(&a, Some("x"), 0), saw(&a, None, 1), saw(&b, None, 0)];
        assert!(store.reads_are_current(&current, now()).await.unwrap());
        assert_eq!(commit(&store, current, vec![set(&b, "k", "1")]).await, Committed::Done);
    }

    /// Of many runs that read the same version, one is committed, however the writer groups them.
    async fn of_runs_that_saw_the_same_one_is_committed(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let a = key(&shop, "a");
        let all = (0..50).map(|n| commit(&store, vec![saw(&a, Some("k"), 0)], vec![set(&a, "k", &n.to_string())]));
        let outcomes = futures::future::join_all(all).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Committed::Done).count(), 1);
    }

    async fn an_expired_entry_counts_as_absent(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let a = key(&shop, "a");
        let write = Write { expires_at: Some(now() + 10), ..set(&a, "k", "1") };
        commit(&store, vec![], vec![write]).await;
        let later = now() + 1000;
        let commit = Commit { reads: vec![saw(&a, Some("k"), 0)], at: later, ..Commit::default() };
        assert_eq!(store.commit(commit).await.unwrap(), Committed::Done);
        let range = EntryRange { prefix: "", after: None, limit: 10 };
        assert_eq!(store.list_entries(&shop.id, Space::Kv, "a", &range, later).await.unwrap(), []);
        assert_eq!(store.delete_expired_entries(later, 10).await.unwrap(), 1);
        assert_eq!(store.delete_expired_entries(later, 10).await.unwrap(), 0);
    }

    async fn entries_are_listed_by_their_bytes_whatever_the_language(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let a = key(&shop, "a");
        let last = "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}";
        let names = ["", "A", "Z", "_", "a", "a b", "a-b", "ab", "b", "ä", "é", "\u{d7ff}a", "\u{e000}", "\u{10ffff}", "\u{10ffff}\u{10ffff}", last];
        let writes = names[1..].iter().map(|name| set(&a, name, "1")).collect();
        commit(&store, vec![], writes).await;
        let list = async |prefix: &str, after: Option<&str>, limit: i64| {
            let range = EntryRange { prefix, after, limit };
            let entries = store.list_entries(&shop.id, Space::Kv, "a", &range, now()).await.unwrap();
            entries.into_iter().map(|entry| entry.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(list("", None, 100).await, names[1..]);
        assert_eq!(list("a", None, 100).await, ["a", "a b", "a-b", "ab"]);
        assert_eq!(list("a", Some("a b"), 1).await, ["a-b"]);
        assert_eq!(list("\u{10ffff}", None, 100).await, ["\u{10ffff}", "\u{10ffff}\u{10ffff}", last]);
        assert_eq!(list(last, None, 100).await, [last]);
        assert_eq!(list("\u{d7ff}", None, 100).await, ["\u{d7ff}a"]);
        assert_eq!(list("c", None, 100).await, [""; 0]);
    }

    async fn an_event_about_a_write_is_there_if_it_happened(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let a = key(&shop, "a");
        let wanted: Operations = vec![picloud::store::Operation::Update].try_into().unwrap();
        for (round, operations) in [[""; 0].as_slice(), &["update"], &["update", "update"]].into_iter().enumerate() {
            let caused = Caused { event: event_for(&hello), of_write: Some((0, wanted.clone())) };
            let (writes, events) = (vec![set(&a, "k", "1")], vec![caused]);
            let commit = Commit { writes, events, at: now(), ..Commit::default() };
            store.commit(commit).await.unwrap();
            let events = store.list_events(&shop.id, &Default::default(), ALL).await.unwrap().rows;
            let found: Vec<_> = events.iter().map(|event| event.operation.as_str()).collect();
            assert_eq!(found, operations, "round {round}");
        }
    }

    async fn a_conflict_leaves_the_event_and_everything_else_as_it_was(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let a = key(&shop, "a");
        store.append_events(vec![event_for(&hello)], None).await.unwrap();
        let event = claim_one(&store).await;
        let commit = |reads| Commit {
            executions: vec![execution(&shop.id, &hello.id)],
            reads,
            writes: vec![set(&a, "k", "1")],
            events: vec![Caused { event: event_for(&hello), of_write: None }],
            end: Some(Settlement { ..disposition(&event) }),
            audit: None,
            is_limited: false,
            definitions: None,
            at: now(),
        };
        let stale = store.commit(commit(vec![saw(&a, None, 7)])).await.unwrap();
        assert_eq!(stale, Committed::Conflict);
        let events = store.list_events(&shop.id, &Default::default(), ALL).await.unwrap().rows;
        let events: Vec<_> = events.into_iter().map(|event| event.row).collect();
        assert_eq!(events, std::slice::from_ref(&event));
        assert_eq!(version(&store, &a, "k").await, 0);
        assert_eq!(store.commit(commit(vec![])).await.unwrap(), Committed::Done);
        assert_eq!(store.commit(commit(vec![])).await.unwrap(), Committed::LeaseLost);
        let events = store.list_events(&shop.id, &Default::default(), ALL).await.unwrap().rows;
        assert_eq!(events.len(), 1);
        assert_ne!(events[0].id, event.id);
    }

    /// The collection's version does not change when an entry expires.
    async fn a_listing_is_another_one_when_something_in_it_has_expired(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let (a, b) = (key(&shop, "a"), key(&shop, "b"));
        let ends_at = now() + 60_000_000;
        let ends = Write { expires_at: Some(ends_at), ..set(&a, "k", "1") };
        assert_eq!(commit(&store, vec![], vec![ends]).await, Committed::Done);
        let listed = Read { until: Some(ends_at), ..saw(&a, None, 1) };
        let reads = std::slice::from_ref(&listed);
        assert!(store.reads_are_current(reads, ends_at - 1).await.unwrap());
        assert!(!store.reads_are_current(reads, ends_at).await.unwrap());
        let at = |at| Commit {
            reads: vec![listed.clone()],
            writes: vec![set(&b, "seen", "1")],
            at,
            ..Commit::default()
        };
        assert_eq!(store.commit(at(ends_at)).await.unwrap(), Committed::Conflict);
        assert_eq!(store.commit(at(ends_at - 1)).await.unwrap(), Committed::Done);
    }

    async fn one_commit_of_a_group_that_cannot_be_fails_alone(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let gone = CollectionKey { app_id: id(), ..key(&shop, "a") };
        let a = key(&shop, "a");
        let bad = Commit { writes: vec![set(&gone, "k", "1")], at: now(), ..Commit::default() };
        let good = (0..20).map(|n| commit(&store, vec![], vec![set(&a, &n.to_string(), "1")]));
        let (bad, good) = futures::future::join(store.commit(bad), futures::future::join_all(good)).await;
        assert!(bad.is_err());
        assert!(good.iter().all(|outcome| *outcome == Committed::Done));
    }
}
