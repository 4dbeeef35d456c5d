//! `log::*`: lines of the execution's log, which are stored even if the script fails.

use picloud_shared::calls::log::{Level, Write};
use rhai::plugin::*;

use super::json;
use crate::host;

/// `print(…)` writes a line at level info.
pub(crate) fn print(text: &str, position: Position) {
    write_or_end(position, Level::Info, text);
}

/// `debug(…)` writes a line at level debug.
pub(crate) fn debug_print(text: &str, position: Position) {
    write_or_end(position, Level::Debug, text);
}

/// Rhai's `print` cannot fail, and a script must not continue after a limit. So the run ends here
/// with a trap. The host knows the limit.
fn write_or_end(position: Position, level: Level, text: &str) {
    let written = write(position, level, text.to_owned(), None);
    #[cfg(target_arch = "wasm32")]
    if written.is_err() {
        std::arch::wasm32::unreachable();
    }
    #[cfg(not(target_arch = "wasm32"))]
    drop(written);
}

fn write(
    position: Position,
    level: Level,
    message: String,
    data: Option<&Dynamic>,
) -> Result<(), Box<EvalAltResult>> {
    let line = position.line().unwrap_or(0) as u32;
    let data = data.map(json::to_text).transpose()?;
    host::call_at(position, &Write { level, message, data, line })
}

fn line(
    context: &NativeCallContext<'_>,
    level: Level,
    message: &Dynamic,
    data: Option<&Dynamic>,
) -> Result<(), Box<EvalAltResult>> {
    write(context.call_position(), level, message.to_string(), data)
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// Writes a line at level trace.
    #[rhai_fn(return_raw)]
    pub fn trace(
        context: NativeCallContext<'_>,
        message: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Trace, &message, None)
    }
    /// Writes a line at level trace, with structured data.
    #[rhai_fn(return_raw, name = "trace")]
    pub fn trace_data(
        context: NativeCallContext<'_>,
        message: Dynamic,
        data: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Trace, &message, Some(&data))
    }
    /// Writes a line at level debug.
    #[rhai_fn(return_raw)]
    pub fn debug(
        context: NativeCallContext<'_>,
        message: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Debug, &message, None)
    }
    /// Writes a line at level debug, with structured data.
    #[rhai_fn(return_raw, name = "debug")]
    pub fn debug_data(
        context: NativeCallContext<'_>,
        message: Dynamic,
        data: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Debug, &message, Some(&data))
    }
    /// Writes a line at level info.
    #[rhai_fn(return_raw)]
    pub fn info(
        context: NativeCallContext<'_>,
        message: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Info, &message, None)
    }
    /// Writes a line at level info, with structured data.
    #[rhai_fn(return_raw, name = "info")]
    pub fn info_data(
        context: NativeCallContext<'_>,
        message: Dynamic,
        data: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Info, &message, Some(&data))
    }
    /// Writes a line at level warn.
    #[rhai_fn(return_raw)]
    pub fn warn(
        context: NativeCallContext<'_>,
        message: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Warn, &message, None)
    }
    /// Writes a line at level warn, with structured data.
    #[rhai_fn(return_raw, name = "warn")]
    pub fn warn_data(
        context: NativeCallContext<'_>,
        message: Dynamic,
        data: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Warn, &message, Some(&data))
    }
    /// Writes a line at level error.
    #[rhai_fn(return_raw)]
    pub fn error(
        context: NativeCallContext<'_>,
        message: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Error, &message, None)
    }
    /// Writes a line at level error, with structured data.
    #[rhai_fn(return_raw, name = "error")]
    pub fn error_data(
        context: NativeCallContext<'_>,
        message: Dynamic,
        data: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        line(&context, Level::Error, &message, Some(&data))
    }
}
