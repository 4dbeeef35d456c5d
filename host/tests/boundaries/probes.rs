//! Finds code that reads a `serde_json::Value` by the names of its members, instead of by a type.
//!
//! Scans tokens, because most such code is in the arguments of macros like `format!`. Ignores tests
//! inside the sources (`#[cfg(test)]`).

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The methods that only a `Value` has.
const METHODS: [&str; 21] = [
    "as_array",
    "as_array_mut",
    "as_bool",
    "as_f64",
    "as_i64",
    "as_null",
    "as_number",
    "as_object",
    "as_object_mut",
    "as_u64",
    "is_array",
    "is_boolean",
    "is_f64",
    "is_i64",
    "is_null",
    "is_number",
    "is_object",
    "is_string",
    "is_u64",
    "pointer",
    "pointer_mut",
];
/// The methods of many types that read a `Value` too, if their argument is a text.
const BY_NAME: [&str; 2] = ["get", "get_mut"];
/// The methods of many types that read a `Value` too, on the content of a wrapper: `payload.0`.
const OF_CONTENT: [&str; 2] = ["as_str", "take"];
/// The words that can precede an array. Other words precede an index.
const KEYWORDS: [&str; 9] = ["as", "break", "else", "if", "in", "match", "move", "mut", "return"];

/// Returns every place in `code` that reads a member or the type of a `Value`.
///
/// # Panics
/// If the code is not Rust.
pub fn probes(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    scan(code.parse().unwrap(), &mut found);
    found
}

/// Whether `code` names a type or a value `word`.
///
/// # Panics
/// If the code is not Rust.
pub fn has_word(code: &str, word: &str) -> bool {
    fn is_in(tokens: TokenStream, word: &str) -> bool {
        without_tests(tokens).into_iter().any(|token| match token {
            TokenTree::Ident(name) => name == word,
            TokenTree::Group(group) => is_in(group.stream(), word),
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        })
    }
    is_in(code.parse().unwrap(), word)
}

fn scan(tokens: TokenStream, found: &mut Vec<String>) {
    let tokens = without_tests(tokens);
    for (place, token) in tokens.iter().enumerate() {
        let before = &tokens[..place];
        match token {
            TokenTree::Group(group) => {
                if is_index(group, before) || is_call(group, before) {
                    let from = place.saturating_sub(3);
                    let shown = tokens[from..=place].iter().map(ToString::to_string);
                    found.push(shown.collect());
                }
                scan(group.stream(), found);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Whether it is `["…"]` after a value.
fn is_index(group: &Group, before: &[TokenTree]) -> bool {
    let follows_value = match before.last() {
        Some(TokenTree::Ident(name)) => !KEYWORDS.contains(&&*name.to_string()),
        Some(TokenTree::Group(other)) => {
            // An attribute can precede an array: `#[…] ["…"]`.
            let is_attribute = other.delimiter() == Delimiter::Bracket
                && matches!(before, [.., TokenTree::Punct(mark), _] if mark.as_char() == '#');
            other.delimiter() != Delimiter::Brace && !is_attribute
        }
        Some(TokenTree::Punct(mark)) => mark.as_char() == '?',
        Some(TokenTree::Literal(_)) => true,
        None => false,
    };
    let alone = group.stream().into_iter().count() == 1;
    group.delimiter() == Delimiter::Bracket && alone && starts_with_text(group) && follows_value
}

/// Whether these are the arguments of a method that reads a `Value`.
fn is_call(arguments: &Group, before: &[TokenTree]) -> bool {
    if arguments.delimiter() != Delimiter::Parenthesis {
        return false;
    }
    let [before @ .., TokenTree::Punct(dot), TokenTree::Ident(name)] = before else { return false };
    let (is_method, name) = (dot.as_char() == '.', name.to_string());
    let of_content =
        matches!(before.last(), Some(TokenTree::Literal(field)) if field.to_string() == "0");
    is_method
        && (METHODS.contains(&&*name)
            || (BY_NAME.contains(&&*name) && starts_with_text(arguments))
            || (OF_CONTENT.contains(&&*name) && of_content))
}

fn starts_with_text(group: &Group) -> bool {
    let first = group.stream().into_iter().next();
    matches!(first, Some(TokenTree::Literal(text)) if text.to_string().starts_with(['"', 'r']))
}

/// Returns the tokens without the items that are for tests.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut in_test = false;
    for token in tokens {
        match &token {
            TokenTree::Group(group) if group.stream().to_string() == "cfg (test)" => {
                kept.pop();
                in_test = true;
                continue;
            }
            // The end of the item.
            TokenTree::Group(group) if in_test && group.delimiter() == Delimiter::Brace => {
                in_test = false;
                continue;
            }
            TokenTree::Punct(mark) if in_test && mark.as_char() == ';' => {
                in_test = false;
                continue;
            }
            _ if in_test => continue,
            _ => kept.push(token),
        }
    }
    kept
}
