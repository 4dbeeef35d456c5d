//! Secrets set by the command line, and a master key that is replaced between two starts.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use picloud::secrets::KEY_FILE;
use serde_json::json;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::server::{OWNER_KEY, Server, picloud};

/// Runs a command with this standard input. Returns its output and exit code.
fn run(data: &Path, url: &str, arguments: &[&str], input: &str) -> (String, String, Option<i32>) {
    let mut process = picloud(data)
        .args(arguments)
        .envs([("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_URL", url)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code())
}

#[tokio::test]
async fn a_secret_is_set_by_the_command_line_and_outlives_its_master_key() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let key_file = data.path().join(KEY_FILE);
    let server = Server::start(data.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    server.create("/apps", json!({"name": "shop"})).await.unwrap();
    let source = r#"if secrets::get("TOKEN") == "v4lue" { 1 } else { throw "another" }"#;
    let script = json!({"name": "read", "source": source});
    server.create("/apps/shop/scripts", script).await.unwrap();

    let on_server = |arguments: &[&str], input: &str| {
        let (out, err, code) = run(data.path(), &server.url, arguments, input);
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
        assert!(!format!("{out}{err}").contains("v4lue"), "{out}{err}");
        out
    };
    on_server(&["secrets", "set", "TOKEN", "--app", "shop"], "v4lue\n");
    on_server(&["secrets", "set", "OTHER", "--app", "shop"], "x");
    let list = on_server(&["secrets", "list", "--app", "shop"], "");
    assert!(list.starts_with("OTHER · version 1 · set at "), "{list}");
    assert!(list.contains("\nTOKEN · version 1"), "{list}");
    on_server(&["secrets", "delete", "OTHER", "--app", "shop"], "");
    let (_, err, code) =
        run(data.path(), &server.url, &["secrets", "delete", "OTHER", "--app", "shop"], "");
    assert_eq!((code, err.as_str()), (Some(1), "error: there is no such secret\n"));
    assert_eq!(server.call("/x/shop/read").await.unwrap().0, 200);
    assert_eq!(server.stop(), Some(0));

    let before = std::fs::read_to_string(&key_file).unwrap();
    let (id, err, code) = run(data.path(), "", &["master-key", "rotate"], "");
    assert_eq!((id.trim().len(), code), (16, Some(0)), "{err}");
    let after = std::fs::read_to_string(&key_file).unwrap();
    assert_ne!(before, after);
    assert!(!format!("{id}{err}").contains(after.trim()), "{err}");
    let server = Server::start(data.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    assert_eq!(server.call("/x/shop/read").await.unwrap().0, 200);
    assert_eq!(server.stop(), Some(0));

    // A key file that others can read, a different key, and no key.
    let refused = |reason: &str| {
        let (_, err, code) = run(data.path(), "", &["serve"], "");
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(reason), "{err}");
    };
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused("is accessible to users other than its owner (mode 0644)");
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&key_file, before).unwrap();
    refused("the database has secrets under the master key");
    std::fs::write(&key_file, "short").unwrap();
    refused("is damaged");
    std::fs::remove_file(&key_file).unwrap();
    refused("there is neither PICLOUD_MASTER_KEY nor");
    assert!(!key_file.exists(), "no other key takes its place");
}
