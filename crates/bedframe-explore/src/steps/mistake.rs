//! Mistakes that the step worlds make on demand, so that the search can be seen to find them.

/// A mistake, as sketches of this layout had it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mistake {
    /// Trap 1: who has emptied a word clears its hint without asking whether the word is still empty.
    HintClearedBlindly,
    /// Trap 2: a chunk is made whole on an old look at its words, and not word by word.
    MergedOnALook,
    /// Trap 4: a free reads the flag before its step, and not behind it.
    FlagReadFirst,
    /// Trap 8: who looks for a chunk marks it as his without looking whether another just did.
    AdoptedBlindly,
    /// A free sets its bit whatever the word was: the one rule of a chunk, broken.
    PlainOr,
    /// A call that saw no heap does not look again under the ledger's lock.
    StageNotAskedAgain,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Mistake; 6] = [
        Mistake::HintClearedBlindly,
        Mistake::MergedOnALook,
        Mistake::FlagReadFirst,
        Mistake::AdoptedBlindly,
        Mistake::PlainOr,
        Mistake::StageNotAskedAgain,
    ];

    /// Its name, as arguments have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Mistake::HintClearedBlindly => "trap-1",
            Mistake::MergedOnALook => "trap-2",
            Mistake::FlagReadFirst => "trap-4",
            Mistake::AdoptedBlindly => "trap-8",
            Mistake::PlainOr => "plain-or",
            Mistake::StageNotAskedAgain => "stage",
        }
    }

    /// What is done wrong.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Mistake::HintClearedBlindly => {
                "the hint of an emptied word is cleared without a second look at the word"
            }
            Mistake::MergedOnALook => {
                "a chunk is made whole because its words were full a moment ago"
            }
            Mistake::FlagReadFirst => {
                "a free reads the chunk's flag before its step on the word instead of behind it"
            }
            Mistake::AdoptedBlindly => "a CPU adopts a chunk by a plain store",
            Mistake::PlainOr => "a free sets its bit by a plain or, whatever the word held",
            Mistake::StageNotAskedAgain => {
                "a call that saw no heap does not look again under the lock"
            }
        }
    }
}
