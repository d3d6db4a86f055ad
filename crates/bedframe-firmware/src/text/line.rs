//! Lines as people paste them, and the numbers in them.

use crate::span::Span;
use crate::survey::ADDRESS_LIMIT;

/// What is wrong with a line that is part of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is cut or garbled; this was expected.
    Expected(&'static str),
    /// Its range ends below its start.
    Reversed,
    /// An address in it is over 52 bits.
    TooHigh,
}

/// The line without what logging and mailing put in front of it: quote marks, priorities such as
/// `<6>`, any number of stamps such as `[    0.000000]`, `[T0]` or `[]`, and everything up to
/// `kernel: ` of a system log.
pub(crate) fn body(line: &str) -> &str {
    let mut rest = line.trim();
    // A loop, since a line may hold `kernel: ` as often as it likes.
    loop {
        rest = plain(rest);
        match rest.split_once("kernel: ") {
            // The part in front is a date and a host, not a sentence that happens to end so.
            Some((front, after)) if front.len() < 80 && !front.starts_with('#') => rest = after,
            _ => return rest,
        }
    }
}

/// The line without quote marks, priorities and stamps.
fn plain(line: &str) -> &str {
    let mut rest = line.trim();
    loop {
        let before = rest;
        rest = rest.trim_start_matches(['>', '|', ' ', '\t']);
        if let Some((digits, after)) = rest.strip_prefix('<').and_then(|r| r.split_once('>'))
            && (1..=3).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
        {
            rest = after;
        }
        if let Some((stamp, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']'))
            && is_stamp(stamp)
        {
            rest = after;
        }
        if rest.len() == before.len() {
            return rest;
        }
    }
}

/// The line without blanks and quote marks, as the rest of the line before: nothing else is put
/// in front of that.
pub(crate) fn rest(line: &str) -> &str {
    line.trim().trim_start_matches(['>', ' ', '\t'])
}

fn is_stamp(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b" .:,+-/_".contains(&b))
        && !text.contains("0x")
        && !text.starts_with("mem")
        && !text.contains(", ")
}

/// Reads a line from its front. Blanks in front of whatever is read are skipped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    rest: &'a str,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What is left, without blanks at either end.
    pub(crate) fn rest(self) -> &'a str {
        self.rest.trim()
    }

    /// Takes `word` if it comes next.
    pub(crate) fn eat(&mut self, word: &str) -> bool {
        match self.rest.trim_start().strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes `word`, or says that the line is garbled.
    pub(crate) fn need(&mut self, word: &str, expected: &'static str) -> Result<(), Fault> {
        if self.eat(word) { Ok(()) } else { Err(Fault::Expected(expected)) }
    }

    /// A decimal number of at most 32 bits.
    pub(crate) fn decimal(&mut self, expected: &'static str) -> Result<u32, Fault> {
        let digits = self.digits(|b| b.is_ascii_digit());
        digits.parse().map_err(|_| Fault::Expected(expected))
    }

    /// A hexadecimal number, with or without `0x`. One of over 64 bits is too high.
    pub(crate) fn hex(&mut self, expected: &'static str) -> Result<u64, Fault> {
        self.number(expected).map(|(number, _)| number)
    }

    /// A hexadecimal number and of how many digits it is.
    pub(crate) fn number(&mut self, expected: &'static str) -> Result<(u64, usize), Fault> {
        let mut after = *self;
        if after.eat("0x") && after.rest.starts_with(|c: char| c.is_ascii_hexdigit()) {
            *self = after;
        }
        let digits = self.digits(|b| b.is_ascii_hexdigit());
        if digits.is_empty() {
            return Err(Fault::Expected(expected));
        }
        let number = u64::from_str_radix(digits, 16).map_err(|_| Fault::TooHigh)?;
        Ok((number, digits.len()))
    }

    /// Takes everything up to `mark`, and the mark, if there is one.
    pub(crate) fn until(&mut self, mark: &str) -> Option<&'a str> {
        let (front, rest) = self.rest.split_once(mark)?;
        self.rest = rest;
        Some(front)
    }

    fn digits(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let text = self.rest.trim_start();
        let len = text.bytes().take_while(|&b| wanted(b)).count();
        match text.split_at_checked(len) {
            Some((digits, rest)) => {
                self.rest = rest;
                digits
            }
            None => "",
        }
    }

    /// `mem START-END]` behind an opening bracket, both ends inside the range.
    pub(crate) fn bracketed(&mut self, expected: &'static str) -> Result<Span, Fault> {
        self.need("mem", expected)?;
        let start = self.hex(expected)?;
        self.need("-", expected)?;
        let end = self.hex(expected)?;
        self.need("]", expected)?;
        inclusive(start, end)
    }

    /// `START, END]` behind an opening bracket, both ends inside the range: Xen's way.
    pub(crate) fn listed(&mut self, expected: &'static str) -> Result<Span, Fault> {
        let start = self.hex(expected)?;
        self.need(",", expected)?;
        let end = self.hex(expected)?;
        self.need("]", expected)?;
        inclusive(start, end)
    }
}

/// The bytes from `start` to `end`, both inside. An end one below its start is an empty range.
pub(crate) fn inclusive(start: u64, end: u64) -> Result<Span, Fault> {
    if start >= ADDRESS_LIMIT || end >= ADDRESS_LIMIT {
        return Err(Fault::TooHigh);
    }
    exclusive(start, end + 1)
}

/// The bytes from `start` up to and without `end`.
pub(crate) fn exclusive(start: u64, end: u64) -> Result<Span, Fault> {
    if start > ADDRESS_LIMIT || end > ADDRESS_LIMIT {
        return Err(Fault::TooHigh);
    }
    if end < start {
        return Err(Fault::Reversed);
    }
    Ok(Span::new(start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoration_is_taken_off() {
        for line in [
            "BIOS-e820: x",
            "  BIOS-e820: x\r",
            "[    0.000000] BIOS-e820: x",
            "[] BIOS-e820: x",
            "[    0.000000][    T0] BIOS-e820: x",
            "[Mon Jan  1 00:00:00 2024] BIOS-e820: x",
            "> > [    0.000000] BIOS-e820: x",
            ">> BIOS-e820: x",
            "<6>[    0.000000] BIOS-e820: x",
            "Jun 19 18:06:35 my-host kernel: BIOS-e820: x",
            "Jun 19 18:06:35 h kernel: [    0.000000] BIOS-e820: x",
            "[    0.000000] focal kernel: BIOS-e820: x",
        ] {
            assert_eq!(body(line), "BIOS-e820: x", "{line}");
        }
    }

    #[test]
    fn no_line_has_too_many_prefixes() {
        let line = "kernel: ".repeat(1 << 20) + "[T0]".repeat(1 << 20).as_str() + "x";
        assert_eq!(body(&line), "x");
    }

    #[test]
    fn the_rest_of_a_line_is_only_quoted() {
        assert_eq!(rest("> >  |WB] x\r"), "|WB] x");
        assert_eq!(rest("[mem 0x0"), "[mem 0x0");
    }

    #[test]
    fn ranges_in_brackets_are_no_stamps() {
        assert_eq!(body("[mem 0x1000-0x1fff] available"), "[mem 0x1000-0x1fff] available");
        assert_eq!(body("[0x1-0x2] x"), "[0x1-0x2] x");
    }

    #[test]
    fn an_inclusive_end_one_below_its_start_is_empty_and_further_below_an_error() {
        assert_eq!(inclusive(0x1000, 0xfff), Ok(Span::new(0x1000, 0x1000)));
        assert_eq!(inclusive(0x1000, 0xffe), Err(Fault::Reversed));
        assert_eq!(exclusive(0x1000, 0x1000), Ok(Span::new(0x1000, 0x1000)));
        assert_eq!(exclusive(0x1000, 0xfff), Err(Fault::Reversed));
    }

    #[test]
    fn addresses_of_52_bits_are_the_highest() {
        let last = (1 << 52) - 1;
        assert_eq!(inclusive(0, last), Ok(Span::new(0, 1 << 52)));
        assert_eq!(inclusive(0, last + 1), Err(Fault::TooHigh));
        assert_eq!(inclusive(last + 1, last), Err(Fault::TooHigh));
        assert_eq!(exclusive(0, 1 << 52), Ok(Span::new(0, 1 << 52)));
        assert_eq!(exclusive(0, (1 << 52) + 1), Err(Fault::TooHigh));
    }

    #[test]
    fn numbers_are_read_with_and_without_their_prefix() {
        assert_eq!(Scan::new(" 0x00ff-").hex("n"), Ok(0xff));
        assert_eq!(Scan::new("00ff -").hex("n"), Ok(0xff));
        assert_eq!(Scan::new("0-a0000").hex("n"), Ok(0));
        assert_eq!(Scan::new("x").hex("n"), Err(Fault::Expected("n")));
        assert_eq!(Scan::new("0x").hex("n"), Ok(0));
        assert_eq!(Scan::new("0x11111111111111111").hex("n"), Err(Fault::TooHigh));
        assert_eq!(Scan::new("4294967296").decimal("n"), Err(Fault::Expected("n")));
    }
}
