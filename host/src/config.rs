//! The settings, and the only place that reads the environment.
//!
//! Each setting is one row of [`SETTINGS`]: its name, its unit, its description, how it is parsed
//! and how it is printed. Its default is the value in [`Config::default`].
//!
//! Invariant: no other module of the host reads an environment variable.
//! Invariant: an invalid value stops the start; no value is corrected silently.

mod log_filter;
mod settings;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::auth::{self, OidcSettings, OwnerKey};
use crate::events::rules::FILE_BYTES_MAX;
use crate::hostname::Hostname;
use crate::limits::Limits;
use crate::orchestrator::{EventSettings, IngressSettings};
use crate::private_hosts::PrivateHost;
use crate::requests::form::FormLimits;
use crate::secrets::{KeySettings, MasterKey};
use crate::serving::ConnectionLimits;
use crate::store::{self, DatabaseUrl, DatabaseUrlError, Readers, Storage};
use crate::telemetry::{LogFormat, Logging};

pub use settings::{SETTINGS, Setting};

/// The prefix of PiCloud's variables.
const PREFIX: &str = "PICLOUD_";

/// All settings of a process.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address that the server listens on.
    pub listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// Whether to assign the data folder to this database, even if it belonged to another instance.
    /// It comes from the command line, because a variable would stay set.
    pub adopt_data_folder: bool,
    /// The database, if it is not the one in the data folder.
    pub database: Option<DatabaseUrl>,
    /// Disk space that an SQLite database reserves for cleaning up, in bytes; 0 for none.
    pub disk_reserve_bytes: u64,
    /// The number of connections that read the database.
    pub readers: Readers,
    /// The ceiling for the limits of every execution.
    pub ceiling: Limits,
    /// The largest request body that a script receives, in bytes.
    pub request_bytes_max: u64,
    /// The limits for parsing forms.
    pub form_limits: FormLimits,
    /// The memory limit for all request bodies together, in bytes.
    pub body_budget_bytes: u64,
    /// The limits of every connection.
    pub connections: ConnectionLimits,
    /// The storage limits of each app.
    pub storage_max: Storage,
    /// The most executions that run at the same time.
    pub concurrency_max: usize,
    /// The most executions that wait for a slot. Further ones are refused.
    pub queue_max: usize,
    /// The timeout for waiting for a slot, in milliseconds.
    pub queue_timeout_ms: u64,
    /// The memory limit for compiled scripts, in bytes.
    pub image_cache_bytes_max: u64,
    /// The memory for recently read entries, in bytes; used on SQLite only.
    pub entry_cache_bytes: u64,
    /// The minimum time between two writes of executions without effects, in milliseconds.
    pub execution_log_flush_ms: u64,
    /// The maximum size of the log of executions, in bytes: 0 for no limit. `None` if not set.
    pub execution_log_bytes_max: Option<u64>,
    /// How long executions are kept, in days.
    pub execution_log_retention_days: u32,
    /// How long dead letters are kept, in days.
    pub dead_letter_retention_days: u32,
    /// How long abandoned executions are kept, in days.
    pub abandoned_executions_retention_days: u32,
    /// How long the audit log is kept, in days.
    pub audit_retention_days: u32,
    /// How events are run.
    pub events: EventSettings,
    /// The limits of an app without its own.
    pub ingress: IngressSettings,
    /// Hosts that scripts can call although they have no public address.
    pub private_hosts: Vec<PrivateHost>,
    /// The owner key; `None` for the one in the database.
    pub owner_key: Option<OwnerKey>,
    /// The key that the command line uses; `None` for the owner key.
    pub api_key: Option<OwnerKey>,
    /// How callers are authenticated.
    pub auth: auth::Settings,
    /// The settings of the identity provider, as far as they are set.
    pub oidc: OidcConfig,
    /// The master key; `None` for the one in the data folder.
    pub master_key: Option<MasterKey>,
    /// The previous master key.
    pub master_key_previous: Option<MasterKey>,
    /// The DNS server that verifies domains; `None` for the system's.
    pub dns_server: Option<SocketAddr>,
    /// The log filter, in the syntax of `tracing`.
    pub log: String,
    /// The format of the log.
    pub log_format: LogFormat,
    /// Whether the log has a line for each response.
    pub access_log: bool,
    /// The address of the server for the command line, without a slash at the end.
    pub url: String,
    /// The point at which a test kills this process.
    #[cfg(debug_assertions)]
    pub crash_at: Option<crate::faults::CrashAt>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("./data"),
            adopt_data_folder: false,
            database: None,
            readers: Readers::default(),
            ceiling: Limits::CEILING,
            request_bytes_max: 4 << 20,
            form_limits: FormLimits::default(),
            body_budget_bytes: 128 << 20,
            connections: ConnectionLimits::default(),
            storage_max: Storage::DEFAULT_MAX,
            concurrency_max: 64,
            queue_max: 1024,
            queue_timeout_ms: 1000,
            image_cache_bytes_max: 64 << 20,
            entry_cache_bytes: store::ENTRY_CACHE_BYTES,
            execution_log_flush_ms: store::LOG_FLUSH_MS,
            disk_reserve_bytes: 32 << 20,
            execution_log_bytes_max: None,
            execution_log_retention_days: 14,
            dead_letter_retention_days: 90,
            abandoned_executions_retention_days: 14,
            audit_retention_days: 365,
            events: EventSettings::default(),
            ingress: IngressSettings::default(),
            private_hosts: Vec::new(),
            owner_key: None,
            api_key: None,
            auth: auth::Settings::default(),
            oidc: OidcConfig::default(),
            master_key: None,
            master_key_previous: None,
            dns_server: None,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            access_log: false,
            url: "http://127.0.0.1:8080".to_owned(),
            #[cfg(debug_assertions)]
            crash_at: None,
        }
    }
}

/// The settings of the identity provider.
#[derive(Clone, Debug, Default)]
pub struct OidcConfig {
    /// The provider's issuer.
    pub issuer: Option<String>,
    /// PiCloud's client id at the provider.
    pub client_id: Option<String>,
    /// PiCloud's client secret at the provider.
    pub client_secret: Option<ClientSecret>,
    /// The label of the sign-in button.
    pub name: Option<String>,
    /// Whether users of the provider become members without an invitation.
    pub sign_up: bool,
    /// PiCloud's address for browsers, without a slash at the end.
    pub public_url: Option<String>,
}

/// A client secret. `Debug` does not show it.
#[derive(Clone)]
pub struct ClientSecret(pub String);

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSecret(***)")
    }
}

/// The settings, and warnings about the environment.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Warnings about variables that no setting reads.
    pub warnings: Vec<String>,
}

/// A variable with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongValue {
    /// The variable.
    pub name: &'static str,
    /// The value; stars for a secret.
    pub given: String,
    /// The allowed values.
    pub allowed: String,
}

/// All invalid values together, so that they can be corrected in one go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<WrongValue>);

impl std::fmt::Display for WrongValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?} was given, {} is allowed", self.name, self.given, self.allowed)
    }
}

impl Config {
    /// Reads the settings of this process.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable whose value is invalid.
    pub fn from_env() -> Result<Loaded, ConfigError> {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self::read(variables)
    }

    /// Reads the settings from these variables. Ignores other variables, and treats an empty value
    /// as not set.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable whose value is invalid.
    pub fn read(
        variables: impl IntoIterator<Item = (String, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        let mut ours: BTreeMap<String, OsString> = variables
            .into_iter()
            .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
            .collect();
        let mut config = Self::default();
        let mut wrong = Vec::new();
        for setting in SETTINGS {
            let Some(value) = ours.remove(setting.name) else {
                continue;
            };
            if let Err(allowed) = setting.set(&mut config, &value) {
                let given = if setting.secret {
                    "***".into()
                } else {
                    value.to_string_lossy().into_owned()
                };
                wrong.push(WrongValue { name: setting.name, given, allowed });
            }
        }
        #[cfg(debug_assertions)]
        if let Some(value) = ours.remove(crate::faults::VARIABLE) {
            match value.to_string_lossy().parse() {
                Ok(at) => config.crash_at = Some(at),
                Err(allowed) => wrong.push(WrongValue {
                    name: crate::faults::VARIABLE,
                    given: value.to_string_lossy().into_owned(),
                    allowed: String::from(allowed),
                }),
            }
        }
        if !wrong.is_empty() {
            return Err(ConfigError(wrong));
        }
        let warnings = ours.keys().map(|name| unknown(name)).collect();
        Ok(Loaded { config, warnings })
    }

    /// Returns how callers are authenticated.
    ///
    /// # Errors
    /// If the identity provider is configured only in part.
    pub fn auth(&self) -> Result<auth::Settings, &'static str> {
        let mut settings = self.auth.clone();
        // The test panel sends a body as text, which can be twice as long.
        let largest = self.request_bytes_max.saturating_mul(2).max(FILE_BYTES_MAX as u64);
        settings.body_bytes_max = usize::try_from(largest).unwrap_or(usize::MAX);
        let oidc = &self.oidc;
        settings.oidc = match (&oidc.issuer, &oidc.client_id, &oidc.public_url) {
            (None, None, _) => None,
            (Some(issuer), Some(client_id), Some(public_url)) => Some(OidcSettings {
                issuer: issuer.clone(),
                client_id: client_id.clone(),
                client_secret: oidc.client_secret.clone().map(|secret| secret.0),
                name: oidc.name.clone().unwrap_or_else(|| "single sign-on".to_owned()),
                sign_up: oidc.sign_up,
                public_url: public_url.clone(),
            }),
            _ => {
                return Err("an identity provider needs all of PICLOUD_OIDC_ISSUER, \
                            PICLOUD_OIDC_CLIENT_ID and PICLOUD_PUBLIC_URL");
            }
        };
        Ok(settings)
    }

    /// Returns the hosts under which this process is reachable, so that no app can claim them.
    #[must_use]
    pub fn own_hosts(&self) -> Vec<String> {
        let urls = [self.oidc.public_url.as_deref(), Some(self.url.as_str())];
        let uris = urls.into_iter().flatten().filter_map(|url| url.parse::<http::Uri>().ok());
        let hosts = uris.filter_map(|uri| Hostname::parse(uri.host()?).ok());
        let mut hosts: Vec<_> = hosts.chain(self.auth.dashboard_host.clone()).collect();
        // Names of the local machine are reserved on every node.
        hosts.retain(|host| !host.is_local());
        hosts.sort();
        hosts.dedup();
        hosts.iter().map(ToString::to_string).collect()
    }

    /// Returns the filter and the format of the log.
    #[must_use]
    pub fn logging(&self) -> Logging {
        Logging { filter: self.log.clone(), format: self.log_format, logs_access: self.access_log }
    }

    /// Returns the source of the master key.
    #[must_use]
    pub fn key_settings(&self) -> KeySettings {
        KeySettings {
            data: self.data.clone(),
            configured: self.master_key.clone(),
            previous: self.master_key_previous.clone(),
        }
    }

    /// Returns the database: the configured one, or the SQLite file `picloud.db` in the data
    /// folder.
    ///
    /// # Errors
    /// If the current folder is deleted, and the data folder is relative to it.
    pub fn database_url(&self) -> Result<DatabaseUrl, DatabaseUrlError> {
        match &self.database {
            Some(url) => Ok(url.clone()),
            None => DatabaseUrl::sqlite_file(&self.data.join("picloud.db")),
        }
    }
}

fn unknown(name: &str) -> String {
    match value::nearest(name, SETTINGS.iter().map(|setting| setting.name)) {
        Some(nearest) => format!("{name} is not a setting; did you mean {nearest}?"),
        None => format!("{name} is not a setting; `picloud config` lists them all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        Config::read(variables.iter().map(|&(name, value)| (name.to_owned(), value.into())))
    }

    #[test]
    fn without_variables_every_setting_has_its_default() {
        let loaded = read(&[("HOME", "/root"), ("PICLOUD_MAX_FUEL", "")]).unwrap();
        assert_eq!(loaded.config.ceiling, Limits::CEILING);
        assert_eq!(loaded.config.listen.to_string(), "127.0.0.1:8080");
        assert!(loaded.warnings.is_empty());
        let database = loaded.config.database_url().unwrap().to_string();
        assert!(database.ends_with("/data/picloud.db"), "{database}");
    }

    #[test]
    fn a_value_is_read_with_its_unit() {
        let config = read(&[
            ("PICLOUD_MAX_MEMORY_BYTES", "64MiB"),
            ("PICLOUD_MAX_WALL_MS", "2500"),
            ("PICLOUD_DATA", "/srv/picloud"),
            ("PICLOUD_LOG_FORMAT", "json"),
            ("PICLOUD_URL", "https://pi.example/"),
        ])
        .unwrap()
        .config;
        assert_eq!(config.ceiling.memory_bytes_max, 64 << 20);
        assert_eq!(config.ceiling.wall_ms_max, 2500);
        assert_eq!(config.database_url().unwrap().to_string(), "sqlite:/srv/picloud/picloud.db");
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.url, "https://pi.example");
    }

    #[test]
    fn all_wrong_values_are_reported_at_once_and_a_secret_is_not_shown() {
        let wrong = read(&[
            ("PICLOUD_MAX_WALL_MS", "soon"),
            ("PICLOUD_LISTEN", "8080"),
            ("PICLOUD_OWNER_KEY", "too short"),
            ("PICLOUD_MASTER_KEY", "too short"),
        ])
        .unwrap_err();
        let said = wrong.to_string();
        assert_eq!(wrong.0.len(), 4, "{said}");
        assert!(said.contains("PICLOUD_MAX_WALL_MS: \"soon\" was given, 1 to 3600000 is allowed"));
        assert!(said.contains("PICLOUD_LISTEN: \"8080\" was given"));
        assert!(said.contains("PICLOUD_OWNER_KEY: \"***\" was given"));
        assert!(said.contains("PICLOUD_MASTER_KEY: \"***\" was given, 64 hexadecimal digits"));
        assert!(!said.contains("too short"));
    }

    #[test]
    fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
        let warnings =
            read(&[("PICLOUD_MAX_FULE", "5"), ("PICLOUD_COLOUR_OF_SKY", "5")]).unwrap().warnings;
        assert_eq!(warnings.len(), 2);
        assert!(warnings[1].contains("did you mean PICLOUD_MAX_FUEL?"), "{warnings:?}");
        assert!(warnings[0].contains("picloud config"), "{warnings:?}");
    }

    #[test]
    fn what_every_setting_shows_it_also_reads() {
        let shown = Config::default();
        for setting in SETTINGS.iter().filter(|setting| !setting.secret) {
            let mut config = Config::default();
            let value = setting.show(&shown);
            assert_eq!(setting.set(&mut config, value.as_ref()), Ok(()), "{}", setting.name);
            assert_eq!(setting.show(&config), value, "{}", setting.name);
        }
    }
}
