//! A scenario as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::error::{BadScenario, place};
use crate::machine::MachineTable;
use crate::step::Step;
use crate::table::{Kind, Mention, Value, table};

/// A scenario that was read: a machine, steps, and what must hold after each.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(crate) file: String,
    /// Where a map that it names by path is looked for.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) table: ScenarioTable,
    /// Where each top-level step stands.
    pub(crate) lines: Vec<usize>,
    /// Where the machine stands, or its map: line and text.
    place: (usize, String),
    /// How far the machine's addresses reach, with all that is plugged in later.
    pub(crate) reach: u64,
    /// Nodes of which something is expected.
    pub(crate) nodes: BTreeSet<u32>,
    /// The numbers of domains, by name.
    pub(crate) domains: BTreeMap<String, u32>,
    /// Whether anything is expected of the largest order.
    pub(crate) counts_orders: bool,
    /// Whether anything is expected of claims.
    pub(crate) counts_claims: bool,
}

table! {
    /// A scenario: the whole file.
    pub(crate) struct ScenarioTable {
        /// What happens, in one line: what a list of scenarios shows.
        about: String,
        /// The machine.
        machine: Spanned<MachineTable>,
        /// The steps, in order.
        step: Steps,
    }
}

/// Steps with their places in the text.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Steps(pub(crate) Vec<Spanned<Step>>);

impl Value for Steps {
    const WORDS: &'static str = "steps";

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        self.0.iter().for_each(|step| step.as_ref().mentions(visit));
    }
}

impl Scenario {
    /// Reads a scenario from a file; a map that it names by path lies beside it.
    ///
    /// # Errors
    ///
    /// [`BadScenario`] says which line is at fault and what was expected there.
    pub fn read(path: &Path) -> Result<Self, BadScenario> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            BadScenario::whole(&file, format!("expected a scenario that can be read: {error}"))
        })?;
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Self::parse(&file, &text, Some(folder))
    }

    /// Reads a scenario from text that has no folder: its map is a bundled one, or written out.
    ///
    /// # Errors
    ///
    /// As for [`Scenario::read`].
    pub fn from_text(file: &str, text: &str) -> Result<Self, BadScenario> {
        Self::parse(file, text, None)
    }

    fn parse(file: &str, text: &str, folder: Option<PathBuf>) -> Result<Self, BadScenario> {
        let table: ScenarioTable =
            toml::from_str(text).map_err(|error| BadScenario::from_toml(file, text, &error))?;
        let line = |step: &Spanned<Step>| {
            text.get(..step.span().start).map_or(1, |text| text.matches('\n').count() + 1)
        };
        let lines = table.step.0.iter().map(line).collect();
        let machine = &table.machine;
        let map = machine.as_ref().map.as_ref().map(|map| map.0.span());
        let place = place(text, map.unwrap_or_else(|| machine.span()));
        let mut scenario = Self {
            file: file.into(),
            folder,
            table,
            lines,
            place,
            reach: 0,
            nodes: BTreeSet::new(),
            domains: BTreeMap::new(),
            // It may stand in a comment, which costs a walk and is not wrong.
            counts_orders: text.contains("largest_order"),
            counts_claims: text.contains("claimed") || text.contains("deficit"),
        };
        scenario.look_through(text)?;
        Ok(scenario)
    }

    /// Checks what no single value shows: names that nobody gave, steps that do nothing.
    fn look_through(&mut self, text: &str) -> Result<(), BadScenario> {
        let bad = |span, expected| BadScenario::at(&self.file, text, span, expected);
        if self.table.step.0.is_empty() {
            return Err(BadScenario::whole(&self.file, "expected at least one [[step]]".into()));
        }
        let mut names: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
        let (mut reach, mut nodes, mut domains) = (0, BTreeSet::new(), BTreeMap::new());
        let mut machine = |mention: Mention<'_>| match mention {
            Mention::Reach(end) => reach = reach.max(end),
            Mention::Node(node) => drop(nodes.insert(node)),
            Mention::Given(Kind::Domain, name) => {
                let next = domains.len() as u32 + 1;
                domains.entry(name.to_string()).or_insert(next);
            }
            _ => {}
        };
        self.table.mentions(&mut machine);
        for step in &self.table.step.0 {
            step.as_ref()
                .check(step.span(), false)
                .map_err(|(span, expected)| bad(span, expected))?;
            let mut unknown = None;
            step.as_ref().each_mention(&mut |mention: Mention<'_>| match mention {
                Mention::Given(kind, name) => {
                    names.entry(kind).or_default().insert(name.into());
                }
                Mention::Used(kind, name, span) => {
                    if !names.get(&kind).is_some_and(|names| names.contains(name)) {
                        let thing = match kind {
                            Kind::Frames => "frames",
                            Kind::Domain => "a domain",
                            Kind::Mapping => "a mapping",
                            Kind::Mark => "a mark",
                        };
                        let given =
                            format!("expected the name of {thing} that an earlier step gave");
                        unknown.get_or_insert((span, given));
                    }
                }
                Mention::Reach(_) | Mention::Node(_) => {}
            });
            if let Some((span, expected)) = unknown {
                return Err(bad(span, expected));
            }
        }
        (self.reach, self.nodes, self.domains) = (reach, nodes, domains);
        Ok(())
    }

    /// There is no such machine.
    pub(crate) fn bad_machine(&self, expected: String) -> BadScenario {
        BadScenario { file: self.file.clone(), place: Some(self.place.clone()), expected }
    }

    /// The file, as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What happens, in one line.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.table.about
    }

    /// How many steps there are.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.lines.len()
    }
}
