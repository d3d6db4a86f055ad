//! Bedframe itself: every sequence of calls to a depth, on a machine of 80 frames, beside its specification.
//!
//! A state of the search is the calls that led to it and what could be observed then. To go on from one, the
//! machine is built anew and the calls are made again: they are deterministic, and a `Memory` has no copy. That
//! takes 10 to 14 us, as long as the look at everything that follows; to copy the object and its frames as bytes
//! would take 0.5 us, and unsafe code. What is refused changes nothing, so most calls are tried on a machine that is
//! there; the last call tried in a state is a look at everything, to see that it was so.
//!
//! In one of the worlds two domains claim memory, and what is claimed is compared as exactly as everything else.
//!
//! Two sequences that end in what looks the same are followed once. They may differ in hints, and so in
//! which of several blocks a later request gets; whichever it is, the specification judges it.

mod calls;
mod claims;
mod platform;
mod world;

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bedframe_model::Mutant;
pub use calls::Call;
pub use claims::Slip;
pub use platform::Bytes;
use world::{Ended, Seen, Twin};
pub use world::{FRAMES, Layout};

use crate::engine::World;
use crate::invariant::{Broken, Invariant};

/// A machine of this layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Library {
    /// The variant of the heap, and frame 0.
    pub layout: Layout,
    /// Whether the heap runs already when the search begins, with frames of boot still in use.
    pub running: bool,
    /// Whether there are two domains that claim memory.
    pub claims: bool,
    /// A mistake that the specification makes, to see that the two are compared.
    pub mutant: Option<Mutant>,
    /// The same of the counters beside the claims.
    pub slip: Option<Slip>,
}

impl Library {
    /// A machine on which nothing is claimed, with a specification that makes no mistake.
    #[must_use]
    pub const fn new(layout: Layout, running: bool) -> Self {
        Self { layout, running, claims: false, mutant: None, slip: None }
    }
}

/// What happened before a search that begins with a heap that runs.
const BEFORE: [Call; 3] =
    [Call::Boot { frames: 3, top: false }, Call::Boot { frames: 1, top: true }, Call::Start];

/// The calls that led to a state, and what it looks like.
#[derive(Clone, Debug)]
pub struct State {
    calls: Vec<Call>,
    seen: Seen,
    /// What is wrong, if anything.
    pub wrong: Option<Arc<str>>,
}

impl State {
    /// What each frame is, and how often it was called so.
    #[must_use]
    pub fn frames(&self) -> &[bedframe_model::FrameState] {
        &self.seen.frames
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (&self.seen, self.wrong.is_some()).hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        (self.seen, self.wrong.is_some()) == (other.seen, other.wrong.is_some())
    }
}

/// The machine that the thread worked on last, and the calls that were made on it.
struct Bench {
    bytes: Bytes,
    world: Library,
    calls: Vec<Call>,
    twin: Twin,
    /// Calls that were refused on it since: they should have changed nothing.
    suspects: Vec<Call>,
}

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

impl Bench {
    fn new(world: Library) -> Self {
        // Whatever was in memory before the machine started.
        let bytes = Bytes::new(u64::from(FRAMES), 0xa5);
        let twin = Twin::new(world, &bytes);
        Self { bytes, world, calls: Vec::new(), twin, suspects: Vec::new() }
    }

    /// Is the machine on which exactly these calls were made.
    fn be(&mut self, world: Library, calls: &[Call]) {
        if self.world != world || self.calls != calls {
            self.rebuild(world, calls);
        }
    }

    fn rebuild(&mut self, world: Library, calls: &[Call]) {
        self.suspects.clear();
        self.twin = Twin::new(world, &self.bytes);
        self.world = world;
        for call in calls {
            self.twin.call(*call);
        }
        self.calls = calls.to_vec();
    }

    fn make(&mut self, state: &State, call: Call) -> Option<State> {
        match self.twin.call(call) {
            Ended::Refused => {
                self.suspects.push(call);
                return None;
            }
            Ended::Looked | Ended::Done if self.twin.compare().is_ok() => {}
            Ended::Looked | Ended::Done => return self.blame(state, call),
            Ended::Wrong(why) => return Some(self.blame_answer(state, call, &why)),
        }
        if call == Call::Look {
            return None;
        }
        Some(self.arrive(call, None))
    }

    fn arrive(&mut self, call: Call, wrong: Option<String>) -> State {
        self.calls.push(call);
        let wrong = wrong.map(|why| format!("{call}: {why}").into());
        State { calls: self.calls.clone(), seen: self.twin.seen(), wrong }
    }

    /// Something is wrong, by this call or by one that was refused before it: which?
    fn blame(&mut self, state: &State, call: Call) -> Option<State> {
        let suspects = std::mem::take(&mut self.suspects);
        for suspect in suspects.into_iter().chain([call]) {
            self.rebuild(self.world, &state.calls);
            self.twin.call(suspect);
            if let Err(why) = self.twin.compare() {
                return Some(self.arrive(suspect, Some(why)));
            }
        }
        Some(self.arrive(call, Some("several refusals together left a trace".into())))
    }

    /// A call said what it must not: by itself, or since one that was refused before it left a trace?
    fn blame_answer(&mut self, state: &State, call: Call, why: &str) -> State {
        let suspects = std::mem::take(&mut self.suspects);
        self.rebuild(self.world, &state.calls);
        if let Ended::Wrong(why) = self.twin.call(call) {
            return self.arrive(call, Some(why));
        }
        for suspect in suspects {
            self.rebuild(self.world, &state.calls);
            self.twin.call(suspect);
            if let Ended::Wrong(why) = self.twin.call(call) {
                return self
                    .arrive(call, Some(format!("after {suspect}, which was refused: {why}")));
            }
        }
        self.arrive(call, Some(format!("after several refusals: {why}")))
    }
}

impl World for Library {
    type State = State;
    type Step = Call;

    fn first(&self) -> State {
        let calls = if self.running { BEFORE.to_vec() } else { Vec::new() };
        let mut bench = Bench::new(*self);
        bench.be(*self, &calls);
        let seen = bench.twin.seen();
        let begins = bench.twin.compare().and(match seen.started == self.running {
            true => Ok(()),
            false => Err("the heap cannot start".into()),
        });
        let wrong = begins.err().map(Into::into);
        State { calls, seen, wrong }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Call>) {
        if state.wrong.is_none() {
            let two_heaps = !matches!(self.layout.xen_heap, bedframe::XenHeap::Unified);
            calls::calls(&state.seen, two_heaps, steps);
        }
    }

    fn after(&self, state: &State, call: &Call) -> Option<State> {
        BENCH.with_borrow_mut(|bench| {
            let bench = bench.get_or_insert_with(|| Bench::new(*self));
            bench.be(*self, &state.calls);
            bench.make(state, *call)
        })
    }

    fn broken(&self, state: &State) -> Broken {
        let mut broken = Broken::NONE;
        broken.unless(state.wrong.is_none(), Invariant::Specified);
        broken
    }
}
