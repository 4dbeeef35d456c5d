//! Owner keys and their sessions, on a real store.

use axum::http::HeaderValue;

use super::*;
use crate::store::DatabaseUrl;

const NETWORK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn with(authorization: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
}

async fn open(folder: &tempfile::TempDir) -> Store {
    let url = DatabaseUrl::sqlite_file(&folder.path().join("picloud.db")).unwrap();
    Store::open(&url).await.unwrap()
}

#[tokio::test]
async fn only_the_key_itself_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let (store, clock) = (open(&folder).await, Clock::system());
    let key: OwnerKey = "pco_0123456789abcdef0123456789abcdef".parse().unwrap();
    let started = Auth::start(&store, &clock, Some(&key), Settings::default()).await.unwrap();
    let auth = started.auth;
    let is_owner = async |headers: HeaderMap| match key_of(&headers) {
        Some(key) => auth.is_owner_key(key, Some(NETWORK)).await.unwrap(),
        None => false,
    };
    assert!(is_owner(with("Bearer pco_0123456789abcdef0123456789abcdef")).await);
    assert!(is_owner(with("bearer  pco_0123456789abcdef0123456789abcdef ")).await);
    for wrong in [
        "Bearer pco_0123456789abcdef0123456789abcdeF",
        "Bearer pco_0123456789abcdef0123456789abcde",
        "Bearer",
        "Bearer ",
        "",
        "pco_0123456789abcdef0123456789abcdef",
        "Basic pco_0123456789abcdef0123456789abcdef",
    ] {
        assert!(!is_owner(with(wrong)).await, "{wrong}");
    }
    assert!(!is_owner(HeaderMap::new()).await);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_key_is_made_once_and_replaced_by_a_configured_one_or_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let (store, clock) = (open(&folder).await, Clock::system());
    let start = async |configured: Option<&OwnerKey>| {
        Auth::start(&store, &clock, configured, Settings::default()).await.unwrap()
    };
    let is_let_in = async |key: &OwnerKey| {
        start(None).await.auth.is_owner_key(key.reveal().as_bytes(), Some(NETWORK)).await.unwrap()
    };

    assert_eq!(Auth::reset(&store, &clock).await.unwrap(), None);
    let first = start(None).await.generated.unwrap();
    assert!(first.reveal().starts_with("pco_") && first.reveal().len() == 4 + 64);
    assert!(is_let_in(&first).await);
    assert!(start(None).await.generated.is_none());

    let configured: OwnerKey = "0123456789abcdef0123456789abcdef".parse().unwrap();
    assert!(start(Some(&configured)).await.generated.is_none());
    assert!(is_let_in(&configured).await && !is_let_in(&first).await);

    let reset = Auth::reset(&store, &clock).await.unwrap().unwrap();
    assert!(is_let_in(&reset).await && !is_let_in(&configured).await);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_sessions_of_a_key_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, clock) = (open(&folder).await, Clock::system());
    let place = (&store, &clock);
    let settings = SessionSettings::default();
    let begin = async || {
        let token = hex::encode(clock.random::<32>());
        let session = store::Session {
            token_sha256: sessions::sha256(&token),
            principal: Principal::Owner.to_string(),
            csrf_token: String::new(),
            created_at: clock.now_us(),
            seen_at: clock.now_us(),
            expires_at: i64::MAX,
        };
        store.insert_session(session).await.unwrap();
        token
    };
    let goes_on =
        async |token: &str| sessions::find(place, settings, token).await.unwrap().is_some();
    let start = async |key: &str| {
        let key: OwnerKey = key.parse().unwrap();
        Auth::start(&store, &clock, Some(&key), Settings::default()).await.unwrap();
    };
    start("0123456789abcdef0123456789abcdef").await;
    let token = begin().await;
    start("0123456789abcdef0123456789abcdef").await;
    assert!(goes_on(&token).await, "the key is the same");
    start("another-0123456789abcdef0123456789abcdef").await;
    assert!(!goes_on(&token).await);
    let token = begin().await;
    Auth::reset(&store, &clock).await.unwrap().unwrap();
    assert!(!goes_on(&token).await);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_new_owner_key_is_long_and_a_short_one_of_before_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, clock) = (open(&folder).await, Clock::system());
    let start = async |key: &str| {
        let key: OwnerKey = key.parse().unwrap();
        let started = Auth::start(&store, &clock, Some(&key), Settings::default()).await;
        started.map(drop).map_err(|error| error.to_string())
    };
    let refused = start("0123456789abcde-0123456789abcde").await.unwrap_err();
    assert!(refused.contains("31 characters") && refused.contains("at least 32"), "{refused}");
    start("0123456789abcdef0123456789abcdef").await.unwrap();
    // A short key from an older release.
    let short = "0123456789abcde-";
    let hash = KeyHash::of(short.as_bytes()).to_hex();
    store.update_setting("owner_key_sha256", &hash, 1).await.unwrap();
    start(short).await.unwrap();
    assert!(start("another-16-chars").await.is_err());
    store.close().await.unwrap();
}
