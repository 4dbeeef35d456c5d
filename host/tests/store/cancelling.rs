//! Cancelling events.

use std::collections::BTreeSet;

use picloud::store::{Conflict, Error, EventFilter, EventId, Resource, Store};

use crate::events::{claim, claim_one, disposition, event_for};
use crate::fixtures::{ALL, app, now, open, script};
use crate::on_both_databases;

const LEASE_US: i64 = 3_600_000_000;

/// Cancels these events one by one, and returns those that it cancelled.
async fn cancel_each(store: &Store, ids: Vec<EventId>) -> BTreeSet<String> {
    let mut cancelled = BTreeSet::new();
    for id in ids {
        match store.cancel_event(&id).await {
            Ok(()) => assert!(cancelled.insert(id.to_string())),
            Err(Error::Conflict(Conflict::EventRuns)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    cancelled
}

on_both_databases! {
    async fn what_waits_is_cancelled_once_and_what_runs_is_not(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let runs = event_for(&hello);
        store.append_events(vec![runs.clone()], None).await.unwrap();
        let claimed = claim_one(&store).await;
        let waits = event_for(&hello);
        store.append_events(vec![waits.clone()], None).await.unwrap();

        let refused = store.cancel_event(&runs.id).await;
        assert!(matches!(refused, Err(Error::Conflict(Conflict::EventRuns))), "{refused:?}");
        store.cancel_event(&waits.id).await.unwrap();
        let done = store.cancel_event(&waits.id).await;
        assert!(matches!(done, Err(Error::NotFound(Resource::Event))), "{done:?}");
        assert_eq!(store.find_storage(&shop.id).await.unwrap().events, 1);

        let ids = vec![runs.id.clone(), waits.id.clone()];
        assert_eq!(store.cancel_events(ids).await.unwrap(), []);
        let end = Some(disposition(&claimed));
        let commit = picloud::store::Commit { end, at: now(), ..Default::default() };
        store.commit(commit).await.unwrap();
        let done = store.cancel_event(&runs.id).await;
        assert!(matches!(done, Err(Error::NotFound(Resource::Event))), "{done:?}");
        assert_eq!(store.find_storage(&shop.id).await.unwrap().events, 0);
    }

    async fn an_event_is_cancelled_or_claimed_and_never_both(database) {
        let store = open(database).await;
        // Another node, if nodes can share the database.
        let other = if store.is_shared() { open(database).await } else { store.clone() };
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let events: Vec<_> = (0..200).map(|_| event_for(&hello)).collect();
        let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
        store.append_events(events, None).await.unwrap();

        let (each, many) = ids.split_at(100);
        let claiming = async {
            let mut claimed = BTreeSet::new();
            loop {
                let events = claim(&other, "other", 3, LEASE_US).await.events;
                if events.is_empty() {
                    break claimed;
                }
                claimed.extend(events.iter().map(|event| event.id.to_string()));
            }
        };
        let in_parts = async {
            let mut cancelled = Vec::new();
            for part in many.chunks(7) {
                cancelled.extend(store.cancel_events(part.to_vec()).await.unwrap());
            }
            cancelled
        };
        let (claimed, singly, in_parts) =
            tokio::join!(claiming, cancel_each(&store, each.to_vec()), in_parts);
        let cancelled: BTreeSet<_> =
            in_parts.iter().map(EventId::to_string).chain(singly).collect();
        assert_eq!(claimed.intersection(&cancelled).count(), 0);
        let filter = EventFilter::default();
        let left = store.list_events(&shop.id, &filter, ALL).await.unwrap().rows;
        let left: BTreeSet<_> = left.iter().map(|event| event.id.to_string()).collect();
        assert_eq!(left, claimed);
        assert_eq!(claimed.len() + cancelled.len(), 200);
    }
}
