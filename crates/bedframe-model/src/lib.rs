//! The executable specification of Bedframe: a plain list-and-split buddy allocator with nodes,
//! zones and orders, written to be read.
//!
//! # Background
//!
//! A hypervisor has two allocators in one boot. The *boot allocator* hands out ranges of frames,
//! of any length and from anywhere. Then the *heap* takes over: it keeps free memory as blocks of
//! `2^order` frames, splits a block in halves to hand out less, and merges two halves (*buddies*)
//! when both are free again. Two things went wrong for years, where these allocators met:
//!
//! * the heap merged two free neighbours although they lay in different *zones*. Zones are powers
//!   of two, so a block reaches over a zone edge only if it reaches down to frame 0; upstream threw
//!   frame 0 away, and the check itself never landed;
//! * a boot range that crosses a zone, a node or the edge of a pool was freed as one block, or
//!   could not be told from an ordinary page and was freed wrongly or not at all.
//!
//! # The cure, in one picture
//!
//! ```text
//! RAM      │────── node 0 ──────│────── node 1 ──────│ hole   │── node 1 ──│
//! zones    │─ 10 ─│──────── 11 ────────│─────────────── 12 ────────────────│
//! pools    │────────────── both ──────────────│─────── domain only ────────│
//! segments │─ 1 ──│───── 2 ─────│─ 3 ──│─ 4 ──│─ 5 ──│        │──── 6 ─────│
//! ```
//!
//! A [`Segment`] is a maximal run of RAM with one node, one zone and one [`PoolSet`]. Before two
//! buddies merge, the heap asks whether the other one lies in the *same segment*. Zone, node, pool
//! and hole are checked by that one question, before the lists are even looked at. And whatever
//! enters the heap, from the boot allocator or elsewhere, is split at segment edges first. So any
//! frame that was ever handed out can be given back, at any time, in any split or union, to one
//! call: [`World::free`].
//!
//! # Role
//!
//! * **Specification.** Each file is one idea: which states a frame may have (`states`), where
//!   segments end (`segment`), how blocks split and merge (`block`, `buddy`), what may be done to
//!   the map (`world`), what it means for a request to be satisfiable (`search`).
//! * **Oracle.** A test runs the library and tells the model what the library *chose*:
//!   [`World::replay_alloc`] takes exactly that block or says which rule it breaks;
//!   [`World::judge_refusal`] looks for memory that the library claims not to have. Refused frees
//!   are compared as values: [`World::free`] names the first offending frame and why.
//! * **Baseline.** [`World::alloc`] is an ordinary allocator, for benchmarks to be measured against.
//!
//! Everything is kept by ranges, nothing by frame, so a 30 TiB machine costs no more than a small
//! one. A [`World`] is a plain value: clone it, compare it, throw it away.
//!
//! ```
//! use bedframe::{FrameRange, Mfn, NodeId, Request};
//! use bedframe_model::{Config, World};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let range = |start, end| FrameRange::new(Mfn::new(start), Mfn::new(end)).unwrap();
//!
//! // Frame 0 is ordinary memory here, so frames 0 to 511 are all the memory there is.
//! let mut world = World::new(Config { withhold_frame0: false, ..Config::default() });
//! world.add_ram(range(0, 512), NodeId(0))?;
//!
//! // The boot allocator hands out a range; then the heap takes over.
//! let early = world.alloc(&Request::exactly(range(3, 300)))?;
//! world.start(&[])?;
//!
//! // The same call as ever gives it back. Free frames 0 to 511 and look: ten zones, ten blocks.
//! world.free(early)?;
//! assert_eq!(world.blocks().len(), 10);
//! world.validate()?;
//!
//! // A second time is an error that names the frame, and changes nothing.
//! assert_eq!(world.free(early).unwrap_err().frame, Mfn::new(3));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod alloc;
mod block;
mod buddy;
mod count;
mod judge;
mod mutant;
mod offline;
mod ranges;
mod search;
mod segment;
mod states;
mod validate;
mod world;

pub use block::{Block, blocks};
pub use judge::Illegal;
pub use mutant::Mutant;
pub use segment::{PoolSet, Segment};
pub use states::FrameState;
pub use validate::Fault;
pub use world::{Config, World};
