//! A machine whose broken frames end whoever touches them.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use bedframe::{FrameRange, Mfn, Order, PageState, Request, Withdrawal};

use super::{EARLY, drain, frame, frames, machine};

/// What the trap is worth: a touch of a broken frame ends the process that does it.
#[test]
fn a_touch_of_a_broken_frame_ends_the_process() {
    let test = std::env::current_exe().unwrap();
    let mut child = Command::new(test);
    child.args(["--exact", "traps::touches_a_broken_frame", "--ignored", "--nocapture"]);
    let output = child.output().unwrap();
    const BUS_OR_SEGMENT: [i32; 2] = [7, 11];
    let signal = output.status.signal().unwrap_or_else(|| panic!("{output:?}"));
    assert!(BUS_OR_SEGMENT.contains(&signal), "{signal}");
}

#[test]
#[ignore = "ends its process: `a_touch_of_a_broken_frame_ends_the_process` runs it"]
fn touches_a_broken_frame() {
    let memory = machine();
    let hosted = memory.platform().memory();
    hosted.break_frames(frames(600, 1)).unwrap();
    hosted.write_pattern(frames(600, 1), 1).unwrap();
}

/// Marks a frame broken, and breaks it as soon as nobody has it.
fn fail(memory: &bedframe::Memory<bedframe_hosted::HostedPlatform>, at: Mfn) -> bool {
    let done = memory.mark_broken(at).unwrap() == Withdrawal::Done;
    if done {
        memory.platform().memory().break_frames(FrameRange::single(at)).unwrap();
    }
    done
}

/// Broken frames, from whatever state they came, are touched by nobody: not by who takes all there is
/// and writes to it, not by frees, merges, late arrivals and the library's own books.
#[test]
fn nobody_touches_a_broken_frame() {
    let memory = machine();
    let hosted = memory.platform().memory();
    // Free frames: alone, at the edges of blocks, in a chunk that is free as a whole.
    for number in [1, 511, 512, 600, 2048, 2048 + 300, 4607] {
        assert!(fail(&memory, frame(number)));
    }
    // In use, within blocks of several sizes, and boot-allocated.
    let mut pending = Vec::new();
    for order in [0, 4, 9] {
        let block = memory.alloc(&Request::order(Order::new(order).unwrap())).unwrap();
        hosted.write_pattern(block, 7).unwrap();
        let last = Mfn::new(block.end().get() - 1);
        assert!(!fail(&memory, last));
        pending.push((block, last));
    }
    assert!(!fail(&memory, frame(EARLY + 50)));
    pending.push((frames(EARLY, 100), frame(EARLY + 50)));
    for (block, at) in pending {
        memory.free(block).unwrap();
        assert_eq!(memory.state(at), PageState::Broken);
        hosted.break_frames(FrameRange::single(at)).unwrap();
    }
    for round in 0..3 {
        for order in (0..=10).rev() {
            let request = Request::order(Order::new(order).unwrap());
            let mut held = Vec::new();
            while let Ok(block) = memory.alloc(&request) {
                hosted.write_pattern(block, round).unwrap();
                held.push(block);
            }
            for block in held {
                hosted.check_pattern(block, round).unwrap();
                memory.free(block).unwrap();
            }
        }
        memory.validate().unwrap();
    }
    assert_eq!(memory.statistics().bad, 1 + 7 + 4);
    drain(&memory);
}
