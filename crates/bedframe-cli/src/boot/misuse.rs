//! Calls that must be refused, each by its own name and with nothing changed.

use bedframe::{FrameRange, FreeRefusal, Mfn, Order, PageState, RangeKind};

use super::findings::Findings;
use super::world::World;
use crate::frames::{between, from_len};

/// Tries every misuse that this machine has frames for; returns how many were tried. To be called
/// while boot memory is held and nothing has been released, at whatever stage.
pub(crate) fn try_all(world: &World<'_>, releasable: FrameRange, findings: &mut Findings) -> u64 {
    let mut tried = 0;
    let mut refuse = |range: FrameRange, frame: Mfn, why: FreeRefusal| {
        tried += 1;
        let before = [range.start(), frame].map(|frame| world.memory.state(frame));
        match world.memory.free(range) {
            Err(error) if (error.frame, error.why, error.committed) == (frame, why, 0) => {}
            Err(error) => findings.add(format!("{range} should be refused since {why}: {error}")),
            Ok(()) => findings.add(format!("{range} was freed although it {why}")),
        }
        let after = [range.start(), frame].map(|frame| world.memory.state(frame));
        if before != after {
            findings.add(format!("a refused free changed {range}: {before:?} to {after:?}"));
        }
    };
    for (kind, why) in [
        (RangeKind::Reserved, FreeRefusal::Reserved),
        (RangeKind::Metadata, FreeRefusal::Metadata),
        (RangeKind::Bad, FreeRefusal::Bad),
    ] {
        if let Some(range) = world.ranges(kind).first() {
            refuse(FrameRange::single(range.start()), range.start(), why);
        }
    }
    if !releasable.is_empty() {
        refuse(releasable, releasable.start(), FreeRefusal::Releasable);
    }
    let end = world.contents().end();
    refuse(from_len(end.get(), 1), end, FreeRefusal::Hole);
    // Mixed: the last frame of an allocation, and a free frame behind it.
    let free_behind = |range: &FrameRange| world.memory.state(range.end()) == PageState::Free;
    let mixed = world.taken.iter().map(|taken| taken.range).find(free_behind);
    if let Some(range) = mixed {
        let last = Mfn::new(range.end().get() - 1);
        let both = between(last, range.end().saturating_add(1));
        refuse(both, range.end(), FreeRefusal::AlreadyFree);
        refuse(FrameRange::single(range.end()), range.end(), FreeRefusal::AlreadyFree);
    }
    tried += 1;
    let null = world.memory.free_xen_heap(std::ptr::null(), Order::ZERO);
    findings.expect(null, || "freeing null".into());
    tried
}
