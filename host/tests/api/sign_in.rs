//! Sign-in attempts are slowed down, but strangers do not slow down a user's own browser.

use crate::app::{ADMIN_PASSWORD, TestApp};
use crate::browser::{Browser, try_password};
use crate::with_an_app;

/// Tries wrong passwords until the network must wait for ten minutes. The test clock advances with
/// each read, so each check exhausts it again.
async fn exhaust(app: &TestApp) {
    for _ in 0..200 {
        let answer = try_password(app, "admin", "wrong").send().await;
        let wait_s = answer.header("retry-after").map_or(0, |wait_s| wait_s.parse().unwrap());
        if wait_s > 600 {
            return;
        }
    }
    panic!("the attempts are never slowed down");
}

with_an_app! {
    async fn a_device_that_has_signed_in_before_is_not_slowed_by_others(app) {
        let browser = Browser::sign_in(app).await;
        let me = browser.request(app, "GET", "/auth/me").send().await.is(200);
        let device = me.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        assert!(device.starts_with("picloud_device="), "{device}");
        // From now on the browser is known.
        let both = format!("{}; {device}", browser.cookie);
        let again = app.get("/api/v1/auth/me").header("cookie", &both).send().await.is(200);
        assert_eq!(again.header("set-cookie"), None);
        browser.change(app, "POST", "/auth/logout").send().await.is(204);

        exhaust(app).await;
        try_password(app, "admin", ADMIN_PASSWORD).send().await.refuses(429, "too_many_sign_ins");
        let with = |password: &str, cookie: &str| try_password(app, "admin", password).header("cookie", cookie).send();
        with(ADMIN_PASSWORD, &device).await.is(200);
        // The browser still needs the password, and is unknown for other accounts.
        with("wrong", &device).await.refuses(401, "wrong_credentials");
        exhaust(app).await;
        let other = try_password(app, "eve", ADMIN_PASSWORD).header("cookie", &device).send().await;
        other.refuses(429, "too_many_sign_ins");
        exhaust(app).await;
        with(ADMIN_PASSWORD, "picloud_device=00000000000000000000000000000000~00").await
            .refuses(429, "too_many_sign_ins");
        exhaust(app).await;
        with(ADMIN_PASSWORD, &format!("{device}; {device}")).await.refuses(429, "too_many_sign_ins");
    }

    async fn a_session_that_is_over_is_a_device_as_well(app) {
        let browser = Browser::sign_in(app).await;
        app.pass_days(8);
        browser.request(app, "GET", "/auth/me").send().await.refuses(401, "session_expired");
        exhaust(app).await;
        let call = try_password(app, "admin", ADMIN_PASSWORD).header("cookie", &browser.cookie);
        call.send().await.is(200);
    }

    /// Otherwise a user with an account could attack other accounts without a limit.
    async fn ones_own_sign_in_forgives_no_wrong_tries(app) {
        Browser::of_user(app, "eve", "member").await;
        let mut refused = 0;
        for _ in 0..12 {
            for _ in 0..4 {
                refused += usize::from(try_password(app, "admin", "wrong").send().await.status == 429);
            }
            let own = try_password(app, "eve", "a password of theirs").send().await.status;
            assert!([200, 429].contains(&own), "{own}");
        }
        assert!(refused > 0, "48 wrong passwords were all tried");
    }
}
