//! Withdrawing frames while the machine runs.
//!
//! | file | what |
//! |---|---|
//! | `states.rs` | every state, withdrawn, broken and let back; what is refused |
//! | `blocks.rs` | blocks around a withdrawn frame |
//! | `traps.rs` | a machine on which nobody may touch a broken frame |
//! | `scripts.rs` | random scripts against a list of states |

mod blocks;
mod scripts;
mod states;
mod traps;

use bedframe::{FrameRange, Memory, Mfn, NodeId, Request};
use bedframe_hosted::{HostedMemory, HostedPlatform};

/// Frames of the machine: 32 MiB.
const FRAMES: u64 = 8192;
/// Boot-allocated in [`machine`].
const EARLY: u64 = 1000;
/// A late release gives these.
const MODULE: u64 = 3000;

fn frame(number: u64) -> Mfn {
    Mfn::new(number)
}

fn frames(start: u64, count: u64) -> FrameRange {
    FrameRange::from_len(frame(start), count).unwrap()
}

/// A machine with records: 100 frames boot-allocated from [`EARLY`] on, 50 releasable from [`MODULE`] on,
/// 50 reserved behind them.
fn machine() -> Memory<HostedPlatform> {
    let host = HostedMemory::new(frame(FRAMES)).unwrap();
    let memory = Memory::new(HostedPlatform::new(host)).with_records();
    // SAFETY: the hosted machine's memory is used by nobody else.
    unsafe { memory.add_ram(frames(0, FRAMES), NodeId(0)) }.unwrap();
    memory.reserve_releasable(frames(MODULE, 50)).unwrap();
    memory.reserve(frames(MODULE + 50, 50)).unwrap();
    memory.withhold_bad(frames(MODULE + 100, 1)).unwrap();
    memory.alloc(&Request::exactly(frames(EARLY, 100))).unwrap();
    memory.start(2).unwrap();
    memory
}

/// The same before hand-over, all of it RAM.
fn unstarted(with_records: bool) -> Memory<HostedPlatform> {
    let memory = Memory::new(HostedPlatform::new(HostedMemory::new(frame(FRAMES)).unwrap()));
    let memory = if with_records { memory.with_records() } else { memory };
    // SAFETY: the hosted machine's memory is used by nobody else.
    unsafe { memory.add_ram(frames(0, FRAMES), NodeId(0)) }.unwrap();
    memory
}

/// Takes everything, and gives it back: every frame that was handed out.
fn drain(memory: &Memory<HostedPlatform>) -> Vec<Mfn> {
    let mut all = Vec::new();
    while let Ok(found) = memory.alloc(&Request::frames(1)) {
        all.push(found.start());
    }
    for frame in &all {
        memory.free(FrameRange::single(*frame)).unwrap();
    }
    memory.validate().unwrap();
    all
}
