//! All lists with all filters, all counts, and all periodic queries.

use picloud::store::{
    AuditFilter, Claim, DeadLetterFilter, EntryRange, EventFilter, ExecutionCursor,
    ExecutionFilter, ExecutionScope, ExecutionStatus, Page, Part, Places, Position, Space,
    TriggerKind,
};

use crate::Examination;
use crate::fill::Filled;

/// The largest offset that the API allows.
const OFFSET_MAX: i64 = 10_000;

const PAGE: Page = Page { limit: 201, offset: 0 };

/// Returns the value as absent and as present.
fn maybe<T: Clone>(value: &T) -> [Option<T>; 2] {
    [None, Some(value.clone())]
}

/// Returns the first page, the page with the largest offset, and a page behind a position.
fn parts(filled: &Filled) -> [(&'static str, Part); 3] {
    let id = "00000000-0000-7000-9000-100000000000".to_owned();
    let middle = Position { at: filled.rows / 2, id };
    [
        ("first", PAGE.into()),
        ("offset", Page { offset: OFFSET_MAX, ..PAGE }.into()),
        ("after", Part { page: PAGE, after: Some(middle) }),
    ]
}

pub(crate) async fn all(examination: &mut Examination, filled: &Filled) {
    executions(examination, filled).await;
    following(examination, filled).await;
    runs(examination, filled).await;
    outbox(examination, filled).await;
    dead_letters(examination, filled).await;
    audit(examination, filled).await;
    others(examination, filled).await;
    counts(examination, filled).await;
    periodic(examination, filled).await;
}

fn scopes(filled: &Filled) -> [ExecutionScope; 2] {
    [ExecutionScope::App(filled.app_id.clone()), ExecutionScope::Script(filled.script_id.clone())]
}

/// Every combination of filters.
fn filters(filled: &Filled) -> Vec<ExecutionFilter> {
    let mut filters = Vec::new();
    let statuses = [
        None,
        Some(ExecutionStatus::Success),
        Some(ExecutionStatus::Error),
        Some(ExecutionStatus::Crashed),
    ];
    for status in statuses {
        for trigger_kind in [None, Some(TriggerKind::Queue), Some(TriggerKind::Cron)] {
            for trigger_id in maybe(&filled.trigger_id) {
                for from in maybe(&(filled.rows / 10)) {
                    for text in maybe(&"needle 77 in".to_owned()) {
                        let to = from.map(|from| from * 9);
                        let trigger_id = trigger_id.clone();
                        filters.push(ExecutionFilter {
                            status,
                            trigger_kind,
                            trigger_id,
                            from,
                            to,
                            text,
                        });
                    }
                }
            }
        }
    }
    filters
}

async fn executions(examination: &mut Examination, filled: &Filled) {
    for scope in scopes(filled) {
        for filter in filters(filled) {
            for (place, part) in parts(filled) {
                let name = format!("executions {scope:?} {filter:?} {place}");
                examination
                    .of(&name, async |store| {
                        store.list_executions_and_cursor(&scope, &filter, part.clone()).await
                    })
                    .await;
            }
        }
    }
}

async fn following(examination: &mut Examination, filled: &Filled) {
    for scope in scopes(filled) {
        let filter = ExecutionFilter::default();
        let newest = examination.store.list_executions_and_cursor(&scope, &filter, PAGE).await;
        let cursors = [("start", ExecutionCursor::default()), ("newest", newest.unwrap().1)];
        for filter in filters(filled) {
            for (place, cursor) in &cursors {
                let name = format!("following {scope:?} {filter:?} {place}");
                examination
                    .of(&name, async |store| {
                        store.follow_executions(&scope, &filter, cursor, 200).await
                    })
                    .await;
            }
            let name = format!("executions after an id {scope:?} {filter:?}");
            examination
                .of(&name, async |store| {
                    let after = Some(&filled.execution_id);
                    store.list_executions_after(&scope, &filter, after, 201).await
                })
                .await;
        }
    }
}

/// Runs the other queries of the log.
async fn runs(examination: &mut Examination, filled: &Filled) {
    let event = "00000000-0000-7000-9000-100000000077".parse().unwrap();
    for scope in scopes(filled) {
        let named = |what: &str| format!("{what} {scope:?}");
        examination
            .of(&named("of an event"), async |store| {
                store.list_executions_of_event(&scope, &event, PAGE).await
            })
            .await;
        for kind in [None, Some(TriggerKind::Queue), Some(TriggerKind::Cron)] {
            let name = format!("captured {scope:?} {kind:?}");
            examination
                .of(&name, async |store| store.list_captured(&scope, kind, 1_005).await)
                .await;
        }
        for offset in [0, OFFSET_MAX - PAGE.limit] {
            let page = Page { offset, ..PAGE };
            examination
                .of(&named("of a cause"), async |store| {
                    store.list_executions_caused_by(&scope, &filled.execution_id, page).await
                })
                .await;
        }
        examination
            .of(&named("samples"), async |store| {
                store.list_samples(&scope, 0, filled.rows, 5_000).await
            })
            .await;
    }
    examination
        .of("counts of runs", async |store| {
            store.count_runs(&filled.app_id, 0, filled.rows, filled.rows / 30, 5_000).await
        })
        .await;
    examination
        .of("the last of a trigger", async |store| {
            store.list_last_executions(&[&filled.trigger_id]).await
        })
        .await;
}

async fn outbox(examination: &mut Examination, filled: &Filled) {
    for kind in [None, Some(TriggerKind::Queue), Some(TriggerKind::Cron)] {
        for source in [None, Some("orders1"), Some("none")] {
            for trigger_id in maybe(&filled.trigger_id) {
                for caused_by in maybe(&filled.execution_id) {
                    for script_id in maybe(&filled.script_id) {
                        let (trigger_id, source) = (trigger_id.clone(), source.map(str::to_owned));
                        let caused_by = caused_by.clone();
                        let filter = EventFilter { kind, source, trigger_id, caused_by, script_id };
                        events(examination, filled, &filter).await;
                    }
                }
            }
        }
    }
    for offset in [0, 3, OFFSET_MAX] {
        let page = Page { offset, ..PAGE };
        examination
            .of("backlog", async |store| store.list_backlog(&filled.app_id, page).await)
            .await;
    }
}

async fn events(examination: &mut Examination, filled: &Filled, filter: &EventFilter) {
    for (place, part) in parts(filled) {
        let name = format!("outbox {filter:?} {place}");
        examination
            .of(&name, async |store| store.list_events(&filled.app_id, filter, part.clone()).await)
            .await;
        let name = format!("positions in the outbox {filter:?} {place}");
        let positions = async |store: &picloud::store::Store| {
            store.list_event_positions(&filled.app_id, filter, part.clone()).await
        };
        examination.of(&name, positions).await;
    }
}

async fn dead_letters(examination: &mut Examination, filled: &Filled) {
    for unresolved in [false, true] {
        for kind in [None, Some(TriggerKind::Queue), Some(TriggerKind::Cron)] {
            for script_id in maybe(&filled.script_id) {
                for trigger_id in maybe(&filled.trigger_id) {
                    let script_id = script_id.clone();
                    let filter = DeadLetterFilter { unresolved, kind, script_id, trigger_id };
                    for (place, part) in parts(filled) {
                        let name = format!("dead letters {filter:?} {place}");
                        examination
                            .of(&name, async |store| {
                                store.list_dead_letters(&filled.app_id, &filter, part.clone()).await
                            })
                            .await;
                    }
                    let name = format!("dead letters counted {filter:?}");
                    examination
                        .of(&name, async |store| {
                            store.count_dead_letters(&filled.app_id, &filter).await
                        })
                        .await;
                }
            }
        }
    }
}

async fn audit(examination: &mut Examination, filled: &Filled) {
    for app_id in [None, Some(&filled.app_id)] {
        for principal in [None, Some("owner"), Some("nobody")] {
            for action in [None, Some("update_script"), Some("nothing")] {
                for resource_id in [None, Some(filled.script_id.as_str())] {
                    let filter = AuditFilter { app_id, principal, action, resource_id };
                    for (place, part) in parts(filled) {
                        let name = format!("audit {filter:?} {place}");
                        examination
                            .of(&name, async |store| store.list_audit(&filter, part.clone()).await)
                            .await;
                    }
                }
            }
        }
    }
}

async fn others(examination: &mut Examination, filled: &Filled) {
    let app_id = &filled.app_id;
    for (place, part) in parts(filled) {
        let name = format!("abandoned executions {place}");
        examination
            .of(&name, async |store| store.list_abandoned_executions(app_id, part.clone()).await)
            .await;
    }
    for offset in [0, OFFSET_MAX] {
        let page = Page { offset, ..PAGE };
        let name = format!("collections, offset {offset}");
        examination
            .of(&name, async |store| store.list_collections(app_id, Space::Kv, page).await)
            .await;
        let name = format!("versions, offset {offset}");
        examination
            .of(&name, async |store| store.list_script_versions(&filled.script_id, page).await)
            .await;
    }
    for (prefix, after) in [("", None), ("key1", None), ("", Some("key5")), ("key1", Some("key15"))]
    {
        let range = EntryRange { prefix, after, limit: 201 };
        let name = format!("entries {range:?}");
        examination
            .of(&name, async |store| {
                store.list_entries(app_id, Space::Kv, "collection1", &range, 0).await
            })
            .await;
    }
}

async fn counts(examination: &mut Examination, _: &Filled) {
    examination.of("the tables", async |store| store.table_facts().await).await;
    examination.of("the outbox", async |store| store.outbox_facts().await).await;
    examination.of("the database", async |store| store.database_facts().await).await;
    let unresolved = "dead letters unresolved";
    examination.of(unresolved, async |store| store.count_unresolved_dead_letters().await).await;
    let by_app = "the dead letters of some apps";
    examination.of(by_app, async |store| store.list_apps_with_dead_letters(20).await).await;
}

/// Runs the server's periodic queries. They come last, because they change the tables.
async fn periodic(examination: &mut Examination, filled: &Filled) {
    const BATCH: i64 = 500;
    let at = filled.rows / 2;
    examination.of("when is something due", async |store| store.next_event_in().await).await;
    let places = Places::new(64, 64);
    examination
        .of("claim", async |store| {
            let claim = Claim {
                token: "token".to_owned(),
                lease_us: 1_000_000,
                events_max: 64,
                places: places.clone(),
                after_app: None,
                at: 1,
            };
            store.claim_events(claim).await
        })
        .await;
    examination.of("freed blobs", async |store| store.list_freed_blobs(0, BATCH).await).await;
    examination.of("the next freed", async |store| store.next_freed_blob_in(0).await).await;
    let store = "retention of";
    let name = |what: &str| format!("{store} {what}");
    examination
        .of(&name("executions"), async |store| {
            store.delete_executions_before(None, at, BATCH).await
        })
        .await;
    examination
        .of(&name("dead letters"), async |store| store.delete_dead_letters_before(at, BATCH).await)
        .await;
    examination
        .of(&name("abandoned executions"), async |store| {
            store.delete_abandoned_executions_before(at, BATCH).await
        })
        .await;
    examination
        .of(&name("idempotency keys"), async |store| {
            store.delete_idempotency_keys_before(at, BATCH).await
        })
        .await;
    examination
        .of(&name("the audit log"), async |store| store.delete_audit_before(at, BATCH).await)
        .await;
    examination
        .of(&name("entries"), async |store| store.delete_expired_entries(at, BATCH).await)
        .await;
    examination
        .of(&name("sessions"), async |store| store.delete_expired_sessions(at, BATCH).await)
        .await;
}
