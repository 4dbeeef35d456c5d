//! `log::*`: limited in lines, in bytes and in the length of a line.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::log::Write;

use crate::executor::outcome::LogLine;
use crate::executor::sandbox::Sandbox;

/// Appends a line. Cuts a message that is too long; the end of the run masks the start of a secret
/// at the cut. A run that exceeds a log limit ends.
pub(in crate::executor) fn write(sandbox: &mut Sandbox, mut line: Write) -> HostResult<()> {
    let chars_max = sandbox.limits.log_line_chars_max;
    if let Some((end, _)) = line.message.char_indices().nth(chars_max) {
        line.message.truncate(end);
        line.message.push(LogLine::CUT);
    }
    let limits = &sandbox.limits;
    let bytes = line.message.len() + line.data.as_ref().map_or(0, String::len);
    let (reached, spent) = (&mut sandbox.reached, &mut sandbox.spent);
    Sandbox::spend(reached, "log_lines", &mut spent.log_lines, 1, limits.log_lines_max)?;
    Sandbox::spend(reached, "log_bytes", &mut spent.log_bytes, bytes as u64, limits.log_bytes_max)?;
    sandbox.log.push(LogLine {
        level: line.level,
        message: line.message,
        data: line.data,
        line: line.line,
    });
    Ok(())
}
