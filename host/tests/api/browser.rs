//! A signed-in browser, which sends a cookie instead of a key.

use serde_json::{Value, json};

use crate::app::{ADMIN_PASSWORD, Answer, Call, TestApp};

/// The cookies of a browser, and the state of its page.
pub(crate) struct Browser {
    pub(crate) cookie: String,
    pub(crate) csrf_token: String,
    pub(crate) expires_at: i64,
}

impl Browser {
    /// Signs in the first owner.
    pub(crate) async fn sign_in(app: &TestApp) -> Self {
        Self::of(&try_password(app, "admin", ADMIN_PASSWORD).send().await.is(200))
    }

    /// Creates, invites and signs in a user.
    pub(crate) async fn of_user(app: &TestApp, name: &str, role: &str) -> Self {
        let user = json!({"name": name, "role": role});
        let made = app.admin().post("/users", user).send().await.is(201).json();
        Self::of(&accept(app, &token_of(&made), "a password of theirs").send().await.is(200))
    }

    /// Creates and signs in a user with a role in an app.
    pub(crate) async fn of_member(app: &TestApp, name: &str, of: &str, role: &str) -> Self {
        let browser = Self::of_user(app, name, "member").await;
        app.set_role(of, name, role).await;
        browser
    }

    pub(crate) fn of(answer: &Answer) -> Self {
        let (cookie, _) = answer.header("set-cookie").unwrap().split_once(';').unwrap();
        let session = answer.json();
        Self {
            cookie: cookie.to_owned(),
            csrf_token: session["csrf_token"].as_str().unwrap().to_owned(),
            expires_at: session["expires_at"].as_i64().unwrap(),
        }
    }

    /// A request with only the cookie.
    pub(crate) fn request(&self, app: &TestApp, method: &str, path: &str) -> Call {
        app.request(method, &format!("/api/v1{path}")).header("cookie", &self.cookie)
    }

    /// A request as the dashboard makes it.
    pub(crate) fn change(&self, app: &TestApp, method: &str, path: &str) -> Call {
        self.request(app, method, path).header("x-csrf-token", &self.csrf_token)
    }

    /// Returns the id of the signed-in user.
    pub(crate) async fn user_id(&self, app: &TestApp) -> String {
        let me = self.request(app, "GET", "/auth/me").send().await.is(200).json();
        me["principal"]["user_id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn try_password(app: &TestApp, name: &str, password: &str) -> Call {
    app.post("/api/v1/auth/login").json(&json!({"name": name, "password": password}))
}

/// Chooses a password with an invitation.
pub(crate) fn accept(app: &TestApp, token: &str, password: &str) -> Call {
    let body = json!({"token": token, "password": password});
    app.post("/api/v1/auth/invitation/accept").json(&body)
}

/// Returns the token in the link of an invitation.
pub(crate) fn token_of(invited: &Value) -> String {
    let path = invited["invitation_path"].as_str().unwrap();
    path.strip_prefix("/invitation#").unwrap().to_owned()
}
