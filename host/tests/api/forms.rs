//! Queries, forms, files, compressed bodies and charsets, as scripts see them.

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::app::{Answer, TestApp};
use crate::database::Database;
use crate::{on_both_databases, with_an_app};

/// Returns the request as the script sees it; of files, the content as a text.
const SEE: &str = r#"
    let seen = ctx.request;
    let files = seen.files.map(|file| {
        file.content = file.content.as_string();
        file
    });
    #{
        query: seen.query, query_all: seen.query_all, raw_query: seen.raw_query,
        form: seen.form, form_all: seen.form_all, files: files,
        body: if type_of(seen.body) == "blob" { "a blob" } else { seen.body },
        coding: seen.headers["content-encoding"], bytes: seen.raw.len(),
    }"#;

const URLENCODED: &str = "application/x-www-form-urlencoded";

async fn see(app: &TestApp, query: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Value {
    let call = app.post(&format!("/x/shop/see{query}")).body(content_type, body.into());
    call.send().await.is(200).json()
}

fn multipart(parts: &[(&str, &str)]) -> String {
    let part = |(head, content): &(&str, &str)| {
        format!("--b1\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--b1--\r\n"
}

async fn all(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn post_coded(app: &TestApp, coding: &str, body: Vec<u8>) -> Answer {
    let call = app.post("/x/shop/see").body("application/json", body);
    call.header("content-encoding", coding).send().await
}

with_an_app! {
    async fn no_value_of_a_query_is_lost(app) {
        app.deploy("shop", "see", SEE).await;
        let seen = app.get("/x/shop/see?tag=a&tag=b+c&x=%C3%A9&flag&tag=").send().await.is(200).json();
        assert_eq!(seen["query"], json!({"tag": "", "x": "é", "flag": ""}));
        assert_eq!(seen["query_all"], json!({"tag": ["a", "b c", ""], "x": ["é"], "flag": [""]}));
        assert_eq!(seen["raw_query"], "tag=a&tag=b+c&x=%C3%A9&flag&tag=");
        let none = app.get("/x/shop/see").send().await.is(200).json();
        assert_eq!((&none["query_all"], &none["raw_query"], &none["body"]), (&json!({}), &json!(""), &Value::Null));
        assert_eq!((&none["form"], &none["form_all"], &none["files"]), (&json!({}), &json!({}), &json!([])));
    }

    async fn a_form_is_read_field_by_field(app) {
        app.deploy("shop", "see", SEE).await;
        let seen = see(app, "", URLENCODED, "name=Ada+L&tag=a&tag=b&e=%C3%A9").await;
        assert_eq!(seen["form"], json!({"name": "Ada L", "tag": "b", "e": "é"}));
        assert_eq!(seen["form_all"]["tag"], json!(["a", "b"]));
        assert_eq!(seen["body"], "name=Ada+L&tag=a&tag=b&e=%C3%A9");
        let body = multipart(&[
            ("name=\"name\"", "Ada"),
            ("name=\"tag\"", "a"),
            ("name=\"file\"; filename=\"a b.txt\"\r\nContent-Type: text/x-note", "one\r\ntwo"),
            ("name=\"tag\"", "b"),
            ("name=\"file\"; filename=\"\"", ""),
        ]);
        let seen = see(app, "", "multipart/form-data; boundary=b1", body).await;
        assert_eq!(seen["form_all"], json!({"name": ["Ada"], "tag": ["a", "b"]}));
        assert_eq!(seen["body"], "a blob");
        assert_eq!(seen["files"], json!([
            {"name": "file", "file_name": "a b.txt", "content_type": "text/x-note", "content": "one\r\ntwo"},
            {"name": "file", "file_name": "", "content_type": "text/plain", "content": ""},
        ]));
        for (content_type, body) in [
            ("multipart/form-data", "--b1--"),
            ("multipart/form-data; boundary=b1", "--b1\r\n\r\n"),
            ("multipart/form-data; boundary=b1", ""),
        ] {
            let refused = app.post("/x/shop/see").body(content_type, body).send().await;
            if body.is_empty() {
                refused.is(200);
            } else {
                refused.refuses(400, "body_invalid");
            }
        }
    }

    async fn a_compressed_body_is_decoded_within_its_limit(app) {
        app.deploy("shop", "see", SEE).await;
        let text = json!({"text": "héllo".repeat(100)}).to_string();
        let bytes = text.as_bytes();
        for (coding, body) in [
            ("gzip", all(GzipEncoder::new(bytes)).await),
            ("BR", all(BrotliEncoder::new(bytes)).await),
            ("zstd", all(ZstdEncoder::new(bytes)).await),
            ("deflate", all(ZlibEncoder::new(bytes)).await),
            ("identity", bytes.to_vec()),
        ] {
            let seen = post_coded(app, coding, body).await.is(200).json();
            assert_eq!(seen["body"]["text"], "héllo".repeat(100), "{coding}");
            assert_eq!(seen["bytes"], bytes.len(), "{coding}");
            assert_eq!(seen["coding"] == Value::Null, coding != "identity", "{coding}");
        }
        for coding in ["compress", "gzip, gzip", "aws-chunked"] {
            let refused = post_coded(app, coding, bytes.to_vec()).await;
            refused.refuses(415, "content_encoding_unsupported");
            assert_eq!(refused.header("accept-encoding"), Some("gzip, br, zstd, deflate"));
        }
        post_coded(app, "gzip", bytes.to_vec()).await.refuses(400, "body_invalid");
        // The test panel gives a script the same request as a route.
        let id = app.deploy("shop", "same", SEE).await;
        let refused = json!({"method": "POST", "headers": [["content-encoding", "compress"]], "body": "a"});
        let refused = app.admin().post(&format!("/execute/{id}"), refused).send().await;
        refused.refuses(415, "content_encoding_unsupported");
    }

    async fn a_text_is_read_in_its_charset(app) {
        app.deploy("shop", "see", SEE).await;
        for (content_type, body, shown) in [
            ("text/plain; charset=iso-8859-1", &b"caf\xe9"[..], json!("café")),
            ("text/csv; charset=utf-16le", b"h\0i\0", json!("hi")),
            ("text/plain", b"caf\xe9", json!("a blob")),
            ("text/plain; charset=klingon", b"hi", json!("a blob")),
            ("text/plain", b"\xef\xbb\xbfhi", json!("hi")),
            ("application/json", b"\xef\xbb\xbf{\"a\":1}", json!({"a": 1})),
        ] {
            assert_eq!(see(app, "", content_type, body).await["body"], shown, "{content_type}");
        }
    }

    async fn a_stored_request_is_run_as_it_came(app) {
        let keep = format!("let seen = {{ {SEE} }}; kv::collection(\"seen\").set(\"it\", seen);");
        let id = app.deploy("shop", "keep", &keep).await;
        let route = json!({"script_id": id, "method": "POST", "path": "/in", "delivery": "async"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        let body = multipart(&[
            ("name=\"password\"", "secret of the form"),
            ("name=\"file\"; filename=\"f\"", "content"),
        ]);
        let gzip = all(GzipEncoder::new(body.as_bytes())).await;
        let call = app.post("/x/shop/in?token=secret-of-the-query&a=1&a=%32&flag");
        let call = call.body("multipart/form-data; boundary=b1", gzip);
        call.header("content-encoding", "gzip").send().await.is(202);
        app.settled("shop").await;
        let seen = app.value("shop", "seen", "it").await;
        assert_eq!(seen["raw_query"], "token=secret-of-the-query&a=1&a=%32&flag");
        assert_eq!(seen["query_all"]["a"], json!(["1", "2"]));
        assert_eq!(seen["form"], json!({"password": "secret of the form"}));
        assert_eq!(seen["files"][0]["content"], "content");
    }

    async fn a_byte_order_mark_is_no_part_of_a_source_or_a_secret(app) {
        app.deploy("shop", "see", "\u{feff}secrets::get(\"KEY\").len()").await;
        app.secret("shop", "KEY", "\u{feff}four").await;
        assert_eq!(app.get("/x/shop/see").send().await.is(200).json(), 4);
        let parse = r#"json::parse(ctx.request.body)"#;
        app.deploy("shop", "parse", parse).await;
        let body = "\u{feff}\u{feff}[1]";
        let parsed = app.post("/x/shop/parse").text(body).send().await.is(200).json();
        assert_eq!(parsed, json!([1]));
    }
}

async fn start(database: &Database) -> TestApp {
    let limits = [
        ("PICLOUD_MAX_FORM_FIELDS", "3"),
        ("PICLOUD_MAX_FORM_FILES", "1"),
        ("PICLOUD_MAX_REQUEST_BYTES", "10000"),
    ];
    TestApp::start_with(database, &limits).await
}

on_both_databases! {
    async fn a_form_and_a_decoded_body_have_limits_by_name(database) {
        let app = start(database).await;
        app.deploy("shop", "see", SEE).await;
        see(&app, "", URLENCODED, "a&b&c").await;
        let refused = app.post("/x/shop/see").body(URLENCODED, "a&b&c&d").send().await;
        let error = refused.refuses(413, "form_too_large");
        assert_eq!((&error["limit"], &error["most"]), (&json!("form_fields"), &json!(3)));
        let file = ("name=\"f\"; filename=\"f\"", "1");
        let form = "multipart/form-data; boundary=b1";
        see(&app, "", form, multipart(&[file])).await;
        let refused = app.post("/x/shop/see").body(form, multipart(&[file, file])).send().await;
        assert_eq!(refused.refuses(413, "form_too_large")["limit"], "form_files");
        let json = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        let gzip = async |bytes: usize| all(GzipEncoder::new(json(bytes).as_bytes())).await;
        post_coded(&app, "gzip", gzip(10_000).await).await.is(200);
        let refused = post_coded(&app, "gzip", gzip(10_001).await).await;
        let error = refused.refuses(413, "body_too_large");
        assert_eq!((&error["limit"], &error["most"]), (&json!("request_bytes"), &json!(10_000)));
        app.close().await;
    }
}
