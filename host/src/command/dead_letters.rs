//! `picloud dead-letters`: events that were given up.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, encode};
use super::data::read_json;
use super::detail::{Output, Paging, print_one, print_page, time};
use super::events::query;
use super::names;
use super::{Failure, Server, print};

/// What to do with dead letters.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud dead-letters list demo
  picloud dead-letters show 01980000-0000-7000-8000-000000000000
  picloud dead-letters replay 01980000-0000-7000-8000-000000000000
  picloud dead-letters replay --app demo --all --script mailer
  picloud dead-letters resolve --app demo --all --kind queue

An event whose script has failed too often becomes a dead letter and is kept, with the
last error, until it is replayed or resolved.")]
pub(super) enum DeadLettersCommand {
    /// Print the dead letters that nothing has become of yet
    List(List),
    /// Print a dead letter with its event and its last error
    Show(Show),
    /// Try the events of dead letters again, each as a new event
    Replay(Replay),
    /// Mark dead letters as ignored
    Resolve(Resolve),
}

impl DeadLettersCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Show(show) => show.run(config).await,
            Self::Replay(replay) => replay.run(config).await,
            Self::Resolve(resolve) => resolve.run(config).await,
        }
    }
}

/// Which dead letters of an app.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    app: String,
    /// Also those that were replayed, ignored or handled
    #[arg(long)]
    all: bool,
    /// Only events of this kind
    #[arg(long, value_parser = names::kinds())]
    kind: Option<String>,
    /// Only events of the script with this name
    #[arg(long, value_name = "NAME")]
    script: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which dead letter.
#[derive(clap::Args)]
pub(super) struct Show {
    /// The dead letter's id
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// One dead letter, or all of an app.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
struct Which {
    /// The dead letter's id
    #[arg(group = "which")]
    id: Option<String>,
    /// All that nothing has become of yet; needs --app
    #[arg(long, group = "which", requires = "app")]
    all: bool,
    /// The app whose dead letters it is about
    #[arg(long, requires = "all", conflicts_with = "id")]
    app: Option<String>,
    /// Only events of this kind
    #[arg(long, requires = "all", conflicts_with = "id", value_parser = names::kinds())]
    kind: Option<String>,
    /// Only events of the script with this name
    #[arg(long, value_name = "NAME", requires = "all", conflicts_with = "id")]
    script: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// What to try again.
#[derive(clap::Args)]
#[command(override_usage = "\
picloud dead-letters replay [OPTIONS] <ID>
       picloud dead-letters replay [OPTIONS] --app <APP> --all")]
pub(super) struct Replay {
    #[command(flatten)]
    which: Which,
    /// Run the version that failed, not the one that runs now
    #[arg(long)]
    same_version: bool,
    /// Other details of the event, as `show` prints them: a text, @FILE, or -
    #[arg(long, value_name = "JSON", conflicts_with = "all")]
    data: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// What to ignore.
#[derive(clap::Args)]
#[command(override_usage = "\
picloud dead-letters resolve [OPTIONS] <ID>
       picloud dead-letters resolve [OPTIONS] --app <APP> --all")]
pub(super) struct Resolve {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    server: Server,
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let filter = query(&[
            ("kind", self.kind),
            ("script_id", client.script_id_in(&self.app, self.script).await?),
        ]);
        let path = format!(
            "/apps/{}/dead-letters?limit={}&unresolved={}{filter}",
            encode(&self.app),
            self.paging.limit,
            !self.all,
        );
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(letter: &Value) -> String {
    let text = |name: &str| letter[name].as_str().unwrap_or_default();
    format!(
        "{} {:<10} {} {} → {} v{} · {} attempts · {}\n  failed: {}",
        time(letter["created_at"].as_i64()),
        letter["resolution"].as_str().unwrap_or("unresolved"),
        text("kind"),
        text("source"),
        text("script"),
        letter["script_version"],
        letter["attempts"],
        text("id"),
        text("last_error"),
    )
}

impl Show {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/dead-letters/{}", encode(&self.id));
        let letter = client.call(Method::GET, &path, None).await?;
        let members = [
            "id",
            "kind",
            "operation",
            "source",
            "payload",
            "script",
            "script_version",
            "last_error",
            "attempts",
            "first_attempt_at",
            "last_attempt_at",
            "resolution",
            "resolved_at",
            "event_id",
            "trigger_id",
            "event_created_at",
            "created_at",
        ];
        print_one(&letter, self.json, &members)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Replay {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let Some(id) = &self.which.id else {
            let same_version = json!({ "same_version": self.same_version });
            return self.which.in_bulk(&client, "replay", &same_version, "replayed").await;
        };
        let mut replay = json!({ "same_version": self.same_version });
        if let Some(data) = &self.data {
            replay["payload"] = read_json(data)?;
        }
        let path = format!("/dead-letters/{}/replay", encode(id));
        let replayed = client.call(Method::POST, &path, Some(&replay)).await?;
        let event_id = replayed["event_id"].as_str().unwrap_or_default();
        self.which.output.print(&replayed, event_id)?;
        eprintln!("replayed, as this new event");
        Ok(ExitCode::SUCCESS)
    }
}

impl Resolve {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let Some(id) = &self.which.id else {
            return self.which.in_bulk(&client, "resolve", &json!({}), "resolved").await;
        };
        let path = format!("/dead-letters/{}/resolve", encode(id));
        let resolved = client.call(Method::POST, &path, Some(&json!({}))).await?;
        if self.which.output.json {
            print(format!("{resolved:#}\n"))?;
        }
        eprintln!("resolved: it is ignored from now on");
        Ok(ExitCode::SUCCESS)
    }
}

impl Which {
    /// Deals with all that were there at the beginning, as often as it takes. Those that
    /// come meanwhile, because a replayed event fails again, are left: they could go on
    /// for ever.
    async fn in_bulk(
        self,
        client: &Client,
        verb: &str,
        how: &Value,
        done_to: &str,
    ) -> Result<ExitCode, Failure> {
        let app = self.app.unwrap_or_default();
        let script_id = client.script_id_in(&app, self.script).await?;
        let letters = format!("/apps/{}/dead-letters", encode(&app));
        let filter = query(&[("kind", self.kind.clone()), ("script_id", script_id.clone())]);
        let path = format!("{letters}/count?unresolved=true{filter}");
        let counted = client.call(Method::GET, &path, None).await?;
        let all = counted["count"].as_u64().unwrap_or_default();

        let (mut done, mut left) = (0, 0);
        while done < all {
            let limit = (all - done).min(200);
            let mut body = how.clone();
            body["filter"] = json!({ "kind": self.kind, "script_id": script_id, "limit": limit });
            let path = format!("{letters}/{verb}");
            let part = client.call(Method::POST, &path, Some(&body)).await?;
            left = part["left"].as_u64().unwrap_or_default();
            match part["done"].as_u64() {
                Some(some) if some > 0 => done += some,
                // Somebody else is dealing with them.
                _ => break,
            }
        }
        self.output.print(&json!({ "done": done, "left": left }), &done.to_string())?;
        eprintln!("{done_to} {done} of {all}, {left} are unresolved now");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: DeadLettersCommand,
    }

    fn is_accepted(line: &str) -> bool {
        Line::try_parse_from(std::iter::once("picloud").chain(line.split(' '))).is_ok()
    }

    #[test]
    fn it_is_one_dead_letter_or_all_of_an_app() {
        for right in [
            "replay 7",
            "replay 7 --same-version --data {}",
            "replay --app demo --all",
            "replay --app demo --all --kind queue --script mailer --same-version",
            "resolve 7",
            "resolve --all --app demo",
        ] {
            assert!(is_accepted(right), "{right}");
        }
        for wrong in [
            "replay",
            "replay --app demo",
            "replay --all",
            "replay 7 --all --app demo",
            "replay 7 --app demo",
            "replay 7 --script mailer",
            "replay --app demo --all --data {}",
            "resolve",
            "resolve --kind queue",
        ] {
            assert!(!is_accepted(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_dead_letter_is_a_line_and_its_error_another() {
        let letter = json!({
            "id": "0198", "kind": "queue", "source": "mails", "script": "mailer",
            "script_version": 2, "attempts": 5, "last_error": "no", "resolution": null,
            "created_at": 0,
        });
        assert_eq!(
            line(&letter),
            "1970-01-01T00:00:00.000Z unresolved queue mails → mailer v2 · 5 attempts · 0198\n  \
             failed: no"
        );
    }
}
