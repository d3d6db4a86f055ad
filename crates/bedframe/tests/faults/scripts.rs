//! All of it at random, and the books kept: frames break and come back, CPUs move and vanish, memory ends, domains die, and memory
//! is plugged in.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    Accounting, Claim, CpuId, FrameRange, Memory, Mfn, NodeId, PageState, Pool, Request, Scope,
    ScrubPolicy, Withdrawal, XenHeap,
};
use bedframe_hosted::set_cpu;

use crate::books::{Books, Whose};
use crate::common::{Random, range};
use crate::machine::{self, Machine, SPAN};
use crate::{A, B, request};

const BROKEN: Whose = Whose::Fixed(PageState::Broken);
const OFFLINED: Whose = Whose::Fixed(PageState::Offlined);

struct Script {
    memory: &'static Memory<Machine>,
    books: Books,
    random: Random,
    held: Vec<FrameRange>,
    /// To be withdrawn with the next free: for good, or not.
    marked: BTreeMap<Mfn, bool>,
    claims: Vec<Claim<'static, Machine>>,
    plugged: u64,
}

impl Script {
    fn new(seed: u64) -> Self {
        let policy = [ScrubPolicy::Always, ScrubPolicy::Dying, ScrubPolicy::Never];
        let memory = machine::memory_up_to(8000, XenHeap::Unified, |memory| {
            memory.with_records().scrub_on_free(policy[seed as usize % 3])
        });
        for domain in [A, B] {
            memory.create_domain(domain, 3000).unwrap();
        }
        Self {
            memory,
            books: Books::open(memory, range(0, 8000)),
            random: Random::new(seed),
            held: Vec::new(),
            marked: BTreeMap::new(),
            claims: Vec::new(),
            plugged: 0,
        }
    }

    /// Some frame of those that are this.
    fn some(&mut self, whose: Whose) -> Option<Mfn> {
        let all = self.books.all(whose);
        (!all.is_empty()).then(|| self.random.one_of(&all))
    }

    /// These were given back: they are free, but for those that were marked.
    fn given(&mut self, frames: impl Iterator<Item = Mfn>, was: Whose) {
        for frame in frames {
            let now = match self.marked.remove(&frame) {
                None => Whose::Free,
                Some(true) => BROKEN,
                Some(false) => OFFLINED,
            };
            self.books.pass(FrameRange::single(frame), was, now);
            if now == BROKEN {
                self.memory.platform().trap(frame);
            }
        }
    }

    /// What was found broken by whoever scrubbed it.
    fn find_broken(&mut self) {
        let failing: Vec<_> = {
            let broken = &self.memory.platform().faults.broken;
            broken.lock().unwrap().iter().copied().collect()
        };
        for frame in failing {
            let gone = self.memory.state(frame) == PageState::Broken;
            if gone && self.books.whose(frame) == Whose::Free {
                self.books.broke(frame);
            }
        }
    }

    fn step(&mut self) {
        let memory = self.memory;
        let order = self.random.one_of(&[0, 0, 0, 1, 2, 4, 7, 9, 10]);
        let pool = self.random.one_of(&[Pool::Xen, Pool::Domain]);
        let clean = self.random.below(2) == 0;
        let wanted = request(order).pool(pool);
        let wanted = if clean { wanted.clean() } else { wanted };
        let domain = self.random.one_of(&[A, B]);
        match self.random.below(20) {
            0..=3 => {
                let on = self.random.below(self.claims.len() as u64 + 1) as usize;
                let found = match self.claims.get(on) {
                    Some(claim) => claim.alloc(&wanted),
                    None => memory.alloc(&wanted),
                };
                self.find_broken();
                if let Ok(found) = found {
                    self.books.took(found);
                    self.held.push(found);
                }
            }
            4..=6 if !self.held.is_empty() => {
                let at = self.random.below(self.held.len() as u64) as usize;
                let range = self.held.swap_remove(at);
                memory.free(range).unwrap();
                self.given(range.iter(), Whose::Ours);
            }
            7 | 8 => {
                let accounting = self.random.one_of(&[Accounting::Counted, Accounting::Extra]);
                let found = memory.alloc_for(domain, &request(order), accounting);
                self.find_broken();
                if let Ok(found) = found {
                    self.books.pass(found, Whose::Free, Whose::Of(domain));
                }
            }
            9 | 10 => {
                let Some(first) = self.some(Whose::Of(domain)) else { return };
                let long = first.saturating_add(self.random.below(40));
                let range = FrameRange::new(first, long).unwrap();
                let of = |frame: &Mfn| SPAN.contains(*frame) || frame.get() < 8000;
                let mine: Vec<_> = range
                    .iter()
                    .filter(of)
                    .take_while(|frame| self.books.whose(*frame) == Whose::Of(domain))
                    .collect();
                let Some(range) = FrameRange::from_len(first, mine.len() as u64) else { return };
                if mine.is_empty() {
                    assert!(memory.free_owned(domain, range).is_err());
                } else {
                    assert_eq!(memory.free_owned(domain, range).unwrap().kept, 0);
                    self.given(mine.into_iter(), Whose::Of(domain));
                }
            }
            11 => {
                let all = self.books.all(Whose::Of(domain));
                memory.kill_domain(domain).unwrap();
                while !memory.relinquish(domain, 1 + self.random.below(9)).unwrap().done {}
                memory.destroy_domain(domain).unwrap();
                self.given(all.into_iter(), Whose::Of(domain));
                memory.create_domain(domain, 3000).unwrap();
            }
            12 => {
                for _ in 0..3 {
                    let Some(frame) = self.some(Whose::Free) else { return };
                    memory.platform().fail(frame);
                }
            }
            13 => {
                let whose = self.random.one_of(&[Whose::Free, Whose::Ours, Whose::Of(A)]);
                let Some(frame) = self.some(whose) else { return };
                let broken = self.random.below(2) == 0;
                let told = if broken { memory.mark_broken(frame) } else { memory.offline(frame) };
                match told {
                    Ok(Withdrawal::Done) => {
                        let now = if broken { BROKEN } else { OFFLINED };
                        self.books.pass(FrameRange::single(frame), Whose::Free, now);
                    }
                    Ok(_) => drop(self.marked.insert(frame, broken)),
                    Err(_) => assert!(self.marked.contains_key(&frame), "{frame}"),
                }
            }
            14 => {
                let Some(frame) = self.some(OFFLINED) else { return };
                memory.online(frame).unwrap();
                self.books.pass(FrameRange::single(frame), OFFLINED, Whose::Free);
            }
            15 => {
                memory.scrub(self.random.below(700));
                self.find_broken();
            }
            16 => {
                let scope = self.random.one_of(&[Scope::Machine, Scope::Node(NodeId(1))]);
                let frames = 1 + self.random.below(600);
                match memory.stake_claim(scope, frames) {
                    Ok(claim) => self.claims.push(claim),
                    Err(error) => assert!(error.waiting_can_help(), "{error}"),
                }
                if self.claims.len() > 3 {
                    drop(self.claims.remove(0));
                }
            }
            17 => {
                let migrates = self.random.one_of(&[0, 0, 2, 9]);
                memory.platform().faults.migrates.store(migrates, Relaxed);
                set_cpu(CpuId(self.random.below(6) as u32));
            }
            18 if self.plugged < 3 && self.random.below(4) == 0 => {
                let start = 5000 + self.plugged * 1000;
                let new = range(start, start + 700);
                self.plugged += 1;
                if machine::plug_in(memory, new, self.random.below(5) as u32).is_ok() {
                    // Its index may lie in it, and nowhere else: it is mapped.
                    self.books.welcome(memory, new);
                }
            }
            _ => {
                let watch = self.random.below(2) == 0;
                let free = self.books.count(Whose::Free);
                if watch && free > 0 {
                    memory.watch(Scope::Machine, free / 2, free).unwrap();
                } else {
                    memory.unwatch(Scope::Machine);
                }
            }
        }
    }

    /// At rest; `marked` frames are theirs who have them.
    #[track_caller]
    fn check(&self, step: u64) {
        let mut books = self.books.clone();
        for (frame, broken) in &self.marked {
            // A domain's are seen by their owner.
            let state = if *broken { PageState::BrokenOfflining } else { PageState::Offlining };
            assert_eq!(self.memory.state(*frame), state, "step {step}");
            books.marked(*frame, state);
        }
        books.check(self.memory);
        let counts = self.memory.claims(Scope::Machine).unwrap();
        let claimed: u64 = self.claims.iter().map(Claim::left).sum();
        assert_eq!(counts.claimed, claimed, "step {step}");
        let free = self.books.count(Whose::Free);
        assert_eq!(counts.claimed + counts.unclaimed, free + counts.deficit, "step {step}");
    }
}

/// Scripts of faults, each compared with the books all along and taken apart at the end: every frame is somebody's, once.
#[test]
fn whatever_fails_no_frame_is_lost() {
    let (mut broken, mut refused) = (0, 0);
    for seed in 0..8 {
        let mut script = Script::new(seed);
        for step in 0..400 {
            script.step();
            if step % 20 == 0 {
                script.check(step);
            }
        }
        script.memory.platform().be_good();
        script.check(400);
        script.claims.clear();
        script.memory.unwatch(Scope::Machine);
        for range in std::mem::take(&mut script.held) {
            script.memory.free(range).unwrap();
            script.given(range.iter(), Whose::Ours);
        }
        for domain in [A, B] {
            let all = script.books.all(Whose::Of(domain));
            script.memory.kill_domain(domain).unwrap();
            while !script.memory.relinquish(domain, 100).unwrap().done {}
            script.memory.destroy_domain(domain).unwrap();
            script.given(all.into_iter(), Whose::Of(domain));
        }
        assert!(script.marked.is_empty());
        refused +=
            u64::from(script.memory.alloc(&Request::order(crate::common::order(18))).is_err());
        // What fails is found when it is scrubbed, and no later.
        while !script.memory.scrub(1000).done {}
        script.find_broken();
        broken += script.books.count(BROKEN);
        script.books.exhaust(script.memory);
        set_cpu(CpuId(0));
    }
    assert!(broken > 200 && refused == 8, "{broken} frames broke");
}
