//! Gives every member of an enum its stable text. Owns the macro `keyed`. Face: `keyed!`,
//! `UnknownKey`. Never lets a key and its variant drift apart: both stand on one line. An open
//! enum also takes names that users register, and never one that is a member's key.

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
/// Yields `ALL`, `key()`, `Display`, `FromStr` and serde as that key. After `or`, an open enum
/// names the variant of registered names and what such a name must fulfil. Behind a key, `was` names
/// a text that older records carry: it is still read, and never written.
macro_rules! keyed {
    (
        $(#[$doc:meta])*
        pub enum $name:ident: $noun:literal, or $open:ident if $is_legal:expr, like $like:literal {
            $($(#[$member_doc:meta])* $member:ident = $key:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$member_doc])* $member,)+
            /// One that a user registered. Read it from its text: a text that is the key of a
            /// member above is that member.
            $open($crate::base::Name),
        }

        impl $name {
            /// Every member that is not registered, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$member,)+];

            /// The stable text that stands for this member everywhere outside the program.
            pub fn key(&self) -> &str {
                match self {
                    $(Self::$member => $key,)+
                    Self::$open(name) => name.as_str(),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::base::keyed::UnknownKey;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let unknown = || $crate::base::keyed::UnknownKey {
                    noun: $noun,
                    key: text.to_owned(),
                    known: [$($key,)+ $like].join(", "),
                };
                match text {
                    $($key => Ok(Self::$member),)+
                    _ => {
                        let name = text.parse::<$crate::base::Name>().map_err(|_| unknown())?;
                        if $is_legal(&name) { Ok(Self::$open(name)) } else { Err(unknown()) }
                    }
                }
            }
        }

        $crate::base::keyed::keyed_text!($name);
    };
    (
        $(#[$doc:meta])*
        pub enum $name:ident: $noun:literal {
            $($(#[$member_doc:meta])* $member:ident = $key:literal $(was $old:literal)*,)+
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

        impl std::str::FromStr for $name {
            type Err = $crate::base::keyed::UnknownKey;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($key $(| $old)* => Ok(Self::$member),)+
                    _ => Err($crate::base::keyed::UnknownKey {
                        noun: $noun,
                        key: text.to_owned(),
                        known: [$($key),+].join(", "),
                    }),
                }
            }
        }

        $crate::base::keyed::keyed_text!($name);
    };
}

/// `Display` and serde of an enum that has `key()` and `FromStr`.
macro_rules! keyed_text {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.key())
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

pub(crate) use {keyed, keyed_text};

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro makes public enums, the test a private one")]
mod tests {
    use crate::base::Name;

    keyed! {
        /// An open enum.
        pub enum Colour: "colour", or Mixed if Name::is_dotted, like "<a name with a dot>" {
            /// Red.
            Red = "red",
        }
    }

    keyed! {
        /// A closed one, of which a key was renamed.
        pub enum Size: "size" {
            /// Small.
            Small = "small" was "little" was "tiny",
            /// Large.
            Large = "large",
        }
    }

    #[test]
    fn what_a_key_was_is_read_and_not_written() {
        for text in ["small", "little", "tiny"] {
            assert_eq!(text.parse(), Ok(Size::Small));
        }
        assert_eq!(Size::Small.to_string(), "small");
        assert_eq!(Size::ALL, [Size::Small, Size::Large]);
        let known = "\"huge\" is not a known size; known are small, large";
        assert_eq!("huge".parse::<Size>().unwrap_err().to_string(), known);
    }

    #[test]
    fn an_open_enum_takes_registered_names_and_keeps_its_own() {
        assert_eq!("red".parse(), Ok(Colour::Red));
        let mixed: Colour = "my.mauve".parse().unwrap();
        assert_eq!((mixed.key(), mixed.to_string()), ("my.mauve", "my.mauve".to_owned()));
        assert_eq!(serde_json::from_str::<Colour>("\"my.mauve\"").unwrap(), mixed);
        let error = "mauve".parse::<Colour>().unwrap_err();
        let known = "\"mauve\" is not a known colour; known are red, <a name with a dot>";
        assert_eq!(error.to_string(), known);
        assert_eq!(Colour::ALL, [Colour::Red]);
    }
}
