//! The only place that maps roles to capabilities to scopes.
//!
//! ```text
//!  role of the caller ──▶ has the capability? ──┐
//!  scopes of the key  ──▶ include its scope?  ──┼─▶ all yes: allowed
//!  app of the key     ──▶ is it this app?     ──┘
//! ```
//!
//! Code checks a capability, and never a role or a scope itself. Pure.
//!
//! Invariant: a key never exceeds its owner: both the role and the scope are checked.
//! Invariant: a key cannot give rights that it does not have: see
//! [`Caller::check_gives`](super::Caller::check_gives).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::store::{AppRole, InstanceRole};

/// A right that a key can have. There are exactly seven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Read apps, scripts, routes and triggers.
    #[serde(rename = "script:read")]
    ScriptRead,
    /// Change scripts, run them, and change their data.
    #[serde(rename = "script:write")]
    ScriptWrite,
    /// Change routes.
    #[serde(rename = "route:write")]
    RouteWrite,
    /// Claim and release domains.
    #[serde(rename = "domain:manage")]
    DomainManage,
    /// Change an app itself, its members, secrets and triggers, and process dead letters.
    #[serde(rename = "app:admin")]
    AppAdmin,
    /// Read executions, events, dead letters and the data of scripts.
    #[serde(rename = "log:read")]
    LogRead,
    /// Change the instance: apps, users, settings.
    #[serde(rename = "instance:admin")]
    InstanceAdmin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 7] = [
        Self::ScriptRead,
        Self::ScriptWrite,
        Self::RouteWrite,
        Self::DomainManage,
        Self::AppAdmin,
        Self::LogRead,
        Self::InstanceAdmin,
    ];

    /// The stored and shown form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScriptRead => "script:read",
            Self::ScriptWrite => "script:write",
            Self::RouteWrite => "route:write",
            Self::DomainManage => "domain:manage",
            Self::AppAdmin => "app:admin",
            Self::LogRead => "log:read",
            Self::InstanceAdmin => "instance:admin",
        }
    }

    /// Returns the scopes that a member with this role uses in their app.
    #[must_use]
    pub fn of_app_role(role: AppRole) -> BTreeSet<Self> {
        let all = Capability::ALL.iter().filter(|capability| capability.is_in_app());
        let had = all.filter(|capability| capability.is_had_by(InstanceRole::Member, Some(role)));
        had.filter_map(|capability| capability.scope()).collect()
    }

    /// Returns the scope with this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// The least role that has a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Least {
    /// A role in the app.
    App(AppRole),
    /// A role in the instance.
    Instance(InstanceRole),
}

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $scope:expr, $least:expr;)+) => {
        /// A right that is checked before an operation. Those that begin with `App` are checked in
        /// an app.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Capability {
            $($(#[$doc])* $name,)+
        }

        impl Capability {
            /// All capabilities.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The shown form.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Returns the scope that a key needs for the capability; `None` if every key has it.
            #[must_use]
            pub fn scope(self) -> Option<Scope> {
                match self {
                    $(Self::$name => $scope,)+
                }
            }

            fn least(self) -> Least {
                match self {
                    $(Self::$name => $least,)+
                }
            }
        }
    };
}

capabilities! {
    /// Read the app, its scripts, routes, triggers and domains, and the names of its secrets.
    AppRead = "app_read": Some(Scope::ScriptRead), Least::App(AppRole::Viewer);
    /// Read executions, events and dead letters.
    AppReadLogs = "app_read_logs": Some(Scope::LogRead), Least::App(AppRole::Viewer);
    /// Read keys and files.
    AppReadData = "app_read_data": Some(Scope::LogRead), Least::App(AppRole::Viewer);
    /// Create, change and delete scripts.
    AppWriteScripts = "app_write_scripts": Some(Scope::ScriptWrite), Least::App(AppRole::Editor);
    /// Run scripts by hand, send messages and fire triggers.
    AppRunScripts = "app_run_scripts": Some(Scope::ScriptWrite), Least::App(AppRole::Editor);
    /// Change keys and files by hand.
    AppWriteData = "app_write_data": Some(Scope::ScriptWrite), Least::App(AppRole::Editor);
    /// Create, change and delete routes.
    AppManageRoutes = "app_manage_routes": Some(Scope::RouteWrite), Least::App(AppRole::Editor);
    /// Create, change and delete triggers, which run unattended. If a principal loses this right,
    /// its triggers stop.
    AppManageTriggers = "app_manage_triggers": Some(Scope::AppAdmin), Least::App(AppRole::AppAdmin);
    /// Replay and resolve dead letters.
    AppDeadLetterManage = "app_dead_letter_manage": Some(Scope::AppAdmin), Least::App(AppRole::AppAdmin);
    /// Cancel pending events.
    AppCancelEvents = "app_cancel_events": Some(Scope::AppAdmin), Least::App(AppRole::AppAdmin);
    /// Claim and release domains.
    AppManageDomains = "app_manage_domains": Some(Scope::DomainManage), Least::App(AppRole::AppAdmin);
    /// Set and delete secrets.
    AppManageSecrets = "app_manage_secrets": Some(Scope::AppAdmin), Least::App(AppRole::AppAdmin);
    /// Read and change the list of members.
    AppManageMembers = "app_manage_members": Some(Scope::AppAdmin), Least::App(AppRole::AppAdmin);
    /// Change and delete the app itself, and how it is called from outside.
    AppManage = "app_manage": Some(Scope::AppAdmin), Least::App(AppRole::AppAdmin);
    /// Delete executions of the app before their retention ends.
    AppPurgeLogs = "app_purge_logs": Some(Scope::AppAdmin), Least::App(AppRole::AppAdmin);
    /// Read the audit log of the app.
    AppReadAudit = "app_read_audit": Some(Scope::AppAdmin), Least::App(AppRole::AppAdmin);
    /// Set the private hosts that the app can call.
    AppManagePrivateHosts = "app_manage_private_hosts": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Admin);
    /// Approve a domain of the app without a DNS proof.
    AppApproveDomains = "app_approve_domains": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Admin);
    /// Use features that belong to no app: check a source, preview a schedule.
    PlatformUse = "platform_use": Some(Scope::ScriptRead), Least::Instance(InstanceRole::Member);
    /// Read statistics of several apps at once. Each app also needs `AppReadLogs`.
    PlatformReadStats = "platform_read_stats": Some(Scope::LogRead), Least::Instance(InstanceRole::Member);
    /// Read one's own identity, and end one's own session.
    OwnAccount = "own_account": None, Least::Instance(InstanceRole::Member);
    /// End one's own sessions, change one's own password, and read, create and revoke one's own
    /// keys. A leaked key must not create others, nor lock its owner out.
    OwnAccountManage = "own_account_manage": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Member);
    /// Create apps.
    InstanceCreateApps = "instance_create_apps": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Admin);
    /// Read the state of the instance: storage, settings, nodes.
    InstanceRead = "instance_read": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Admin);
    /// Read the metrics of all apps.
    InstanceReadMetrics = "instance_read_metrics": Some(Scope::LogRead), Least::Instance(InstanceRole::Admin);
    /// Delete executions of all apps before their retention ends.
    InstancePurgeLogs = "instance_purge_logs": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Admin);
    /// Create, change and delete users, and revoke their keys.
    InstanceManageUsers = "instance_manage_users": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Admin);
    /// Create and change owners.
    InstanceManageOwners = "instance_manage_owners": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Owner);
    /// Read the audit log of the instance.
    InstanceReadAudit = "instance_read_audit": Some(Scope::InstanceAdmin), Least::Instance(InstanceRole::Admin);
}

impl Capability {
    /// Whether it is checked in an app.
    #[must_use]
    pub fn is_in_app(self) -> bool {
        self.as_str().starts_with("app_")
    }

    /// Whether it is checked outside of apps, although a key that is limited to one app has it too.
    #[must_use]
    pub fn is_of_platform(self) -> bool {
        self.as_str().starts_with("platform_")
    }

    /// Whether these roles, one in the instance and one in the app, include the capability. Owners
    /// and admins are admins of every app.
    #[must_use]
    pub fn is_had_by(self, role: InstanceRole, app_role: Option<AppRole>) -> bool {
        match self.least() {
            Least::Instance(least) => role <= least,
            Least::App(least) => {
                let everywhere = (role <= InstanceRole::Admin).then_some(AppRole::AppAdmin);
                everywhere.or(app_role).is_some_and(|role| role <= least)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented matrix.
    #[test]
    fn each_role_of_an_app_has_what_it_should() {
        let by = |role| {
            let all = Capability::ALL.iter().filter(|capability| capability.is_in_app());
            let had = all.filter(|c| c.is_had_by(InstanceRole::Member, Some(role)));
            had.map(|capability| capability.as_str()).collect::<Vec<_>>()
        };
        let viewer = ["app_read", "app_read_logs", "app_read_data"];
        let editor =
            ["app_write_scripts", "app_run_scripts", "app_write_data", "app_manage_routes"];
        let admin = [
            "app_manage_triggers",
            "app_dead_letter_manage",
            "app_cancel_events",
            "app_manage_domains",
            "app_manage_secrets",
            "app_manage_members",
            "app_manage",
            "app_purge_logs",
            "app_read_audit",
        ];
        assert_eq!(by(AppRole::Viewer), viewer);
        assert_eq!(by(AppRole::Editor), [&viewer[..], &editor].concat());
        assert_eq!(by(AppRole::AppAdmin), [&viewer[..], &editor, &admin].concat());
    }

    #[test]
    fn owners_and_admins_may_everything_in_every_app_and_members_nothing_in_no_app() {
        for &capability in Capability::ALL {
            assert!(capability.is_had_by(InstanceRole::Owner, None), "{capability:?}");
            let but_owners = capability != Capability::InstanceManageOwners;
            assert_eq!(capability.is_had_by(InstanceRole::Admin, None), but_owners);
            let own = matches!(capability.least(), Least::Instance(least) if least == InstanceRole::Member);
            assert_eq!(capability.is_had_by(InstanceRole::Member, None), own, "{capability:?}");
        }
    }

    #[test]
    fn what_is_asked_in_the_instance_no_role_of_an_app_gives() {
        for &capability in Capability::ALL {
            if matches!(capability.least(), Least::Instance(least) if least < InstanceRole::Member)
            {
                let has = capability.is_had_by(InstanceRole::Member, Some(AppRole::AppAdmin));
                assert!(!has, "{capability:?}");
            }
        }
    }

    #[test]
    fn a_scope_has_one_name() {
        for scope in Scope::ALL {
            assert_eq!(Scope::of(scope.as_str()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert_eq!(Scope::of("script:*"), None);
    }
}
