//! Mutants that cannot be chosen while a program runs, as those in constants: each is built by itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::list::{Mutant, SOURCES};
use super::process::{Run, Said};
use super::reach::{Reach, Test};
use super::results::{Results, Verdict};
use crate::line::root;
use crate::mutants::{WORK, build, copy_workspace};

/// The library's own tests, in which many are caught, and what is built only for those that are not.
const PROGRAMS: [&[&str]; 2] = [&["bedframe"], &["owners", "scrub", "seed", "vmap"]];
/// Tests up to this long are run.
const QUICK: Duration = Duration::from_millis(100);

/// Tries these one after the other, where there is a test that they have not survived yet.
pub fn run(
    mutants: &[Mutant],
    chosen: &[usize],
    reach: &Reach,
    results: &mut Results,
    scratch: &Path,
) -> Result<()> {
    copy_workspace(&root().join(WORK), None)?;
    let quick: Vec<_> = reach.tests.iter().filter(|test| test.time <= QUICK).collect();
    if !chosen.is_empty() {
        let verdict = tried(&quick, scratch)?;
        ensure!(verdict == Verdict::Survived, "with no mutant, {verdict:?}");
    }
    for (at, number) in (1..).zip(chosen) {
        let mutant = &mutants[*number];
        let tests = quick.iter().copied();
        let tests: Vec<_> =
            tests.filter(|test| !results.has_survived(mutant, &test.title())).collect();
        println!("{at} of {} that are built alone: {}", chosen.len(), mutant.name);
        let path = root().join(WORK).join(SOURCES).join(&mutant.file);
        let healthy = fs::read_to_string(&path).with_context(|| mutant.file.clone())?;
        fs::write(&path, mutant.applied(&healthy)?)?;
        let verdict = tried(&tests, scratch);
        fs::write(&path, healthy)?;
        results.add(mutant, verdict?)?;
    }
    Ok(())
}

fn tried(tests: &[&Test], scratch: &Path) -> Result<Verdict> {
    for programs in PROGRAMS {
        let of_them = |test: &&&Test| programs.contains(&&*test.program);
        if !tests.iter().any(|test| of_them(&test)) {
            continue;
        }
        let built = if programs == ["bedframe"] { build(&[]) } else { build(programs) };
        let Ok(built) = built else { return Ok(Verdict::Refused) };
        for (program, path) in &built {
            let tests = tests.iter().filter(|test| test.program == *program);
            let (names, times): (Vec<_>, Vec<_>) =
                tests.map(|test| (&*test.name, test.time)).unzip();
            if names.is_empty() {
                continue;
            }
            // Unlike those that the times are of, these programs are not optimised.
            let usual = times.iter().sum::<Duration>() * 8;
            let output = &scratch.join("output");
            let run =
                Run { program: path, tests: &names, usual, mutant: None, reached: None, output };
            if let Said::Failed(by) = run.done()? {
                return Ok(Verdict::Caught(format!("{program} {by}")));
            }
        }
    }
    Ok(Verdict::Survived)
}
