//! What must hold while no thread is at work.

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    AllocError, FrameRange, Mfn, NodeId, Order, PageState, Pool, RangeKind, Request, StateCounts,
    XenHeap,
};

use crate::found::Found;
use crate::layout::{BAD, END};
use crate::life::Life;
use crate::owners::{self, NOBODY, WITHHELD};
use crate::turn::Worker;

/// Everything is as the books say: `validate`, the state of every frame, the counts, the lists of
/// what is free, and the memory that requests find.
pub(crate) fn check(life: &mut Life, workers: &[Worker]) -> Result<(), Found> {
    life.memory.validate().map_err(|error| Found(format!("validate: {error}")))?;
    let books = count(life)?;
    let held: u64 = workers.iter().map(|worker| worker.held.frames()).sum();
    let pinned: u64 = life.pins.iter().map(|piece| piece.range.frames()).sum();
    let all = held + pinned + waiting(life);
    Found::unless(all == books.in_use, || {
        format!("threads hold {all} frames, and the books have {}", books.in_use)
    })?;
    check_counts(life, books)?;
    let runs = free_runs(life);
    let free: u64 = runs.iter().map(|(run, _)| run.frames()).sum();
    Found::unless(free == books.free, || format!("free runs hold {free} frames: {books:?}"))?;
    let told = life.memory.platform().misuses();
    let refused: u64 = workers.iter().map(|worker| worker.counts.misuses).sum();
    Found::unless(told == refused, || {
        format!("{refused} frees were refused, and the platform was told of {told}")
    })?;
    note_metadata(life);
    if life.is_started() { requests_find_what_is_free(life, &runs) } else { Ok(()) }
}

/// The frames that wait in inboxes.
fn waiting(life: &Life) -> u64 {
    let mut frames = 0;
    for inbox in &life.inboxes {
        for _ in 0..inbox.len() {
            let Some(piece) = inbox.pop() else { break };
            frames += piece.range.frames();
            let _ = inbox.push(piece);
        }
    }
    frames
}

/// Compares the state of each frame with its owner, and counts. Boot-allocated frames count as in
/// use.
fn count(life: &Life) -> Result<StateCounts, Found> {
    let mut counts = StateCounts::default();
    for frame in (0..END.get()).map(Mfn::new) {
        let (owner, state) = (life.owners.of(frame), life.memory.state(frame));
        let right = match owner {
            NOBODY => matches!(state, PageState::Free | PageState::Metadata),
            WITHHELD => {
                matches!(state, PageState::Reserved | PageState::Broken | PageState::Absent)
            }
            owners::RELEASABLE => state == PageState::Reserved,
            owners::LATER => state == PageState::Absent,
            owners::RACED => false,
            _ => matches!(state, PageState::InUse | PageState::Uninitialised),
        };
        Found::unless(right, || {
            format!("frame {frame} is {state}, and the books have owner {owner:#x} (0 is nobody)")
        })?;
        counts.ram += u64::from(state != PageState::Absent);
        counts.free += u64::from(state == PageState::Free);
        counts.metadata += u64::from(state == PageState::Metadata);
        counts.bad += u64::from(state == PageState::Broken);
        counts.reserved += u64::from(state == PageState::Reserved);
        counts.in_use += u64::from(owner < owners::RACED && owner != NOBODY);
    }
    Ok(counts)
}

fn check_counts(life: &Life, books: StateCounts) -> Result<(), Found> {
    let said = life.memory.statistics();
    let right = said.ram == books.ram
        && said.free == books.free
        && said.metadata == books.metadata
        && said.bad == books.bad
        && said.reserved + said.releasable + said.frame_zero == books.reserved
        && said.in_use + said.uninitialised == books.in_use
        && said.bad == BAD.iter().map(|range| range.frames()).sum::<u64>();
    Found::unless(right, || format!("statistics says {said:?}, and frame by frame it is {books:?}"))
}

fn free_runs(life: &Life) -> Vec<(FrameRange, NodeId)> {
    let mut runs = Vec::new();
    life.memory.each_free_run(|run, node| runs.push((run, node)));
    runs
}

fn note_metadata(life: &mut Life) {
    let mut found = Vec::new();
    let mut at = Mfn::ZERO;
    while at < Mfn::MAX {
        let (range, kind, _) = life.memory.range_at(at);
        if kind == RangeKind::Metadata {
            found.push(range);
        }
        at = range.end();
    }
    life.metadata = found;
}

/// A request is refused if, and only if, no free block meets it.
fn requests_find_what_is_free(life: &Life, runs: &[(FrameRange, NodeId)]) -> Result<(), Found> {
    let orders = (0..=13).filter_map(Order::new).map(Request::order);
    let lengths = [3, 100, 700, 2000].map(Request::frames);
    for request in orders.chain(lengths) {
        for pool in [Pool::Domain, Pool::Xen] {
            for node in [None, Some(NodeId(0)), Some(NodeId(1)), Some(NodeId(2))] {
                let request = request.pool(pool);
                let request = node.map_or(request, |node| request.on(node));
                let fits = |run: FrameRange| {
                    let align = request.alignment();
                    let start = run.start().get().div_ceil(align) * align;
                    start + request.length() <= run.end().get()
                };
                let exists = runs.iter().any(|(run, on)| {
                    node.is_none_or(|node| node == *on) && serves(life, *run, pool) && fits(*run)
                });
                let result = life.memory.alloc(&request);
                let right = match result {
                    Ok(_) => exists,
                    Err(AllocError::OutOfMemory { .. } | AllocError::Impossible { .. }) => !exists,
                    Err(_) => false,
                };
                let back = result.map_or(Ok(()), |range| life.memory.free(range));
                Found::unless(right && back.is_ok(), || {
                    let does = if exists { "a block exists" } else { "no block exists" };
                    format!("at rest {does} for {request:?}: {result:?}, freed again: {back:?}")
                })?;
            }
        }
    }
    Ok(())
}

/// Whether a free run, which crosses no pool's edge, serves this heap.
fn serves(life: &Life, run: FrameRange, pool: Pool) -> bool {
    match (pool, life.xen_heap) {
        (Pool::Xen, _) => life.mapped().covers(run),
        (Pool::Domain, XenHeap::Separate { range }) => !range.overlaps(run),
        (Pool::Domain, _) => true,
    }
}

/// All that was ever handed out is back: every frame that can be free is, and as blocks of 2 MiB
/// wherever 2 MiB are free.
pub(crate) fn check_end(life: &mut Life, workers: &[Worker]) -> Result<(), Found> {
    check(life, workers)?;
    let released = life.released.iter().all(|state| state.load(Relaxed));
    let later = life.later.iter().all(|state| state.load(Relaxed) == 2);
    Found::unless(released && later, || {
        "with all memory free, there was no room to release or to plug in the rest".into()
    })?;
    let counts = life.memory.statistics();
    let away = counts.reserved + counts.bad + counts.metadata + counts.frame_zero;
    Found::unless(counts.free + away == counts.ram, || {
        format!("all was freed, and not all is free: {counts:?}")
    })?;
    let runs = free_runs(life);
    for pool in [Pool::Domain, Pool::Xen] {
        let usable = runs.iter().filter(|(run, _)| serves(life, *run, pool));
        let blocks: u64 = usable.map(|(run, _)| whole_blocks(*run)).sum();
        let request = Request::order(Order::new(9).unwrap_or(Order::ZERO)).pool(pool);
        let mut taken = Vec::new();
        while let Ok(block) = life.memory.alloc(&request) {
            taken.push(block);
        }
        Found::unless(taken.len() as u64 == blocks, || {
            format!("{blocks} blocks of 2 MiB are free, and {} were handed out", taken.len())
        })?;
        for block in taken {
            life.memory.free(block).map_err(|error| Found(format!("{block}: {error}")))?;
        }
    }
    check(life, workers)
}

/// Aligned blocks of 2 MiB in a run.
fn whole_blocks(run: FrameRange) -> u64 {
    let first = run.start().get().div_ceil(512);
    (run.end().get() / 512).saturating_sub(first)
}
