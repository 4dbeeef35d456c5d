//! The table of settings.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::Config;
use super::log_filter;
use super::value::{Allowed, bytes, number, show_bytes};
use crate::hostname::Hostname;
use crate::limits::MEMORY_BYTES_MIN;
use crate::private_hosts::PrivateHostError;
use crate::secrets::MasterKeyError;
use crate::store::{Backoff, RateBy, RateLimit};
use crate::telemetry::LogFormat;

/// The most linear memory a wasm32 instance can have.
const WASM_MEMORY_BYTES_MAX: u64 = 4 << 30;

/// A setting.
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// The unit of its value; empty if it has none.
    pub unit: &'static str,
    /// A one-line description.
    pub doc: &'static str,
    /// Whether the value is secret. Even an invalid value is then never printed.
    pub secret: bool,
    set: fn(&mut Config, &str) -> Result<(), Allowed>,
    show: fn(&Config) -> String,
}

impl Setting {
    /// Parses a value and stores it in the configuration.
    ///
    /// # Errors
    /// The allowed values, if this one is not allowed.
    pub fn set(&self, config: &mut Config, value: &OsStr) -> Result<(), String> {
        match value.to_str() {
            Some(text) => (self.set)(config, text),
            None => Err("UTF-8".to_owned()),
        }
    }

    /// Returns the value in force, in the syntax that sets it; for a secret, only whether it is
    /// set.
    #[must_use]
    pub fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }
}

/// A row whose value is a number, of bytes or another unit.
macro_rules! numeric {
    (bytes $name:literal, $doc:literal, $range:expr, $($field:ident).+) => {
        Setting {
            name: $name,
            unit: "bytes",
            doc: $doc,
            secret: false,
            set: |config, text| {
                config.$($field).+ = bytes(text, $range)?;
                Ok(())
            },
            show: |config| show_bytes(config.$($field).+),
        }
    };
    ($unit:literal $name:literal, $doc:literal, $range:expr, $($field:ident).+) => {
        Setting {
            name: $name,
            unit: $unit,
            doc: $doc,
            secret: false,
            set: |config, text| {
                config.$($field).+ = number(text, $range)?;
                Ok(())
            },
            show: |config| config.$($field).+.to_string(),
        }
    };
}

/// A row whose value is a rate of requests, or unlimited.
macro_rules! rate {
    ($name:literal, $doc:literal, $($field:ident).+) => {
        Setting {
            name: $name,
            unit: "requests/s",
            doc: $doc,
            secret: false,
            set: |config, text| {
                config.$($field).+ = rate(text).ok_or("unlimited, or a rate like 100/1")?;
                Ok(())
            },
            show: |config| match &config.$($field).+ {
                Some(rate) => format!("{}/{}", rate.requests, rate.per_s),
                None => UNLIMITED.to_owned(),
            },
        }
    };
}

/// A row whose value is a master key.
macro_rules! master_key {
    ($name:literal, $doc:literal, $field:ident) => {
        Setting {
            name: $name,
            unit: "",
            doc: $doc,
            secret: true,
            set: |config, text| {
                let key = text.parse();
                config.$field = Some(key.map_err(|wrong: MasterKeyError| wrong.to_string())?);
                Ok(())
            },
            show: |config| if config.$field.is_some() { "(set)" } else { "(not set)" }.to_owned(),
        }
    };
}

/// All settings.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "PICLOUD_LISTEN",
        unit: "",
        doc: "address and port that the server listens on",
        secret: false,
        set: |config, text| {
            config.listen = text.parse().map_err(|_| "an address like 127.0.0.1:8080")?;
            Ok(())
        },
        show: |config| config.listen.to_string(),
    },
    Setting {
        name: "PICLOUD_DATA",
        unit: "",
        doc: "folder of the database and the compiled code",
        secret: false,
        set: |config, text| {
            config.data = PathBuf::from(text);
            Ok(())
        },
        show: |config| config.data.display().to_string(),
    },
    Setting {
        name: "PICLOUD_DATABASE_URL",
        unit: "",
        doc: "the database: sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME",
        secret: true,
        set: |config, text| {
            let allowed = "sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME";
            config.database = Some(text.parse().map_err(|_| allowed)?);
            Ok(())
        },
        show: |config| config.database_url().map_or_else(|_| String::new(), |url| url.to_string()),
    },
    numeric!("connections" "PICLOUD_READERS",
        "database connections for reads by scripts, requests and events",
        1..=100, readers.scripts),
    numeric!("connections" "PICLOUD_ADMIN_READERS",
        "database connections for reads by the admin API and the dashboard",
        1..=100, readers.admin),
    numeric!(bytes "PICLOUD_ENTRY_CACHE_BYTES",
        "memory for recently read keys, on SQLite; 0 turns it off",
        0..=64 << 30, entry_cache_bytes),
    numeric!("ms" "PICLOUD_EXECUTION_LOG_FLUSH_MS",
        "least time between two writes of executions without effects; a crash loses at most these",
        0..=60_000, execution_log_flush_ms),
    numeric!("instructions" "PICLOUD_MAX_FUEL",
        "most Wasm instructions of an execution", 1..=i64::MAX as u64, ceiling.fuel_max),
    numeric!(bytes "PICLOUD_MAX_MEMORY_BYTES",
        "most memory of an execution, including the interpreter",
        MEMORY_BYTES_MIN..=WASM_MEMORY_BYTES_MAX, ceiling.memory_bytes_max),
    numeric!("ms" "PICLOUD_MAX_WALL_MS",
        "timeout of an execution", 1..=3_600_000, ceiling.wall_ms_max),
    numeric!(bytes "PICLOUD_MAX_RESPONSE_BYTES",
        "largest response of a script", 1024..=1 << 30, ceiling.response_bytes_max),
    numeric!(bytes "PICLOUD_MAX_REQUEST_BYTES",
        "largest request body that a script receives", 1024..=1 << 30, request_bytes_max),
    numeric!("fields" "PICLOUD_MAX_FORM_FIELDS",
        "most fields of a form", 1..=100_000, form_limits.fields_max),
    numeric!("files" "PICLOUD_MAX_FORM_FILES",
        "most files of a form", 1..=10_000, form_limits.files_max),
    numeric!(bytes "PICLOUD_BODY_BUDGET_BYTES",
        "memory limit for all request bodies that are received or in use",
        1 << 20..=64 << 30, body_budget_bytes),
    numeric!("connections" "PICLOUD_MAX_CONNECTIONS",
        "most open connections; further ones wait",
        1..=1_000_000, connections.connections_max),
    numeric!("ms" "PICLOUD_HEADER_TIMEOUT_MS",
        "timeout for receiving the headers of a request",
        1..=3_600_000, connections.header_timeout_ms),
    numeric!("ms" "PICLOUD_BODY_TIMEOUT_MS",
        "timeout for receiving the body of a request", 1..=3_600_000, connections.body_timeout_ms),
    numeric!("ms" "PICLOUD_IDLE_TIMEOUT_MS",
        "timeout of a connection that is idle, or whose response is not read",
        1..=86_400_000, connections.idle_timeout_ms),
    numeric!(bytes "PICLOUD_MAX_HEADER_BYTES",
        "largest headers of a request", 1024..=1 << 20, connections.header_bytes_max),
    numeric!("headers" "PICLOUD_MAX_HEADERS",
        "most headers of a request", 8..=1000, connections.headers_max),
    numeric!("bytes" "PICLOUD_MAX_URI_BYTES",
        "longest path and query of a request", 64..=65_000, connections.uri_bytes_max),
    rate!(
        "PICLOUD_APP_RATE_LIMIT",
        "rate limit of an app without its own: REQUESTS/SECONDS, or unlimited",
        ingress.rate_limit
    ),
    rate!(
        "PICLOUD_CHECK_RATE",
        "rate limit of source checks for each user or key owner: REQUESTS/SECONDS, or unlimited",
        auth.rates.checks
    ),
    rate!(
        "PICLOUD_TEST_RATE",
        "rate limit of test runs for each user or key owner: REQUESTS/SECONDS, or unlimited",
        auth.rates.tests
    ),
    Setting {
        name: "PICLOUD_APP_MAX_CONCURRENCY",
        unit: "requests",
        doc: "most concurrent requests of an app without its own limit, or unlimited",
        secret: false,
        set: |config, text| {
            config.ingress.concurrency_max = match text {
                UNLIMITED => None,
                number_or_not => Some(number(number_or_not, 1..=10_000)?),
            };
            Ok(())
        },
        show: |config| match config.ingress.concurrency_max {
            Some(most) => most.to_string(),
            None => UNLIMITED.to_owned(),
        },
    },
    numeric!("keys" "PICLOUD_APP_MAX_ENTRIES",
        "most keys that an app stores", 0..=i64::MAX, storage_max.entries),
    numeric!("bytes" "PICLOUD_APP_MAX_ENTRY_BYTES",
        "most bytes of an app's keys and values", 0..=i64::MAX, storage_max.entry_bytes),
    numeric!("files" "PICLOUD_APP_MAX_FILES",
        "most files that an app stores", 0..=i64::MAX, storage_max.files),
    numeric!("bytes" "PICLOUD_APP_MAX_FILE_BYTES",
        "most bytes of an app's files", 0..=i64::MAX, storage_max.file_bytes),
    numeric!("events" "PICLOUD_APP_MAX_EVENTS",
        "most pending and running events of an app", 0..=i64::MAX, storage_max.events),
    numeric!("bytes" "PICLOUD_APP_MAX_EVENT_BYTES",
        "most bytes of the payloads of an app's pending and running events",
        0..=i64::MAX, storage_max.event_bytes),
    numeric!(bytes "PICLOUD_MAX_LOG_BYTES",
        "most bytes that an execution logs", 0..=64 << 20, ceiling.log_bytes_max),
    numeric!("lines" "PICLOUD_MAX_LOG_LINES",
        "most lines that an execution logs", 0..=100_000, ceiling.log_lines_max),
    numeric!("calls" "PICLOUD_MAX_HOST_CALLS",
        "most platform calls of an execution, not counting log lines",
        1..=1_000_000, ceiling.host_calls_max),
    numeric!("calls" "PICLOUD_MAX_OUTBOUND_CALLS",
        "most outbound requests of an execution", 0..=10_000, ceiling.outbound_calls_max),
    numeric!("effects" "PICLOUD_MAX_EFFECTS",
        "most changed entries and sent events of an execution", 1..=100_000, ceiling.effects_max),
    numeric!("bytes" "PICLOUD_MAX_EFFECTS_BYTES",
        "most bytes of the changed entries and sent events of an execution", 1024..=1 << 30, ceiling.effects_bytes_max),
    numeric!("bytes" "PICLOUD_MAX_LIST_BYTES",
        "most bytes of the entries in one listing", 1024..=1 << 30, ceiling.list_bytes_max),
    numeric!(bytes "PICLOUD_MAX_VALUE_BYTES",
        "largest value of a key or payload of an event, as JSON",
        1024..=8 << 20, ceiling.value_bytes_max),
    numeric!("calls" "PICLOUD_MAX_CALL_DEPTH",
        "deepest nesting of function calls in a script", 1..=256, ceiling.call_depth_max),
    numeric!("executions" "PICLOUD_MAX_CONCURRENCY",
        "most concurrent executions", 1..=4096, concurrency_max),
    numeric!("executions" "PICLOUD_MAX_QUEUED",
        "most executions that wait for a slot", 0..=1_000_000, queue_max),
    numeric!("ms" "PICLOUD_QUEUE_TIMEOUT_MS",
        "timeout of an execution that waits for a slot", 0..=600_000, queue_timeout_ms),
    numeric!(bytes "PICLOUD_IMAGE_CACHE_BYTES",
        "memory limit for compiled scripts", 1 << 20..=64 << 30, image_cache_bytes_max),
    numeric!(bytes "PICLOUD_DISK_RESERVE_BYTES",
        "disk space reserved for cleaning up an SQLite database when the disk is full; 0 for none",
        0..=64 << 30, disk_reserve_bytes),
    numeric!("days" "PICLOUD_EXECUTION_LOG_RETENTION_DAYS",
        "how long executions are kept", 1..=36_500, execution_log_retention_days),
    Setting {
        name: "PICLOUD_EXECUTION_LOG_BYTES_MAX",
        unit: "bytes",
        doc: "largest log of executions; 0 for no limit. Default: 4gib, and none in an \
              installation that is older than this setting",
        secret: false,
        set: |config, text| {
            let set = (!text.is_empty()).then(|| bytes(text, 0..=64 << 40)).transpose()?;
            config.execution_log_bytes_max = set;
            Ok(())
        },
        show: |config| config.execution_log_bytes_max.map_or_else(String::new, show_bytes),
    },
    numeric!("days" "PICLOUD_DEAD_LETTER_RETENTION_DAYS",
        "how long dead letters are kept", 1..=36_500, dead_letter_retention_days),
    numeric!("days" "PICLOUD_ABANDONED_EXECUTIONS_RETENTION_DAYS",
        "how long responses of abandoned executions are kept",
        1..=36_500, abandoned_executions_retention_days),
    numeric!("days" "PICLOUD_AUDIT_RETENTION_DAYS",
        "how long the audit log is kept", 1..=36_500, audit_retention_days),
    numeric!("events" "PICLOUD_MAX_TRIGGER_DEPTH",
        "longest chain of events that cause each other", 1..=1000, events.depth_max),
    numeric!("events" "PICLOUD_MAX_EVENT_CONCURRENCY",
        "most concurrent events", 1..=4096, events.concurrency),
    numeric!("ms" "PICLOUD_EVENT_LEASE_MS",
        "lease of an event; after it, another node takes over the event of a node that died",
        500..=3_600_000, events.lease_ms),
    numeric!("ms" "PICLOUD_REPLY_WAIT_MS",
        "how long the caller of a durable route waits for the result",
        0..=600_000, events.reply_wait_ms),
    numeric!("attempts" "PICLOUD_TRIGGER_RETRY_ATTEMPTS",
        "attempts before an event becomes a dead letter", 1..=1000, events.retry.attempts_max),
    Setting {
        name: "PICLOUD_TRIGGER_RETRY_BACKOFF",
        unit: "",
        doc: "how the wait before the next attempt grows: constant or exponential",
        secret: false,
        set: |config, text| {
            let backoff = Backoff::try_from(text.to_owned());
            config.events.retry.backoff = backoff.map_err(|_| "constant or exponential")?;
            Ok(())
        },
        show: |config| config.events.retry.backoff.as_str().to_owned(),
    },
    numeric!("ms" "PICLOUD_TRIGGER_RETRY_BASE_MS",
        "first wait between attempts", 0..=86_400_000, events.retry.base_ms),
    numeric!("ms" "PICLOUD_TRIGGER_RETRY_CAP_MS",
        "longest wait between attempts", 0..=86_400_000, events.retry.cap_ms),
    Setting {
        name: "PICLOUD_TRIGGER_RETRY_JITTER",
        unit: "",
        doc: "random part of a wait, 0 to 1",
        secret: false,
        set: |config, text| {
            let jitter: f64 = text.parse().map_err(|_| "0 to 1")?;
            if !(0.0..=1.0).contains(&jitter) {
                return Err("0 to 1".into());
            }
            config.events.retry.jitter = jitter;
            Ok(())
        },
        show: |config| config.events.retry.jitter.to_string(),
    },
    Setting {
        name: "PICLOUD_PRIVATE_HOSTS",
        unit: "",
        doc: "hosts without a public address that scripts can call, separated by commas",
        secret: false,
        set: |config, text| {
            let hosts = text.split(',').map(str::trim).filter(|host| !host.is_empty());
            let hosts: Result<Vec<_>, _> = hosts.map(str::parse).collect();
            config.private_hosts = hosts.map_err(|wrong: PrivateHostError| wrong.to_string())?;
            Ok(())
        },
        show: |config| {
            let hosts: Vec<_> = config.private_hosts.iter().map(ToString::to_string).collect();
            hosts.join(",")
        },
    },
    Setting {
        name: "PICLOUD_OWNER_KEY",
        unit: "",
        doc: "owner key of the admin API; by default the first start creates one",
        secret: true,
        set: |config, text| {
            config.owner_key =
                Some(text.parse().map_err(|wrong: crate::auth::OwnerKeyError| wrong.to_string())?);
            Ok(())
        },
        show: |config| if config.owner_key.is_some() { "(set)" } else { "(not set)" }.to_owned(),
    },
    Setting {
        name: "PICLOUD_API_KEY",
        unit: "",
        doc: "API key for the command line; it replaces the owner key",
        secret: true,
        set: |config, text| {
            config.api_key =
                Some(text.parse().map_err(|wrong: crate::auth::OwnerKeyError| wrong.to_string())?);
            Ok(())
        },
        show: |config| if config.api_key.is_some() { "(set)" } else { "(not set)" }.to_owned(),
    },
    Setting {
        name: "PICLOUD_ADMIN_PASSWORD",
        unit: "",
        doc: "password of the user admin at the first start; by default one is generated",
        secret: true,
        set: |config, text| {
            config.auth.admin_password = Some(text.parse()?);
            Ok(())
        },
        show: |config| {
            let is_set = config.auth.admin_password.is_some();
            if is_set { "(set)" } else { "(not set)" }.to_owned()
        },
    },
    master_key!(
        "PICLOUD_MASTER_KEY",
        "key that encrypts all secrets; by default the first start creates one in the data folder",
        master_key
    ),
    master_key!(
        "PICLOUD_MASTER_KEY_PREVIOUS",
        "previous master key; at the start its secrets are encrypted with the new one",
        master_key_previous
    ),
    numeric!("days" "PICLOUD_SESSION_IDLE_DAYS",
        "how long a browser stays signed in without a request",
        1..=3650, auth.sessions.idle_days),
    numeric!("days" "PICLOUD_SESSION_MAX_DAYS",
        "longest time that a browser stays signed in", 1..=3650, auth.sessions.days_max),
    Setting {
        name: "PICLOUD_PUBLIC_URL",
        unit: "",
        doc: "address of the server for browsers: https://cloud.example",
        secret: false,
        set: |config, text| {
            config.oidc.public_url = unless_none(text).map(url).transpose()?;
            Ok(())
        },
        show: |config| config.oidc.public_url.clone().unwrap_or_else(|| NONE.to_owned()),
    },
    Setting {
        name: "PICLOUD_OIDC_ISSUER",
        unit: "",
        doc: "issuer of the identity provider",
        secret: false,
        set: |config, text| {
            unless_none(text).map(url).transpose()?;
            config.oidc.issuer = unless_none(text).map(str::to_owned);
            Ok(())
        },
        show: |config| config.oidc.issuer.clone().unwrap_or_else(|| NONE.to_owned()),
    },
    Setting {
        name: "PICLOUD_OIDC_CLIENT_ID",
        unit: "",
        doc: "client id of PiCloud at the identity provider",
        secret: false,
        set: |config, text| {
            config.oidc.client_id = unless_none(text).map(str::to_owned);
            Ok(())
        },
        show: |config| config.oidc.client_id.clone().unwrap_or_else(|| NONE.to_owned()),
    },
    Setting {
        name: "PICLOUD_OIDC_CLIENT_SECRET",
        unit: "",
        doc: "client secret of PiCloud at the identity provider",
        secret: true,
        set: |config, text| {
            config.oidc.client_secret = Some(super::ClientSecret(text.to_owned()));
            Ok(())
        },
        show: |config| {
            if config.oidc.client_secret.is_some() { "(set)" } else { "(not set)" }.to_owned()
        },
    },
    Setting {
        name: "PICLOUD_OIDC_NAME",
        unit: "",
        doc: "label of the button that signs in with the identity provider",
        secret: false,
        set: |config, text| {
            config.oidc.name = Some(text.to_owned());
            Ok(())
        },
        show: |config| config.oidc.name.clone().unwrap_or_else(|| "single sign-on".to_owned()),
    },
    Setting {
        name: "PICLOUD_OIDC_SIGN_UP",
        unit: "",
        doc: "role of uninvited users of the identity provider: off (none) or member",
        secret: false,
        set: |config, text| {
            config.oidc.sign_up = match text {
                "off" => false,
                "member" => true,
                _ => return Err("off or member".into()),
            };
            Ok(())
        },
        show: |config| if config.oidc.sign_up { "member" } else { "off" }.to_owned(),
    },
    Setting {
        name: "PICLOUD_TRUSTED_PROXIES",
        unit: "",
        doc: "networks whose X-Forwarded-For and -Proto are trusted, separated by commas, or none",
        secret: false,
        set: |config, text| {
            let proxies = text.parse();
            config.auth.trusted_proxies =
                proxies.map_err(|wrong: crate::auth::TrustedProxiesError| wrong.to_string())?;
            Ok(())
        },
        show: |config| config.auth.trusted_proxies.to_string(),
    },
    Setting {
        name: "PICLOUD_DASHBOARD_HOST",
        unit: "",
        doc: "only host that serves the dashboard; pages of scripts on other hosts then keep their own origin",
        secret: false,
        set: |config, text| {
            config.auth.dashboard_host = match text {
                EVERY => None,
                text => Some(host(text)?),
            };
            Ok(())
        },
        show: |config| shown_or(config.auth.dashboard_host.as_ref(), EVERY),
    },
    Setting {
        name: "PICLOUD_DNS_SERVER",
        unit: "",
        doc: "DNS server that verifies domains: an address and a port, or system",
        secret: false,
        set: |config, text| {
            config.dns_server = match text {
                SYSTEM => None,
                text => Some(text.parse().map_err(|_| "an address like 10.0.0.1:53, or system")?),
            };
            Ok(())
        },
        show: |config| shown_or(config.dns_server.as_ref(), SYSTEM),
    },
    Setting {
        name: "PICLOUD_LOG",
        unit: "",
        doc: "log filter, like info or picloud=debug,warn",
        secret: false,
        set: |config, text| {
            log_filter::check(text)?;
            config.log = text.to_owned();
            Ok(())
        },
        show: |config| config.log.clone(),
    },
    Setting {
        name: "PICLOUD_ACCESS_LOG",
        unit: "",
        doc: "whether the log has a line for each request: on or off",
        secret: false,
        set: |config, text| {
            config.access_log = match text {
                "on" => true,
                "off" => false,
                _ => return Err("on or off".to_owned()),
            };
            Ok(())
        },
        show: |config| if config.access_log { "on" } else { "off" }.to_owned(),
    },
    Setting {
        name: "PICLOUD_LOG_FORMAT",
        unit: "",
        doc: "log format: text or json",
        secret: false,
        set: |config, text| {
            config.log_format = match text {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err("text or json".to_owned()),
            };
            Ok(())
        },
        show: |config| match config.log_format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        },
    },
    Setting {
        name: "PICLOUD_URL",
        unit: "",
        doc: "address of the server for the command line",
        secret: false,
        set: |config, text| {
            config.url = url(text)?;
            Ok(())
        },
        show: |config| config.url.clone(),
    },
];

fn shown_or(value: Option<&impl ToString>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), ToString::to_string)
}

/// Parses a host without a port.
fn host(text: &str) -> Result<Hostname, Allowed> {
    let host = Hostname::parse(text).ok();
    // A port is refused: ignoring it would surprise the operator.
    let has_port = text.parse().is_ok_and(|known: http::uri::Authority| known.port().is_some());
    let allowed = "a host without a port like pi.example.org, or every";
    host.filter(|_| !has_port).ok_or_else(|| allowed.to_owned())
}

/// No limit.
const UNLIMITED: &str = "unlimited";
/// The DNS server of the operating system.
const SYSTEM: &str = "system";
/// The dashboard is served on every host.
const EVERY: &str = "every";

/// Parses a rate; `None` if the text is not valid.
#[expect(clippy::option_option, reason = "an unlimited rate is a valid rate")]
fn rate(text: &str) -> Option<Option<RateLimit>> {
    if text == UNLIMITED {
        return Some(None);
    }
    let (requests, per_s) = text.split_once('/')?;
    let requests = number(requests, 1..=1_000_000).ok()?;
    let per_s = number(per_s, 1..=86_400).ok()?;
    Some(Some(RateLimit { requests, per_s, by: RateBy::All }))
}

/// The text of a value that is not set.
const NONE: &str = "none";

fn unless_none(text: &str) -> Option<&str> {
    Some(text).filter(|text| *text != NONE)
}

/// Parses an absolute `http` or `https` URL, and removes slashes at its end.
fn url(text: &str) -> Result<String, Allowed> {
    let uri: Option<http::Uri> = text.parse().ok();
    let is_plain = |uri: &http::Uri| {
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        known && uri.authority().is_some() && uri.query().is_none()
    };
    match uri.is_some_and(|uri| is_plain(&uri)) {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("a URL like http://127.0.0.1:8080".into()),
    }
}
