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
    /// Errors: without `--yes`, with the description `what` of the command.
    pub(super) fn check(&self, what: &str) -> Result<(), Failure> {
        match self.yes {
            true => Ok(()),
            false => Err(Failure(format!("this {what}; nothing was done, add --yes to do it"))),
        }
    }
}
