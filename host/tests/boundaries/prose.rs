//! Plain English: phrases that comments, documentation and help texts must not contain.
//!
//! The list has the phrases that made this project's prose read like a translation. It is a floor:
//! a text without them can still be hard to read.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::root;

/// A phrase, as a regular expression over one sentence, and the way to say it.
const BANNED: &[(&str, &str)] = &[
    (r"^What [^?]*$", "say what the item is or does"),
    (r"\b[Ww]ho(m)?ever\b", "the caller, the user, the process that"),
    (r"\b[Ss]o many\b", "N, the number of"),
    (r"\b[Aa]s many as\b[^.]*\bmay\b", "at most N"),
    (r"\b(is|are|was|were) none\b", "does not exist"),
    (r"\bmay (no more|everything|nothing|more|all)\b", "can …"),
    (r"\b(to|can|could|may) be had\b", "available"),
    (r"\bin hand\b", "in progress, claimed"),
    (r"\b(is|are|was|were|has|have) gone\b", "deleted, expired, disconnected"),
    (r"\b[Hh]owever many\b", "any number of"),
    (r"\b(comes?|came) to nothing\b", "fails"),
    (r"\bwhat \w+( \w+)? (has |have )?(come|came|comes) to\b", "the result"),
    (r"\b(becomes?|became) of\b", "the result, the state"),
    (r"\b[Ww]hat of\b", "the part of … that"),
    (r"\bnobody knows\b", "unknown"),
    (r"\bby now\b", "now, already"),
    (r"\bhas not the\b", "lacks the"),
];

/// The folders and files with our prose.
const PLACES: &[&str] = &[
    "host",
    "guest",
    "shared",
    "benches",
    "dashboard/src",
    "dashboard/e2e",
    "docs",
    "examples",
    "packaging",
    "caddy",
    ".ci",
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "Makefile",
    "Dockerfile",
];

/// Returns the files with prose at or below a path.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let skipped = ["node_modules", "target", "schema.ts", "openapi.json", "functions.json"];
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let kept = |path: &PathBuf| !skipped.iter().any(|name| path.ends_with(name));
    let ends = ["rs", "rhai", "md", "ts", "svelte", "sh", "toml", "yml", "css", "service", "env"];
    let has_prose = |path: &PathBuf| {
        let end = path.extension().and_then(|end| end.to_str());
        path.is_file() && end.is_none_or(|end| ends.contains(&end))
    };
    let all = entries.filter(kept).flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    });
    all.filter(has_prose).collect()
}

/// Returns the comment in a line of code, or a line of Markdown outside of code.
fn prose_of(line: &str, is_markdown: bool) -> Option<&str> {
    let line = line.trim();
    if is_markdown {
        return Some(line.trim_start_matches(['#', '>', ' ']));
    }
    let marks = ["///", "//!", "//", "#", "/**", "/*", "*", "<!--", "--"];
    let mark = marks.iter().find(|mark| line.starts_with(**mark))?;
    Some(line[mark.len()..].trim_end_matches("*/").trim_end_matches("-->").trim())
}

/// Returns the sentences of a file with the number of the line that each paragraph starts on.
fn sentences(text: &str, is_markdown: bool) -> Vec<(usize, String)> {
    let (mut found, mut paragraph, mut start, mut fenced) = (Vec::new(), String::new(), 0, false);
    for (number, line) in text.lines().chain([""]).enumerate() {
        let prose = prose_of(line, is_markdown);
        let is_fence = prose.is_some_and(|prose| prose.starts_with("```"));
        fenced ^= is_fence;
        let part = prose.filter(|part| !part.is_empty() && !fenced && !is_fence);
        let is_item = part.is_some_and(|part| part.starts_with(['-', '*', '|']));
        if (part.is_none() || is_item) && !paragraph.is_empty() {
            let ends = paragraph.replace(". ", ".\n").replace(": ", ":\n").replace("? ", "?\n");
            found.extend(ends.lines().map(|sentence| (start, sentence.to_owned())));
            paragraph.clear();
        }
        if let Some(part) = part {
            start = if paragraph.is_empty() { number + 1 } else { start };
            paragraph += if paragraph.is_empty() { "" } else { " " };
            paragraph += part.trim_start_matches(['-', '*', '|', ' ']);
        }
    }
    found
}

/// Returns the banned phrase in a sentence, and the way to say it.
fn banned(sentence: &str, phrases: &[(Regex, &str)]) -> Option<String> {
    let (phrase, instead) = phrases.iter().find(|(phrase, _)| phrase.is_match(sentence))?;
    let found = phrase.find(sentence)?.as_str();
    Some(format!("{found:?} (rather: {instead}): {sentence}"))
}

fn phrases() -> Vec<(Regex, &'static str)> {
    BANNED.iter().map(|(phrase, instead)| (Regex::new(phrase).unwrap(), *instead)).collect()
}

#[test]
fn the_prose_is_plain_english() {
    let phrases = phrases();
    let (mut found, mut read) = (Vec::new(), 0);
    for path in PLACES.iter().flat_map(|place| files(&root().join(place))) {
        // This file contains the list.
        if path.ends_with("boundaries/prose.rs") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let is_markdown = path.extension().is_some_and(|end| end == "md");
        for (line, sentence) in sentences(&text, is_markdown) {
            read += 1;
            let place = path.strip_prefix(root()).unwrap().display();
            found.extend(banned(&sentence, &phrases).map(|said| format!("{place}:{line}: {said}")));
        }
    }
    assert!(read > 5_000, "only {read} sentences were read");
    assert!(found.is_empty(), "{} phrases:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_banned_phrase_is_found() {
    let phrases = phrases();
    let text = "/// Returns a row. What is gone\n/// stays.\nlet x = 1;\n// Fine: so many rows.\n";
    let found: Vec<_> = sentences(text, false)
        .into_iter()
        .filter_map(|(line, sentence)| banned(&sentence, &phrases).map(|_| line))
        .collect();
    assert_eq!(found, [1, 4]);
    assert_eq!(banned("What is a script?", &phrases), None);
    assert!(sentences("```sh\n# so many\n```\n", true).is_empty());
}
