//! The index: which frames are free, once the heap runs.

mod arena;
mod build;
mod chunk;
mod directory;
mod entry;
#[cfg(all(test, loom))]
mod interleavings;
mod layout;
mod place;
mod raw;
mod record;
mod records;
mod segments;
mod slot;
mod span;
mod summary;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

pub(crate) use arena::{Arena, Wanted};
pub(crate) use build::{Build, Unbuilt};
pub(crate) use chunk::{
    Chunk, Contents, CountRefusal, Look, OfflineRefusal, Opened, PutRefusal, Unit, Vetted, Words,
};
pub(crate) use directory::{Directory, Tables};
pub(crate) use entry::{ChunkState, Entry};
pub(crate) use layout::{Bank, Segment};
pub(crate) use place::{Place, PlaceKind};
pub(crate) use raw::{Plain, Table, shared};
pub(crate) use record::{Kept, Leaving, Record};
pub(crate) use records::{Links, Records};
pub(crate) use segments::segments;
pub(crate) use slot::{Cpu, Slot, windows_closed, windows_opened};
pub(crate) use span::{CHUNK_FRAMES, Span, WORDS};
pub(crate) use summary::GROUP;
