//! The functions and values that a script can use, as data: `docs/functions.json`. The dashboard's
//! editor uses it for completion and help.
//!
//! ```text
//! metadata   reads the interpreter's metadata about its functions
//! signature  writes a function's signature in the terms of Rhai
//! context    the members of `ctx`, from the scripting guide
//! ```
//!
//! Invariant: all text here comes from its one source: of a function from its doc comment, of a
//! service from the head of its file, of `ctx` from the guide.

mod context;
mod metadata;
mod signature;

use std::fs;
use std::path::Path;

use serde::Serialize;

pub use context::Member;

/// The guest's sources and the guide, relative to this package.
const API: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/api");
const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scripting.md");

/// A file that cannot be read, or metadata in an unknown format.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Everything that a script can use.
#[derive(Debug, Serialize)]
pub struct Reference {
    /// The services.
    pub modules: Vec<Module>,
    /// The functions of the services.
    pub functions: Vec<Function>,
    /// The functions of Rhai itself.
    pub standard: Vec<Function>,
    /// `ctx` and its members.
    pub context: Vec<Member>,
}

/// A service.
#[derive(Debug, Serialize)]
pub struct Module {
    /// Its name: `kv`.
    pub name: String,
    /// Its description.
    pub doc: String,
}

/// A function, or a method of a value, with all its forms.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Function {
    /// The service that it belongs to; `None` for Rhai's own functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The type of value that it is a method of: `Collection`, `array`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Its name.
    pub name: String,
    /// The ways to call it, the shortest first.
    pub forms: Vec<Form>,
}

/// One way to call a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Form {
    /// The signature in the terms of Rhai: `kv::collection(name: text) -> Collection`.
    pub signature: String,
    /// The names of its parameters.
    pub parameters: Vec<String>,
    /// Its description.
    pub doc: String,
}

/// Collects the reference.
///
/// # Errors
/// Fails if a source or the guide cannot be read.
pub fn reference() -> Result<Reference, Error> {
    let metadata = metadata::Metadata::of(&picloud_guest::engine::build())?;
    let modules = metadata.module_names().map(module).collect::<Result<_, _>>()?;
    Ok(Reference {
        modules,
        functions: metadata.functions(),
        standard: metadata.standard(),
        context: context::members(&fs::read_to_string(GUIDE)?),
    })
}

/// Returns a service. Its description is the first paragraph of its file, after the name.
fn module(name: &str) -> Result<Module, Error> {
    let source = fs::read_to_string(Path::new(API).join(format!("{name}.rs")))?;
    let head = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head: Vec<_> = head.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let head = head.join(" ");
    let doc = head.split_once(": ").map_or("", |(_, doc)| doc);
    Ok(Module { name: name.to_owned(), doc: sentence(doc) })
}

/// Capitalises the first letter.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
