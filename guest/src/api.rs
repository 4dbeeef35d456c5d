//! The functions that scripts can use: one file per service, registered here.
//!
//! ```text
//! options   the object of named options that some functions take
//! page      one page of a list
//! value     values passed between scripts
//! ```

use rhai::Engine;
use rhai::plugin::*;

pub(crate) mod crypto;
pub(crate) mod encoding;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod json;
pub(crate) mod kv;
pub(crate) mod log;
mod options;
mod page;
pub(crate) mod pubsub;
pub(crate) mod queue;
pub(crate) mod random;
pub(crate) mod regex;
pub(crate) mod scripts;
pub(crate) mod secrets;
pub(crate) mod time;
pub(crate) mod value;

macro_rules! services {
    ($($name:ident),+ $(,)?) => {
        /// Registers every service with `engine`, as a module with the service's name.
        pub(crate) fn register(engine: &mut Engine) {
            $(engine.register_static_module(
                stringify!($name),
                exported_module!($name::functions).into(),
            );)+
        }
    };
}

services! {
    crypto,
    encoding,
    files,
    http,
    json,
    kv,
    log,
    pubsub,
    queue,
    random,
    regex,
    scripts,
    secrets,
    time,
}

/// Returns the bytes of a parameter that can be a text or a blob.
pub(crate) fn bytes_of(value: &Dynamic) -> Result<Vec<u8>, Box<EvalAltResult>> {
    if let Ok(text) = value.as_immutable_string_ref() {
        Ok(text.as_bytes().to_vec())
    } else if let Ok(blob) = value.as_blob_ref() {
        Ok(blob.to_vec())
    } else {
        Err(format!("expected a text or a blob, not {}", value.type_name()).into())
    }
}
