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
    /// Most characters of the text that are shown.
    const SHOWN: usize = 60;

    pub(crate) fn at(file: &str, text: &str, span: Range<usize>, expected: String) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let here = text.get(span).unwrap_or_default();
        let first = here.lines().next().unwrap_or_default().trim();
        let mut shown: String =
            first.chars().take(Self::SHOWN).flat_map(char::escape_debug).collect();
        if first.chars().count() > Self::SHOWN || here.trim().lines().count() > 1 {
            shown.push_str("...");
        }
        Self { file: file.into(), place: Some((line, shown)), expected }
    }

    /// The file cannot be read, or says what cannot be had.
    pub(crate) fn whole(file: &str, expected: String) -> Self {
        Self { file: file.into(), place: None, expected }
    }

    pub(crate) fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().replace('\n', " ");
        let span = error.span().unwrap_or(0..0);
        Self::at(file, text, span, message)
    }

    /// The line at fault, from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|(line, _)| *line)
    }
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
