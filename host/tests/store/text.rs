//! Both databases return every text unchanged, or refuse it.

use picloud::store::{AppChange, Error, Execution, Json, NewApp, Resource, Route, Store};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::fixtures::{
    app, execution, id, new_app, new_claim, new_script, now, open, route, script, source,
};
use crate::on_both_databases;

/// Texts that have broken other systems, mixed with arbitrary characters.
fn nasty_text() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "\0",
        "\\u0000",
        "\\",
        "\\\\",
        "\\x",
        "\\ud800",
        "\"",
        "'",
        "''",
        "`",
        "$1",
        "?1",
        "%",
        "_",
        ";--",
        "\n",
        "\r\n",
        "\t",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10ffff}",
        "😀",
        "👩‍👩‍👧",
        "e\u{301}",
        "é",
        "العربية",
        "\u{202e}rtl",
        "ß",
        "İ",
        "{}",
        "[]",
        "null",
        "",
    ]);
    let piece = prop_oneof![
        3 => known.prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => Just("x".repeat(3_000)),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Asserts the result that a text in a plain column must have.
fn stored_or_refused(text: &str, field: &str, stored: Result<String, Error>) {
    match stored {
        Ok(stored) => assert_eq!(stored, text),
        Err(Error::Invalid { field: named, .. }) => {
            assert!(text.contains('\0'), "{text:?} was refused");
            assert_eq!(named, field);
        }
        Err(error) => panic!("{error:?}"),
    }
}

async fn is_kept(store: &Store, text: &str) {
    let new =
        NewApp { description: text.to_owned(), ..new_app(id::<picloud::store::AppId>().as_str()) };
    let made = store.insert_app(new).await;
    stored_or_refused(text, "description", made.map(|app| app.description));

    let shop = app(store, id::<picloud::store::AppId>().as_str()).await;
    let mut new = new_script(&shop.id, "hello");
    new.source = source("");
    new.source.text = text.to_owned();
    let read = match store.insert_script(new).await {
        Ok(script) => store.find_script_version(&script.id, 1).await.map(|version| version.source),
        Err(error) => Err(error),
    };
    stored_or_refused(text, "source", read);

    let value = json!({ "text": text, text: [text], "bytes": [0, null, 1.5, u64::MAX] });
    let column = Json::of(&value).unwrap();
    let row = Execution {
        request: column.clone(),
        response: Some(column.clone()),
        log: column.clone(),
        error: Some(column),
        ..execution(&shop.id, &id())
    };
    store.record(row.clone()).await.unwrap();
    store.flush().await.unwrap();
    let read = store.find_execution(&row.id).await.unwrap();
    assert_eq!(read, row);
    assert_eq!(read.log.to::<Value>().unwrap(), value);
}

on_both_databases! {
    async fn every_text_comes_back_as_it_was_or_is_refused(database) {
        let store = open(database).await;
        let mut runner = TestRunner::new(Config {
            cases: 100,
            failure_persistence: None,
            ..Config::default()
        });
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runner.run(&nasty_text(), |text| {
                runtime.block_on(is_kept(&store, &text));
                Ok(())
            })
        })
        .unwrap();
    }

    async fn nul_is_refused_in_every_plain_field(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let refused_as = |expected: &str, outcome: Result<(), Error>| match outcome {
            Err(Error::Invalid { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        };

        refused_as("name", store.insert_app(new_app("a\0")).await.map(drop));
        let change = AppChange {
            description: Some("\0".into()),
            ..AppChange::default()
        };
        refused_as(
            "description",
            store.update_app(&shop.id, change).await.map(drop),
        );
        refused_as(
            "name",
            store
                .insert_script(new_script(&shop.id, "\0"))
                .await
                .map(drop),
        );
        let claim = new_claim(&shop.id, "\0");
        refused_as("host", store.claim_domain(claim).await.map(drop));
        refused_as(
            "path",
            store
                .insert_route(route(&hello, "GET", "", "/\0"))
                .await
                .map(drop),
        );
        refused_as(
            "value",
            store.insert_setting("a", "\0", now()).await.map(drop),
        );
        let row = Execution {
            script_name: "\0".into(),
            ..execution(&shop.id, &hello.id)
        };
        refused_as("script_name", store.record(row).await);
    }

    async fn what_cannot_be_stored_is_not_found(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        assert!(matches!(
            store.find_app_by_name("\0").await,
            Err(Error::NotFound(Resource::App))
        ));
        assert!(matches!(
            store.find_script_by_name(&shop.id, "\0").await,
            Err(Error::NotFound(Resource::Script))
        ));
        assert!(matches!(
            store.find_domain(&shop.id, "\0").await,
            Err(Error::NotFound(Resource::Domain))
        ));
        assert!(matches!(
            store.delete_domain(&shop.id, "\0").await,
            Err(Error::NotFound(Resource::Domain))
        ));
    }

    /// PostgreSQL could not index longer texts.
    async fn indexed_text_has_a_limit_and_fits_up_to_it(database) {
        let store = open(database).await;
        // Random enough that compression does not make it fit.
        let text = |bytes: usize| -> String {
            let mut state = 1_u32;
            (0..bytes)
                .map(|_| {
                    state = state.wrapping_mul(48_271) % 0x7fff_ffff;
                    char::from(b'a' + (state >> 8) as u8 % 26)
                })
                .collect()
        };
        let shop = app(&store, &text(256)).await;
        assert!(matches!(
            store.insert_app(new_app(&text(257))).await,
            Err(Error::Invalid { field: "name", .. })
        ));
        let hello = script(&store, &shop.id, &text(256)).await;
        let host = text(253);
        crate::fixtures::domain_of(&store, &shop.id, &host).await;
        let longest = Route {
            method: text(32),
            ..route(&hello, "", &host, &text(2048))
        };
        store.insert_route(longest).await.unwrap();
        let longer = store
            .insert_route(route(&hello, "GET", "", &text(2049)))
            .await;
        assert!(
            matches!(longer, Err(Error::Invalid { field: "shape", .. })),
            "{longer:?}"
        );
    }
}
