//! A CPU vanishes between two calls, and says nothing: its places, holes, shares of credits, and where it scrubbed stay as they
//! are. No frame is out of others' reach for that, none is counted wrongly, and its number can be used again.

use bedframe::{CpuId, FrameRange, Memory, NodeId, Notice, Order, Request, Scope, XenHeap};
use bedframe_hosted::set_cpu;

use crate::books::{Books, Whose};
use crate::common::{Heap, World, order};
use crate::machine::{self, Machine, SPAN};
use crate::{A, COUNTED, ONE, request};

/// One thing that a CPU does; what it takes is noted.
type Step = fn(&Memory<Machine>, &mut Books, &mut Vec<FrameRange>);

fn take(memory: &Memory<Machine>, books: &mut Books, held: &mut Vec<FrameRange>, order: u8) {
    let found = memory.alloc(&request(order)).unwrap();
    books.took(found);
    held.push(found);
}

fn give(memory: &Memory<Machine>, books: &mut Books, range: FrameRange) {
    memory.free(range).unwrap();
    books.gave(range);
}

/// A life of a CPU, in which it comes to have one of everything: places in chunks for every kind of request, holes, a chunk
/// that it took whole, shares, a place where it scrubs.
const LIFE: [Step; 16] = [
    |m, b, h| take(m, b, h, 0),
    |m, b, h| take(m, b, h, 2),
    |m, b, h| take(m, b, h, 5),
    |m, b, h| take(m, b, h, 9),
    |m, b, h| (0..200).for_each(|_| take(m, b, h, 0)),
    // Holes.
    |m, b, h| (0..70).for_each(|number| give(m, b, h.remove(10 + number % 60))),
    |m, b, h| take(m, b, h, 0),
    |m, _, _| {
        m.scrub(1);
    },
    |m, _, _| {
        m.scrub(600);
    },
    |m, b, h| {
        let found = m.alloc(&ONE.on(NodeId(2)).clean()).unwrap();
        b.took(found);
        h.push(found);
    },
    |m, b, _| {
        let found = m.alloc_for(A, &request(4), COUNTED).unwrap();
        b.pass(found, Whose::Free, Whose::Of(A));
    },
    // A claim that somebody else has made.
    |m, _, _| m.claim(A, Scope::Machine, 10).unwrap(),
    |m, b, h| take(m, b, h, 1),
    |m, b, h| give(m, b, h.remove(0)),
    |m, b, _| {
        for frame in b.all(Whose::Of(A)).into_iter().step_by(2) {
            m.free_owned(A, FrameRange::single(frame)).unwrap();
            b.pass(FrameRange::single(frame), Whose::Of(A), Whose::Free);
        }
    },
    |m, b, h| {
        m.release_claim(A, 10).unwrap();
        h.drain(..).for_each(|range| give(m, b, range));
    },
];

/// It vanishes after each step of its life. Others have everything it had free, and what it held can be freed by anybody, in
/// whole chunks again; a new CPU of its number goes on.
#[test]
fn others_have_what_it_had_free() {
    for steps in 0..=LIFE.len() {
        for number in [1, 0, 5] {
            set_cpu(CpuId(number));
            let memory = machine::recorded();
            memory.create_domain(A, 5000).unwrap();
            let mut books = Books::open(memory, SPAN);
            let whole = memory.free_memory(None, None);
            let mut held = Vec::new();
            for step in &LIFE[..steps] {
                step(memory, &mut books, &mut held);
            }
            // Another CPU, on a thread of its own.
            set_cpu(CpuId(if number == 0 { 1 } else { 0 }));
            let claimed = memory.claims(Scope::Machine).unwrap().claimed;
            let found = books_without_claim(memory, &mut books, claimed);
            found.into_iter().for_each(|range| give(memory, &mut books, range));
            memory.release_claim(A, 10).unwrap();
            books.exhaust(memory);
            while !memory.scrub(1000).done {}
            assert_eq!(memory.statistics().dirty, 0, "{steps} steps");
            held.drain(..).for_each(|range| give(memory, &mut books, range));
            for frame in books.all(Whose::Of(A)) {
                memory.free_owned(A, FrameRange::single(frame)).unwrap();
                books.pass(FrameRange::single(frame), Whose::Of(A), Whose::Free);
            }
            books.check(memory);
            // Whole again, though it never left the chunks in which it allocated.
            assert_eq!(memory.free_memory(None, None), whole, "{steps} steps");
            let mut blocks = 0;
            while let Ok(block) = memory.alloc(&request(9)) {
                held.push(block);
                blocks += 1;
            }
            let orders = whole.blocks.iter().enumerate().skip(9);
            let most: u64 = orders.map(|(order, blocks)| blocks << (order - 9)).sum();
            assert_eq!(blocks, most, "{steps} steps: what it adopted is merged");
            held.drain(..).for_each(|block| memory.free(block).unwrap());
            // Its number is used again.
            set_cpu(CpuId(number));
            let mut again = Vec::new();
            for step in LIFE {
                step(memory, &mut books, &mut again);
            }
            for frame in books.all(Whose::Of(A)) {
                memory.free_owned(A, FrameRange::single(frame)).unwrap();
                books.pass(FrameRange::single(frame), Whose::Of(A), Whose::Free);
            }
            books.exhaust(memory);
        }
    }
    set_cpu(CpuId(0));
}

/// All that is free and not claimed, one by one.
#[track_caller]
fn books_without_claim(
    memory: &Memory<Machine>,
    books: &mut Books,
    claimed: u64,
) -> Vec<FrameRange> {
    let mut found = Vec::new();
    while let Ok(frame) = memory.alloc(&ONE) {
        books.took(frame);
        found.push(frame);
    }
    assert_eq!(books.count(Whose::Free), claimed, "what is claimed, and nothing else, is left");
    found
}

/// CPUs vanish with shares of the credits, some of them filled by what they freed: claims count to the frame, the last one that
/// is not claimed can be had, and the notice of low memory comes where it is to come.
#[test]
fn its_credits_are_not_lost() {
    let ram = [(0, 1 << 18, 0), (1 << 18, 1 << 19, 1)];
    let world = World::new(World::small_heap(Heap::Unified), &ram);
    let memory = &world.memory;
    memory.start(3).unwrap();
    let large = Request::order(order(9));
    let held: Vec<_> = (0..60).map(|_| memory.alloc(&large).unwrap()).collect();
    let claim = memory.stake_claim(Scope::Machine, 1).unwrap();
    // Each comes, fills its shares of both nodes in its way, and goes.
    for (number, part) in held.chunks(20).enumerate() {
        set_cpu(CpuId(number as u32));
        for node in [0, 1] {
            let one = memory.alloc(&ONE.prefer(NodeId(node))).unwrap();
            memory.free(one).unwrap();
        }
        for block in part {
            for piece in crate::common::pieces(*block, &[100, 3, 64]) {
                memory.free(piece).unwrap();
            }
        }
    }
    set_cpu(CpuId(0));
    let free = memory.statistics().free;
    let counts = memory.claims(Scope::Machine).unwrap();
    assert_eq!((counts.claimed, counts.unclaimed, counts.deficit), (1, free - 1, 0));
    // They fill their shares anew, so that nobody has asked for them since.
    for number in [1, 2] {
        set_cpu(CpuId(number));
        for node in [0, 1] {
            let one = memory.alloc(&ONE.prefer(NodeId(node))).unwrap();
            memory.free(one).unwrap();
        }
    }
    set_cpu(CpuId(0));
    let rest = memory.stake_claim(Scope::Machine, free - 4).unwrap();
    let mine: Vec<_> = (0..3).map(|_| memory.alloc(&ONE).unwrap()).collect();
    assert!(memory.alloc(&ONE).is_err(), "the rest is claimed");
    drop(rest);
    memory.watch(Scope::Node(NodeId(1)), 1 << 17, 1 << 18).unwrap();
    let mut taken = Vec::new();
    set_cpu(CpuId(2));
    while memory.node_statistics(NodeId(1)).free >= 1 << 17 {
        assert_eq!(world.machine.notices(), []);
        taken.push(memory.alloc(&Request::order(Order::new(12).unwrap()).on(NodeId(1))).unwrap());
        set_cpu(CpuId(taken.len() as u32 % 3));
    }
    assert_eq!(world.machine.notices(), [(Scope::Node(NodeId(1)), Notice::Low)]);
    memory.unwatch(Scope::Node(NodeId(1)));
    drop(claim);
    set_cpu(CpuId(0));
    for range in taken.into_iter().chain(mine) {
        memory.free(range).unwrap();
    }
    assert_eq!(memory.validate(), Ok(()));
    assert_eq!(memory.statistics().free, free);
}

/// All CPUs but one vanish from a machine on which each had a chunk of its own, until more have come and gone than have slots.
#[test]
fn many_come_and_go() {
    let memory = machine::memory(XenHeap::Unified, |memory| memory);
    let mut books = Books::open(memory, SPAN);
    let mut held = Vec::new();
    for number in 0..40u32 {
        set_cpu(CpuId(number));
        for order in [0, 3, 6] {
            take(memory, &mut books, &mut held, order);
        }
        let before = held.remove(held.len() / 2);
        give(memory, &mut books, before);
        memory.scrub(u64::from(number));
    }
    set_cpu(CpuId(77));
    books.exhaust(memory);
    held.into_iter().for_each(|range| give(memory, &mut books, range));
    books.exhaust(memory);
    set_cpu(CpuId(0));
}
