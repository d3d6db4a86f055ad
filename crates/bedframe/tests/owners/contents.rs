//! What owners find in their frames.

use bedframe::{FrameRange, Memory, NodeId, ScrubPolicy};
use bedframe_hosted::{HostedMemory, HostedPlatform};
use proptest::prelude::*;

use crate::common::{mfn, range};
use crate::world::{A, B, COUNTED, EXTRA, request, single};

const FRAMES: u64 = 4096;

fn memory(policy: ScrubPolicy) -> Memory<HostedPlatform> {
    let hosted = HostedMemory::new(mfn(FRAMES)).unwrap();
    hosted.fill_garbage(range(0, FRAMES), 9).unwrap();
    let memory = Memory::new(HostedPlatform::new(hosted)).with_records().scrub_on_free(policy);
    // SAFETY: hosted memory that nobody else uses.
    unsafe { memory.add_ram(range(1024, FRAMES), NodeId(0)) }.unwrap();
    memory.start(1).unwrap();
    for domain in [A, B] {
        memory.create_domain(domain, u64::MAX).unwrap();
    }
    memory
}

fn is_zero(memory: &Memory<HostedPlatform>, frames: FrameRange) -> bool {
    let hosted = memory.platform().memory();
    frames.iter().all(|frame| hosted.bytes(frame).unwrap().iter().all(|byte| *byte == 0))
}

/// A living owner's frames count as clean if the policy trusts it to have scrubbed them, a dying one's do
/// not; and always, or never, is what it says.
#[test]
fn the_policy_says_what_comes_back_dirty() {
    for (policy, living, dying) in [
        (ScrubPolicy::Always, true, true),
        (ScrubPolicy::Dying, false, true),
        (ScrubPolicy::Never, false, false),
    ] {
        for order in [0, 4, 9] {
            let memory = memory(policy);
            while !memory.scrub(1 << 20).done {}
            let block = memory.alloc_for(A, &request(order), COUNTED).unwrap();
            memory.platform().memory().write_pattern(block, 1).unwrap();
            let clean = memory.statistics().dirty;
            memory.free_owned(A, block).unwrap();
            assert_eq!(memory.statistics().dirty > clean, living, "{policy:?}, order {order}");
            let block = memory.alloc_for(B, &request(order).inside(block), COUNTED).unwrap();
            assert_eq!(is_zero(&memory, block), policy == ScrubPolicy::Always);
            let before = memory.statistics().dirty;
            memory.kill_domain(B).unwrap();
            while !memory.relinquish(B, 7).unwrap().done {}
            assert_eq!(memory.statistics().dirty > before, dying, "{policy:?}, order {order}");
            memory.validate().unwrap();
        }
    }
}

/// What a dying domain gives back by itself is not trusted either, nor what goes with the last reference.
#[test]
fn the_dying_are_not_trusted() {
    let memory = memory(ScrubPolicy::Dying);
    let block = memory.alloc_for(A, &request(2), COUNTED).unwrap();
    let [living, dying, referred] = [0, 1, 2].map(|at| single(mfn(block.start().get() + at)));
    let dirty = || memory.statistics().dirty;
    let before = dirty();
    memory.reference_owned(A, referred.start()).unwrap();
    memory.free_owned(A, referred).unwrap();
    memory.free_owned(A, living).unwrap();
    assert_eq!(dirty(), before);
    memory.kill_domain(A).unwrap();
    memory.free_owned(A, dying).unwrap();
    assert_eq!(dirty(), before + 1);
    memory.unreference(referred.start()).unwrap();
    assert_eq!(dirty(), before + 2);
    memory.validate().unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Take(bool, u8, bool),
    Give(usize, bool),
    Anonymous(u8),
    Free(usize),
    Scrub(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let order = prop_oneof![3 => 0u8..4, 1 => 5u8..11];
    prop_oneof![
        4 => (any::<bool>(), order.clone(), any::<bool>()).prop_map(|(a, o, e)| Step::Take(a, o, e)),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(w, half)| Step::Give(w, half)),
        2 => order.prop_map(Step::Anonymous),
        2 => any::<usize>().prop_map(Step::Free),
        2 => (1u64..700).prop_map(Step::Scrub),
    ]
}

proptest! {
    /// Whatever came before, a domain finds zeros, and nobody writes to what it has.
    #[test]
    fn no_owner_reads_what_another_wrote(steps in proptest::collection::vec(step(), 1..80)) {
        let memory = memory(ScrubPolicy::Always);
        let hosted = memory.platform().memory();
        let mut owned: Vec<(FrameRange, bool, u64)> = Vec::new();
        let mut held: Vec<(FrameRange, u64)> = Vec::new();
        for (tag, step) in steps.into_iter().enumerate() {
            let tag = tag as u64 + 1;
            match step {
                Step::Take(first, order, extra) => {
                    let domain = if first { A } else { B };
                    let accounting = if extra { EXTRA } else { COUNTED };
                    if let Ok(block) = memory.alloc_for(domain, &request(order), accounting) {
                        prop_assert!(is_zero(&memory, block), "{} is not clean", block);
                        hosted.write_pattern(block, tag).unwrap();
                        owned.push((block, first, tag));
                    }
                }
                Step::Give(which, half) if !owned.is_empty() => {
                    let index = which % owned.len();
                    let (block, first, tag) = owned.swap_remove(index);
                    hosted.check_pattern(block, tag).unwrap();
                    let domain = if first { A } else { B };
                    let mut part = block;
                    if half && block.frames() > 1 {
                        let middle = mfn(block.start().get() + block.frames() / 2);
                        part = FrameRange::new(block.start(), middle).unwrap();
                        owned.push((FrameRange::new(middle, block.end()).unwrap(), first, tag));
                    }
                    memory.free_owned(domain, part).unwrap();
                }
                Step::Anonymous(order) => {
                    if let Ok(block) = memory.alloc(&request(order)) {
                        hosted.write_pattern(block, tag).unwrap();
                        held.push((block, tag));
                    }
                }
                Step::Free(which) if !held.is_empty() => {
                    let (block, tag) = held.swap_remove(which % held.len());
                    hosted.check_pattern(block, tag).unwrap();
                    memory.free(block).unwrap();
                }
                Step::Scrub(budget) => {
                    memory.scrub(budget);
                }
                Step::Give(..) | Step::Free(_) => {}
            }
            memory.validate().unwrap();
        }
        for (block, _, tag) in owned {
            hosted.check_pattern(block, tag).unwrap();
        }
    }
}
