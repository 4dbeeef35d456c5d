//! `--yes`: the consent to delete what cannot be brought back.

use super::Failure;

/// How a command that deletes much is confirmed.
#[derive(clap::Args)]
pub(super) struct Consent {
    /// Do it; without this the command only says what it would do
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Errors: without `--yes`, with `what` the command does.
    pub(super) fn check(&self, what: &str) -> Result<(), Failure> {
        match self.yes {
            true => Ok(()),
            false => Err(Failure(format!("this {what}; nothing was done, --yes does it"))),
        }
    }
}
