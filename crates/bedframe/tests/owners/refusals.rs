//! Bad input: every call with a domain, frame, order, width, count or node out of range has its own
//! error, and nothing changes, whatever there is.

use bedframe::{
    Accounting, AllocError, DomainError, DomainId, FrameRange, MapError, Mfn, NodeId, Nodes,
    OwnerError, OwnerRefusal, PageState, Pool, ReferenceError, Request,
};
use proptest::prelude::*;

use crate::common::{mfn, range};
use crate::world::{A, B, COUNTED, World, request, single};

/// A world in which there is something of everything: A has chunks, frames, lent and dropped ones, B
/// is dying, and some frames are withdrawn, or about to be.
fn mixed(seed: u64) -> World {
    let world = World::early();
    world.memory.reserve(range(3000, 3010)).unwrap();
    world.memory.reserve_releasable(range(3010, 3020)).unwrap();
    world.memory.withhold_bad(range(3020, 3030)).unwrap();
    world.memory.alloc(&Request::exactly(range(3030, 3060))).unwrap();
    world.memory.start(2).unwrap();
    for domain in [A, B] {
        world.memory.create_domain(domain, 2000).unwrap();
    }
    world.give(A, 9);
    let block = world.give(A, 4);
    world.memory.reference_owned(A, mfn(block.start().get() + seed % 16)).unwrap();
    world.memory.free_owned(A, block).unwrap();
    for _ in 0..1 + seed % 7 {
        world.give(A, (seed % 4) as u8);
        world.memory.alloc(&request(2)).unwrap();
    }
    let xen = world.memory.alloc(&Request::frames(3).pool(Pool::Xen)).unwrap();
    world.memory.lend(A, xen).unwrap();
    world.memory.offline(world.memory.alloc(&request(0)).unwrap().start()).unwrap();
    world.memory.offline(mfn(3500 + seed % 100)).unwrap();
    world.give(B, 3);
    world.memory.kill_domain(B).unwrap();
    world
}

fn state_refusal(state: PageState) -> bool {
    state != PageState::InUse && state != PageState::Uninitialised
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn bad_input_changes_nothing(seed: u64, number in 3u32.., frames in prop::collection::vec(0..9000u64, 24)) {
        let world = mixed(seed);
        let memory = &world.memory;
        let before = world.check();
        let domain = DomainId(number);
        let unknown = DomainError::Unknown { domain };
        let owner_unknown = OwnerError::Domain(unknown);
        let one = Request::frames(1);

        // A domain that there is not.
        let some = single(mfn(3040));
        prop_assert_eq!(memory.domain(domain), None);
        prop_assert_eq!(memory.set_quota(domain, 1), Err(unknown));
        prop_assert_eq!(memory.set_width(domain, 1), Err(unknown));
        prop_assert_eq!(memory.set_affinity(domain, &[NodeId(0)]), Err(unknown));
        prop_assert_eq!(memory.kill_domain(domain), Err(unknown));
        prop_assert_eq!(memory.relinquish(domain, 1), Err(unknown));
        prop_assert_eq!(memory.destroy_domain(domain), Err(unknown));
        prop_assert_eq!(memory.walk_owned(domain).map(|_| ()), Err(unknown));
        prop_assert_eq!(memory.alloc_for(domain, &one, COUNTED), Err(owner_unknown));
        prop_assert_eq!(memory.assign(domain, some, COUNTED), Err(owner_unknown));
        prop_assert_eq!(memory.lend(domain, some), Err(owner_unknown));
        prop_assert_eq!(memory.take_back(domain, some), Err(owner_unknown));
        prop_assert_eq!(memory.steal(domain, some), Err(owner_unknown));
        prop_assert_eq!(memory.free_owned(domain, some).map(|_| ()), Err(owner_unknown));
        prop_assert_eq!(memory.reference_owned(domain, some.start()), Err(owner_unknown));
        prop_assert_eq!(memory.reference_owned(domain, Mfn::MAX), Err(owner_unknown));
        world.check().assert_same_as(&before, "an unknown domain");

        // One that exists, lives, or dies.
        prop_assert_eq!(memory.create_domain(A, 1), Err(DomainError::Exists { domain: A }));
        prop_assert_eq!(memory.create_domain(B, 1), Err(DomainError::Exists { domain: B }));
        prop_assert_eq!(memory.relinquish(A, 1), Err(DomainError::Alive { domain: A }));
        prop_assert_eq!(memory.destroy_domain(A), Err(DomainError::Alive { domain: A }));
        prop_assert_eq!(memory.kill_domain(B), Err(DomainError::Dying { domain: B }));
        let dying = OwnerError::Domain(DomainError::Dying { domain: B });
        prop_assert_eq!(memory.alloc_for(B, &one, COUNTED), Err(dying));
        prop_assert_eq!(memory.assign(B, some, Accounting::Extra), Err(dying));
        let frames_of_b = memory.domain(B).unwrap().frames();
        let has = DomainError::HasFrames { domain: B, frames: frames_of_b };
        prop_assert_eq!(memory.destroy_domain(B), Err(has));
        world.check().assert_same_as(&before, "an unfit domain");

        // Requests that cannot be.
        let node = NodeId(number);
        let list = [node, NodeId(number.wrapping_mul(7) | 8)];
        let alloc = |request: Request<'_>| match memory.alloc_for(A, &request, COUNTED) {
            Err(OwnerError::Alloc(error)) => error,
            other => panic!("{request:?} is answered by {other:?}"),
        };
        prop_assert_eq!(alloc(one.on(node)), AllocError::UnknownNode { node });
        prop_assert_eq!(alloc(one.nodes(Nodes::OneOf(&list))), AllocError::UnknownNode { node });
        prop_assert_eq!(alloc(Request::frames(0)), AllocError::NoFrames);
        let alignment = u64::from(number) | 3;
        prop_assert_eq!(alloc(one.align(alignment)), AllocError::BadAlignment { alignment });
        for bits in [0, 1, 11] {
            let impossible = matches!(alloc(one.width(bits)), AllocError::Impossible { .. });
            prop_assert!(impossible);
        }
        let wide = memory.alloc_for(A, &Request::frames(u64::MAX - seed % 5), COUNTED);
        let over = matches!(wide, Err(OwnerError::Domain(DomainError::OverQuota { .. })));
        prop_assert!(over, "{:?}", wide);
        let wide = memory.alloc_for(A, &Request::frames(u64::MAX - seed % 5), Accounting::Extra);
        prop_assert!(matches!(wide, Err(OwnerError::Alloc(_))), "{:?}", wide);
        prop_assert_eq!(memory.set_affinity(A, &list), Err(DomainError::UnknownNode { node }));
        let bits = number | 64;
        prop_assert_eq!(memory.set_dma_reserve(bits), Err(MapError::BadWidth { bits }));
        world.check().assert_same_as(&before, "an impossible request");

        // Frames of any state, alone and in ranges that reach there.
        for at in frames.into_iter().chain([0, 3005, 3015, 3025, 8799, 8800, (1 << 52) - 1]) {
            let frame = mfn(at);
            let (state, owner) = (memory.state(frame), memory.owner(frame));
            let named = |error: OwnerError| match error {
                OwnerError::Frame { frame: named, why, committed: 0 } => (named, why),
                other => panic!("{frame} is answered by {other}"),
            };
            // What could be given back is not bad input here.
            if owner.is_none_or(|owner| owner.domain != A || owner.dropped || owner.lent) {
                let (named, why) = named(memory.free_owned(A, single(frame)).unwrap_err());
                prop_assert_eq!(named, frame);
                prop_assert!(match owner {
                    Some(owner) if owner.domain != A => {
                        why == OwnerRefusal::NotOwned { owner: Some(owner.domain) }
                    }
                    Some(owner) if owner.dropped => why == OwnerRefusal::Dropped,
                    Some(_) => why == OwnerRefusal::Lent,
                    None if state == PageState::Absent => why == OwnerRefusal::State(state),
                    None => why == OwnerRefusal::NotOwned { owner: None },
                }, "{} of {:?}: {}", frame, owner, why);
                prop_assert!(memory.steal(A, single(frame)).is_err());
            }
            if owner.is_none() {
                let referred = memory.reference_owned(A, frame);
                prop_assert_eq!(named(referred.unwrap_err()).0, frame);
                let none = ReferenceError::NotReferenced { frame };
                prop_assert_eq!(memory.unreference(frame), Err(none));
            }
            if owner.is_some() || state_refusal(state) {
                let range = FrameRange::new(mfn(at.saturating_sub(1)), mfn(at + 1)).unwrap();
                let (first, why) = named(memory.assign(A, range, COUNTED).unwrap_err());
                prop_assert!(range.contains(first));
                if first == frame {
                    let owned = owner.map(|owner| OwnerRefusal::Owned { owner: owner.domain });
                    prop_assert_eq!(why, owned.unwrap_or(OwnerRefusal::State(state)));
                }
                prop_assert!(memory.lend(A, single(frame)).is_err());
            }
        }
        let all = FrameRange::ALL;
        prop_assert!(memory.free_owned(A, all).is_err() && memory.steal(A, all).is_err());
        prop_assert!(memory.assign(A, all, COUNTED).is_err() && memory.lend(A, all).is_err());
        prop_assert!(memory.take_back(A, all).is_err());
        world.check().assert_same_as(&before, "an unfit frame");
        let told = [unknown.to_string(), dying.to_string(), has.to_string()];
        prop_assert!(told.iter().all(|text| text.contains("domain")));
    }
}
