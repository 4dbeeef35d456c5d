//! The admin API is never open.

use crate::app::{OWNER_KEY, TestApp};
use crate::with_an_app;

with_an_app! {
    async fn nothing_but_the_key_itself_lets_in(app) {
        let call = || app.get("/api/v1/apps");
        for wrong in [
            "Bearer owner-key-of-the-tests-012345678",
            "Bearer owner-key-of-the-tests-0123456789x",
            "Bearer ",
            OWNER_KEY,
            "Basic b3duZXI6a2V5",
        ] {
            let answer = call().header("authorization", wrong).send().await;
            answer.refuses(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"PiCloud\""));
        }
        call().header("x-api-key", OWNER_KEY).send().await.refuses(401, "unauthorized");
        call().by_owner().send().await.is(200);
    }

    async fn what_was_asked_without_the_key_was_not_done(app) {
        let id = app.deploy("shop", "hello", "1").await;
        app.request("DELETE", "/api/v1/apps/shop").send().await.is(401);
        app.request("DELETE", &format!("/api/v1/scripts/{id}")).send().await.is(401);
        app.post(&format!("/api/v1/execute/{id}")).send().await.is(401);
        app.get("/x/shop/hello").send().await.is(200);
        assert_eq!(app.count_executions(&id).await, 1);
    }

    async fn a_path_that_does_not_exist_is_known_to_the_owner_only(app) {
        app.get("/api/v1/nothing").send().await.refuses(401, "unauthorized");
        app.admin().get("/nothing").send().await.refuses(404, "path_not_found");
        app.admin().request("PATCH", "/apps").send().await.refuses(405, "method_not_allowed");
    }

    async fn the_scheme_of_the_key_has_no_case(app) {
        let key = format!("bearer {OWNER_KEY}");
        app.get("/api/v1/apps").header("authorization", &key).send().await.is(200);
    }
}
