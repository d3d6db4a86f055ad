//! Frames full of places for the tree's nodes: the one file of the window's books with `unsafe`.
//!
//! Nodes are named by machine address, and copied in and out: no reference to one ever exists.
//!
//! Obligations that the SAFETY comments refer to:
//!
//! 1. A frame that was passed to [`prepare`] or [`Nodes::keep`] is mapped, and is nobody's but this
//!    window's from then on until [`Nodes::give`] or [`Nodes::take_kept`] has returned it.
//! 2. Every address is a multiple of a node's size in such a frame: addresses come from these calls.
//! 3. The caller holds the window's lock, but for `prepare`, whose frame nobody else knows.
#![allow(unsafe_code)]

use crate::addr::{FRAME_SIZE, Mfn};
use crate::platform::Platform;

/// Four words, which mean what [`super::tree`] says. The first node of a frame is its header: the
/// next and the previous frame with free places, the first free place, and how many are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Node(pub(super) [u64; 4]);

const NODE: u64 = size_of::<Node>() as u64;
/// Places for nodes in a frame.
const PLACES: u64 = FRAME_SIZE / NODE - 1;
/// No address of a node: the header of a frame is none, and no multiple of a node's size is odd.
pub(super) const NONE: u64 = u64::MAX;

fn pointer<P: Platform>(platform: &P, address: u64) -> *mut Node {
    let frame = platform.frame_ptr(Mfn::from_address(address));
    frame.wrapping_add((address & (FRAME_SIZE - 1)) as usize).cast()
}

fn read<P: Platform>(platform: &P, address: u64) -> Node {
    // SAFETY: 1, 2. The address lies in a mapped frame, aligned, and any four words are a `Node`.
    // 3. Nobody writes it meanwhile.
    unsafe { pointer(platform, address).read() }
}

fn write<P: Platform>(platform: &P, address: u64, node: Node) {
    // SAFETY: 1, 2. The address lies in a mapped frame of ours, aligned. 3. Nobody else accesses it
    // meanwhile.
    unsafe { pointer(platform, address).write(node) };
}

/// Makes free places out of a frame, which must be mapped and is this window's from now on.
pub(super) fn prepare<P: Platform>(platform: &P, frame: Mfn) {
    let header = frame.address();
    write(platform, header, Node([NONE, NONE, header + NODE, 0]));
    for place in 1..=PLACES {
        let next = if place == PLACES { NONE } else { header + (place + 1) * NODE };
        write(platform, header + place * NODE, Node([next, 0, 0, 0]));
    }
}

/// All frames with places: those with a free one in a list.
pub(super) struct Nodes {
    /// The header of the first frame that has a free place.
    first: u64,
    free: u64,
    used: u64,
    frames: u64,
    /// The first frame that is kept because it could not be given back; each names the next.
    kept: u64,
}

impl Nodes {
    pub(super) const fn new() -> Self {
        Self { first: NONE, free: 0, used: 0, frames: 0, kept: NONE }
    }

    /// How many places are free.
    pub(super) const fn free(&self) -> u64 {
        self.free
    }

    /// How many frames there are, those included that are kept.
    pub(super) const fn frames(&self) -> u64 {
        self.frames
    }

    /// How many places are used.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// Keeps a frame that cannot be given back now.
    pub(super) fn keep<P: Platform>(&mut self, platform: &P, frame: Mfn) {
        write(platform, frame.address(), Node([self.kept, 0, 0, 0]));
        self.kept = frame.address();
        self.frames += 1;
    }

    /// One of the frames that are kept.
    pub(super) fn take_kept<P: Platform>(&mut self, platform: &P) -> Option<Mfn> {
        if self.kept == NONE {
            return None;
        }
        let frame = Mfn::from_address(self.kept);
        let Node([next, ..]) = read(platform, self.kept);
        self.kept = next;
        self.frames = self.frames.saturating_sub(1);
        Some(frame)
    }

    /// Takes in a frame that was [prepared](prepare).
    pub(super) fn adopt<P: Platform>(&mut self, platform: &P, frame: Mfn) {
        self.link(platform, frame.address());
        self.free += PLACES;
        self.frames += 1;
    }

    pub(super) fn get<P: Platform>(&self, platform: &P, place: u64) -> Node {
        read(platform, place)
    }

    pub(super) fn set<P: Platform>(&mut self, platform: &P, place: u64, node: Node) {
        write(platform, place, node);
    }

    /// Takes a free place and writes `node` there.
    pub(super) fn take<P: Platform>(&mut self, platform: &P, node: Node) -> Option<u64> {
        let header = self.first;
        if header == NONE {
            return None;
        }
        let Node([next, before, place, used]) = read(platform, header);
        let Node([rest, ..]) = read(platform, place);
        write(platform, header, Node([next, before, rest, used + 1]));
        if rest == NONE {
            self.unlink(platform, header);
        }
        self.free = self.free.saturating_sub(1);
        self.used += 1;
        write(platform, place, node);
        Some(place)
    }

    /// Gives a place back. A frame without any used place left is returned, and is no more ours.
    pub(super) fn give<P: Platform>(&mut self, platform: &P, place: u64) -> Option<Mfn> {
        let header = place & !(FRAME_SIZE - 1);
        let Node([next, before, rest, used]) = read(platform, header);
        write(platform, place, Node([rest, 0, 0, 0]));
        write(platform, header, Node([next, before, place, used.saturating_sub(1)]));
        self.free += 1;
        self.used = self.used.saturating_sub(1);
        if rest == NONE {
            self.link(platform, header);
        }
        if used > 1 {
            return None;
        }
        self.unlink(platform, header);
        self.free = self.free.saturating_sub(PLACES);
        self.frames = self.frames.saturating_sub(1);
        Some(Mfn::from_address(header))
    }

    fn link<P: Platform>(&mut self, platform: &P, header: u64) {
        let Node([_, _, place, used]) = read(platform, header);
        let next = core::mem::replace(&mut self.first, header);
        write(platform, header, Node([next, NONE, place, used]));
        if next != NONE {
            let Node([after, _, place, used]) = read(platform, next);
            write(platform, next, Node([after, header, place, used]));
        }
    }

    fn unlink<P: Platform>(&mut self, platform: &P, header: u64) {
        let Node([next, before, ..]) = read(platform, header);
        if before == NONE {
            self.first = next;
        } else {
            let Node([_, first, place, used]) = read(platform, before);
            write(platform, before, Node([next, first, place, used]));
        }
        if next != NONE {
            let Node([after, _, place, used]) = read(platform, next);
            write(platform, next, Node([after, before, place, used]));
        }
    }
}
