//! The storage of apps is counted for every kind of change, and limited in the commit.

use picloud::store::{
    AppId, Caused, CollectionKey, Commit, Committed, Conflict, EntryRange, Error, EventId, Json,
    NewEvent, NewKey, Settings, Space, Storage, StorageFull, Store, TriggerKind, Write,
};

use crate::database::Database;
use crate::fixtures::{Plain, app, id, now, open};
use crate::on_both_databases;

fn event(app_id: &AppId, payload: &str) -> NewEvent {
    NewEvent {
        id: id(),
        app_id: app_id.clone(),
        trigger_id: None,
        script_id: None,
        script_version: None,
        kind: TriggerKind::Queue,
        operation: "send".to_owned(),
        source: "q".to_owned(),
        payload: Json::from_text(payload.to_owned()),
        principal: "owner".to_owned(),
        depth: 0,
        delay_us: 0,
        reply_to: None,
        dedupe_key: None,
        dead_letter_id: None,
        caused_by: None,
        created_at: now(),
    }
}

fn write(app_id: &AppId, space: Space, name: &str, value: Option<&str>) -> Write {
    Write {
        collection: CollectionKey { app_id: app_id.clone(), space, name: "c".to_owned() },
        name: name.to_owned(),
        value: value.map(|value| Json::from_text(value.to_owned())),
        expires_at: None,
    }
}

fn file(bytes: i64) -> String {
    let blob: EventId = id();
    format!(r#"{{"blob":"{blob}","size_bytes":{bytes},"content_type":"a/b","sha256":""}}"#)
}

async fn change(store: &Store, writes: Vec<Write>, events: Vec<NewEvent>) -> Committed {
    let events = events.into_iter().map(|event| Caused { event, of_write: None }).collect();
    let commit = Commit { writes, events, is_limited: true, at: now(), ..Commit::default() };
    store.commit(commit).await.unwrap()
}

/// Changes the database directly, bypassing the store.
async fn raw(database: &Database, statement: &str) {
    Plain::connect(database).await.execute(statement).await;
}

async fn limited(database: &Database, most: Storage) -> Store {
    let settings = Settings { storage_max: most, ..Settings::default() };
    Store::open_with(&database.url, settings).await.unwrap()
}

on_both_databases! {
    async fn what_an_app_keeps_is_counted_whatever_changes_it(database) {
        let store = open(database).await;
        let (shop, other) = (app(&store, "shop").await.id, app(&store, "other").await.id);
        assert_eq!(store.find_storage(&shop).await.unwrap(), Storage::default());
        let set = |name, value| write(&shop, Space::Kv, name, Some(value));
        let writes = vec![set("a", "\"ü\""), set("bb", "1"), write(&shop, Space::Files, "f", Some(&file(70)))];
        change(&store, writes, vec![event(&shop, "{}"), event(&shop, "{\"a\":1}")]).await;
        change(&store, vec![write(&other, Space::Kv, "x", Some("1"))], vec![]).await;
        let kept = Storage {
            entries: 2, entry_bytes: 1 + 4 + 2 + 1, files: 1, file_bytes: 70, events: 2, event_bytes: 9,
        };
        assert_eq!(store.find_storage(&shop).await.unwrap(), kept);
        // A key is overwritten by a longer value, by a shorter one, and deleted.
        change(&store, vec![set("a", "12345"), write(&shop, Space::Kv, "bb", None)], vec![]).await;
        change(&store, vec![write(&shop, Space::Files, "f", Some(&file(5)))], vec![]).await;
        // A file's old content counts until it is removed from the disk.
        let kept = Storage { entries: 1, entry_bytes: 6, file_bytes: 70 + 5, ..kept };
        assert_eq!(store.find_storage(&shop).await.unwrap(), kept);
        let freed = store.list_freed_blobs(0, 10).await.unwrap();
        store.forget_freed_blobs(freed).await.unwrap();
        let kept = Storage { file_bytes: 5, ..kept };
        assert_eq!(store.find_storage(&shop).await.unwrap(), kept);
        // By retention, and by hand.
        let ends = Write { expires_at: Some(now()), ..set("gone", "1") };
        change(&store, vec![ends], vec![]).await;
        assert_eq!(store.delete_expired_entries(now() + 1, 10).await.unwrap(), 1);
        assert_eq!(store.find_storage(&shop).await.unwrap(), kept);
        raw(database, "DELETE FROM outbox WHERE payload = '{}'").await;
        let kept = Storage { events: 1, event_bytes: 7, ..kept };
        assert_eq!(store.find_storage(&shop).await.unwrap(), kept);
        let all = store.sum_storage().await.unwrap();
        assert_eq!((all.entries, all.events), (2, 1));
        // Deleting the app deletes everything.
        store.delete_app(&shop).await.unwrap();
        while store.remove_remains().await.unwrap() {}
        assert_eq!(store.find_storage(&shop).await.unwrap(), Storage::default());
        assert_eq!(store.sum_storage().await.unwrap().entries, 1);
        store.close().await.unwrap();
    }

    async fn the_last_entry_that_fits_is_taken_and_the_next_one_is_not(database) {
        let most = Storage { entries: 2, entry_bytes: 100, ..Storage::DEFAULT_MAX };
        let store = limited(database, most).await;
        let shop = app(&store, "shop").await.id;
        let set = |name: &str, value: &str| vec![write(&shop, Space::Kv, name, Some(value))];
        assert_eq!(change(&store, set("a", "1"), vec![]).await, Committed::Done);
        assert_eq!(change(&store, set("b", "1"), vec![]).await, Committed::Done);
        assert!(store.is_near_storage_max(&shop));
        let full = StorageFull { limit: "app_entries", used: 3, most: 2 };
        assert_eq!(change(&store, set("c", "1"), vec![]).await, Committed::Full(full));
        // Existing keys can be changed and deleted, which makes space.
        let longest = "1".repeat(97);
        assert_eq!(change(&store, set("b", &longest), vec![]).await, Committed::Done);
        let full = StorageFull { limit: "app_entry_bytes", used: 101, most: 100 };
        assert_eq!(change(&store, set("a", "12"), vec![]).await, Committed::Full(full));
        assert_eq!(change(&store, set("b", "1"), vec![]).await, Committed::Done);
        let gone = vec![write(&shop, Space::Kv, "b", None)];
        assert_eq!(change(&store, gone, vec![]).await, Committed::Done);
        assert_eq!(change(&store, set("c", "1"), vec![]).await, Committed::Done);
        assert_eq!(store.storage_refusals(), [1, 1, 0, 0, 0, 0]);
        store.close().await.unwrap();
    }

    async fn one_full_app_in_a_group_holds_up_no_other(database) {
        let most = Storage { files: 1, file_bytes: 10, ..Storage::DEFAULT_MAX };
        let store = limited(database, most).await;
        let (shop, other) = (app(&store, "shop").await.id, app(&store, "other").await.id);
        let put = |app_id: &AppId, name: &str, bytes| {
            let writes = vec![write(app_id, Space::Files, name, Some(&file(bytes)))];
            Commit { writes, is_limited: true, at: now(), ..Commit::default() }
        };
        let commits = [put(&shop, "a", 11), put(&other, "a", 10), put(&shop, "b", 10), put(&shop, "c", 1)];
        let done = futures::future::join_all(commits.map(|commit| store.commit(commit))).await;
        let done: Vec<_> = done.into_iter().map(Result::unwrap).collect();
        let bytes = StorageFull { limit: "app_file_bytes", used: 11, most: 10 };
        let files = StorageFull { limit: "app_files", used: 2, most: 1 };
        let expected = [Committed::Full(bytes), Committed::Done, Committed::Done, Committed::Full(files)];
        assert_eq!(done, expected);
        // The same file can be overwritten if both contents fit.
        let full = StorageFull { limit: "app_file_bytes", used: 19, most: 10 };
        assert_eq!(store.commit(put(&shop, "b", 9)).await.unwrap(), Committed::Full(full));
        let delete = Commit {
            writes: vec![write(&shop, Space::Files, "b", None)],
            is_limited: true,
            at: now(),
            ..Commit::default()
        };
        assert_eq!(store.commit(delete).await.unwrap(), Committed::Done);
        let freed = store.list_freed_blobs(0, 10).await.unwrap();
        store.forget_freed_blobs(freed).await.unwrap();
        assert_eq!(store.commit(put(&shop, "b", 9)).await.unwrap(), Committed::Done);
        store.close().await.unwrap();
    }

    async fn events_from_outside_are_refused_and_what_ends_work_is_not(database) {
        let most = Storage { events: 1, ..Storage::DEFAULT_MAX };
        let store = limited(database, most).await;
        let shop = app(&store, "shop").await.id;
        store.append_events(vec![event(&shop, "{}")], None).await.unwrap();
        let full = StorageFull { limit: "app_events", used: 2, most: 1 };
        let refused = |error| matches!(error, Error::Conflict(Conflict::StorageFull(it)) if it == full);
        assert!(refused(store.append_events(vec![event(&shop, "{}")], None).await.unwrap_err()));
        let key = || NewKey {
            app_id: shop.clone(), scope: "s".to_owned(), key: "k".to_owned(), fingerprint: "f".to_owned(),
            event_id: id(), answer: None, answer_when_dropped: None, created_at: now(),
        };
        assert!(refused(store.append_events(vec![event(&shop, "{}")], Some(key())).await.unwrap_err()));
        let commit = Commit {
            events: vec![Caused { event: event(&shop, "{}"), of_write: None }],
            at: now(),
            ..Commit::default()
        };
        assert_eq!(store.commit(commit).await.unwrap(), Committed::Done);
        assert_eq!(store.find_storage(&shop).await.unwrap().events, 2);
        // The refused dedupe key is not taken.
        raw(database, "DELETE FROM outbox").await;
        store.append_events(vec![event(&shop, "{}")], Some(key())).await.unwrap();
        store.close().await.unwrap();
    }

    /// The data of an older database is counted once.
    async fn the_first_start_counts_what_is_there(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await.id;
        let set = vec![write(&shop, Space::Kv, "a", Some("123")), write(&shop, Space::Files, "f", Some(&file(8)))];
        change(&store, set, vec![event(&shop, "{}")]).await;
        change(&store, vec![write(&shop, Space::Files, "f", Some(&file(9)))], vec![]).await;
        let kept = store.find_storage(&shop).await.unwrap();
        store.close().await.unwrap();
        // The state before the counters existed: without them, and without what maintains them.
        raw(database, "DELETE FROM storage").await;
        if store.is_shared() {
            raw(database, "DROP FUNCTION picloud_count_events() CASCADE").await;
            raw(database, "DROP FUNCTION picloud_count_entries() CASCADE").await;
            raw(database, "DROP FUNCTION picloud_count_blobs() CASCADE").await;
        }
        for _ in 0..2 {
            let store = open(database).await;
            assert_eq!(store.find_storage(&shop).await.unwrap(), kept);
            store.close().await.unwrap();
        }
    }

    async fn nodes_that_write_in_one_app_count_together(database) {
        let (one, two) = (open(database).await, open(database).await);
        let shop = app(&one, "shop").await.id;
        let writes = (0..40).map(|n| {
            let store = if n % 2 == 0 { one.clone() } else { two.clone() };
            let writes = vec![write(&shop, Space::Kv, &format!("k{}", n % 7), Some(&"1".repeat(n + 1)))];
            let event = event(&shop, "{}");
            async move { change(&store, writes, vec![event]).await }
        });
        let done = futures::future::join_all(writes).await;
        assert!(done.iter().all(|done| *done == Committed::Done), "{done:?}");
        let kept = one.find_storage(&shop).await.unwrap();
        let counted: (i64, i64) = (kept.entries, kept.events);
        assert_eq!(counted, (7, 40));
        let everything = EntryRange { prefix: "", after: None, limit: 100 };
        let entries = one.list_entries(&shop, Space::Kv, "c", &everything, 0).await.unwrap();
        let bytes: i64 = entries.iter().map(|entry| (entry.name.len() + entry.value.as_str().len()) as i64).sum();
        assert_eq!(kept.entry_bytes, bytes);
        two.close().await.unwrap();
        one.close().await.unwrap();
    }
}
