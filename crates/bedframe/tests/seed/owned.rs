//! Frames that free themselves.

use bedframe::{PageState, Request};

use crate::common::{World, mfn, order};
use crate::in_all_variants;

in_all_variants! {
    /// Owned frames may be taken before hand-over and dropped after; parts that were split off are
    /// freed on their own, and what is given up is not freed at all.
    fn owned_frames_free_themselves_at_any_stage(heap) {
        let world = World::small(heap);
        let mut early = world.memory.alloc_owned(&Request::frames(100)).unwrap();
        let dropped_early = world.memory.alloc_owned(&Request::frames(10)).unwrap();
        let range = dropped_early.range();
        drop(dropped_early);
        assert!(range.iter().all(|frame| world.memory.state(frame) == PageState::Free));
        world.start();
        let upper = early.split_off(33).unwrap();
        assert_eq!((early.range().frames(), upper.range().frames()), (33, 67));
        assert_eq!(early.range().end(), upper.range().start());
        assert!(early.split_off(34).is_none());
        assert_eq!(early.range().frames(), 33, "a refused split changes nothing");
        let rest = early.split_off(33).unwrap();
        assert!(rest.range().is_empty());
        drop(rest);
        drop(upper);
        assert_eq!(world.check().counts.uninitialised, 33);
        let given_up = early.into_range();
        assert_eq!(world.check().counts.uninitialised, 33);
        world.free(given_up);
        let late = world.memory.alloc_owned(&Request::order(order(3))).unwrap();
        assert_eq!(world.check().counts.in_use, 8);
        drop(late);
        world.check_all_free();
        assert_eq!(world.machine.misuse_count(), 0);
    }

    /// Whoever frees frames that somebody owns is found out when the owner drops them, and nothing
    /// else happens.
    fn a_stolen_frame_is_reported_when_its_owner_drops(heap) {
        let world = World::small(heap).started();
        let owned = world.memory.alloc_owned(&Request::order(order(2))).unwrap();
        let frames = owned.range();
        world.free(frames);
        let before = world.check();
        drop(owned);
        world.check().assert_same_as(&before, "drop");
        assert_eq!(world.machine.misuse_count(), 1);
        let told = world.machine.last_misuse().unwrap();
        assert_eq!(told.frame, frames.start());
        assert_ne!(told.frame, mfn(0));
    }
}
