//! The probes, the metrics and the OpenAPI document.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::app::TestApp;
use crate::database::Kind;
use crate::{on_both_databases, with_an_app};

with_an_app! {
    async fn the_probes_answer_without_a_key(app) {
        for (path, status) in [("/health/live", "live"), ("/health/ready", "ready")] {
            assert_eq!(app.get(path).send().await.is(200).json()["status"], status);
        }
        app.post("/health/live").send().await.refuses(405, "method_not_allowed");
    }

    async fn the_metrics_count_what_ran_and_are_the_owners(app) {
        app.get("/metrics").send().await.refuses(401, "unauthorized");
        app.deploy("shop", "good", "1").await;
        app.deploy("shop", "bad", "throw 1").await;
        for _ in 0..2 {
            app.get("/x/shop/good").send().await.is(200);
        }
        app.get("/x/shop/bad").send().await.is(500);
        app.get("/x/shop/none").send().await.is(404);

        let metrics = app.get("/metrics").by_owner().send().await.is(200);
        let kind = metrics.header("content-type").unwrap();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        for line in [
            "picloud_executions_total{status=\"success\"} 2",
            "picloud_executions_total{status=\"error\"} 1",
            "picloud_execution_duration_seconds_count 3",
            // The app and both scripts were created; one request to create the app again failed.
            "picloud_http_requests_total{status=\"2xx\"} 5",
            "picloud_http_requests_total{status=\"4xx\"} 3",
            "picloud_http_requests_total{status=\"5xx\"} 1",
            "picloud_slots 8",
            "picloud_slots_in_use 0",
            "picloud_store_up 1",
            "# EOF",
        ] {
            assert!(metrics.text().lines().any(|told| told == line), "{line}: {metrics:?}");
        }
    }

    async fn the_api_describes_itself_to_everybody(app) {
        let document = app.get("/api/v1/openapi.json").send().await.is(200).json();
        assert!(document["openapi"].as_str().unwrap().starts_with("3."));
        for path in [
            "/api/v1/apps",
            "/api/v1/apps/{app}/scripts",
            "/api/v1/scripts/{id}",
            "/api/v1/scripts/{id}/rollback",
            "/api/v1/execute/{id}",
            "/api/v1/executions/{id}",
            "/health/live",
            "/metrics",
        ] {
            assert!(document["paths"][path].is_object(), "{path}");
        }
    }
}

on_both_databases! {
    async fn without_a_database_the_server_lives_but_is_not_ready(database) {
        let app = TestApp::start(database).await;
        app.deploy("shop", "hello", "1").await;
        app.store().close().await.unwrap();
        app.get("/health/live").send().await.is(200);
        let ready = app.get("/health/ready").send().await;
        ready.refuses(503, "store_unavailable");
        assert_eq!(ready.header("retry-after"), Some("1"));
        app.admin().get("/apps").send().await.refuses(503, "store_unavailable");
        let metrics = app.get("/metrics").by_owner().send().await.is(200);
        assert!(metrics.text().lines().any(|line| line == "picloud_store_up 0"), "{metrics:?}");
    }

    /// A standby, or a read-only database, serves no requests.
    async fn a_database_that_takes_no_writes_is_not_ready(database) {
        if database.kind != Kind::Postgres {
            return;
        }
        let app = TestApp::start(database).await;
        app.get("/health/ready").send().await.is(200);
        let read_only = async |on: &str| {
            let mut connection = PgConnection::connect(&database.plain_url).await.unwrap();
            connection.execute("SET default_transaction_read_only = off").await.unwrap();
            let name: String = sqlx::query_scalar("SELECT CAST(current_database() AS TEXT)")
                .fetch_one(&mut connection).await.unwrap();
            let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}");
            sqlx::query(AssertSqlSafe(set)).execute(&mut connection).await.unwrap();
            // Only new connections get the setting.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            ).await.unwrap();
        };
        read_only("on").await;
        // After that, reads work again, but the missing writes keep it unready.
        for _ in 0..5 {
            if app.store().ping().await.is_ok() {
                break;
            }
        }
        for _ in 0..3 {
            app.store().ping().await.unwrap();
            app.get("/health/ready").send().await.refuses(503, "store_unavailable");
            let metrics = app.get("/metrics").by_owner().send().await.is(200);
            let mut lines = metrics.text().lines();
            assert!(lines.any(|line| line == "picloud_store_up 0"), "{metrics:?}");
        }
        read_only("off").await;
        let begun = std::time::Instant::now();
        while app.get("/health/ready").send().await.status != 200 {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "the server is never ready again");
            picloud_testing::pause().await;
        }
        app.close().await;
    }
}
