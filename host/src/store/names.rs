//! The names of kinds and states, as they are stored, shown and sent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The database has a name that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown name {0:?}")]
pub struct UnknownName(String);

macro_rules! names {
    ($($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name, as it is stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = UnknownName;

            fn try_from(name: String) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name).ok_or(UnknownName(name))
            }
        }
    )+};
}

names! {
    /// What a user may do in the instance; each may what those after it may.
    InstanceRole {
        /// Everything.
        Owner = "owner",
        /// Everything but what concerns owners.
        Admin = "admin",
        /// What they may in the apps that they are a member of.
        Member = "member",
    }

    /// What a member may do in an app; each may what those after it may.
    AppRole {
        /// Everything in the app.
        AppAdmin = "app_admin",
        /// Change scripts and what starts them.
        Editor = "editor",
        /// Look.
        Viewer = "viewer",
    }

    /// How a run ended.
    ExecutionStatus {
        /// The script returned.
        Success = "success",
        /// It threw, or failed to run.
        Error = "error",
        /// Its wall-clock time was up.
        Timeout = "timeout",
        /// Its fuel was used up.
        BudgetExceeded = "budget_exceeded",
        /// It asked for more memory than it may have.
        MemoryExceeded = "memory_exceeded",
        /// It went over another named limit.
        LimitExceeded = "limit_exceeded",
        /// The host failed while it ran.
        Crashed = "crashed",
    }

    /// What starts a run.
    TriggerKind {
        /// A request to an endpoint or a route.
        Http = "http",
        /// The test panel.
        Execute = "execute",
        /// Another script, now or later.
        Script = "script",
        /// A changed key.
        Kv = "kv",
        /// A schedule.
        Cron = "cron",
        /// A message in a queue.
        Queue = "queue",
        /// A message on a topic.
        Pubsub = "pubsub",
        /// A mail.
        Email = "email",
        /// A changed file.
        Files = "files",
        /// An event that was given up.
        DeadLetter = "dead_letter",
    }

    /// How a request to a route is served.
    Delivery {
        /// Run now, answer the result.
        Sync = "sync",
        /// Store, run, answer the result if it comes in time.
        Durable = "durable",
        /// Store and answer; run afterwards.
        Async = "async",
    }

    /// What happened to a key or a file.
    Operation {
        /// There was none before.
        Insert = "insert",
        /// There was another before.
        Update = "update",
        /// There is none any more.
        Delete = "delete",
    }

    /// What has become of a dead letter.
    Resolution {
        /// Its event was enqueued anew.
        Replayed = "replayed",
        /// Somebody decided to leave it.
        Ignored = "ignored",
        /// A script that listens to dead letters dealt with it.
        HandledByScript = "handled_by_script",
        /// That script failed.
        HandlerFailed = "handler_failed",
    }

    /// What the names of entries belong to.
    Space {
        /// Keys of collections.
        Kv = "kv",
        /// Paths of buckets.
        Files = "files",
    }

    /// How the wait before the next attempt grows.
    Backoff {
        /// It does not.
        Constant = "constant",
        /// It doubles.
        Exponential = "exponential",
    }
}
