//! The allowed values of arguments. Other values are refused before a request is sent.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use picloud::cron::{Dst, Misfire, Overlap};
use picloud::store::{AppRole, Backoff, ExecutionStatus, InstanceRole, Operation, TriggerKind};
use serde::de::value::Error;
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::Failure;

macro_rules! names_of {
    ($($function:ident $names:ty;)+) => {$(
        pub(super) fn $function() -> impl TypedValueParser<Value = $names> {
            let names = <$names>::ALL.iter().map(|name| name.as_str());
            PossibleValuesParser::from(names.collect::<Vec<_>>()).try_map(<$names>::try_from)
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

/// Reads a name whose type depends on other arguments.
pub(super) fn named<T: DeserializeOwned>(argument: &str, name: &str) -> Result<T, Failure> {
    T::deserialize(name.into_deserializer())
        .map_err(|error: Error| Failure(format!("{argument}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_with_those_that_exist() {
        assert_eq!(named("--role", "editor").ok(), Some(AppRole::Editor));
        let refused = named::<AppRole>("--role", "king").err().map(|Failure(said)| said);
        let expected =
            "--role: unknown variant `king`, expected one of `app_admin`, `editor`, `viewer`";
        assert_eq!(refused.as_deref(), Some(expected));
    }
}
