//! `picloud secrets`: encrypted values that an app's scripts can read.
//!
//! Invariant: a value is never an argument, because other users of the machine can see arguments,
//! and shells store them.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{PutSecret, Secret};

use super::client::{Ignored, encode};
use super::output::{Paging, print_page};
use super::time::time;
use super::{Failure, Server};

/// Commands for secrets.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud secrets set PAYMENTS_KEY --app demo            asks for the value
  pass show payments | picloud secrets set PAYMENTS_KEY --app demo
  picloud secrets list --app demo

Scripts of the app read a secret with secrets::get(\"PAYMENTS_KEY\"). No command prints it.")]
pub(super) enum SecretsCommand {
    /// List the names of an app's secrets
    List(List),
    /// Set a secret; its value is read from standard input or prompted for
    Set(One),
    /// Delete a secret
    Delete(One),
}

/// The list to print.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    #[arg(long)]
    app: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// The secret.
#[derive(clap::Args)]
pub(super) struct One {
    /// The secret's name
    name: String,
    /// The app
    #[arg(long)]
    app: String,
    #[command(flatten)]
    server: Server,
}

impl SecretsCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Set(one) => one.set(config).await,
            Self::Delete(one) => one.delete(config).await,
        }
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/secrets?limit={}", encode(&self.app), self.paging.limit);
        print_page(&client.list(&path).await?, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(Secret { name, version, updated_at, .. }: &Secret) -> String {
    format!("{name} · version {version} · set at {}", time(*updated_at))
}

impl One {
    fn path(&self) -> String {
        format!("/apps/{}/secrets/{}", encode(&self.app), encode(&self.name))
    }

    async fn set(self, config: Config) -> Result<ExitCode, Failure> {
        let path = self.path();
        let value = read_value(&self.name)?.into();
        let client = self.server.client(config)?;
        let set = client.put::<Secret>(&path, &PutSecret { value }).await?;
        eprintln!("set: {}, version {}", self.name, set.value.version);
        Ok(ExitCode::SUCCESS)
    }

    async fn delete(self, config: Config) -> Result<ExitCode, Failure> {
        let path = self.path();
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&path).await?;
        eprintln!("deleted");
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the value, without the line end that a terminal or `echo` adds.
fn read_value(name: &str) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        let value = rpassword::prompt_password(format!("Value of {name} (not shown): "));
        return value.map_err(|error| Failure(format!("cannot ask for the value: {error}")));
    }
    let mut value = String::new();
    let read = std::io::stdin().lock().read_to_string(&mut value);
    read.map_err(|error| Failure(format!("cannot read the value from standard input: {error}")))?;
    Ok(without_line_end(value))
}

fn without_line_end(mut value: String) -> String {
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_a_part_of_the_value() {
        for (given, value) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), ("", "")]
        {
            assert_eq!(without_line_end(given.to_owned()), value);
        }
    }
}
