//! The choices that a schedule leaves, by the names that they are kept, sent and shown
//! by.

/// Enums that are kept, sent and shown by a name.
macro_rules! names {
    ($($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(name: String) -> Result<Self, String> {
                let known = Self::ALL.iter().copied().find(|known| known.as_str() == name);
                known.ok_or_else(|| {
                    let names: Vec<&str> = Self::ALL.iter().map(|known| known.as_str()).collect();
                    format!("{name:?} is none of {}", names.join(", "))
                })
            }
        }
    )+};
}

names! {
    /// What becomes of times that the change of the clocks leaves out or repeats.
    Dst {
        /// Those left out are left out; those repeated fire the first time.
        Skip = "skip",
        /// Those left out fire after the gap; those repeated fire the first time.
        Once = "once",
        /// Those left out fire after the gap; those repeated fire both times.
        Both = "both",
    }

    /// What becomes of firings that were missed.
    Misfire {
        /// They are left out, but for one that is at most [`super::LATE_US_MAX`] late.
        Skip = "skip",
        /// One stands for all of them.
        Once = "once",
        /// Each is made up for, the oldest [`super::MISSED_MAX`] at most.
        All = "all",
    }

    /// Whether a schedule fires while an earlier firing is not done.
    Overlap {
        /// It does.
        Allow = "allow",
        /// It does not.
        Forbid = "forbid",
    }
}
