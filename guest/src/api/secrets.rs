//! `secrets::*`: what the app's scripts know and nobody sees.

use picloud_shared::calls::secrets::Get;
use rhai::plugin::*;

use crate::host;

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// The value of a secret of the app, a text. It is an error if there is none.
    #[rhai_fn(return_raw)]
    pub fn get(context: NativeCallContext<'_>, name: &str) -> Result<String, Box<EvalAltResult>> {
        host::call(&context, &Get { name: name.to_owned() })
    }
}
