//! Writes to standard output.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;

use super::{Failure, terminal};

/// Writes text to standard output, safe for a terminal. A reader that closes early is not an error.
pub(super) fn print(text: impl AsRef<str>) -> Result<(), Failure> {
    print_to_reader(text).map(drop)
}

/// Like [`print`], for endless output: breaks when the reader has closed.
pub(super) fn print_to_reader(text: impl AsRef<str>) -> Result<ControlFlow<()>, Failure> {
    write_out(terminal::visible(text.as_ref()).as_bytes())
}

/// Writes bytes to standard output as they are.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    write_out(bytes).map(drop)
}

fn write_out(bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure(format!("cannot write to standard output: {error}"))),
    }
}
