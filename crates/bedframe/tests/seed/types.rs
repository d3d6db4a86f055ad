//! What the compiler promises: who may hold a memory, and from when on.

use std::sync::OnceLock;

use bedframe::{
    AllocError, Claim, ClaimError, Contradiction, DomainError, FrameRange, FreeError, FreeRefusal,
    InterruptMask, MapError, Memory, Mfn, NodeId, OfflineError, OwnedFrames, OwnedWalk, OwnerError,
    PageState, PageTableError, Platform, Radix, ReferenceError, Request, Vmap, VmapContradiction,
    VmapError, WatchError, XenHeap,
};
use bedframe_hosted::{HostedMemory, HostedPlatform};

use crate::common::range;

fn send_and_sync<T: Send + Sync>() {}
fn an_error<T: core::error::Error + Send + Sync + Copy + PartialEq + 'static>() {}

/// Kernels share one memory between all CPUs and send owned frames from one to another.
#[test]
fn memory_is_shared_between_threads() {
    send_and_sync::<Memory<HostedPlatform>>();
    send_and_sync::<&'static Memory<HostedPlatform>>();
    send_and_sync::<OwnedFrames<'static, HostedPlatform>>();
    send_and_sync::<Request<'static>>();
    send_and_sync::<XenHeap>();
    send_and_sync::<Claim<'static, HostedPlatform>>();
    send_and_sync::<OwnedWalk<'static, HostedPlatform>>();
    send_and_sync::<Radix<u64>>();
    send_and_sync::<Vmap<'static, HostedPlatform, Radix<u64>>>();
}

/// Errors are values that can be compared, kept and passed on as `dyn Error`.
#[test]
fn errors_are_errors() {
    an_error::<AllocError>();
    an_error::<FreeError>();
    an_error::<MapError>();
    an_error::<Contradiction>();
    an_error::<ClaimError>();
    an_error::<WatchError>();
    an_error::<DomainError>();
    an_error::<OwnerError>();
    an_error::<ReferenceError>();
    an_error::<OfflineError>();
    an_error::<VmapError>();
    an_error::<VmapContradiction>();
    an_error::<PageTableError>();
}

/// The seed's second cure: the state that nobody has to write is that of a boot frame.
#[test]
fn uninitialised_is_the_default_state() {
    assert_eq!(PageState::default(), PageState::Uninitialised);
    assert!(PageState::Uninitialised.may_become(PageState::Free));
    assert!(!PageState::Free.may_become(PageState::Uninitialised));
}

/// The message says which frame, in which state; and whether it makes sense to wait.
#[test]
fn errors_name_frame_and_state() {
    let error = FreeError { frame: Mfn::new(0x2a), why: FreeRefusal::AlreadyFree, committed: 3 };
    let text = error.to_string();
    assert!(text.contains("0x2a") && text.contains("free already") && text.contains('3'), "{text}");
    assert_eq!(error.state(), Some(PageState::Free));
    assert!(!error.waiting_can_help());
    let whys = [
        (FreeRefusal::Hole, Some(PageState::Absent), false),
        (FreeRefusal::Reserved, Some(PageState::Reserved), false),
        (FreeRefusal::Releasable, Some(PageState::Reserved), false),
        (FreeRefusal::Metadata, Some(PageState::Metadata), false),
        (FreeRefusal::Bad, Some(PageState::Broken), false),
        (FreeRefusal::Owned, Some(PageState::InUse), false),
        (FreeRefusal::Referenced, Some(PageState::InUse), true),
        (FreeRefusal::Offlined, Some(PageState::Offlined), false),
        (FreeRefusal::NotReleasable, None, false),
        (FreeRefusal::NotMapped, None, false),
        (FreeRefusal::OutOfRange, None, false),
        (FreeRefusal::LedgerFull, None, true),
    ];
    let mut texts = vec![FreeRefusal::AlreadyFree.to_string()];
    for (why, state, waiting) in whys {
        let error = FreeError { frame: Mfn::new(1), why, committed: 0 };
        assert_eq!((error.state(), error.waiting_can_help()), (state, waiting), "{why}");
        texts.push(why.to_string());
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 13, "each refusal has words of its own: {texts:?}");
}

/// A machine that is made on first use, since a hosted one cannot be made in a constant.
struct Late;

fn late() -> &'static HostedPlatform {
    static MACHINE: OnceLock<HostedPlatform> = OnceLock::new();
    MACHINE.get_or_init(|| HostedPlatform::new(HostedMemory::new(Mfn::new(1024)).unwrap()))
}

// SAFETY: all that matters is passed on to a platform that keeps the contract.
unsafe impl Platform for Late {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        late().frame_ptr(frame)
    }

    fn frame_of(&self, address: *const u8) -> Option<Mfn> {
        late().frame_of(address)
    }

    fn mask_interrupts(&self) -> InterruptMask {
        late().mask_interrupts()
    }

    fn restore_interrupts(&self, mask: InterruptMask) {
        late().restore_interrupts(mask);
    }
}

/// A kernel holds its memory in a static, from the first usable byte on: made by a constant
/// function, with or without frame 0.
#[test]
fn memory_lies_in_a_static() {
    static MEMORY: Memory<Late> = Memory::new(Late).hand_out_frame_zero();
    // SAFETY: hosted memory, which nobody else uses.
    unsafe { MEMORY.add_ram(range(0, 1024), NodeId(0)) }.unwrap();
    let early = MEMORY.alloc(&Request::exactly(range(0, 3))).unwrap();
    MEMORY.start(1).unwrap();
    MEMORY.free(early).unwrap();
    MEMORY.validate().unwrap();
    let zero: FrameRange = MEMORY.alloc(&Request::exactly(range(0, 1))).unwrap();
    assert_eq!(zero.start(), Mfn::ZERO);
}
