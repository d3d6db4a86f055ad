//! Nobody's bytes are touched: frames that are handed out keep what their holder wrote.

use bedframe::{FrameRange, Request};
use bedframe_hosted::Pattern;

use crate::common::{Heap, World, mfn, pieces, range};
use crate::in_all_variants;

in_all_variants! {
    /// Boot ranges are full of their holders' data; hand-over, allocations and frees around them,
    /// and frees of their neighbours, leave every byte as it was.
    fn what_boot_allocated_keeps_its_bytes(heap) {
        let world = World::small(heap);
        let held = [range(700 - 13, 700), range(800, 1300), range(1795, 2100), range(3000, 4399)];
        for (tag, part) in (1..).zip(held) {
            assert_eq!(world.memory.alloc(&Request::exactly(part)), Ok(part));
            world.machine.memory().write_pattern(part, Pattern::whole(tag)).unwrap();
        }
        let verify = |from: usize| {
            for (tag, part) in (1..).zip(held).skip(from) {
                world.machine.memory().check_pattern(part, Pattern::whole(tag)).unwrap();
            }
        };
        world.start();
        verify(0);
        let blocks = world.drain();
        for (tag, block) in (100..).zip(&blocks) {
            world.machine.memory().write_pattern(*block, tag).unwrap();
        }
        verify(0);
        for (from, part) in (1..).zip(held) {
            for piece in pieces(part, &[17, 200]) {
                world.free(piece);
            }
            verify(from);
        }
        for (tag, block) in (100..).zip(&blocks) {
            world.machine.memory().check_pattern(*block, tag).unwrap();
        }
        for block in blocks {
            world.free(block);
        }
        world.check_all_free();
    }

    /// What is withheld is never written either: reserved, releasable, and bad frames above all.
    fn what_is_withheld_keeps_its_bytes(heap) {
        let mut world = World::empty(World::small_heap(heap), mfn(4400), false);
        let held = [range(0, 1), range(660, 700), range(1530, 1537), range(1895, 1901)];
        let late = range(4000, 4400);
        let bad = range(4100, 4101);
        world.memory.withhold_bad(bad).unwrap();
        world.memory.reserve_releasable(late).unwrap();
        for part in held {
            world.memory.reserve(part).unwrap();
        }
        for (start, end, node) in World::SMALL {
            world.add_ram(range(*start, *end), bedframe::NodeId(*node)).unwrap();
        }
        let hosted = world.machine.memory();
        hosted.write_pattern(late, Pattern::whole(5)).unwrap();
        for part in held {
            hosted.write_pattern(part, Pattern::whole(6)).unwrap();
        }
        world.start();
        for block in world.drain() {
            world.free(block);
        }
        hosted.check_pattern(late, Pattern::whole(5)).unwrap();
        assert_eq!(world.memory.release(late), Ok(399));
        for block in world.drain() {
            hosted.write_pattern(block, 7).unwrap();
            world.free(block);
        }
        hosted.check_pattern(bad, Pattern::whole(5)).unwrap();
        for part in held {
            hosted.check_pattern(part, Pattern::whole(6)).unwrap();
        }
        world.check_all_free();
    }

    /// The heap touches no frame that it manages: of memory that was never written, nothing but
    /// the metadata becomes resident.
    fn free_memory_is_never_touched(heap) {
        let xen_heap = heap.with(1 << 17, range(1 << 16, 1 << 17));
        let world = World::new(xen_heap, &[(1 << 16, 1 << 18, 0)]);
        let hosted = world.machine.memory();
        hosted.zap(hosted.frames()).unwrap();
        // No garbage this time.
        world.memory.start(1).unwrap();
        for block in world.drain_unmarked() {
            world.free(block);
        }
        let metadata = world.memory.statistics().metadata;
        assert!(metadata < 64, "{metadata} frames of metadata");
        assert!(hosted.resident_bytes().unwrap() <= metadata * 4096);
        let free: Vec<FrameRange> = {
            let mut runs = Vec::new();
            world.memory.each_free_run(|run, _| runs.push(run));
            runs
        };
        for run in free {
            assert!(hosted.is_untouched(run).unwrap(), "{run} was touched");
        }
        assert_eq!(world.memory.validate(), Ok(()));
    }
}

/// Tables and planes are written before they are read: whatever metadata memory held, zeros, ones
/// or garbage, what can be observed is the same.
#[test]
fn metadata_memory_may_be_full_of_garbage() {
    for heap in Heap::ALL {
        let run = |fill: u64| {
            let world = World::small(heap);
            let hosted = world.machine.memory();
            match fill {
                0 => hosted.zap(hosted.frames()).unwrap(),
                1 => {
                    for frame in hosted.frames().iter() {
                        hosted.write(frame, 0, &[0xff; 4096]).unwrap();
                    }
                }
                seed => hosted.fill_garbage(hosted.frames(), seed).unwrap(),
            }
            let boot = range(1500, 2200);
            assert_eq!(world.memory.alloc(&Request::exactly(boot)), Ok(boot));
            world.memory.start(3).unwrap();
            let mut looks = vec![world.check()];
            world.free(range(1600, 2100));
            let blocks = world.drain_unmarked();
            looks.push(world.check());
            for block in blocks {
                world.free(block);
            }
            world.free(range(1500, 1600));
            world.free(range(2100, 2200));
            looks.push(world.check_all_free());
            looks
        };
        let zeros = run(0);
        for fill in [1, 2, 3, 4] {
            for (stage, (ours, theirs)) in run(fill).iter().zip(&zeros).enumerate() {
                ours.assert_same_as(theirs, &format!("{heap:?}, fill {fill}, stage {stage}"));
            }
        }
    }
}
