//! The calls: what they are, and which are worth making.

use std::fmt;

use bedframe::Scope;
use bedframe_model::FrameState;

use super::claims;
use super::world::{FRAMES, HOLE, INITRD, KERNEL, Seen};

/// A call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// `alloc` during boot.
    Boot {
        /// How many frames.
        frames: u8,
        /// From which end.
        top: bool,
    },
    /// `start`.
    Start,
    /// `alloc` of a block.
    Alloc {
        /// Its order.
        order: u8,
        /// Who allocates: CPU 0 on node 0, or CPU 1 on node 1.
        cpu: u8,
        /// Whether from the Xen heap.
        xen: bool,
    },
    /// `free` of any range.
    Free {
        /// The first frame.
        first: u8,
        /// How many.
        frames: u8,
    },
    /// `release` of any range.
    Release {
        /// The first frame.
        first: u8,
        /// How many.
        frames: u8,
    },
    /// `offline`.
    Offline(u8),
    /// `mark_broken`.
    Break(u8),
    /// `online`.
    Online(u8),
    /// `reference`.
    Refer(u8),
    /// `unreference`.
    Unrefer(u8),
    /// `claim`.
    Claim {
        /// Whose: domain 1 or 2.
        domain: u8,
        /// Of what memory.
        scope: Scope,
        /// How many frames more.
        frames: u8,
    },
    /// `release_claim`.
    ReleaseClaim {
        /// Whose.
        domain: u8,
        /// How many frames at most.
        frames: u8,
    },
    /// `alloc_for` of a block, on the domain's claim.
    AllocFor {
        /// Its order.
        order: u8,
        /// Who allocates, as for `Alloc`.
        cpu: u8,
        /// For whom.
        domain: u8,
    },
    /// A look at all that can be observed.
    Look,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Call::Boot { frames, top } => {
                write!(f, "boot-alloc {frames} {}", if top { "top" } else { "bottom" })
            }
            Call::Start => f.write_str("start"),
            Call::Alloc { order, cpu, xen } => {
                write!(f, "alloc order {order} cpu {cpu} {}", if xen { "xen" } else { "domain" })
            }
            Call::Free { first, frames } => write!(f, "free {first} {frames}"),
            Call::Release { first, frames } => write!(f, "release {first} {frames}"),
            Call::Offline(frame) => write!(f, "offline {frame}"),
            Call::Break(frame) => write!(f, "mark-broken {frame}"),
            Call::Online(frame) => write!(f, "online {frame}"),
            Call::Refer(frame) => write!(f, "reference {frame}"),
            Call::Unrefer(frame) => write!(f, "unreference {frame}"),
            Call::Claim { domain, scope, frames } => {
                write!(f, "claim {frames} of {scope} for domain {domain}")
            }
            Call::ReleaseClaim { domain, frames } => {
                write!(f, "release-claim {frames} domain {domain}")
            }
            Call::AllocFor { order, cpu, domain } => {
                write!(f, "alloc order {order} cpu {cpu} for domain {domain}")
            }
            Call::Look => f.write_str("look"),
        }
    }
}

impl Seen {
    fn are_books(&self, frame: u8) -> bool {
        self.claims.is_some_and(|claims| claims.are_books(frame))
    }
}

/// Every call worth making in a state that looks like this, right ones and wrong ones.
pub(super) fn calls(seen: &Seen, two_heaps: bool, calls: &mut Vec<Call>) {
    if seen.started {
        for order in 0..=2 {
            for cpu in 0..=1 {
                calls.push(Call::Alloc { order, cpu, xen: false });
                if two_heaps {
                    calls.push(Call::Alloc { order, cpu, xen: true });
                }
            }
        }
        withdrawals(seen, calls);
        if let Some(claims) = &seen.claims {
            claims::calls(seen, claims, calls);
        }
    } else {
        for frames in [1, 3] {
            calls.extend([false, true].map(|top| Call::Boot { frames, top }));
        }
    }
    calls.push(Call::Start);
    for frames in [1, 2, 4] {
        let firsts = (0..=FRAMES - frames)
            .filter(|first| !(*first..first + frames).any(|frame| seen.are_books(frame)));
        calls.extend(firsts.map(|first| Call::Free { first, frames }));
    }
    for first in INITRD.0 - 1..INITRD.1 {
        calls.extend([1, 3].map(|frames| Call::Release { first, frames }));
    }
    calls.push(Call::Look);
}

/// Frames of each kind are withdrawn, let back and referred to: the outermost of those that are alike.
fn withdrawals(seen: &Seen, calls: &mut Vec<Call>) {
    let numbered = || (0u8..).zip(seen.frames).filter(|(frame, _)| !seen.are_books(*frame));
    let first = |state| numbered().find(|(_, s)| *s == state).map(|(frame, _)| frame);
    let last = |state| numbered().filter(|(_, s)| *s == state).last().map(|(frame, _)| frame);
    use FrameState::{Free, Given, GivenOfflining, InUse, Offlined, Offlining};
    let some = [first(Free), last(Free), first(InUse), last(Given), Some(KERNEL), Some(HOLE)];
    calls.extend(some.into_iter().flatten().map(Call::Offline));
    calls
        .extend([last(Free), first(InUse), first(Offlined)].into_iter().flatten().map(Call::Break));
    let leaving = |state| matches!(state, GivenOfflining | Offlining | Offlined);
    calls.extend(numbered().filter(|(_, s)| leaving(*s)).map(|(frame, _)| Call::Online(frame)));
    calls.extend(first(InUse).into_iter().chain(last(InUse)).map(Call::Refer));
    let referred = (0..FRAMES).zip(seen.references).filter(|(_, count)| *count > 0);
    calls.extend(referred.map(|(frame, _)| Call::Unrefer(frame)));
    calls.extend(
        [first(Free), Some(KERNEL)]
            .into_iter()
            .flatten()
            .flat_map(|f| [Call::Online(f), Call::Unrefer(f)]),
    );
}
