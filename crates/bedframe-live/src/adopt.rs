//! The new instance: all memory is told of before the heap runs, and domains are made anew when it does.

use core::fmt;

use bedframe::{
    ClaimError, DomainError, FrameRange, FreeError, MapError, Memory, Mfn, OfflineError,
    OwnerError, PageState, Platform, RangeKind, ReferenceError,
};

use crate::gaps::{parts, threshold};
use crate::record::marks;
use crate::stream::{Domain, Frames, Stream};

/// Why memory could not be adopted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AdoptError {
    /// Something is known of a frame that the stream tells of.
    Known {
        /// The frame.
        frame: Mfn,
        /// What it is.
        state: PageState,
    },
    /// Memory could not be told of.
    Map(MapError),
    /// A domain could not be made, or told which nodes it prefers.
    Domain(DomainError),
    /// Frames could not be given to a domain.
    Owner(OwnerError),
    /// A frame could not be referred to.
    Reference(ReferenceError),
    /// A frame could not be withdrawn.
    Offline(OfflineError),
    /// What nobody has could not be freed.
    Free(FreeError),
    /// A claim could not be staked.
    Claim(ClaimError),
}

impl AdoptError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        match self {
            AdoptError::Domain(error) => error.waiting_can_help(),
            _ => false,
        }
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdoptError::Known { frame, state } => write!(
                f,
                "frame {frame} is {state}: the stream has to be the first that tells of it"
            ),
            AdoptError::Map(error) => write!(f, "memory cannot be told of: {error}"),
            AdoptError::Domain(error) => write!(f, "a domain cannot be made: {error}"),
            AdoptError::Owner(error) => write!(f, "frames cannot be given to a domain: {error}"),
            AdoptError::Reference(error) => write!(f, "a frame cannot be referred to: {error}"),
            AdoptError::Offline(error) => write!(f, "a frame cannot be withdrawn: {error}"),
            AdoptError::Free(error) => write!(f, "what is nobody's cannot be freed: {error}"),
            AdoptError::Claim(error) => write!(f, "a claim cannot be staked: {error}"),
        }
    }
}

impl core::error::Error for AdoptError {}

/// What has been adopted, in frames but for the domains.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Adopted {
    /// Domains.
    pub domains: u64,
    /// Frames that these have, lent ones too.
    pub owned: u64,
    /// Frames that are in use and nobody's.
    pub kept: u64,
    /// Frames between what stays that were kept until now, and are free.
    pub freed: u64,
    /// Frames of the domains' claims that are not there: this instance may need more for itself than the one
    /// before.
    pub unclaimed: u64,
}

impl Stream<'_> {
    /// Tells `memory` of all memory: RAM, what is reserved in it or bad, and what is in use. To be called
    /// before [`Memory::start`], with the variant of the Xen heap that there was, since lent frames go back there, and
    /// with [frame 0 handed out](Memory::hand_out_frame_zero) if it was. Where
    /// what stays is scattered, what lies between stays for now as well, until
    /// [`Stream::finish`] frees it. The instance before has no books from here on: they lie in memory that is
    /// free to this one.
    ///
    /// # Errors
    ///
    /// [`AdoptError::Known`] if something is known already of what the stream tells of; nothing has changed
    /// then. [`AdoptError::Map`] if there is no memory to note it in: then not all of it is known, and `memory` is
    /// of no use.
    ///
    /// # Cost
    ///
    /// Five walks over the stream, and a step of the ledger's for each stretch of memory that it tells of.
    ///
    /// # Safety
    ///
    /// What [`Memory::add_ram`] asks for, of all RAM in the stream: it is RAM; nothing but Bedframe and those who
    /// have what the stream says uses it; and what [`XenHeap::mapped`](bedframe::XenHeap::mapped) covers of it is
    /// mapped. The stream itself lies in memory that it says is in use, or outside of RAM.
    #[allow(unsafe_code)] // Passes on the contract of `Memory::add_ram`.
    pub unsafe fn begin<P: Platform>(&self, memory: &Memory<P>) -> Result<(), AdoptError> {
        self.check_unknown(memory)?;
        let mapped = memory.xen_heap().mapped();
        let threshold = threshold(self, mapped);
        // First, memory to note the rest in: nothing in it stays.
        let open = parts(self).filter(|part| part.is_open(threshold));
        let first = open.max_by_key(|part| part.frames.intersect(mapped).frames());
        if let Some(part) = first
            && part.frames.overlaps(mapped)
        {
            // SAFETY: All RAM of the stream may be added, says the caller, and nobody uses what is free in it.
            unsafe { memory.add_ram(part.frames.intersect(mapped), part.node) }
                .map_err(AdoptError::Map)?;
        }
        for run in self.frames().filter(|run| !run.is_held()) {
            withhold(memory, &run).map_err(AdoptError::Map)?;
        }
        // Before it is known to be RAM: from then on it is handed out.
        let mut stretch = FrameRange::EMPTY;
        for part in parts(self) {
            let closed = match part.said {
                Some(run) => run.is_held(),
                None => !part.is_open(threshold),
            };
            if !closed {
                continue;
            }
            if stretch.end() != part.frames.start() {
                keep(memory, stretch)?;
                stretch = part.frames;
            }
            stretch = FrameRange::new(stretch.start(), part.frames.end()).unwrap_or(stretch);
        }
        keep(memory, stretch)?;
        for (range, node) in self.ram() {
            // SAFETY: As above; what somebody uses has been withheld.
            unsafe { memory.add_ram(range, node) }.map_err(AdoptError::Map)?;
        }
        Ok(())
    }

    /// Makes the domains anew, gives them what they had, and frees what nobody has. To be called once, after
    /// [`Memory::start`], before anybody else makes domains.
    ///
    /// # Errors
    ///
    /// [`AdoptError::Domain`] if there are domains and no [records](Memory::with_records), or no memory for
    /// them; nothing has changed then, unless it is the list of the nodes that one prefers for which there is none.
    /// Any other names the frame that somebody else has changed meanwhile. What came before either is done.
    ///
    /// # Cost
    ///
    /// For each run of frames of a domain what [`Memory::assign`] costs, and for each reference to a frame, one
    /// [`Memory::reference`].
    pub fn finish<P: Platform>(&self, memory: &Memory<P>) -> Result<Adopted, AdoptError> {
        self.make_domains(memory).map_err(AdoptError::Domain)?;
        let mut adopted = Adopted { domains: self.domains().count() as u64, ..Adopted::default() };
        for run in self.frames().filter(Frames::is_held) {
            give(memory, &run)?;
            let frames = run.frames.frames();
            match run.owner() {
                Some(_) => adopted.owned += frames,
                None if run.is(marks::KEPT) => adopted.kept += frames,
                None => {}
            }
        }
        let threshold = threshold(self, memory.xen_heap().mapped());
        for part in parts(self).filter(|part| part.said.is_none() && !part.is_open(threshold)) {
            memory.free(part.frames).map_err(AdoptError::Free)?;
            adopted.freed += part.frames.frames();
        }
        for domain in self.domains() {
            self.set_terms(memory, &domain).map_err(AdoptError::Domain)?;
        }
        // Last: what is claimed is not there for lists of nodes any more.
        for domain in self.domains() {
            let left = claim(memory, &domain).map_err(AdoptError::Claim)?;
            adopted.unclaimed = adopted.unclaimed.saturating_add(left);
        }
        Ok(adopted)
    }

    /// Whether nothing is known of what the stream tells of.
    fn check_unknown<P: Platform>(&self, memory: &Memory<P>) -> Result<(), AdoptError> {
        let told = self.ram().map(|(ram, _)| ram).chain(self.frames().map(|run| run.frames));
        for range in told {
            let mut at = range.start();
            while at < range.end() {
                let run = memory.run_at(at);
                if (run.node, run.kind) != (None, RangeKind::Hole) {
                    return Err(AdoptError::Known { frame: at, state: run.state });
                }
                at = run.frames.end().max(at.saturating_add(1));
            }
        }
        Ok(())
    }

    /// All domains, or, by an error, none.
    fn make_domains<P: Platform>(&self, memory: &Memory<P>) -> Result<(), DomainError> {
        for (made, domain) in self.domains().enumerate() {
            // Frames come first: what is over its quota stays.
            if let Err(error) = memory.create_domain(domain.id, u64::MAX) {
                for domain in self.domains().take(made) {
                    let gone = memory.kill_domain(domain.id);
                    // It has nothing, and nobody else knows of it: not refused.
                    let _ = gone.and_then(|()| memory.destroy_domain(domain.id));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn set_terms<P: Platform>(
        &self,
        memory: &Memory<P>,
        domain: &Domain,
    ) -> Result<(), DomainError> {
        memory.set_width(domain.id, domain.width)?;
        let (nodes, node) = self.preferences(domain.id);
        memory.set_affinity_with(domain.id, nodes, node)?;
        memory.set_quota(domain.id, domain.quota)?;
        if domain.dying { memory.kill_domain(domain.id) } else { Ok(()) }
    }
}

fn keep<P: Platform>(memory: &Memory<P>, stretch: FrameRange) -> Result<(), AdoptError> {
    if stretch.is_empty() { Ok(()) } else { memory.keep(stretch).map_err(AdoptError::Map) }
}

fn withhold<P: Platform>(memory: &Memory<P>, run: &Frames) -> Result<(), MapError> {
    match run.marks {
        marks::RELEASABLE => memory.reserve_releasable(run.frames),
        marks::RESERVED => memory.reserve(run.frames),
        _ => memory.withhold_bad(run.frames),
    }
}

/// Makes of frames that were kept what they were.
fn give<P: Platform>(memory: &Memory<P>, run: &Frames) -> Result<(), AdoptError> {
    let owner = run.owner();
    if let Some(domain) = owner {
        let given = if run.is(marks::LENT) {
            memory.lend(domain, run.frames)
        } else {
            memory.assign(domain, run.frames, run.accounting())
        };
        given.map_err(AdoptError::Owner)?;
    }
    if run.references > 0 {
        for frame in run.frames.iter() {
            for _ in 0..run.references {
                memory.reference(frame).map_err(AdoptError::Reference)?;
            }
        }
    }
    if let Some(domain) = owner.filter(|_| run.is(marks::DROPPED)) {
        // References keep them.
        memory.free_owned(domain, run.frames).map_err(AdoptError::Owner)?;
    }
    let leaves = run.is(marks::OFFLINING | marks::OFFLINED);
    if leaves || run.is(marks::BROKEN) {
        for frame in run.frames.iter() {
            let done = if leaves { memory.offline(frame) } else { memory.mark_broken(frame) };
            done.map_err(AdoptError::Offline)?;
        }
    }
    if run.is(marks::OFFLINED) {
        // Now it is nobody's, and goes where it was.
        memory.free(run.frames).map_err(AdoptError::Free)?;
    }
    Ok(())
}

/// Claims what a domain had claimed, or as much of it as there is; returns what is not there.
fn claim<P: Platform>(memory: &Memory<P>, domain: &Domain) -> Result<u64, ClaimError> {
    let stake = |frames| match frames {
        0 => Ok(()),
        frames => memory.claim(domain.id, domain.claims, frames),
    };
    match stake(domain.claimed) {
        Ok(()) => Ok(0),
        Err(ClaimError::NotEnough { unclaimed, .. }) => {
            let there = unclaimed.min(domain.claimed);
            stake(there).map(|()| domain.claimed - there)
        }
        Err(error) => Err(error),
    }
}
