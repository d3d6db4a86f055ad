//! Memory for the library's own use is refused at the n-th request, for every n until the call succeeds; and the ledger is
//! full. A refusal says why, leaves everything as it was, and the same call succeeds once there is room.

use bedframe::{
    AllocError, DomainError, DomainId, FrameRange, FreeRefusal, MapError, Memory, NodeId,
    PageState, Request, Scope, XenHeap,
};

use crate::books::{Books, Look, Whose};
use crate::common::{order, range};
use crate::machine::{self, Machine, SPAN};
use crate::{A, B, COUNTED, ONE};

/// Calls `call` with no free frame, with one, with two, until it succeeds. `refused` says whether an error is one of
/// memory. Returns how many frames it took.
#[track_caller]
fn until_it_succeeds<T, E: std::fmt::Debug + Copy>(
    memory: &Memory<Machine>,
    books: &mut Books,
    what: &str,
    call: impl Fn() -> Result<T, E>,
    refused: impl Fn(E) -> bool,
) -> (T, u64) {
    let mut held = books.drain(memory);
    for free in 0..4000 {
        let before = Look::at(memory, SPAN);
        match call() {
            Ok(done) => return (done, free),
            Err(error) => assert!(refused(error), "{what} with {free} free: {error:?}"),
        }
        Look::at(memory, SPAN).assert_same_as(&before, &format!("{what} with {free} free"));
        books.check(memory);
        let next = held.pop().expect("all memory is free");
        memory.free(next).unwrap();
        books.gave(next);
    }
    panic!("{what} does not succeed");
}

fn is_no_memory(error: DomainError) -> bool {
    let error_is = matches!(error, DomainError::NoMemory { .. });
    error_is && error.waiting_can_help()
}

/// The books on a domain whose number is far from all others lie in four frames, those on a neighbour in fewer: with any
/// less nothing is taken.
#[test]
fn books_on_domains() {
    let memory = machine::recorded();
    let mut books = Books::open(memory, SPAN);
    let numbers = [(0, 4), (32, 1), (1 << 14, 2), (1 << 23, 3), (u32::MAX, 3), (u32::MAX - 1, 0)];
    for (number, frames) in numbers {
        let create = || memory.create_domain(DomainId(number), 1);
        let what = format!("a record of domain {number}");
        let ((), took) = until_it_succeeds(memory, &mut books, &what, create, is_no_memory);
        assert_eq!(took, frames, "{what}");
        books.library_took(memory, frames);
        books.check(memory);
        for frame in books.all(Whose::Ours) {
            memory.free(FrameRange::single(frame)).unwrap();
            books.gave(FrameRange::single(frame));
        }
    }
    books.exhaust(memory);
}

/// A list of nodes, and the one that it replaces, which stays if there is no room.
#[test]
fn lists_of_nodes() {
    let memory = machine::recorded();
    memory.create_domain(A, 10).unwrap();
    let mut books = Books::open(memory, SPAN);
    let nodes: Vec<_> = (0..2500).map(|place| NodeId(place % 3)).collect();
    for (count, frames) in [(1, 1), (2500, 3)] {
        let set = || memory.set_affinity(A, &nodes[..count]);
        let ((), took) = until_it_succeeds(memory, &mut books, "a list", set, is_no_memory);
        assert!(took >= frames, "{took} frames free, and {frames} in a row needed");
        for frame in books.all(Whose::Ours) {
            memory.free(FrameRange::single(frame)).unwrap();
            books.gave(FrameRange::single(frame));
        }
        books.library_took(memory, frames);
        books.check(memory);
        // It goes to its nodes in turn, so the list is the new one.
        let first = memory.alloc_for(A, &ONE, COUNTED).unwrap();
        memory.free_owned(A, first).unwrap();
        memory.set_affinity(A, &[]).unwrap();
        for frame in books.all(Whose::Fixed(PageState::InUse)) {
            if memory.state(frame) == PageState::Free {
                let range = FrameRange::single(frame);
                books.pass(range, Whose::Fixed(PageState::InUse), Whose::Free);
            }
        }
        books.exhaust(memory);
    }
}

/// Everything that asks for frames of the heap, while there is none, and while all are claimed.
#[test]
fn no_frame_for_anybody() {
    for claimed in [false, true] {
        let memory = machine::recorded();
        memory.create_domain(A, 5000).unwrap();
        let mut books = Books::open(memory, SPAN);
        let held = if claimed { Vec::new() } else { books.drain(memory) };
        let free = memory.statistics().free;
        let claim = claimed.then(|| memory.stake_claim(Scope::Machine, free).unwrap());
        let before = Look::at(memory, SPAN);
        let is_refused = |error: AllocError| match error {
            AllocError::OutOfMemory { .. } => !claimed,
            AllocError::Claimed { unclaimed: 0, .. } => claimed,
            _ => false,
        };
        for exponent in 0..11 {
            for request in [
                Request::order(order(exponent)),
                Request::order(order(exponent)).clean(),
                Request::frames((1 << exponent) + 1).prefer(NodeId(1)),
            ] {
                let error = memory.alloc(&request).unwrap_err();
                assert!(is_refused(error) && error.waiting_can_help(), "{error}");
                assert_eq!(memory.alloc_owned(&request).map(|_| ()), Err(error));
                let owned = memory.alloc_for(A, &request, COUNTED).unwrap_err();
                assert!(owned.waiting_can_help(), "{owned}");
                Look::at(memory, SPAN).assert_same_as(&before, "refused");
            }
            let error = memory.alloc_xen_heap(order(exponent)).unwrap_err();
            assert!(is_refused(error), "{error}");
        }
        assert!(is_no_memory(memory.create_domain(DomainId(1 << 20), 1).unwrap_err()));
        assert!(is_no_memory(memory.set_affinity(A, &[NodeId(1)]).unwrap_err()));
        if claimed {
            let error = memory.stake_claim(Scope::Machine, 1).unwrap_err();
            assert!(error.waiting_can_help(), "{error}");
            assert!(memory.claim(A, Scope::Node(NodeId(1)), 1).unwrap_err().waiting_can_help());
        }
        Look::at(memory, SPAN).assert_same_as(&before, "refused");
        books.check(memory);
        drop(claim);
        for range in held {
            memory.free(range).unwrap();
            books.gave(range);
        }
        memory.alloc(&Request::order(order(9))).unwrap();
        memory.create_domain(B, 1).unwrap();
    }
}

/// Hot-added memory finds no room for its index in the heap's memory, with any number of words of it free; it may hold
/// frame 0, and claims may have been made.
#[test]
fn an_index_for_what_is_plugged_in() {
    let span = range(0, 5800);
    let heap = XenHeap::Separate { range: range(601, 1901) };
    for (new, claimed) in [(0, false), (0, true), (5000, false), (5000, true)] {
        let memory = machine::empty(5800, heap, Memory::with_records);
        machine::add(memory, &[(601, 1800, 1), (1900, 5000, 0)]);
        memory.start(2).unwrap();
        let mut books = Books::open(memory, span);
        let held = books.drain(memory);
        let new = range(new, new + 600);
        let mut added = None;
        for words in 0..10 {
            // What is given back is claimed, and can be taken by force alone.
            let claim = claimed.then(|| {
                let free = memory.statistics().free;
                (free > 0).then(|| memory.stake_claim(Scope::Machine, free).unwrap())
            });
            let before = Look::at(memory, span);
            match machine::plug_in(memory, new, 1) {
                Ok(frames) => {
                    added = Some((words, frames));
                    break;
                }
                Err(error) => {
                    assert!(matches!(error, MapError::NoMetadata { frames: 1.. }), "{error}");
                    assert!(error.waiting_can_help());
                }
            }
            let what = format!("{new} with {words} words free, claimed: {claimed}");
            Look::at(memory, span).assert_same_as(&before, &what);
            books.check(memory);
            drop(claim);
            for frame in range(640 + words * 64, 704 + words * 64).iter() {
                memory.free(FrameRange::single(frame)).unwrap();
                books.gave(FrameRange::single(frame));
            }
        }
        // One for the directory and one for the records.
        assert_eq!(added, Some((2, 600)), "{new}, claimed: {claimed}");
        for frame in new.iter() {
            let zero = frame == bedframe::Mfn::ZERO;
            let state = if zero { PageState::Reserved } else { PageState::Free };
            assert_eq!(memory.state(frame), state, "frame {frame}");
        }
        let mut books = Books::open(memory, span);
        for range in held.iter().filter(|frame| !range(640, 768).covers(**frame)) {
            books.pass(*range, Whose::Fixed(PageState::InUse), Whose::Free);
            memory.free(*range).unwrap();
        }
        books.exhaust(memory);
    }
}

/// The index for hand-over, of three nodes with records, with any number of pieces of memory free.
#[test]
fn an_index_for_hand_over() {
    for bottom_up in [true, false] {
        let memory = machine::empty(4400, XenHeap::Unified, Memory::with_records);
        machine::add(memory, &machine::RAM);
        let mut pieces: Vec<_> = machine::RAM
            .iter()
            .flat_map(|(start, end, _)| crate::common::pieces(range((*start).max(1), *end), &[16]))
            .collect();
        for piece in &pieces {
            assert_eq!(memory.alloc(&Request::exactly(*piece)), Ok(*piece));
        }
        if bottom_up {
            pieces.reverse();
        }
        let mut refusals = 0;
        loop {
            let before = Look::at(memory, SPAN);
            match memory.start(3) {
                Ok(()) => break,
                Err(error) => assert!(matches!(error, MapError::NoMetadata { .. }), "{error}"),
            }
            refusals += 1;
            Look::at(memory, SPAN).assert_same_as(&before, "refused hand-over");
            assert!(memory.start(u32::MAX).is_err(), "slots for as many CPUs");
            Look::at(memory, SPAN).assert_same_as(&before, "refused hand-over for many CPUs");
            memory.free(pieces.pop().unwrap()).unwrap();
        }
        // A directory, and an arena of several frames for each node.
        assert!(refusals > 4, "{refusals} refusals");
        assert_eq!(memory.validate(), Ok(()));
        for piece in pieces {
            memory.free(piece).unwrap();
        }
        Books::open(memory, SPAN).exhaust(memory);
    }
}

/// A change of the memory map, or of what is allocated during boot.
type Change = fn(&Memory<Machine>) -> Result<(), Refused>;

#[derive(Debug)]
enum Refused {
    Map(MapError),
    Alloc(AllocError),
    Free(FreeRefusal),
}

/// Each needs two steps of the ledger.
const CHANGES: [(&str, Change); 8] = [
    ("alloc", |m| {
        m.alloc(&Request::exactly(range(5001, 5003))).map(|_| ()).map_err(Refused::Alloc)
    }),
    ("free", |m| m.free(range(700, 710)).map_err(|error| Refused::Free(error.why))),
    ("release", |m| m.release(range(5110, 5120)).map(|_| ()).map_err(|e| Refused::Free(e.why))),
    ("reserve", |m| m.reserve(range(5201, 5210)).map_err(Refused::Map)),
    ("reserve_releasable", |m| m.reserve_releasable(range(8210, 8220)).map_err(Refused::Map)),
    ("withhold_bad", |m| m.withhold_bad(range(5401, 5410)).map_err(Refused::Map)),
    ("add_ram", |m| machine::plug_in(m, range(8000, 8100), 0).map(|_| ()).map_err(Refused::Map)),
    ("add_ram at 0", |m| machine::plug_in(m, range(0, 100), 0).map(|_| ()).map_err(Refused::Map)),
];

/// The ledger cannot grow, since no mapped frame is free, and each call finds it full, or with room for one, two or three
/// changes more.
#[test]
fn a_full_ledger() {
    let span = range(0, 8400);
    let heap = XenHeap::Separate { range: range(512, 1024) };
    for (name, change) in CHANGES {
        for room in 0..4 {
            let memory = machine::empty(8400, heap, |memory| memory);
            machine::add(memory, &[(512, 1024, 0), (2048, 6144, 1)]);
            memory.reserve_releasable(range(5100, 5150)).unwrap();
            let mapped = range(512, 1024);
            assert_eq!(memory.alloc(&Request::exactly(mapped)), Ok(mapped));
            // Until there is no room.
            let scattered = |number: u64| range(2049 + 2 * number, 2050 + 2 * number);
            let mut taken: Vec<_> = (0..)
                .map(scattered)
                .map_while(|next| memory.alloc(&Request::exactly(next)).ok())
                .collect();
            for _ in 0..room {
                memory.free(taken.pop().unwrap()).unwrap();
            }
            let before = Look::at(memory, span);
            match change(memory) {
                Ok(()) => assert!(room > 0, "{name} found room"),
                Err(error) => {
                    assert_eq!(room, 0, "{name}: {error:?} with room for {room} changes");
                    match error {
                        Refused::Map(MapError::NoMetadata { frames: 1 })
                        | Refused::Alloc(AllocError::LedgerFull)
                        | Refused::Free(FreeRefusal::LedgerFull) => {}
                        error => panic!("{name}: {error:?}"),
                    }
                    Look::at(memory, span).assert_same_as(&before, name);
                    assert_eq!(memory.platform().misuse_count(), 0, "{name}: nobody's mistake");
                    // The last of them leaves as much room as the change needs.
                    memory.free(taken.pop().unwrap()).unwrap();
                    assert!(change(memory).is_ok(), "{name} with room");
                }
            }
            assert_eq!(memory.validate(), Ok(()), "{name}");
            for part in taken {
                memory.free(part).unwrap();
            }
            let rest = [range(512, 700), range(700, 710), range(710, 1024)];
            let freed = name == "free";
            for part in rest.into_iter().filter(|part| !freed || part.start().get() != 700) {
                memory.free(part).unwrap();
            }
            memory.start(1).unwrap();
            Books::open(memory, span).exhaust(memory);
        }
    }
}

/// The same while the heap runs, for what is said of memory that is not there yet.
#[test]
fn a_full_ledger_behind_hand_over() {
    let span = range(0, 8400);
    let changes: [(&str, Change); 5] = [
        ("reserve", |m| m.reserve(range(8201, 8210)).map_err(Refused::Map)),
        ("reserve_releasable", |m| m.reserve_releasable(range(8210, 8220)).map_err(Refused::Map)),
        ("withhold_bad", |m| m.withhold_bad(range(8230, 8240)).map_err(Refused::Map)),
        ("add_ram", |m| {
            machine::plug_in(m, range(8001, 8100), 0).map(|_| ()).map_err(Refused::Map)
        }),
        ("add_ram at 0", |m| {
            machine::plug_in(m, range(0, 100), 0).map(|_| ()).map_err(Refused::Map)
        }),
    ];
    for (name, change) in changes {
        let memory = machine::empty(8400, XenHeap::Unified, |memory| memory);
        machine::add(memory, &[(1024, 3000, 0)]);
        memory.start(1).unwrap();
        let mut said = 0;
        let hole = |number: u64| range(4000 + 2 * number, 4001 + 2 * number);
        while memory.reserve(hole(said)).is_ok() {
            said += 1;
        }
        assert!(said < 1500, "{said} reservations");
        let before = Look::at(memory, span);
        let refused = change(memory);
        let full = matches!(refused, Err(Refused::Map(MapError::NoMetadata { frames: 1 })));
        assert!(full, "{name}: {refused:?}");
        Look::at(memory, span).assert_same_as(&before, name);
        // What joins two of them takes steps away.
        memory.reserve(range(4000, 4010)).unwrap();
        change(memory).unwrap();
        Books::open(memory, span).exhaust(memory);
    }
}
