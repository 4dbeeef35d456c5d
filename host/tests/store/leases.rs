//! Only the holder of an event's lease can complete the event.

use std::time::Duration;

use picloud::store::{
    Claim, Commit, Committed, Disposition, Event, EventFilter, EventId, Json, Lease, NewEvent,
    Places, Settlement, Store, TriggerKind,
};

use crate::database::{Database, Kind, with_fresh_database};
use crate::fixtures::{ALL, app, id, now, open, script};
use crate::on_both_databases;

/// Opens a store with one event.
async fn with_event(database: &Database) -> (Store, EventId) {
    let store = open(database).await;
    let app = app(&store, "app").await;
    let script = script(&store, &app.id, "script").await;
    let event_id: EventId = id();
    let event = NewEvent {
        id: event_id.clone(),
        app_id: app.id,
        trigger_id: None,
        script_id: Some(script.id),
        script_version: None,
        kind: TriggerKind::Script,
        operation: "enqueue".to_owned(),
        source: "script".to_owned(),
        payload: Json::of(&()).unwrap(),
        principal: "owner".to_owned(),
        depth: 1,
        delay_us: 0,
        reply_to: None,
        dedupe_key: None,
        dead_letter_id: None,
        caused_by: None,
        created_at: now(),
    };
    store.append_events(vec![event], None).await.unwrap();
    (store, event_id)
}

async fn claim(store: &Store, token: &str, lease: Duration) -> Vec<Event> {
    let claim = Claim {
        token: token.to_owned(),
        lease_us: i64::try_from(lease.as_micros()).unwrap(),
        events_max: 10,
        places: Places::new(10, 10),
        after_app: None,
        at: now(),
    };
    store.claim_events(claim).await.unwrap().events
}

fn lease_of(event: &Event) -> Lease {
    let token = event.lease_token.clone().unwrap();
    Lease { event_id: event.id.clone(), attempt: event.attempt, token }
}

fn done(lease: Lease) -> Commit {
    let end = Settlement {
        lease,
        disposition: Disposition::Complete,
        resolves: None,
        abandoned: None,
        answer: None,
    };
    Commit { end: Some(end), at: now(), ..Commit::default() }
}

async fn claimed_twice(store: &Store) -> [Lease; 2] {
    let late = claim(store, "node", Duration::ZERO).await;
    let current = claim(store, "node", Duration::from_secs(60)).await;
    assert_eq!((late[0].attempt, current[0].attempt), (1, 2));
    [lease_of(&late[0]), lease_of(&current[0])]
}

on_both_databases! {
    async fn a_released_event_waits_and_its_attempt_is_not_counted(database) {
        let (store, event_id) = with_event(database).await;
        let [late, current] = claimed_twice(&store).await;
        assert!(!store.release_event(late, 0).await.unwrap());
        assert_eq!(store.find_event(&event_id).await.unwrap().attempt, 2);
        assert!(store.release_event(current.clone(), 3_600_000_000).await.unwrap());
        let event = store.find_event(&event_id).await.unwrap();
        assert_eq!((event.attempt, event.lease_token), (1, None));
        assert!(claim(&store, "node", Duration::ZERO).await.is_empty(), "the event is not pending");
        assert_eq!(store.commit(done(current)).await.unwrap(), Committed::LeaseLost);
    }
}

/// On one thread, so that ends handed in together are committed together.
#[tokio::test]
async fn of_two_ends_in_one_commit_only_that_of_the_last_claim_counts() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        with_fresh_database(kind, async |database: &Database| {
            let (store, event_id) = with_event(database).await;
            let [late, current] = claimed_twice(&store).await;
            let (late, first, again) = futures::join!(
                store.commit(done(late)),
                store.commit(done(current.clone())),
                store.commit(done(current)),
            );
            let outcomes = [late.unwrap(), first.unwrap(), again.unwrap()];
            assert_eq!(outcomes, [Committed::LeaseLost, Committed::Done, Committed::LeaseLost]);
            assert!(store.find_event(&event_id).await.is_err());
            let app = store.list_apps(ALL).await.unwrap().remove(0);
            let left = store.list_events(&app.id, &EventFilter::default(), ALL).await.unwrap().rows;
            assert_eq!(left, []);
        })
        .await;
    }
}
