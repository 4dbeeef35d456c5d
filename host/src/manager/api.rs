//! The types of the admin API, for its handlers and for the command line.
//!
//! Each type is defined beside its handlers. A type with a short name is exported here under the
//! name of its schema.
//!
//! Invariant: a response can be read with unknown fields and names, which a newer server sends. A
//! request with an unknown field is refused.

pub use super::extensible::Extensible;
pub use crate::error::{ErrorBody, Refusal};

// Apps.
pub use super::apps::{App, AppInFull, CreateApp, UpdateApp};
pub use super::members::{Member, SetMember};
pub use super::private_hosts::{Outbound, PutOutbound};
pub use super::storage::{AppStorage, StorageUse};

// Scripts.
pub use super::scripts::{
    CreateScript, Limits as ScriptLimits, LimitsInForce as ScriptLimitsInForce, Script,
    ScriptWithSource, UpdateScript,
};
pub use super::versions::{
    RollbackScript, Version as ScriptVersion, VersionWithSource as ScriptVersionWithSource,
};

// Routes and domains.
pub use super::domains::{ClaimDomain, Domain, DomainClosed, DomainProof, DomainState};
pub use super::policies::shape::{
    Cors, CustomSignature, HmacAuth, RateBy, RateLimit, RouteAuth, SignatureAlgorithm,
    SignatureEncoding, SignaturePreset,
};
pub use super::routes::{CreateRoute, Route, UpdateRoute};

// Triggers and events.
pub use super::events::{FireTrigger, PurgedOutbox, SendEvent, SentEvents};
pub use super::outbox::Event;
pub use super::triggers::{
    CreateTrigger, LastExecution, On as TriggerOn, Retry as TriggerRetry, Stopped, Trigger,
    UpdateTrigger,
};

// Dead letters.
pub use super::dead_letters::{
    BulkDeadLetters, BulkDone, DeadLetter, DeadLetterCount, DeadLettersQuery, ReplayDeadLetter,
    ReplayedDeadLetter,
};

// Executions.
pub use super::executions::{
    Execution, ExecutionError, ExecutionList, ExecutionSummary, Purged, RecordedLine,
};

// Keys and files in an app's storage.
pub use super::collections::{Collection, Entries, Entry, FileEntries, FileEntry, FileFacts};
pub use super::entries::{File, Key, SetKey};
pub use super::lists::List;

// Secrets, users, API keys and settings.
pub use super::api_keys::{ApiKey, CreateApiKey, NewApiKey};
pub use super::instance::{InstanceSettings, Setting};
pub use super::secrets::{PutSecret, Secret};
pub use super::users::{CreateUser, InvitedUser, UpdateUser, User};
