//! Whether a trigger can fire: it runs as the principal that registered it, and only while that
//! principal could register it. Pure.

use super::{Capability, Principal};
use crate::store::Trigger;

/// Why an enabled trigger does not fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The user does not exist any more.
    RegistrantGone,
    /// The user is disabled.
    RegistrantDisabled,
    /// The user lost the right to have triggers in this app.
    RegistrantNotAllowed,
}

impl StopReason {
    /// The form for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RegistrantGone => "registrant_gone",
            Self::RegistrantDisabled => "registrant_disabled",
            Self::RegistrantNotAllowed => "registrant_not_allowed",
        }
    }
}

/// The form for people.
impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RegistrantGone => "the user who registered the trigger no longer exists",
            Self::RegistrantDisabled => "the user who registered the trigger is disabled",
            Self::RegistrantNotAllowed => {
                "the user who registered the trigger can no longer have triggers in this app"
            }
        })
    }
}

/// Returns why an enabled trigger does not fire; `None` if it does.
#[must_use]
pub fn stop_reason(trigger: &Trigger) -> Option<StopReason> {
    match (Principal::of(&trigger.registered_by_principal), &trigger.registrant) {
        (Some(Principal::Owner), _) => None,
        (_, None) => Some(StopReason::RegistrantGone),
        (_, Some(registrant)) if !registrant.enabled => Some(StopReason::RegistrantDisabled),
        (_, Some(registrant)) => {
            let may = Capability::AppManageTriggers.is_had_by(registrant.role, registrant.app_role);
            (!may).then_some(StopReason::RegistrantNotAllowed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AppRole, InstanceRole, Registrant, RetryOverrides, TriggerDetail};
    use uuid::Uuid;

    fn reason(principal: &str, registrant: Option<Registrant>) -> Option<StopReason> {
        stop_reason(&Trigger {
            id: Uuid::nil().into(),
            app_id: Uuid::nil().into(),
            script_id: Uuid::nil().into(),
            disabled_at: None,
            retry: RetryOverrides::default(),
            registered_by_principal: principal.to_owned(),
            registrant,
            created_at: 0,
            updated_at: 0,
            detail: TriggerDetail::Queue { queue: "q".to_owned() },
        })
    }

    #[test]
    fn a_trigger_goes_on_while_its_registrant_could_register_it() {
        let user = format!("user:{}", Uuid::nil());
        let known = |role, app_role, enabled| {
            Some(Registrant { name: "ada".to_owned(), role, app_role, enabled })
        };
        let (member, admin) = (InstanceRole::Member, InstanceRole::Admin);
        let table = [
            (known(member, Some(AppRole::Editor), true), Some(StopReason::RegistrantNotAllowed)),
            (known(member, Some(AppRole::AppAdmin), true), None),
            (known(admin, None, true), None),
            (known(member, Some(AppRole::Viewer), true), Some(StopReason::RegistrantNotAllowed)),
            (known(member, None, true), Some(StopReason::RegistrantNotAllowed)),
            (known(admin, None, false), Some(StopReason::RegistrantDisabled)),
            (None, Some(StopReason::RegistrantGone)),
        ];
        for (registrant, expected) in table {
            assert_eq!(reason(&user, registrant.clone()), expected, "{registrant:?}");
        }
        assert_eq!(reason("owner", None), None, "the owner always exists");
        assert_eq!(reason("somebody", None), Some(StopReason::RegistrantGone));
    }
}
