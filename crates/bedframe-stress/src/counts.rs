//! What was done, and what was refused.

use std::collections::BTreeMap;

use serde::Serialize;

/// How often each thing was done, by its name.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Counts {
    /// Calls that the library was asked for, by kind.
    pub(crate) operations: BTreeMap<&'static str, u64>,
    /// Refusals, by the error's name.
    pub(crate) refusals: BTreeMap<&'static str, u64>,
    /// Frees that were refused because another thread had freed the frame.
    pub(crate) double_frees: u64,
    /// Refusals that the hook for misuse must have been told of.
    #[serde(skip)]
    pub(crate) misuses: u64,
}

impl Counts {
    pub(crate) fn did(&mut self, operation: &'static str) {
        *self.operations.entry(operation).or_default() += 1;
    }

    pub(crate) fn refused(&mut self, why: &'static str) {
        *self.refusals.entry(why).or_default() += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.operations.values().sum()
    }

    /// Takes what `other` has counted.
    pub(crate) fn add(&mut self, other: Self) {
        for (name, count) in other.operations {
            *self.operations.entry(name).or_default() += count;
        }
        for (name, count) in other.refusals {
            *self.refusals.entry(name).or_default() += count;
        }
        self.double_frees += other.double_frees;
        self.misuses += other.misuses;
    }
}
