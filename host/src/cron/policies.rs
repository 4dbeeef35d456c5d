//! The options of a schedule, by the names under which they are stored, sent and shown.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

/// How to handle times that a clock change skips or repeats.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Dst {
    /// Skipped times do not fire; repeated times fire the first time.
    Skip,
    /// Skipped times fire after the gap; repeated times fire the first time.
    Once,
    /// Skipped times fire after the gap; repeated times fire both times.
    Both,
}

/// How to handle missed firings.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Misfire {
    /// They are dropped, except for one that is at most [`super::LATE_US_MAX`] late.
    Skip,
    /// One firing replaces all of them.
    Once,
    /// Each fires, the oldest [`super::MISSED_MAX`] at most.
    All,
}

/// Whether a schedule fires while an earlier firing is not done.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Overlap {
    /// It fires.
    Allow,
    /// It does not fire.
    Forbid,
}

/// Gives each type its names.
macro_rules! named {
    ($($type:ident)+) => {$(
        impl $type {
            /// All values.
            pub const ALL: &[Self] = Self::VARIANTS;

            /// Returns the name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(name: String) -> Result<Self, String> {
                name.parse().map_err(|_| {
                    let names: Vec<&str> = Self::ALL.iter().map(|known| known.as_str()).collect();
                    format!("{name:?} is not one of {}", names.join(", "))
                })
            }
        }
    )+};
}

named! { Dst Misfire Overlap }
