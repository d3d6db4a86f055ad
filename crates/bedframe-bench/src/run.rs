//! The run: rounds, in each of which every contender is measured once, in rotated order.
//!
//! A computer that is busy with other things for a while slows all contenders of a round down, not
//! one of them; and nobody is always first.

use serde::Serialize;

use crate::aims::{Verdict, judge};
use crate::contender::{
    Bedframe, Bitmap, Buddy, Cache, Contender, Domain, List, Magazine, Model, Sketch,
};
use crate::plan::{Cell, Effort, Workload, cells};
use crate::results::{Figure, Metric};
use crate::trouble::Trouble;
use crate::workload::{Context, Made, subject};

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How much time there is.
    pub effort: Effort,
    /// Only these workloads; all, if there are none.
    pub workloads: Vec<Workload>,
    /// Only the contenders of these names; all, if there are none.
    pub allocators: Vec<String>,
    /// The most threads.
    pub threads: usize,
    /// What all random choices depend on.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome {
    /// Every figure, in the order in which it was measured.
    pub results: Vec<Figure>,
    /// What was to be reached, as far as the run says anything about it.
    pub aims: Vec<Verdict>,
    /// What all random choices depended on.
    pub seed: u64,
    /// Whether the run was a short one.
    pub quick: bool,
    /// Whether this program was built without optimisation: then no figure means anything.
    pub debug_build: bool,
}

/// A contender, as the run knows it.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    subject: fn(&Context<'_>) -> Made,
}

const fn entry<C: Contender + 'static>() -> Entry {
    Entry { name: C::NAME, about: C::NATURE.about, subject: subject::<C> }
}

/// Everyone who can be measured.
pub const CONTENDERS: [Entry; 9] = [
    entry::<Bedframe>(),
    entry::<Sketch>(),
    entry::<Magazine>(),
    entry::<Cache>(),
    entry::<Bitmap>(),
    entry::<Buddy>(),
    entry::<List>(),
    entry::<Model>(),
    entry::<Domain>(),
];

impl Settings {
    fn wants(&self, cell: &Cell) -> bool {
        self.workloads.is_empty() || self.workloads.contains(&cell.workload)
    }

    fn wants_entry(&self, entry: &Entry) -> bool {
        self.allocators.is_empty() || self.allocators.iter().any(|name| name == entry.name)
    }

    /// One thread, two, and as many as there may be.
    fn threads(&self) -> Vec<usize> {
        let mut threads = vec![1, 2.min(self.threads), self.threads];
        threads.retain(|threads| *threads > 0);
        threads.dedup();
        threads
    }
}

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage {
    /// What is measured.
    pub workload: Workload,
    /// Rounds done.
    pub done: usize,
    /// Rounds in all.
    pub all: usize,
}

/// Measures. `progress` is told before each round.
///
/// # Errors
///
/// [`Trouble::Host`] if this computer cannot do it, [`Trouble::Contradiction`] if a contender hands
/// out what is in use, or is at odds with itself.
pub fn run(settings: &Settings, mut progress: impl FnMut(Stage)) -> Result<Outcome, Trouble> {
    let mut cells = cells(settings.effort, &settings.threads());
    cells.retain(|cell| settings.wants(cell));
    let all = cells.iter().map(|cell| cell.rounds).sum();
    let (mut done, mut results) = (0, Vec::new());
    for cell in &cells {
        let told = |round| progress(Stage { workload: cell.workload, done: done + round, all });
        measure(settings, cell, told, &mut results)?;
        done += cell.rounds;
    }
    beside_floor(&mut results);
    Ok(Outcome {
        aims: judge(&results),
        results,
        seed: settings.seed,
        quick: settings.effort != Effort::Full,
        debug_build: cfg!(debug_assertions),
    })
}

/// Measures one cell.
fn measure(
    settings: &Settings,
    cell: &Cell,
    mut progress: impl FnMut(usize),
    results: &mut Vec<Figure>,
) -> Result<(), Trouble> {
    let plan = settings.effort.plan();
    let context = Context { cell, plan: &plan, seed: settings.seed };
    let mut subjects = Vec::new();
    for entry in CONTENDERS.iter().filter(|entry| settings.wants_entry(entry)) {
        if let Some(subject) = (entry.subject)(&context)? {
            subjects.push((entry.name, subject, Vec::new()));
        }
    }
    for round in 0..cell.rounds {
        progress(round);
        for at in rotated(subjects.len(), round) {
            let (_, subject, readings) = &mut subjects[at];
            readings.extend(subject.round()?);
        }
    }
    for (name, subject, readings) in &subjects {
        subject.finish()?;
        let mut metrics: Vec<Metric> = readings.iter().map(|(metric, _)| *metric).collect();
        metrics.sort_unstable();
        metrics.dedup();
        for metric in metrics {
            let of_metric = readings.iter().filter(|(of, _)| *of == metric);
            let values: Vec<f64> = of_metric.map(|(_, value)| *value).collect();
            results.extend(Figure::of(cell, name, metric, &values));
        }
    }
    Ok(())
}

/// Says of each time how it compares with the least that the layout can come to.
fn beside_floor(results: &mut [Figure]) {
    let floors: Vec<Figure> =
        results.iter().filter(|figure| figure.allocator == Sketch::NAME).cloned().collect();
    for figure in results {
        let floor = floors.iter().find(|floor| floor.is_beside(figure));
        figure.to_floor = floor.map(|floor| figure.median / floor.median);
    }
}

/// The numbers below `count`, beginning with another one in each round.
fn rotated(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| (at + round) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_begins_with_another_one_and_leaves_none_out() {
        for round in 0..7 {
            let mut order: Vec<_> = rotated(5, round).collect();
            assert_eq!(order[0], round % 5);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4]);
        }
        assert_eq!(rotated(0, 3).count(), 0);
    }

    #[test]
    fn a_time_is_compared_with_the_floor_of_its_own_row() {
        let cells = cells(Effort::Tiny, &[1, 2]);
        let figure = |cell, name, median| Figure::of(cell, name, Metric::PairNs, &[median]);
        let [one, two, ..] = &cells[..] else { panic!("two cells") };
        let mut results: Vec<_> = [
            figure(one, Bedframe::NAME, 20.0),
            figure(one, Sketch::NAME, 8.0),
            figure(two, Bedframe::NAME, 30.0),
        ]
        .into_iter()
        .flatten()
        .collect();
        beside_floor(&mut results);
        let times: Vec<_> = results.iter().map(|figure| figure.to_floor).collect();
        assert_eq!(times, [Some(2.5), Some(1.0), None]);
    }

    #[test]
    fn threads_are_one_two_and_the_most() {
        let threads = |threads| {
            let settings = Settings {
                effort: Effort::Tiny,
                workloads: Vec::new(),
                allocators: Vec::new(),
                threads,
                seed: 1,
            };
            settings.threads()
        };
        assert_eq!(threads(1), [1]);
        assert_eq!(threads(2), [1, 2]);
        assert_eq!(threads(16), [1, 2, 16]);
    }
}
