//! What the guest says of itself.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::guest::Panicked;

use crate::executor::sandbox::Sandbox;

/// Keeps the words of a panic; the trap follows.
pub(in crate::executor) fn panicked(sandbox: &mut Sandbox, panic: Panicked) -> HostResult<()> {
    sandbox.panic = Some(panic.message);
    Ok(())
}
