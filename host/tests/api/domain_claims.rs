//! Claiming domains: proofs, approvals, and reserved hosts.

use serde_json::{Value, json};

use crate::app::{Answer, Call, TestApp};
use crate::browser::Browser;
use crate::database::{Database, Kind, with_fresh_database};
use crate::dns::Dns;
use crate::{on_both_databases, with_an_app};

const SHOP: &str = "/apps/shop/domains";

async fn claim(app: &TestApp, host: &str) -> Answer {
    app.admin().post(SHOP, json!({"host": host})).send().await
}

async fn post(app: &TestApp, host: &str, action: &str) -> Answer {
    app.admin().post(&format!("{SHOP}/{host}/{action}"), json!({})).send().await
}

async fn get(app: &TestApp, host: &str, path: &str) -> Answer {
    app.get(path).header("host", host).send().await
}

/// Creates a script of the app `shop` that answers at the root of a host.
async fn route(app: &TestApp, host: &str) {
    let id = app.deploy("shop", "evil", r#""<script>steal()</script>""#).await;
    for path in ["/", "/{*all}"] {
        let body = json!({"script_id": id, "method": "*", "host": host, "path": path});
        app.admin().post("/apps/shop/routes", body).send().await.is(201);
    }
}

async fn listed(app: &TestApp) -> Vec<Value> {
    let page = app.admin().get(SHOP).send().await.is(200).json();
    page["items"].as_array().unwrap().clone()
}

with_an_app! {
    async fn a_claim_is_served_when_an_admin_of_the_instance_has_approved_it(app) {
        app.deploy("shop", "hello", "1").await;
        let claimed = claim(app, "Shop.Example.").await.is(201).json();
        assert_eq!((&claimed["host"], &claimed["state"]), (&json!("shop.example"), &json!("pending")));
        assert_eq!((&claimed["verified_at"], &claimed["verified_by"]), (&Value::Null, &Value::Null));
        assert_eq!(claimed["proof"]["name"], "_picloud.shop.example");
        route(app, "shop.example").await;
        get(app, "shop.example", "/health/live").await.is(200);
        get(app, "shop.example", "/a").await.refuses(404, "path_not_found");

        let approved = post(app, "SHOP.example", "approve").await.is(200).json();
        assert_eq!((&approved["state"], &approved["verified_by"]), (&json!("verified"), &json!("owner")));
        assert_eq!((&approved["proof"], &approved["closed"]), (&Value::Null, &Value::Null));
        assert_eq!(get(app, "shop.example", "/a").await.is(200).json(), "<script>steal()</script>");
        assert_eq!(post(app, "shop.example", "approve").await.is(200).json(), approved);
        let audit = app.admin().get("/apps/shop/audit").send().await.is(200).json();
        let actions: Vec<_> = audit["items"].as_array().unwrap().iter().map(|e| &e["action"]).collect();
        assert!(actions.contains(&&json!("approve_domain")) && actions.contains(&&json!("claim_domain")));
        post(app, "other.example", "approve").await.refuses(404, "domain_not_found");
    }

    /// A pending claim serves nothing, and does not block the claim of another app.
    async fn a_pending_claim_keeps_nobody_out_and_brings_no_route(app) {
        app.deploy("blog", "hello", "2").await;
        app.deploy("shop", "hello", "1").await;
        claim(app, "blog.example").await.is(201);
        route(app, "blog.example").await;
        app.domain("blog", "blog.example").await;
        get(app, "blog.example", "/").await.refuses(404, "endpoint_not_found");
        post(app, "blog.example", "approve").await.refuses(409, "domain_taken");
        assert_eq!(listed(app).await[0]["state"], "pending");
        // The domain is free again, and the pending claim can be verified.
        app.admin().delete("/apps/blog/domains/blog.example").send().await.is(204);
        post(app, "blog.example", "approve").await.is(200);
        get(app, "blog.example", "/").await.is(200);
    }

    async fn a_host_is_the_domain_s_in_every_spelling(app) {
        app.deploy("shop", "hello", "1").await;
        app.domain("shop", "shop.example").await;
        app.domain("shop", "käse.example").await;
        route(app, "shop.example").await;
        for spelling in [
            "shop.example", "SHOP.example", "shop.example.", "Shop.Example.:8080", "shop.example:",
            "shop.example:1", "shop.example:99999", "sho%70.example",
        ] {
            for path in ["/", "/api/v1/apps", "/health/live", "/x/shop/hello", "/metrics"] {
                let answer = get(app, spelling, path).await.is(200);
                assert_eq!(answer.json(), "<script>steal()</script>", "{spelling} {path}");
            }
        }
        get(app, "XN--KSE-QLA.example.", "/").await.refuses(404, "endpoint_not_found");
        // A host that cannot be parsed never matches a route.
        for wrong in ["shop.example:http", "shop..example", "shop.example..", "a b", "ada@shop.example", ""] {
            get(app, wrong, "/health/live").await.refuses(400, "host_invalid");
        }
        let twice = app.get("/health/live").header("host", "a.example").header("host", "shop.example");
        twice.send().await.refuses(400, "host_invalid");
    }

    async fn a_host_that_reaches_the_api_is_not_claimed_there(app) {
        app.deploy("shop", "hello", "1").await;
        let on = |call: Call| call.header("host", "Cloud.Example.:8080");
        let body = json!({"host": "cloud.example"});
        on(app.admin().post(SHOP, body.clone())).send().await.refuses(409, "host_reserved");
        app.admin().post(SHOP, body).send().await.is(201);
        let approve = app.admin().post(&format!("{SHOP}/cloud.example/approve"), json!({}));
        on(approve).send().await.refuses(409, "host_reserved");
    }
}

/// Settings with every kind of reserved host.
const SETTINGS: [(&str, &str); 3] = [
    ("PICLOUD_DASHBOARD_HOST", "Dash.Example"),
    ("PICLOUD_PUBLIC_URL", "https://Cloud.Example:8443/"),
    ("PICLOUD_LISTEN", "192.0.2.1:8080"),
];

/// All spellings of a reserved host.
const RESERVED: [&str; 26] = [
    "dash.example",
    "DASH.example",
    "dash.example.",
    " dash.example",
    "dash.example\t",
    "dash.example:80",
    "dash.example:",
    "ｄａｓｈ.example",
    "dash\u{3002}example",
    "d%61sh.example",
    "cloud.example",
    "Cloud.Example.",
    "cloud.example:8443",
    "localhost",
    "LOCALHOST.",
    "localhost:8080",
    "a.localhost",
    "127.0.0.1",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "[::1]",
    "::1",
    "192.0.2.1",
    "192.0.2.1.",
    "[::ffff:192.0.2.1]:8080",
];

on_both_databases! {
    async fn nobody_claims_a_host_of_the_platform_in_any_spelling(database) {
        // The callers sign in while every host serves the dashboard.
        let server = TestApp::start(database).await;
        let app = &server;
        app.deploy("shop", "hello", "1").await;
        let mut callers = Vec::new();
        for (name, role) in [("an-owner", "owner"), ("an-admin", "admin")] {
            callers.push(Browser::of_user(app, name, role).await);
        }
        for role in ["app_admin", "editor", "viewer"] {
            callers.push(Browser::of_member(app, &role.replace('_', "-"), "shop", role).await);
        }
        callers.push(Browser::of_user(app, "stranger", "member").await);
        let key = app.key(json!({"name": "k", "scopes": ["domain:manage", "instance:admin"]})).await;
        let key = key["key"].as_str().unwrap();
        server.close().await;
        let server = TestApp::start_with(database, &SETTINGS).await;
        let app = &server;
        for host in RESERVED {
            let path = format!("/api/v1{SHOP}");
            let body = json!({"host": host});
            let mut answers = vec![
                claim(app, host).await,
                app.post(&path).by_key(key).json(&body).send().await,
            ];
            for caller in &callers {
                let call = caller.change(app, "POST", SHOP).header("host", "dash.example");
                answers.push(call.json(&body).send().await);
            }
            for answer in answers {
                assert!([400, 403, 404, 409].contains(&answer.status), "{host}: {answer:?}");
            }
        }
        assert_eq!(listed(app).await, [Value::Null; 0]);
        claim(app, "dash.example").await.refuses(409, "host_reserved");
        claim(app, "shop.example").await.is(201);
        // The right to claim does not include the right to approve.
        for (caller, status) in callers.iter().zip([200, 200, 403, 403, 403, 404]) {
            let path = format!("{SHOP}/shop.example/approve");
            let call = caller.change(app, "POST", &path).header("host", "dash.example");
            call.json(&json!({})).send().await.is(status);
        }
        server.close().await;
    }

    async fn a_txt_record_with_the_app_s_token_verifies_a_domain(database) {
        let dns = Dns::start().await;
        let address = dns.address.to_string();
        let server = TestApp::start_with(database, &[("PICLOUD_DNS_SERVER", &address)]).await;
        let app = &server;
        app.deploy("blog", "hello", "1").await;
        app.deploy("shop", "hello", "1").await;
        let claimed = claim(app, "shop.example").await.is(201).json();
        let body = json!({"host": "shop.example"});
        let other = app.admin().post("/apps/blog/domains", body).send().await.is(201).json();
        let refused = post(app, "shop.example", "verify").await.refuses(409, "domain_not_proved");
        assert_eq!((&refused["found"], &refused["value"]), (&json!([]), &claimed["proof"]["value"]));
        // Another app's token does not prove ownership.
        let text = |domain: &Value| domain["proof"]["value"].as_str().unwrap().to_owned();
        assert_ne!(text(&claimed), text(&other));
        dns.add("_picloud.shop.example", &text(&other));
        dns.add("shop.example", &text(&claimed));
        dns.add("_picloud.shop.example", &format!("{}0", text(&claimed)));
        let refused = post(app, "shop.example", "verify").await.refuses(409, "domain_not_proved");
        assert_eq!(refused["found"].as_array().unwrap().len(), 2);
        dns.add("_picloud.shop.example", &text(&claimed));
        let verified = post(app, "shop.example", "verify").await.is(200).json();
        assert_eq!((&verified["state"], &verified["verified_by"]), (&json!("verified"), &json!("dns")));
        route(app, "shop.example").await;
        get(app, "shop.example", "/").await.is(200);
        let late = app.admin().post("/apps/blog/domains/shop.example/verify", json!({})).send().await;
        late.refuses(409, "domain_taken");
        server.close().await;
    }

    async fn a_dns_server_that_is_away_verifies_nothing(database) {
        let server = TestApp::start(database).await;
        server.deploy("shop", "hello", "1").await;
        claim(&server, "shop.example").await.is(201);
        let refused = post(&server, "shop.example", "verify").await;
        refused.refuses(503, "dns_unavailable");
        assert_eq!(listed(&server).await[0]["state"], "pending");
        server.close().await;
    }

    async fn a_domain_closes_when_its_host_becomes_the_platform_s(database) {
        let server = TestApp::start(database).await;
        server.deploy("shop", "hello", "1").await;
        server.domain("shop", "dash.example").await;
        server.domain("shop", "other.example").await;
        route(&server, "dash.example").await;
        get(&server, "dash.example", "/").await.is(200);
        server.close().await;

        let server = TestApp::start_with(database, &SETTINGS).await;
        let answer = get(&server, "DASH.example.", "/api/v1/auth/options").await;
        assert_ne!(answer.text(), r#""<script>steal()</script>""#);
        get(&server, "dash.example", "/health/live").await.is(200);
        let domains = listed(&server).await;
        let closed: Vec<_> = domains.iter().map(|domain| (&domain["host"], &domain["closed"])).collect();
        assert_eq!(closed, [
            (&json!("other.example"), &Value::Null), (&json!("dash.example"), &json!("host_reserved")),
        ]);
        post(&server, "dash.example", "approve").await.refuses(409, "host_reserved");
        server.admin().delete(&format!("{SHOP}/dash.example")).send().await.is(204);
        server.close().await;
    }
}

/// Nodes with different settings share one PostgreSQL database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_claims_a_host_of_another_node() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let one = TestApp::start_with(database, &[("PICLOUD_DASHBOARD_HOST", "one.example")]).await;
        one.deploy("shop", "hello", "1").await;
        one.domain("shop", "two.example").await;
        route(&one, "two.example").await;
        get(&one, "two.example", "/").await.is(200);
        let two = TestApp::start_with(database, &[("PICLOUD_DASHBOARD_HOST", "two.example")]).await;
        for node in [&one, &two] {
            claim(node, "ONE.example").await.refuses(409, "host_reserved");
            assert_eq!(listed(node).await[0]["closed"], "host_reserved");
        }
        get(&two, "two.example", "/health/live").await.is(200);
        // A node is notified, and also polls.
        let begun = std::time::Instant::now();
        while get(&one, "two.example", "/").await.status == 200 {
            assert!(
                begun.elapsed() < std::time::Duration::from_secs(60),
                "the domain is never closed"
            );
            picloud_testing::pause().await;
        }
        // While a node is briefly down, its hosts stay reserved.
        two.close().await;
        let two = TestApp::start(database).await;
        claim(&two, "two.example").await.refuses(409, "host_reserved");
        two.close().await;
        one.close().await;
    })
    .await;
}
