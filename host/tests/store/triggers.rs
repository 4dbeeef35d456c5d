//! Triggers and schedules.

use picloud::store::{
    Conflict, Error, EventFilter, Fired, Firing, NewEvent, Operations, Resource, RetryOverrides,
    Script, Trigger, TriggerChange, TriggerDetail, TriggerKind,
};

use crate::events::event_for;
use crate::fixtures::{ALL, app, id, now, open, script};

fn trigger(script: &Script, detail: TriggerDetail) -> Trigger {
    let at = now();
    Trigger {
        id: id(),
        app_id: script.app_id.clone(),
        script_id: script.id.clone(),
        disabled_at: None,
        retry: RetryOverrides {
            attempts_max: Some(3),
            backoff: Some(picloud::store::Backoff::Constant),
            backoff_base_ms: None,
            backoff_cap_ms: Some(7),
            jitter: Some(0.25),
        },
        registered_by_principal: "owner".to_owned(),
        registrant: None,
        created_at: at,
        updated_at: at,
        detail,
    }
}

fn queue(name: &str) -> TriggerDetail {
    TriggerDetail::Queue { queue: name.to_owned() }
}

fn cron(due_at: Option<i64>) -> TriggerDetail {
    TriggerDetail::Cron {
        expression: "* * * * *".to_owned(),
        zone: "UTC".to_owned(),
        dst: "once".to_owned(),
        misfire: "all".to_owned(),
        overlap: "forbid".to_owned(),
        due_at,
    }
}

fn every_kind(script: &Script) -> Vec<TriggerDetail> {
    vec![
        TriggerDetail::Kv { collection: "a:*".to_owned(), operations: Operations::all() },
        cron(Some(7)),
        queue("q"),
        TriggerDetail::Pubsub { topic: "*".to_owned() },
        TriggerDetail::Email { address: "a@example.org".to_owned() },
        TriggerDetail::Files {
            bucket: "b".to_owned(),
            path: "*.png".to_owned(),
            operations: vec![picloud::store::Operation::Delete].try_into().unwrap(),
        },
        TriggerDetail::DeadLetter {
            source_kind: Some(TriggerKind::Queue),
            source_trigger_id: None,
            source_script_id: Some(script.id.clone()),
        },
    ]
}

crate::on_both_databases! {
    async fn a_trigger_of_every_kind_is_kept_as_it_was_made(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let mut made = Vec::new();
        for detail in every_kind(&hello) {
            let trigger = trigger(&hello, detail);
            assert_eq!(store.insert_trigger(trigger.clone()).await.unwrap(), trigger);
            assert_eq!(store.find_trigger(&trigger.id).await.unwrap(), trigger);
            let kind = Some(trigger.detail.kind());
            assert_eq!(store.list_triggers(&shop.id, kind, ALL).await.unwrap(), std::slice::from_ref(&trigger));
            made.push(trigger);
        }
        assert_eq!(store.definitions().await.unwrap().triggers, made);
        store.delete_trigger(&made[0].id).await.unwrap();
        assert!(matches!(store.find_trigger(&made[0].id).await, Err(Error::NotFound(Resource::Trigger))));
        assert!(store.delete_trigger(&made[0].id).await.is_err());
        store.delete_script(&hello.id).await.unwrap();
        assert_eq!(store.list_triggers(&shop.id, None, ALL).await.unwrap(), []);
    }

    async fn a_trigger_is_changed_and_keeps_its_kind(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let other = script(&store, &shop.id, "other").await;
        let made = store.insert_trigger(trigger(&hello, queue("q"))).await.unwrap();
        let at = now();
        let change = TriggerChange {
            script_id: Some(other.id.clone()),
            enabled: Some(false),
            registered_by_principal: None,
            retry: Some(RetryOverrides::default()),
            detail: Some(queue("r")),
            updated_at: at,
        };
        let changed = store.update_trigger(&made.id, change).await.unwrap();
        assert_eq!((changed.disabled_at, &changed.script_id), (Some(at), &other.id));
        assert_eq!((&changed.detail, changed.retry), (&queue("r"), RetryOverrides::default()));
        let wrong = TriggerChange { detail: Some(cron(None)), ..TriggerChange::default() };
        assert!(matches!(store.update_trigger(&made.id, wrong).await, Err(Error::Invalid { .. })));
        let elsewhere = app(&store, "elsewhere").await;
        let foreign = script(&store, &elsewhere.id, "foreign").await;
        let wrong = TriggerChange { script_id: Some(foreign.id), ..TriggerChange::default() };
        assert!(matches!(store.update_trigger(&made.id, wrong).await, Err(Error::NotFound(Resource::Script))));
    }

    async fn a_queue_has_one_trigger_and_its_messages_are_the_triggers(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let message = NewEvent {
            kind: TriggerKind::Queue,
            source: "q".to_owned(),
            script_id: None,
            ..event_for(&hello)
        };
        store.append_events(vec![message.clone()], None).await.unwrap();
        let made = store.insert_trigger(trigger(&hello, queue("q"))).await.unwrap();
        let second = store.insert_trigger(trigger(&hello, queue("q"))).await;
        assert!(matches!(second, Err(Error::Conflict(Conflict::Queue))), "{second:?}");
        let of = async || store.find_event(&message.id).await.unwrap().trigger_id;
        assert_eq!(of().await, Some(made.id.clone()));
        let disable = |enabled| TriggerChange { enabled: Some(enabled), updated_at: now(), ..TriggerChange::default() };
        store.update_trigger(&made.id, disable(false)).await.unwrap();
        assert_eq!(of().await, None);
        store.update_trigger(&made.id, disable(true)).await.unwrap();
        assert_eq!(of().await, Some(made.id.clone()));
        store.delete_trigger(&made.id).await.unwrap();
        assert_eq!(of().await, None);
    }

    /// A sender looks for the trigger before it exists, and appends the message after its creation.
    async fn a_message_that_was_sent_before_its_trigger_was_made_is_not_left_behind(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let made = store.insert_trigger(trigger(&hello, queue("q"))).await.unwrap();
        let message = NewEvent {
            kind: TriggerKind::Queue,
            source: "q".to_owned(),
            script_id: None,
            ..event_for(&hello)
        };
        let elsewhere = NewEvent { id: id(), source: "r".to_owned(), ..message.clone() };
        store.append_events(vec![message.clone(), elsewhere.clone()], None).await.unwrap();
        let found = store.find_event(&message.id).await.unwrap();
        assert_eq!((found.trigger_id, found.script_id), (Some(made.id), Some(hello.id)));
        assert_eq!(store.find_event(&elsewhere.id).await.unwrap().script_id, None);
    }

    async fn a_schedule_fires_once_for_each_time(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let made = store.insert_trigger(trigger(&hello, cron(Some(100)))).await.unwrap();
        let firing = |due_at, count: usize, forbids_overlap| Firing {
            trigger_id: made.id.clone(),
            due_at,
            next_due_at: Some(due_at + 100),
            events: (0..count)
                .map(|_| NewEvent { trigger_id: Some(made.id.clone()), ..event_for(&hello) })
                .collect(),
            forbids_overlap,
        };
        let fired = |next, appended| Fired { next_due_at: Some(next), appended };
        assert_eq!(store.fire_schedule(firing(100, 2, false)).await.unwrap(), fired(200, Some(2)));
        // A late caller learns the next due time.
        assert_eq!(store.fire_schedule(firing(100, 2, false)).await.unwrap(), fired(200, None));
        // The first firings are not done.
        assert_eq!(store.fire_schedule(firing(200, 1, true)).await.unwrap(), fired(300, Some(0)));
        let events = store.list_events(&shop.id, &EventFilter::default(), ALL).await.unwrap().rows;
        assert_eq!(events.len(), 2);
        let TriggerDetail::Cron { due_at, .. } = store.find_trigger(&made.id).await.unwrap().detail else {
            panic!("the trigger changed its kind");
        };
        assert_eq!(due_at, Some(300));
    }
}
