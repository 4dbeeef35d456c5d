//! Writes the signature of a function in the terms of Rhai.

/// Returns the name that scripts use for a Rust type; `None` if any value is accepted.
pub(crate) fn kind(rust: &str) -> Option<&str> {
    let rust = rust.trim_start_matches("&mut ").trim_start_matches('&');
    let rust = match rust.strip_prefix("Result<") {
        Some(result) => result.split(", Box<").next().unwrap_or(result),
        None => rust,
    };
    match rust {
        "str" | "String" | "ImmutableString" => Some("text"),
        "i64" => Some("int"),
        "f64" => Some("float"),
        "Map" => Some("object"),
        "Array" => Some("array"),
        "Blob" => Some("blob"),
        "FnPtr" => Some("closure"),
        "Range<i64>" | "RangeInclusive<i64>" => Some("range"),
        "Dynamic" => None,
        other => Some(other),
    }
}

/// `set(key: text, value) -> bool`; a function without a result has no arrow.
pub(crate) fn signature(name: &str, parameters: &[(&str, &str)], answer: &str) -> String {
    let parameters: Vec<_> = parameters
        .iter()
        .map(|(name, rust)| match kind(rust) {
            Some(kind) => format!("{name}: {kind}"),
            None => (*name).to_owned(),
        })
        .collect();
    let parameters = parameters.join(", ");
    match kind(answer).unwrap_or("any") {
        "" | "()" => format!("{name}({parameters})"),
        answer => format!("{name}({parameters}) -> {answer}"),
    }
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn a_signature_is_in_the_words_of_scripts() {
        let cases = [
            (signature("now", &[], "Result<i64, Box<EvalAltResult>>"), "now() -> int"),
            (
                signature("set", &[("key", "&str"), ("value", "Dynamic")], "bool"),
                "set(key: text, value) -> bool",
            ),
            (signature("call", &[("script", "&str")], "Dynamic"), "call(script: text) -> any"),
            (signature("put", &[], "Result<(), Box<EvalAltResult>>"), "put()"),
            (signature("push", &[("item", "Dynamic")], ""), "push(item)"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }
}
