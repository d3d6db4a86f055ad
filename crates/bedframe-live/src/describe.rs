//! Writing a stream: what an instance knows of memory, for the one behind it.

use core::fmt;

use bedframe::{
    DomainId, FrameRange, FrameRun, Memory, Mfn, NodeId, PageState, Platform, RangeKind, Scope,
};

use crate::record::{Kind, Record, marks};
use crate::sum;

/// Why memory could not be described. It has not been changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DescribeError<E> {
    /// The ranges that are to be kept are not in ascending order, or overlap, or one is empty.
    Disorder {
        /// The first that is wrong.
        range: FrameRange,
    },
    /// A frame is to be kept that is not in use.
    NotInUse {
        /// The frame.
        frame: Mfn,
        /// What it is.
        state: PageState,
    },
    /// The stream could not be written.
    Write(E),
}

impl<E> DescribeError<E> {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        matches!(self, DescribeError::Write(_))
    }
}

impl<E: fmt::Display> fmt::Display for DescribeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DescribeError::Disorder { range } => {
                write!(f, "range {range} is empty, or does not lie behind the one before it")
            }
            DescribeError::NotInUse { frame, state } => {
                write!(f, "frame {frame} is {state}: only frames in use can be kept")
            }
            DescribeError::Write(error) => write!(f, "the stream cannot be written: {error}"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for DescribeError<E> {}

/// Describes all of `memory`, and returns how many bytes that took. `write` gets them, 40 at a time.
///
/// What a domain has stays, and so do frames that somebody refers to, what is reserved, withdrawn or broken.
/// Of the rest that is in use or boot-allocated, only `kept` stays, ranges in ascending order: the next
/// instance's image, what devices write to, and the memory that the stream itself is written to. Everything else
/// is free to the next instance: this one's heap, and its books.
///
/// ```
/// # use bedframe::*;
/// # use core::convert::Infallible;
/// # fn save<P: Platform>(memory: &Memory<P>, image: FrameRange) -> Result<FrameRange, Box<dyn std::error::Error>> {
/// // How large it is, with room for what the buffer itself adds.
/// let bytes = bedframe_live::describe(memory, &[image], |_| Ok::<_, Infallible>(()))? + 4096;
/// let buffer = memory.alloc(&Request::frames(bytes.div_ceil(FRAME_SIZE)).pool(Pool::Xen))?;
/// let mut kept = [image, buffer];
/// kept.sort_by_key(|range| range.start());
/// let mut at = buffer.start().address();
/// bedframe_live::describe(memory, &kept, |record| {
///     // ... to machine address `at`
///     at += record.len() as u64;
///     Ok::<_, Infallible>(())
/// })?;
/// # Ok(buffer) }
/// ```
///
/// Nobody allocates or frees meanwhile. Where somebody does, the stream may contradict itself, which
/// [`Stream::check`](crate::Stream::check) sees: call it before the point of no return.
///
/// # Errors
///
/// [`DescribeError`]: a range of `kept` that is out of order, or names a frame that is not in use, or an error
/// of `write`'s.
///
/// # Cost
///
/// [`Memory::run_at`] over all RAM, and 40 bytes for each run of frames that differs from its neighbours.
pub fn describe<P: Platform, E>(
    memory: &Memory<P>,
    kept: &[FrameRange],
    write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, DescribeError<E>> {
    check_order(kept)?;
    let mut writer = Writer { write, sum: sum::begin(), records: 0, failed: None };
    writer.put(Record::HEADER);
    each_ram(memory, |frames, node| {
        let words = [frames.start().get(), frames.frames(), 0, 0];
        writer.put(Record::new(Kind::Ram, 0, node.0, words));
    });
    memory.each_domain(|domain, _| {
        domain_record(memory, domain).into_iter().for_each(|record| writer.put(record));
    });
    memory.each_domain(|domain, _| {
        let nodes = (0..).map_while(|place| memory.preferred_node(domain, place));
        nodes.for_each(|node| {
            let words = [u64::from(node.0), 0, 0, 0];
            writer.put(Record::new(Kind::Preference, 0, domain.0, words));
        });
    });
    let mut pending = None;
    each_run(memory, kept, |run, kept| {
        let next = frames_record(run, kept)?;
        pending = match (pending, next) {
            (Some(before), Some(next)) if joins(&before, &next) => Some(joined(before, next)),
            (before, next) => {
                before.into_iter().for_each(|record: (Record, _)| writer.put(record.0));
                next
            }
        };
        Ok(())
    })?;
    pending.into_iter().for_each(|record| writer.put(record.0));
    writer.end().map_err(DescribeError::Write)
}

fn check_order<E>(kept: &[FrameRange]) -> Result<(), DescribeError<E>> {
    let mut end = Mfn::ZERO;
    for range in kept {
        if range.is_empty() || range.start() < end {
            return Err(DescribeError::Disorder { range: *range });
        }
        end = range.end();
    }
    Ok(())
}

/// Counts and sums up what is written. Behind the first error nothing is.
struct Writer<W, E> {
    write: W,
    sum: sum::Sum,
    records: u64,
    failed: Option<E>,
}

impl<E, W: FnMut(&[u8]) -> Result<(), E>> Writer<W, E> {
    fn put(&mut self, record: Record) {
        let bytes = record.bytes();
        self.sum.update(&bytes);
        self.write(&bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = (self.write)(bytes).err();
            self.records = self.records.saturating_add(1);
        }
    }

    fn end(mut self) -> Result<u64, E> {
        let records = self.records;
        let end = |sum| Record::new(Kind::End, 0, 0, [records, 0, 0, sum]).bytes();
        let bytes = end(sum::with_end(self.sum.clone(), &end(0)));
        self.write(&bytes);
        self.failed.map_or(Ok(self.records.saturating_mul(bytes.len() as u64)), Err)
    }
}

/// Calls `f` for all RAM that is in one piece on one node.
fn each_ram<P: Platform>(memory: &Memory<P>, mut f: impl FnMut(FrameRange, NodeId)) {
    let mut at = Mfn::ZERO;
    let mut before: Option<(FrameRange, NodeId)> = None;
    while at < Mfn::MAX {
        let (range, _, node) = memory.range_at(at);
        at = range.end().max(at.saturating_add(1));
        let Some(node) = node else { continue };
        before = match before {
            Some((known, on)) if known.end() == range.start() && on == node => {
                FrameRange::new(known.start(), range.end()).map(|range| (range, on))
            }
            before => {
                before.into_iter().for_each(|(range, node)| f(range, node));
                Some((range, node))
            }
        };
    }
    before.into_iter().for_each(|(range, node)| f(range, node));
}

fn domain_record<P: Platform>(memory: &Memory<P>, domain: DomainId) -> Option<Record> {
    let (counts, terms) = (memory.domain(domain)?, memory.domain_terms(domain)?);
    let scope = match terms.claims {
        Scope::Node(node) if counts.claimed > 0 => u64::from(node.0) + 1,
        Scope::Node(_) | Scope::Machine => 0,
    };
    let marks = if counts.dying { marks::DYING } else { 0 };
    let words = [counts.quota, u64::from(terms.width), counts.claimed, scope];
    Some(Record::new(Kind::Domain, marks, domain.0, words))
}

/// Calls `f` for all there is, in runs of which all is to be kept or nothing.
fn each_run<P: Platform, E>(
    memory: &Memory<P>,
    kept: &[FrameRange],
    mut f: impl FnMut(FrameRun, bool) -> Result<(), DescribeError<E>>,
) -> Result<(), DescribeError<E>> {
    let mut kept = kept.iter().copied().peekable();
    let mut at = Mfn::ZERO;
    while at < Mfn::MAX {
        while kept.next_if(|range| range.end() <= at).is_some() {}
        let mut run = memory.run_at(at);
        let next = kept.peek().copied().unwrap_or_default();
        let inside = next.contains(at);
        let edge = if inside { next.end() } else { next.start() };
        let end = if edge > at { run.frames.end().min(edge) } else { run.frames.end() };
        let end = end.max(at.saturating_add(1));
        run.frames = FrameRange::new(at, end).unwrap_or(run.frames);
        f(run, inside)?;
        at = end;
    }
    Ok(())
}

/// A record of frames, and their node: what lies on two nodes is told of twice.
type OnNode = (Record, Option<NodeId>);

fn joins(before: &OnNode, next: &OnNode) -> bool {
    let ([start, frames, references, _], [behind, _, others, _]) = (before.0.words, next.0.words);
    let alike =
        (before.0.marks, before.0.number, before.1) == (next.0.marks, next.0.number, next.1);
    alike && references == others && start.checked_add(frames) == Some(behind)
}

fn joined(before: OnNode, next: OnNode) -> OnNode {
    let ([start, frames, references, _], [_, more, ..]) = (before.0.words, next.0.words);
    let words = [start, frames.saturating_add(more), references, 0];
    (Record { words, ..before.0 }, before.1)
}

/// What is said of a run, if it is not free to the next instance.
fn frames_record<E>(run: FrameRun, kept: bool) -> Result<Option<OnNode>, DescribeError<E>> {
    let stays = kept || run.ownership.is_some() || run.references > 0;
    let not_in_use = || DescribeError::NotInUse { frame: run.frames.start(), state: run.state };
    let marks = match (run.state, run.kind) {
        (PageState::Broken | PageState::Offlined, _) if kept => return Err(not_in_use()),
        (PageState::Absent, RangeKind::Bad) | (PageState::Broken, _) => marks::BAD,
        (PageState::Absent | PageState::Reserved, RangeKind::Reserved) => marks::RESERVED,
        (PageState::Absent | PageState::Reserved, RangeKind::Releasable) => marks::RELEASABLE,
        (PageState::InUse | PageState::Uninitialised, _) if stays => marks::KEPT,
        (PageState::Offlining, _) if stays => marks::KEPT | marks::OFFLINING,
        (PageState::BrokenOfflining, _) if stays => marks::KEPT | marks::BROKEN,
        // Whoever has it is not there any more when it is asked for.
        (PageState::Offlining | PageState::Offlined, _) => marks::OFFLINED,
        (PageState::BrokenOfflining, _) => marks::BAD,
        _ if kept => return Err(not_in_use()),
        _ => return Ok(None),
    };
    let (mut all, mut number, mut references) = (marks, 0, 0);
    if marks & marks::KEPT != 0 {
        references = u64::from(run.references);
        if let Some(ownership) = run.ownership {
            number = ownership.domain.0;
            all |= marks::OWNED;
            all |= if ownership.dropped { marks::DROPPED } else { 0 };
            all |= match ownership.accounting {
                _ if ownership.lent => marks::LENT,
                bedframe::Accounting::Counted => 0,
                bedframe::Accounting::Extra => marks::EXTRA,
            };
        }
    }
    let words = [run.frames.start().get(), run.frames.frames(), references, 0];
    Ok(Some((Record::new(Kind::Frames, all, number, words), run.node)))
}
