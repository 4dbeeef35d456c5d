//! Events that are claimed as they are appended.

use std::sync::Arc;

use picloud::store::{
    Accepted, AppId, Caused, Commit, Committed, Error, Event, NewEvent, NewKey, Offer, Places,
    Script, Store, Taken,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use crate::database::Database;
use crate::events::{claim, disposition, event_for};
use crate::fixtures::{app, id, now, open, script};

/// Longer than any test takes.
const LEASE_US: i64 = 3_600_000_000;

/// A node that claims events.
struct Node {
    store: Store,
    script: Script,
    places: Arc<Places>,
    taken: UnboundedReceiver<Taken>,
}

impl Node {
    async fn start(database: &Database, places: usize, lease_us: i64) -> Self {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let script = script(&store, &shop.id, "hello").await;
        let places = Places::new(places, places);
        let token = "node".to_owned();
        let taken = store.take_events(Offer { token, lease_us, places: Arc::clone(&places) });
        store.open_handover(true);
        Self { store, script, places, taken }
    }

    async fn append(&self, events: &[&NewEvent]) {
        let events = events.iter().copied().cloned().collect();
        assert_eq!(self.store.append_events(events, None).await.unwrap(), Accepted::Appended);
    }

    /// Returns the events claimed by the completed appends, with their places.
    fn taken(&mut self) -> Vec<Taken> {
        std::iter::from_fn(|| self.taken.try_recv().ok()).collect()
    }

    async fn claim(&self) -> Vec<Event> {
        claim(&self.store, "other", 10, LEASE_US).await.events
    }

    async fn complete(&self, event: &Event) -> Committed {
        let commit = Commit { end: Some(disposition(event)), at: now(), ..Commit::default() };
        self.store.commit(commit).await.unwrap()
    }
}

fn ids<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    events.into_iter().map(|event| event.id.to_string()).collect()
}

crate::on_both_databases! {
    async fn what_is_taken_is_what_a_claim_would_have_read(database) {
        let mut node = Node::start(database, 1, LEASE_US).await;
        let event = event_for(&node.script);
        node.append(&[&event]).await;
        let [taken] = <[_; 1]>::try_from(node.taken()).unwrap();
        let stored = node.store.find_event(&event.id).await.unwrap();
        assert!(stored.leased_until.unwrap() >= stored.available_at + LEASE_US);
        // The database sets these two.
        let Event { leased_until, available_at, .. } = stored;
        assert_eq!(Event { leased_until, available_at, ..taken.event.clone() }, stored);
        assert_eq!((stored.attempt, stored.last_attempt_at), (1, stored.first_attempt_at));
        assert!(stored.first_attempt_at.is_some());
        assert!(node.claim().await.is_empty(), "another node claimed the event too");
        assert_eq!(node.complete(&taken.event).await, Committed::Done);
        assert_eq!(node.complete(&taken.event).await, Committed::LeaseLost);
        node.store.find_event(&event.id).await.unwrap_err();
    }

    async fn what_finds_no_place_waits_and_what_comes_waits_behind_it(database) {
        let mut node = Node::start(database, 2, LEASE_US).await;
        let events: [_; 5] = std::array::from_fn(|_| event_for(&node.script));
        let names: Vec<_> = events.iter().map(|event| event.id.to_string()).collect();
        node.append(&[&events[0], &events[1], &events[2]]).await;
        let taken = node.taken();
        assert_eq!(ids(taken.iter().map(|taken| &taken.event)), names[..2]);
        assert_eq!(node.places.all().available_permits(), 0);
        drop(taken);
        assert_eq!(node.places.all().available_permits(), 2);
        node.append(&[&events[3]]).await;
        assert_eq!(node.taken().len(), 0, "the event overtook pending ones");
        assert_eq!(ids(&node.claim().await), names[2..4]);
        node.store.open_handover(true);
        node.append(&[&events[4]]).await;
        assert_eq!(ids(node.taken().iter().map(|taken| &taken.event)), names[4..]);
    }

    async fn what_cannot_begin_yet_is_not_taken(database) {
        let mut node = Node::start(database, 8, LEASE_US).await;
        let script = node.script.clone();
        let event = || event_for(&script);
        let later = NewEvent { delay_us: LEASE_US, ..event() };
        let unheard = NewEvent { script_id: None, ..event() };
        let deduped = NewEvent { dedupe_key: Some("key".to_owned()), ..event() };
        let ready = event();
        node.append(&[&later, &unheard, &deduped, &ready]).await;
        assert_eq!(ids(node.taken().iter().map(|taken| &taken.event)), [ready.id.to_string()]);
        assert_eq!(ids(&node.claim().await), [deduped.id.to_string()]);
        node.append(&[&event()]).await;
        assert_eq!(node.taken().len(), 1, "an event that is not due blocked the handover");
    }

    async fn what_is_caused_by_a_run_and_what_has_an_idempotency_key_is_taken(database) {
        let mut node = Node::start(database, 8, LEASE_US).await;
        let cause = event_for(&node.script);
        node.append(&[&cause]).await;
        let cause = node.taken().remove(0);
        let caused = event_for(&node.script);
        let commit = Commit {
            end: Some(disposition(&cause.event)),
            events: vec![Caused { event: caused.clone(), of_write: None }],
            at: now(),
            ..Commit::default()
        };
        assert_eq!(node.store.commit(commit).await.unwrap(), Committed::Done);
        assert_eq!(ids(node.taken().iter().map(|taken| &taken.event)), [caused.id.to_string()]);
        for taken in [1, 0] {
            let event = event_for(&node.script);
            let key = NewKey {
                fingerprint: "f".to_owned(),
                app_id: event.app_id.clone(),
                scope: "scope".to_owned(),
                key: "key".to_owned(),
                event_id: event.id.clone(),
                answer: None,
                answer_when_dropped: None,
                created_at: now(),
            };
            node.store.append_events(vec![event], Some(key)).await.unwrap();
            assert_eq!(node.taken().len(), taken, "the second event came first");
        }
    }

    async fn a_place_is_given_back_when_nothing_was_appended(database) {
        let mut node = Node::start(database, 2, LEASE_US).await;
        let lost = NewEvent { app_id: id::<AppId>(), ..event_for(&node.script) };
        let refused = node.store.append_events(vec![lost], None).await;
        assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
        assert_eq!(node.places.all().available_permits(), 2);
        assert_eq!(node.taken().len(), 0);
        node.append(&[&event_for(&node.script)]).await;
        assert_eq!(node.taken().len(), 1);
    }

    async fn whom_the_lease_was_taken_from_ends_nothing(database) {
        let mut node = Node::start(database, 1, 0).await;
        node.append(&[&event_for(&node.script)]).await;
        let late = node.taken().remove(0).event;
        let current = node.claim().await.remove(0);
        assert_eq!((late.attempt, current.attempt), (1, 2));
        assert_eq!(node.complete(&late).await, Committed::LeaseLost);
        assert_eq!(node.complete(&current).await, Committed::Done);
    }

    async fn who_takes_no_more_is_given_no_more(database) {
        let mut node = Node::start(database, 8, LEASE_US).await;
        node.store.end_handover();
        let event = event_for(&node.script);
        node.append(&[&event]).await;
        assert_eq!(node.taken.try_recv().unwrap_err(), TryRecvError::Disconnected);
        assert_eq!(ids(&node.claim().await), [event.id.to_string()]);
    }
}
