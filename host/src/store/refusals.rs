//! Maps store errors to API errors: the status and the code of each.

use super::{Conflict, Error as StoreError};
use crate::error::{DISK_FULL_RETRY_AFTER_S, Error, RETRY_AFTER_S, Refusal};

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(resource) => Self::not_found(resource),
            StoreError::Conflict(full @ Conflict::StorageFull(_)) => Self::StorageFull(full.into()),
            StoreError::Conflict(conflict) => Self::Conflict(conflict.into()),
            StoreError::Invalid { field, reason } => Self::Invalid(Refusal::field(field, reason)),
            StoreError::Full(_) => Self::Unavailable {
                refusal: Refusal::new("disk_full", "the disk of the database is full"),
                retry_after_s: DISK_FULL_RETRY_AFTER_S,
            },
            StoreError::Unavailable(_) | StoreError::Contended(_) => Self::Unavailable {
                refusal: Refusal::new("store_unavailable", "the database is unavailable"),
                retry_after_s: RETRY_AFTER_S,
            },
            StoreError::Schema { .. } | StoreError::Internal(_) => Self::internal(error),
        }
    }
}

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Self {
        let message = conflict.to_string();
        match conflict {
            Conflict::AppName => Self::new("app_name_taken", message),
            Conflict::ScriptName => Self::new("script_name_taken", message),
            Conflict::Domain => Self::new("domain_taken", message),
            Conflict::Queue => Self::new("queue_taken", message),
            Conflict::Address => Self::new("address_taken", message),
            Conflict::Resolved => Self::new("dead_letter_replayed", message),
            Conflict::EventRuns => Self::new("event_running", message),
            Conflict::ScriptDeleted => Self::new("script_deleted", message),
            Conflict::UserName => Self::new("user_name_taken", message),
            Conflict::Identity => Self::new("identity_taken", message),
            Conflict::LastOwner => Self::new("last_owner", message),
            Conflict::SecretsMax(most) => Self::new("secrets_full", message).with("most", most),
            Conflict::DomainsMax(most) => Self::new("domains_full", message).with("most", most),
            Conflict::MasterKey => Self::new("master_key_replaced", message),
            Conflict::StorageFull(full) => Self::new("storage_full", message)
                .with("limit", full.limit)
                .with("used", full.used)
                .with("most", full.most),
            Conflict::Concurrent => Self::new("changed_concurrently", message),
            Conflict::Version(version) => {
                Self::new("version_conflict", message).with("version", version)
            }
            Conflict::Route(route) => Self::new("route_conflict", message)
                .with("conflicting_route_id", route.id.as_str())
                .with("conflicting_route", format!("{} {}", route.method, route.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Resource;

    #[test]
    fn each_refusal_has_a_status_and_a_code() {
        let table = [
            (StoreError::NotFound(Resource::Script), 404, "script_not_found"),
            (StoreError::NotFound(Resource::App), 404, "app_not_found"),
            (StoreError::Conflict(Conflict::AppName), 409, "app_name_taken"),
            (StoreError::Conflict(Conflict::ScriptName), 409, "script_name_taken"),
            (StoreError::Conflict(Conflict::Version(4)), 409, "version_conflict"),
            (StoreError::Invalid { field: "name", reason: "is too long" }, 400, "field_invalid"),
            (StoreError::Unavailable("secret".into()), 503, "store_unavailable"),
            (StoreError::Full("secret".into()), 503, "disk_full"),
        ];
        for (error, status, code) in table {
            let refused = Error::from(error);
            assert_eq!((refused.status().as_u16(), &*refused.refusal().code), (status, code));
            assert!(!refused.to_string().contains("secret"));
        }
    }
}
