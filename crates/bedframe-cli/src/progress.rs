//! What is going on, on standard error, for steps that take long enough to wonder.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Steps are shown only from this time on.
const PATIENCE: Duration = Duration::from_secs(1);

/// One line that shows the step under way, and nothing unless standard error is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
            since: Instant::now(),
        }
    }

    /// `name` is what happens from now on.
    pub(crate) fn begin(&mut self, name: impl Into<Cow<'static, str>>) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        self.bar.set_message(name);
        self.since = Instant::now();
    }

    /// `done` of `all` is done. Costs a look at the clock until the step has taken a while.
    pub(crate) fn advance(&self, done: u64, all: u64) {
        if self.since.elapsed() < PATIENCE {
            return;
        }
        if self.bar.length().is_none() {
            // Hidden by itself where standard error is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.set_length(all);
            if let Ok(style) =
                ProgressStyle::with_template("{msg} {bar:30} {percent:>3} % {elapsed}")
            {
                self.bar.set_style(style);
            }
        }
        self.bar.set_position(done);
    }

    /// Clears the line: from here on the terminal is for results.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Does `work`, whose end nobody knows, and shows meanwhile what it counts.
pub(crate) fn counting<T>(name: &'static str, counter: &AtomicU64, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        // Dropped at the end of `work`, even if that is a panic.
        let (working, over) = channel::<()>();
        scope.spawn(move || {
            if over.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            // Hidden by itself where standard error is no terminal.
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{msg} {human_pos} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(name);
            while over.recv_timeout(PATIENCE / 5) == Err(RecvTimeoutError::Timeout) {
                bar.set_position(counter.load(Ordering::Relaxed));
                bar.tick();
            }
            bar.finish_and_clear();
        });
        let result = work();
        drop(working);
        result
    })
}
