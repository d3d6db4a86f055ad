//! What boot allocated goes into the heap: whole, in odd pieces, and several in one call.

use bedframe::{FrameRange, RangeKind};
use bedframe_hosted::Pattern;

use super::findings::Findings;
use super::plan::What;
use super::world::{Taken, World};
use crate::frames::{self, between, from_len};
use crate::rng::Rng;

/// Every allocation's frames get contents that belong to them.
fn pattern(taken: &Taken) -> Pattern {
    Pattern::edges(taken.tag)
}

/// Writes the patterns of everything that boot holds.
pub(crate) fn fill(world: &World<'_>, findings: &mut Findings) {
    for taken in &world.taken {
        let written = world.contents().write_pattern(taken.range, pattern(taken));
        findings.expect(written, || format!("filling the {}", taken.what));
    }
}

/// Checks the patterns of everything that boot holds.
pub(crate) fn verify(world: &World<'_>, findings: &mut Findings) {
    for taken in &world.taken {
        let checked = world.contents().check_pattern(taken.range, pattern(taken));
        findings.expect(checked, || format!("the {} after hand-over", taken.what));
    }
}

/// What was given back, and how.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Returned {
    /// Frames of boot allocations that are in the heap now.
    pub(crate) frames: u64,
    /// Calls of `free`.
    pub(crate) calls: u64,
    /// Calls that freed frames of several allocations.
    pub(crate) unions: u64,
    /// Calls that freed a part of an allocation.
    pub(crate) parts: u64,
    /// Frames of the map's late ranges that were released.
    pub(crate) late: u64,
    /// Frames of the boot loader's modules that were released.
    pub(crate) modules: u64,
}

/// Frees every boot allocation and releases all that may be released.
pub(crate) fn everything(
    world: &World<'_>,
    late: &[FrameRange],
    modules: &[FrameRange],
    rng: &mut Rng,
    findings: &mut Findings,
) -> Returned {
    let mut returned = Returned::default();
    let mut sorted = world.taken.clone();
    sorted.sort_by_key(|taken| taken.range.start());
    for piece in pieces(&sorted, rng) {
        check(world, &sorted, piece, findings);
        let freed = world.memory.free(piece);
        if findings.expect(freed, || format!("freeing boot memory {piece}")).is_some() {
            returned.note(&sorted, piece);
            // Nobody needs the contents any more; the host may have its memory back.
            if piece.frames() >= 32 {
                let zapped = world.contents().zap(piece);
                findings.expect(zapped, || format!("clearing {piece}"));
            }
        }
    }
    returned.late = release(world, late, findings);
    returned.modules = release(world, modules, findings);
    returned
}

/// Releases each range in two parts of odd lengths, the second first.
fn release(world: &World<'_>, ranges: &[FrameRange], findings: &mut Findings) -> u64 {
    let mut all = 0;
    for range in ranges {
        let middle = range.frames() * 3 / 7;
        let start = range.start().get();
        for part in [from_len(start + middle, range.frames() - middle), from_len(start, middle)] {
            if part.is_empty() {
                continue;
            }
            let released = world.memory.release(part);
            all += findings.expect(released, || format!("releasing {part}")).unwrap_or(0);
        }
    }
    all
}

impl Returned {
    fn note(&mut self, sorted: &[Taken], piece: FrameRange) {
        let touched = overlapping(sorted, piece);
        self.frames += piece.frames();
        self.calls += 1;
        self.unions += u64::from(touched.len() > 1);
        self.parts += u64::from(touched.iter().any(|taken| !piece.covers(taken.range)));
    }
}

/// The allocations that some frame of `piece` belongs to.
fn overlapping(sorted: &[Taken], piece: FrameRange) -> &[Taken] {
    let first = sorted.partition_point(|taken| taken.range.end() <= piece.start());
    let end = sorted.partition_point(|taken| taken.range.start() < piece.end());
    sorted.get(first..end).unwrap_or(&[])
}

/// The ranges to free, in a random order: every other range over an edge whole, all else joined
/// with its neighbours and then cut at odd places.
fn pieces(sorted: &[Taken], rng: &mut Rng) -> Vec<FrameRange> {
    let mut whole = Vec::new();
    let mut rest = Vec::new();
    for (number, taken) in sorted.iter().enumerate() {
        let uncut = taken.what == What::Crossing && number % 2 == 0;
        if uncut { whole.push(taken.range) } else { rest.push(taken.range) }
    }
    for run in frames::union(rest) {
        // Half of the runs go whole: many allocations in one call.
        if rng.percent(50) {
            whole.push(run);
            continue;
        }
        let mut at = run.start();
        while at < run.end() {
            let length = rng.between(1, (run.frames() / 2).max(1)) | 1;
            let end = at.saturating_add(length).min(run.end());
            whole.push(between(at, end));
            at = end;
        }
    }
    rng.shuffle(&mut whole);
    whole
}

/// Checks the contents of `piece`, whichever allocations it belongs to, just before it is freed.
fn check(world: &World<'_>, sorted: &[Taken], piece: FrameRange, findings: &mut Findings) {
    for taken in overlapping(sorted, piece) {
        let range = taken.range.intersect(piece);
        let checked = world.contents().check_pattern(range, pattern(taken));
        findings.expect(checked, || format!("the {} before it is freed", taken.what));
    }
}

/// Frames that must not come out of the heap, now that everything is given back.
pub(crate) fn withheld(world: &World<'_>) -> Vec<FrameRange> {
    let kinds = [RangeKind::Reserved, RangeKind::Bad, RangeKind::Metadata];
    frames::union(kinds.into_iter().flat_map(|kind| world.ranges(kind)).collect())
}
