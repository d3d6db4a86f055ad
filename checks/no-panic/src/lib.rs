//! Every public call of Bedframe, and of live hand-over, with inputs that the compiler cannot foresee.
#![no_std]

mod claims;
mod life;
mod live;
mod machine;
mod owners;
mod vmap;

use core::fmt::Write;

use machine::{HIGH, LOW, Machine};

use bedframe::{
    AllocError, CpuId, Direction, FrameRange, FreeError, FreeRefusal, InterruptMask, MapError, Mfn,
    NodeId, Nodes, Order, PageState, Platform, Pool, Request, Unscrubbed, XenHeap, Zone,
};

/// `value`, in a way that no optimiser sees through.
#[inline(never)]
pub fn opaque<T: Copy>(value: T) -> T {
    // SAFETY: a reference is valid to read from, and the type is Copy.
    unsafe { (&raw const value).read_volatile() }
}

/// Takes text and keeps how much it was.
struct Sink(usize);

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0 = self.0.wrapping_add(text.len());
        Ok(())
    }
}

/// Where an answer was not the right one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// The file.
    pub file: &'static str,
    /// The line.
    pub line: u32,
}

/// Goes on if the condition holds.
macro_rules! check {
    ($condition:expr) => {
        if !$condition {
            return Err($crate::Wrong { file: file!(), line: line!() });
        }
    };
}
/// The value of an `Ok` or `Some`.
macro_rules! get {
    ($result:expr) => {
        match $result.into_iter().next() {
            Some(value) => value,
            None => return Err($crate::Wrong { file: file!(), line: line!() }),
        }
    };
}
use {check, get};

/// Makes all calls.
///
/// # Errors
///
/// Says where the first answer is that is not the right one.
pub fn every_call() -> Result<(), Wrong> {
    words()?;
    texts()?;
    platform()?;
    life::every_variant()?;
    live::hand_over()
}

fn words() -> Result<(), Wrong> {
    let frame = Mfn::new(opaque(5));
    let range = FrameRange::from_len(frame, opaque(8)).unwrap_or_default();
    let other = FrameRange::new(opaque(Mfn::ZERO), frame.saturating_add(opaque(1)));
    let other = other.unwrap_or_default();
    let zone = Zone::new(opaque(3)).unwrap_or(Zone::MIN);
    let order = Order::covering(opaque(5)).unwrap_or_default();
    let request = Request::order(order)
        .nodes(opaque(Nodes::Any))
        .on(NodeId(opaque(1)))
        .prefer(NodeId(opaque(1)))
        .align(opaque(0))
        .width(opaque(40))
        .below(opaque(Mfn::MAX))
        .zones(zone, opaque(Zone::MAX))
        .inside(opaque(FrameRange::ALL))
        .pool(opaque(Pool::Xen))
        .direction(opaque(Direction::BottomUp))
        .clean();
    let mut all = 0;
    for frame in range.iter() {
        all += frame.get() + u64::from(Zone::of(frame).get());
    }
    check!(order.frames() == 8);
    check!(order.get() == 3);
    check!(Order::new(opaque(52)).is_none());
    check!(zone.frames().overlaps(range));
    check!(zone.frames().intersect(range).frames() == 3);
    check!(all == 68 + 3 * 3 + 5 * 4);
    check!(range.contains(frame));
    check!(!range.is_empty());
    check!(!range.covers(other));
    check!(range.end() > range.start());
    check!(FrameRange::single(frame).frames() == 1);
    check!(FrameRange::inside_bytes(opaque(1), opaque(0x3fff)).frames() == 2);
    check!(FrameRange::around_bytes(opaque(u64::MAX), opaque(0)).is_empty());
    check!(Mfn::from_address(frame.address()) == frame);
    check!(request.length() == 8);
    check!(request.alignment() == 0);
    check!(request.within().start() == Mfn::new(4));
    check!(request.within().end() == Mfn::from_address(1 << 40));
    check!(request.heap() == Pool::Xen);
    check!(request.wants_clean());
    check!(request.search_direction() == Direction::BottomUp);
    check!(request.allowed_nodes() == Nodes::Prefer(NodeId(1)));
    check!(Request::exactly(range).length() == 8);
    check!(opaque(PageState::Uninitialised).may_become(opaque(PageState::Free)));
    check!(CpuId(opaque(1)) > CpuId::default());
    check!(InterruptMask(opaque(1)) != InterruptMask::default());
    Ok(())
}

fn texts() -> Result<(), Wrong> {
    let frame = Mfn::new(opaque(5));
    let range = FrameRange::single(frame);
    let free = FreeError { frame, why: opaque(FreeRefusal::Hole), committed: opaque(3) };
    let alloc = opaque(AllocError::Impossible { frames: 1, within: range });
    let map = opaque(MapError::InUse { frame, state: PageState::Free });
    let mut sink = Sink(0);
    let written = write!(sink, "{frame} {range} {free} {alloc} {map} {}", opaque(Zone::MAX))
        .and_then(|()| write!(sink, "{frame:?} {range:?} {}", opaque(NodeId(7))))
        .and_then(|()| write!(sink, "{} {}", opaque(Pool::Xen), opaque(Order::MAX)));
    check!(written.is_ok());
    check!(sink.0 > 100);
    check!(free.state() == Some(PageState::Absent));
    check!(map.waiting_can_help());
    check!(!free.waiting_can_help());
    check!(!alloc.waiting_can_help());
    Ok(())
}

fn platform() -> Result<(), Wrong> {
    let machine = Machine;
    let mask = machine.mask_interrupts();
    machine.restore_interrupts(mask);
    machine.pause();
    let error = FreeError { frame: Mfn::ZERO, why: opaque(FreeRefusal::Bad), committed: 0 };
    machine.misuse(&error);
    let last = Mfn::new(opaque(HIGH.end().get() - 1));
    // SAFETY: the frame is mapped, and nothing lives there yet.
    unsafe {
        check!(machine.scrub(last, opaque(true), opaque(7)).is_ok());
        check!(machine.holds_pattern(last, opaque(true), 7));
        check!(machine.scrub(last, opaque(false), 7) == Err(Unscrubbed::Unreachable));
    }
    machine.written_while_free(last);
    machine.flush_cache(FrameRange::single(last));
    let variants = [
        XenHeap::Unified,
        XenHeap::Limited { limit: LOW.end() },
        XenHeap::Separate { range: HIGH },
    ];
    check!(machine.cpu() == CpuId(0));
    check!(machine.node() == NodeId(0));
    check!(machine.distance(NodeId(opaque(0)), NodeId(1)) == 20);
    check!(machine.frame_of(machine.frame_ptr(last)) == Some(last));
    check!(machine.frame_of(core::ptr::null()).is_none());
    check!(variants.map(|variant| opaque(variant).mapped().contains(last)) == [true, false, true]);
    Ok(())
}
