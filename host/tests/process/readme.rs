//! Runs the README's shell blocks literally and in order.
//!
//! Only the address differs, because another server may use port 8080. A block that cannot run here
//! has the comment `<!-- not run: … -->` before it, with the reason, and is checked in another way.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::compiled_guest;
use crate::server::{Server, picloud};

/// The address that the pages name.
pub(crate) const ADDRESS: &str = "127.0.0.1:8080";

/// A fenced code block.
pub(crate) struct Block<'a> {
    pub(crate) language: &'a str,
    pub(crate) text: &'a str,
    /// The paragraph before it.
    pub(crate) before: &'a str,
}

/// Returns the folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the code blocks of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut parts = page.split("```");
    let mut outside = parts.next().unwrap_or_default();
    while let (Some(inside), Some(next)) = (parts.next(), parts.next()) {
        let (language, text) = inside.split_once('\n').expect("a language and a text");
        let before = outside.trim_end().rsplit("\n\n").next().unwrap_or_default();
        found.push(Block { language, text, before });
        outside = next;
    }
    found
}

/// Returns the file that a paragraph names, as `` `greet.rhai` ``.
fn named_file(paragraph: &str) -> &str {
    let mut names = paragraph.split('`').filter(|name| name.ends_with(".rhai"));
    names.next().expect("the name of a file before its text")
}

/// Returns the expected output after each `# prints`.
fn promises(script: &str) -> Vec<&str> {
    let lines = script.lines().filter_map(|line| line.split_once("# prints "));
    lines.map(|(_, promise)| promise.trim()).collect()
}

#[test]
fn the_readme_runs_as_it_is_written() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let scratch = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let release = scratch.path().join("target/release");
    fs::create_dir_all(&release).unwrap();
    symlink(env!("CARGO_BIN_EXE_picloud"), release.join("picloud")).unwrap();

    // `make run` serves the sample on a new data folder.
    let data = scratch.path().join("data");
    fs::create_dir(&data).unwrap();
    compiled_guest::place(&data);
    let server = Server::spawn_with(picloud(&data), &["--sample"]);
    let greeting = server.greeting.join("\n");
    let key = greeting.split_whitespace().find(|word| word.starts_with("pco_"));
    let address = server.url.strip_prefix("http://").unwrap();

    let mut script = String::from("set -e\nshopt -s expand_aliases\n");
    let mut promised = Vec::new();
    let mut runs = 0;
    for block in blocks(&page) {
        match block.language {
            "sh" if block.before.starts_with("<!-- not run: ") => {
                let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
                for line in block.text.lines() {
                    let target = line.strip_prefix("make ").expect("a target of the Makefile");
                    let target = target.split_whitespace().next().unwrap();
                    assert!(makefile.contains(&format!("\n{target}:")), "{line}");
                }
            }
            "sh" => {
                runs += 1;
                script += block.text;
                promised.extend(promises(block.text));
            }
            "rhai" => {
                fs::write(scratch.path().join(named_file(block.before)), block.text).unwrap();
            }
            "json" => promised.push(block.text.trim()),
            other => panic!("a block of the language {other:?}"),
        }
    }
    assert!(runs >= 5, "the README has lost its commands");

    let mut shell = Command::new("bash")
        .args(["-c", &script.replace(ADDRESS, address)])
        .current_dir(scratch.path())
        .env_remove("PICLOUD_OWNER_KEY")
        .env("PICLOUD_URL", &server.url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    writeln!(stdin, "{}", key.expect("an owner key, which the first start prints")).unwrap();
    drop(stdin);
    let output = shell.wait_with_output().unwrap();
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{errors}");
    for promise in promised {
        let promise = promise.replace(ADDRESS, address);
        assert!(told.contains(&promise), "{promise} is not in\n{told}\n{errors}");
    }
    assert_eq!(server.stop(), Some(0));
}

/// Returns every page: those of the root, of `docs/`, `docs/decisions/` and the examples.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut open = ["docs", "examples"].map(|folder| root().join(folder)).to_vec();
    for name in ["README.md", "SECURITY.md", "CHANGELOG.md"] {
        pages.push(root().join(name));
    }
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// Returns the text outside of code blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let text: String = heading.trim().to_lowercase().chars().filter(kept).collect();
    text.replace(' ', "-")
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let (mut broken, mut links) = (Vec::new(), 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for part in prose(&text).split("](").skip(1) {
            let link = part.split(')').next().unwrap_or_default();
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let has_heading = || {
                let text = fs::read_to_string(&target).unwrap();
                let headings = prose(&text);
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                headings.any(|line| anchor(line.trim_start_matches('#')) == heading)
            };
            if !target.exists() || !(heading.is_empty() || has_heading()) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(links > 50, "{links}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
