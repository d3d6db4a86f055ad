//! Which frames: by the name that an earlier step gave them, or by number.

use std::fmt;
use std::ops::Range;

use bedframe::{FrameRange, Mfn};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use toml::Spanned;

use super::amount::parse_amount;
use super::name::is_name;
use crate::table::{Kind, Mention, Value};

const EXPECTED: &str = "frames: a name, a part of what it names (\"a[2..5]\"), a frame's number, \
                        \"0x100..0x200\", \"1 GiB+16\", or a list of these";

/// Frames, in the order in which they are named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frames {
    terms: Vec<Term>,
    span: Range<usize>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Term {
    Literal(FrameRange),
    /// A name, and of its frames those from the first number up to the second.
    Named(String, u64, Option<u64>),
}

impl Frames {
    /// The ranges, given what names stand for.
    pub(crate) fn resolve<'n>(
        &self,
        names: impl Fn(&str) -> Option<&'n [FrameRange]>,
    ) -> Vec<FrameRange> {
        let mut ranges = Vec::new();
        for term in &self.terms {
            match term {
                Term::Literal(range) => ranges.push(*range),
                Term::Named(name, first, end) => {
                    let mut at = 0;
                    for range in names(name).unwrap_or_default() {
                        let low = first.saturating_sub(at).min(range.frames());
                        let high = end.map_or(range.frames(), |end| end.saturating_sub(at));
                        let high = high.min(range.frames());
                        let start = range.start().get();
                        let part = FrameRange::new(Mfn::new(start + low), Mfn::new(start + high));
                        ranges.extend(part.filter(|part| !part.is_empty()));
                        at += range.frames();
                    }
                }
            }
        }
        ranges
    }
}

impl Value for Frames {
    const WORDS: &'static str = "frames";

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        for term in &self.terms {
            if let Term::Named(name, ..) = term {
                visit(Mention::Used(Kind::Frames, name, self.span.clone()));
            }
        }
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match term {
                Term::Literal(range) if range.frames() == 1 => {
                    write!(f, "{:#x}", range.start().get())?
                }
                Term::Literal(range) => {
                    write!(f, "{:#x}..{:#x}", range.start().get(), range.end().get())?;
                }
                Term::Named(name, 0, None) => f.write_str(name)?,
                Term::Named(name, first, None) => write!(f, "{name}[{first}..]")?,
                Term::Named(name, first, Some(end)) if *end == first + 1 => {
                    write!(f, "{name}[{first}]")?;
                }
                Term::Named(name, first, Some(end)) => write!(f, "{name}[{first}..{end}]")?,
            }
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<Term> {
    let text = text.trim();
    if let Some((name, slice)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        let (first, end) = match slice.split_once("..") {
            Some((first, end)) => {
                let bound = |text: &str, none| match text.trim() {
                    "" => Some(none),
                    text => parse_amount(text).map(Some),
                };
                (bound(first, Some(0))?.unwrap_or(0), bound(end, None)?)
            }
            None => {
                let one = parse_amount(slice)?;
                (one, Some(one.checked_add(1)?))
            }
        };
        let ascending = end.is_none_or(|end| first < end);
        return (is_name(name) && ascending).then(|| Term::Named(name.into(), first, end));
    }
    if is_name(text) {
        return Some(Term::Named(text.into(), 0, None));
    }
    parse_literal(text).map(Term::Literal)
}

fn parse_literal(text: &str) -> Option<FrameRange> {
    if let Some((start, end)) = text.split_once("..") {
        let (start, end) = (parse_amount(start)?, parse_amount(end)?);
        return FrameRange::new(Mfn::new(start), Mfn::new(end)).filter(|range| !range.is_empty());
    }
    let (start, frames) = match text.split_once('+') {
        Some((start, frames)) => (parse_amount(start)?, parse_amount(frames)?),
        None => (parse_amount(text)?, 1),
    };
    FrameRange::from_len(Mfn::new(start), frames).filter(|range| !range.is_empty())
}

struct Terms(Vec<Term>);

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Terms;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Terms, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Terms, E> {
                match parse(text) {
                    Some(term) => Ok(Terms(vec![term])),
                    None => Err(E::custom(format_args!("expected {EXPECTED}"))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Terms, A::Error> {
                let mut terms = Vec::new();
                while let Some(Terms(more)) = list.next_element()? {
                    terms.extend(more);
                }
                Ok(Terms(terms))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Frames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let terms = Spanned::<Terms>::deserialize(deserializer)?;
        let span = terms.span();
        Ok(Self { terms: terms.into_inner().0, span })
    }
}

/// Frames by number alone: where no step has run yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Literal(pub(crate) Vec<FrameRange>);

impl Value for Literal {
    const WORDS: &'static str = "frames by number";
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Terms(terms) = Terms::deserialize(deserializer)?;
        let literal = |term: &Term| match term {
            Term::Literal(range) => Some(*range),
            Term::Named(..) => None,
        };
        let ranges: Option<Vec<_>> = terms.iter().map(literal).collect();
        ranges.map(Literal).ok_or_else(|| {
            D::Error::custom("expected frames by number, such as \"0x100..0x200\" or \"1 GiB+16\"")
        })
    }
}

/// Frames that are, or become, RAM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ram(pub(crate) Vec<FrameRange>);

impl Value for Ram {
    const WORDS: &'static str = "frames by number";

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        for range in &self.0 {
            visit(Mention::Reach(range.end().get()));
        }
    }
}

impl<'de> Deserialize<'de> for Ram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Literal::deserialize(deserializer)?.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, frames: u64) -> FrameRange {
        FrameRange::from_len(Mfn::new(start), frames).unwrap()
    }

    #[test]
    fn frames_are_named_numbered_and_cut() {
        let held = [range(0x100, 4), range(0x200, 4)];
        let names = |name: &str| (name == "a").then_some(&held[..]);
        let resolve =
            |text: &str| Frames { terms: vec![parse(text).unwrap()], span: 0..0 }.resolve(names);
        assert_eq!(resolve("a"), held);
        assert_eq!(resolve("a[3..5]"), [range(0x103, 1), range(0x200, 1)]);
        assert_eq!(resolve("a[5..]"), [range(0x201, 3)]);
        assert_eq!(resolve("a[..1]"), [range(0x100, 1)]);
        assert_eq!(resolve("a[7]"), [range(0x203, 1)]);
        assert_eq!(resolve("a[8]"), []);
        assert_eq!(resolve("0x10..0x12"), [range(0x10, 2)]);
        assert_eq!(resolve("1 MiB+3"), [range(0x100, 3)]);
        assert_eq!(resolve("7"), [range(7, 1)]);
        for text in ["", "a[", "a[5..2]", "a[x]", "5..5", "5+0", "-1", "a b", "[1]", "1[2]"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
