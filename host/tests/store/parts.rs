//! Changes that grow with the number of events are made in parts, but apply at once.

use std::collections::BTreeSet;

use picloud::store::{
    App, Claim, CollectionKey, Commit, Committed, Error, EventFilter, EventId, Json, Moving,
    NewEvent, Page, Places, Resource, RetryOverrides, Script, ScriptId, Space, Store, Trigger,
    TriggerChange, TriggerDetail, TriggerKind, Write,
};

use crate::events::event_for;
use crate::fixtures::{Plain, app, id, now, open, script};
use crate::on_both_databases;

/// More than one part.
const MANY: usize = 1203;

fn message(script: &Script, assigned: Option<&Trigger>) -> NewEvent {
    NewEvent {
        trigger_id: assigned.map(|trigger| trigger.id.clone()),
        script_id: assigned.map(|trigger| trigger.script_id.clone()),
        kind: TriggerKind::Queue,
        operation: "send".to_owned(),
        source: "q".to_owned(),
        ..event_for(script)
    }
}

fn trigger(script: &Script) -> Trigger {
    Trigger {
        id: id(),
        app_id: script.app_id.clone(),
        script_id: script.id.clone(),
        disabled_at: None,
        retry: RetryOverrides::default(),
        registered_by_principal: "owner".to_owned(),
        registrant: None,
        created_at: now(),
        updated_at: now(),
        detail: TriggerDetail::Queue { queue: "q".to_owned() },
    }
}

async fn claim(store: &Store, events_max: i64) -> Vec<(EventId, Option<ScriptId>, i64)> {
    let claim = Claim {
        token: "node".to_owned(),
        lease_us: 60_000_000,
        events_max,
        places: Places::new(10_000, 10_000),
        after_app: None,
        at: now(),
    };
    let events = store.claim_events(claim).await.unwrap().events;
    events.into_iter().map(|event| (event.id, event.script_id, event.attempt)).collect()
}

/// Moves everything that must be moved. Returns the number of parts.
async fn move_all(store: &Store) -> usize {
    let mut parts = 0;
    while store.move_messages().await.unwrap() == Moving::More {
        parts += 1;
    }
    parts
}

/// Returns the number of messages of the queue that have a script.
async fn assigned(store: &Store, app: &App) -> usize {
    let page = Page { limit: 10_000, offset: 0 };
    let events = store.list_events(&app.id, &EventFilter::default(), page).await.unwrap();
    events.rows.iter().filter(|event| event.script_id.is_some()).count()
}

on_both_databases! {
    async fn many_messages_change_hands_in_parts(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let messages: Vec<_> = (0..MANY).map(|_| message(&hello, None)).collect();
        store.append_events(messages, None).await.unwrap();
        let made = store.insert_trigger(trigger(&hello)).await.unwrap();
        // The first part is moved at once, so that a short queue is assigned immediately.
        assert_eq!(assigned(&store, &shop).await, 500);
        assert_eq!(move_all(&store).await, 2);
        assert_eq!(assigned(&store, &shop).await, MANY);
        store.delete_trigger(&made.id).await.unwrap();
        assert_eq!(assigned(&store, &shop).await, MANY - 500);
        // Messages that still seem to be assigned are not run.
        assert_eq!(claim(&store, 10).await, []);
        assert_eq!(assigned(&store, &shop).await, MANY - 1000);
        move_all(&store).await;
        assert_eq!(assigned(&store, &shop).await, 0);
        assert_eq!(store.move_messages().await.unwrap(), Moving::Done);
    }

    async fn messages_of_a_deleted_trigger_are_the_next_one_s_with_nothing_lost(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let (old, new) = (script(&store, &shop.id, "old").await, script(&store, &shop.id, "new").await);
        let first = store.insert_trigger(trigger(&old)).await.unwrap();
        let mut messages: Vec<_> = (0..MANY).map(|_| message(&old, Some(&first))).collect();
        messages[MANY - 1].dedupe_key = Some("key".to_owned());
        let expected: BTreeSet<_> = messages.iter().map(|message| message.id.to_string()).collect();
        let keyed = messages.pop().unwrap();
        let keyed_id = keyed.id.to_string();
        store.append_events(messages, None).await.unwrap();
        store.append_events(vec![keyed], None).await.unwrap();
        store.delete_trigger(&first.id).await.unwrap();
        store.insert_trigger(trigger(&new)).await.unwrap();
        let mut seen = BTreeSet::new();
        let mut idle = 0;
        while idle < 3 {
            let claimed = claim(&store, 100).await;
            for (id, script, attempt) in &claimed {
                assert_eq!((script.as_ref(), *attempt), (Some(&new.id), 1));
                assert!(seen.insert(id.to_string()));
            }
            idle = if claimed.is_empty() { idle + 1 } else { 0 };
            // The message keeps its key until it is claimed.
            let waits = store.find_waiting_message(&shop.id, "q", "key").await.unwrap().is_some();
            assert_eq!(waits, !seen.contains(&keyed_id));
            store.move_messages().await.unwrap();
        }
        assert_eq!(seen, expected);
    }

    async fn a_message_runs_the_script_that_its_trigger_leads_to_at_the_claim(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let (old, new) = (script(&store, &shop.id, "old").await, script(&store, &shop.id, "new").await);
        let made = store.insert_trigger(trigger(&old)).await.unwrap();
        let messages: Vec<_> = (0..MANY).map(|_| message(&old, Some(&made))).collect();
        store.append_events(messages, None).await.unwrap();
        let change = TriggerChange {
            script_id: Some(new.id.clone()),
            updated_at: now(),
            ..TriggerChange::default()
        };
        store.update_trigger(&made.id, change).await.unwrap();
        let claimed = claim(&store, 2000).await;
        assert_eq!(claimed.len(), MANY);
        assert!(claimed.iter().all(|(_, script, _)| *script == Some(new.id.clone())));
    }

    async fn a_trigger_that_goes_on_keeps_what_it_was_to_let_go_of(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let made = store.insert_trigger(trigger(&hello)).await.unwrap();
        let messages: Vec<_> = (0..MANY).map(|_| message(&hello, Some(&made))).collect();
        store.append_events(messages, None).await.unwrap();
        let enabled = |enabled| TriggerChange {
            enabled: Some(enabled),
            updated_at: now(),
            ..TriggerChange::default()
        };
        store.update_trigger(&made.id, enabled(false)).await.unwrap();
        assert_eq!(claim(&store, 10).await, []);
        store.update_trigger(&made.id, enabled(true)).await.unwrap();
        move_all(&store).await;
        assert_eq!(claim(&store, 2000).await.len(), MANY);
    }

    async fn a_deleted_app_is_gone_at_once_and_its_rows_go_in_parts(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let made = store.insert_trigger(trigger(&hello)).await.unwrap();
        let messages: Vec<_> = (0..MANY).map(|_| message(&hello, Some(&made))).collect();
        store.append_events(messages, None).await.unwrap();
        let write = |name: usize| Write {
            collection: CollectionKey {
                app_id: shop.id.clone(),
                space: Space::Kv,
                name: "c".to_owned(),
            },
            name: name.to_string(),
            value: Some(Json::of(&name).unwrap()),
            expires_at: None,
        };
        let commit = Commit { writes: (0..MANY).map(write).collect(), at: now(), ..Commit::default() };
        assert_eq!(store.commit(commit.clone()).await.unwrap(), Committed::Done);

        store.delete_app(&shop.id).await.unwrap();
        for gone in [store.find_app(&shop.id).await, store.find_app_by_name("shop").await] {
            assert!(matches!(gone, Err(Error::NotFound(Resource::App))), "{gone:?}");
        }
        assert!(matches!(store.delete_app(&shop.id).await, Err(Error::NotFound(Resource::App))));
        assert!(store.definitions().await.unwrap().scripts.is_empty());
        assert_eq!(store.list_apps(crate::fixtures::ALL).await.unwrap(), []);
        // Its name is free, and none of its events runs.
        app(&store, "shop").await;
        assert_eq!(claim(&store, 10).await, []);
        assert_eq!(store.next_event_in().await.unwrap(), None);

        let mut parts = 0;
        while store.remove_remains().await.unwrap() {
            parts += 1;
        }
        // Three parts of messages, three of entries, one of the collection, and one of the app.
        assert_eq!(parts, 8);
        let mut plain = Plain::connect(database).await;
        for table in ["outbox", "entries", "collections"] {
            let count = format!("SELECT CAST(COUNT(*) AS BIGINT), CAST(0 AS BIGINT) FROM {table}");
            assert_eq!(plain.pairs(&count).await, [(0, 0)], "{table}");
        }
        let late = store.commit(commit).await;
        assert!(matches!(late, Err(Error::NotFound(Resource::App))), "{late:?}");
    }
}
