//! `secrets::*`: values that the app's scripts can read and the API never shows.

use picloud_shared::calls::secrets::Get;
use rhai::plugin::*;

use crate::host;

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// Returns the value of a secret of the app, a text. Fails if the secret does not exist.
    #[rhai_fn(return_raw)]
    pub fn get(context: NativeCallContext<'_>, name: &str) -> Result<String, Box<EvalAltResult>> {
        host::call(&context, &Get { name: name.to_owned() })
    }
}
