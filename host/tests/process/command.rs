//! The command line, run against a server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{OWNER_KEY, picloud};
use crate::shell::{Shell, path, text};

/// Fails until the key `fixed` is set.
const MAILER: &str = r#"
    if ctx.event == () { kv::collection("state").set("fixed", true); return "fixed"; }
    if !kv::collection("state").has("fixed") { throw "the mail server is away" }
    kv::collection("sent").set(ctx.event.queue.payload.to, true);
"#;

impl Shell {
    /// Deploys a script and a trigger for the queue `mails`. Returns the trigger's id.
    fn deploy_mailer(&self) -> String {
        let file = self.data.path().join("mailer.rhai");
        std::fs::write(&file, MAILER).unwrap();
        let printed = self.does(&["deploy", path(&file), "--app", "demo"]);
        assert_eq!(printed, format!("{}/x/demo/mailer", self.server.url));
        self.does(&["triggers", "create", "demo/mailer", "--queue", "mails"])
    }

    fn send(&self, to: &str) -> String {
        let data = json!({ "to": to }).to_string();
        self.does(&["events", "send", "demo", "--queue", "mails", "--data", &data])
    }

    /// Polls, at most a minute, until this number of dead letters is unresolved.
    fn dead_letters(&self, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let listed = self.does(&["dead-letters", "list", "demo", "--json"]);
            let letters: Vec<Value> = serde_json::from_str(&listed).unwrap();
            if letters.len() == count {
                return letters;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{letters:?}");
        }
    }

    /// Polls, at most a minute, until no event is pending or running.
    fn settled(&self) {
        let begun = Instant::now();
        while self.does(&["events", "list", "demo", "--json"]) != "[]" {
            assert!(begun.elapsed() < Duration::from_secs(60), "an event is never done");
        }
    }
}

#[test]
fn dead_letters_are_listed_shown_replayed_and_resolved() {
    let shell = Shell::start();
    let trigger = shell.deploy_mailer();
    let event = shell.send("ada");
    let letter = shell.dead_letters(1).remove(0);
    let id = text(&letter, "id");
    assert_eq!(text(&letter, "event_id"), event);

    let listed = shell.does(&["dead-letters", "list", "demo", "--script", "mailer"]);
    for part in ["unresolved", "queue mails → mailer v1 · 1 attempts", id, "mail server is away"]
    {
        assert!(listed.contains(part), "{part} is not in\n{listed}");
    }
    assert_eq!(shell.does(&["dead-letters", "list", "demo", "--kind", "cron"]), "");
    let shown = shell.does(&["dead-letters", "show", id]);
    for part in ["last_error", "the mail server is away", "\"to\": \"ada\"", &trigger] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }

    shell.does(&["invoke", "demo/mailer"]);
    let edited = r#"{"queue": "mails", "payload": {"to": "bob"}}"#;
    let again = shell.does(&["dead-letters", "replay", id, "--data", edited]);
    assert_ne!(again, event);
    shell.settled();
    assert_eq!(shell.dead_letters(0), [Value::Null; 0]);
    let all = shell.does(&["dead-letters", "list", "demo", "--all"]);
    assert!(all.contains("replayed"), "{all}");
    let twice = shell.fails(1, &["dead-letters", "replay", id]);
    assert!(twice.starts_with("error: ") && twice.contains("replayed"), "{twice}");
    assert!(shell.does(&["logs", "demo/mailer"]).contains(&again));
}

#[test]
fn many_dead_letters_are_dealt_with_by_one_command() {
    let shell = Shell::start();
    shell.deploy_mailer();
    for to in ["a", "b", "c"] {
        shell.send(to);
    }
    let letters = shell.dead_letters(3);
    let resolved = shell.run(&["dead-letters", "resolve", text(&letters[0], "id")]);
    assert_eq!((resolved.code, &*resolved.out), (Some(0), ""), "{}", resolved.err);
    let ended = shell.run(&["dead-letters", "replay", "--app", "demo", "--all"]);
    assert_eq!((ended.code, &*ended.out), (Some(0), "2\n"), "{}", ended.err);
    assert!(ended.err.contains("replayed 2 of 2"), "{}", ended.err);

    // They fail again, and the same command does not replay them again.
    shell.dead_letters(2);
    let resolve = ["dead-letters", "resolve", "--app", "demo", "--all", "--script", "mailer"];
    assert_eq!(shell.does(&resolve), "2");
    assert_eq!(shell.does(&resolve), "0");
    assert_eq!(shell.does(&["dead-letters", "list", "demo"]), "");
}

#[test]
fn events_are_sent_once_and_shown_while_they_wait() {
    let shell = Shell::start();
    shell.deploy_mailer();
    let later = ["events", "send", "demo", "--queue", "mails", "--delay-ms", "3600000"];
    let dedupe = [&later[..], &["--dedupe", "today"]].concat();
    let id = shell.does(&dedupe);
    let dropped = shell.run(&dedupe);
    assert_eq!((dropped.code, &*dropped.out), (Some(0), ""));
    assert!(dropped.err.contains("dropped"), "{}", dropped.err);
    let once = [&later[..], &["--idempotency-key", "k"]].concat();
    assert_eq!(shell.does(&once), shell.does(&once));

    let listed = shell.does(&["events", "list", "demo", "--kind", "queue", "--source", "mails"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains(&format!("waiting    queue send mails → mailer · {id}")), "{listed}");
    let shown = shell.does(&["events", "show", &id]);
    assert!(shown.contains("state") && shown.contains("waiting"), "{shown}");
    assert_eq!(shell.does(&["events", "list", "demo", "--limit", "1"]).lines().count(), 1);

    let nobody = shell.run(&["events", "send", "demo", "--topic", "news"]);
    assert_eq!((nobody.code, &*nobody.out), (Some(0), ""));
    assert!(nobody.err.contains("no trigger listens"), "{}", nobody.err);
    let waits = shell.run(&["events", "send", "demo", "--queue", "other"]);
    assert!(waits.err.contains("has no trigger yet"), "{}", waits.err);
    let script = shell.does(&["events", "send", "demo", "--script", "mailer"]);
    assert_eq!(text(&shell.dead_letters(1)[0], "event_id"), script);
}

#[test]
fn triggers_are_made_listed_fired_switched_and_deleted() {
    let shell = Shell::start();
    let queue = shell.deploy_mailer();
    let daily =
        ["triggers", "create", "demo/mailer", "--cron", "0 8 * * *", "--zone", "Asia/Tokyo"];
    let cron = shell.does(&daily);
    let listed = shell.does(&["triggers", "list", "demo"]);
    assert!(listed.contains(&format!("enabled  queue mails → mailer · {queue}")), "{listed}");
    assert!(listed.contains("T23:00:00.000Z"), "{listed}");
    let shown = shell.does(&["triggers", "show", &cron]);
    assert!(shown.contains("Asia/Tokyo") && shown.contains("misfire"), "{shown}");

    shell.does(&["triggers", "disable", &cron]);
    assert!(shell.does(&["triggers", "list", "demo", "--kind", "cron"]).starts_with("disabled"));
    shell.does(&["triggers", "enable", &cron]);
    assert!(shell.does(&["triggers", "list", "demo", "--kind", "cron"]).starts_with("enabled"));

    let patient = ["--attempts", "7", "--backoff", "constant", "--operations", "insert"];
    let patient =
        shell.does(&[&["triggers", "create", "demo/mailer", "--kv", "k"][..], &patient].concat());
    let shown: Value =
        serde_json::from_str(&shell.does(&["triggers", "show", &patient, "--json"])).unwrap();
    assert_eq!(shown["retry"]["attempts_max"], 7);
    assert_eq!(shown["retry"]["backoff"], "constant");
    assert_eq!(shown["on"]["operations"], json!(["insert"]));

    let details = r#"{"payload": {"to": "eve"}}"#;
    let event = shell.does(&["triggers", "fire", &queue, "--data", details]);
    let letter = shell.dead_letters(1).remove(0);
    assert_eq!(text(&letter, "event_id"), event);
    assert_eq!(letter["payload"], json!({ "queue": "mails", "payload": { "to": "eve" } }));

    shell.does(&["triggers", "delete", &cron]);
    assert_eq!(shell.does(&["triggers", "list", "demo", "--kind", "cron"]), "");
}

#[test]
fn routes_are_made_listed_changed_and_deleted() {
    let shell = Shell::start();
    shell.deploy_mailer();
    let value = shell.data.path().join("value");
    std::fs::write(&value, "a-secret-of-the-hook").unwrap();
    let set = picloud(shell.data.path())
        .args(["secrets", "set", "hook", "--app", "demo"])
        .envs([("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_URL", &shell.server.url)])
        .stdin(std::fs::File::open(&value).unwrap())
        .output()
        .unwrap();
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let plain = shell.does(&["routes", "create", "demo/mailer", "get", "/mails/{id}"]);
    let asked = [
        "routes",
        "create",
        "demo/mailer",
        "POST",
        "/mails",
        "--delivery",
        "async",
        "--rate",
        "100/60",
        "--rate-by",
        "address",
        "--at-once",
        "3",
        "--cors-origin",
        "https://a.example",
        "--auth",
        "github",
        "--secret",
        "hook",
    ];
    let guarded = shell.run(&asked);
    assert_eq!(guarded.code, Some(0), "{}", guarded.err);
    assert!(guarded.err.contains("mailer now answers at its routes only"), "{}", guarded.err);
    let guarded = guarded.out.trim().to_owned();
    let listed = shell.does(&["routes", "list", "demo"]);
    let line = format!(
        "POST    /mails → mailer · {guarded} · async · auth github · rate 100/60 · 3 at once · cors"
    );
    assert!(listed.contains(&line), "{listed}");
    assert!(listed.contains(&format!("GET     /mails/{{id}} → mailer · {plain}")), "{listed}");

    shell.does(&["routes", "update", &guarded, "--auth", "none", "--rate", "none"]);
    let shown: Value =
        serde_json::from_str(&shell.does(&["routes", "show", &guarded, "--json"])).unwrap();
    assert_eq!((&shown["auth"], &shown["rate_limit"]), (&json!({"mode": "none"}), &Value::Null));
    assert_eq!((&shown["delivery"], &shown["concurrency_max"]), (&json!("async"), &json!(3)));
    shell.does(&["routes", "delete", &guarded]);
    assert!(!shell.does(&["routes", "list", "demo"]).contains(&guarded));
}

#[test]
fn what_is_refused_is_said_in_the_servers_words() {
    let shell = Shell::start();
    shell.deploy_mailer();
    let nowhere = "01980000-0000-7000-8000-000000000000";
    for (arguments, said) in [
        (&["events", "list", "nowhere"][..], "there is no such app"),
        (&["events", "show", nowhere], "there is no such event"),
        (&["dead-letters", "show", nowhere], "there is no such dead"),
        (&["triggers", "show", "7"], "there is no such trigger"),
        (&["routes", "show", "7"], "there is no such route"),
        (&["routes", "create", "demo/mailer", "GET", "/a", "--at-once", "0"], "concurrency_max"),
        (&["routes", "create", "demo/mailer", "GET", "/a", "--rate", "9"], "--rate must be"),
        (&["triggers", "create", "demo/mailer", "--queue", "mails"], "queue"),
        (&["triggers", "create", "demo/mailer", "--cron", "61 * * * *"], "61"),
        (&["triggers", "create", "demo/nobody", "--queue", "q"], "has no script nobody"),
        (&["events", "send", "demo", "--queue", "q", "--data", "{"], "--data is not JSON"),
    ] {
        let error = shell.fails(1, arguments);
        assert!(error.starts_with("error: ") && error.contains(said), "{arguments:?}: {error}");
    }
    for wrong in [
        &["events", "send", "demo"][..],
        &["events", "send", "demo", "--queue", "q", "--topic", "t"],
        &["dead-letters", "replay"],
        &["dead-letters", "resolve", "--all"],
        &["triggers", "create", "demo/mailer"],
        &["dead-letters", "list", "demo", "--kind", "moon"],
        &["members", "set", "demo", "admin", "king"],
        &["triggers", "create", "demo/mailer", "--cron", "@daily", "--dst", "never"],
    ] {
        shell.fails(2, wrong);
    }
}

#[test]
fn a_key_is_made_called_with_and_revoked() {
    let shell = Shell::start();
    shell.deploy_mailer();
    let key = shell.does(&["keys", "create", "CI", "--scope", "script:read", "--app", "demo"]);
    assert!(key.starts_with("pck_") && key.len() == 89, "{key}");
    let listed = shell.does(&["keys", "list"]);
    assert!(listed.contains("CI · script:read · app demo · expires never"), "{listed}");
    assert!(!listed.contains(&key));
    let with_key = |arguments: &[&str]| {
        let variables = [("PICLOUD_API_KEY", key.as_str()), ("PICLOUD_URL", &shell.server.url)];
        picloud(shell.data.path()).args(arguments).envs(variables).output().unwrap()
    };
    let seen = with_key(&["triggers", "list", "demo"]);
    assert!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));
    let refused = with_key(&["events", "list", "demo"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lacks the scope log:read"));

    let keys: Value = serde_json::from_str(&shell.does(&["keys", "list", "--json"])).unwrap();
    shell.does(&["keys", "revoke", text(&keys[0], "id")]);
    let refused = with_key(&["triggers", "list", "demo"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("does not accept this key"));
    shell.fails(2, &["keys", "create", "CI", "--scope", "everything"]);
    shell.fails(2, &["keys", "create", "CI"]);
}

#[test]
fn a_user_is_made_given_roles_and_removed() {
    let shell = Shell::start();
    shell.deploy_mailer();
    let link = shell.does(&["users", "create", "ada"]);
    let beginning = format!("{}/invitation#", shell.server.url);
    assert!(link.starts_with(&beginning), "{link}");
    assert_ne!(shell.does(&["users", "invite", "ada"]), link);
    shell.does(&["users", "role", "ada", "editor", "--app", "demo"]);
    shell.does(&["users", "role", "ada", "admin"]);
    let listed = shell.does(&["users", "list"]);
    assert!(listed.contains("admin                owner"), "{listed}");
    assert!(listed.contains("ada                  admin   never signed in"), "{listed}");
    shell.does(&["users", "role", "ada", "none", "--app", "demo"]);
    shell.does(&["users", "disable", "ada"]);
    assert!(shell.does(&["users", "list"]).contains("disabled"));
    shell.does(&["users", "enable", "ada"]);
    shell.does(&["users", "delete", "ada"]);
    assert!(shell.fails(1, &["users", "invite", "ada"]).contains("there is no user ada"));
    assert!(shell.fails(1, &["users", "delete", "admin"]).contains("must be an owner"));
}

#[test]
fn an_endpoint_is_closed_and_opened_and_who_can_call_is_said() {
    let shell = Shell::start();
    let file = shell.data.path().join("mailer.rhai");
    std::fs::write(&file, MAILER).unwrap();
    let deploy = |more: &[&str]| {
        let said = shell.run(&[&["deploy", path(&file), "--app", "demo"], more].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
        said
    };
    let anyone = format!("anyone can call demo/mailer at {}/x/demo/mailer", shell.server.url);
    let closed = "demo/mailer has no open endpoint";
    let said = deploy(&["--no-endpoint"]);
    assert!(said.out.is_empty() && said.err.contains(closed), "{}{}", said.out, said.err);
    // Another deploy does not change the switch.
    assert!(deploy(&[]).err.contains(closed));
    let create = ["triggers", "create", "demo/mailer", "--queue", "mails"];
    assert!(!shell.run(&create).err.contains("anyone"));
    assert!(shell.run(&["scripts", "endpoint", "demo/mailer", "on"]).err.contains(&anyone));
    let said = deploy(&[]);
    assert_eq!(said.out.trim_end(), format!("{}/x/demo/mailer", shell.server.url));
    assert!(said.err.contains(&anyone), "{}", said.err);
    let create = ["triggers", "create", "demo/mailer", "--cron", "@daily"];
    assert!(shell.run(&create).err.contains(&anyone));
    assert_eq!(
        shell.does(&["scripts", "list", "--app", "demo"]),
        "mailer · version 1 · /x/demo/mailer"
    );
    assert!(shell.run(&["scripts", "endpoint", "demo/mailer", "off"]).err.contains(closed));
    assert_eq!(
        shell.does(&["scripts", "list", "--app", "demo"]),
        "mailer · version 1 · endpoint off"
    );
    // Even if the source is unchanged.
    shell.does(&["scripts", "endpoint", "demo/mailer", "on"]);
    assert!(deploy(&["--no-endpoint"]).err.contains(closed));
    shell.fails(2, &["scripts", "endpoint", "demo/mailer", "maybe"]);
}

#[test]
fn a_domain_is_claimed_approved_and_released() {
    let shell = Shell::start();
    shell.deploy_mailer();
    fn domains<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [&["domains"], arguments, &["--app", "demo"]].concat()
    }
    let claimed = shell.does(&domains(&["claim", "Shop.Example"]));
    assert!(claimed.starts_with("shop.example · pending · "), "{claimed}");
    assert!(claimed.contains("_picloud.shop.example TXT \"picloud-verification="), "{claimed}");
    assert_eq!(shell.does(&domains(&["list"])), claimed);
    let approved = shell.does(&domains(&["approve", "shop.example"]));
    assert!(approved.starts_with("shop.example · served · "), "{approved}");
    assert!(approved.ends_with(" by owner"), "{approved}");
    let refused = shell.fails(1, &domains(&["claim", "localhost"]));
    assert!(refused.contains("is a host of PiCloud itself"), "{refused}");
    shell.does(&domains(&["release", "shop.example"]));
    assert_eq!(shell.does(&domains(&["list"])), "");
}
