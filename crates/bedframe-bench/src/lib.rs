//! How long Bedframe takes, beside the frame allocators that are published crates.
//!
//! [`run`] is the engine of `bedframe bench`. It measures [`CONTENDERS`] in every [`Workload`]:
//!
//! * Nearly everything is metadata only: 4 GiB of frames, of which none is touched. `free-list` and the
//!   model manage 64 MiB, since with more each call takes them milliseconds; a dying domain has up to
//!   64 GiB; and where scrubbing is measured the bytes of 256 MiB are written.
//! * What is in one line of the table is measured in the same rounds, each contender once a round, in
//!   rotated order. A figure is the median of the rounds; least and most are beside it.
//! * Each thread stays on a processor of its own. With several threads a figure is the mean of what
//!   each thread measured for its own calls; all of them begin together.
//! * Random choices are drawn before the clock runs, and the arrays they are read from are read for
//!   everyone alike. The bare magazine pays for that too, so ratios to it are honest.
//! * Outside the timed parts every frame that was handed out is looked at: none may be in use twice, and
//!   at the end of each cell Bedframe and the model validate themselves.
//!
//! What the contenders promise differs, and [`contender::Nature`] says how. Only Bedframe and the
//! model refuse every wrong free; the bare magazine shares nothing; the cache is unchecked and hides
//! frames, and is shown as what it is. The sketch is no peer at all but the floor of the layout: the
//! locked instructions on bare bits, without which no frame of Bedframe's changes hands. What is above it
//! is the price of checks, packing and merging; [`Figure::to_floor`] says how much that is.
//!
//! Owners, scrubbing and offlining no other has. What these cost is set beside what it is to be compared
//! with in the same rounds: a domain's frames beside nobody's, a domain that dies beside one that gives back, the
//! scrubber beside filling with zeros, allocations while another CPU scrubs beside those at rest.
//!
//! # Without the program
//!
//! ```sh
//! cargo bench -p bedframe-bench --bench time            # divan: times of Bedframe's own paths
//! cargo install gungraun-runner --version 0.20.0        # once; valgrind must be there, too
//! cargo bench -p bedframe-bench --bench instructions    # callgrind: instructions of the same paths
//! ```
//!
//! Instructions are the same on a busy machine as on a quiet one, so a regression shows: the runner
//! compares with the run before, and fails where `--callgrind-limits='ir=1%'` asks for it.
//!
//! ```
//! use bedframe_bench::{Effort, Settings, Workload, run};
//!
//! let settings = Settings {
//!     effort: Effort::Tiny, // No figure of such a run is worth reading.
//!     workloads: vec![Workload::Repeat],
//!     allocators: vec!["bedframe".into(), "magazine".into()],
//!     threads: 1,
//!     seed: 1,
//! };
//! let outcome = run(&settings, |_| {})?;
//! assert!(outcome.results.iter().all(|figure| figure.median > 0.0));
//! # Ok::<(), bedframe_bench::Trouble>(())
//! ```
#![deny(unsafe_code)]
#![cfg(target_os = "linux")]

mod aims;
pub mod contender;
mod plan;
mod results;
mod run;
mod stand;
pub mod svg;
mod trouble;
mod workload;

pub use aims::Verdict;
pub use plan::{Effort, Workload};
pub use results::{Figure, Metric};
pub use run::{CONTENDERS, Entry, Outcome, Settings, Stage, run};
pub use trouble::Trouble;
