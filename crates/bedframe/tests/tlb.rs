//! Stale translations: a machine whose CPUs keep them, until they are flushed, and notices who would
//! have been reached through one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;

use bedframe::{
    Accounting, CpuId, DomainId, FrameRange, FreeError, Memory, Mfn, NodeId, Order, Platform,
    RangeKind, Request, StaleCpus, Unscrubbed, XenHeap,
};
use bedframe_hosted::{HostedMemory, HostedPlatform, interrupt_count, leave_to_hosted};
use proptest::prelude::*;

const FRAMES: u64 = 4096;
const CPUS: u32 = 3;
const GUEST: DomainId = DomainId(7);

/// What each CPU's TLB holds.
type Tlbs = BTreeMap<u32, BTreeSet<Mfn>>;

struct Machine {
    hosted: HostedPlatform,
    defers: bool,
    tlbs: Mutex<Tlbs>,
    /// The CPUs of each flush that was asked for.
    asked: Mutex<Vec<Vec<u32>>>,
}

impl Machine {
    /// A CPU uses a mapping to a frame.
    fn touch(&self, cpu: u32, frame: Mfn) {
        self.tlbs.lock().unwrap().entry(cpu).or_default().insert(frame);
    }

    fn clear(&self, cpu: u32) {
        self.tlbs.lock().unwrap().remove(&cpu);
    }

    fn asked(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// No CPU reaches any of these frames.
    fn check(&self, frames: FrameRange) {
        for (cpu, held) in self.tlbs.lock().unwrap().iter() {
            let reached = held.range(frames.start()..frames.end()).next();
            assert_eq!(reached, None, "CPU {cpu} reaches a frame of {frames}");
        }
    }
}

// SAFETY: All but flushes is the hosted machine's, whose promises are these.
unsafe impl Platform for Machine {
    leave_to_hosted!(hosted: frame_ptr, frame_of, cpu, mask_interrupts, restore_interrupts);

    fn misuse(&self, error: &FreeError) {
        panic!("{error}");
    }

    fn defers_flushes(&self) -> bool {
        self.defers
    }

    unsafe fn scrub(&self, frame: Mfn, mapped: bool, pattern: u64) -> Result<(), Unscrubbed> {
        // Who reaches it would write to it behind this.
        self.check(FrameRange::single(frame));
        // SAFETY: The caller's obligations are the hosted machine's.
        unsafe { self.hosted.scrub(frame, mapped, pattern) }
    }

    fn flush_tlbs(&self, stale: &StaleCpus<'_>) {
        // A CPU that waits for what is held would never answer.
        assert_eq!(interrupt_count().depth, 0, "a flush is asked for while something is held");
        let cpus: Vec<u32> = (0..CPUS + 1).filter(|cpu| stale.contains(CpuId(*cpu))).collect();
        assert!(!cpus.is_empty(), "a flush of nobody");
        for cpu in &cpus {
            self.clear(*cpu);
        }
        self.asked.lock().unwrap().push(cpus);
    }
}

/// A machine that says nothing of flushes.
struct Plain(HostedPlatform);

// SAFETY: It is the hosted machine's, whose promises are these.
unsafe impl Platform for Plain {
    leave_to_hosted!(0: frame_ptr, frame_of);

    fn flush_tlbs(&self, stale: &StaleCpus<'_>) {
        panic!("a flush of {stale:?}");
    }
}

fn hosted() -> HostedPlatform {
    let host = HostedMemory::new(Mfn::new(FRAMES)).unwrap();
    // Where the clock will lie, which has run out if anything is assumed of this.
    for frame in FRAMES - 256..FRAMES {
        host.write(Mfn::new(frame), 0, &[0xff; 4096]).unwrap();
    }
    HostedPlatform::new(host)
}

fn memory(defers: bool) -> Memory<Machine> {
    let (tlbs, asked) = (Mutex::default(), Mutex::default());
    memory_on(Machine { hosted: hosted(), defers, tlbs, asked })
}

fn memory_on<P: Platform>(platform: P) -> Memory<P> {
    let memory = Memory::new(platform).with_records();
    let ram = FrameRange::from_len(Mfn::new(1024), FRAMES - 1024).unwrap();
    // SAFETY: the hosted machine's memory is used by nobody else.
    unsafe { memory.add_ram(ram, NodeId(0)) }.unwrap();
    memory.start(CPUS).unwrap();
    memory.create_domain(GUEST, u64::MAX).unwrap();
    memory
}

fn order(order: u8) -> Request<'static> {
    Request::order(Order::new(order).unwrap())
}

/// X 23a183607a, XSA-241: a stale stamp let a page be reused that a CPU could still reach. The stamp is taken
/// at the free and compared at the allocation, and what is flushed in between counts only if it began
/// behind the free.
#[test]
fn a_flush_before_the_free_does_not_count() {
    let memory = memory(true);
    let machine = memory.platform();
    for order in [order(0), order(5), order(9), order(10)] {
        let block = memory.alloc_for(GUEST, &order, Accounting::Counted).unwrap();
        machine.touch(1, block.start());
        // Too early: CPU 1 uses the mapping again behind it.
        for cpu in 0..CPUS {
            memory.flush_tlb(CpuId(cpu), || machine.clear(cpu));
        }
        machine.touch(1, block.start());
        memory.free_owned(GUEST, block).unwrap();
        machine.asked();
        let again = memory.alloc(&Request::exactly(block)).unwrap();
        machine.check(again);
        assert_eq!(machine.asked(), [vec![0, 1, 2, CPUS]], "{order:?}: all, once");
        memory.free(again).unwrap();
        let third = memory.alloc(&Request::exactly(block)).unwrap();
        assert!(machine.asked().is_empty(), "nobody's frames need none");
        memory.free(third).unwrap();
        memory.validate().unwrap();
    }
}

/// Only the CPUs that were not flushed since, and nobody if all were.
#[test]
fn a_flush_behind_the_free_counts() {
    let memory = memory(true);
    let machine = memory.platform();
    let block = memory.alloc_for(GUEST, &order(9), Accounting::Counted).unwrap();
    memory.free_owned(GUEST, block).unwrap();
    memory.flush_tlb(CpuId(1), || machine.clear(1));
    let block = memory.alloc_for(GUEST, &Request::exactly(block), Accounting::Counted).unwrap();
    assert_eq!(machine.asked(), [vec![0, 2, CPUS]]);
    memory.free_owned(GUEST, block).unwrap();
    for cpu in 0..CPUS {
        memory.flush_tlb(CpuId(cpu), || machine.clear(cpu));
    }
    memory.alloc(&Request::exactly(block)).unwrap();
    // A CPU that was never announced is the only one of which nothing is known.
    assert_eq!(machine.asked(), [vec![CPUS]]);
    memory.validate().unwrap();
}

/// A flush that is asked of some CPUs counts for these alone: another may be stale for a later stamp. Found
/// by `nobody_is_reached`.
#[test]
fn a_flush_of_some_counts_for_these_alone() {
    let memory = memory(true);
    let machine = memory.platform();
    let take = || memory.alloc_for(GUEST, &order(9), Accounting::Counted).unwrap();
    let (first, second) = (take(), take());
    memory.free_owned(GUEST, first).unwrap();
    memory.flush_tlb(CpuId(2), || machine.clear(2));
    machine.touch(2, second.start());
    memory.free_owned(GUEST, second).unwrap();
    memory.alloc(&Request::exactly(first)).unwrap();
    assert_eq!(machine.asked(), [vec![0, 1, CPUS]]);
    memory.alloc(&Request::exactly(second)).unwrap();
    machine.check(second);
    assert_eq!(machine.asked(), [vec![2, CPUS]]);
}

/// One flush for all frames of an allocation, and for all that came back before.
#[test]
fn flushes_are_batched() {
    let memory = memory(true);
    let machine = memory.platform();
    let blocks: Vec<_> =
        (0..4).map(|_| memory.alloc_for(GUEST, &order(9), Accounting::Counted).unwrap()).collect();
    for block in &blocks {
        memory.free_owned(GUEST, *block).unwrap();
    }
    let large = memory.alloc(&order(10)).unwrap();
    assert_eq!(machine.asked().len(), 1, "one for two chunks");
    let rest: Vec<_> = std::iter::from_fn(|| memory.alloc(&order(0)).ok()).collect();
    assert!(machine.asked().is_empty(), "the others came back before that flush");
    for range in rest.into_iter().chain([large]) {
        memory.free(range).unwrap();
    }
    memory.validate().unwrap();
}

/// Hot-add that takes an owner's frames for metadata has CPUs flushed while nothing is held, the ledger
/// neither, and before it writes there. (Found by fuzzing: it asked while it held the ledger, for which
/// a CPU that is to flush may be waiting.)
#[test]
fn hot_add_flushes_with_nothing_held() {
    let hosted = HostedPlatform::new(HostedMemory::new(Mfn::new(FRAMES)).unwrap());
    let (tlbs, asked) = (Mutex::default(), Mutex::default());
    let memory = Memory::new(Machine { hosted, defers: true, tlbs, asked }).with_records();
    let machine = memory.platform();
    // What is plugged in is not mapped, so its index lies in the heap's memory.
    let (mapped, more) = (1024..3072, 3072..FRAMES);
    memory.set_xen_heap(XenHeap::Limited { limit: Mfn::new(mapped.end) }).unwrap();
    let frames = |range: Range<u64>| FrameRange::new(Mfn::new(range.start), Mfn::new(range.end));
    // SAFETY: the hosted machine's memory is used by nobody else.
    let add = |range| unsafe { memory.add_ram(frames(range).unwrap(), NodeId(0)) };
    add(mapped.clone()).unwrap();
    memory.start(CPUS).unwrap();
    memory.create_domain(GUEST, u64::MAX).unwrap();
    let take = || memory.alloc_for(GUEST, &order(0), Accounting::Counted).ok();
    for frame in std::iter::from_fn(take).collect::<Vec<_>>() {
        machine.touch(1, frame.start());
        memory.free_owned(GUEST, frame).unwrap();
    }
    machine.asked();
    assert_eq!(add(more.clone()), Ok(more.end - more.start));
    assert_eq!(machine.asked(), [vec![0, 1, 2, CPUS]]);
    let mut at = Mfn::new(mapped.start);
    while at < Mfn::new(mapped.end) {
        let (range, kind, _) = memory.range_at(at);
        if kind == RangeKind::Metadata {
            machine.check(range);
        }
        at = range.end();
    }
    memory.validate().unwrap();
}

/// The clock is one, whatever directory there is: what was flushed before memory was plugged in counts behind
/// it.
#[test]
fn the_clock_goes_on_behind_hot_add() {
    let (tlbs, asked) = (Mutex::default(), Mutex::default());
    let memory =
        Memory::new(Machine { hosted: hosted(), defers: true, tlbs, asked }).with_records();
    let machine = memory.platform();
    let add = |start, frames| {
        let range = FrameRange::from_len(Mfn::new(start), frames).unwrap();
        // SAFETY: the hosted machine's memory is used by nobody else.
        unsafe { memory.add_ram(range, NodeId(0)) }.unwrap()
    };
    add(1024, 1024);
    memory.start(CPUS).unwrap();
    memory.create_domain(GUEST, u64::MAX).unwrap();
    let block = memory.alloc_for(GUEST, &order(9), Accounting::Counted).unwrap();
    memory.free_owned(GUEST, block).unwrap();
    memory.flush_tlb(CpuId(1), || machine.clear(1));
    add(2048, 2048);
    memory.alloc(&Request::exactly(block)).unwrap();
    assert_eq!(machine.asked(), [vec![0, 2, CPUS]]);
    memory.validate().unwrap();
}

/// A frame that is stolen, or goes with its last reference, is stamped too.
#[test]
fn all_ways_out_of_a_domain_are_stamped() {
    let memory = memory(true);
    let machine = memory.platform();
    let take = || memory.alloc_for(GUEST, &order(0), Accounting::Counted).unwrap();
    let again = |frame: FrameRange| {
        memory.alloc(&Request::exactly(frame)).unwrap();
        machine.check(frame);
        assert_eq!(machine.asked().len(), 1);
        memory.free(frame).unwrap();
    };
    let stolen = take();
    machine.touch(2, stolen.start());
    memory.steal(GUEST, stolen).unwrap();
    memory.free(stolen).unwrap();
    again(stolen);
    let referred = take();
    machine.touch(0, referred.start());
    memory.reference_owned(GUEST, referred.start()).unwrap();
    memory.free_owned(GUEST, referred).unwrap();
    memory.unreference(referred.start()).unwrap();
    again(referred);
    let relinquished = take();
    machine.touch(1, relinquished.start());
    memory.kill_domain(GUEST).unwrap();
    assert!(memory.relinquish(GUEST, 10).unwrap().done);
    again(relinquished);
    memory.validate().unwrap();
}

/// A frame that references keep is its owner's until the last of them goes: nobody is flushed for it before.
#[test]
fn a_frame_that_is_kept_asks_for_no_flush() {
    let memory = memory(true);
    let machine = memory.platform();
    let kept = memory.alloc_for(GUEST, &order(0), Accounting::Counted).unwrap();
    memory.reference_owned(GUEST, kept.start()).unwrap();
    memory.free_owned(GUEST, kept).unwrap();
    machine.asked();
    let chunk = kept.start().get() / 512;
    let near = memory.alloc(&order(0)).unwrap();
    assert_eq!(near.start().get() / 512, chunk, "a neighbour");
    assert!(machine.asked().is_empty());
    memory.unreference(kept.start()).unwrap();
    memory.alloc(&Request::exactly(kept)).unwrap();
    assert_eq!(machine.asked().len(), 1);
    memory.validate().unwrap();
}

/// The idle scrubber has CPUs flushed before it writes: whoever reaches a frame behind it could leave there
/// what the next owner, who is told that it is clean, would find.
#[test]
fn nothing_is_scrubbed_that_a_cpu_reaches() {
    for order in [order(0), order(5), order(9)] {
        let memory = memory(true);
        let machine = memory.platform();
        while !memory.scrub(512).done {}
        machine.asked();
        let block = memory.alloc_for(GUEST, &order, Accounting::Counted).unwrap();
        machine.touch(1, block.start());
        memory.free_owned(GUEST, block).unwrap();
        assert!(memory.statistics().dirty > 0);
        while !memory.scrub(512).done {}
        assert_eq!(machine.asked(), [vec![0, 1, 2, CPUS]], "{order:?}");
        assert_eq!(memory.statistics().dirty, 0);
        let again = memory.alloc_for(GUEST, &Request::exactly(block), Accounting::Counted).unwrap();
        machine.check(again);
        assert!(machine.asked().is_empty());
        memory.validate().unwrap();
    }
}

/// Who flushes before he frees is asked for nothing, and frees leave no stamps.
#[test]
fn nothing_is_asked_of_who_does_not_defer() {
    fn come_and_go<P: Platform>(memory: &Memory<P>) {
        for request in [order(0), order(9)] {
            let block = memory.alloc_for(GUEST, &request, Accounting::Counted).unwrap();
            memory.free_owned(GUEST, block).unwrap();
            memory.alloc(&Request::exactly(block)).unwrap();
        }
    }
    let memory = memory(false);
    come_and_go(&memory);
    assert!(memory.platform().asked().is_empty());
    // Who does not say that he defers does not.
    come_and_go(&memory_on(Plain(hosted())));
}

#[derive(Clone, Debug)]
enum Step {
    Take(u8, bool),
    Give(usize),
    Touch(u32, usize),
    Flush(u32),
    Scrub(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop_oneof![0u8..4, 8u8..11], any::<bool>()).prop_map(|(o, owned)| Step::Take(o, owned)),
        3 => any::<usize>().prop_map(Step::Give),
        4 => (0..CPUS, any::<usize>()).prop_map(|(cpu, which)| Step::Touch(cpu, which)),
        2 => (0..CPUS).prop_map(Step::Flush),
        1 => (1u64..600).prop_map(Step::Scrub),
    ]
}

proptest! {
    /// Whatever is handed out, no CPU reaches it through a translation of its last owner's.
    #[test]
    fn nobody_is_reached(steps in proptest::collection::vec(step(), 1..150)) {
        let memory = memory(true);
        let machine = memory.platform();
        let mut held: Vec<(FrameRange, bool)> = Vec::new();
        for step in steps {
            match step {
                Step::Take(exponent, owned) => {
                    let request = order(exponent);
                    let found = if owned {
                        memory.alloc_for(GUEST, &request, Accounting::Counted).ok()
                    } else {
                        memory.alloc(&request).ok()
                    };
                    if let Some(found) = found {
                        machine.check(found);
                        held.push((found, owned));
                    }
                }
                Step::Give(which) if !held.is_empty() => {
                    let (range, owned) = held.swap_remove(which % held.len());
                    if owned {
                        memory.free_owned(GUEST, range).unwrap();
                    } else {
                        memory.free(range).unwrap();
                    }
                }
                // Only owners' frames are mapped where a flush is deferred.
                Step::Touch(cpu, which) if !held.is_empty() => {
                    let (range, owned) = held[which % held.len()];
                    if owned {
                        let at = which as u64 % range.frames();
                        machine.touch(cpu, Mfn::new(range.start().get() + at));
                    }
                }
                Step::Flush(cpu) => memory.flush_tlb(CpuId(cpu), || machine.clear(cpu)),
                Step::Scrub(budget) => {
                    memory.scrub(budget);
                }
                Step::Give(_) | Step::Touch(..) => {}
            }
            memory.validate().unwrap();
        }
    }
}
