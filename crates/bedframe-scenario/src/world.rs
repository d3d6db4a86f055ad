//! The memory that steps work on, and what they have of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bedframe::{DomainId, FrameRange, Memory, Mfn, PageState, VirtualRange, XenHeap};
use bedframe_hosted::{HostedMemory, HostedPlatform};

use crate::action::Window;
use crate::books::{Books, Held};
use crate::expect::must_be_zero;
use crate::instance::{InCharge, Instance};
use crate::value::{Frames, Refusal};

/// What must hold does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wrong {
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Wrong {
    pub(crate) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}

/// Memory under Bedframe, and the books on who holds what.
pub(crate) struct World<'m> {
    in_charge: InCharge<'m>,
    /// Makes another instance, of which nothing is known.
    empty: &'m (dyn Fn() -> Memory<HostedPlatform> + Sync),
    pub(crate) xen_heap: XenHeap,
    pub(crate) window: OnceLock<Window<'m>>,
    /// Whether hand-over has been done: there is no way to ask.
    pub(crate) started: AtomicBool,
    /// Frames that Bedframe took for what steps asked it to do, beside those that it handed out: page
    /// tables.
    pub(crate) own: AtomicU64,
    /// Frames that must not be touched.
    trapped: Mutex<Vec<FrameRange>>,
    /// Whether what is allocated for a domain is scrubbed.
    scrubs: bool,
    /// The numbers of domains, by name.
    domains: &'m BTreeMap<String, u32>,
    books: Mutex<Books>,
}

impl<'m> World<'m> {
    pub(crate) fn new(
        first: &'m Instance,
        empty: &'m (dyn Fn() -> Memory<HostedPlatform> + Sync),
        xen_heap: XenHeap,
        domains: &'m BTreeMap<String, u32>,
        scrubs: bool,
    ) -> Self {
        Self {
            in_charge: InCharge::new(first),
            empty,
            xen_heap,
            window: OnceLock::new(),
            started: AtomicBool::new(false),
            own: AtomicU64::new(0),
            trapped: Mutex::default(),
            domains,
            scrubs,
            books: Mutex::default(),
        }
    }

    /// The instance that is in charge.
    pub(crate) fn memory(&self) -> &'m Memory<HostedPlatform> {
        self.in_charge.memory()
    }

    /// Another instance, of which nothing is known.
    pub(crate) fn empty(&self) -> Memory<HostedPlatform> {
        (self.empty)()
    }

    /// Lets another instance take over. Frames that the one before had for itself are gone with it.
    pub(crate) fn succeed(&self, memory: Memory<HostedPlatform>) {
        self.in_charge.succeed(memory);
        let held = self.books().frames();
        self.own.store(self.used().wrapping_sub(held), Relaxed);
    }

    /// What steps hold that is no domain's, in ascending order.
    pub(crate) fn nobodys(&self) -> Vec<FrameRange> {
        let held: Vec<FrameRange> = self.books().all().map(|held| held.range).collect();
        let mut ranges = Vec::new();
        for range in held {
            let mut at = range.start();
            while at < range.end() {
                let run = self.memory().run_at(at);
                let frames = run.frames.intersect(range);
                if run.ownership.is_none() {
                    ranges.push(frames);
                }
                at = run.frames.end();
            }
        }
        ranges.sort_by_key(|range| range.start());
        ranges
    }

    pub(crate) fn contents(&self) -> &HostedMemory {
        self.memory().platform().memory()
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frames that the heap has handed out, or boot has.
    pub(crate) fn used(&self) -> u64 {
        let states = self.memory().statistics();
        states.in_use + states.uninitialised + states.offlining
    }

    /// At rest: does something for which Bedframe takes frames, or gives them back, and notes how many
    /// beside `freed` of those that steps held.
    pub(crate) fn measure<T>(&self, f: impl FnOnce() -> T, freed: impl FnOnce(&T) -> u64) -> T {
        let before = self.used();
        let value = f();
        let after = self.used() + freed(&value);
        // Wraps where fewer are used than before.
        self.own.fetch_add(after.wrapping_sub(before), Relaxed);
        value
    }

    /// Notes frames that were handed out, and writes what their holder is to find again. Returns what tells
    /// them from the same frames handed out at another time.
    pub(crate) fn hand_out(&self, range: FrameRange) -> Result<u64, Wrong> {
        let noted = self.books().hand_out(range);
        let held = noted.map_err(|other| {
            Wrong::new(
                "frames that nobody holds",
                format!("{range} was handed out while {other} is held"),
            )
        })?;
        let written = held.write(self.contents());
        written.map_err(|error| Wrong::new("frames of the machine", error.to_string()))?;
        Ok(held.tag)
    }

    /// Takes frames off the books before they are freed, after a look at their contents.
    pub(crate) fn take_back(&self, range: FrameRange) -> Result<Vec<Held>, Wrong> {
        let parts = self.books().take(range);
        parts.iter().try_for_each(|part| self.look(*part))?;
        Ok(parts)
    }

    fn look(&self, held: Held) -> Result<(), Wrong> {
        let intact = held.look(self.contents());
        intact.map_err(|error| Wrong::new("what its holder wrote", error.to_string()))
    }

    /// Nobody reads another's bytes: looks for zeros in what was allocated for a domain, unless the living are trusted
    /// to scrub for themselves.
    pub(crate) fn must_be_scrubbed(&self, range: FrameRange) -> Result<(), Wrong> {
        if self.scrubs { must_be_zero(self, range) } else { Ok(()) }
    }

    /// The number of the domain of this name.
    pub(crate) fn domain(&self, name: &str) -> DomainId {
        DomainId(self.domains.get(name).copied().unwrap_or(0))
    }

    /// Takes all that a domain has off the books, after a look at the contents.
    pub(crate) fn take_back_all_of(&self, domain: DomainId) -> Result<Vec<Held>, Wrong> {
        let ranges: Vec<FrameRange> = self.books().all().map(|held| held.range).collect();
        let owned =
            |frame: &Mfn| self.memory().owner(*frame).is_some_and(|owner| owner.domain == domain);
        let mut parts = Vec::new();
        for frame in ranges.into_iter().flat_map(FrameRange::iter).filter(owned) {
            parts.extend(self.take_back(FrameRange::single(frame))?);
        }
        Ok(parts)
    }

    /// At rest: looks at the contents of all that is held.
    pub(crate) fn look_at_all(&self) -> Result<(), Wrong> {
        self.books().all().try_for_each(|held| self.look(held))
    }

    /// Lets every access to these frames end the program.
    pub(crate) fn trap(&self, range: FrameRange) -> Result<(), Wrong> {
        let trapped = self.contents().break_frames(range);
        trapped.map_err(|error| Wrong::new("frames of the machine", error.to_string()))?;
        self.trapped.lock().unwrap_or_else(PoisonError::into_inner).push(range);
        Ok(())
    }

    /// Whether a step may touch these frames without an end of the program.
    pub(crate) fn may_touch(&self, range: FrameRange) -> Result<(), Wrong> {
        let trapped = self.trapped.lock().unwrap_or_else(PoisonError::into_inner);
        match trapped.iter().find(|trapped| trapped.overlaps(range)) {
            None => Ok(()),
            Some(trapped) => {
                Err(Wrong::new("frames that can be accessed", format!("{trapped} cannot")))
            }
        }
    }

    /// At rest: settles what was doubtful while threads ran.
    pub(crate) fn settle(&self) {
        let used = |frame: Mfn| {
            !matches!(
                self.memory().state(frame),
                PageState::Free | PageState::Offlined | PageState::Broken
            )
        };
        self.books().settle(used);
    }
}

/// What a run of steps knows: each thread has its own.
pub(crate) struct Scope<'w> {
    pub(crate) names: BTreeMap<String, Vec<FrameRange>>,
    /// What tells the frames of each name from the same frames handed out at another time.
    pub(crate) tags: BTreeMap<String, BTreeSet<u64>>,
    pub(crate) mappings: BTreeMap<String, VirtualRange>,
    pub(crate) tally: Tally,
    /// What may happen to the calls of the step under way.
    pub(crate) policy: Policy,
    /// Whether other threads are at work.
    pub(crate) in_thread: bool,
    /// Told how much of a long action is done, of how much.
    pub(crate) watch: Option<&'w (dyn Fn(u64, u64) + Sync)>,
}

/// Calls that were counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) refused: u64,
}

/// Which refusals a step allows.
#[derive(Clone, Default, Debug)]
pub(crate) struct Policy {
    pub(crate) refused: Option<String>,
    pub(crate) may_be_refused: Vec<String>,
}

impl<'w> Scope<'w> {
    pub(crate) fn new(watch: Option<&'w (dyn Fn(u64, u64) + Sync)>) -> Self {
        Self {
            names: BTreeMap::new(),
            tags: BTreeMap::new(),
            mappings: BTreeMap::new(),
            tally: Tally::default(),
            policy: Policy::default(),
            in_thread: false,
            watch,
        }
    }

    /// A scope of a thread that knows the same names.
    pub(crate) fn for_thread(&self) -> Scope<'static> {
        Scope {
            names: self.names.clone(),
            tags: self.tags.clone(),
            mappings: self.mappings.clone(),
            in_thread: true,
            ..Scope::new(None)
        }
    }

    /// Takes over what a thread has named and counted.
    pub(crate) fn join(
        &mut self,
        thread: Scope<'static>,
        before: &BTreeMap<String, Vec<FrameRange>>,
    ) {
        for (name, ranges) in thread.names {
            if before.get(&name) != Some(&ranges) {
                if let Some(tags) = thread.tags.get(&name) {
                    self.tags.insert(name.clone(), tags.clone());
                }
                self.names.insert(name, ranges);
            }
        }
        self.mappings.extend(thread.mappings);
        self.tally.done += thread.tally.done;
        self.tally.refused += thread.tally.refused;
    }

    /// What these frames are.
    pub(crate) fn frames(&self, frames: &Frames) -> Vec<FrameRange> {
        frames.resolve(|name| self.names.get(name).map(Vec::as_slice))
    }

    /// Counts a call, and says whether it went as the step allows: `Some` if it was done, `None` if
    /// it was refused as it may be.
    pub(crate) fn judge<T, E: Into<Refusal>>(
        &mut self,
        call: &str,
        result: Result<T, E>,
    ) -> Result<Option<T>, Wrong> {
        match (result.map_err(Into::into), &self.policy.refused) {
            (Ok(_), Some(name)) => {
                Err(Wrong::new(format!("{call}: refused with {name}"), "it was done"))
            }
            (Ok(value), None) => {
                self.tally.done += 1;
                Ok(Some(value))
            }
            (Err(refusal), Some(name)) if refusal.name == *name => {
                self.tally.refused += 1;
                Ok(None)
            }
            (Err(refusal), None) if self.policy.may_be_refused.contains(&refusal.name) => {
                self.tally.refused += 1;
                Ok(None)
            }
            (Err(refusal), Some(name)) => {
                Err(Wrong::new(format!("{call}: refused with {name}"), refusal.to_string()))
            }
            (Err(refusal), None) if self.policy.may_be_refused.is_empty() => {
                Err(Wrong::new(format!("{call}: done"), refusal.to_string()))
            }
            (Err(refusal), None) => {
                let may = self.policy.may_be_refused.join(" or ");
                Err(Wrong::new(format!("{call}: done, or refused with {may}"), refusal.to_string()))
            }
        }
    }

    /// Says how far a long action has come.
    pub(crate) fn advance(&self, done: u64, all: u64) {
        if let Some(watch) = self.watch {
            watch(done, all);
        }
    }
}
