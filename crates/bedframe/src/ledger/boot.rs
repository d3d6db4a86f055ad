//! The boot allocator: ranges of any length, found by walking the ledger.
//!
//! Cost: one walk over the steps of the ledger, no memory touched but theirs.

use super::{Attr, Kind, Ledger};
use crate::addr::{FrameRange, Mfn};
use crate::node::NodeId;
use crate::platform::Platform;
use crate::request::{Direction, Nodes, Request};

/// Whether a walk takes memory of a node into account.
#[derive(Clone, Copy)]
enum Wanted {
    Every,
    One(NodeId),
}

impl Wanted {
    fn allows(self, attr: Attr) -> bool {
        attr.is_boot_free()
            && match self {
                Wanted::Every => true,
                Wanted::One(node) => attr.node() == node,
            }
    }
}

impl Ledger {
    /// The free range that the boot allocator hands out for `request`, whose limits are narrowed
    /// to `within`. Nothing is taken yet.
    ///
    /// Where a node is preferred, nodes come by distance, as in the heap; then everything at once,
    /// where one range may lie on several nodes. Where none is, direction alone decides.
    pub(crate) fn find_boot<P: Platform>(
        &self,
        platform: &P,
        request: &Request<'_>,
        within: FrameRange,
    ) -> Option<FrameRange> {
        let find = |wanted| self.find_run(platform, request, within, wanted);
        let from = match request.allowed_nodes() {
            Nodes::Any => return find(Wanted::Every),
            Nodes::Prefer(node) => node,
            Nodes::Exact(node) => return find(Wanted::One(node)),
            Nodes::OneOf(nodes) => {
                return nodes.iter().find_map(|node| find(Wanted::One(*node)));
            }
        };
        // Without a table of nodes the next is found by a walk; machines at boot have few.
        let mut last = None;
        while let Some(next) = self.next_nearest(platform, within, from, last) {
            if let Some(found) = find(Wanted::One(NodeId(next.1))) {
                return Some(found);
            }
            last = Some(next);
        }
        find(Wanted::Every)
    }

    /// The distance and number of the nearest node with free memory in `within` that comes behind
    /// `last`.
    fn next_nearest<P: Platform>(
        &self,
        platform: &P,
        within: FrameRange,
        from: NodeId,
        last: Option<(u32, u32)>,
    ) -> Option<(u32, u32)> {
        let mut nearest = None;
        let mut before = None;
        for (_, attr) in self.boot_free(platform, within) {
            // Pieces of a node come in a row, mostly: ask for its distance once.
            if before == Some(attr.node()) {
                continue;
            }
            before = Some(attr.node());
            let key = (platform.distance(from, attr.node()), attr.node().0);
            if last.is_none_or(|last| key > last) && nearest.is_none_or(|best| key < best) {
                nearest = Some(key);
            }
        }
        nearest
    }

    fn find_run<P: Platform>(
        &self,
        platform: &P,
        request: &Request<'_>,
        within: FrameRange,
        wanted: Wanted,
    ) -> Option<FrameRange> {
        let mut found = None;
        let mut run = FrameRange::EMPTY;
        let closing = (FrameRange::EMPTY, Attr::HOLE);
        for (piece, attr) in self.pieces(platform, within).chain(core::iter::once(closing)) {
            if wanted.allows(attr) {
                let touches = !run.is_empty() && run.end() == piece.start();
                let start = if touches { run.start() } else { piece.start() };
                run = FrameRange::new(start, piece.end()).unwrap_or(piece);
                continue;
            }
            if let Some(block) = place(run, request) {
                match request.search_direction() {
                    Direction::BottomUp => return Some(block),
                    Direction::TopDown => found = Some(block),
                }
            }
            run = FrameRange::EMPTY;
        }
        found
    }

    /// Whether any frame of RAM in `within` lies on a node that `nodes` allows.
    pub(crate) fn has_ram<P: Platform>(
        &self,
        platform: &P,
        nodes: Nodes<'_>,
        within: FrameRange,
    ) -> bool {
        self.pieces(platform, within).any(|(_, attr)| {
            attr.is_ram()
                && match nodes {
                    Nodes::Any | Nodes::Prefer(_) => true,
                    Nodes::Exact(node) => attr.node() == node,
                    Nodes::OneOf(nodes) => nodes.contains(&attr.node()),
                }
        })
    }

    /// Every piece of RAM below `within` that the boot allocator could hand out.
    pub(crate) fn boot_free<'a, P: Platform>(
        &'a self,
        platform: &'a P,
        within: FrameRange,
    ) -> impl Iterator<Item = (FrameRange, Attr)> + 'a {
        self.pieces(platform, within).filter(|(_, attr)| attr.is_boot_free())
    }

    /// Marks a range that [`Ledger::find_boot`] found as handed out.
    pub(crate) fn give<P: Platform>(
        &mut self,
        platform: &P,
        mapped: FrameRange,
        range: FrameRange,
    ) -> Result<(), super::Full> {
        self.set(platform, mapped, range, |attr| attr.with_kind(Kind::Given))
    }
}

/// Where in `run` the block goes that `request` asks for.
fn place(run: FrameRange, request: &Request<'_>) -> Option<FrameRange> {
    let (length, mask) = (request.length(), request.alignment().wrapping_sub(1));
    let start = match request.search_direction() {
        Direction::BottomUp => run.start().get().checked_add(mask)? & !mask,
        Direction::TopDown => run.end().get().checked_sub(length)? & !mask,
    };
    let block = FrameRange::from_len(Mfn::new(start), length)?;
    if block.is_empty() || !run.covers(block) { None } else { Some(block) }
}
