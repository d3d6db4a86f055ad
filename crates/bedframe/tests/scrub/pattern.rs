//! The debug mode: patterns instead of zeros, and a look for who writes to free memory.

use bedframe::{Mfn, Request, ScrubPolicy};

use crate::machine::{Event, World, mfn};

const PATTERN: u64 = 0xdead_beef_5c4b_0001;

fn written(events: Vec<Event>) -> Vec<Mfn> {
    let frame = |event| match event {
        Event::WrittenWhileFree(frame) => Some(frame),
        _ => None,
    };
    events.into_iter().filter_map(frame).collect()
}

/// Who writes to a scrubbed frame that is free is found when it is allocated clean; the caller gets
/// zeros all the same. What nobody wrote to raises no alarm, nor does a dirty frame.
#[test]
fn writes_to_free_memory_are_found() {
    let build = |memory: bedframe::Memory<_>| {
        memory.check_scrubbed(PATTERN).scrub_on_free(ScrubPolicy::Never)
    };
    let mut world = World::chunks(2, build);
    let used = world.alloc(&Request::frames(3).clean()).unwrap();
    assert_eq!(written(world.machine.events()), [], "they were dirty");
    world.scrub_all();
    assert_eq!(world.memory.statistics().dirty, 0);
    for frame in world.free_frames() {
        let bytes = world.machine.memory().bytes(frame).unwrap();
        assert!(bytes.chunks(8).all(|word| word == PATTERN.to_ne_bytes()));
    }
    let victims = [mfn(0x1000 + 5), mfn(0x1000 + 600)];
    for (victim, offset) in victims.into_iter().zip([0, 4095]) {
        world.machine.memory().write(victim, offset, &[7]).unwrap();
    }
    world.machine.events();
    while world.alloc(&Request::frames(1).clean()).is_some() {}
    let mut found = written(world.machine.events());
    found.sort();
    assert_eq!(found, victims);
    world.free(used);
    assert_eq!(world.memory.statistics().dirty, 3);
}
