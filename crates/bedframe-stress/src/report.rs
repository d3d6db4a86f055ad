//! What a run says while it goes on, and at its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::counts::Counts;
use crate::found::Found;
use crate::lives::{Done, Plan};

/// The time, and operations a second, on standard error where that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    pub(crate) fn new(plan: Plan) -> Self {
        let bar = ProgressBar::new(plan.time.as_secs().max(1));
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {elapsed} of {len} s  {msg}") {
            bar.set_style(style);
        }
        Self { bar, start: Instant::now() }
    }

    pub(crate) fn show(&self, operations: u64) {
        let seconds = self.start.elapsed().as_secs_f64();
        if seconds < 1.0 {
            return;
        }
        self.bar.set_position(seconds as u64);
        let rate = operations as f64 / seconds;
        self.bar.set_message(format!("{} operations a second", grouped(rate as u64)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The run, for people or as one JSON object.
#[derive(Serialize)]
pub(crate) struct Report {
    seed: u64,
    threads: usize,
    cpus: u32,
    seconds: f64,
    /// What must not be, if that was found; then there are no figures.
    contradiction: Option<String>,
    #[serde(flatten)]
    figures: Option<Figures>,
}

/// What was done.
#[derive(Serialize)]
struct Figures {
    lives: u64,
    quiet_points: u64,
    operations_total: u64,
    operations_per_second: u64,
    #[serde(flatten)]
    counts: Counts,
}

impl Report {
    pub(crate) fn new(plan: Plan, time: Duration, result: &Result<Done, Found>) -> Self {
        let seconds = time.as_secs_f64();
        let figures = |done: &Done| Figures {
            lives: done.lives,
            quiet_points: done.rests,
            operations_total: done.counts.total(),
            operations_per_second: (done.counts.total() as f64 / seconds) as u64,
            counts: done.counts.clone(),
        };
        Self {
            seed: plan.seed,
            threads: plan.threads,
            cpus: plan.cpus,
            seconds,
            contradiction: result.as_ref().err().map(|found| found.to_string()),
            figures: result.as_ref().ok().map(figures),
        }
    }

    pub(crate) fn print_json(&self) {
        if let Ok(text) = serde_json::to_string_pretty(self) {
            println!("{text}");
        }
    }

    pub(crate) fn print(&self) {
        // Of a contradiction standard error says all there is.
        let Some(figures) = &self.figures else { return };
        println!(
            "bedframe stress  {} threads, {} CPUs, seed {}\n",
            self.threads, self.cpus, self.seed
        );
        print_table("operations", &figures.counts.operations);
        print_table("refusals, each as it must be", &figures.counts.refusals);
        for (name, count) in [
            ("operations", figures.operations_total),
            ("  a second", figures.operations_per_second),
            ("double frees caught", figures.counts.double_frees),
            ("lives, from boot to the end", figures.lives),
            ("quiet points, all compared", figures.quiet_points),
        ] {
            println!("{name:28} {:>12}", grouped(count));
        }
        println!("\n✓ no contradiction in {:.1} s", self.seconds);
    }
}

fn print_table(title: &str, counts: &BTreeMap<&'static str, u64>) {
    println!("{title}");
    for (name, count) in counts {
        println!("  {name:26} {:>12}", grouped(*count));
    }
    println!();
}

/// "1,234,567".
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(0) + " " + &grouped(1_234_567), "0 1,234,567");
    }
}
