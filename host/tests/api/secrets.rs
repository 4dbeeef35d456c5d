//! Secrets: set through the API, read by scripts, decrypted with the master key.

use std::path::Path;

use picloud::App;
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::secrets::{KEY_FILE, KeySettings, MasterKey, NEXT_KEY_FILE, Secrets, rotate};
use picloud::store::Store;
use serde_json::json;
use tempfile::TempDir;

use crate::app::{Answer, TestApp};
use crate::{on_both_databases, with_an_app};

const OLD: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222";

async fn set(app: &TestApp, name: &str, value: &str) -> Answer {
    let path = format!("/apps/shop/secrets/{name}");
    app.admin().put(&path, json!({"value": value})).send().await
}

fn keys(data: &Path, configured: Option<&str>, previous: Option<&str>) -> KeySettings {
    let key = |text: &str| text.parse::<MasterKey>().unwrap();
    KeySettings {
        data: data.to_owned(),
        configured: configured.map(key),
        previous: previous.map(key),
    }
}

async fn start(store: &Store, settings: &KeySettings) -> Result<Secrets, String> {
    Secrets::start(store, &Clock::system(), settings).await.map_err(|error| error.to_string())
}

/// Returns all stored secrets: the value and the wrapped key.
async fn stored(store: &Store) -> Vec<(String, String)> {
    let all = store.list_secrets_to_rewrap("none", 1000).await.unwrap();
    all.into_iter().map(|secret| (secret.sealed_value, secret.wrapped_key)).collect()
}

with_an_app! {
    async fn a_secret_is_set_read_by_its_apps_scripts_and_never_shown(app) {
        app.deploy("shop", "read", r#"secrets::get(ctx.request.body)"#).await;
        app.deploy("blog", "read", r#"secrets::get(ctx.request.body)"#).await;
        let read = async |app_name: &str| {
            app.post(&format!("/x/{app_name}/read")).json(&json!("TOKEN")).by_owner().send().await
        };
        let none = read("shop").await.is(500).json();
        assert_eq!(none["error"]["message"], "there is no secret \"TOKEN\"");

        let made = set(app, "TOKEN", "tok-1").await.is(201).json();
        assert_eq!((&made["name"], &made["version"]), (&json!("TOKEN"), &json!(1)));
        assert_eq!(read("shop").await.is(200).json(), "tok-1");
        let replaced = set(app, "TOKEN", "tok-2\u{0}ü").await.is(200).json();
        assert_eq!(replaced["version"], 2);
        assert_eq!(replaced["created_at"], made["created_at"]);
        assert_eq!(read("shop").await.is(200).json(), "tok-2\u{0}ü");
        read("blog").await.is(500);

        let page = app.admin().get("/apps/shop/secrets").send().await.is(200);
        assert_eq!(page.json()["items"], json!([replaced]));
        for answer in [made, replaced, page.json()] {
            assert!(!answer.to_string().contains("tok-"), "{answer}");
        }
        app.admin().get("/apps/shop/secrets/TOKEN").send().await.is(405);

        app.admin().delete("/apps/shop/secrets/TOKEN").send().await.is(204);
        let gone = app.admin().delete("/apps/shop/secrets/TOKEN").send().await;
        gone.refuses(404, "secret_not_found");
        read("shop").await.is(500);
    }

    async fn that_there_is_no_secret_can_be_caught_and_a_read_is_a_host_call(app) {
        app.deploy("shop", "read", r#"
            let caught = "";
            try { secrets::get("NONE"); } catch (error) { caught = error.to_string(); }
            caught
        "#).await;
        let answer = app.post("/x/shop/read").send().await.is(200).json();
        assert!(answer.as_str().unwrap().contains("there is no secret \"NONE\""), "{answer}");
        set(app, "A", "value").await.is(201);
        app.deploy("shop", "often", r#"for n in 0..201 { secrets::get("A"); }"#).await;
        let answer = app.post("/x/shop/often").by_owner().send().await.is(500).json();
        assert_eq!(answer["error"]["limit"]["limit"], "host_calls", "{answer}");
    }

    async fn names_values_and_their_number_have_limits(app) {
        app.deploy("shop", "read", "1").await;
        for name in ["2A", "a%20b", "-", &"A".repeat(129)] {
            let refused = set(app, name, "value").await.refuses(400, "field_invalid");
            assert_eq!(refused["field"], "name");
        }
        for value in ["", &"v".repeat((32 << 10) + 1)] {
            let refused = set(app, "A", value).await.refuses(400, "field_invalid");
            assert_eq!(refused["field"], "value");
        }
        set(app, &"A".repeat(128), &"v".repeat(32 << 10)).await.is(201);
        for number in 1..200 {
            set(app, &format!("S{number}"), "value").await.is(201);
        }
        let refused = set(app, "ONE_MORE", "value").await.refuses(409, "secrets_full");
        assert_eq!(refused["most"], 200);
        set(app, "S1", "another").await.is(200);
        app.admin().put("/apps/none/secrets/A", json!({"value": "v"})).send().await
            .refuses(404, "app_not_found");
        app.admin().put("/apps/shop/secrets/A", json!({"value": 1})).send().await
            .refuses(400, "body_invalid");
    }
}

on_both_databases! {
    async fn the_key_is_made_at_the_first_start_and_found_at_the_next(database) {
        let app = TestApp::start(database).await;
        app.deploy("shop", "read", "1").await;
        let (data, store) = (app.config().data.clone(), app.store().clone());
        assert!(data.join(KEY_FILE).is_file());
        set(&app, "A", "value").await.is(201);
        let id = app.admin().get("/apps/shop").send().await.json()["id"].as_str().unwrap().parse().unwrap();
        let again = start(&store, &keys(&data, None, None)).await.unwrap();
        assert_eq!(again.reveal(&id, "A").await.unwrap().unwrap().reveal(), "value");

        // Without the master key, or with another one, the server does not start.
        let elsewhere = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let lost = start(&store, &keys(elsewhere.path(), None, None)).await.err().unwrap();
        assert!(lost.contains("there is neither PICLOUD_MASTER_KEY nor"), "{lost}");
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        let other = start(&store, &keys(&data, Some(NEW), None)).await.err().unwrap();
        assert!(other.contains("and PICLOUD_MASTER_KEY is") && other.contains("the old key is in"), "{other}");
        app.close().await;
    }

    async fn a_server_with_the_wrong_key_does_not_start(database) {
        let app = TestApp::start_with(database, &[("PICLOUD_MASTER_KEY", OLD)]).await;
        app.deploy("shop", "read", "1").await;
        assert!(!app.config().data.join(KEY_FILE).exists());
        set(&app, "A", "value").await.is(201);
        let config = Config { master_key: Some(NEW.parse().unwrap()), ..app.config().clone() };
        let refused = App::build(&config, Clock::system()).await.err().unwrap().to_string();
        assert!(refused.contains("the database has secrets under the master key"), "{refused}");
        assert!(refused.contains("PICLOUD_MASTER_KEY_PREVIOUS"), "{refused}");
        assert!(!refused.contains(OLD) && !refused.contains(NEW), "{refused}");
        app.close().await;
    }

    async fn another_key_from_the_environment_changes_only_what_wraps(database) {
        let app = TestApp::start_with(database, &[("PICLOUD_MASTER_KEY", OLD)]).await;
        app.deploy("shop", "read", "1").await;
        for number in 0..5 {
            set(&app, &format!("S{number}"), &format!("value {number}")).await.is(201);
        }
        let (data, store) = (app.config().data.clone(), app.store().clone());
        let id = app.admin().get("/apps/shop").send().await.json()["id"].as_str().unwrap().parse().unwrap();
        let before = stored(&store).await;
        let rotated = start(&store, &keys(&data, Some(NEW), Some(OLD))).await.unwrap();
        let after = stored(&store).await;
        assert_eq!(before.len(), 5);
        for ((value, key), (same_value, other_key)) in before.iter().zip(&after) {
            assert_eq!(value, same_value);
            assert_ne!(key, other_key);
        }
        for secrets in [rotated, start(&store, &keys(&data, Some(NEW), None)).await.unwrap()] {
            for number in 0..5 {
                let value = secrets.reveal(&id, &format!("S{number}")).await.unwrap().unwrap();
                assert_eq!(value.reveal(), format!("value {number}"));
            }
        }
        // A second start has nothing to do, and the old key alone is refused.
        start(&store, &keys(&data, Some(NEW), Some(OLD))).await.unwrap();
        assert_eq!(stored(&store).await, after);
        start(&store, &keys(&data, Some(OLD), None)).await.err().unwrap();
        // The server with the old key cannot read or set secrets. It reports this, and continues.
        set(&app, "LATE", "value").await.refuses(409, "master_key_replaced");
        app.close().await;
    }

    async fn a_rotation_that_was_interrupted_goes_on(database) {
        let app = TestApp::start(database).await;
        app.deploy("shop", "read", "1").await;
        for number in 0..4 {
            set(&app, &format!("S{number}"), &format!("value {number}")).await.is(201);
        }
        let (data, store, clock) = (app.config().data.clone(), app.store().clone(), Clock::system());
        let id = app.admin().get("/apps/shop").send().await.json()["id"].as_str().unwrap().parse().unwrap();
        let old = std::fs::read_to_string(data.join(KEY_FILE)).unwrap();
        let before = stored(&store).await;
        rotate(&store, &clock, &keys(&data, None, None)).await.unwrap();
        let new = std::fs::read_to_string(data.join(KEY_FILE)).unwrap();
        assert_ne!(old, new);

        // The state if power fails after the first half: both key files, and some secrets of each.
        let after = store.list_secrets_to_rewrap("none", 10).await.unwrap();
        let old_id = old.trim().parse::<MasterKey>().unwrap().id();
        for (secret, (_, wrapped_key)) in after.iter().zip(&before).take(2) {
            assert!(store.rewrap_secret(secret.clone(), wrapped_key.clone(), old_id.clone()).await.unwrap());
        }
        use std::os::unix::fs::PermissionsExt;
        std::fs::rename(data.join(KEY_FILE), data.join(NEXT_KEY_FILE)).unwrap();
        std::fs::write(data.join(KEY_FILE), &old).unwrap();
        std::fs::set_permissions(data.join(KEY_FILE), std::fs::Permissions::from_mode(0o600)).unwrap();

        let secrets = start(&store, &keys(&data, None, None)).await.unwrap();
        assert!(!data.join(NEXT_KEY_FILE).exists());
        assert_eq!(std::fs::read_to_string(data.join(KEY_FILE)).unwrap(), new);
        for number in 0..4 {
            let value = secrets.reveal(&id, &format!("S{number}")).await.unwrap().unwrap();
            assert_eq!(value.reveal(), format!("value {number}"));
        }
        let values = |stored: Vec<(String, String)>| stored.into_iter().map(|(value, _)| value).collect::<Vec<_>>();
        assert_eq!(values(stored(&store).await), values(before));
        app.close().await;
    }

    async fn a_row_that_was_moved_does_not_open(database) {
        let app = TestApp::start(database).await;
        app.deploy("shop", "read", r#"secrets::get("B")"#).await;
        set(&app, "A", "value").await.is(201);
        let id: picloud::store::AppId =
            app.admin().get("/apps/shop").send().await.json()["id"].as_str().unwrap().parse().unwrap();
        let row = app.store().find_secret(&id, "A").await.unwrap().unwrap();
        app.store().put_secret(picloud::store::Secret { name: "B".into(), ..row }, 200).await.unwrap();
        let answer = app.post("/x/shop/read").by_owner().send().await.is(500).json();
        let said = "the secret \"B\" cannot be opened; the server's log says why";
        assert_eq!(answer["error"]["message"], said);
        app.close().await;
    }
}
