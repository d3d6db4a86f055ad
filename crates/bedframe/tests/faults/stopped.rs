//! A CPU stops in the middle of a call, at every moment at which it holds no lock and no chunk, and does not come back: what it
//! can take with it is what the call is about. Others go on, and get all the rest. Then it comes back after all, late, and
//! nothing is wrong.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use bedframe::{
    Accounting, CpuId, DomainId, FrameRange, Memory, NodeId, PageState, Request, Scope, Withdrawal,
    XenHeap,
};
use bedframe_hosted::set_cpu;

use crate::books::{Books, Whose};
use crate::common::{Machine, World, interleave, mfn, range};
use crate::{A, B, COUNTED, ONE, request};

const RAM: [(u64, u64, u32); 3] = [(0, 300, 0), (1024, 4096, 1), (4100, 4200, 0)];
/// What is plugged in while the CPU stands still.
const MORE: (u64, u64) = (4500, 4800);
const END: u64 = 4800;

const fn frames(start: u64, end: u64) -> FrameRange {
    match FrameRange::new(bedframe::Mfn::new(start), bedframe::Mfn::new(end)) {
        Some(range) => range,
        None => FrameRange::EMPTY,
    }
}

/// Boot-allocated.
const EARLY: FrameRange = frames(1200, 1240);
/// The caller's: a few frames, and a chunk and more.
const HELD: FrameRange = frames(1100, 1110);
const LARGE: FrameRange = frames(1536, 2060);
/// The domain's.
const OWNED: FrameRange = frames(1110, 1120);

/// What a call has changed in the end.
enum Change {
    Nothing,
    Pass(FrameRange, Whose, Whose),
    /// The library has so many frames more.
    Books(u64),
}

/// What may be anybody's while the call goes on.
#[derive(Clone, Copy)]
enum Takes {
    /// So many free frames.
    Some(u64),
    /// These, which were not free.
    These(FrameRange),
}

type Call = fn(&Memory<Machine>) -> Change;

fn took(found: FrameRange) -> Change {
    Change::Pass(found, Whose::Free, Whose::Ours)
}

const CALLS: [(&str, Takes, Call); 22] = [
    ("alloc", Takes::Some(1), |m| took(m.alloc(&ONE).unwrap())),
    ("alloc, order 3, on a node", Takes::Some(8), |m| {
        took(m.alloc(&request(3).on(NodeId(0))).unwrap())
    }),
    ("alloc, order 9", Takes::Some(512), |m| took(m.alloc(&request(9)).unwrap())),
    ("alloc a run", Takes::Some(600), |m| took(m.alloc(&Request::frames(600)).unwrap())),
    ("alloc clean", Takes::Some(4), |m| took(m.alloc(&request(2).clean()).unwrap())),
    ("alloc in vain", Takes::Some(0), |m| {
        m.alloc(&request(10)).unwrap_err();
        Change::Nothing
    }),
    ("free", Takes::These(HELD), |m| {
        m.free(HELD).unwrap();
        Change::Pass(HELD, Whose::Ours, Whose::Free)
    }),
    ("free a chunk and more", Takes::These(LARGE), |m| {
        m.free(LARGE).unwrap();
        Change::Pass(LARGE, Whose::Ours, Whose::Free)
    }),
    ("free boot memory", Takes::These(EARLY), |m| {
        m.free(EARLY).unwrap();
        Change::Pass(EARLY, Whose::Fixed(PageState::Uninitialised), Whose::Free)
    }),
    ("scrub", Takes::Some(0), |m| {
        m.scrub(300);
        Change::Nothing
    }),
    ("create_domain", Takes::Some(3), |m| {
        m.create_domain(DomainId(u32::MAX), 1).unwrap();
        Change::Books(3)
    }),
    ("alloc_for", Takes::Some(70), |m| {
        let found = m.alloc_for(A, &Request::frames(70), COUNTED).unwrap();
        Change::Pass(found, Whose::Free, Whose::Of(A))
    }),
    ("assign", Takes::These(HELD), |m| {
        m.assign(A, HELD, Accounting::Extra).unwrap();
        Change::Pass(HELD, Whose::Ours, Whose::Of(A))
    }),
    ("assign a chunk and more", Takes::These(LARGE), |m| {
        m.assign(A, LARGE, COUNTED).unwrap();
        Change::Pass(LARGE, Whose::Ours, Whose::Of(A))
    }),
    ("free_owned", Takes::These(OWNED), |m| {
        m.free_owned(A, OWNED).unwrap();
        Change::Pass(OWNED, Whose::Of(A), Whose::Free)
    }),
    ("steal", Takes::These(OWNED), |m| {
        m.steal(A, OWNED).unwrap();
        Change::Pass(OWNED, Whose::Of(A), Whose::Ours)
    }),
    ("relinquish", Takes::These(OWNED), |m| {
        m.kill_domain(A).unwrap();
        while !m.relinquish(A, 3).unwrap().done {}
        Change::Pass(OWNED, Whose::Of(A), Whose::Free)
    }),
    ("a claim", Takes::Some(100), |m| {
        let claim = m.stake_claim(Scope::Machine, 100).unwrap();
        assert_eq!(claim.left(), 100);
        Change::Nothing
    }),
    ("alloc on a claim", Takes::Some(100), |m| {
        let claim = m.stake_claim(Scope::Node(NodeId(1)), 100).unwrap();
        let found = claim.alloc(&request(5).on(NodeId(1)).clean()).unwrap();
        assert_eq!(claim.left(), 100 - 32);
        took(found)
    }),
    ("watch", Takes::Some(1), |m| {
        m.watch(Scope::Machine, 10, 20).unwrap();
        let found = m.alloc(&ONE).unwrap();
        m.free(found).unwrap();
        m.unwatch(Scope::Machine);
        Change::Nothing
    }),
    ("offline and online", Takes::Some(1), |m| {
        let frame = mfn(1500);
        match m.offline(frame) {
            Ok(Withdrawal::Done) => m.online(frame).unwrap(),
            // Others had it; they have given it back since.
            Ok(Withdrawal::Pending) => m.online(frame).unwrap(),
            Err(error) => panic!("{error}"),
        }
        Change::Nothing
    }),
    ("add_ram", Takes::Some(0), |m| {
        // SAFETY: hosted memory that nobody else uses.
        unsafe { m.add_ram(range(4300, 4400), NodeId(3)) }.unwrap();
        Change::Nothing
    }),
];

fn world() -> (World, Books) {
    let mut world = World::empty_with_records(XenHeap::Unified, mfn(END));
    for (start, end, node) in RAM {
        world.add_ram(range(start, end), NodeId(node)).unwrap();
    }
    let memory = world.memory.clone();
    memory.alloc(&Request::exactly(EARLY)).unwrap();
    memory.start(2).unwrap();
    memory.create_domain(A, 5000).unwrap();
    memory.create_domain(B, 5000).unwrap();
    let mut books = Books::open(&*memory, range(0, END));
    for part in [HELD, LARGE, OWNED] {
        // A part of it lies in a chunk of its own, which it fills.
        for piece in world.cut(part) {
            memory.alloc(&Request::exactly(piece)).unwrap();
        }
        books.took(part);
    }
    memory.assign(A, OWNED, COUNTED).unwrap();
    books.pass(OWNED, Whose::Ours, Whose::Of(A));
    (world, books)
}

/// A CPU that stands still.
struct Stopped<T> {
    thread: JoinHandle<T>,
    go: Sender<()>,
}

/// Lets CPU `number` make a call and stop at its `turn`th moment. `Err`, with what it returned, if it has fewer.
fn stop_at<T: Send + 'static>(
    number: u32,
    turn: u32,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<Stopped<T>, T> {
    let (tell, told) = channel();
    let (go, wait) = channel::<()>();
    let thread = thread::spawn(move || {
        set_cpu(CpuId(number));
        let finished = tell.clone();
        let stop = move || {
            tell.send(true).unwrap();
            wait.recv().unwrap();
        };
        let (result, _) = interleave(turn, stop, call);
        finished.send(false).ok();
        result
    });
    // A call that panics tells nothing.
    if told.recv().unwrap_or(false) {
        Ok(Stopped { thread, go })
    } else {
        Err(thread.join().unwrap())
    }
}

impl<T> Stopped<T> {
    /// Lets it go on, and returns what its call does.
    fn go_on(self) -> T {
        self.go.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

/// What others do while a CPU stands still: they use all there is. `takes` says what may be missing.
fn others_go_on(memory: &Memory<Machine>, books: &Books, takes: Takes, what: &str) {
    let block = memory.alloc_for(B, &request(4), COUNTED).unwrap();
    memory.free_owned(B, block).unwrap();
    memory.scrub(50);
    let claim = memory.stake_claim(Scope::Machine, 20).unwrap();
    let mine = claim.alloc(&request(2)).unwrap();
    drop(claim);
    memory.free(mine).unwrap();
    let mut books = books.clone();
    books.welcome(memory, range(4300, 4400));
    let mut found = Vec::new();
    while let Ok(frame) = memory.alloc(&ONE) {
        let passing = matches!(takes, Takes::These(range) if range.covers(frame));
        if !passing || books.whose(frame.start()) == Whose::Free {
            books.took(frame);
        } else {
            // The call has given it back already.
            let was = books.whose(frame.start());
            books.pass(frame, was, Whose::Ours);
        }
        found.push(frame);
    }
    let missing = books.count(Whose::Free);
    let most = if let Takes::Some(most) = takes { most } else { 0 };
    assert!(missing <= most, "{what}: {missing} frames are out of reach, at most {most} may be");
    for frame in found {
        memory.free(frame).unwrap();
    }
}

/// Each call, at each moment; later ones in larger steps where there are very many.
#[test]
fn others_go_on_without_it() {
    for (name, takes, call) in CALLS {
        let mut turn = 0;
        loop {
            turn += 1 + turn / 25;
            assert!(turn < 20_000, "{name} does not end");
            let (mut world, mut books) = world();
            let memory = world.memory.clone();
            let cpu = stop_at(1, turn, move || call(&memory));
            let stopped = cpu.is_ok();
            if stopped {
                let what = format!("{name}, stopped at {turn}");
                others_go_on(&world.memory, &books, takes, &what);
                if turn % 5 == 1 {
                    world.plug_in(range(MORE.0, MORE.1), NodeId(2)).unwrap();
                    books.welcome(&*world.memory, range(MORE.0, MORE.1));
                }
            }
            match cpu.map_or_else(|change| change, Stopped::go_on) {
                Change::Nothing => {}
                Change::Pass(range, from, to) => books.pass(range, from, to),
                Change::Books(frames) => books.library_took(&*world.memory, frames),
            }
            books.welcome(&*world.memory, range(4300, 4400));
            books.exhaust(&*world.memory);
            if !stopped {
                break;
            }
        }
    }
}

/// While a CPU stands still that was giving a dying domain frames, the domain cannot be taken apart, and everybody else goes on;
/// once the CPU is back it can.
#[test]
fn a_domain_that_was_being_given_frames() {
    let mut stuck = 0;
    for turn in 1.. {
        assert!(turn < 1000, "it does not end");
        let (world, mut books) = world();
        let memory = world.memory.clone();
        let call = move || memory.alloc_for(A, &Request::frames(70), COUNTED);
        let Ok(cpu) = stop_at(1, turn, call) else { break };
        let memory = &world.memory;
        memory.kill_domain(A).unwrap();
        let told = memory.relinquish(A, 1000).unwrap();
        if told.done {
            books.pass(OWNED, Whose::Of(A), Whose::Free);
        } else {
            stuck += 1;
            assert_eq!((told.gone, told.kept), (0, 0));
            assert!(memory.destroy_domain(A).unwrap_err().waiting_can_help());
        }
        let missing = Takes::Some(70);
        others_go_on(memory, &books, missing, &format!("stopped at {turn}"));
        // It may have had its frames before the domain died; they were the domain's then.
        let _ = cpu.go_on();
        while !memory.relinquish(A, 7).unwrap().done {}
        if !told.done {
            books.pass(OWNED, Whose::Of(A), Whose::Free);
        }
        memory.destroy_domain(A).unwrap();
        books.exhaust(&**memory);
    }
    assert!(stuck > 5, "{stuck} moments at which frames are on their way");
}

/// Who counts free frames for his claim waits for a count that began later, and so for a CPU that stands still in the middle of
/// one: the next count of anybody's frees him. Credits, halted scrubbers and claims are right once all are back.
#[test]
fn a_count_that_waits_for_another() {
    for turn in (1..400).step_by(3) {
        let (world, mut books) = world();
        let stake = |memory: Arc<Memory<Machine>>| {
            move || {
                drop(memory.stake_claim(Scope::Machine, 30).unwrap());
            }
        };
        let Ok(first) = stop_at(1, turn, stake(world.memory.clone())) else { break };
        let Ok(second) = stop_at(2, turn, stake(world.memory.clone())) else { break };
        first.go.send(()).unwrap();
        let claim = world.memory.stake_claim(Scope::Machine, 50).unwrap();
        first.thread.join().unwrap();
        let counts = world.memory.claims(Scope::Machine).unwrap();
        assert!((50..=80).contains(&counts.claimed), "{counts:?} at {turn}");
        assert_eq!(counts.claimed + counts.unclaimed, books.count(Whose::Free), "at {turn}");
        drop(claim);
        second.go_on();
        while !world.memory.scrub(1000).done {}
        books.exhaust(&*world.memory);
    }
}
