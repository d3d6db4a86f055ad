//! Allocations that cannot be: each error by its name, before and after hand-over, with nothing
//! changed.

use bedframe::{AllocError, FrameRange, NodeId, Nodes, Order, Pool, Request, Zone};

use crate::common::{Heap, World, mfn, order, range};
use crate::in_all_variants;

in_all_variants! {
    /// Every way in which a request can be wrong or unlucky, and whether waiting can help.
    fn every_refusal_has_its_name(heap) {
        for started in [false, true] {
            let world = World::small(heap);
            if started {
                world.start();
            }
            let before = world.check();
            let refusal = |request: Request<'_>| {
                let error = world.memory.alloc(&request).unwrap_err();
                assert!(!error.to_string().is_empty());
                error
            };
            let unknown = |node| AllocError::UnknownNode { node: NodeId(node) };
            let impossible = |request: Request<'_>| {
                AllocError::Impossible { frames: request.length(), within: request.within() }
            };
            assert_eq!(refusal(Request::frames(0)), AllocError::NoFrames);
            for alignment in [0, 3, 6, u64::MAX] {
                let refused = refusal(Request::frames(1).align(alignment));
                assert_eq!(refused, AllocError::BadAlignment { alignment });
            }
            assert_eq!(refusal(Request::frames(1).on(NodeId(7))), unknown(7));
            let set = [NodeId(8), NodeId(7)];
            assert_eq!(refusal(Request::frames(1).nodes(Nodes::OneOf(&set))), unknown(8));
            for request in [
                Request::frames(1).width(11),
                Request::frames(1).below(mfn(0)),
                Request::exactly(range(700, 720)),
                Request::exactly(range(9000, 9001)),
                Request::frames(11).inside(range(2100, 2110)),
                Request::frames(1).on(NodeId(2)).below(mfn(2600)),
                Request::frames(1).zones(Zone::MAX, Zone::MAX),
                Request::frames(1).zones(Zone::new(9).unwrap(), Zone::new(8).unwrap()),
                Request::order(Order::MAX).width(40),
                Request::frames(1).align(1 << 40).inside(range(1, 4400)),
                Request::frames(u64::MAX),
                Request::frames(u64::MAX).align(1 << 63),
            ] {
                assert_eq!(refusal(request), impossible(request), "started: {started}");
                assert!(!impossible(request).waiting_can_help());
            }
            if heap != Heap::Unified {
                let request = Request::frames(1).inside(range(2601, 4400)).pool(Pool::Xen);
                assert_eq!(refusal(request), impossible(request), "no memory of that heap");
            }
            world.check().assert_same_as(&before, "refused");
            // What fits once does not fit twice.
            let request = Request::frames(40).inside(range(2200, 2240));
            let found = world.memory.alloc(&request).unwrap();
            let before = world.check();
            let full = AllocError::OutOfMemory { frames: 40, pool: Pool::Domain };
            assert_eq!(refusal(request), full);
            let one = Request::frames(1).inside(range(2210, 2211));
            let none = AllocError::OutOfMemory { frames: 1, pool: Pool::Domain };
            assert_eq!(refusal(one), none);
            assert!(full.waiting_can_help());
            world.check().assert_same_as(&before, "refused");
            world.free(found);
            assert_eq!(world.memory.alloc(&request), Ok(found), "waiting has helped");
            assert_eq!(world.machine.misuse_count(), 0, "no misuse of memory");
        }
    }

    /// An empty set of nodes allows nothing; a set with one known node is not unknown.
    fn sets_of_nodes_may_name_strangers(heap) {
        for started in [false, true] {
            let world = World::small(heap);
            if started {
                world.start();
            }
            let none = Request::frames(1).nodes(Nodes::OneOf(&[]));
            assert!(world.memory.alloc(&none).is_err());
            let set = [NodeId(9), NodeId(2)];
            let found = world.memory.alloc(&Request::frames(1).nodes(Nodes::OneOf(&set))).unwrap();
            assert_eq!(world.key(found.start()).unwrap().0, NodeId(2));
            world.free(found);
            world.check_all_free();
        }
    }

    /// Before any RAM is known everything is refused, and nothing panics.
    fn an_empty_memory_refuses_everything(heap) {
        let world = World::empty(World::small_heap(heap), mfn(64), false);
        let error = world.memory.alloc(&Request::frames(1)).unwrap_err();
        assert!(matches!(error, AllocError::Impossible { .. }), "{error}");
        assert!(world.memory.alloc_xen_heap(order(0)).is_err());
        for part in [range(0, 1), FrameRange::ALL] {
            assert!(world.memory.free(part).is_err());
            assert!(world.memory.release(part).is_err());
        }
        assert_eq!(world.memory.statistics(), Default::default());
        assert_eq!(world.memory.validate(), Ok(()));
        assert_eq!(world.memory.free_memory(None, None).largest(), None);
    }
}
