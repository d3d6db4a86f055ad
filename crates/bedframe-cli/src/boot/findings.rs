//! What was found to be wrong.

use std::fmt::Display;

/// Contradictions, the first of them in words.
#[derive(Clone, Default, Debug)]
pub(crate) struct Findings {
    count: u64,
    first: Option<String>,
}

impl Findings {
    /// Notes one.
    pub(crate) fn add(&mut self, what: String) {
        self.count += 1;
        self.first.get_or_insert(what);
    }

    /// Notes an error where there should be none.
    pub(crate) fn expect<T, E: Display>(
        &mut self,
        result: Result<T, E>,
        what: impl FnOnce() -> String,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(format!("{}: {error}", what()));
                None
            }
        }
    }

    /// Notes two numbers that should be one.
    pub(crate) fn equal(&mut self, what: &str, found: u64, expected: u64) {
        if found != expected {
            self.add(format!("{what}: {found} frames, and not {expected}"));
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The first.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }
}
