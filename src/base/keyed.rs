//! Gives every member of an enum its stable text. Owns the macro `keyed`. Face: `keyed!`,
//! `UnknownKey`. Never lets a key and its variant drift apart: both stand on one line.

/// A text that names no member of the enum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is not a known {noun}; known are {known}")]
pub struct UnknownKey {
    /// What was looked for.
    pub noun: &'static str,
    /// What was given.
    pub key: String,
    /// Every key there is, separated by commas.
    pub known: String,
}

/// Declares an enum whose members have stable keys: in the database, on the wire and in logs.
/// Yields `ALL`, `key()`, `Display`, `FromStr` and serde as that key.
macro_rules! keyed {
    (
        $(#[$doc:meta])*
        pub enum $name:ident: $noun:literal {
            $($(#[$member_doc:meta])* $member:ident = $key:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$member_doc])* $member,)+
        }

        impl $name {
            /// Every member, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$member,)+];

            /// The stable text that stands for this member everywhere outside the program.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$member => $key,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.key())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::base::keyed::UnknownKey;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($key => Ok(Self::$member),)+
                    _ => Err($crate::base::keyed::UnknownKey {
                        noun: $noun,
                        key: text.to_owned(),
                        known: [$($key),+].join(", "),
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.key())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use keyed;
