//! `pubsub::*`: messages to every trigger on a topic.

use picloud_shared::calls::pubsub::Publish;
use rhai::plugin::*;

use super::json;
use crate::host;

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// Publishes a message when the run commits. Every matching trigger gets it.
    #[rhai_fn(return_raw)]
    pub fn publish(
        context: NativeCallContext<'_>,
        topic: &str,
        payload: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        let payload = json::to_text(&payload)?;
        host::call(&context, &Publish { topic: topic.to_owned(), payload })
    }
}
