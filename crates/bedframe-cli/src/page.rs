//! The page that a story is written on: headings, rows, and rules for what is too long.

use anstyle::{AnsiColor, Style};

/// Columns that a line may take.
pub(crate) const WIDTH: usize = 92;

const HEADING: Style = AnsiColor::Cyan.on_default().bold();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// `text` in this style, where the terminal has colours.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// What a table's heading and other things of less weight look like.
pub(crate) fn faint(text: &str) -> String {
    paint(FAINT, text)
}

/// What must not be overlooked.
pub(crate) fn strong(text: &str) -> String {
    paint(STRONG, text)
}

/// A tick or a cross.
pub(crate) fn mark(good: bool) -> String {
    if good { paint(GOOD, "\u{2713}") } else { paint(BAD, "\u{2717}") }
}

/// Text that grows line by line.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A line of a section.
    pub(crate) fn row(&mut self, row: &str) {
        self.line(&format!("  {row}"));
    }

    /// Words that may take several lines.
    pub(crate) fn words(&mut self, words: &str) {
        for line in wrap(words, WIDTH - 2) {
            self.row(&line);
        }
    }

    /// A heading, with a remark behind it.
    pub(crate) fn heading(&mut self, heading: &str, remark: &str) {
        let room = WIDTH.saturating_sub(heading.chars().count() + 2);
        let mut remark = wrap(remark, room).into_iter();
        let first = remark.next().unwrap_or_default();
        self.text.push('\n');
        self.line(&format!("{}  {}", paint(HEADING, heading), faint(&first)));
        for more in remark {
            self.row(&faint(&more));
        }
    }

    /// Something that was looked at, and what was found.
    pub(crate) fn verdict(&mut self, good: bool, words: &str) {
        let mut lines = wrap(words, WIDTH - 4).into_iter();
        self.row(&format!("{} {}", mark(good), lines.next().unwrap_or_default()));
        for line in lines {
            self.row(&format!("  {line}"));
        }
    }

    /// Rows, at most `most` of them: then the first of them and the last two.
    pub(crate) fn some_rows(&mut self, rows: &[String], most: usize) {
        if rows.len() <= most {
            rows.iter().for_each(|row| self.row(row));
            return;
        }
        let (head, tail) = (most - 3, 2);
        rows.iter().take(head).for_each(|row| self.row(row));
        self.and_more(rows.len() - head - tail);
        rows.iter().skip(rows.len() - tail).for_each(|row| self.row(row));
    }

    /// "... and 12 more".
    pub(crate) fn and_more(&mut self, left_out: usize) {
        if left_out > 0 {
            self.row(&faint(&format!("\u{2026} and {left_out} more")));
        }
    }
}

/// Breaks words into lines of at most `width` characters.
pub(crate) fn wrap(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// At most `width` characters of `text`.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('\u{2026}');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_broken_and_long_tables_cut() {
        assert_eq!(wrap("a bc def g", 4), ["a bc", "def", "g"]);
        assert_eq!(shorten("abcdef", 4), "abc\u{2026}");
        let mut page = Page::default();
        let rows: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        page.some_rows(&rows, 5);
        let text = anstream::adapter::strip_str(&page.into_text()).to_string();
        assert_eq!(text, "  0\n  1\n  \u{2026} and 6 more\n  8\n  9\n");
    }
}
