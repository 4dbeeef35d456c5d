//! The settings, and the one place that reads the environment.
//!
//! Each setting is one row of [`SETTINGS`]: its name, its unit, what it is for,
//! how it is read and how it is shown. Its default is what [`Config::default`]
//! holds.
//!
//! Invariant: nothing else in the host reads an environment variable.
//! Invariant: a wrong value stops the start; no value is corrected silently.

mod log_filter;
mod settings;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::auth::{self, OidcSettings, OwnerKey};
use crate::executor::entries::FILE_BYTES_MAX;
use crate::hostname::Hostname;
use crate::limits::Limits;
use crate::orchestrator::{EventSettings, IngressSettings};
use crate::private_hosts::PrivateHost;
use crate::requests::form::FormLimits;
use crate::secrets::{KeySettings, MasterKey};
use crate::serving::ConnectionLimits;
use crate::store::{DatabaseUrl, DatabaseUrlError, Readers, Storage};
use crate::telemetry::{LogFormat, Logging};

pub use settings::{SETTINGS, Setting};

/// What every variable of ours begins with.
const PREFIX: &str = "PICLOUD_";

/// Every setting of a process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// Makes the data folder the database's, whatever instance it belonged to: of the command
    /// line, not of a variable that would stay.
    pub adopt_data_folder: bool,
    /// The database, if it is not the one in the data folder.
    pub database: Option<DatabaseUrl>,
    /// How many bytes of the disk of an SQLite database are kept free for tidying up; 0 for none.
    pub disk_reserve_bytes: u64,
    /// How many connections read the database at once.
    pub readers: Readers,
    /// What no execution gets more of.
    pub ceiling: Limits,
    /// The largest request body that a script is given, in bytes.
    pub request_bytes_max: u64,
    /// How much of a form is read.
    pub form_limits: FormLimits,
    /// The memory that all request bodies may take together, in bytes.
    pub body_budget_bytes: u64,
    /// What no caller may take more of.
    pub connections: ConnectionLimits,
    /// The storage limits of each app.
    pub storage_max: Storage,
    /// How many executions run at once.
    pub concurrency_max: usize,
    /// How many executions wait for a slot at once; more are refused.
    pub queue_max: usize,
    /// How long an execution waits for a slot, in milliseconds.
    pub queue_timeout_ms: u64,
    /// What compiled scripts may take in memory, in bytes.
    pub image_cache_bytes_max: u64,
    /// How long executions are kept, in days.
    pub execution_log_retention_days: u32,
    /// How long dead letters are kept, in days.
    pub dead_letter_retention_days: u32,
    /// How long abandoned executions are kept, in days.
    pub abandoned_executions_retention_days: u32,
    /// How long the audit log is kept, in days.
    pub audit_retention_days: u32,
    /// How events are carried out.
    pub events: EventSettings,
    /// What an app gets that has no limits of its own.
    pub ingress: IngressSettings,
    /// Hosts that scripts reach although they have no public address.
    pub private_hosts: Vec<PrivateHost>,
    /// The owner key, if it is not the one in the database.
    pub owner_key: Option<OwnerKey>,
    /// The key that the command line calls with, if it is not the owner key.
    pub api_key: Option<OwnerKey>,
    /// What callers are recognised by.
    pub auth: auth::Settings,
    /// The identity provider's settings, as far as they are set.
    pub oidc: OidcConfig,
    /// The master key, if it is not the one in the data folder.
    pub master_key: Option<MasterKey>,
    /// The master key before.
    pub master_key_previous: Option<MasterKey>,
    /// The DNS server for proofs of domains; `None` for the system's.
    pub dns_server: Option<SocketAddr>,
    /// What is logged, as a filter of `tracing`.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Whether each answer has a line in the log.
    pub access_log: bool,
    /// Where the command line finds the server, without a slash at its end.
    pub url: String,
    /// Where a test has this process killed.
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
            disk_reserve_bytes: 32 << 20,
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

/// What is set about the identity provider.
#[derive(Clone, Debug, Default)]
pub struct OidcConfig {
    /// Its issuer.
    pub issuer: Option<String>,
    /// What PiCloud is called there.
    pub client_id: Option<String>,
    /// What it proves itself with there.
    pub client_secret: Option<ClientSecret>,
    /// What the button says.
    pub name: Option<String>,
    /// Whether whoever it knows becomes a member.
    pub sign_up: bool,
    /// Where browsers find PiCloud, without a slash at its end.
    pub public_url: Option<String>,
}

/// `Debug` does not show it.
#[derive(Clone)]
pub struct ClientSecret(pub String);

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSecret(***)")
    }
}

/// What was read, and what is odd about it but does not matter.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Sentences about variables that nothing reads.
    pub warnings: Vec<String>,
}

/// A variable with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongValue {
    /// The variable.
    pub name: &'static str,
    /// What it was set to; stars for a secret.
    pub given: String,
    /// What it may be set to.
    pub allowed: String,
}

/// All wrong values at once, so that they can be put right at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<WrongValue>);

impl std::fmt::Display for WrongValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?} was given, {} is allowed", self.name, self.given, self.allowed)
    }
}

impl Config {
    /// The settings of this process.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable whose value is wrong.
    pub fn from_env() -> Result<Loaded, ConfigError> {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self::read(variables)
    }

    /// The settings that these variables make; those of others are ignored, and an
    /// empty value is none.
    ///
    /// # Errors
    /// [`ConfigError`] with every variable whose value is wrong.
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

    /// What callers are recognised by.
    ///
    /// # Errors
    /// When the identity provider is set up in part.
    pub fn auth(&self) -> Result<auth::Settings, &'static str> {
        let mut settings = self.auth.clone();
        // What is tried with a request comes as text, which may be twice as long.
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

    /// The hosts on which this process is meant to be found, so that nobody else has them.
    #[must_use]
    pub fn own_hosts(&self) -> Vec<String> {
        let urls = [self.oidc.public_url.as_deref(), Some(self.url.as_str())];
        let uris = urls.into_iter().flatten().filter_map(|url| url.parse::<http::Uri>().ok());
        let hosts = uris.filter_map(|uri| Hostname::parse(uri.host()?).ok());
        let mut hosts: Vec<_> = hosts.chain(self.auth.dashboard_host.clone()).collect();
        // What means a machine itself is reserved everywhere.
        hosts.retain(|host| !host.is_local());
        hosts.sort();
        hosts.dedup();
        hosts.iter().map(ToString::to_string).collect()
    }

    /// What is logged, and how.
    #[must_use]
    pub fn logging(&self) -> Logging {
        Logging { filter: self.log.clone(), format: self.log_format, logs_access: self.access_log }
    }

    /// Where the master key comes from.
    #[must_use]
    pub fn key_settings(&self) -> KeySettings {
        KeySettings {
            data: self.data.clone(),
            configured: self.master_key.clone(),
            previous: self.master_key_previous.clone(),
        }
    }

    /// The database: the one that was set, or the SQLite file `picloud.db` in the
    /// data folder.
    ///
    /// # Errors
    /// When the current folder, which a relative data folder starts from, is gone.
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
        None => format!("{name} is not a setting; `picloud config` prints them all"),
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
