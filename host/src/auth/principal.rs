//! Principals, as rows name them.

use crate::store::UserId;

/// An identity that can be given rights. `Display` is the stored and shown form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The holder of the owner key.
    Owner,
    /// A user.
    User(UserId),
}

impl Principal {
    /// Parses the stored form; `None` if it is not valid.
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
