//! Tests the commands that the documentation names.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use super::Command;
use super::tests::commands;

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_owned()
}

/// Returns the user documentation, with file names.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec![root().join("README.md")];
    for folder in [root().join("docs"), root().join("examples")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            paths.push(if path.is_dir() { path.join("README.md") } else { path });
        }
    }
    let is_document = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let texts = paths
        .into_iter()
        .filter(is_document)
        .filter_map(|path| Some((path.display().to_string(), fs::read_to_string(&path).ok()?)));
    texts.collect()
}

/// Splits the first command of a line into words as a shell does, without comments, pipes and
/// redirections.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut depth) = (Vec::new(), String::new(), None, 0);
    let mut is_word = false;
    for c in line.chars() {
        match (c, quote) {
            (_, Some(open)) if c == open => quote = None,
            (_, Some(_)) => word.push(c),
            ('\'' | '"', None) => (quote, is_word) = (Some(c), true),
            ('(' | ')', None) => {
                depth += if c == '(' { 1 } else { -1 };
                word.push(c);
            }
            (' ', None) if depth == 0 => {
                if is_word || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            ('#' | '|' | '>' | '<' | ';' | '&', None) if depth == 0 && word.is_empty() => break,
            _ => word.push(c),
        }
    }
    if is_word || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Returns the commands in a document's shell examples.
fn examples(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for block in text.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default().replace("\\\n", " ");
        for line in block.lines() {
            let mut words = words(line.trim());
            // Variables set for this one command.
            let is_variable = |word: &String| {
                word.split_once('=').is_some_and(|(name, _)| {
                    name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                })
            };
            while words.first().is_some_and(is_variable) {
                words.remove(0);
            }
            if words.first().is_some_and(|word| word == "picloud" || word == "as_picloud") {
                found.push(words);
            }
        }
    }
    found
}

/// Returns the commands that a text mentions inline, like `picloud logs --follow`.
fn mentions(text: &str) -> Vec<Vec<String>> {
    let inline = text.split('`').filter(|part| part.starts_with("picloud "));
    inline
        .filter(|part| !part.contains("\n\n"))
        .map(|part| words(&part.replace('\n', " ")))
        .collect()
}

/// Returns why a mentioned command does not exist.
fn missing(words: &[String]) -> Option<String> {
    let mut command = &Command::command();
    let root = command.clone();
    command = &root;
    let mut is_named = true;
    for word in &words[1..] {
        if let Some(option) = word.strip_prefix("--") {
            let option = option.split('=').next().unwrap_or_default();
            let mut options = command.get_arguments().filter_map(|argument| argument.get_long());
            if !["help", "version"].contains(&option) && !options.any(|long| long == option) {
                return Some(format!("{} has no --{option}", command.get_name()));
            }
        } else if is_named && command.has_subcommands() && word.chars().all(char::is_lowercase) {
            match command.find_subcommand(word) {
                Some(found) => command = found,
                None if command.is_subcommand_required_set() => {
                    return Some(format!("{} has no {word}", command.get_name()));
                }
                None => is_named = false,
            }
        } else if is_named && let Some(found) = command.find_subcommand(word) {
            command = found;
        } else {
            is_named = false;
        }
    }
    None
}

#[test]
fn every_documented_command_line_is_accepted() {
    let mut count = 0;
    for (document, text) in documents() {
        for example in examples(&text) {
            count += 1;
            if let Err(error) = Command::try_parse_from(&example)
                && error.use_stderr()
            {
                panic!("{document}: {}\n{error}", example.join(" "));
            }
        }
        for mention in mentions(&text) {
            count += 1;
            let missing = missing(&mention);
            assert_eq!(missing, None, "{document}: {}", mention.join(" "));
        }
    }
    assert!(count > 150, "{count} commands were found");
}

#[test]
fn a_command_that_does_not_exist_is_noticed() {
    let missing = |line: &str| missing(&words(line));
    assert_eq!(missing("picloud logs APP/SCRIPT --follow"), None);
    assert_eq!(missing("picloud kv list"), None);
    assert!(missing("picloud frobnicate").is_some());
    assert!(missing("picloud kv frobnicate").is_some());
    assert!(missing("picloud logs --frobnicate").is_some());
    let line = words("picloud kv set a/b 'a key' --data \"{}\" # sets it");
    assert_eq!(line[4..], ["a key", "--data", "{}"]);
}

#[test]
fn every_command_is_in_the_reference() {
    let reference = fs::read_to_string(root().join("docs/command-line.md")).unwrap();
    for (name, command) in commands(&Command::command(), "") {
        assert!(command.is_hide_set() || reference.contains(&name), "{name}");
    }
}
