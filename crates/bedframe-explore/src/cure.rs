//! The three cures of the message that Bedframe began with, and what else may differ.

use std::fmt;

/// How the heap tells a frame that the boot allocator handed out from all others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cure {
    /// By a word of its record that is zero, since nobody has written there.
    CountZero,
    /// By a state of its own, which is zero; *in use* is something that was written.
    Uninitialised,
    /// By a word that is all ones, which the whole frame table is filled with.
    AllOnes,
}

impl Cure {
    /// All three.
    pub const ALL: [Cure; 3] = [Cure::CountZero, Cure::Uninitialised, Cure::AllOnes];

    /// Its name, as arguments and objects have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Cure::CountZero => "count-zero",
            Cure::Uninitialised => "uninitialised",
            Cure::AllOnes => "all-ones",
        }
    }
}

/// A cure, and what is around it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Variant {
    /// The cure.
    pub cure: Cure,
    /// Whether the Xen heap is memory of its own.
    pub separate: bool,
    /// Whether a frame in use may have a word of zero, as anonymous ones do. If not, each is marked;
    /// but not those of a separate Xen heap, which has no mark.
    pub zero_in_use: bool,
    /// Whether frame 0 is kept out of the heap.
    pub withhold_zero: bool,
    /// Whether buddies are asked for their zone before they merge.
    pub zone_check: bool,
    /// Whether what the boot allocator did is still known when frames are freed.
    pub ledger: bool,
    /// Whether whole records are filled with ones, and not just the word that is looked at.
    pub whole_records: bool,
}

impl Variant {
    /// The cure as it was proposed: the first with no more than the message says, the second as Bedframe has
    /// it, the third with the same ledger and zone check as the second.
    #[must_use]
    pub const fn proposed(cure: Cure) -> Self {
        let first = matches!(cure, Cure::CountZero);
        Self {
            cure,
            separate: false,
            zero_in_use: true,
            withhold_zero: first,
            zone_check: !first,
            ledger: !first,
            whole_records: true,
        }
    }

    /// Every variant of a cure that differs in something it depends on.
    #[must_use]
    pub fn all(cure: Cure) -> Vec<Self> {
        let both = [false, true];
        let mut all = Vec::new();
        for bits in 0..64u8 {
            let bit = |at: u8| both[usize::from(bits >> at & 1)];
            let variant = Self {
                cure,
                ledger: bit(5),
                separate: bit(4),
                zero_in_use: !bit(3),
                withhold_zero: !bit(1),
                zone_check: bit(0),
                whole_records: !bit(2),
            };
            let sensible = match cure {
                // The word in use is what this cure turns on; records are not filled.
                Cure::CountZero => variant.whole_records,
                Cure::Uninitialised => variant.zero_in_use && variant.whole_records,
                Cure::AllOnes => variant.zero_in_use,
            };
            if sensible {
                all.push(variant);
            }
        }
        all
    }

    /// What makes this variant, in words that [`Variant::parse`] reads.
    fn traits(self) -> [&'static str; 6] {
        let pick = |yes, a, b| if yes { a } else { b };
        [
            pick(self.separate, "separate", "unified"),
            match self.cure {
                Cure::CountZero => pick(self.zero_in_use, "zero-in-use", "marked-in-use"),
                Cure::Uninitialised => "",
                Cure::AllOnes => pick(self.whole_records, "whole-records", "words-only"),
            },
            pick(self.withhold_zero, "frame-0-withheld", "frame-0-used"),
            pick(self.zone_check, "zone-check", "no-zone-check"),
            pick(self.ledger, "ledger", "no-ledger"),
            "",
        ]
    }

    /// Reads what `Display` writes; the words after the cure in any order, those left out as proposed.
    ///
    /// # Errors
    ///
    /// The first word that means nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        let cure = Cure::ALL.into_iter().find(|cure| cure.name() == first);
        let mut variant = Self::proposed(cure.ok_or_else(|| first.to_string())?);
        for word in words {
            match word {
                "separate" => variant.separate = true,
                "unified" => variant.separate = false,
                "zero-in-use" => variant.zero_in_use = true,
                "marked-in-use" => variant.zero_in_use = false,
                "whole-records" => variant.whole_records = true,
                "words-only" => variant.whole_records = false,
                "frame-0-withheld" => variant.withhold_zero = true,
                "frame-0-used" => variant.withhold_zero = false,
                "zone-check" => variant.zone_check = true,
                "no-zone-check" => variant.zone_check = false,
                "ledger" => variant.ledger = true,
                "no-ledger" => variant.ledger = false,
                other => return Err(other.to_string()),
            }
        }
        Ok(variant)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cure.name())?;
        self.traits()
            .into_iter()
            .filter(|word| !word.is_empty())
            .try_for_each(|word| write!(f, " {word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_read_as_it_is_written() {
        let all: Vec<_> = Cure::ALL.into_iter().flat_map(Variant::all).collect();
        assert_eq!(all.len(), 32 + 16 + 32);
        for variant in all {
            assert_eq!(Variant::parse(&variant.to_string()), Ok(variant));
        }
        assert_eq!(Variant::parse("count-zero"), Ok(Variant::proposed(Cure::CountZero)));
        assert_eq!(Variant::parse("count-two"), Err("count-two".into()));
    }
}
