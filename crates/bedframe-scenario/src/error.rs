//! Files that are no scenarios.

use std::fmt;
use std::ops::Range;

/// Why a file cannot be used: which file and line, what stands there, and what was expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadScenario {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1, and what stands at the place; `None` if it is about the file as a whole.
    pub place: Option<(usize, String)>,
    /// What was expected.
    pub expected: String,
}

impl BadScenario {
    pub(crate) fn at(file: &str, text: &str, span: Range<usize>, expected: String) -> Self {
        Self { file: file.into(), place: Some(place(text, span)), expected }
    }

    /// The file cannot be read, or says what cannot be had.
    pub(crate) fn whole(file: &str, expected: String) -> Self {
        Self { file: file.into(), place: None, expected }
    }

    pub(crate) fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().replace('\n', " ");
        match error.span() {
            // What is missing from the file as a whole stands nowhere in it.
            Some(span)
                if span.len() < text.len() && !message.starts_with("missing field")
                    || span.start > 0 =>
            {
                Self::at(file, text, span, message)
            }
            _ => Self::whole(file, message),
        }
    }

    /// The line at fault, from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|(line, _)| *line)
    }
}

/// The line of a place, from 1, and what stands there: the whole line, if the place itself is empty.
pub(crate) fn place(text: &str, span: Range<usize>) -> (usize, String) {
    /// Most characters that are shown.
    const SHOWN: usize = 60;

    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let here = text.get(span).unwrap_or_default().trim();
    let here =
        if here.is_empty() { text.lines().nth(line - 1).unwrap_or_default().trim() } else { here };
    let first = here.lines().next().unwrap_or_default();
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = first.chars().take(SHOWN).map(plain).collect();
    if first.chars().count() > SHOWN || here.lines().count() > 1 {
        shown.push_str("...");
    }
    (line, shown)
}

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some((line, text)) = &self.place {
            write!(f, "{line}: `{text}`:")?;
        }
        write!(f, " {}", self.expected)
    }
}

impl std::error::Error for BadScenario {}
