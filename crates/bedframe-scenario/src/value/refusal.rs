//! Refusals by name: what a scenario expects a call to answer.

use std::fmt::{self, Debug, Display};

use bedframe::{
    AllocError, ClaimError, DomainError, FreeError, MapError, OfflineError, OwnerError,
    ReferenceError, VmapError, WatchError,
};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::table::Value;

/// Every error that a call can answer with, by name.
pub(crate) const KNOWN: &[&str] = &[
    // AllocError
    "NoFrames",
    "BadAlignment",
    "UnknownNode",
    "Impossible",
    "OutOfMemory",
    "Claimed",
    "LedgerFull",
    "Unreachable",
    // FreeRefusal
    "AlreadyFree",
    "Hole",
    "Reserved",
    "Releasable",
    "Metadata",
    "Bad",
    "Offlined",
    "Referenced",
    "NotReleasable",
    "NotMapped",
    "OutOfRange",
    // MapError
    "BadRange",
    "OtherNode",
    "InUse",
    "NoMetadata",
    "NoMemory",
    "Started",
    "BadWidth",
    // ReferenceError
    "NoRecords",
    "NotInUse",
    "TooMany",
    "NotReferenced",
    // OfflineError
    "State",
    // DomainError
    "Unknown",
    "Exists",
    "Dying",
    "Alive",
    "HasFrames",
    "OverQuota",
    "WalkEnded",
    // ClaimError and WatchError
    "NotStarted",
    "UnknownDomain",
    "OtherScope",
    "NotEnough",
    "Deficit",
    "BadWatermarks",
    // OwnerRefusal, and `Owned` of FreeRefusal
    "Owned",
    "NotOwned",
    "Dropped",
    "Lent",
    "NotLent",
    "NotXenHeap",
    "TooManyReferences",
    // VmapError
    "NoPages",
    "TooLarge",
    "NoRoom",
    "NoFrame",
    "PageTable",
    "NotWhole",
    "Busy",
    "NotFreeable",
    "NotFreed",
];

/// A refusal: the name of the error, and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) name: String,
    pub(crate) says: String,
}

impl Refusal {
    fn new(variant: &dyn Debug, says: &dyn Display) -> Self {
        let name = format!("{variant:?}");
        let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        Self { name: name[..end].into(), says: says.to_string() }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.says)
    }
}

impl From<FreeError> for Refusal {
    fn from(error: FreeError) -> Self {
        Self::new(&error.why, &error)
    }
}

impl From<OwnerError> for Refusal {
    fn from(error: OwnerError) -> Self {
        match error {
            OwnerError::Domain(why) => why.into(),
            OwnerError::Alloc(why) => why.into(),
            OwnerError::Frame { why, .. } => Self::new(&why, &error),
            _ => Self::new(&error, &error),
        }
    }
}

macro_rules! refusals {
    ($($error:ty),*) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::new(&error, &error)
            }
        }
    )*};
}

refusals!(
    AllocError,
    ClaimError,
    DomainError,
    MapError,
    OfflineError,
    ReferenceError,
    VmapError,
    WatchError
);

/// The name of an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ErrorName(pub(crate) String);

/// One name or several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ErrorNames(pub(crate) Vec<String>);

impl Value for ErrorName {
    const WORDS: &'static str = "the name of an error";
}

impl Value for ErrorNames {
    const WORDS: &'static str = "the name of an error, or a list";
}

fn known<E: Error>(name: &str) -> Result<String, E> {
    if KNOWN.contains(&name) {
        return Ok(name.into());
    }
    Err(E::custom(format_args!("expected the name of an error: {}", KNOWN.join(", "))))
}

impl<'de> Deserialize<'de> for ErrorName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        known(&String::deserialize(deserializer)?).map(ErrorName)
    }
}

impl<'de> Deserialize<'de> for ErrorNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = ErrorNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ErrorNames::WORDS)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ErrorNames, E> {
                Ok(ErrorNames(vec![known(text)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ErrorNames, A::Error> {
                let mut names = Vec::new();
                while let Some(ErrorName(name)) = list.next_element()? {
                    names.push(name);
                }
                Ok(ErrorNames(names))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedframe::{FreeRefusal, Mfn};

    #[test]
    fn names_are_those_of_the_variants() {
        let error = AllocError::BadAlignment { alignment: 3 };
        assert_eq!(Refusal::from(error).name, "BadAlignment");
        let why = FreeRefusal::AlreadyFree;
        let error = FreeError { frame: Mfn::ZERO, why, committed: 0 };
        assert_eq!(Refusal::from(error).name, "AlreadyFree");
    }

    /// The names of the variants of an enum in the library's text.
    fn variants<'t>(text: &'t str, of: &str) -> Vec<&'t str> {
        let (_, body) = text.split_once(&format!("pub enum {of} {{")).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let variant = |line: &'t str| {
            let name = line.strip_prefix("    ")?;
            let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
            name.starts_with(|c: char| c.is_ascii_uppercase()).then(|| &name[..end])
        };
        body.lines().filter_map(variant).collect()
    }

    #[test]
    fn every_error_of_the_library_is_known_and_no_other() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../bedframe/src");
        let mut all = Vec::new();
        for (file, of) in [
            ("error.rs", "AllocError"),
            ("error.rs", "FreeRefusal"),
            ("error.rs", "MapError"),
            ("memory/references.rs", "ReferenceError"),
            ("memory/offline.rs", "OfflineError"),
            ("vmap/error.rs", "VmapError"),
            ("credits/stake.rs", "ClaimError"),
            ("credits/watch.rs", "WatchError"),
            ("owners/error.rs", "DomainError"),
            ("owners/error.rs", "OwnerRefusal"),
        ] {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            let found = variants(&text, of);
            assert!(found.len() > 1, "{of}");
            all.extend(found.iter().map(ToString::to_string));
        }
        for name in &all {
            assert!(KNOWN.contains(&name.as_str()), "{name} is missing");
        }
        for name in KNOWN {
            assert!(all.iter().any(|known| known == name), "{name} is no error");
        }
    }
}
