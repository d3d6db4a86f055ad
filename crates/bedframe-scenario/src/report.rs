//! What a run of a scenario has to tell.

/// How a scenario went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The file, as it was named.
    pub scenario: String,
    /// What happens in it, in one line.
    pub about: String,
    /// The machine, in words.
    pub machine: String,
    /// The steps that were taken, in order; the last of them is the one that failed, if one did.
    pub steps: Vec<StepReport>,
    /// The first thing that did not hold. Nothing was done after it.
    pub contradiction: Option<Contradiction>,
}

impl Report {
    /// Whether all held.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.contradiction.is_none()
    }
}

/// How a step went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepReport {
    /// Its number, from 1.
    pub number: usize,
    /// The line of the file that it begins at.
    pub line: usize,
    /// What it is called.
    pub title: String,
    /// Its action, or what it is made of.
    pub action: &'static str,
    /// Calls that were done.
    pub done: u64,
    /// Calls that were refused, as they might be.
    pub refused: u64,
    /// Comparisons that held.
    pub checks: u64,
    /// Whether all of memory was walked and found to agree.
    pub validated: bool,
    /// Free frames when it was done.
    pub free: u64,
    /// Frames that the heap had handed out.
    pub in_use: u64,
    /// Boot-allocated frames that had not been freed.
    pub uninitialised: u64,
    /// Frames that steps held.
    pub held: u64,
}

/// Something that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// Which step: "3", or "3.2, turn 17" for the second step of a group.
    pub step: String,
    /// The line of the file that the top step begins at.
    pub line: usize,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}
