//! Counts the statements that an idle server executes, as sqlx logs them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use picloud_testing::{compiled_guest, database, statements};
use std::time::Duration;

use picloud::App;
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::store::{
    NewApp, NewScript, NewSource, RetryOverrides, ScriptLimits, Store, Trigger, TriggerDetail,
};
use tempfile::TempDir;
use tokio::sync::watch;

use database::{Kind, with_fresh_database};

/// The number of triggers.
const TRIGGERS: usize = 100;
/// The time for which nothing happens. Only this test waits a fixed time, because the guarantee is
/// about time.
const IDLE: Duration = Duration::from_secs(21);

/// One test for both databases, one after the other, because they share the count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_host_leaves_its_database_alone() {
    statements::listen();
    for (kind, most) in [(Kind::Sqlite, 0), (Kind::Postgres, 3)] {
        with_fresh_database(kind, async |database| {
            let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            compiled_guest::place(data.path());
            let config = Config {
                data: data.path().to_owned(),
                database: Some(database.url.clone()),
                ..Config::default()
            };
            let app = App::build(&config, Clock::system()).await.unwrap();
            make_triggers(&app.store).await;
            let stop = watch::Sender::new(false);
            let dispatcher = tokio::spawn(app.dispatcher.run(stop.subscribe()));
            let scheduler = tokio::spawn(app.scheduler.run(stop.subscribe()));
            quiet().await;
            assert!(statements::count() > TRIGGERS, "statements are counted");

            let before = statements::count();
            tokio::time::sleep(IDLE).await;
            let executed = statements::count() - before;
            assert!(executed <= most, "{kind:?}: {executed} statements in {IDLE:?}");

            stop.send_replace(true);
            dispatcher.await.unwrap();
            scheduler.await.unwrap();
            app.store.close().await.unwrap();
        })
        .await;
    }
}

/// Waits until no statement has been executed for a second.
async fn quiet() {
    loop {
        let before = statements::count();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if statements::count() == before {
            return;
        }
    }
}

async fn make_triggers(store: &Store) {
    let clock = Clock::system();
    let now = clock.now_us();
    let (name, description) = ("idle".to_owned(), String::new());
    let id: picloud::store::AppId = clock.new_id().into();
    let app = NewApp {
        id: id.clone(),
        name: name.clone(),
        description: description.clone(),
        created_at: now,
    };
    store.insert_app(app).await.unwrap();
    let script = NewScript {
        id: clock.new_id().into(),
        app_id: id.clone(),
        name,
        description,
        limits: ScriptLimits::default(),
        endpoint_enabled: true,
        source: NewSource { text: "1".to_owned(), sha256: "of 1".to_owned() },
        created_at: now,
    };
    let script = store.insert_script(script).await.unwrap();
    for number in 0..TRIGGERS {
        // Schedules too, which are due in a year.
        let detail = if number % 2 == 0 {
            TriggerDetail::Queue { queue: format!("queue-{number}") }
        } else {
            TriggerDetail::Cron {
                expression: "0 0 29 2 *".to_owned(),
                zone: "UTC".to_owned(),
                dst: "once".to_owned(),
                misfire: "once".to_owned(),
                overlap: "allow".to_owned(),
                due_at: Some(now + 365 * 24 * 3600 * 1_000_000),
            }
        };
        let trigger = Trigger {
            registrant: None,
            id: clock.new_id().into(),
            app_id: id.clone(),
            script_id: script.id.clone(),
            disabled_at: None,
            retry: RetryOverrides::default(),
            registered_by_principal: "owner".to_owned(),
            created_at: now,
            updated_at: now,
            detail,
        };
        store.insert_trigger(trigger).await.unwrap();
    }
}
