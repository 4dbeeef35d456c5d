//! `picloud deploy FILE --app APP`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use picloud::config::Config;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, Refused, encode};
use super::detail::Output;
use super::excerpt::excerpt;
use super::scripts::reach;
use super::{Failure, ScriptAddress, Server, print};

/// The arguments.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud deploy hello.rhai --app demo
  picloud deploy src/main.rhai --app demo --name hello --url https://pi.example.org
  picloud deploy mailer.rhai --app demo --no-endpoint

The app and the script are made if they are missing. A script that is there gets a
new version, which runs from then on.")]
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
        let script = deployed.map_err(|refused| explain(refused, &self.file, &source))?;
        if self.output.json {
            print(format!("{script:#}\n"))?;
        } else if script["endpoint_open"] == true {
            let endpoint = script["endpoint"].as_str().unwrap_or_default();
            print(format!("{}\n", client.full_url(endpoint)))?;
        }
        let ScriptAddress { app, script: name } = address;
        eprintln!("{app}/{name} is at version {}", script["version"]);
        eprintln!("{}", reach(&client, &script));
        Ok(ExitCode::SUCCESS)
    }
}

fn file_stem(file: &Path) -> Result<String, Failure> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).ok_or_else(|| Failure::new("give the script a name with --name"))
}

async fn create_app_if_missing(client: &Client, app: &str) -> Result<(), Failure> {
    let found = client.try_call(Method::GET, &format!("/apps/{}", encode(app)), None).await?;
    match found {
        Err(refused) if refused.status == StatusCode::NOT_FOUND => {
            let made =
                client.try_call(Method::POST, "/apps", Some(&json!({ "name": app }))).await?;
            match made {
                Ok(_) => eprintln!("made the app {app}"),
                // Somebody else was faster.
                Err(refused) if refused.code() == "app_name_taken" => {}
                Err(refused) => return Err(refused.into()),
            }
            Ok(())
        }
        Err(refused) => Err(refused.into()),
        Ok(_) => Ok(()),
    }
}

async fn create(
    client: &Client,
    address: &ScriptAddress,
    source: &str,
    no_endpoint: bool,
) -> Result<Result<Value, Refused>, Failure> {
    let path = format!("/apps/{}/scripts", encode(&address.app));
    let mut body = json!({ "name": address.script, "source": source });
    if no_endpoint {
        body["endpoint_enabled"] = false.into();
    }
    client.try_call(Method::POST, &path, Some(&body)).await
}

/// A source that runs already is left as it is, so that deploying twice makes one
/// version.
async fn update(
    client: &Client,
    script: &Value,
    source: &str,
    no_endpoint: bool,
) -> Result<Result<Value, Refused>, Failure> {
    let path = format!("/scripts/{}", script["id"].as_str().unwrap_or_default());
    let running = client.call(Method::GET, &path, None).await?;
    let closes = no_endpoint && running["endpoint_enabled"] == true;
    let mut body = json!({ "expected_version": running["version"] });
    if closes {
        body["endpoint_enabled"] = false.into();
    }
    if running["source"].as_str() != Some(source) {
        body["source"] = source.into();
    } else if !closes {
        eprintln!("nothing has changed");
        return Ok(Ok(running));
    }
    client.try_call(Method::PUT, &path, Some(&body)).await
}

fn explain(refused: Refused, file: &Path, source: &str) -> Failure {
    if refused.code() != "source_invalid" {
        return refused.into();
    }
    let place = |name: &str| refused.error[name].as_u64().map_or(0, |n| n as usize);
    let (line, column) = (place("line"), place("column"));
    let message = refused.error["message"].as_str().unwrap_or_default();
    let excerpt = excerpt(source, line, column);
    let text = format!("{}:{line}:{column}: {message}\n{excerpt}", file.display());
    Failure(text.trim_end().to_owned())
}
