//! References to frames, and the records that they are kept in.

use bedframe::{
    FrameRange, FreeError, FreeRefusal, Memory, Mfn, NodeId, Order, PageState, ReferenceError,
    Request,
};
use bedframe_hosted::{HostedMemory, HostedPlatform};

const FRAMES: u64 = 8192;

fn range(start: u64, frames: u64) -> FrameRange {
    FrameRange::from_len(Mfn::new(start), frames).unwrap()
}

/// A machine of 32 MiB full of garbage, with records, and a boot allocation of 700 frames.
fn machine() -> (Memory<HostedPlatform>, FrameRange) {
    let host = HostedMemory::new(Mfn::new(FRAMES)).unwrap();
    host.fill_garbage(range(0, FRAMES), 42).unwrap();
    let memory = Memory::new(HostedPlatform::new(host)).with_records();
    // SAFETY: the hosted machine's memory is used by nobody else.
    unsafe { memory.add_ram(range(0, FRAMES), NodeId(0)) }.unwrap();
    let early = memory.alloc(&Request::exactly(range(1000, 700))).unwrap();
    assert_eq!(memory.reference(early.start()), Err(ReferenceError::NoRecords), "not yet");
    memory.start(1).unwrap();
    (memory, early)
}

fn refused(frame: Mfn, why: FreeRefusal) -> Result<(), FreeError> {
    Err(FreeError { frame, why, committed: 0 })
}

/// A referenced frame is not freed, alone or in a range; nothing of the range is.
#[test]
fn a_referenced_frame_makes_a_range_mixed() {
    let (memory, early) = machine();
    for order in [0, 3, 6, 7, 9, 10] {
        let block = memory.alloc(&Request::order(Order::new(order).unwrap())).unwrap();
        let frame = Mfn::new(block.end().get() - 1);
        memory.reference(frame).unwrap();
        memory.reference(frame).unwrap();
        let before = memory.statistics();
        assert_eq!(memory.free(block), refused(frame, FreeRefusal::Referenced), "order {order}");
        assert!(memory.free(block).unwrap_err().waiting_can_help());
        assert_eq!(memory.statistics(), before);
        memory.validate().unwrap();
        memory.unreference(frame).unwrap();
        assert_eq!(memory.references(frame), 1);
        assert_eq!(memory.free(block), refused(frame, FreeRefusal::Referenced));
        memory.unreference(frame).unwrap();
        assert_eq!(memory.unreference(frame), Err(ReferenceError::NotReferenced { frame }));
        memory.free(block).unwrap();
        memory.validate().unwrap();
    }
    memory.free(early).unwrap();
    memory.validate().unwrap();
    assert_eq!(memory.platform().misuse_count(), 0, "a reference is no misuse of the freeing call");
}

/// Of several reasons to refuse a range, the error names the lowest frame's.
#[test]
fn the_lowest_frame_is_named() {
    let (memory, early) = machine();
    let (first, last) = (early.start(), Mfn::new(early.end().get() - 1));
    memory.reference(Mfn::new(1500)).unwrap();
    memory.free(range(1600, 1)).unwrap();
    assert_eq!(memory.free(early), refused(Mfn::new(1500), FreeRefusal::Referenced));
    memory.free(range(1400, 1)).unwrap();
    assert_eq!(memory.free(early), refused(Mfn::new(1400), FreeRefusal::AlreadyFree));
    memory.reference(first).unwrap();
    assert_eq!(memory.free(early), refused(first, FreeRefusal::Referenced));
    memory.free(FrameRange::single(last)).unwrap();
    memory.validate().unwrap();
}

/// A reference adopts a boot frame: uninitialised becomes in use, and its neighbours stay what
/// they were.
#[test]
fn a_reference_adopts_a_boot_frame() {
    let (memory, early) = machine();
    let frame = Mfn::new(1300);
    assert_eq!(memory.state(frame), PageState::Uninitialised);
    memory.reference(frame).unwrap();
    assert_eq!(memory.state(frame), PageState::InUse);
    assert_eq!(memory.state(Mfn::new(1301)), PageState::Uninitialised);
    let counts = memory.statistics();
    assert_eq!((counts.in_use, counts.uninitialised), (1, 699));
    memory.validate().unwrap();
    memory.unreference(frame).unwrap();
    memory.free(early).unwrap();
    memory.validate().unwrap();
    assert_eq!(memory.statistics().uninitialised, 0);
}

/// Frames that are free, reserved, metadata or no RAM have no references to take.
#[test]
fn only_frames_in_use_are_referred_to() {
    let (memory, _) = machine();
    let mut metadata = Mfn::ZERO;
    while memory.state(metadata) != PageState::Metadata {
        metadata = metadata.saturating_add(1);
    }
    for (frame, state) in [
        (Mfn::new(5), PageState::Free),
        (Mfn::ZERO, PageState::Reserved),
        (metadata, PageState::Metadata),
        (Mfn::new(FRAMES), PageState::Absent),
        (Mfn::MAX, PageState::Absent),
    ] {
        let refused = ReferenceError::NotInUse { frame, state };
        assert_eq!(memory.reference(frame), Err(refused));
        assert_eq!(memory.references(frame), 0);
        assert_eq!(memory.unreference(frame), Err(ReferenceError::NotReferenced { frame }));
    }
}

/// Without records there are no references, and no memory is spent on them.
#[test]
fn records_are_only_there_if_asked_for() {
    let host = HostedMemory::new(Mfn::new(FRAMES)).unwrap();
    let memory = Memory::new(HostedPlatform::new(host));
    // SAFETY: the hosted machine's memory is used by nobody else.
    unsafe { memory.add_ram(range(0, FRAMES), NodeId(0)) }.unwrap();
    memory.start(1).unwrap();
    let frame = memory.alloc(&Request::frames(1)).unwrap().start();
    assert_eq!(memory.reference(frame), Err(ReferenceError::NoRecords));
    let (with, _) = machine();
    let (less, more) = (memory.statistics().metadata, with.statistics().metadata);
    assert!(less < 4 && more > FRAMES * 4 / 4096, "{less} and {more} frames");
}
