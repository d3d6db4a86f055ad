//! Small worlds, explored to the end: what `bedframe explore` does.
//!
//! A [`World`](engine::World) has states and steps; [`engine`] tries every step in every state, breadth first,
//! and says which [`invariant`]s can be broken, and how in the fewest steps. There are three kinds of worlds:
//!
//! * [`design`]: boot allocator, hand-over and heap in Xen's manner, one call at a time, under each of the
//!   [`cure`]s that were proposed for the seam between the two;
//! * [`steps`]: Bedframe's design, two or three CPUs at once, one atomic access at a time;
//! * [`library`]: Bedframe itself, one call at a time, beside its specification `bedframe-model`.
//!
//! A counterexample is told as a [`story`], and drawn as a [`picture`]. [`cost`] says what a cure costs, and
//! [`report`] does all of it.
//!
//! ```
//! use bedframe_explore::cure::{Cure, Variant};
//! use bedframe_explore::design::Design;
//! use bedframe_explore::engine::{Limit, explore};
//!
//! let breaks = |cure| {
//!     let design = Design { variant: Variant::proposed(cure), honest: true };
//!     let found = explore(design, Limit { depth: 3, stop_at_first: true }, &Default::default());
//!     found.shortest().map(|(_, way)| way.len())
//! };
//! assert_eq!(breaks(Cure::CountZero), Some(3)); // start, alloc, free
//! assert_eq!(breaks(Cure::Uninitialised), None);
//! ```
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod cost;
pub mod cure;
pub mod design;
pub mod engine;
pub mod invariant;
pub mod library;
pub mod picture;
pub mod report;
pub mod steps;
pub mod story;
