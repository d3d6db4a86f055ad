//! A step: one action, or several steps in a row or side by side, and what must hold afterwards.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::action::{Action, Actions};
use crate::expect::Expect;
use crate::table::{Field, Mention, Value};
use crate::value::{ErrorName, ErrorNames, NewMark};

/// What is wrong with a step, and where it stands.
type Wrong = (Range<usize>, String);

/// A step as it is written: the keys below, and one action.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Actions")]
pub(crate) struct Step {
    pub(crate) title: Option<String>,
    pub(crate) what: What,
    pub(crate) repeat: u64,
    pub(crate) refused: Option<String>,
    pub(crate) may_be_refused: Vec<String>,
    pub(crate) expect: Option<Spanned<Box<Expect>>>,
    pub(crate) validate: Option<bool>,
    pub(crate) mark: Option<NewMark>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Nothing: it only looks.
    Look,
    Action(Box<Action>),
    Steps(Vec<Spanned<Step>>),
    Threads(Vec<Spanned<Thread>>),
}

crate::table::table! {
    /// A CPU that takes steps while others take theirs. Between the first and the last of them memory
    /// is not at rest, so these steps have no `expect`.
    pub(crate) struct Thread {
        /// The number of the CPU; the first thread is CPU 0 and so on, unless this says otherwise.
        cpu: Option<u32>,
        /// The node that the CPU is on: 0 unless this says otherwise.
        node: Option<u32>,
        /// How often the steps are taken: once unless this says otherwise.
        repeat: Option<u64>,
        /// The steps.
        steps: crate::scenario::Steps,
    }
}

/// The keys of a step beside its action.
pub(crate) const KEYS: &[Field] = &[
    Field {
        name: "title",
        words: "text",
        optional: true,
        about: "What the report calls the step; without it, its action.",
    },
    Field {
        name: "steps",
        words: "steps",
        optional: true,
        about: "Instead of an action: steps of their own, one after the other (`[[step.steps]]`).",
    },
    Field {
        name: "threads",
        words: "threads",
        optional: true,
        about: "Instead of an action: threads that begin at the same time (`[[step.threads]]`). The step ends \
                when all have. Each begins with the names that were known before.",
    },
    Field {
        name: "repeat",
        words: "a number",
        optional: true,
        about: "How often the step is taken: once unless this says otherwise. `expect` is for the end.",
    },
    Field {
        name: "refused",
        words: "the name of an error",
        optional: true,
        about: "Every call of the step must be refused with this error, and change nothing. Without it none may be.",
    },
    Field {
        name: "may_be_refused",
        words: "the name of an error, or a list",
        optional: true,
        about: "Each call may succeed or be refused with one of these: for threads that race.",
    },
    Field {
        name: "expect",
        words: "a table",
        optional: true,
        about: "What must hold when the step is done: see below.",
    },
    Field {
        name: "validate",
        words: "true or false",
        optional: true,
        about: "Whether everything is walked and checked when the step is done. It is, unless this says false or the \
                step is one of a group; then it is in the group's first and last turn.",
    },
    Field {
        name: "mark",
        words: "a new name",
        optional: true,
        about: "Gives all counters, as they are when the step is done, a name: a later `\"@name\"` means this moment.",
    },
];

impl TryFrom<Actions> for Step {
    type Error = String;

    fn try_from(actions: Actions) -> Result<Self, String> {
        let (what, keys) = actions.split()?;
        let refused = keys.refused.map(|ErrorName(name)| name);
        let may_be_refused = keys.may_be_refused.map_or(Vec::new(), |ErrorNames(names)| names);
        if refused.is_some() && !may_be_refused.is_empty() {
            return Err("expected `refused` or `may_be_refused`, not both".into());
        }
        Ok(Self {
            title: keys.title,
            what,
            repeat: keys.repeat.unwrap_or(1),
            refused,
            may_be_refused,
            expect: keys.expect,
            validate: keys.validate,
            mark: keys.mark,
        })
    }
}

impl Step {
    /// What the report calls it.
    pub(crate) fn title(&self) -> String {
        match (&self.title, &self.what) {
            (Some(title), _) => title.clone(),
            (None, What::Look) => "look".into(),
            (None, What::Action(action)) => action.title(),
            (None, What::Steps(steps)) => format!("{} steps", steps.len()),
            (None, What::Threads(threads)) => format!("{} threads", threads.len()),
        }
    }

    /// What the step does, in one word.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.what {
            What::Look => "look",
            What::Action(action) => action.key(),
            What::Steps(_) => "steps",
            What::Threads(_) => "threads",
        }
    }

    /// What can be known to be wrong before anything happens.
    pub(crate) fn check(&self, span: Range<usize>, in_thread: bool) -> Result<(), Wrong> {
        if self.repeat == 0 {
            return Err((span, "expected to be repeated at least once".into()));
        }
        if in_thread {
            if let Some(expect) = &self.expect {
                return Err((
                    expect.span(),
                    "expected no `expect` inside a thread: nothing is at rest there".into(),
                ));
            }
            if self.mark.is_some() || self.validate == Some(true) {
                return Err((
                    span,
                    "expected no `mark` nor `validate` inside a thread: nothing is at rest there"
                        .into(),
                ));
            }
        }
        match &self.what {
            What::Look
                if self.expect.is_none() && self.mark.is_none() && self.validate != Some(true) =>
            {
                Err((
                    span,
                    "expected an action, `steps`, `threads`, or something to look at".into(),
                ))
            }
            What::Look => Ok(()),
            What::Action(action) => {
                if in_thread && !action.in_threads() {
                    let key = action.key();
                    return Err((
                        span,
                        format!("expected an action that a thread can take: {key} is none"),
                    ));
                }
                action.check().map_err(|expected| (span, expected))
            }
            What::Steps(steps) => {
                if steps.is_empty() {
                    return Err((span, "expected at least one step in `steps`".into()));
                }
                steps.iter().try_for_each(|step| step.as_ref().check(step.span(), in_thread))
            }
            What::Threads(_) if in_thread => {
                Err((span, "expected no threads inside a thread".into()))
            }
            What::Threads(threads) => {
                let steps = threads.iter().flat_map(|thread| &thread.as_ref().steps.0);
                let mut steps = steps.peekable();
                if steps.peek().is_none() {
                    return Err((span, "expected at least one step in `threads`".into()));
                }
                steps.into_iter().try_for_each(|step| step.as_ref().check(step.span(), true))
            }
        }
    }

    /// All mentions, in the order in which they matter: what a step uses is known before what it
    /// gives, and what it expects looks at both.
    pub(crate) fn each_mention(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        match &self.what {
            What::Look => {}
            What::Action(action) => {
                action.mentions(&mut |mention| {
                    if !matches!(mention, Mention::Given(..)) {
                        visit(mention);
                    }
                });
                action.mentions(&mut |mention| {
                    if matches!(mention, Mention::Given(..)) {
                        visit(mention);
                    }
                });
            }
            What::Steps(steps) => steps.iter().for_each(|step| step.as_ref().each_mention(visit)),
            What::Threads(threads) => {
                let steps = threads.iter().flat_map(|thread| &thread.as_ref().steps.0);
                steps.for_each(|step| step.as_ref().each_mention(visit));
            }
        }
        if let Some(expect) = &self.expect {
            expect.as_ref().mentions(visit);
        }
        self.mark.mentions(visit);
    }
}

impl Value for Step {
    const WORDS: &'static str = "a step";

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        self.each_mention(visit);
    }
}
