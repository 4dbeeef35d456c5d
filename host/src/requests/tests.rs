//! Tests of stored requests, with a real store and real keys.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::secrets::{KEY_FILE, KeySettings, MasterKey, rotate};
use crate::store::{DatabaseUrl, NewApp, Store};

const TOKEN: &str = "tok-5e55";

struct Place {
    folder: tempfile::TempDir,
    store: Store,
    clock: Clock,
    app_id: AppId,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite_file(&folder.path().join("picloud.db")).unwrap();
        let (store, clock) = (Store::open(&url).await.unwrap(), Clock::system());
        let app_id = app(&store, &clock, "shop").await;
        Self { folder, store, clock, app_id }
    }

    fn settings(&self) -> KeySettings {
        KeySettings { data: self.folder.path().to_owned(), configured: None, previous: None }
    }

    async fn secrets(&self) -> Secrets {
        Secrets::start(&self.store, &self.clock, &self.settings()).await.unwrap()
    }

    async fn stored(&self, request: &HttpRequest) -> Json {
        to_store((&self.secrets().await, &self.clock), &self.app_id, request).await.unwrap()
    }

    async fn read(&self, payload: &Json) -> Result<Option<HttpRequest>, Error> {
        of_stored(&self.secrets().await, &self.app_id, payload, &FormLimits::default()).await
    }

    async fn again(&self, payload: &Json, edited: Option<&Value>) -> Result<Json, Error> {
        again((&self.secrets().await, &self.clock), &self.app_id, payload, edited).await
    }

    fn key_file(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), KEY_FILE)
    }
}

async fn app(store: &Store, clock: &Clock, name: &str) -> AppId {
    let new = NewApp {
        id: clock.new_id().into(),
        name: name.to_owned(),
        description: String::new(),
        created_at: clock.now_us(),
    };
    store.insert_app(new).await.unwrap().id
}

fn pairs(list: &[(&str, &str)]) -> Pairs {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A request with a credential in every place.
fn request() -> HttpRequest {
    let body = format!("user=ada&password={TOKEN}&x=%zz");
    HttpRequest {
        method: "POST".to_owned(),
        path: format!("/x/shop/reset/{TOKEN}"),
        params: pairs(&[("token", TOKEN)]),
        query: pairs(&[("q", "1"), ("api_key", TOKEN), ("api_key", "second")]),
        raw_query: format!("q=%31&api_key={TOKEN}&api_key=second"),
        headers: pairs(&[
            ("accept", "*/*"),
            ("authorization", &format!("Bearer {TOKEN}")),
            ("content-type", "application/x-www-form-urlencoded"),
            ("cookie", &format!("a={TOKEN}")),
            ("idempotency-key", "k"),
            ("referer", &format!("https://a.example/?token={TOKEN}")),
        ]),
        remote_address: "192.0.2.1".to_owned(),
        raw: body.into_bytes(),
        body: BodyKind::Text,
        form: pairs(&[("user", "ada"), ("password", TOKEN), ("x", "%zz")]),
        ..HttpRequest::default()
    }
}

/// Everything in a payload that can be read without a key.
fn readable(payload: &Json) -> String {
    let value: Value = payload.to().unwrap();
    let body = STANDARD.decode(value["body"].as_str().unwrap()).unwrap();
    format!("{} {}", payload.as_str(), String::from_utf8_lossy(&body))
}

#[tokio::test]
async fn a_request_is_stored_without_its_credentials_and_run_with_them() {
    let place = Place::new().await;
    let payload = place.stored(&request()).await;
    let kept = readable(&payload);
    assert!(!kept.contains(TOKEN) && !kept.contains("second"), "{kept}");
    assert!(kept.contains("user=ada&password=***&x=%zz"), "{kept}");
    assert_eq!(place.read(&payload).await.unwrap(), Some(request()));
    // The shown form does not even contain the sealed values.
    let shown = shown(&payload);
    assert_eq!(shown.get("sealed"), None);
    assert_eq!(shown["path"], "/x/shop/reset/***");
    assert_eq!(shown["query"], json!([["q", "1"], ["api_key", "***"], ["api_key", "***"]]));
    assert_eq!(shown["headers"][5], json!(["referer", "https://a.example/?token=***"]));
    // Without a credential nothing is sealed.
    let plain = HttpRequest {
        path: "/x/shop/in".to_owned(),
        params: Vec::new(),
        query: Vec::new(),
        raw_query: String::new(),
        headers: pairs(&[("idempotency-key", "k")]),
        // No header gives the type.
        body: BodyKind::Binary,
        form: Vec::new(),
        ..request()
    };
    let payload = place.stored(&plain).await;
    assert_eq!(payload.to::<Value>().unwrap().get("sealed"), None);
    assert_eq!(place.read(&payload).await.unwrap(), Some(plain));
    place.store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_sealed_for_one_app_opens_in_no_other() {
    let mut place = Place::new().await;
    let payload = place.stored(&request()).await;
    place.app_id = app(&place.store, &place.clock, "blog").await;
    assert!(matches!(place.read(&payload).await, Err(Error::Lost(_))));
    place.store.close().await.unwrap();
}

#[tokio::test]
async fn a_replay_is_sealed_anew_also_when_it_is_edited() {
    let place = Place::new().await;
    let payload = place.stored(&request()).await;
    let same = place.again(&payload, None).await.unwrap();
    assert_ne!(same, payload, "another nonce");
    assert_eq!(place.read(&same).await.unwrap(), Some(request()));

    // Masked values keep their originals; other values are new.
    let mut edited = shown(&payload);
    edited["headers"][1][1] = json!("Bearer new-5e55");
    edited["query"] = json!([["api_key", "***"], ["q", "2"]]);
    edited["sealed"] = json!("something else");
    let replay = place.again(&payload, Some(&edited)).await.unwrap();
    let kept = readable(&replay);
    assert!(!kept.contains(TOKEN) && !kept.contains("new-5e55"), "{kept}");
    let mut expected = request();
    expected.headers[1].1 = "Bearer new-5e55".to_owned();
    expected.query = pairs(&[("api_key", TOKEN), ("q", "2")]);
    expected.raw_query = format!("api_key={TOKEN}&q=2");
    assert_eq!(place.read(&replay).await.unwrap(), Some(expected));
    place.store.close().await.unwrap();
}

#[tokio::test]
async fn a_rotation_of_the_master_key_leaves_stored_requests_as_they_are() {
    let place = Place::new().await;
    let payload = place.stored(&request()).await;
    let before = std::fs::read_to_string(place.key_file()).unwrap();
    rotate(&place.store, &place.clock, &place.settings()).await.unwrap();
    assert_ne!(std::fs::read_to_string(place.key_file()).unwrap(), before);
    assert_eq!(place.read(&payload).await.unwrap(), Some(request()));

    // A rotation through the environment: first with both keys, then with the new one alone.
    let old: MasterKey = std::fs::read_to_string(place.key_file()).unwrap().trim().parse().unwrap();
    let new = MasterKey::generate(&place.clock);
    let start = async |previous: Option<MasterKey>| {
        let settings = KeySettings { configured: Some(new.clone()), previous, ..place.settings() };
        Secrets::start(&place.store, &place.clock, &settings).await.unwrap()
    };
    start(Some(old)).await;
    let secrets = start(None).await;
    let read = of_stored(&secrets, &place.app_id, &payload, &FormLimits::default()).await;
    let read = read.unwrap();
    assert_eq!(read, Some(request()));
    place.store.close().await.unwrap();
}

#[tokio::test]
async fn with_a_lost_master_key_only_what_it_sealed_is_closed() {
    let place = Place::new().await;
    let payload = place.stored(&request()).await;
    let aside = place.folder.path().join("aside");
    std::fs::rename(place.key_file(), &aside).unwrap();
    // No secret is set, so the server starts with a new key.
    assert!(matches!(place.read(&payload).await, Err(Error::Lost(_))));
    assert!(matches!(place.again(&payload, None).await, Err(Error::Lost(_))));
    let masked = shown(&payload);
    assert!(matches!(place.again(&payload, Some(&masked)).await, Err(Error::Lost(_))));
    // A caller who sends the credentials again can replay it.
    let given = shown(&place.stored(&HttpRequest { params: Vec::new(), ..request() }).await);
    assert!(matches!(place.again(&payload, Some(&given)).await, Err(Error::Lost(_))));
    let clear = json!({
        "method": "POST", "path": "/x/shop/in", "params": [], "query": [["api_key", "new"]],
        "headers": [["authorization", "Bearer new"]], "remote_address": "", "body": "",
        "body_kind": serde_json::to_value(BodyKind::Empty).unwrap(),
    });
    let replay = place.again(&payload, Some(&clear)).await.unwrap();
    let read = place.read(&replay).await.unwrap().unwrap();
    assert_eq!(read.headers, pairs(&[("authorization", "Bearer new")]));
    // A new key seals new requests. The old key works again once it is restored.
    let later = place.stored(&request()).await;
    assert_eq!(place.read(&later).await.unwrap(), Some(request()));
    std::fs::rename(&aside, place.key_file()).unwrap();
    assert_eq!(place.read(&payload).await.unwrap(), Some(request()));
    place.store.close().await.unwrap();
}

#[tokio::test]
async fn a_row_from_before_runs_is_shown_masked_and_is_sealed_when_it_is_replayed() {
    let place = Place::new().await;
    let HttpRequest { method, path, params, query, headers, remote_address, raw, body, .. } =
        request();
    let clear = json!({
        "method": method, "path": path, "params": params, "query": query, "headers": headers,
        "remote_address": remote_address, "body": STANDARD.encode(raw), "body_kind": body,
    });
    let before = Json::of(&clear).unwrap();
    // Such a row has only its decoded query.
    let raw_query = format!("q=1&api_key={TOKEN}&api_key=second");
    let expected = HttpRequest { raw_query, ..request() };
    assert_eq!(place.read(&before).await.unwrap(), Some(expected.clone()));
    assert!(!readable(&Json::of(&shown(&before)).unwrap()).contains(TOKEN));
    for edited in [None, Some(shown(&before))] {
        let replay = place.again(&before, edited.as_ref()).await.unwrap();
        assert!(!readable(&replay).contains(TOKEN));
        assert_eq!(place.read(&replay).await.unwrap(), Some(expected.clone()));
    }
    place.store.close().await.unwrap();
}

#[tokio::test]
async fn callers_are_told_apart_by_tags_that_tell_nothing_of_them() {
    let place = Place::new().await;
    let key = place.secrets().await.request_key(&place.app_id).await.unwrap();
    assert_eq!(
        key.tag(b"a"),
        place.secrets().await.request_key(&place.app_id).await.unwrap().tag(b"a")
    );
    assert_ne!(key.tag(b"a"), key.tag(b"b"));
    let other = app(&place.store, &place.clock, "blog").await;
    let other = place.secrets().await.request_key(&other).await.unwrap();
    assert_ne!(key.tag(b"a"), other.tag(b"a"));
    place.store.close().await.unwrap();
}
