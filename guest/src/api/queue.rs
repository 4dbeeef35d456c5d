//! `queue::*`: messages that exactly one script processes.

use picloud_shared::calls::queue::Send;
use rhai::Map;
use rhai::plugin::*;

use super::json;
use super::options::Options;
use crate::host;

fn enqueue(
    context: &NativeCallContext<'_>,
    queue: &str,
    payload: &Dynamic,
    options: Map,
) -> Result<String, Box<EvalAltResult>> {
    let mut options = Options::of("queue::send", options);
    let message = Send {
        queue: queue.to_owned(),
        payload: json::to_text(payload)?,
        delay_ms: options.number("delay", 0)?.unwrap_or(0),
        dedupe: options.text("dedupe")?,
    };
    options.end()?;
    host::call(context, &message)
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// Puts a message into a queue when the run commits. Returns the message's id.
    #[rhai_fn(return_raw)]
    pub fn send(
        context: NativeCallContext<'_>,
        queue: &str,
        payload: Dynamic,
    ) -> Result<String, Box<EvalAltResult>> {
        enqueue(&context, queue, &payload, Map::new())
    }

    /// Puts a message into a queue with options: `delay` in milliseconds; `dedupe`, a text: the
    /// message is dropped while another one with the same text is pending. Returns the id of the
    /// pending message.
    #[rhai_fn(return_raw, name = "send")]
    pub fn send_with(
        context: NativeCallContext<'_>,
        queue: &str,
        payload: Dynamic,
        options: Map,
    ) -> Result<String, Box<EvalAltResult>> {
        enqueue(&context, queue, &payload, options)
    }
}
