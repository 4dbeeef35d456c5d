//! Enums that are stored, shown and sent by name.

/// A text that is not a name of its enum.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not one of {}", .known.join(", "))]
pub struct UnknownName {
    /// The text.
    pub(crate) name: String,
    /// The names of the enum.
    pub(crate) known: Vec<&'static str>,
}

/// Defines enums whose values have names: each variant in `snake_case`.
macro_rules! named {
    ($($(#[$doc:meta])* pub enum $type:ident {
        $($(#[$variant_doc:meta])* $variant:ident,)+
    })+) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
            strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
        )]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// All values.
            pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

            /// Returns the name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::named::UnknownName;

            fn try_from(name: String) -> Result<Self, $crate::named::UnknownName> {
                name.parse().map_err(|_| $crate::named::UnknownName {
                    name,
                    known: Self::ALL.iter().map(|known| known.as_str()).collect(),
                })
            }
        }
    )+};
}

pub(crate) use named;
