//! The names that an argument can have: another one is refused before anything is sent.

use clap::builder::PossibleValuesParser;
use picloud::cron::{Dst, Misfire, Overlap};
use picloud::store::{AppRole, Backoff, ExecutionStatus, InstanceRole, Operation, TriggerKind};

macro_rules! names_of {
    ($($function:ident $names:ty;)+) => {$(
        pub(super) fn $function() -> PossibleValuesParser {
            <$names>::ALL.iter().map(|name| name.as_str()).collect::<Vec<_>>().into()
        }
    )+};
}

names_of! {
    statuses ExecutionStatus;
    kinds TriggerKind;
    operations Operation;
    app_roles AppRole;
    instance_roles InstanceRole;
    backoffs Backoff;
    dst Dst;
    misfire Misfire;
    overlap Overlap;
}
