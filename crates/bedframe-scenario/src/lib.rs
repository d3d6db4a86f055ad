//! Scripts of what happens to a machine's memory, and what must hold after each step.
//!
//! A scenario is a TOML file: a machine, and steps. It runs on a hosted machine, with real contents in
//! every frame that is handed out, up to the first thing that does not hold. The page
//! `docs/scenarios.md`, which [`reference()`] writes, describes the format.
//!
//! ```
//! use bedframe_scenario::Scenario;
//!
//! let scenario = Scenario::from_text("tiny.toml", r#"
//!     about = "A boot frame is freed into the heap."
//!     [machine]
//!     ram = [{ frames = "1 MiB..64 MiB" }]
//!     [[step]]
//!     alloc = { as = "stack", frames = 4 }
//!     expect = { uninitialised = 4 }
//!     [[step]]
//!     start = {}
//!     [[step]]
//!     free = { what = "stack" }
//!     expect = { free = "+4", state = { stack = "free" } }
//! "#)?;
//! let report = scenario.run(&|_, _, _| {})?;
//! assert!(report.ok());
//! assert_eq!(report.steps[2].uninitialised, 0);
//! # Ok::<(), bedframe_scenario::BadScenario>(())
//! ```

#![deny(unsafe_code)]

mod action;
mod books;
mod bundled;
mod engine;
mod error;
mod expect;
mod instance;
mod machine;
mod reference;
mod report;
mod scenario;
mod snapshot;
mod step;
mod table;
mod value;
mod world;

pub use bundled::SCENARIOS;
pub use engine::Watch;
pub use error::BadScenario;
pub use reference::reference;
pub use report::{Contradiction, Report, StepReport};
pub use scenario::Scenario;
