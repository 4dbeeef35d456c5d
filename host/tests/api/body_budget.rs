//! The memory limit for all request bodies together.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use futures::StreamExt;
use serde_json::json;
use tokio::sync::oneshot;

use crate::app::TestApp;
use crate::browser::try_password;
use crate::on_both_databases;

const BUDGET: usize = 1 << 20;

/// Returns a body whose end is held back. It reports when its beginning has been read.
fn waiting_body(bytes: usize) -> (Body, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (taken, was_taken) = oneshot::channel();
    let (go_on, goes_on) = oneshot::channel::<()>();
    let beginning = futures::stream::once(async move { Bytes::from(vec![b'a'; bytes]) });
    let end = futures::stream::once(async move {
        taken.send(()).unwrap();
        // It also continues if the sender is dropped.
        let _ = goes_on.await;
        Bytes::new()
    });
    (Body::from_stream(beginning.chain(end).map(Ok::<_, Infallible>)), was_taken, go_on)
}

async fn metric(app: &TestApp, name: &str) -> u64 {
    let metrics = app.request("GET", "/metrics").by_owner().send().await.is(200);
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

on_both_databases! {
    async fn bodies_share_a_budget_and_what_does_not_fit_is_told_to_come_again(database) {
        let settings = [("PICLOUD_BODY_BUDGET_BYTES", "1MiB")];
        let app = TestApp::start_with(database, &settings).await;
        app.deploy("shop", "size", "ctx.request.raw.len()").await;
        let (body, was_taken, go_on) = waiting_body(BUDGET - 100);
        let slow = tokio::spawn(app.post("/x/shop/size").body("text/plain", body).send());
        was_taken.await.unwrap();
        assert_eq!(metric(&app, "picloud_request_body_bytes").await, BUDGET as u64 - 100);

        let size = async |bytes: usize| {
            app.post("/x/shop/size").text(&"b".repeat(bytes)).send().await
        };
        assert_eq!(size(100).await.is(200).json(), 100);
        let refused = size(101).await;
        let error = refused.refuses(503, "bodies_full");
        assert_eq!(error["limit"], "body_budget_bytes");
        assert_eq!(refused.header("retry-after"), Some("1"));
        // All code that reads bodies: the API, its data endpoints, and sign-in.
        let padding = "c".repeat(101);
        let app_body = json!({"name": "other", "description": padding});
        app.admin().post("/apps", app_body).send().await.refuses(503, "bodies_full");
        let put = app.admin().request("PUT", "/apps/shop/files/b/f").text(&padding);
        put.send().await.refuses(503, "bodies_full");
        let event = json!({"queue": "q", "payload": padding});
        app.admin().post("/apps/shop/events", event).send().await.refuses(503, "bodies_full");
        let sign_in = try_password(&app, "admin", &padding).send().await;
        sign_in.refuses(503, "bodies_full");
        assert_eq!(metric(&app, "picloud_request_bodies_refused_total").await, 5);

        go_on.send(()).unwrap();
        assert_eq!(slow.await.unwrap().is(200).json(), BUDGET - 100);
        assert_eq!(metric(&app, "picloud_request_body_bytes").await, 0);
        assert_eq!(size(BUDGET).await.is(200).json(), BUDGET);
        app.close().await;
    }

    async fn a_body_whose_sender_goes_away_gives_its_bytes_back(database) {
        let settings = [("PICLOUD_BODY_BUDGET_BYTES", "1MiB")];
        let app = TestApp::start_with(database, &settings).await;
        app.deploy("shop", "size", "ctx.request.raw.len()").await;
        let (body, was_taken, _go_on) = waiting_body(BUDGET);
        let slow = tokio::spawn(app.post("/x/shop/size").body("text/plain", body).send());
        was_taken.await.unwrap();
        slow.abort();
        assert!(slow.await.unwrap_err().is_cancelled());
        let whole = app.post("/x/shop/size").text(&"b".repeat(BUDGET)).send().await;
        assert_eq!(whole.is(200).json(), BUDGET);
        app.close().await;
    }
}
