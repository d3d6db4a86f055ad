//! What must hold in every state, by name.

use std::fmt;

/// Something that must hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Invariant {
    /// A frame has one holder.
    Once,
    /// Only free RAM is handed out.
    OnlyRam,
    /// No block lies over an edge.
    Edges,
    /// What is counted is what a walk counts.
    Counts,
    /// Whoever holds frames can give them back.
    RightFree,
    /// Nobody can give back what he does not hold.
    WrongFree,
    /// Free memory is in as few blocks as edges allow, and none of it is lost.
    Coalesced,
    /// What is free can be found: no hint denies it at rest.
    Found,
    /// A withdrawn frame is nobody's.
    Withdrawn,
    /// CPUs allocate from chunks of their own while there are enough.
    Apart,
    /// The library says what its specification says, and finds no contradiction in itself.
    Specified,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Invariant; 11] = [
        Invariant::Once,
        Invariant::OnlyRam,
        Invariant::Edges,
        Invariant::Counts,
        Invariant::RightFree,
        Invariant::WrongFree,
        Invariant::Coalesced,
        Invariant::Found,
        Invariant::Withdrawn,
        Invariant::Apart,
        Invariant::Specified,
    ];

    /// Its short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Invariant::Once => "once",
            Invariant::OnlyRam => "only-ram",
            Invariant::Edges => "edges",
            Invariant::Counts => "counts",
            Invariant::RightFree => "right-free",
            Invariant::WrongFree => "wrong-free",
            Invariant::Coalesced => "coalesced",
            Invariant::Found => "found",
            Invariant::Withdrawn => "withdrawn",
            Invariant::Apart => "apart",
            Invariant::Specified => "specified",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|invariant| invariant.name() == name)
    }

    /// What it says.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Invariant::Once => "a frame that somebody holds is not handed out again",
            Invariant::OnlyRam => {
                "only free RAM is handed out: no kernel text, no metadata, no hole"
            }
            Invariant::Edges => "no block lies over the edge of a zone, node, heap or hole",
            Invariant::Counts => "what is counted is what a walk counts",
            Invariant::RightFree => "whoever holds frames can give them back",
            Invariant::WrongFree => {
                "what was not handed out, or was given back, is refused by name"
            }
            Invariant::Coalesced => {
                "at rest free memory is coalesced as far as edges allow, and none is lost"
            }
            Invariant::Found => "at rest no hint denies a free frame",
            Invariant::Withdrawn => "a frame that is withdrawn is nobody's, and not free",
            Invariant::Apart => "CPUs take from chunks of their own while there are enough",
            Invariant::Specified => {
                "the library says what its specification says, and validate agrees"
            }
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// A set of invariants, those that a state breaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Broken(u32);

impl Broken {
    /// None.
    pub const NONE: Broken = Broken(0);

    /// Adds one if it does not hold.
    pub fn unless(&mut self, holds: bool, invariant: Invariant) {
        if !holds {
            self.0 |= 1 << invariant as u32;
        }
    }

    /// Whether the invariant is broken.
    #[must_use]
    pub fn includes(self, invariant: Invariant) -> bool {
        self.has(1 << invariant as u32)
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }
}
