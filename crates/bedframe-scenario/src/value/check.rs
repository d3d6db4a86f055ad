//! What is expected of a counter.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use toml::Spanned;

use super::amount::parse_amount;
use super::name::is_name;
use crate::table::{Kind, Mention, Value};

const EXPECTED: &str = "a number, a size, \"same\", \"+4\", \"-4\", \"@mark\", \"@mark +4\", and before any of \
                        these, if it is not equality, one of != < <= > >=";

/// A comparison with a number, with what the counter was before the step, or at a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Check {
    op: Op,
    base: Base,
    plus: i64,
    text: String,
    span: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Equal,
    Other,
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Base {
    Zero,
    Before,
    Mark(String),
}

/// Where other values of the same counter are found.
pub(crate) trait Reading {
    /// Before the step.
    fn before(&self) -> Option<i128>;
    /// At a mark.
    fn mark(&self, name: &str) -> Option<i128>;
}

impl Check {
    /// Whether `found` is as expected; if not, what was expected, in words.
    pub(crate) fn judge(&self, found: i128, reading: &dyn Reading) -> Result<(), String> {
        let base = match &self.base {
            Base::Zero => Some(0),
            Base::Before => reading.before(),
            Base::Mark(mark) => reading.mark(mark),
        };
        let Some(base) = base else {
            return Err(format!("{} (and it had no value then)", self.text));
        };
        let than = base + i128::from(self.plus);
        let holds = match self.op {
            Op::Equal => found == than,
            Op::Other => found != than,
            Op::Less => found < than,
            Op::AtMost => found <= than,
            Op::More => found > than,
            Op::AtLeast => found >= than,
        };
        if holds {
            return Ok(());
        }
        let than = match self.op {
            Op::Equal => than.to_string(),
            Op::Other => format!("not {than}"),
            Op::Less => format!("less than {than}"),
            Op::AtMost => format!("at most {than}"),
            Op::More => format!("more than {than}"),
            Op::AtLeast => format!("at least {than}"),
        };
        match &self.base {
            Base::Zero => Err(than),
            _ => Err(format!("{than} ({})", self.text)),
        }
    }
}

fn parse(text: &str) -> Option<(Op, Base, i64)> {
    let text = text.trim();
    const OPS: [(&str, Op); 7] = [
        ("!=", Op::Other),
        ("<=", Op::AtMost),
        (">=", Op::AtLeast),
        ("==", Op::Equal),
        ("=", Op::Equal),
        ("<", Op::Less),
        (">", Op::More),
    ];
    let found = OPS.iter().find_map(|(sign, op)| Some((*op, text.strip_prefix(sign)?)));
    let (op, rest) = found.unwrap_or((Op::Equal, text));
    let rest = rest.trim();
    let signed = |text: &str| -> Option<i64> {
        let (sign, text) = match text.strip_prefix('-') {
            Some(text) => (-1, text),
            None => (1, text.strip_prefix('+')?),
        };
        Some(i64::try_from(parse_amount(text)?).ok()? * sign)
    };
    if rest == "same" {
        return Some((op, Base::Before, 0));
    }
    if let Some(mark) = rest.strip_prefix('@') {
        // A mark's name may have a dash in it: what follows a space or a plus is a number.
        let end = mark.find([' ', '+']).unwrap_or(mark.len());
        let (name, plus) = mark.split_at(end);
        let plus = if plus.is_empty() { 0 } else { signed(plus.trim())? };
        return is_name(name).then(|| (op, Base::Mark(name.into()), plus));
    }
    if rest.starts_with(['+', '-']) {
        return Some((op, Base::Before, signed(rest)?));
    }
    Some((op, Base::Zero, i64::try_from(parse_amount(rest)?).ok()?))
}

impl Value for Check {
    const WORDS: &'static str = "a comparison";

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        if let Base::Mark(mark) = &self.base {
            visit(Mention::Used(Kind::Mark, mark, self.span.clone()));
        }
    }

    fn comparison(&self) -> Option<&Check> {
        Some(self)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

struct Parsed(Op, Base, i64, String);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Parsed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Parsed, E> {
                match number {
                    0.. => Ok(Parsed(Op::Equal, Base::Zero, number, number.to_string())),
                    _ => Err(E::custom(format_args!("expected {EXPECTED}"))),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Parsed, E> {
                match parse(text) {
                    Some((op, base, plus)) => Ok(Parsed(op, base, plus, text.trim().into())),
                    None => Err(E::custom(format_args!("expected {EXPECTED}"))),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parsed = Spanned::<Parsed>::deserialize(deserializer)?;
        let span = parsed.span();
        let Parsed(op, base, plus, text) = parsed.into_inner();
        Ok(Self { op, base, plus, text, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Reading for Known {
        fn before(&self) -> Option<i128> {
            Some(10)
        }

        fn mark(&self, name: &str) -> Option<i128> {
            (name == "after-boot").then_some(100)
        }
    }

    fn judge(text: &str, found: i128) -> bool {
        let (op, base, plus) = parse(text).unwrap();
        let check = Check { op, base, plus, text: text.into(), span: 0..0 };
        check.judge(found, &Known).is_ok()
    }

    #[test]
    fn comparisons_hold_where_they_should_and_nowhere_else() {
        for (text, holds) in [
            ("7", [7].as_slice()),
            ("!= 7", &[6, 8]),
            ("< 7", &[6]),
            ("<= 7", &[6, 7]),
            ("> 7", &[8]),
            (">=7", &[7, 8]),
            ("16 KiB", &[4]),
            ("same", &[10]),
            ("+1", &[11]),
            ("-4 KiB", &[9]),
            ("@after-boot", &[100]),
            ("@after-boot+1", &[101]),
            ("@after-boot -2", &[98]),
            ("< @after-boot -97", &[]),
        ] {
            for found in [4, 6, 7, 8, 9, 10, 11, 98, 100, 101] {
                let among = holds.contains(&found)
                    || (text.starts_with('>') && found > 7)
                    || (text.starts_with('<') && found < 3)
                    || (text.starts_with("<") && !text.contains('@') && found < 7)
                    || (text.starts_with('!') && found != 7);
                assert_eq!(judge(text, found), among, "{text} of {found}");
            }
        }
        assert!(!judge("@unknown", 100));
        for text in ["", "x", "@", "@ 4", "+", "<", "+-1", "1.5", "@a+x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
