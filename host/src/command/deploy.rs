//! `picloud deploy FILE --app APP`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{App, CreateApp, CreateScript, Script, ScriptWithSource, UpdateScript};
use serde::Deserialize;

use super::client::{Answer, CallError, Client, Ignored, details, encode};
use super::excerpt::excerpt;
use super::output::{Output, print_one};
use super::scripts::reach;
use super::{Failure, ScriptAddress, Server};

/// The arguments.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud deploy hello.rhai --app demo
  picloud deploy src/main.rhai --app demo --name hello --url https://pi.example.org
  picloud deploy mailer.rhai --app demo --no-endpoint

The app and the script are created if they do not exist. An existing script gets a new
version, which is current at once.")]
pub(super) struct Deploy {
    /// The file with the Rhai source
    file: PathBuf,
    /// The app that the script belongs to
    #[arg(long)]
    app: String,
    /// The script's name [default: the file's name without its extension]
    #[arg(long)]
    name: Option<String>,
    /// Close the script's own endpoint, so that only its routes and triggers run it
    #[arg(long)]
    no_endpoint: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Deploy {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let source = std::fs::read_to_string(&self.file)
            .map_err(|error| Failure(format!("cannot read {}: {error}", self.file.display())))?;
        let client = self.server.client(config)?;
        let script = match self.name {
            Some(name) => name,
            None => file_stem(&self.file)?,
        };
        let address = ScriptAddress { app: self.app, script };

        create_app_if_missing(&client, &address.app).await?;
        let deployed = match client.find_script(&address).await? {
            None => create(&client, &address, &source, self.no_endpoint).await?,
            Some(script) => update(&client, &script, &source, self.no_endpoint).await?,
        };
        let deployed = deployed.map_err(|error| explain(error, &self.file, &source))?;
        let script = &deployed.value;
        let url = match script.endpoint_open {
            true => format!("{}\n", client.full_url(&script.endpoint)),
            false => String::new(),
        };
        print_one(&deployed, self.output.json, url)?;
        let ScriptAddress { app, script: name } = address;
        eprintln!("{app}/{name} is at version {}", script.version);
        eprintln!("{}", reach(&client, script));
        Ok(ExitCode::SUCCESS)
    }
}

fn file_stem(file: &Path) -> Result<String, Failure> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).ok_or_else(|| Failure::new("give the script a name with --name"))
}

async fn create_app_if_missing(client: &Client, app: &str) -> Result<(), Failure> {
    match client.get::<Ignored>(&format!("/apps/{}", encode(app))).await {
        Err(error) if error.is_not_found() => {}
        found => return Ok(found.map(drop)?),
    }
    let new = CreateApp { name: app.to_owned(), description: String::new() };
    match client.post::<App>("/apps", &new).await {
        Ok(_) => eprintln!("created the app {app}"),
        // Another caller was faster.
        Err(error) if error.has_code("app_name_taken") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A deployed script, or the reason why it was not deployed. An error before that is a [`Failure`].
type Deployed = Result<Result<Answer<Script>, CallError>, Failure>;

async fn create(
    client: &Client,
    address: &ScriptAddress,
    source: &str,
    no_endpoint: bool,
) -> Deployed {
    let path = format!("/apps/{}/scripts", encode(&address.app));
    let new = CreateScript {
        name: address.script.clone(),
        source: source.to_owned(),
        description: String::new(),
        limits: Default::default(),
        endpoint_enabled: no_endpoint.then_some(false),
    };
    Ok(client.post(&path, &new).await)
}

/// Does not send an unchanged source, so that deploying twice creates one version.
async fn update(client: &Client, script: &Script, source: &str, no_endpoint: bool) -> Deployed {
    let path = format!("/scripts/{}", script.id);
    let running = client.get::<ScriptWithSource>(&path).await?;
    let is_new = running.value.source != source;
    let closes = no_endpoint && running.value.script.endpoint_enabled;
    if !is_new && !closes {
        eprintln!("nothing changed");
        return Ok(Ok(running.map(|running| running.script)));
    }
    let change = UpdateScript {
        source: is_new.then(|| source.to_owned()),
        endpoint_enabled: closes.then_some(false),
        expected_version: Some(running.value.script.version),
        ..UpdateScript::default()
    };
    Ok(client.put(&path, &change).await)
}

/// The position of a syntax error.
#[derive(Default, Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

fn explain(error: CallError, file: &Path, source: &str) -> Failure {
    let Some(invalid) = error.refusal().filter(|_| error.has_code("source_invalid")) else {
        return error.into();
    };
    let Position { line, column } = details(invalid).unwrap_or_default();
    let excerpt = excerpt(source, line, column);
    let text = format!("{}:{line}:{column}: {invalid}\n{excerpt}", file.display());
    Failure(text.trim_end().to_owned())
}
