//! Fuel pays for work of the host, and for code with few branches. All figures are exact counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::app::TestApp;
use crate::with_an_app;

/// Returns the fuel of a run.
async fn fuel(app: &TestApp, source: &str) -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let name = format!("run-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let id = app.deploy("shop", &name, source).await;
    let ran = app.admin().post(&format!("/execute/{id}"), json!({})).send().await.is(200).json();
    assert_eq!(ran["status"], "success", "{source}: {ran}");
    ran["fuel_used"].as_u64().unwrap()
}

/// Returns the fuel of `call` alone, on values that are created before.
async fn cost(app: &TestApp, values: &str, call: &str) -> u64 {
    fuel(app, &format!("{values} {call}; 0")).await - fuel(app, &format!("{values} 0")).await
}

with_an_app! {
    async fn what_has_few_branches_is_paid_by_the_byte(app) {
        let megabyte = "let b = blob(1000000, 7); let t = b.as_string();";
        for (call, least) in [
            ("crypto::sha256(b)", 30_000_000),
            ("crypto::hmac_sha256(b, b)", 60_000_000),
            ("random::bytes(1000000)", 15_000_000),
            ("t[999999]", 1_000_000),
            ("t.to_upper()", 5_000_000),
            ("t.len()", 500_000),
            ("let c = b; c[0] = 1", 1_000_000),
        ] {
            let cost = cost(app, megabyte, call).await;
            assert!(cost >= least, "{call} costs {cost}");
        }
    }

    async fn calls_of_the_host_are_paid_by_the_call_and_by_the_byte(app) {
        let large = r#"let v = ""; v.pad(100000, 'x'); let c = kv::collection("c"); c.set("large", v); c.set("k", 1);"#;
        fuel(app, large).await;
        let c = r#"let c = kv::collection("c");"#;
        let small = cost(app, c, r#"c.get("k")"#).await;
        let much = cost(app, c, r#"c.get("large")"#).await;
        assert!(small >= 400_000, "{small}");
        assert!(much >= small + 8 * 100_000, "{much} against {small}");
        let v = r#"let v = ""; v.pad(100000, 'x'); let c = kv::collection("c");"#;
        let set = cost(app, v, r#"c.set("k", v)"#).await;
        assert!(set >= 300_000 + 8 * 100_000, "{set}");
        let put = cost(app, v, r#"files::bucket("f").put("f", v)"#).await;
        assert!(put >= 1_000_000 + 8 * 100_000, "{put}");
        for call in ["time::now()", r#"log::info("a")"#] {
            assert!(cost(app, "", call).await >= 8_000, "{call}");
        }
    }

    async fn the_same_run_takes_the_same_fuel(app) {
        app.deploy("shop", "called", "ctx.event.script.payload").await;
        let id = app.deploy("shop", "all", r#"
            let c = kv::collection("c"); c.get("k"); c.list("", 10);
            crypto::sha256(blob(1000, 1)); log::info("x"); scripts::call("called", 1); 1"#).await;
        let mut fuels = Vec::new();
        for _ in 0..3 {
            let ran = app.admin().post(&format!("/execute/{id}"), json!({})).send().await.is(200).json();
            fuels.push(ran["fuel_used"].as_u64().unwrap());
        }
        assert!(fuels.iter().all(|fuel| *fuel == fuels[0]), "{fuels:?}");
    }

    async fn a_called_script_is_compiled_at_its_callers_cost_once_a_run(app) {
        let long: String = (0..500).map(|n| format!("fn f{n}(x) {{ x + {n} }}\n")).collect();
        app.deploy("shop", "long", &format!("{long} 1")).await;
        app.deploy("shop", "short", "1").await;
        let long = cost(app, "", r#"scripts::call("long")"#).await;
        let short = cost(app, "", r#"scripts::call("short")"#).await;
        assert!(long >= short + 1_000_000, "{long} against {short}");
        let again = cost(app, r#"scripts::call("long");"#, r#"scripts::call("long")"#).await;
        assert!(again <= short + 500_000, "{again} against {short}");
    }

    async fn a_run_without_fuel_for_a_call_does_not_make_it(app) {
        let limits = json!({"fuel_max": 200_000});
        let script = json!({"name": "poor", "source": r#"kv::collection("c").set("k", 1); 1"#, "limits": limits});
        app.deploy_with("shop", script).await;
        let error = app.get("/x/shop/poor").by_owner().send().await.is(500).json()["error"].clone();
        assert_eq!((&error["code"], &error["line"]), (&json!("execution_budget_exceeded"), &json!(1)), "{error}");
    }
}
