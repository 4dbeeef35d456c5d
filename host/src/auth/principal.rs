//! Who somebody is, as rows name them.

use crate::store::UserId;

/// Somebody who may do something. `Display` is how they are stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The holder of the owner key.
    Owner,
    /// A user.
    User(UserId),
}

impl Principal {
    /// The principal that is stored like this, if it is one.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        match text.strip_prefix("user:") {
            Some(id) => id.parse().ok().map(Self::User),
            None => (text == "owner").then_some(Self::Owner),
        }
    }
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::User(id) => write!(f, "user:{id}"),
        }
    }
}
