//! The outbox: append, claim, complete, retry, bury.

use picloud::store::{
    Accepted, Claim, Claimed, Commit, Committed, DeadLetter, DeadLetterFilter, Disposition, Event,
    EventFilter, Json, Lease, NewEvent, NewKey, Places, Resolution, Script, Settlement, Store,
    TriggerKind,
};

use crate::fixtures::{ALL, Plain, app, id, now, open, script};

/// Longer than any test takes.
const LEASE_US: i64 = 3_600_000_000;

/// Returns an event for a script, enqueued by another script.
pub(crate) fn event_for(script: &Script) -> NewEvent {
    NewEvent {
        id: id(),
        app_id: script.app_id.clone(),
        trigger_id: None,
        script_id: Some(script.id.clone()),
        script_version: None,
        kind: TriggerKind::Script,
        operation: "enqueue".to_owned(),
        source: "hello".to_owned(),
        payload: Json::from_text(r#"{"a":"\u0000"}"#.to_owned()),
        principal: "owner".to_owned(),
        depth: 1,
        delay_us: 0,
        reply_to: None,
        dedupe_key: None,
        dead_letter_id: None,
        caused_by: None,
        created_at: now(),
    }
}

pub(crate) async fn claim(store: &Store, token: &str, events_max: i64, lease_us: i64) -> Claimed {
    let token = token.to_owned();
    let places = Places::new(1000, 1000);
    let claim = Claim { token, lease_us, events_max, places, after_app: None, at: now() };
    store.claim_events(claim).await.unwrap()
}

pub(crate) async fn claim_one(store: &Store) -> Event {
    let mut events = claim(store, "node", 1, LEASE_US).await.events;
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// Returns the end of a successful run.
pub(crate) fn disposition(event: &Event) -> Settlement {
    Settlement {
        lease: Lease {
            event_id: event.id.clone(),
            attempt: event.attempt,
            token: event.lease_token.clone().unwrap(),
        },
        disposition: Disposition::Complete,
        resolves: None,
        abandoned: None,
        answer: None,
    }
}

async fn end(store: &Store, event: &Event, disposition: Disposition) -> Committed {
    let end = Settlement { disposition, ..self::disposition(event) };
    store.commit(Commit { end: Some(end), at: now(), ..Commit::default() }).await.unwrap()
}

fn letter(event: &Event, script: &Script) -> DeadLetter {
    DeadLetter {
        id: id(),
        app_id: event.app_id.clone(),
        event_id: event.id.clone(),
        trigger_id: None,
        script_id: script.id.clone(),
        script_name: "hello".to_owned(),
        script_version: 1,
        kind: event.kind,
        operation: event.operation.clone(),
        source: event.source.clone(),
        payload: event.payload.clone(),
        principal: event.principal.clone(),
        depth: 1,
        attempts: event.attempt,
        first_attempt_at: now(),
        last_attempt_at: now(),
        last_error: "no".to_owned(),
        resolution: None,
        resolved_at: None,
        event_created_at: event.created_at,
        created_at: now(),
    }
}

crate::on_both_databases! {
    async fn an_event_is_claimed_once_and_its_attempt_is_counted(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let (first, second) = (event_for(&hello), event_for(&hello));
        store.append_events(vec![first.clone(), second.clone()], None).await.unwrap();
        let taken = claim_one(&store).await;
        assert_eq!((&taken.id, taken.attempt, &taken.payload), (&first.id, 1, &first.payload));
        let rest = claim(&store, "other", 10, LEASE_US).await;
        assert_eq!(rest.events.len(), 1);
        assert_eq!(rest.events[0].id, second.id);
        assert!(claim(&store, "other", 10, LEASE_US).await.events.is_empty());
        assert!(store.next_event_in().await.unwrap().unwrap() > 0);
        assert_eq!(end(&store, &taken, Disposition::Complete).await, Committed::Done);
        assert_eq!(end(&store, &taken, Disposition::Complete).await, Committed::LeaseLost);
        store.find_event(&second.id).await.unwrap();
        assert!(store.find_event(&first.id).await.is_err());
    }

    async fn what_a_lease_has_run_out_of_is_claimed_again_and_the_late_end_is_refused(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        store.append_events(vec![event_for(&hello)], None).await.unwrap();
        let late = claim(&store, "gone", 1, 0).await.events.remove(0);
        let taken = claim(&store, "node", 1, LEASE_US).await.events.remove(0);
        assert_eq!((taken.id.clone(), taken.attempt), (late.id.clone(), 2));
        for disposition in [Disposition::Complete, Disposition::Retry { delay_us: 0, error: "no".to_owned() }, Disposition::Bury(Box::new(letter(&late, &hello)))] {
            assert_eq!(end(&store, &late, disposition).await, Committed::LeaseLost);
        }
        assert_eq!(store.list_dead_letters(&shop.id, &DeadLetterFilter::default(), ALL).await.unwrap().rows, []);
        // Extending a lease needs the right token.
        store.extend_leases("gone".to_owned(), vec![taken.id.clone()], 0).await.unwrap();
        assert!(claim(&store, "third", 1, LEASE_US).await.events.is_empty());
        store.extend_leases("node".to_owned(), vec![taken.id.clone()], 0).await.unwrap();
        assert_eq!(claim(&store, "third", 1, LEASE_US).await.events[0].attempt, 3);
    }

    async fn a_delayed_event_is_not_due_before_its_time(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let delayed = NewEvent { delay_us: 60_000_000, ..event_for(&hello) };
        store.append_events(vec![delayed], None).await.unwrap();
        let claimed = claim(&store, "node", 10, LEASE_US).await;
        assert!(claimed.events.is_empty());
        let next = claimed.next_in_us.unwrap();
        assert!((50_000_000..=60_000_000).contains(&next), "{next}");
        // Advances the database's clock by an hour.
        let jump = "UPDATE outbox SET available_at = available_at - 3600000000";
        Plain::connect(database).await.execute(jump).await;
        assert_eq!(claim(&store, "node", 10, LEASE_US).await.events.len(), 1);
    }

    /// Also for an event that is due after others of its app.
    async fn a_claim_tells_when_there_will_be_more(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let later = NewEvent { delay_us: 60_000_000, ..event_for(&hello) };
        store.append_events(vec![event_for(&hello), later], None).await.unwrap();
        let claimed = claim(&store, "node", 10, LEASE_US).await;
        assert_eq!(claimed.events.len(), 1);
        let next = claimed.next_in_us.unwrap();
        assert!((50_000_000..=60_000_000).contains(&next), "{next}");
        end(&store, &claimed.events[0], Disposition::Complete).await;
        let next = store.next_event_in().await.unwrap().unwrap();
        assert!((50_000_000..=60_000_000).contains(&next), "{next}");
    }

    /// The clock was set back by an hour. An event that was due soon would be due in an hour, so it
    /// moves with the clock. An event with a longer wait still waits.
    async fn what_waits_moves_with_a_clock_that_is_set_back(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let later = NewEvent { delay_us: 60_000_000, ..event_for(&hello) };
        store.append_events(vec![event_for(&hello), later], None).await.unwrap();
        let hour = 3_600_000_000_i64;
        let jump = format!("UPDATE outbox SET available_at = available_at + {hour}");
        Plain::connect(database).await.execute(&jump).await;
        assert!(claim(&store, "node", 10, LEASE_US).await.events.is_empty());
        store.advance_events(hour).await.unwrap();
        let claimed = claim(&store, "node", 10, LEASE_US).await;
        assert_eq!(claimed.events.len(), 1);
        assert!((1..=60_000_000).contains(&claimed.next_in_us.unwrap()));
    }

    async fn a_failed_event_comes_again_after_its_wait(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        store.append_events(vec![event_for(&hello)], None).await.unwrap();
        let event = claim_one(&store).await;
        let retry = Disposition::Retry { delay_us: 0, error: "first".to_owned() };
        assert_eq!(end(&store, &event, retry).await, Committed::Done);
        let event = claim_one(&store).await;
        assert_eq!((event.attempt, event.last_error.as_deref()), (2, Some("first")));
        let retry = Disposition::Retry { delay_us: 60_000_000, error: "second".to_owned() };
        assert_eq!(end(&store, &event, retry).await, Committed::Done);
        assert!(claim(&store, "node", 1, LEASE_US).await.events.is_empty());
    }

    async fn a_buried_event_is_a_dead_letter_that_can_be_replayed_once(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        store.append_events(vec![event_for(&hello)], None).await.unwrap();
        let event = claim_one(&store).await;
        let letter = letter(&event, &hello);
        end(&store, &event, Disposition::Bury(Box::new(letter.clone()))).await;
        assert_eq!(store.find_dead_letter(&letter.id).await.unwrap(), letter);
        let unresolved = DeadLetterFilter { unresolved: true, ..DeadLetterFilter::default() };
        assert_eq!(store.count_dead_letters(&shop.id, &unresolved).await.unwrap(), 1);
        let other = DeadLetterFilter { kind: Some(TriggerKind::Kv), ..unresolved.clone() };
        assert_eq!(store.list_dead_letters(&shop.id, &other, ALL).await.unwrap().rows, []);
        store.ignore_dead_letter(&letter.id, now()).await.unwrap();
        assert_eq!(store.count_dead_letters(&shop.id, &unresolved).await.unwrap(), 0);
        let again = event_for(&hello);
        store.replay_dead_letter(&letter.id, again.clone()).await.unwrap();
        assert!(store.replay_dead_letter(&letter.id, event_for(&hello)).await.is_err());
        assert_eq!(store.find_dead_letter(&letter.id).await.unwrap().resolution, Some(Resolution::Replayed));
        assert_eq!(claim_one(&store).await.id, again.id);
        assert_eq!(store.delete_dead_letters_before(now(), 10).await.unwrap(), 1);
    }

    async fn apps_take_turns(database) {
        let store = open(database).await;
        let mut first = None;
        for (name, count) in [("many", 300), ("few", 3), ("one", 1)] {
            let app = app(&store, name).await;
            let script = script(&store, &app.id, "hello").await;
            let events = (0..count).map(|_| event_for(&script)).collect();
            store.append_events(events, None).await.unwrap();
            first.get_or_insert(app.id);
        }
        let claimed = claim(&store, "node", 30, LEASE_US).await;
        let of_first = claimed.events.iter().filter(|event| Some(&event.app_id) == first.as_ref());
        // Ten for each app; the next app takes what two apps leave.
        assert_eq!((claimed.events.len(), of_first.count()), (14, 10));
        assert_eq!(claimed.next_in_us, Some(0));
    }

    async fn a_message_with_a_dedupe_key_is_dropped_while_another_waits(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let message = || NewEvent { dedupe_key: Some("k".to_owned()), ..event_for(&hello) };
        let first = message();
        assert_eq!(store.append_events(vec![first.clone()], None).await.unwrap(), Accepted::Appended);
        assert_eq!(store.append_events(vec![message()], None).await.unwrap(), Accepted::Dropped);
        let waiting = store.find_waiting_message(&shop.id, "hello", "k").await.unwrap();
        assert_eq!(waiting, Some(first.id));
        // The message has begun, so its run may not see later changes.
        claim_one(&store).await;
        assert_eq!(store.append_events(vec![message()], None).await.unwrap(), Accepted::Appended);
    }

    async fn an_idempotency_key_is_remembered_with_its_answer(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let key = |event: &NewEvent, scope: &str| NewKey {
            fingerprint: "f".to_owned(),
            app_id: shop.id.clone(),
            scope: scope.to_owned(),
            key: "k".to_owned(),
            event_id: event.id.clone(),
            answer: None,
            answer_when_dropped: None,
            created_at: now(),
        };
        let (first, second) = (event_for(&hello), event_for(&hello));
        let accepted = store.append_events(vec![first.clone()], Some(key(&first, "a"))).await;
        assert_eq!(accepted.unwrap(), Accepted::Appended);
        let accepted = store.append_events(vec![second.clone()], Some(key(&second, "a"))).await;
        assert_eq!(accepted.unwrap(), Accepted::Replayed(first.id.clone()));
        let accepted = store.append_events(vec![second.clone()], Some(key(&second, "b"))).await;
        assert_eq!(accepted.unwrap(), Accepted::Appended);
        assert_eq!(store.find_first_answer(&first.id).await.unwrap(), None);
        let event = claim_one(&store).await;
        let answer = Json::from_text("{}".to_owned());
        let end = Settlement { answer: Some(answer.clone()), ..disposition(&event) };
        store.commit(Commit { end: Some(end), at: now(), ..Commit::default() }).await.unwrap();
        assert_eq!(store.find_first_answer(&first.id).await.unwrap(), Some(answer));
        assert_eq!(store.delete_idempotency_keys_before(now(), 10).await.unwrap(), 2);
    }

    async fn a_caller_who_has_gone_is_forgotten(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let event = NewEvent { reply_to: Some("node".to_owned()), ..event_for(&hello) };
        store.append_events(vec![event.clone()], None).await.unwrap();
        assert!(store.forget_reply(&event.id).await.unwrap());
        assert_eq!(store.find_event(&event.id).await.unwrap().reply_to, None);
        let taken = claim_one(&store).await;
        end(&store, &taken, Disposition::Complete).await;
        assert!(!store.forget_reply(&event.id).await.unwrap());
    }

    async fn the_leases_of_a_process_that_is_gone_are_given_back_where_it_was_alone(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        store.append_events(vec![event_for(&hello)], None).await.unwrap();
        claim_one(&store).await;
        let released = store.release_orphans().await.unwrap();
        assert_eq!(released, u64::from(!store.is_shared()));
        let waiting = claim(&store, "node", 1, LEASE_US).await.events.len();
        assert_eq!(waiting, usize::from(!store.is_shared()));
    }

    async fn the_events_of_an_app_are_listed_and_counted(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let queued = NewEvent {
            kind: TriggerKind::Queue,
            source: "q".to_owned(),
            script_id: None,
            ..event_for(&hello)
        };
        let all = vec![event_for(&hello), event_for(&hello), queued.clone()];
        store.append_events(all, None).await.unwrap();
        let filter = EventFilter { source: Some("q".to_owned()), ..EventFilter::default() };
        let found = store.list_events(&shop.id, &filter, ALL).await.unwrap().rows;
        assert_eq!(found.iter().map(|event| &event.id).collect::<Vec<_>>(), [&queued.id]);
        let backlog = store.list_backlog(&shop.id, ALL).await.unwrap();
        let counts: Vec<_> = backlog.iter().map(|row| (row.source.as_str(), row.events)).collect();
        assert_eq!(counts, [("q", 1), ("hello", 2)]);
        // An event without a script is not claimed. Deleting the app deletes both.
        assert_eq!(claim(&store, "node", 10, LEASE_US).await.events.len(), 2);
        store.delete_app(&shop.id).await.unwrap();
        assert!(store.find_event(&queued.id).await.is_err());
    }
}
