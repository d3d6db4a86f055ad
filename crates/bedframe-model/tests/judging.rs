//! What the oracle says of choices that are not the model's own.

mod support;

use bedframe::{AllocError, NodeId, Nodes, Order, Pool, Request, XenHeap};
use bedframe_model::{FrameState, Illegal, World};
use support::*;

/// Two nodes, an edge between pools, a hole, and a frame that somebody has.
fn scene(started: bool) -> World {
    let limit = XenHeap::Limited { limit: mfn(90) };
    let mut world = world(limit, &[(64, 100, 0), (100, 120, 1), (121, 140, 1)]);
    let held = range(70, 71);
    world.replay_alloc(&Request::exactly(held), held).unwrap();
    if started {
        world.start(&[]).unwrap();
    }
    world
}

#[test]
fn illegal_choices_are_named_and_change_nothing() {
    for started in [false, true] {
        let mut world = scene(started);
        let before = world.clone();
        let mut judge = |request: Request<'_>, start, end| {
            let verdict = world.replay_alloc(&request, range(start, end));
            assert!(verdict.is_ok() || world == before);
            if verdict.is_ok() {
                let handed = if started { FrameState::InUse } else { FrameState::Given };
                assert_eq!(world.frame_state(mfn(start)), handed);
                world.free(range(start, end)).unwrap();
                assert_eq!(world, before);
            }
            verdict
        };
        let three = Request::frames(3);
        let got = range(80, 82);
        assert_eq!(judge(three, 80, 82), Err(Illegal::Length { asked: 3, got }));
        let misaligned = Illegal::Misaligned { start: mfn(81), alignment: 2 };
        assert_eq!(judge(three.align(2), 81, 84), Err(misaligned));
        let (got, within) = (range(80, 83), range(0, 82));
        assert_eq!(judge(three.below(mfn(82)), 80, 83), Err(Illegal::Outside { got, within }));
        let taken = Illegal::NotFree { frame: mfn(70), state: FrameState::Given };
        assert_eq!(judge(three, 69, 72), Err(taken));
        let hole = Illegal::NotFree { frame: mfn(120), state: FrameState::Hole };
        assert_eq!(judge(three, 119, 122), Err(hole));
        assert_eq!(
            judge(three.on(NodeId(0)), 100, 103),
            Err(Illegal::WrongNode { node: NodeId(1) })
        );
        let both = [NodeId(0), NodeId(1)];
        let straddles = Err(Illegal::Straddles { edge: mfn(100) });
        assert_eq!(judge(three.on(NodeId(0)), 98, 101), straddles);
        assert_eq!(judge(three.nodes(Nodes::OneOf(&both)), 98, 101), straddles);
        // Over a node edge, a zone edge and a pool edge: right at boot, wrong in the heap.
        for (start, edge) in [(98, 100), (127, 128), (88, 90)] {
            let heap = Err(Illegal::Straddles { edge: mfn(edge) });
            assert_eq!(judge(three, start, start + 3), if started { heap } else { Ok(()) });
        }
        let unmapped = judge(three.pool(Pool::Xen), 92, 95);
        let expected = if started {
            Illegal::WrongPool { asked: Pool::Xen }
        } else {
            Illegal::NotMapped { frame: mfn(92) }
        };
        assert_eq!(unmapped, Err(expected));
        assert_eq!(
            judge(Request::frames(0), 80, 80),
            Err(Illegal::Malformed(AllocError::NoFrames))
        );
        let bad = AllocError::BadAlignment { alignment: 3 };
        assert_eq!(judge(three.align(3), 81, 84), Err(Illegal::Malformed(bad)));
        assert_eq!(judge(three.pool(Pool::Xen).align(4), 80, 83), Ok(()));
    }
}

#[test]
fn refusals_are_right_only_if_nothing_would_do_and_the_reason_holds() {
    for started in [false, true] {
        let world = scene(started);
        let out = |frames| AllocError::OutOfMemory { frames, pool: Pool::Domain };
        let impossible =
            |frames, r: &Request<'_>| AllocError::Impossible { frames, within: r.within() };

        let one = Request::frames(1);
        let by = world.can_satisfy(&one).unwrap();
        for refusal in [out(1), impossible(1, &one), AllocError::LedgerFull] {
            let verdict = world.judge_refusal(&one, refusal);
            assert!(matches!(verdict, Err(Illegal::CouldBeMet { .. })), "{refusal}");
        }
        let refusal = out(1);
        assert_eq!(world.judge_refusal(&one, refusal), Err(Illegal::CouldBeMet { refusal, by }));

        // Two names for "no", both accepted; any other number, pool or reason is not.
        let large = Request::frames(100);
        for refusal in [out(100), impossible(100, &large)] {
            assert_eq!(world.judge_refusal(&large, refusal), Ok(()));
        }
        let wrong = [
            out(99),
            AllocError::OutOfMemory { frames: 100, pool: Pool::Xen },
            AllocError::NoFrames,
            AllocError::BadAlignment { alignment: 1 },
            AllocError::UnknownNode { node: NodeId(0) },
            AllocError::UnknownNode { node: NodeId(9) },
        ];
        for refusal in wrong {
            let verdict = world.judge_refusal(&large, refusal);
            assert_eq!(verdict, Err(Illegal::WrongReason { refusal }));
        }

        let nowhere = Request::frames(1).on(NodeId(9));
        let unknown = AllocError::UnknownNode { node: NodeId(9) };
        assert_eq!(world.judge_refusal(&nowhere, unknown), Ok(()));
        assert_eq!(world.judge_refusal(&nowhere, out(1)), Ok(()));
        // To prefer a node that has no memory is no reason to be refused.
        let fallback = Request::frames(1).prefer(NodeId(9));
        let verdict = world.judge_refusal(&fallback, unknown);
        assert!(matches!(verdict, Err(Illegal::CouldBeMet { .. })));

        // A request that means nothing is refused for that, and for nothing else.
        let refusal = out(0);
        let verdict = world.judge_refusal(&Request::frames(0), refusal);
        assert_eq!(verdict, Err(Illegal::WrongReason { refusal }));
        let both = Request::frames(0).align(3);
        let bad = AllocError::BadAlignment { alignment: 3 };
        assert_eq!(world.judge_refusal(&both, AllocError::NoFrames), Ok(()));
        assert_eq!(world.judge_refusal(&both, bad), Ok(()));
    }
}

#[test]
fn a_full_ledger_is_no_excuse_while_mapped_memory_is_free() {
    let limit = XenHeap::Limited { limit: mfn(90) };
    let mut world = world(limit, &[(64, 128, 0)]);
    let one = Request::frames(1);
    let by = range(64, 90);
    let refusal = AllocError::LedgerFull;
    assert_eq!(world.judge_refusal(&one, refusal), Err(Illegal::CouldBeMet { refusal, by }));
    world.replay_alloc(&Request::exactly(by), by).unwrap();
    assert_eq!(world.judge_refusal(&one, refusal), Ok(()));
    world.start(&[]).unwrap();
    let order = Request::order(Order::ZERO).pool(Pool::Xen);
    let empty = AllocError::OutOfMemory { frames: 1, pool: Pool::Xen };
    assert_eq!(world.judge_refusal(&order, empty), Ok(()));
}
