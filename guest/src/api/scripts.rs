//! `scripts::*`: other scripts of the same app.

use picloud_shared::calls::scripts::{Call, Enqueue};
use rhai::Map;
use rhai::plugin::*;

use super::json;
use super::options::Options;
use super::value;
use crate::host;

fn run_now(
    context: &NativeCallContext<'_>,
    script: &str,
    payload: &Dynamic,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let payload = json::to_text(payload)?;
    value::received(host::call(context, &Call { script: script.to_owned(), payload })?)
}

fn run_later(
    context: &NativeCallContext<'_>,
    script: &str,
    payload: &Dynamic,
    options: Map,
) -> Result<String, Box<EvalAltResult>> {
    let mut options = Options::of("scripts::enqueue", options);
    let event = Enqueue {
        script: script.to_owned(),
        payload: json::to_text(payload)?,
        delay_ms: options.number("delay", 0)?.unwrap_or(0),
    };
    options.end()?;
    host::call(context, &event)
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// Runs another script now, without a payload, and returns its last value.
    #[rhai_fn(return_raw)]
    pub fn call(
        context: NativeCallContext<'_>,
        script: &str,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        run_now(&context, script, &Dynamic::UNIT)
    }

    /// Runs another script now, as part of this run, and returns its last value unchanged: numbers,
    /// texts, arrays, objects, blobs. The writes of both are committed together, and its fuel
    /// counts for this run.
    #[rhai_fn(return_raw, name = "call")]
    pub fn call_with(
        context: NativeCallContext<'_>,
        script: &str,
        payload: Dynamic,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        run_now(&context, script, &payload)
    }

    /// Runs another script later, as an event of its own, after this run commits. Returns the
    /// event's id.
    #[rhai_fn(return_raw)]
    pub fn enqueue(
        context: NativeCallContext<'_>,
        script: &str,
        payload: Dynamic,
    ) -> Result<String, Box<EvalAltResult>> {
        run_later(&context, script, &payload, Map::new())
    }

    /// Runs another script later with options: `delay` in milliseconds. Returns the event's id.
    #[rhai_fn(return_raw, name = "enqueue")]
    pub fn enqueue_with(
        context: NativeCallContext<'_>,
        script: &str,
        payload: Dynamic,
        options: Map,
    ) -> Result<String, Box<EvalAltResult>> {
        run_later(&context, script, &payload, options)
    }
}
