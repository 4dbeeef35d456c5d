//! `--yes`: the confirmation of a command that deletes data for good.

use super::Failure;

/// The confirmation of a command that deletes much.
#[derive(clap::Args)]
pub(super) struct Consent {
    /// Do it; without this option the command only prints what it would do
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Errors: without `--yes`. The message says what the command does: `what`.
    pub(super) fn check(&self, what: &str) -> Result<(), Failure> {
        match self.yes {
            true => Ok(()),
            false => Err(Failure(format!("this {what}; nothing was done, add --yes to do it"))),
        }
    }
}
