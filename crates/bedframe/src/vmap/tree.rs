//! Which ranges of the window are taken: a crit-bit tree over the first pages of mappings.
//!
//! A *leaf* is a mapping: its first page, its pages, and the hole behind it. One page behind each
//! mapping is its guard, which belongs to no hole. The first leaf is the window's first page: a
//! mapping of no pages, with a guard. So leaves and holes follow one another without a gap from the
//! start of the window to its end, and every page that is neither mapped nor a guard lies in exactly
//! one hole.
//!
//! A *fork* names a bit of the page number: all leaves to its left have it clear, those to its
//! right have it set, and in all higher bits that no fork above names they agree. Forks further
//! down name lower bits. So no path has more forks than a page number has bits, however the leaves
//! came to be, and nothing is ever rebalanced. Each fork knows the largest hole of its leaves:
//! whoever follows that number from the top finds the lowest hole that is large enough, or knows
//! that there is none.

use super::nodes::{NONE, Node, Nodes};
use super::pages::VirtualRange;
use crate::addr::Mfn;
use crate::platform::Platform;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

/// The place of the first leaf, which lies in [`Tree`] itself and so at no address.
const FIRST: u64 = NONE;
/// Bits of a page number, and so the most forks on a path: the end of a range needs one more bit
/// than its pages.
const BITS: usize = 53;

/// What is being done with a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// A call enters its pages, or takes them away.
    Busy,
    /// It stands.
    Mapped,
    /// It cannot be accessed, and keeps frames that could not be freed.
    Left,
}

/// A mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leaf {
    pub(super) start: u64,
    pub(super) pages: u64,
    pub(super) hole: u64,
    pub(super) state: State,
}

impl Leaf {
    pub(super) const fn range(&self) -> VirtualRange {
        VirtualRange::between(self.start, self.start + self.pages)
    }

    /// Where the hole behind the guard begins.
    pub(super) const fn hole_start(&self) -> u64 {
        self.start + self.pages + 1
    }

    /// Where the next leaf begins, or the window ends.
    pub(super) const fn end(&self) -> u64 {
        self.hole_start() + self.hole
    }
}

#[derive(Clone, Copy, Debug)]
struct Fork {
    bit: u64,
    children: [u64; 2],
    largest: u64,
}

impl Fork {
    const fn side(&self, key: u64) -> usize {
        (key >> (self.bit & 63) & 1) as usize
    }

    const fn child(&self, side: usize) -> u64 {
        let [left, right] = self.children;
        if side == 0 { left } else { right }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Leaf(Leaf),
    Fork(Fork),
}

impl Kind {
    /// The largest hole below.
    const fn largest(&self) -> u64 {
        match self {
            Kind::Leaf(leaf) => leaf.hole,
            Kind::Fork(fork) => fork.largest,
        }
    }

    /// First word: the bit of a fork, or a number above all bits for each state of a leaf.
    const fn pack(self) -> Node {
        match self {
            Kind::Fork(Fork { bit, children: [left, right], largest }) => {
                Node([bit, left, right, largest])
            }
            Kind::Leaf(Leaf { start, pages, hole, state }) => {
                let tag = match state {
                    State::Busy => 64,
                    State::Mapped => 65,
                    State::Left => 66,
                };
                Node([tag, start, pages, hole])
            }
        }
    }

    const fn unpack(node: Node) -> Self {
        let Node([tag, a, b, c]) = node;
        let state = match tag {
            0..64 => return Kind::Fork(Fork { bit: tag, children: [a, b], largest: c }),
            64 => State::Busy,
            65 => State::Mapped,
            _ => State::Left,
        };
        Kind::Leaf(Leaf { start: a, pages: b, hole: c, state })
    }
}

/// The forks from the top down to a leaf.
struct Path {
    forks: [u64; BITS],
    len: usize,
}

/// The tree of one window.
pub(super) struct Tree {
    first: Leaf,
    top: u64,
    pub(super) nodes: Nodes,
    mappings: u64,
    pages: u64,
}

impl Tree {
    pub(super) const fn new(window: VirtualRange) -> Self {
        let hole = window.pages().saturating_sub(1);
        let first = Leaf { start: window.start().get(), pages: 0, hole, state: State::Busy };
        Self { first, top: FIRST, nodes: Nodes::new(), mappings: 0, pages: 0 }
    }

    /// How many mappings there are.
    pub(super) const fn mappings(&self) -> u64 {
        self.mappings
    }

    /// How many pages they have.
    pub(super) const fn pages(&self) -> u64 {
        self.pages
    }

    /// Pages of the largest hole, one of which would become a guard.
    pub(super) fn largest<P: Platform>(&self, platform: &P) -> u64 {
        self.get(platform, self.top).largest()
    }

    /// The mapping that begins at or below `page` next to it; the first leaf if there is none.
    pub(super) fn at_or_below<P: Platform>(&self, platform: &P, page: u64) -> Leaf {
        self.leaf(platform, self.floor(platform, page)).unwrap_or(self.first)
    }

    pub(super) fn set_state<P: Platform>(&mut self, platform: &P, start: u64, state: State) {
        let place = self.floor(platform, start);
        if let Some(leaf) = self.leaf(platform, place)
            && leaf.start == start
        {
            self.set(platform, place, Kind::Leaf(Leaf { state, ..leaf }));
        }
    }

    /// Puts a mapping of so many pages into the lowest hole that has room for it and its guard.
    /// `None`, with nothing changed, if there is none or fewer than two places for nodes are free.
    pub(super) fn insert<P: Platform>(&mut self, platform: &P, pages: u64) -> Option<Leaf> {
        let need = pages.checked_add(1)?;
        if self.nodes.free() < 2 {
            return None;
        }
        let below = self.lowest_hole(platform, need)?;
        let before = self.leaf(platform, below)?;
        let (start, hole) = (before.hole_start(), before.hole.checked_sub(need)?);
        let leaf = Leaf { start, pages, hole, state: State::Busy };

        // Where the new leaf and those that are nearest to it by their bits part.
        let near = self.leaf(platform, self.towards(platform, start))?.start;
        let bit = u64::from((near ^ start).checked_ilog2()?);
        let mut above = None;
        let mut place = self.top;
        while let Kind::Fork(fork) = self.get(platform, place)
            && fork.bit > bit
        {
            let side = fork.side(start);
            above = Some((place, side));
            place = fork.child(side);
        }
        let new = self.nodes.take(platform, Kind::Leaf(leaf).pack())?;
        let children = if start >> (bit & 63) & 1 == 0 { [new, place] } else { [place, new] };
        let fork = Kind::Fork(Fork { bit, children, largest: 0 });
        let fork = self.nodes.take(platform, fork.pack())?;
        self.hang(platform, above, fork);
        self.set(platform, below, Kind::Leaf(Leaf { hole: 0, ..before }));
        self.recount(platform, start);
        self.recount(platform, before.start);
        self.mappings += 1;
        self.pages += pages;
        Some(leaf)
    }

    /// Takes the mapping that begins at `start` out, and joins what it leaves with the hole before.
    /// Returns frames that hold no nodes any more.
    pub(super) fn remove<P: Platform>(&mut self, platform: &P, start: u64) -> [Option<Mfn>; 2] {
        let (mut above, mut parent) = (None, None);
        let mut place = self.top;
        while let Kind::Fork(fork) = self.get(platform, place) {
            let side = fork.side(start);
            above = parent.map(|(place, side, _)| (place, side));
            parent = Some((place, side, fork.child(1 - side)));
            place = fork.child(side);
        }
        let (Some(leaf), Some((fork, _, sibling))) = (self.leaf(platform, place), parent) else {
            return [None; 2];
        };
        if leaf.start != start || place == FIRST {
            return [None; 2];
        }
        self.hang(platform, above, sibling);
        let below = self.floor(platform, start);
        if let Some(before) = self.leaf(platform, below) {
            let hole = before.hole + leaf.end().saturating_sub(leaf.start);
            self.set(platform, below, Kind::Leaf(Leaf { hole, ..before }));
            self.recount(platform, start);
            self.recount(platform, before.start);
        }
        self.mappings = self.mappings.saturating_sub(1);
        self.pages = self.pages.saturating_sub(leaf.pages);
        [self.nodes.give(platform, place), self.nodes.give(platform, fork)]
    }

    /// Whether the forks above the mapping that begins at `start` are in order, and lead to it.
    pub(super) fn is_in_order<P: Platform>(&self, platform: &P, start: u64) -> bool {
        let mut last = BITS as u64;
        let mut place = self.top;
        while let Kind::Fork(fork) = self.get(platform, place) {
            let largest = fork.children.map(|child| self.get(platform, child).largest());
            let [left, right] = largest;
            if fork.bit >= last || fork.largest != left.max(right) {
                return false;
            }
            last = fork.bit;
            place = fork.child(fork.side(start));
        }
        self.leaf(platform, place).is_some_and(|leaf| leaf.start == start)
    }

    fn get<P: Platform>(&self, platform: &P, place: u64) -> Kind {
        if place == FIRST {
            return Kind::Leaf(self.first);
        }
        Kind::unpack(self.nodes.get(platform, place))
    }

    fn set<P: Platform>(&mut self, platform: &P, place: u64, kind: Kind) {
        match kind {
            Kind::Leaf(leaf) if place == FIRST => self.first = leaf,
            kind => self.nodes.set(platform, place, kind.pack()),
        }
    }

    fn leaf<P: Platform>(&self, platform: &P, place: u64) -> Option<Leaf> {
        match self.get(platform, place) {
            Kind::Leaf(leaf) => Some(leaf),
            Kind::Fork(_) => None,
        }
    }

    /// Lets the fork `above`, on that side, or the top, lead to `place`.
    fn hang<P: Platform>(&mut self, platform: &P, above: Option<(u64, usize)>, place: u64) {
        let Some((above, side)) = above else {
            self.top = place;
            return;
        };
        if let Kind::Fork(mut fork) = self.get(platform, above) {
            if let Some(child) = fork.children.get_mut(side) {
                *child = place;
            }
            self.set(platform, above, Kind::Fork(fork));
        }
    }

    /// The leaf that the bits of `key` lead to.
    fn towards<P: Platform>(&self, platform: &P, key: u64) -> u64 {
        let mut place = self.top;
        while let Kind::Fork(fork) = self.get(platform, place) {
            place = fork.child(fork.side(key));
        }
        place
    }

    /// The last leaf at or below `place`.
    fn last<P: Platform>(&self, platform: &P, mut place: u64) -> u64 {
        while let Kind::Fork(fork) = self.get(platform, place) {
            place = fork.child(1);
        }
        place
    }

    /// The leaf with the greatest start that is not above `key`, or the first.
    fn floor<P: Platform>(&self, platform: &P, key: u64) -> u64 {
        let near = self.towards(platform, key);
        let Some(leaf) = self.leaf(platform, near) else { return FIRST };
        let Some(bit) = (leaf.start ^ key).checked_ilog2() else { return near };
        // All leaves below the place where `key` would be put lie on one side of it.
        let mut lower = FIRST;
        let mut place = self.top;
        while let Kind::Fork(fork) = self.get(platform, place)
            && fork.bit > u64::from(bit)
        {
            let side = fork.side(key);
            if side == 1 {
                lower = fork.child(0);
            }
            place = fork.child(side);
        }
        self.last(platform, if key > leaf.start { place } else { lower })
    }

    /// The lowest leaf with a hole of at least `need` pages behind it.
    fn lowest_hole<P: Platform>(&self, platform: &P, need: u64) -> Option<u64> {
        let mut place = self.top;
        if self.get(platform, place).largest() < need {
            return None;
        }
        while let Kind::Fork(fork) = self.get(platform, place) {
            let left = self.get(platform, fork.child(0)).largest();
            place = fork.child(usize::from(left < need));
        }
        Some(place)
    }

    /// Writes the largest hole anew in all forks above `key`.
    fn recount<P: Platform>(&mut self, platform: &P, key: u64) {
        let mut path = Path { forks: [NONE; BITS], len: 0 };
        let mut place = self.top;
        while let Kind::Fork(fork) = self.get(platform, place) {
            if let Some(next) = path.forks.get_mut(path.len) {
                *next = place;
                path.len += 1;
            }
            place = fork.child(fork.side(key));
        }
        for place in path.forks.iter().take(path.len).rev() {
            if let Kind::Fork(fork) = self.get(platform, *place) {
                let [left, right] = fork.children.map(|child| self.get(platform, child).largest());
                let largest = left.max(right);
                self.set(platform, *place, Kind::Fork(Fork { largest, ..fork }));
            }
        }
    }
}
