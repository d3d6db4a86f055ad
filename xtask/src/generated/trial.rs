//! Mutants against the tests that come to them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::list::Mutant;
use super::process::{Run, Said};
use super::reach::{Reach, Test};
use super::results::{Results, Verdict};

/// Tests up to this long are all run.
pub const QUICK: Duration = Duration::from_millis(75);
/// Longer ones are run for as long as this together, those first that catch most nearby.
const SLOW: Duration = Duration::from_secs(4);
/// The program of the library's own tests.
const OWN: &str = "bedframe";
/// How long tests of one process may take together, so that a mutant that does not end costs little.
const TOGETHER: Duration = Duration::from_millis(500);

pub struct Trial<'a> {
    pub mutants: &'a [Mutant],
    pub programs: &'a BTreeMap<String, PathBuf>,
    pub reach: &'a Reach,
    pub scratch: &'a Path,
    /// How often a test has caught a mutant of a file.
    killers: Mutex<BTreeMap<(&'a str, usize), usize>>,
}

impl<'a> Trial<'a> {
    pub fn new(
        mutants: &'a [Mutant],
        programs: &'a BTreeMap<String, PathBuf>,
        reach: &'a Reach,
        scratch: &'a Path,
    ) -> Self {
        Self { mutants, programs, reach, scratch, killers: Mutex::default() }
    }

    /// Tries these mutants with so many processes at once. What is found is written down at once.
    pub fn run(&self, chosen: &[usize], jobs: usize, results: &Mutex<Results>) -> Result<()> {
        self.each(chosen, jobs, |number, worker| {
            let (mutant, reached) = (&self.mutants[number], &self.reach.of[number]);
            let new: Vec<_> = {
                let results = results.lock().unwrap();
                let known =
                    |test: &usize| results.has_survived(mutant, &self.reach.tests[*test].title());
                reached.iter().copied().filter(|test| !known(test)).collect()
            };
            let verdict = match self.tried(number, &new, worker)? {
                Some(by) => Verdict::Caught(by),
                None if reached.is_empty() => Verdict::NotReached,
                None => Verdict::Survived,
            };
            results.lock().unwrap().add(mutant, verdict)
        })
    }

    /// Calls `body` with each mutant, and says now and then how far it is.
    fn each(
        &self,
        mutants: &[usize],
        jobs: usize,
        body: impl Fn(usize, usize) -> Result<()> + Sync,
    ) -> Result<()> {
        let (next, start, said) = (AtomicUsize::new(0), Instant::now(), Mutex::new(Instant::now()));
        let work = |worker: usize| -> Result<()> {
            while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                body(*mutant, worker)?;
                let mut said = said.lock().unwrap();
                if said.elapsed() > Duration::from_secs(10) {
                    *said = Instant::now();
                    let done = next.load(Ordering::Relaxed).min(mutants.len());
                    let minutes = start.elapsed().as_secs_f64() / 60.0;
                    println!("{done} of {} tried in {minutes:.1} minutes", mutants.len());
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..jobs).map(|worker| scope.spawn(move || work(worker))).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("a worker panicked"))
        })
    }

    /// The test that catches a mutant, if one of these does.
    fn tried(&self, mutant: usize, tests: &[usize], worker: usize) -> Result<Option<String>> {
        let file = &*self.mutants[mutant].file;
        let (mut quick, mut slow): (Vec<_>, Vec<_>) =
            tests.iter().partition(|test| self.reach.tests[**test].time <= QUICK);
        let mut groups = Vec::new();
        {
            // What has caught others nearby is likely to catch this one too.
            let killers = self.killers.lock().unwrap();
            let of_file = |test: &usize| killers.get(&(file, *test)).copied().unwrap_or(0);
            let best = quick.iter().copied().filter(|test| of_file(test) > 0).max_by_key(of_file);
            quick.retain(|test| Some(*test) != best);
            groups.extend(best.map(|best| vec![best]));
            // Then, what is about the same: unit tests, and those of the same subject.
            let is_far = |test: &usize| {
                let program = &*self.reach.tests[*test].program;
                program != OWN && !file.starts_with(program)
            };
            slow.sort_by_key(|test| (Reverse(of_file(test)), is_far(test)));
        }
        groups.extend(self.groups(&quick));
        let mut sum = Duration::ZERO;
        groups.extend(
            slow.into_iter()
                .take_while(|test| {
                    sum += self.reach.tests[*test].time;
                    sum <= SLOW
                })
                .map(|test| vec![test]),
        );
        for group in groups {
            let tests: Vec<&Test> = group.iter().map(|test| &self.reach.tests[*test]).collect();
            let names: Vec<_> = tests.iter().map(|test| &*test.name).collect();
            let program = &tests[0].program;
            let run = Run {
                program: self.programs.get(program).context("no such program")?,
                tests: &names,
                usual: tests.iter().map(|test| test.time).sum(),
                mutant: Some(mutant),
                reached: None,
                output: &self.scratch.join(format!("output-{worker}")),
            };
            if let Said::Failed(by) = run.done()? {
                let killer = group.iter().find(|test| self.reach.tests[**test].name == by);
                if let Some(killer) = killer {
                    *self.killers.lock().unwrap().entry((file, *killer)).or_default() += 1;
                }
                return Ok(Some(format!("{program} {by}")));
            }
        }
        Ok(None)
    }

    /// Tests in the order in which they are to be run, those of one process together.
    fn groups(&self, tests: &[usize]) -> Vec<Vec<usize>> {
        let mut groups: Vec<(Duration, Vec<usize>)> = Vec::new();
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        for test in tests {
            let Test { program, time, .. } = &self.reach.tests[*test];
            let at = open
                .get(&**program)
                .copied()
                .filter(|at| groups.get(*at).is_some_and(|(sum, _)| *sum + *time <= TOGETHER));
            let at = at.unwrap_or(groups.len());
            if at == groups.len() {
                groups.push((Duration::ZERO, Vec::new()));
                open.insert(program, at);
            }
            groups[at].0 += *time;
            groups[at].1.push(*test);
        }
        groups.sort_by_key(|(sum, group)| sum.div_f64(group.len() as f64));
        groups.into_iter().map(|(_, group)| group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_tests_of_a_program_run_together() {
        let test = |program: &str, name: &str, millis| Test {
            program: program.into(),
            name: name.into(),
            time: Duration::from_millis(millis),
        };
        let tests = vec![
            test("a", "one", 1),
            test("b", "two", 2),
            test("a", "three", 3),
            test("a", "long", 499),
            test("b", "longer", 600),
        ];
        let reach = Reach { tests, of: Vec::new(), slow: 0 };
        let programs = BTreeMap::new();
        let trial = Trial::new(&[], &programs, &reach, Path::new(""));
        assert_eq!(trial.groups(&[0, 1, 2, 3, 4]), [vec![0, 2], vec![1], vec![3], vec![4]]);
    }
}
