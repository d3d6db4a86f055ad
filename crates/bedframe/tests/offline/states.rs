//! Every state, withdrawn, broken and let back.

use bedframe::{FrameRange, FreeRefusal, OfflineError, Order, PageState, Request, Withdrawal};

use super::{EARLY, FRAMES, MODULE, drain, frame, frames, machine};

/// X e94d4918b5: an inverted check made the answer wrong. What each state answers, and that a refusal
/// changes nothing.
#[test]
fn every_state_answers() {
    use PageState::*;
    let memory = machine();
    let used = memory.alloc(&Request::exactly(frames(500, 1))).unwrap().start();
    let pending = memory.alloc(&Request::exactly(frames(501, 1))).unwrap().start();
    let failing = memory.alloc(&Request::exactly(frames(502, 1))).unwrap().start();
    assert_eq!(memory.offline(pending), Ok(Withdrawal::Pending));
    assert_eq!(memory.mark_broken(failing), Ok(Withdrawal::Pending));
    assert_eq!(memory.offline(frame(503)), Ok(Withdrawal::Done));
    assert_eq!(memory.mark_broken(frame(504)), Ok(Withdrawal::Done));
    let metadata = (0..FRAMES).map(frame).find(|f| memory.state(*f) == Metadata).unwrap();
    // The frame, its state, and what offline, mark_broken and online make of it.
    let table = [
        (frame(FRAMES), Absent, None, None, None),
        (frame(u64::MAX), Absent, None, None, None),
        (frame(MODULE), Reserved, None, None, None),
        (frame(MODULE + 50), Reserved, None, None, None),
        (frame(MODULE + 100), Broken, None, None, None),
        (metadata, Metadata, None, None, None),
        (frame(EARLY), Uninitialised, Some(Offlining), Some(BrokenOfflining), None),
        (frame(505), Free, Some(Offlined), Some(Broken), None),
        (used, InUse, Some(Offlining), Some(BrokenOfflining), None),
        (pending, Offlining, None, Some(BrokenOfflining), Some(InUse)),
        (failing, BrokenOfflining, None, None, None),
        (frame(503), Offlined, None, Some(Broken), Some(Free)),
        (frame(504), Broken, None, None, None),
    ];
    for (at, state, offline, broken, online) in table {
        assert_eq!(memory.state(at), state, "{at}");
        for (call, becomes) in [("offline", offline), ("mark_broken", broken), ("online", online)] {
            // Each on a machine of its own, so that one answer does not change the next.
            let memory = machine();
            for number in 500..503 {
                memory.alloc(&Request::exactly(frames(number, 1))).unwrap();
            }
            memory.offline(pending).unwrap();
            memory.mark_broken(failing).unwrap();
            memory.offline(frame(503)).unwrap();
            memory.mark_broken(frame(504)).unwrap();
            let before = memory.statistics();
            let result = match call {
                "offline" => memory.offline(at).map(Some),
                "mark_broken" => memory.mark_broken(at).map(Some),
                _ => memory.online(at).map(|()| None),
            };
            match becomes {
                None => {
                    assert_eq!(
                        result,
                        Err(OfflineError::State { frame: at, state }),
                        "{call} {at}"
                    );
                    assert_eq!(memory.statistics(), before);
                    assert_eq!(memory.state(at), state);
                }
                Some(next) => {
                    let done = matches!(next, Offlined | Broken);
                    let told = if done { Withdrawal::Done } else { Withdrawal::Pending };
                    let expected = if call == "online" { None } else { Some(told) };
                    assert_eq!(result, Ok(expected), "{call} {at}");
                    assert_eq!(memory.state(at), next, "{call} {at}");
                    let reached = PageState::ALL.into_iter().any(|between| {
                        state.may_become(next)
                            || state.may_become(between) && between.may_become(next)
                            || PageState::ALL.into_iter().any(|second| {
                                state.may_become(between)
                                    && between.may_become(second)
                                    && second.may_become(next)
                            })
                    });
                    assert!(reached, "{state:?} may not become {next:?}");
                }
            }
            memory.validate().unwrap();
        }
    }
}

/// X 289610483f: a frame that was to be withdrawn was reused after its free.
#[test]
fn a_frame_in_use_is_withdrawn_when_it_is_freed() {
    let memory = machine();
    for order in [0, 3, 6, 8, 9, 10] {
        let block = memory.alloc(&Request::order(Order::new(order).unwrap())).unwrap();
        let at = block.end().get() - 1;
        let before = memory.statistics();
        assert_eq!(memory.offline(frame(at)), Ok(Withdrawal::Pending));
        assert_eq!(memory.statistics().offlining, before.offlining + 1);
        assert_eq!(memory.statistics().in_use, before.in_use - 1);
        memory.validate().unwrap();
        memory.free(block).unwrap();
        memory.validate().unwrap();
        assert_eq!(memory.state(frame(at)), PageState::Offlined, "order {order}");
        assert!(!drain(&memory).contains(&frame(at)));
        let error = memory.free(FrameRange::single(frame(at))).unwrap_err();
        assert_eq!((error.frame, error.why), (frame(at), FreeRefusal::Offlined));
        let again = memory.free(block).unwrap_err();
        assert_eq!(again.committed, 0);
    }
}

/// A boot frame that is to be withdrawn is remembered as one: called back it is still Uninitialised,
/// freed it never enters the heap, and online again it is an ordinary free frame.
#[test]
fn a_boot_frame_is_withdrawn_when_it_is_freed() {
    let memory = machine();
    let at = frame(EARLY + 3);
    memory.offline(at).unwrap();
    assert_eq!(memory.state(at), PageState::Offlining);
    memory.online(at).unwrap();
    assert_eq!(memory.state(at), PageState::Uninitialised);
    memory.offline(at).unwrap();
    let before = memory.statistics();
    assert_eq!((before.offlining, before.uninitialised), (1, 99));
    memory.free(frames(EARLY, 100)).unwrap();
    assert_eq!(memory.state(at), PageState::Offlined);
    assert_eq!(memory.statistics().offlined, 1);
    memory.validate().unwrap();
    assert!(!drain(&memory).contains(&at));
    memory.online(at).unwrap();
    assert_eq!(memory.state(at), PageState::Free);
    memory.validate().unwrap();
    assert!(drain(&memory).contains(&at));
    assert_eq!(memory.statistics().offlined, 0);
}

/// A frame that is referred to is not withdrawn before its last reference is gone and it is freed.
#[test]
fn references_and_withdrawal() {
    let memory = machine();
    let at = memory.alloc(&Request::frames(1)).unwrap().start();
    memory.reference(at).unwrap();
    memory.offline(at).unwrap();
    assert_eq!(memory.references(at), 1, "the state changes alone");
    let why = memory.free(FrameRange::single(at)).unwrap_err().why;
    assert_eq!(why, FreeRefusal::Referenced);
    assert_eq!(memory.state(at), PageState::Offlining);
    memory.unreference(at).unwrap();
    assert_eq!(memory.state(at), PageState::Offlining);
    memory.free(FrameRange::single(at)).unwrap();
    assert_eq!(memory.state(at), PageState::Offlined);
    memory.reference(at).unwrap_err();
    memory.validate().unwrap();
}

/// A frame that breaks while it is withdrawn stays so.
#[test]
fn a_withdrawn_frame_may_break() {
    let memory = machine();
    memory.offline(frame(600)).unwrap();
    memory.mark_broken(frame(600)).unwrap();
    assert_eq!(memory.state(frame(600)), PageState::Broken);
    memory.online(frame(600)).unwrap_err();
    let why = memory.free(frames(600, 1)).unwrap_err().why;
    assert_eq!(why, FreeRefusal::Bad);
    assert_eq!(memory.statistics().bad, 2);
    assert!(!drain(&memory).contains(&frame(600)));
}

/// The release of a module in which nothing is withdrawn works as ever, and what came in can be.
#[test]
fn released_frames_can_be_withdrawn() {
    let memory = machine();
    assert_eq!(memory.release(frames(MODULE, 50)), Ok(50));
    for number in MODULE..MODULE + 50 {
        assert_eq!(memory.offline(frame(number)), Ok(Withdrawal::Done));
    }
    memory.validate().unwrap();
    assert_eq!(memory.statistics().offlined, 50);
    for number in MODULE..MODULE + 50 {
        memory.online(frame(number)).unwrap();
    }
    memory.validate().unwrap();
    assert_eq!(memory.statistics().offlined, 0);
}

/// Without records, and before hand-over, the call says so.
#[test]
fn without_records() {
    let (memory, plain) = (super::unstarted(true), super::unstarted(false));
    assert_eq!(memory.offline(frame(100)), Err(OfflineError::NoRecords));
    memory.start(1).unwrap();
    assert_eq!(memory.offline(frame(100)), Ok(Withdrawal::Done));
    plain.start(1).unwrap();
    assert_eq!(plain.offline(frame(100)), Err(OfflineError::NoRecords));
    assert_eq!(plain.online(frame(100)), Err(OfflineError::NoRecords));
    plain.validate().unwrap();
}

/// Memory that is plugged in unmapped has its index in the heap's: those frames are the heap's no more,
/// and cannot be withdrawn as if somebody could give them back.
#[test]
fn metadata_that_came_from_the_heap_stays() {
    use bedframe::{Memory, NodeId, XenHeap};
    use bedframe_hosted::{HostedMemory, HostedPlatform};
    let host = HostedMemory::new(frame(FRAMES)).unwrap();
    let mapped = XenHeap::Limited { limit: frame(4096) };
    let platform = HostedPlatform::new(host).with_mapped(mapped.mapped());
    let memory = Memory::new(platform).with_records();
    memory.set_xen_heap(mapped).unwrap();
    // SAFETY: the hosted machine's memory is used by nobody else.
    unsafe { memory.add_ram(frames(1, 4000), NodeId(0)) }.unwrap();
    memory.start(1).unwrap();
    let before: Vec<_> = metadata(&memory);
    // SAFETY: as above.
    unsafe { memory.add_ram(frames(5000, 3000), NodeId(0)) }.unwrap();
    let fresh: Vec<_> = metadata(&memory).into_iter().filter(|f| !before.contains(f)).collect();
    assert!(!fresh.is_empty() && fresh.iter().all(|frame| frame.get() < 4096));
    for frame in fresh {
        let refused = OfflineError::State { frame, state: PageState::Metadata };
        assert_eq!(memory.offline(frame), Err(refused));
        assert_eq!(memory.mark_broken(frame), Err(refused));
    }
    memory.validate().unwrap();

    fn metadata(memory: &Memory<HostedPlatform>) -> Vec<bedframe::Mfn> {
        (0..FRAMES).map(frame).filter(|f| memory.state(*f) == PageState::Metadata).collect()
    }
}
