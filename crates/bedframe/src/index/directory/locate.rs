//! Where frames, chunks and nodes are found in a directory.

use super::Directory;
use crate::addr::{FrameRange, Mfn};
use crate::index::layout::{Bank, Segment};
use crate::index::place::Place;
use crate::index::span::CHUNK_SHIFT;
use crate::node::NodeId;
use crate::platform::Platform;

impl<'a, P: Platform> Directory<'a, P> {
    /// The segment that `frame` lies in; `None` in a hole.
    ///
    /// Cost: a word of the window table, and a binary search over the segments of that window: one, but for the
    /// low and the ragged ones.
    #[inline]
    pub(crate) fn locate(&self, frame: u64) -> Option<&'a Segment> {
        let first = self.first_behind(frame)?;
        let segment = if frame < first.end { first } else { self.locate_behind(frame)? };
        if frame < segment.start { None } else { Some(segment) }
    }

    /// The same if it is the first of its window, as nearly all are. Calls nothing.
    #[inline(always)]
    pub(crate) fn locate_first(&self, frame: u64) -> Option<&'a Segment> {
        let first = self.first_behind(frame)?;
        (first.start <= frame && frame < first.end).then_some(first)
    }

    /// The first segment that ends behind `frame`, of those of its window.
    #[cold]
    #[inline(never)]
    fn locate_behind(self, frame: u64) -> Option<&'a Segment> {
        let (segments, windows) = (self.segments(), self.windows());
        let first = self.header().segments.offset;
        let index = |offset: &u32| {
            (u64::from(*offset).saturating_sub(first) / size_of::<Segment>() as u64) as usize
        };
        let window = self.window(frame);
        let low = index(windows.get(window)?);
        let last = segments.len().saturating_sub(1);
        let high = windows.get(window + 1).map_or(last, index);
        let rest = segments.get(low..=high)?;
        segments.get(low + rest.partition_point(|segment| segment.end <= frame))
    }

    /// The frame of bit 0 of chunk `chunk` of a bank.
    #[inline(always)]
    pub(crate) fn chunk_base(&self, bank: &Bank, chunk: u32) -> Option<u64> {
        if bank.segments == 1 {
            return Some(bank.base.wrapping_add(u64::from(chunk) << CHUNK_SHIFT));
        }
        self.chunk_base_of_many(bank, chunk)
    }

    /// The first frame of the word at `place`, one of `bank`.
    #[inline(always)]
    pub(crate) fn first_of(&self, bank: &Bank, place: Place) -> Option<u64> {
        let base = self.chunk_base(bank, place.chunk())?;
        Some(base.wrapping_add(u64::from(place.word()) * 64))
    }

    /// [`Directory::chunk_base`] where the bank has more than one segment.
    #[inline(never)]
    fn chunk_base_of_many(self, bank: &Bank, chunk: u32) -> Option<u64> {
        Some(self.segment_of_chunk(bank, chunk)?.chunk_base(chunk))
    }

    /// The block of `2^order` frames that begins at bit `bit` of chunk `chunk` of a bank.
    #[inline]
    pub(crate) fn block(
        &self,
        bank: &Bank,
        chunk: u32,
        bit: u32,
        order: u32,
    ) -> Option<FrameRange> {
        let start = self.chunk_base(bank, chunk)? + u64::from(bit);
        FrameRange::from_len(Mfn::new(start), 1 << order)
    }

    /// The segment of bank `bank` that chunk `chunk` belongs to.
    #[inline]
    pub(crate) fn segment_of_chunk(&self, bank: &Bank, chunk: u32) -> Option<&'a Segment> {
        let list = self.segments_of(bank);
        let segments = self.segments();
        let index = if list.len() <= 1 {
            0
        } else {
            let at = |index: &u32| segments.get(*index as usize).map_or(0, |s| s.first_chunk);
            list.partition_point(|index| at(index) <= chunk).saturating_sub(1)
        };
        segments.get(*list.get(index)? as usize)
    }

    /// The indices of a bank's segments, in ascending order.
    pub(crate) fn segments_of(&self, bank: &Bank) -> &'a [u32] {
        let first = bank.first_segment as usize;
        self.by_chunk().get(first..first + bank.segments as usize).unwrap_or(&[])
    }

    /// The index of the node with this number.
    pub(crate) fn node_index(&self, id: NodeId) -> Option<u32> {
        let nodes = self.nodes();
        let index = nodes.partition_point(|node| node.id < id.0);
        nodes.get(index).filter(|node| node.id == id.0).map(|_| index as u32)
    }

    /// The banks of a node, highest zone first.
    pub(crate) fn banks_of(&self, node: u32) -> impl Iterator<Item = (u32, &'a Bank)> + use<'a, P> {
        let range = self.nodes().get(node as usize).map_or(0..0, |node| {
            let first = node.first_bank as usize;
            first..first + node.banks as usize
        });
        let banks = self.banks();
        let order = self.bank_order().get(range).unwrap_or(&[]);
        order.iter().filter_map(move |index| Some((*index, banks.get(*index as usize)?)))
    }

    /// The indices of all nodes, nearest to `node` first.
    pub(crate) fn nearest(&self, node: u32) -> &'a [u32] {
        let nodes = self.nodes().len();
        let first = node as usize * nodes;
        self.fallback().get(first..first + nodes).unwrap_or(&[])
    }
}
