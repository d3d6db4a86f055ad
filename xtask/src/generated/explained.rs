//! Survivors that no test could tell from the library, each with the reason.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::line::root;

/// Where they are.
pub const EXPLAINED: &str = "crates/bedframe/mutants/explained.txt";

/// How many survivors of a name are explained.
#[derive(Debug, Default)]
pub struct Explained(BTreeMap<String, usize>);

impl Explained {
    pub fn read() -> Result<Self> {
        Self::parse(&fs::read_to_string(root().join(EXPLAINED)).context(EXPLAINED)?)
    }

    /// Names, each followed by a reason that is indented. A reason is that of all names in front of it.
    fn parse(text: &str) -> Result<Self> {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut waiting = 0;
        for (at, line) in (1..).zip(text.lines()) {
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            if line.starts_with(' ') {
                waiting = 0;
                continue;
            }
            ensure!(line.contains(".rs: "), "{EXPLAINED}:{at}: `{line}` is no mutant's name");
            *names.entry(line.into()).or_default() += 1;
            waiting = at;
        }
        ensure!(waiting == 0, "{EXPLAINED}:{waiting}: no reason is given");
        Ok(Self(names))
    }

    /// Whether a survivor of this name is explained; uses the explanation up.
    pub fn take(&mut self, name: &str) -> bool {
        match self.0.get_mut(name) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// What is explained and has not been asked for: none of that name survived.
    pub fn rest(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_explanation_explains_one_survivor() {
        let text = "# Why.\n\na.rs: replace f with ()\n    equivalent: it does nothing\n";
        let mut explained = Explained::parse(text).unwrap();
        assert!(!explained.take("b.rs: replace f with ()"));
        assert!(explained.rest().eq(["a.rs: replace f with ()"]));
        assert!(explained.take("a.rs: replace f with ()"));
        assert_eq!(explained.rest().count(), 0);
        assert!(!explained.take("a.rs: replace f with ()"));
    }

    #[test]
    fn an_explanation_gives_a_reason() {
        assert!(Explained::parse("a.rs: replace f with ()\n").is_err());
        assert!(Explained::parse("what\n    reason\n").is_err());
        for name in Explained::read().unwrap().0.keys() {
            let file = name.split(": ").next().unwrap_or_default();
            assert!(root().join("crates/bedframe/src").join(file).is_file(), "{name}");
        }
    }
}
