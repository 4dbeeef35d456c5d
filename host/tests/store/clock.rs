//! The next start corrects, once, times that were written while the clock was ahead.

use picloud::store::{EventId, Execution, ScriptId};

use crate::database::{Kind, with_fresh_database};
use crate::fixtures::{Plain, app, execution, id, open, script};

const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;

async fn due(plain: &mut Plain, event: &EventId) -> i64 {
    let query = format!("SELECT available_at, created_at FROM outbox WHERE id = '{event}'");
    plain.pairs(&query).await[0].0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_ahead_of_time_is_moved_back_once() {
    with_fresh_database(Kind::Sqlite, async |database: &crate::database::Database| {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let events = [(); 3].map(|()| crate::events::event_for(&hello));
        store.append_events(events.to_vec(), None).await.unwrap();
        let [waiting, running, of_before] = events.map(|event| event.id);
        // The time of the database's clock.
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64;
        let mut plain = Plain::connect(database).await;
        // Written an hour ahead: an event that waits for ten minutes, and one in progress.
        for (event, set) in [
            (
                &waiting,
                format!(
                    "created_at = {}, available_at = {}",
                    now + HOUR_US,
                    now + HOUR_US + 10 * MINUTE_US
                ),
            ),
            (
                &running,
                format!(
                    "last_attempt_at = {at}, available_at = {at}, lease_token = 'node', \
                     leased_until = {at}",
                    at = now + HOUR_US
                ),
            ),
            // Written earlier, and due tomorrow.
            (&of_before, format!("available_at = {}", now + 24 * HOUR_US)),
        ] {
            plain.execute(&format!("UPDATE outbox SET {set} WHERE id = '{event}'")).await;
        }
        let script_id: ScriptId = id();
        let ended = Execution { finished_at: now + HOUR_US, ..execution(&shop.id, &script_id) };
        store.record(ended).await.unwrap();
        store.flush().await.unwrap();

        let moved = store.heal_clock().await.unwrap();
        assert!((HOUR_US - MINUTE_US..=HOUR_US).contains(&moved), "{moved}");
        let is_about = |at: i64, expected: i64| (at - expected).abs() < MINUTE_US;
        assert!(is_about(due(&mut plain, &waiting).await, now + 10 * MINUTE_US));
        assert!(is_about(due(&mut plain, &running).await, now));
        let unmoved = due(&mut plain, &of_before).await;
        assert_eq!(unmoved, now + 24 * HOUR_US);

        // The execution is still in the log, and must not cause another correction.
        let before = due(&mut plain, &waiting).await;
        assert_eq!(store.heal_clock().await.unwrap(), 0);
        assert_eq!(due(&mut plain, &waiting).await, before);
        store.close().await.unwrap();
    })
    .await;
}
