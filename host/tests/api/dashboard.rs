//! The dashboard's files, built by `make dashboard`.

use crate::app::{Answer, TestApp};
use crate::with_an_app;

const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

async fn page(app: &TestApp, path: &str) -> Answer {
    app.get(path).header("accept", BROWSER).send().await
}

/// Returns the address of a script that the page loads.
fn script(page: &str) -> String {
    let begin = page.find("/_app/immutable/entry/").expect("run `make dashboard` before the tests");
    let length = page[begin..].find(".js").unwrap() + 3;
    page[begin..begin + length].to_owned()
}

with_an_app! {
    async fn every_address_of_the_dashboard_has_its_page(app) {
        let root = page(app, "/").await.is(200);
        assert_eq!(root.header("content-type"), Some("text/html"));
        assert_eq!(root.header("cache-control"), Some("no-cache"));
        assert_eq!(root.header("x-frame-options"), Some("DENY"));
        let sent = root.header("content-security-policy").unwrap();
        assert!(sent.starts_with("script-src 'sha256-"), "{sent}");
        assert!(sent.contains(" *:*/_app/; ") && sent.contains("frame-ancestors 'none'"), "{sent}");
        for open in ["'self'", "unsafe", "blob:", "data:"] {
            assert!(!sent.contains(open), "{sent}");
        }
        assert!(!root.text().contains("blob:"), "{}", root.text());
        let policy = "http-equiv=\"content-security-policy\" content=\"default-src 'none'";
        assert!(root.text().contains(policy), "{}", root.text());
        assert!(!root.text().contains("unsafe-eval") && !root.text().contains("://"), "{}", root.text());
        for path in ["/apps/shop", "/apps/shop/scripts/a.b", "/instance", "/nothing"] {
            assert_eq!(page(app, path).await.is(200).text(), root.text(), "{path}");
        }
        for path in ["/api/v2/apps", "/_app/immutable/gone.js", "/metrics/no"] {
            page(app, path).await.refuses(404, "path_not_found");
        }
        app.get("/apps/shop").send().await.refuses(404, "path_not_found");
        app.post("/apps/shop").send().await.refuses(404, "path_not_found");
    }

    async fn its_files_are_kept_by_browsers_and_come_compressed(app) {
        let root = page(app, "/").await.is(200);
        let address = script(root.text());
        let plain = app.get(&address).send().await.is(200);
        assert_eq!(plain.header("content-type"), Some("text/javascript"));
        assert_eq!(plain.header("content-encoding"), None);
        let kept = plain.header("cache-control").unwrap();
        assert!(kept.contains("immutable"), "{kept}");
        for (accept, encoding) in [
            ("gzip", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("br")),
            ("br;q=0, gzip", Some("gzip")),
            ("identity", None),
        ] {
            let file = app.get(&address).header("accept-encoding", accept).send().await.is(200);
            assert_eq!(file.header("content-encoding"), encoding, "{accept}");
            assert_eq!(file.header("vary"), Some("accept-encoding"));
            assert_eq!(encoding.is_none(), file.body == plain.body, "{accept}");
        }
        let etag = root.header("etag").unwrap();
        let again = app.get("/").header("accept", BROWSER).header("if-none-match", etag);
        let again = again.send().await.is(304);
        assert!(again.body.is_empty());
        assert_eq!(again.header("etag"), Some(etag));
    }
}
