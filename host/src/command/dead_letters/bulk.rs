//! The dead letters that a command handles: one, or all of an app.

use std::process::ExitCode;

use picloud::manager::api::{BulkDeadLetters, BulkDone, DeadLetterCount, DeadLettersQuery};
use picloud::store::TriggerKind;
use serde_json::json;

use crate::command::Failure;
use crate::command::client::{Client, encode, query};
use crate::command::names;
use crate::command::output::Output;

/// One dead letter, or all of an app.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(super) struct Which {
    /// The dead letter's id
    #[arg(group = "which")]
    pub(super) id: Option<String>,
    /// All unresolved dead letters; needs --app
    #[arg(long, group = "which", requires = "app")]
    all: bool,
    /// The app, with --all
    #[arg(long, requires = "all", conflicts_with = "id")]
    app: Option<String>,
    /// Only events of this kind
    #[arg(long, requires = "all", conflicts_with = "id", value_parser = names::kinds())]
    kind: Option<TriggerKind>,
    /// Only events of the script with this name
    #[arg(long, value_name = "NAME", requires = "all", conflicts_with = "id")]
    script: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

impl Which {
    /// Processes all dead letters that existed at the beginning, in as many requests as needed.
    /// Skips new ones: a replayed event can fail again, and the command would not end.
    pub(super) async fn in_bulk(
        self,
        client: &Client,
        verb: &str,
        same_version: bool,
        done_to: &str,
    ) -> Result<ExitCode, Failure> {
        let app = self.app.unwrap_or_default();
        let script_id = client.script_id_in(&app, self.script).await?;
        let letters = format!("/apps/{}/dead-letters", encode(&app));
        let filter = query(&[
            ("kind", self.kind.map(TriggerKind::as_str)),
            ("script_id", script_id.as_deref()),
        ]);
        let path = format!("{letters}/count?unresolved=true{filter}");
        let all = client.get::<DeadLetterCount>(&path).await?.value.count;

        let (mut done, mut left) = (0, 0);
        while done < all {
            let filter = DeadLettersQuery {
                kind: self.kind,
                script_id: script_id.clone(),
                limit: Some((all - done).min(200)),
                ..DeadLettersQuery::default()
            };
            let bulk = BulkDeadLetters { filter, same_version };
            let part = client.post::<BulkDone>(&format!("{letters}/{verb}"), &bulk).await?.value;
            left = part.left;
            if part.done == 0 {
                // Another caller is processing them.
                break;
            }
            done += part.done;
        }
        self.output.print(&json!({ "done": done, "left": left }), &done.to_string())?;
        eprintln!("{done_to} {done} of {all}, {left} are still unresolved");
        Ok(ExitCode::SUCCESS)
    }
}
