//! The names of kinds and states, as stored, shown and sent.

use crate::named::named;

named! {
    /// A user's role in the instance. Each role includes the rights of the roles below it.
    pub enum InstanceRole {
        /// Full access.
        Owner,
        /// Full access, except for managing owners.
        Admin,
        /// Access to the apps that the user is a member of.
        Member,
    }

    /// A member's role in an app. Each role includes the rights of the roles below it.
    pub enum AppRole {
        /// Full access to the app.
        AppAdmin,
        /// Can change scripts, routes and triggers.
        Editor,
        /// Can read.
        Viewer,
    }

    /// The status of a finished execution.
    pub enum ExecutionStatus {
        /// The script returned.
        Success,
        /// The script threw an error or failed to run.
        Error,
        /// The run exceeded its wall-clock limit.
        Timeout,
        /// The run used up its fuel.
        BudgetExceeded,
        /// The run exceeded its memory limit.
        MemoryExceeded,
        /// The run exceeded another named limit.
        LimitExceeded,
        /// The host failed during the run.
        Crashed,
    }

    /// The kind of event or call that started an execution.
    pub enum TriggerKind {
        /// A request to an endpoint or a route.
        Http,
        /// The test panel.
        Execute,
        /// Another script, directly or through an event.
        Script,
        /// A change of a key.
        Kv,
        /// A schedule.
        Cron,
        /// A message in a queue.
        Queue,
        /// A message on a topic.
        Pubsub,
        /// An e-mail.
        Email,
        /// A change of a file.
        Files,
        /// An event that was given up.
        DeadLetter,
    }

    /// How a request to a route is served.
    pub enum Delivery {
        /// Run the script and return its response.
        Sync,
        /// Store the request, run the script, and return its response if it is ready in time.
        Durable,
        /// Store the request and return at once; run the script later.
        Async,
    }

    /// The kind of change to a key or a file.
    pub enum Operation {
        /// It did not exist before.
        Insert,
        /// It existed before.
        Update,
        /// It was deleted.
        Delete,
    }

    /// How a dead letter was resolved.
    pub enum Resolution {
        /// Its event was enqueued again.
        Replayed,
        /// A user marked it as ignored.
        Ignored,
        /// A script for dead letters handled it.
        HandledByScript,
        /// A script for dead letters failed.
        HandlerFailed,
    }

    /// The namespace of an entry's name.
    pub enum Space {
        /// Keys in collections.
        Kv,
        /// Paths in buckets.
        Files,
    }

    /// How the wait before the next attempt grows.
    pub enum Backoff {
        /// The wait stays the same.
        Constant,
        /// The wait doubles.
        Exponential,
    }
}
