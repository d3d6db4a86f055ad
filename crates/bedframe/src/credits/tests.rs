//! What is paid out of which pocket: a machine large enough for shares, whose frames nobody touches.

use core::cell::{Cell, RefCell};

use super::desk::Judged;
use super::pay::Paid;
use super::*;
use crate::addr::{FrameRange, Mfn};
use crate::error::FreeRefusal;
use crate::heap::free_error;
use crate::memory::Memory;
use crate::node::NodeId;
use crate::platform::{CpuId, Platform};
use crate::request::Request;

/// Node 0 has twice as many frames as all shares of a CPU may hold, in two zones; node 1 about as many.
const FIRST: u64 = 0xf000;
const EDGE: u64 = 0x1_0000;
const SECOND: u64 = 0x2_0000;
const END: u64 = 0x2_8000;
/// What all shares of one CPU may hold.
const FAR: u64 = Shares::COUNT * 2 * BATCH;

/// RAM that was leaked and is not there before somebody writes to it.
struct Machine {
    ram: *mut u8,
    cpu: Cell<u32>,
    told: RefCell<Vec<(Scope, Notice)>>,
}

// SAFETY: 1. All frames that are added lie in the leaked memory, which is aligned. 2, 3. One thread,
// without interrupts.
#[allow(unsafe_code)]
unsafe impl Platform for Machine {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        self.ram.wrapping_add(((frame.get() - FIRST) * crate::FRAME_SIZE) as usize)
    }

    fn frame_of(&self, _: *const u8) -> Option<Mfn> {
        None
    }

    fn cpu(&self) -> CpuId {
        CpuId(self.cpu.get())
    }

    fn low_memory(&self, scope: Scope, notice: Notice) {
        self.told.borrow_mut().push((scope, notice));
    }
}

fn frames(start: u64, end: u64) -> FrameRange {
    FrameRange::new(Mfn::new(start), Mfn::new(end)).unwrap()
}

fn memory(cpus: u32) -> Memory<Machine> {
    let ram: &'static mut [u64] = vec![0; (END - FIRST + 1) as usize * 512].leak();
    let ram = ram.as_mut_ptr().cast::<u8>();
    let ram = ram.wrapping_add(ram.align_offset(4096));
    let memory = Memory::new(Machine { ram, cpu: Cell::new(0), told: RefCell::default() });
    for (range, node) in [(frames(FIRST, SECOND), 0), (frames(SECOND, END), 1)] {
        // SAFETY: leaked memory that nobody else uses.
        #[allow(unsafe_code)]
        unsafe { memory.add_ram(range, NodeId(node)) }.unwrap();
    }
    memory.start(cpus).unwrap();
    memory
}

/// Credits in the books: of the machine, of node 0 and of node 1.
fn books(memory: &Memory<Machine>) -> [i64; 3] {
    let desk = memory.desk().unwrap();
    [&desk.books.machine, desk.level(0).unwrap(), desk.level(1).unwrap()].map(Level::credits)
}

fn is_doubted(memory: &Memory<Machine>) -> bool {
    memory.desk().unwrap().is_doubted()
}

/// Ends this CPU's share of a node and opens one with so many credits.
fn reopen(memory: &Memory<Machine>, node: u64, credits: u64) {
    let slot = memory.directory().unwrap().slot(memory.platform().cpu()).unwrap();
    let share = slot.shares.of(node).unwrap();
    share.close();
    share.open(node, credits);
}

/// What this CPU's share of a node held; it is closed.
fn shared(memory: &Memory<Machine>, node: u64) -> Option<u64> {
    let slot = memory.directory().unwrap().slot(memory.platform().cpu()).unwrap();
    let share = slot.shares.of(node).unwrap();
    let is_open = share.ticket(node).is_some();
    is_open.then(|| share.close().1)
}

fn alloc(memory: &Memory<Machine>, frames: u64, node: u32) -> FrameRange {
    memory.alloc(&Request::frames(frames).on(NodeId(node))).unwrap()
}

#[test]
fn a_share_pays_and_is_credited_up_to_two_batches() {
    let memory = memory(1);
    let claim = memory.stake_claim(Scope::Machine, 1).unwrap();
    let [machine, node, _] = books(&memory);
    let first = alloc(&memory, 1, 0);
    let batch = BATCH as i64;
    let after = [machine - 1 - batch, node - 1 - batch];
    assert_eq!(books(&memory)[..2], after, "the books paid for a frame and for the share");
    let second = alloc(&memory, BATCH, 0);
    assert_eq!(books(&memory)[..2], after, "the share paid");
    assert_eq!(shared(&memory, 0), Some(0));
    reopen(&memory, 0, BATCH);
    memory.free(second).unwrap();
    assert_eq!(books(&memory)[..2], after, "the share was credited");
    memory.free(first).unwrap();
    assert_eq!(books(&memory)[..2], after.map(|credits| credits + batch + 1), "it was full");
    assert_eq!(shared(&memory, 0), Some(BATCH));
    drop(claim);
    assert!(memory.credits.is_off());
}

#[test]
fn no_share_is_opened_near_a_limit_or_a_watermark() {
    for (scope, node) in [(Scope::Machine, 0), (Scope::Node(NodeId(0)), 1)] {
        for (high, short) in [(0, 0), (0, 1), (77, 0), (77, 1)] {
            let memory = memory(1);
            if high > 0 {
                memory.watch(scope, 1, high).unwrap();
            }
            let claim = memory.stake_claim(scope, 1).unwrap();
            let credits = books(&memory)[node] as u64;
            claim.add(credits - FAR - high - 1 + short).unwrap();
            alloc(&memory, 1, 0);
            assert_eq!(
                books(&memory)[node] as u64 + if short == 0 { BATCH } else { 0 },
                FAR + high - short
            );
            assert_eq!(shared(&memory, 0), (short == 0).then_some(BATCH), "{scope} {high}");
        }
    }
}

/// What was frames of two segments cannot be credited to one share.
#[test]
fn frames_of_one_segment_are_credited_to_the_share() {
    let memory = memory(1);
    let _claim = memory.stake_claim(Scope::Machine, 1).unwrap();
    for (start, end, by_share) in
        [(EDGE - 16, EDGE, true), (EDGE - 17, EDGE - 1, true), (EDGE - 8, EDGE + 8, false)]
    {
        for part in [frames(start, end.min(EDGE)), frames(end.min(EDGE), end)] {
            if !part.is_empty() {
                assert_eq!(memory.alloc(&Request::exactly(part)), Ok(part));
            }
        }
        reopen(&memory, 0, 0);
        let before = books(&memory);
        memory.free(frames(start, end)).unwrap();
        if by_share {
            assert_eq!((books(&memory), shared(&memory, 0)), (before, Some(16)));
        } else {
            // The share is opened anew with a batch.
            let [machine, node, other] = before;
            let batch = BATCH as i64;
            assert_eq!(books(&memory), [machine + 16 - batch, node + 16 - batch, other]);
        }
        assert!(!is_doubted(&memory));
    }
}

#[test]
fn who_finds_nothing_is_paid_back() {
    let memory = memory(1);
    let _claim = memory.stake_claim(Scope::Machine, 1).unwrap();
    let before = books(&memory);
    // Out of a share that is there still, and out of one that has been closed.
    for closed in [false, true] {
        reopen(&memory, 0, BATCH);
        let paid = memory.pay(None, 0, BATCH).unwrap();
        assert_eq!(paid.node(), 0);
        if closed {
            assert_eq!(shared(&memory, 0), Some(0));
        }
        memory.pay_back(None, &paid);
        let back = if closed { BATCH as i64 } else { 0 };
        assert_eq!(books(&memory), [before[0] + back, before[1] + back, before[2]]);
        assert_eq!(shared(&memory, 0), if closed { None } else { Some(BATCH) });
        memory.count_free(false);
    }
    // Out of the books, by which it is pending meanwhile.
    let before = books(&memory);
    let node = before[2] as u64;
    let paid = memory.pay(None, 1, 5).unwrap();
    assert_eq!((paid.node(), books(&memory)), (1, [before[0] - 5, before[1], before[2] - 5]));
    let stands = |memory: &Memory<Machine>| {
        let desk = memory.desk().unwrap();
        let level = desk.level(1).unwrap();
        (level.has(node), level.still_has(node), level.still_has(node + 1))
    };
    assert_eq!(stands(&memory), (false, true, false));
    memory.pay_back(None, &paid);
    assert_eq!((stands(&memory), books(&memory)), ((true, true, false), before));
    assert!(!is_doubted(&memory));
}

/// Credits of one count are no credits of the next.
#[test]
fn what_was_paid_before_a_count_is_not_paid_back_behind_it() {
    let memory = memory(1);
    let (machine, node) = (Scope::Machine, Scope::Node(NodeId(1)));
    let (for_all, for_node) = (Stake::new(machine), Stake::new(node));
    memory.stake(&for_all, machine, 10).unwrap();
    memory.stake(&for_node, node, 10).unwrap();
    for (stake, frames, doubted) in [
        (None, 3, true),
        (Some(&for_all), 3, true),
        (Some(&for_all), 13, true),
        (Some(&for_node), 3, false),
        (Some(&for_node), 13, true),
    ] {
        let paid = memory.pay(stake, 1, frames).unwrap();
        memory.count_free(false);
        assert!(!is_doubted(&memory));
        let before = books(&memory);
        memory.pay_back(stake, &paid);
        assert_eq!((books(&memory), is_doubted(&memory)), (before, doubted), "{frames}");
        assert_eq!((for_all.left(), for_node.left()), (10, 10));
        memory.count_free(false);
    }
}

/// A take that has paid settles for nothing; one that has not, or in an earlier count, pays then.
#[test]
fn a_take_settles_for_what_it_has_not_paid() {
    let memory = memory(1);
    let stake = Stake::new(Scope::Machine);
    memory.stake(&stake, Scope::Machine, 10).unwrap();
    let found = frames(SECOND + 0x200, SECOND + 0x205);
    // (what was paid, whether it is counted anew meanwhile, what is paid then)
    for (paid, anew, more) in [
        (memory.pay(None, 1, 5).unwrap(), false, 0),
        (memory.pay(None, 1, 5).unwrap(), true, 5),
        (Paid::nothing(1, 5), false, 5),
    ] {
        if anew {
            memory.count_free(false);
        }
        let before = books(&memory);
        assert!(memory.settle(None, &paid, found));
        assert_eq!(books(&memory), [before[0] - more, before[1], before[2] - more]);
        assert_eq!(is_doubted(&memory), more > 0);
        memory.count_free(false);
    }
    // On a stake.
    let before = books(&memory);
    assert!(memory.settle_late(Some(&stake), found));
    assert_eq!((stake.left(), books(&memory)), (5, [before[0], before[1], before[2] - 5]));
    // Everything is claimed: what has not been paid for cannot be kept, and the stake is as it was.
    memory.count_free(false);
    let paid = memory.pay(Some(&stake), 1, 7).unwrap();
    assert_eq!(stake.left(), 0);
    memory.count_free(false);
    let rest = Stake::new(Scope::Machine);
    memory.stake(&rest, Scope::Machine, books(&memory)[0] as u64).unwrap();
    assert!(!memory.settle(Some(&stake), &paid, found));
    assert_eq!(stake.left(), 5);
    assert!(!memory.settle_late(None, found));
    assert!(memory.settle_late(None, frames(0, 5)), "no memory of ours");
    memory.unstake(&stake, 5);
    memory.unstake(&rest, u64::MAX);
    assert!(memory.credits.is_off() && memory.settle_late(None, found), "nothing is counted");
}

/// Whatever is not known to be free makes the count doubted, while there is one.
#[test]
fn steps_whose_effect_is_unknown_are_doubted() {
    let memory = memory(1);
    let range = frames(FIRST + 0x400, FIRST + 0x410);
    let off = memory.before_put(range);
    let error = |committed| Err(free_error(FIRST, FreeRefusal::AlreadyFree, committed));
    memory.after_put(off, range, 0, Ok(0));
    memory.doubt_put();
    memory.doubt_search(Gate::new(7, Phase::On));
    assert!(!memory.desk().unwrap().books.doubted, "nothing is counted");
    let _claim = memory.stake_claim(Scope::Machine, 1).unwrap();
    let gate = memory.credits.gate();
    let before = memory.before_put(range);
    let steps: [(&dyn Fn(), bool); 8] = [
        (&|| memory.after_put(before, range, 0, Ok(0)), false),
        (&|| memory.after_put(before, range, 7, error(7)), false),
        (&|| memory.after_put(before, range, 7, error(8)), true),
        (&|| memory.after_put(before, range, 0, Ok(1)), true),
        (&|| memory.after_put(off, range, 0, Ok(0)), true),
        (&|| memory.doubt_search(gate), false),
        (&|| memory.doubt_search(Gate::new(gate.number() + 1, Phase::On)), true),
        (&|| memory.doubt_put(), true),
    ];
    for (at, (step, doubted)) in steps.into_iter().enumerate() {
        step();
        assert_eq!(is_doubted(&memory), doubted, "step {at}");
        memory.desk().unwrap().books.doubted = false;
    }
    memory.desk().unwrap().recall();
    let credits = books(&memory);
    memory.taken_by_force(range);
    assert_eq!(books(&memory), [credits[0] - 16, credits[1] - 16, credits[2]]);
    assert!(is_doubted(&memory) && memory.count_if_doubted() && !memory.count_if_doubted());
}

/// What other CPUs have in their shares is not short.
#[test]
fn memory_is_not_low_for_what_lies_in_shares() {
    let memory = memory(2);
    let (all, free) = (Scope::Machine, memory.statistics().free);
    let low = 1000;
    memory.watch(all, low, low + 10).unwrap();
    memory.platform().cpu.set(1);
    alloc(&memory, 1, 0);
    let in_share = BATCH as i64;
    assert_eq!(books(&memory)[0], free as i64 - 1 - in_share);
    memory.platform().cpu.set(0);
    let mut left = free - 1;
    // Without the other's share it would be low.
    while left > low + BATCH {
        let frames = (left - low - BATCH).min(512);
        assert!(memory.alloc(&Request::frames(frames)).is_ok());
        left -= frames;
    }
    reopen(&memory, 0, 0);
    assert!(memory.alloc(&Request::frames(1)).is_ok());
    assert_eq!(*memory.platform().told.borrow(), []);
    assert!(!memory.is_low(all));
}

#[test]
fn a_gate_says_its_phase_and_its_number() {
    use Phase::*;
    for phase in [Off, Counting, On, Recounting] {
        for number in [0, 1, 2, 3, 1 << 40] {
            let gate = Gate::new(number, phase);
            assert_eq!((gate.phase(), gate.number()), (phase, number));
            let counting = matches!(phase, Counting | Recounting);
            assert_eq!((gate.is_counting(), gate.is_off()), (counting, phase == Off));
            for other in [Off, Counting, On, Recounting] {
                assert_eq!(gate.is(other), phase == other);
            }
        }
    }
}

#[test]
fn a_share_is_paid_back_up_to_two_batches() {
    let memory = memory(1);
    let _claim = memory.stake_claim(Scope::Machine, 1).unwrap();
    reopen(&memory, 0, 2 * BATCH);
    let before = books(&memory);
    let paid = memory.pay(None, 0, BATCH).unwrap();
    memory.pay_back(None, &paid);
    assert_eq!((books(&memory), shared(&memory, 0)), (before, Some(2 * BATCH)));
}

/// Frames that were put while another count went on may be among what it found.
#[test]
fn what_was_put_before_a_count_is_not_credited_behind_it() {
    let memory = memory(1);
    let _claim = memory.stake_claim(Scope::Machine, 1).unwrap();
    let range = frames(FIRST + 0x400, FIRST + 0x410);
    let before = memory.before_put(range);
    memory.count_free(false);
    let credits = books(&memory);
    memory.after_put(before, range, 0, Ok(0));
    assert_eq!((books(&memory), is_doubted(&memory)), (credits, true));
}

/// Once the last claimed frame has been taken nothing is counted any more.
#[test]
fn the_last_take_on_a_claim_ends_the_count() {
    let memory = memory(1);
    let stake = Stake::new(Scope::Machine);
    memory.stake(&stake, Scope::Machine, 5).unwrap();
    for left in [3, 0] {
        assert!(!memory.credits.is_off());
        let frames = Request::frames(stake.left() - left);
        assert!(memory.alloc_on(&frames, Some(&stake)).is_ok());
        assert_eq!(stake.left(), left);
    }
    assert!(memory.credits.is_off());
}

/// Nobody is told of memory that is not watched, and of what may not be low not before it is counted.
#[test]
fn memory_is_low_if_it_is_watched_and_counted() {
    let memory = memory(1);
    let all = Scope::Machine;
    memory.watch(Scope::Node(NodeId(1)), 1, 2).unwrap();
    let judge = |sure| memory.desk().unwrap().judge(all, sure);
    let set = |credits, doubted| {
        let mut desk = memory.desk().unwrap();
        desk.books.machine.set_credits(credits);
        desk.books.machine.set_low(false);
        desk.books.doubted = doubted;
    };
    set(-7, false);
    assert_eq!(judge(true), Judged::Same, "it is not watched");
    memory.watch(all, 1, 2).unwrap();
    let low = Judged::Crossed(Notice::Low);
    for (doubted, sure, judged) in
        [(false, false, low), (false, true, low), (true, true, low), (true, false, Judged::Doubted)]
    {
        set(0, doubted);
        assert_eq!(judge(sure), judged, "{doubted} {sure}");
    }
    set(1, true);
    assert_eq!(judge(false), Judged::Same);
}
