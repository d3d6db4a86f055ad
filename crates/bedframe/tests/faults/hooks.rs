//! A platform that is right by the letter of its contract and no better: it moves from CPU to CPU at every question, has CPUs and
//! nodes that nobody announced, distances that mean nothing, and hooks that call back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bedframe::{
    CpuId, FrameRange, FreeRefusal, Memory, NodeId, Notice, OwnedFrames, PageState, Request, Scope,
    Withdrawal, XenHeap,
};
use bedframe_hosted::{set_cpu, set_node};

use crate::books::{Books, Look, Whose};
use crate::common::{Random, mfn, range};
use crate::machine::{self, Machine, SPAN};
use crate::{A, B, COUNTED, ONE, request};

/// Allocates, frees, claims, scrubs and hands to domains at random, with the books kept; ends with nothing held.
#[track_caller]
fn work(memory: &Memory<Machine>, books: &mut Books, steps: u64) {
    let mut random = Random::new(steps);
    let mut held: Vec<FrameRange> = Vec::new();
    let mut owned: Vec<FrameRange> = Vec::new();
    let claim = memory.stake_claim(Scope::Machine, 100).unwrap();
    for _ in 0..steps {
        let order = random.one_of(&[0, 0, 0, 1, 3, 6, 8, 9]);
        match random.below(8) {
            0..=2 => {
                let wanted = request(order).prefer(NodeId(random.below(4) as u32));
                let wanted = if random.below(2) == 0 { wanted.clean() } else { wanted };
                if let Ok(found) = memory.alloc(&wanted) {
                    books.took(found);
                    held.push(found);
                }
            }
            3 => {
                if let Ok(found) = memory.alloc_for(A, &request(order), COUNTED) {
                    books.pass(found, Whose::Free, Whose::Of(A));
                    owned.push(found);
                }
            }
            4 => {
                if !owned.is_empty() {
                    let range = owned.swap_remove(random.below(owned.len() as u64) as usize);
                    memory.free_owned(A, range).unwrap();
                    books.pass(range, Whose::Of(A), Whose::Free);
                }
            }
            5 => {
                memory.scrub(random.below(100));
            }
            _ => {
                if !held.is_empty() {
                    let range = held.swap_remove(random.below(held.len() as u64) as usize);
                    memory.free(range).unwrap();
                    books.gave(range);
                }
            }
        }
    }
    books.check(memory);
    assert_eq!(claim.left(), 100);
    let counts = memory.claims(Scope::Machine).unwrap();
    assert_eq!(counts.claimed + counts.unclaimed, books.count(Whose::Free));
    drop(claim);
    for range in held {
        memory.free(range).unwrap();
        books.gave(range);
    }
    for range in owned {
        memory.free_owned(A, range).unwrap();
        books.pass(range, Whose::Of(A), Whose::Free);
    }
    books.exhaust(memory);
}

/// The CPU changes at every question, between a few numbers or far more than were announced, up to the highest; so does the
/// node, which may be one without memory.
#[test]
fn a_cpu_that_is_moved_all_the_time() {
    for (answers, first) in [(2, 0), (3, 1), (1000, 0), (5, u32::MAX - 2), (4, 77)] {
        let memory = machine::recorded();
        memory.create_domain(A, 5000).unwrap();
        let mut books = Books::open(memory, SPAN);
        memory.platform().faults.first_cpu.store(first, Relaxed);
        memory.platform().faults.migrates.store(answers, Relaxed);
        work(memory, &mut books, 600);
        memory.platform().be_good();
        books.exhaust(memory);
    }
}

/// CPUs that nobody announced, and nodes without memory, stay where they are.
#[test]
fn cpus_and_nodes_that_are_unknown() {
    for (cpu, node) in [(2, 9), (1000, 0), (u32::MAX, u32::MAX), (u32::MAX - 1, 3)] {
        set_cpu(CpuId(cpu));
        set_node(NodeId(node));
        let memory = machine::recorded();
        memory.create_domain(A, 5000).unwrap();
        let mut books = Books::open(memory, SPAN);
        work(memory, &mut books, 300);
        memory.flush_tlb(CpuId(cpu), || {});
    }
    set_cpu(CpuId(0));
    set_node(NodeId(0));
}

/// Distances that are another at each question: memory may come from anywhere, and all of it comes.
#[test]
fn distances_that_mean_nothing() {
    for asked in 0..5 {
        let memory = machine::empty(6000, XenHeap::Unified, Memory::with_records);
        memory.platform().faults.no_distances.store(1, Relaxed);
        machine::add(memory, &machine::RAM);
        for node in 0..3 + asked {
            let early = memory.alloc(&ONE.prefer(NodeId(node))).unwrap();
            memory.free(early).unwrap();
        }
        memory.start(2).unwrap();
        let mut books = Books::open(memory, SPAN);
        for node in 0..4 {
            set_node(NodeId(node));
            books.exhaust(memory);
        }
        machine::plug_in(memory, range(5000, 5700), 7).unwrap();
        let mut books = Books::open(memory, range(0, 5700));
        for node in [0, 7] {
            set_node(NodeId(node));
            books.exhaust(memory);
        }
        set_node(NodeId(0));
    }
}

/// Whoever is told of low memory gives some back, from within the hook, and takes it again when he is told that it has
/// recovered: by every call that can make memory low.
#[test]
fn who_is_told_of_low_memory_calls_back() {
    type Act = fn(&'static Memory<Machine>) -> Vec<FrameRange>;
    let acts: [(&str, Act); 7] = [
        ("alloc", |m| vec![m.alloc(&ONE).unwrap()]),
        ("alloc a run", |m| vec![m.alloc(&Request::frames(70)).unwrap()]),
        ("alloc clean", |m| vec![m.alloc(&request(3).clean()).unwrap()]),
        ("alloc_for", |m| vec![m.alloc_for(A, &request(2), COUNTED).unwrap()]),
        ("stake_claim", |m| {
            std::mem::forget(m.stake_claim(Scope::Machine, 10).unwrap());
            Vec::new()
        }),
        ("offline", |m| {
            let mut last = FrameRange::EMPTY;
            m.each_free_run(|run, _| last = run);
            assert_eq!(m.offline(last.start()), Ok(Withdrawal::Done));
            Vec::new()
        }),
        ("create_domain", |m| {
            m.create_domain(bedframe::DomainId(u32::MAX), 1).unwrap();
            Vec::new()
        }),
    ];
    for (name, act) in acts {
        let memory = machine::recorded();
        memory.create_domain(A, 5000).unwrap();
        memory.create_domain(B, 5000).unwrap();
        // What a cache would give back.
        let pool = memory.alloc(&request(8)).unwrap();
        let told: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let note = told.clone();
        memory.platform().on_low(move |(scope, notice)| {
            note.lock().unwrap().push(notice);
            assert_eq!(scope, Scope::Machine);
            match notice {
                Notice::Low => {
                    assert!(memory.is_low(scope));
                    memory.free(pool).unwrap();
                    // The scrubber is not kept from anything, so this ends.
                    for round in 0.. {
                        assert!(round < 1000, "scrubbing does not end");
                        if memory.scrub(64).done {
                            break;
                        }
                    }
                    let block = memory.alloc_for(B, &request(3), COUNTED).unwrap();
                    memory.free_owned(B, block).unwrap();
                    drop(memory.stake_claim(Scope::Node(NodeId(1)), 1).unwrap());
                }
                Notice::Recovered => {
                    assert!(!memory.is_low(scope));
                    let mine = memory.alloc(&ONE.clean()).unwrap();
                    memory.free(mine).unwrap();
                }
            }
        });
        let free = memory.statistics().free;
        memory.watch(Scope::Machine, free, free + 100).unwrap();
        assert_eq!(*told.lock().unwrap(), [], "{name}");
        let before = Books::open(memory, SPAN);
        let found = act(memory);
        assert_eq!(*told.lock().unwrap(), [Notice::Low, Notice::Recovered], "{name}");
        let mut books = before;
        books.pass(pool, Whose::Fixed(PageState::InUse), Whose::Free);
        for range in found {
            let whose =
                memory.owner(range.start()).map_or(Whose::Ours, |own| Whose::Of(own.domain));
            books.pass(range, Whose::Free, whose);
        }
        match name {
            "create_domain" => books.library_took(memory, 3),
            "offline" => {
                let gone: Vec<_> =
                    SPAN.iter().filter(|f| memory.state(*f) == PageState::Offlined).collect();
                assert_eq!(gone.len(), 1);
                let range = FrameRange::single(gone[0]);
                books.pass(range, Whose::Free, Whose::Fixed(PageState::Offlined));
            }
            _ => {}
        }
        books.check(memory);
        memory.platform().be_good();
        memory.unwatch(Scope::Machine);
        if name != "stake_claim" {
            books.exhaust(memory);
        }
    }
}

/// A flush of TLBs, and of caches, asks for memory itself, on this CPU and from another: nothing is held, so it gets some.
#[test]
fn flushes_that_ask_for_memory() {
    let memory = machine::recorded();
    memory.platform().faults.tlbs.store(2, Relaxed);
    memory.create_domain(A, 5000).unwrap();
    let mut books = Books::open(memory, SPAN);
    let inside = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU64::new(0));
    let act = {
        let asked = asked.clone();
        move || {
            // What is flushed for its own memory is flushed at once.
            if inside.swap(true, Relaxed) {
                return;
            }
            asked.fetch_add(1, Relaxed);
            let mine = memory.alloc(&ONE).unwrap();
            let others = std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    set_cpu(CpuId(1));
                    let found = memory.alloc(&request(4).clean()).unwrap();
                    memory.free(mine).unwrap();
                    memory.scrub(10);
                    found
                });
                other.join().unwrap()
            });
            memory.free(others).unwrap();
            inside.store(false, Relaxed);
        }
    };
    let other = act.clone();
    memory.platform().on_flush(move |()| act());
    memory.platform().on_cache_flush(move |_| other());
    for order in [0, 3, 9, 0, 10] {
        let block = memory.alloc_for(A, &request(order), COUNTED).unwrap();
        books.pass(block, Whose::Free, Whose::Of(A));
        books.check(memory);
        memory.free_owned(A, block).unwrap();
        books.pass(block, Whose::Of(A), Whose::Free);
        memory.scrub(100);
        books.check(memory);
    }
    assert!(asked.load(Relaxed) > 5);
    memory.platform().be_good();
    books.exhaust(memory);
}

/// Who waits for a CPU that is slow in the middle of scrubbing a frame runs other calls meanwhile; the frame is then handed out,
/// clean, and everything else was.
#[test]
fn who_waits_runs_other_calls() {
    let memory = machine::recorded();
    let mut books = Books::open(memory, SPAN);
    let mut held = books.drain(memory);
    let last = held.pop().unwrap();
    let spare = held.pop().unwrap();
    // Only this frame is free, and another CPU scrubs it.
    memory.free(last).unwrap();
    let (writing, go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (seen, wait) = (writing.clone(), go_on.clone());
    memory.platform().on_scrub(move |_| {
        seen.store(true, Relaxed);
        while !wait.load(Relaxed) {
            std::thread::yield_now();
        }
    });
    let pauses = Arc::new(AtomicU32::new(0));
    let count = pauses.clone();
    memory.platform().on_pause(move |()| {
        if count.fetch_add(1, Relaxed) == 3 {
            // What others have meanwhile is theirs: this is freed, scrubbed for nobody, and had again.
            memory.free(spare).unwrap();
            assert_eq!(memory.alloc(&ONE), Ok(spare));
            assert_eq!(memory.state(last.start()), PageState::Free, "on its way");
            assert_eq!(memory.free(last).unwrap_err().why, FreeRefusal::AlreadyFree);
            go_on.store(true, Relaxed);
        }
    });
    std::thread::scope(|scope| {
        let scrubber = scope.spawn(|| {
            set_cpu(CpuId(1));
            while !memory.scrub(10).done {}
        });
        while !writing.load(Relaxed) {
            std::thread::yield_now();
        }
        assert_eq!(memory.alloc(&ONE), Ok(last), "it waits for one frame, and gets it");
        scrubber.join().unwrap();
    });
    assert!(pauses.load(Relaxed) > 3);
    memory.platform().be_good();
    books.pass(spare, Whose::Ours, Whose::Ours);
    for range in held.into_iter().chain([last, spare]) {
        memory.free(range).unwrap();
        books.gave(range);
    }
    books.exhaust(memory);
}

/// Every misuse there is, told to a hook that looks at the memory, uses it, and unwinds: nothing is held, and nothing has
/// changed.
#[test]
fn who_is_told_of_misuse_calls_back_and_unwinds() {
    let memory = machine::empty(4400, XenHeap::Unified, Memory::with_records);
    memory.reserve(range(100, 110)).unwrap();
    memory.reserve_releasable(range(200, 210)).unwrap();
    memory.withhold_bad(range(300, 310)).unwrap();
    machine::add(memory, &machine::RAM);
    memory.alloc(&Request::exactly(range(1300, 1310))).unwrap();
    let early = [range(100, 101), range(4300, 4301), range(299, 302)];
    for started in [false, true] {
        let mut wrong = early.to_vec();
        if started {
            memory.start(2).unwrap();
            memory.create_domain(A, 5000).unwrap();
            let owned = memory.alloc_for(A, &request(3), COUNTED).unwrap();
            let block = memory.alloc(&request(9)).unwrap();
            memory.free(FrameRange::single(block.start().saturating_add(100))).unwrap();
            let offlined = memory.alloc(&ONE).unwrap();
            memory.offline(offlined.start()).unwrap();
            memory.free(offlined).unwrap();
            wrong.extend([owned, block, offlined, range(1300, 1320)]);
            wrong.extend([range(200, 201), range(700, 701), FrameRange::ALL]);
        }
        let told = Arc::new(AtomicU64::new(0));
        let count = told.clone();
        memory.platform().on_misuse(move |error| {
            count.fetch_add(1, Relaxed);
            assert!(!error.waiting_can_help());
            let mine = memory.alloc(&Request::frames(5)).unwrap();
            memory.free(mine).unwrap();
            assert!(memory.statistics().free > 0);
            // As a panic does, and says nothing.
            resume_unwind(Box::new(error.why));
        });
        for claimed in [false, true] {
            let claim =
                (started && claimed).then(|| memory.stake_claim(Scope::Machine, 9).unwrap());
            let before = Look::at(memory, SPAN);
            let misuses = told.load(Relaxed);
            for range in &wrong {
                let free = || memory.free(*range);
                assert!(catch_unwind(AssertUnwindSafe(free)).is_err(), "{range}");
            }
            assert!(catch_unwind(AssertUnwindSafe(|| memory.release(range(1300, 1301)))).is_err());
            let address = std::ptr::without_provenance(12_345);
            let by_address = || memory.free_xen_heap(address, bedframe::Order::ZERO);
            assert!(catch_unwind(AssertUnwindSafe(by_address)).is_err());
            assert_eq!(told.load(Relaxed) - misuses, wrong.len() as u64 + 2);
            Look::at(memory, SPAN).assert_same_as(&before, "misuse");
            assert_eq!(memory.validate(), Ok(()));
            drop(claim);
        }
        if started {
            // Frames that free themselves, and were freed by somebody else.
            let owned: OwnedFrames<'_, _> = memory.alloc_owned(&ONE).unwrap();
            memory.free(owned.range()).unwrap();
            assert!(catch_unwind(AssertUnwindSafe(|| drop(owned))).is_err());
        }
        memory.platform().be_good();
    }
    assert_eq!(memory.state(mfn(1300)), PageState::Uninitialised);
    Books::open(memory, SPAN).exhaust(memory);
}
