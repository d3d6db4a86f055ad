//! Those that are measured: one face for all, one file for each.
//!
//! Nothing here is dynamic: a workload is compiled anew for each contender, so what is timed is the
//! contender's own code and a loop.

mod bedframe;
mod bitmap;
mod buddy;
mod cache;
mod cpu;
mod domain;
mod free_list;
mod magazine;
mod model;
mod per_cpu;
mod sketch;

pub use self::bedframe::{Bedframe, Caller};
pub use bitmap::Bitmap;
pub use buddy::Buddy;
pub use cache::Cache;
pub use domain::Domain;
pub(crate) use domain::{GUEST, Owner};
pub use free_list::List;
pub use magazine::Magazine;
pub use model::Model;
pub use sketch::Sketch;

use crate::plan::Workload;
use crate::trouble::Trouble;

/// The machine that a contender is to manage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Frames of usable memory, aligned to their number: all of one zone.
    pub frames: u64,
    /// CPUs that will call.
    pub cpus: usize,
    /// The order that will be asked for, for who can serve only one.
    pub order: u8,
}

/// What a contender promises, beyond handing out frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nature {
    /// One line: what it is, and what it leaves out.
    pub about: &'static str,
    /// A frame freed on one CPU can be allocated on any other.
    pub shares: bool,
    /// It may refuse although as many frames are free, since another CPU keeps them.
    pub hides: bool,
    /// It serves requests of different orders out of the same memory.
    pub orders: bool,
    /// The most frames that it can manage in bearable time.
    pub most_frames: u64,
}

/// Something that hands out frames.
pub trait Contender: Sync + Sized {
    /// How it is named on the command line and in results.
    const NAME: &'static str;
    /// What it promises.
    const NATURE: Nature;

    /// It, as one CPU sees it. Only one at a time exists for a CPU.
    type Cpu<'a>: Cpu
    where
        Self: 'a;

    /// It, with all frames of `machine` free.
    ///
    /// # Errors
    ///
    /// [`Trouble::Host`] if there is no memory for it.
    fn new(machine: Machine) -> Result<Self, Trouble>;

    /// It, as seen by the calling thread, which is CPU `number` from now on.
    fn cpu(&self, number: usize) -> Self::Cpu<'_>;

    /// The number of the first frame.
    fn first_frame(&self) -> u32 {
        0
    }

    /// Whether this workload, with blocks of this order, is for it.
    fn fits(workload: Workload, order: u8) -> bool {
        let _ = (workload, order);
        true
    }

    /// What its own data takes up, where it can be told.
    fn metadata_bytes(&self) -> Option<u64> {
        None
    }

    /// Looks for contradictions while nobody calls. `free` frames are free; `blocks` naturally
    /// aligned blocks of order 9 are, if they were counted.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn check(&self, free: u64, blocks: Option<u64>) -> Result<(), String> {
        let _ = (free, blocks);
        Ok(())
    }
}

/// The two calls that are measured.
pub trait Cpu {
    /// The first frame of a naturally aligned block of `1 << order` frames.
    fn alloc(&mut self, order: u8) -> Option<u32>;

    /// Takes a block back. False if it was refused; who checks nothing says true.
    fn free(&mut self, frame: u32, order: u8) -> bool;
}

/// The most frames that contenders manage side by side: 4 GiB.
pub const MOST_FRAMES: u64 = 1 << 20;

/// Frames of those that would take minutes with more: 64 MiB.
const FEW_FRAMES: u64 = 1 << 14;
