//! What a script can use, as data: `docs/functions.json`, which the dashboard's editor
//! completes from and shows.
//!
//! ```text
//! metadata   what the interpreter knows of its functions, read
//! signature  how an author of Rhai would write a function down
//! context    the members of `ctx`, from the scripting guide
//! ```
//!
//! Invariant: nothing is said here that is not said at its place already: of a function
//! in the doc comment beside it, of a service at the head of its file, of `ctx` in the
//! guide.

mod context;
mod metadata;
mod signature;

use std::fs;
use std::path::Path;

use serde::Serialize;

pub use context::Member;

/// The guest's sources and the guide, from this package.
const API: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/api");
const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scripting.md");

/// What went wrong: a file that cannot be read, or metadata in another form.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Everything that a script can use.
#[derive(Debug, Serialize)]
pub struct Reference {
    /// The services.
    pub modules: Vec<Module>,
    /// What the services have.
    pub functions: Vec<Function>,
    /// What Rhai itself has.
    pub standard: Vec<Function>,
    /// `ctx` and what is in it.
    pub context: Vec<Member>,
}

/// A service.
#[derive(Debug, Serialize)]
pub struct Module {
    /// Its name: `kv`.
    pub name: String,
    /// What it is for.
    pub doc: String,
}

/// A function, or a method of a value, with all its forms.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Function {
    /// The service that it belongs to; none of Rhai's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The kind of value whose method it is: `Collection`, `array`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Its name.
    pub name: String,
    /// How it can be called, the shortest first.
    pub forms: Vec<Form>,
}

/// One way to call a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Form {
    /// As an author of Rhai would write it: `kv::collection(name: text) -> Collection`.
    pub signature: String,
    /// The names of its parameters.
    pub parameters: Vec<String>,
    /// What it does.
    pub doc: String,
}

/// Collects it.
///
/// # Errors
/// When a source or the guide cannot be read.
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

/// A service with what the first sentence of its file says after its name.
fn module(name: &str) -> Result<Module, Error> {
    let source = fs::read_to_string(Path::new(API).join(format!("{name}.rs")))?;
    let head = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head: Vec<_> = head.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let head = head.join(" ");
    let doc = head.split_once(": ").map_or("", |(_, doc)| doc);
    Ok(Module { name: name.to_owned(), doc: sentence(doc) })
}

/// Begins with a capital letter.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
