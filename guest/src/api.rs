//! What a script can use: one file per service, registered here.

use rhai::Engine;
use rhai::plugin::*;

pub(crate) mod crypto;
pub(crate) mod encoding;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod random;
pub(crate) mod regex;
pub(crate) mod time;

macro_rules! services {
    ($($name:ident),+ $(,)?) => {
        /// Gives `engine` every service as a module of its name.
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
    json,
    log,
    random,
    regex,
    time,
}

/// A parameter that may be a text or a blob, as bytes.
pub(crate) fn bytes_of(value: &Dynamic) -> Result<Vec<u8>, Box<EvalAltResult>> {
    if let Ok(text) = value.as_immutable_string_ref() {
        Ok(text.as_bytes().to_vec())
    } else if let Ok(blob) = value.as_blob_ref() {
        Ok(blob.to_vec())
    } else {
        Err(format!("expected a text or a blob, not {}", value.type_name()).into())
    }
}
