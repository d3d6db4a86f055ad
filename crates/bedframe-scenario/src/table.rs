//! Tables of a scenario: structures that know their own fields, for the page that describes them.

use std::ops::Range;

/// A field as the description of the format shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// What is to be written there.
    pub(crate) words: &'static str,
    pub(crate) optional: bool,
    pub(crate) about: &'static str,
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Frames,
    Domain,
    Mapping,
    Mark,
}

/// Something that matters before the first step is taken.
pub(crate) enum Mention<'a> {
    /// A name is given.
    Given(Kind, &'a str),
    /// A name is used, there in the text.
    Used(Kind, &'a str, Range<usize>),
    /// The machine has an address space that reaches up to this frame.
    Reach(u64),
    /// A node that is to be counted.
    Node(u32),
}

/// What a field can hold.
pub(crate) trait Value {
    /// What is to be written there.
    const WORDS: &'static str;
    /// Whether the field may be left out.
    const OPTIONAL: bool = false;

    /// Calls `visit` for all that is mentioned.
    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        let _ = visit;
    }

    /// What is expected of a counter, if that is what this is.
    fn comparison(&self) -> Option<&crate::value::Check> {
        None
    }
}

impl<T: Value> Value for Option<T> {
    const WORDS: &'static str = T::WORDS;
    const OPTIONAL: bool = true;

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        if let Some(value) = self {
            value.mentions(visit);
        }
    }

    fn comparison(&self) -> Option<&crate::value::Check> {
        self.as_ref().and_then(T::comparison)
    }
}

impl<T: Value> Value for Vec<T> {
    const WORDS: &'static str = T::WORDS;

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        self.iter().for_each(|value| value.mentions(visit));
    }
}

impl<T: Value> Value for toml::Spanned<T> {
    const WORDS: &'static str = T::WORDS;

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        self.as_ref().mentions(visit);
    }
}

impl Value for bool {
    const WORDS: &'static str = "true or false";
    const OPTIONAL: bool = true;
}

impl Value for u64 {
    const WORDS: &'static str = "a number";
}

impl Value for u32 {
    const WORDS: &'static str = "a number";
}

impl Value for String {
    const WORDS: &'static str = "text";
}

/// Declares a table whose keys are the structure's fields: no other is accepted. What the comments
/// say becomes the description of the format.
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $table:ident {
            $(
                $(#[doc = $about:literal])+
                $(#[serde($($serde:tt)*)])?
                $field:ident : $type:ty
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $vis struct $table {
            $(
                $(#[doc = $about])+
                $(#[serde($($serde)*)])?
                pub(crate) $field: $type,
            )*
        }

        impl $table {
            /// What the table is for.
            pub(crate) const ABOUT: &'static str = concat!($($doc),+);
            /// Its keys.
            pub(crate) const FIELDS: &'static [$crate::table::Field] = &[
                $($crate::table::Field {
                    name: stringify!($field),
                    words: <$type as $crate::table::Value>::WORDS,
                    optional: <$type as $crate::table::Value>::OPTIONAL,
                    about: concat!($($about),+),
                }),*
            ];

            /// Calls `visit` with every counter of which something is expected.
            #[allow(dead_code)] // Not every table has counters.
            pub(crate) fn each_check<'t>(
                &'t self,
                visit: &mut dyn FnMut(&'static str, &'t $crate::value::Check),
            ) {
                $(
                    if let Some(check) = $crate::table::Value::comparison(&self.$field) {
                        visit(stringify!($field), check);
                    }
                )*
                let _ = visit;
            }
        }

        impl $crate::table::Value for $table {
            const WORDS: &'static str = "a table";

            fn mentions(&self, visit: &mut dyn FnMut($crate::table::Mention<'_>)) {
                $($crate::table::Value::mentions(&self.$field, visit);)*
                let _ = visit;
            }
        }
    };
}

pub(crate) use table;
