//! Reports of the guest about itself.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::guest::Panicked;

use crate::executor::sandbox::Sandbox;

/// Stores the message of a panic, before the guest traps.
pub(in crate::executor) fn panicked(sandbox: &mut Sandbox, panic: Panicked) -> HostResult<()> {
    sandbox.panic = Some(panic.message);
    Ok(())
}
