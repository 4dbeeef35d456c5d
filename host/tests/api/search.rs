//! `q` finds executions by the text that people see.

use picloud::store::Execution;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// Encodes a text for a URL's query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Returns the ids of the executions of `shop` that match.
async fn found(app: &TestApp, text: &str) -> Vec<String> {
    let path = format!("/apps/shop/executions?limit=200&q={}", encoded(text));
    let list = app.admin().get(&path).send().await.is(200).json();
    assert_eq!(list["next_before"], Value::Null, "{text:?}");
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

with_an_app! {
    async fn every_character_that_json_escapes_is_found(app) {
        app.deploy("shop", "echo", "let text = ctx.request.body.text; log::info(text); text").await;
        let others = ['"', '\\', '/', '\u{7f}', '\u{2028}', '\u{2029}', '%', '_', '!', 'é', '😀', '\u{10ffff}'];
        let mut ids = Vec::new();
        for c in ('\0'..=' ').chain(others) {
            let body = json!({"text": format!("left{c}order")});
            let answer = app.post("/x/shop/echo").json(&body).send().await.is(200);
            ids.push((c, answer.execution_id().to_owned()));
        }
        for (c, id) in &ids {
            for text in [format!("left{c}order"), format!("LEFT{c}Order"), format!("t{c}o")] {
                assert_eq!(found(app, &text).await, std::slice::from_ref(id), "{c:?}");
            }
        }
        assert_eq!(found(app, "left").await.len(), ids.len());
    }

    async fn a_text_is_found_in_request_response_log_and_error(app) {
        app.deploy("shop", "answer", r#"#{ "reply": "Grüße \"zurück\"" }"#).await;
        app.deploy("shop", "note", r#"log::info("ein \"Wort\"", #{ "größe": [1, 2] }); 1"#).await;
        app.deploy("shop", "fail", r#"throw "Fehler:\tÄpfel""#).await;
        let answer = app.get("/x/shop/answer").send().await.is(200).execution_id().to_owned();
        let note = app.get("/x/shop/note").send().await.is(200).execution_id().to_owned();
        let fail = app.get("/x/shop/fail").send().await.is(500).execution_id().to_owned();
        let body = "{ \"name\": \"Ada\",\n \"city\" : \"K\\u00f6ln\" }";
        let sent = app.post("/x/shop/note").body("application/json", body).send().await.is(200);
        let sent = sent.execution_id().to_owned();
        for (text, expected) in [
            ("GRÜßE \"zurück\"", vec![&answer]),
            (r#""reply":"grüße"#, vec![&answer]),
            (r#""reply": "Grüße"#, vec![&answer]),
            ("ein \"wort\"", vec![&sent, &note]),
            (r#""größe": [1, 2]"#, vec![&sent, &note]),
            ("FEHLER:\täpfel", vec![&fail]),
            (r#""name":"Ada""#, vec![&sent]),
            (r#""name": "ada", "city":"köln""#, vec![&sent]),
            (r"k\u00f6ln", vec![&sent]),
            ("K\u{f6}LN", vec![&sent]),
            (r#""name":"Eve""#, vec![]),
        ] {
            assert_eq!(found(app, text).await.iter().collect::<Vec<_>>(), expected, "{text}");
        }
    }

    async fn many_candidates_are_gone_through_in_pages(app) {
        app.deploy("shop", "echo", "log::info(ctx.request.query.n); 1").await;
        let mut ids = Vec::new();
        for n in 0..260 {
            // Every row is a candidate, and every 64th matches.
            let n = if n % 64 == 0 { "a%20%C3%A9%20a" } else { "a%20%C3%A8%20a" };
            let answer = app.get(&format!("/x/shop/echo?n={n}")).send().await.is(200);
            if n.contains("%A9") {
                ids.push(answer.execution_id().to_owned());
            }
        }
        ids.reverse();
        assert_eq!(found(app, "é").await, ids);
        assert_eq!(found(app, "A É A").await, ids);
        let path = format!("/apps/shop/executions?limit=2&offset=1&q={}", encoded("a é"));
        let list = app.admin().get(&path).send().await.is(200).json();
        let items: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!(items, ids[1..3]);
        let before = list["next_before"].as_str().unwrap();
        let path = format!("/apps/shop/executions?limit=2&before={before}&q={}", encoded("a é"));
        let list = app.admin().get(&path).send().await.is(200).json();
        let items: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!((items, &list["next_before"]), (vec![json!(ids[3]), json!(ids[4])], &Value::Null));
    }

    async fn a_search_that_examined_enough_says_how_far_it_came(app) {
        app.deploy("shop", "echo", "log::info(ctx.request.query.n); 1").await;
        let needle = app.get("/x/shop/echo?n=needle").send().await.is(200);
        let hay = app.get("/x/shop/echo?n=hay").send().await.is(200);
        app.flush().await;
        let hay = app.store().find_execution(&hay.execution_id().parse().unwrap()).await.unwrap();
        let first = uuid::Uuid::parse_str(hay.id.as_str()).unwrap().as_u128();
        for n in 1..11_000_u64 {
            let id = uuid::Uuid::from_u128(first + u128::from(n)).into();
            let finished_at = hay.finished_at + n.cast_signed();
            app.store().record(Execution { id, finished_at, ..hay.clone() }).await.unwrap();
        }
        let path = "/apps/shop/executions?limit=5&q=needle";
        let list = app.admin().get(path).send().await.is(200).json();
        assert_eq!(list["items"], json!([]));
        let until = list["searched_until"].as_i64().unwrap();
        assert!((hay.finished_at..hay.finished_at + 2_000).contains(&until), "{until}");
        let path = format!("{path}&before={}", list["next_before"].as_str().unwrap());
        let list = app.admin().get(&path).send().await.is(200).json();
        assert_eq!(list["items"][0]["id"], needle.execution_id());
        assert_eq!((&list["searched_until"], &list["next_before"]), (&Value::Null, &Value::Null));
    }
}
