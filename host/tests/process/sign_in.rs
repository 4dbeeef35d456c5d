//! Log lines of failed sign-ins and the fail2ban filter for them; one server at a time.

use std::fs::{self, File};

use regex::Regex;
use serde_json::json;

use crate::server::{OWNER_KEY, Server, picloud};
use crate::start::data;

const FILTER: &str = include_str!("../../../packaging/fail2ban/picloud.conf");

/// Returns the filter's expressions, with fail2ban's meaning of `<ADDR>`.
fn expressions() -> Vec<Regex> {
    let lines = FILTER.lines().map(|line| line.trim_start_matches("failregex =").trim());
    let lines = lines.filter(|line| line.starts_with('^'));
    lines
        .map(|line| Regex::new(&line.replace("<ADDR>", "(?P<addr>[0-9a-fA-F.:]+)")).unwrap())
        .collect()
}

#[tokio::test]
async fn every_failed_sign_in_is_one_line_that_the_filter_reads() {
    let hostile = "x\" sign-in failed address=198.51.100.9 name=\"\n{\"timestamp\":\"\",\"level\":\"WARN\",\"message\":\"sign-in failed\",\"address\":\"198.51.100.9\",\"name\":\"";
    for format in ["text", "json"] {
        let data = data();
        let log = data.path().join("server.log");
        let mut command = picloud(data.path());
        command.env("PICLOUD_OWNER_KEY", OWNER_KEY).env("PICLOUD_LOG_FORMAT", format);
        command.env("PICLOUD_ADMIN_PASSWORD", "password of the tests");
        let server = Server::spawn({
            command.stderr(File::create(&log).unwrap());
            command
        });
        let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        let sign_in = |name: &str, password: &str| {
            let call = http.post(format!("{}/api/v1/auth/login", server.url));
            let call = call.header("x-forwarded-for", "203.0.113.7");
            call.json(&json!({"name": name, "password": password})).send()
        };
        for name in ["admin", hostile] {
            assert_eq!(sign_in(name, "wrong password").await.unwrap().status(), 401);
        }
        assert_eq!(sign_in("admin", "password of the tests").await.unwrap().status(), 200);
        assert_eq!(server.stop(), Some(0));
        let text = fs::read_to_string(&log).unwrap();
        let found: Vec<_> = text
            .lines()
            .filter_map(|line| {
                expressions().iter().find_map(|e| e.captures(line)).map(|c| c["addr"].to_owned())
            })
            .collect();
        assert_eq!(found, ["203.0.113.7", "203.0.113.7"], "{format}: {text}");
    }
}

#[test]
fn a_second_server_on_one_sqlite_database_is_refused() {
    let data = data();
    let first = Server::start(data.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    let mut second = picloud(data.path());
    let second = second.arg("serve").env("PICLOUD_LISTEN", "127.0.0.1:0").output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another server uses the database"), "{said}");
    // Commands that work on the data beside a running server still work.
    let backup = data.path().join("backup");
    let made = picloud(data.path())
        .arg("backup")
        .arg("--without-master-key")
        .arg(&backup)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&made.stderr);
    assert_eq!(made.status.code(), Some(0), "{told}");
    assert!(told.contains("the master key is not in the backup"), "{told}");
    assert!(data.path().join("master.key").exists() && !backup.join("master.key").exists());
    // After the server has ended, even by a kill, the next one can start.
    let mut first = first;
    first.kill();
    drop(first);
    drop(Server::start(data.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]));
}

#[test]
fn a_data_folder_that_others_can_read_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    let data = data();
    let mode = || fs::metadata(data.path()).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(data.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    assert_eq!(mode(), 0o700);
    let of =
        |name: &str| fs::metadata(data.path().join(name)).unwrap().permissions().mode() & 0o077;
    assert_eq!((of("picloud.db"), of("picloud.db-wal"), of("master.key")), (0, 0, 0));
    drop(server);
}

#[test]
fn a_new_owner_key_that_is_short_stops_the_start() {
    let data = data();
    let mut command = picloud(data.path());
    command
        .arg("serve")
        .env("PICLOUD_LISTEN", "127.0.0.1:0")
        .env("PICLOUD_OWNER_KEY", "0123456789abcdef");
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("at least 32") && said.contains("openssl rand"), "{said}");
}
