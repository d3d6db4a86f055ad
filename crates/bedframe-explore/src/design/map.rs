//! The machine of the design's worlds: sixteen frames in which every edge is near.

/// Frames of the machine.
pub const FRAMES: usize = 16;

/// The largest order that a block can have here.
pub const MAX_ORDER: u8 = 4;

/// What firmware and linker say of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// RAM, free when the machine starts.
    Open,
    /// RAM that holds the kernel's text.
    Kernel,
    /// RAM that holds an initrd, given back late.
    Initrd,
    /// No RAM.
    Hole,
}

/// What is at `frame`.
#[must_use]
pub const fn kind(frame: u8) -> Kind {
    match frame {
        11 => Kind::Kernel,
        12 => Kind::Initrd,
        14 => Kind::Hole,
        0..16 => Kind::Open,
        _ => Kind::Hole,
    }
}

/// The node of a frame: its edge lies between two buddies.
#[must_use]
pub const fn node(frame: u8) -> u8 {
    if frame < 10 { 0 } else { 1 }
}

/// The zone of a frame: the bit length of its number.
#[must_use]
pub const fn zone(frame: u8) -> u8 {
    (u8::BITS - frame.leading_zeros()) as u8
}

/// One past the last frame of a separate Xen heap, which begins at frame 0. Between two buddies as well.
pub const XEN_END: u8 = 6;

/// What the frames of one block must have in common: node, zone, and where there are two heaps the heap.
#[must_use]
pub const fn segment(frame: u8, separate: bool) -> (u8, u8, bool) {
    (node(frame), zone(frame), separate && frame < XEN_END)
}
