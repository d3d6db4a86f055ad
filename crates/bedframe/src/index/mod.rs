//! The index: which frames are free, once the heap runs.

mod arena;
#[cfg(not(loom))]
mod build;
mod chunk;
#[cfg(not(loom))]
mod directory;
mod entry;
#[cfg(all(test, loom))]
mod interleavings;
#[cfg(not(loom))]
mod raw;
mod records;
#[cfg(not(loom))]
mod segments;
mod slot;
mod span;
mod summary;

pub(crate) use arena::{Arena, Wanted};
#[cfg(not(loom))]
pub(crate) use build::Build;
pub(crate) use chunk::{Chunk, Look, PutRefusal, Words};
#[cfg(not(loom))]
pub(crate) use directory::{Bank, Directory, Segment};
pub(crate) use entry::{ChunkState, Entry};
pub(crate) use records::{CountRefusal, Records};
#[cfg(not(loom))]
pub(crate) use segments::segments;
pub(crate) use slot::{Cpu, Place, PlaceKind, windows_closed, windows_opened};
pub(crate) use span::{CHUNK_FRAMES, Span, WORDS};
