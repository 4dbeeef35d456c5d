//! The interpreter's metadata about its functions.

use std::collections::BTreeMap;

use rhai::Engine;
use serde::Deserialize;

use crate::signature::{kind, signature};
use crate::{Error, Form, Function};

/// The types whose methods are functions of Rhai.
const VALUES: [&str; 8] = ["array", "blob", "char", "closure", "float", "int", "object", "range"];
/// Functions that are not written as methods, although their first parameter is a value.
const PLAIN: [&str; 6] = ["blob", "debug", "max", "min", "print", "range"];
/// Functions that exist only for this package, or always fail.
const LEFT_OUT: [&str; 2] = ["get_fn_metadata_list", "sleep"];
/// The number types that scripts do not have: literals are `i64` and `f64`.
const FOREIGN_NUMBERS: [&str; 11] =
    ["i8", "u8", "i16", "u16", "i32", "u32", "u64", "i128", "u128", "f32", "usize"];

#[derive(Deserialize)]
pub(crate) struct Metadata {
    modules: BTreeMap<String, Listed>,
    functions: Vec<Known>,
}

#[derive(Deserialize)]
struct Listed {
    functions: Vec<Known>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    namespace: String,
    name: String,
    #[serde(default)]
    params: Vec<Parameter>,
    #[serde(default)]
    return_type: String,
    #[serde(default)]
    doc_comments: Vec<String>,
}

#[derive(Deserialize)]
struct Parameter {
    name: Option<String>,
    #[serde(rename = "type")]
    rust: Option<String>,
}

impl Metadata {
    /// # Errors
    /// Fails if Rhai's format differs from the one read here.
    pub(crate) fn of(engine: &Engine) -> Result<Self, Error> {
        Ok(serde_json::from_str(&engine.gen_fn_metadata_to_json(true)?)?)
    }

    pub(crate) fn module_names(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// Returns the functions of all services. A `global` one is a method of its first parameter.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let of_module = |(module, listed): (&String, &Listed)| {
            let forms = listed.functions.iter().map(|known| {
                let of = (known.namespace == "global").then(|| known.first_kind()).flatten();
                let path = if of.is_none() { format!("{module}::") } else { String::new() };
                (of.map(str::to_owned), known.name.clone(), known.form(&path, of.is_some()))
            });
            grouped(Some(module), forms.collect())
        };
        self.modules.iter().flat_map(of_module).collect()
    }

    /// Returns Rhai's own functions, each with the first paragraph of its doc comment.
    pub(crate) fn standard(&self) -> Vec<Function> {
        let forms = self.functions.iter().filter(|known| known.is_for_scripts()).map(|known| {
            let plain = PLAIN.contains(&known.name.as_str());
            let of = known.first_kind().filter(|kind| !plain && is_value(kind));
            (of.map(str::to_owned), known.name.clone(), known.form("", of.is_some()))
        });
        grouped(None, forms.collect())
    }
}

fn is_value(kind: &str) -> bool {
    kind == "text" || VALUES.contains(&kind)
}

impl Known {
    /// Returns the type of the first parameter, if it requires one.
    fn first_kind(&self) -> Option<&str> {
        kind(self.params.first()?.rust.as_deref()?)
    }

    fn is_for_scripts(&self) -> bool {
        let word = |name: &str| name.starts_with(|first: char| first.is_ascii_lowercase());
        let foreign = |parameter: &Parameter| {
            let rust = parameter.rust.as_deref().unwrap_or("");
            FOREIGN_NUMBERS.iter().any(|number| rust.contains(number))
        };
        word(&self.name)
            && !self.name.contains('$')
            && !LEFT_OUT.contains(&self.name.as_str())
            && !self.doc_comments.is_empty()
            && !self.doc_comments.concat().contains("Deprecated API")
            && !self.params.iter().any(foreign)
    }

    fn form(&self, path: &str, is_method: bool) -> Form {
        let known = self.params.iter().skip(usize::from(is_method)).map(|parameter| {
            let rust = parameter.rust.as_deref().unwrap_or("Dynamic");
            (parameter.name.as_deref().unwrap_or("_"), rust)
        });
        let known: Vec<_> = known.collect();
        Form {
            signature: signature(&format!("{path}{}", self.name), &known, &self.return_type),
            parameters: known.iter().map(|(name, _)| (*name).to_owned()).collect(),
            doc: first_paragraph(&self.doc_comments.join("\n")),
        }
    }
}

/// Removes the slashes and joins the lines.
fn first_paragraph(comment: &str) -> String {
    let lines = comment.lines().map(|line| line.trim_start().trim_start_matches("///").trim());
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Groups the forms by name, in order of the names and from short to long.
fn grouped(module: Option<&String>, forms: Vec<(Option<String>, String, Form)>) -> Vec<Function> {
    let mut by_name: BTreeMap<(Option<String>, String), Vec<Form>> = BTreeMap::new();
    for (of, name, form) in forms {
        by_name.entry((of, name)).or_default().push(form);
    }
    let function = |((of, name), mut forms): ((Option<String>, String), Vec<Form>)| {
        // The interpreter stores them in the order of their hashes, which differs between builds.
        // If two have the same signature, their text decides the order.
        let key = |form: &Form| (form.parameters.len(), form.signature.clone(), form.doc.clone());
        forms.sort_by_cached_key(key);
        forms.dedup_by(|later, first| later.signature == first.signature);
        Function { module: module.cloned(), of, name, forms }
    };
    by_name.into_iter().map(function).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_functions_that_are_written_alike_always_the_same_is_shown() {
        let form = |doc: &str| Form {
            signature: "extract(range: range)".to_owned(),
            parameters: vec!["range".to_owned()],
            doc: doc.to_owned(),
        };
        let shown = |docs: [&str; 2]| {
            let forms = docs.map(|doc| (None, "extract".to_owned(), form(doc)));
            grouped(None, forms.to_vec())
        };
        let one = shown(["an exclusive range", "an inclusive range"]);
        assert_eq!(one, shown(["an inclusive range", "an exclusive range"]));
        assert_eq!(one[0].forms, [form("an exclusive range")]);
    }
}
