//! The schemas of the stored names: `store` itself does not know the API.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::store::{
    AppRole, Backoff, Delivery, ExecutionStatus, InstanceRole, Operation, Resolution, TriggerKind,
};

/// Describes a type as one of its names.
macro_rules! described {
    ($($type:ident: $description:literal;)+) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(SchemaType::new(Type::String))
                    .enum_values(Some($type::ALL.iter().map(|value| value.as_str())))
                    .description(Some($description))
                    .into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($type))
            }
        }
    )+};
}

described! {
    AppRole: "A member's role in an app. Each role includes the rights of the roles below it.";
    Backoff: "How the wait before the next attempt grows.";
    Delivery: "How a request to a route is served.";
    ExecutionStatus: "The status of a finished execution.";
    InstanceRole: "A user's role in the instance. Each role includes the rights of the roles below it.";
    Operation: "The kind of change to a key or a file.";
    Resolution: "How a dead letter was resolved.";
    TriggerKind: "The kind of event or call that started an execution.";
}
