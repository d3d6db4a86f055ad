//! What can go wrong.

use std::fmt;

/// Why a run did not end well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The host refused memory or threads.
    Host(String),
    /// A contender did what no allocator may do.
    Contradiction {
        /// Which one.
        allocator: &'static str,
        /// Where.
        workload: &'static str,
        /// What it did.
        what: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Host(what) => write!(f, "this computer cannot do it: {what}"),
            Trouble::Contradiction { allocator, workload, what } => {
                write!(f, "{allocator}, {workload}: {what}")
            }
        }
    }
}

impl std::error::Error for Trouble {}
