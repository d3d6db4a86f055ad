//! Names that steps give, and that later steps use.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error};
use toml::Spanned;

use crate::table::{Kind, Mention, Value};

/// Whether `text` can be a name: a letter first, so that no name looks like a number.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(String, Range<usize>), D::Error> {
    let text = Spanned::<String>::deserialize(deserializer)?;
    if !is_name(text.as_ref()) {
        return Err(D::Error::custom(
            "expected a name: a letter, then letters, digits, `-` and `_`",
        ));
    }
    let span = text.span();
    Ok((text.into_inner(), span))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $words:literal, |$value:ident| $mention:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            text: String,
            span: Range<usize>,
        }

        impl $name {
            pub(crate) fn get(&self) -> &str {
                &self.text
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (text, span) = read(deserializer)?;
                Ok(Self { text, span })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl Value for $name {
            const WORDS: &'static str = $words;

            fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
                let $value = self;
                let _ = &$value.span;
                visit($mention);
            }
        }
    )*};
}

names! {
    /// A name for frames that a step is given.
    NewName: "a new name", |name| Mention::Given(Kind::Frames, &name.text);
    /// A name for a domain that a step makes.
    NewDomain: "a new name", |name| Mention::Given(Kind::Domain, &name.text);
    /// A domain that an earlier step has made.
    OldDomain: "the name of a domain",
        |name| Mention::Used(Kind::Domain, &name.text, name.span.clone());
    /// A name for a mapping that a step makes.
    NewMapping: "a new name", |name| Mention::Given(Kind::Mapping, &name.text);
    /// A mapping that an earlier step has made.
    OldMapping: "the name of a mapping",
        |name| Mention::Used(Kind::Mapping, &name.text, name.span.clone());
    /// A name for what all counters are after a step.
    NewMark: "a new name", |name| Mention::Given(Kind::Mark, &name.text);
}
