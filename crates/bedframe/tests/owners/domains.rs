//! Domains come and go.

use bedframe::{
    AllocError, ClaimError, DomainCounts, DomainError, DomainId, DomainTerms, Memory, Mfn, NodeId,
    Pool, Request, Scope,
};
use bedframe_hosted::{HostedMemory, HostedPlatform};

use crate::common::range;
use crate::world::{A, ALL, B, COUNTED, FAR, ONE, World};

#[test]
fn a_domain_is_what_was_asked_for() {
    let world = World::early();
    assert_eq!(world.memory.create_domain(A, 7), Err(DomainError::NoRecords), "not yet");
    world.memory.start(1).unwrap();
    assert_eq!(world.memory.domain(A), None);
    world.memory.create_domain(A, 7).unwrap();
    let counts = DomainCounts { quota: 7, ..DomainCounts::default() };
    assert_eq!(world.memory.domain(A), Some(counts));
    assert_eq!(world.memory.domain(B), None, "in the same leaf");
    assert_eq!(world.memory.create_domain(A, 8), Err(DomainError::Exists { domain: A }));
    assert_eq!(world.counts(A), counts);
    world.memory.set_quota(A, 9).unwrap();
    assert_eq!(world.counts(A).quota, 9);
    world.check();
}

/// All there are, by number, each as it is; and what is called may make and end others.
#[test]
fn every_domain_is_told_of() {
    let world = World::early();
    world.memory.each_domain(|domain, _| panic!("there is no domain {domain}"));
    world.memory.start(1).unwrap();
    let numbers = [FAR.0, 1 << 14, 0, 33, 31, 1 << 30, 1 << 5, 2];
    for number in numbers {
        world.memory.create_domain(DomainId(number), u64::from(number) + 1).unwrap();
    }
    world.memory.kill_domain(DomainId(31)).unwrap();
    let mut seen = Vec::new();
    world.memory.each_domain(|domain, counts| {
        assert_eq!(world.memory.domain(domain), Some(counts), "it is not locked");
        assert_eq!((counts.quota, counts.dying), (u64::from(domain.0) + 1, domain.0 == 31));
        if domain.0 == 2 {
            world.memory.destroy_domain(DomainId(31)).unwrap();
            world.memory.create_domain(DomainId(34), 35).unwrap();
        }
        seen.push(domain.0);
    });
    assert_eq!(seen, [0, 2, 32, 33, 34, 1 << 14, 1 << 30, FAR.0]);
}

/// What was said of a domain can be read; of one that is not there, nothing.
#[test]
fn terms_are_as_they_were_set() {
    let world = World::new();
    let terms = |width, claims, nodes| Some(DomainTerms { width, claims, nodes });
    assert_eq!(world.memory.domain_terms(A), terms(64, Scope::Machine, 0));
    world.memory.set_width(A, 33).unwrap();
    world.memory.set_affinity(A, &[NodeId(2), NodeId(0), NodeId(2)]).unwrap();
    world.memory.claim(A, Scope::Node(NodeId(2)), 5).unwrap();
    assert_eq!(world.memory.domain_terms(A), terms(33, Scope::Node(NodeId(2)), 3));
    let memory = &world.memory;
    let nodes = |domain| (0..5).map_while(move |place| memory.preferred_node(domain, place));
    assert_eq!(nodes(A).collect::<Vec<_>>(), [NodeId(2), NodeId(0), NodeId(2)]);
    assert_eq!((nodes(B).count(), world.memory.preferred_node(A, u32::MAX)), (0, None));
    world.memory.set_affinity_with(B, 1200, |place| NodeId(place % 3)).unwrap();
    assert_eq!(world.memory.preferred_node(B, 1199), Some(NodeId(2)));
    assert_eq!(world.memory.preferred_node(B, 1200), None);
    let unknown = DomainError::UnknownNode { node: NodeId(7) };
    let seven = |place| NodeId(if place == 1199 { 7 } else { 0 });
    assert_eq!(world.memory.set_affinity_with(B, 1200, seven), Err(unknown));
    assert_eq!(world.memory.preferred_node(B, 1199), Some(NodeId(2)), "as it was");
    world.memory.kill_domain(B).unwrap();
    assert_eq!(nodes(B).count(), 5, "it is dying, and still there");
    world.memory.destroy_domain(B).unwrap();
    assert_eq!((world.memory.domain_terms(B), world.memory.preferred_node(B, 0)), (None, None));
    assert_eq!(world.memory.domain_terms(DomainId(1234)), None);
}

/// Numbers all over, so that every level of the table has its turn; records are used anew.
#[test]
fn any_number_names_a_domain() {
    let world = World::early();
    world.memory.start(1).unwrap();
    let numbers: Vec<_> = (0..32).map(|bit| 1u32 << bit).chain([0, 3, 33, u32::MAX]).collect();
    for number in &numbers {
        world.memory.create_domain(DomainId(*number), u64::from(*number) + 1).unwrap();
    }
    let used = world.memory.statistics().in_use;
    for number in &numbers {
        assert_eq!(world.counts(DomainId(*number)).quota, u64::from(*number) + 1);
    }
    world.memory.validate().unwrap();
    for number in numbers.iter().rev() {
        let domain = DomainId(*number);
        assert_eq!(world.memory.destroy_domain(domain), Err(DomainError::Alive { domain }));
        world.memory.kill_domain(domain).unwrap();
        assert_eq!(world.memory.kill_domain(domain), Err(DomainError::Dying { domain }));
        assert!(world.counts(domain).dying);
        assert!(world.memory.relinquish(domain, 0).unwrap().done);
        world.memory.destroy_domain(domain).unwrap();
        assert_eq!(world.memory.domain(domain), None);
        assert_eq!(world.memory.destroy_domain(domain), Err(DomainError::Unknown { domain }));
        world.memory.create_domain(domain, 1).unwrap();
    }
    assert_eq!(world.memory.statistics().in_use, used, "the table is used again");
    world.memory.validate().unwrap();
}

#[test]
fn without_records_nothing_is_owned() {
    let memory = Memory::new(HostedPlatform::new(HostedMemory::new(Mfn::new(4096)).unwrap()));
    // SAFETY: hosted memory that nobody else uses.
    unsafe { memory.add_ram(range(0, 4096), NodeId(0)) }.unwrap();
    memory.start(1).unwrap();
    let before = memory.statistics();
    assert_eq!(memory.create_domain(A, 1), Err(DomainError::NoRecords));
    let refused = Err(DomainError::NoRecords.into());
    assert_eq!(memory.alloc_for(A, &ONE, COUNTED), refused);
    assert_eq!(memory.claim(A, Scope::Machine, 1), Err(ClaimError::NoRecords));
    assert_eq!(memory.domain(A), None);
    assert_eq!(memory.statistics(), before);
}

/// The books take memory of the Xen heap; if there is none the call is refused.
#[test]
fn books_need_memory() {
    let world = World::new();
    let mut taken = Vec::new();
    while let Ok(frame) = world.memory.alloc(&ONE.pool(Pool::Xen)) {
        taken.push(frame);
    }
    let before = world.check();
    let why = AllocError::OutOfMemory { frames: 1, pool: Pool::Xen };
    let error = DomainError::NoMemory { why };
    let far = DomainId(1 << 20);
    assert_eq!(world.memory.create_domain(far, 1), Err(error));
    assert!(error.waiting_can_help());
    assert_eq!(world.memory.set_affinity(A, &[NodeId(0)]), Err(error));
    world.check().assert_same_as(&before, "no memory");
    // A neighbour needs none.
    world.memory.create_domain(DomainId(3), 1).unwrap();
    for frame in taken {
        world.memory.free(frame).unwrap();
    }
    world.memory.create_domain(far, 1).unwrap();
    world.check();
}

/// A quota is a limit to what is accounted and to nothing else, and may be set below it.
#[test]
fn a_quota_is_kept() {
    let world = World::new();
    world.memory.set_quota(A, 5).unwrap();
    let four = world.give(A, 2);
    let over = |accounted, asked| {
        let (domain, quota) = (A, 5);
        Err(DomainError::OverQuota { domain, quota, accounted, asked }.into())
    };
    let before = world.check();
    assert_eq!(world.memory.alloc_for(A, &Request::frames(2), COUNTED), over(4, 2));
    world.check().assert_same_as(&before, "over quota");
    let one = world.memory.alloc_for(A, &ONE, COUNTED).unwrap();
    assert_eq!(world.memory.alloc_for(A, &ONE, COUNTED), over(5, 1));
    world.memory.set_quota(A, 1).unwrap();
    assert!(world.memory.alloc_for(A, &ONE, COUNTED).is_err());
    world.memory.free_owned(A, four).unwrap();
    assert!(world.memory.alloc_for(A, &ONE, COUNTED).is_err(), "one of one");
    world.memory.free_owned(A, one).unwrap();
    world.memory.alloc_for(A, &ONE, COUNTED).unwrap();
    assert_eq!(world.counts(A).accounted, 1);
    world.check();
}

/// A dying domain gets nothing, in no way.
#[test]
fn the_dying_get_nothing() {
    let world = World::new();
    let (mine, anonymous) = (world.give(A, 0), world.memory.alloc(&ONE).unwrap());
    let xen = world.memory.alloc(&ONE.pool(Pool::Xen)).unwrap();
    world.memory.kill_domain(A).unwrap();
    let before = world.check();
    let dying = Err(DomainError::Dying { domain: A }.into());
    assert_eq!(world.memory.alloc_for(A, &ONE, COUNTED).map(|_| ()), dying);
    assert_eq!(world.memory.assign(A, anonymous, COUNTED), dying);
    assert_eq!(world.memory.lend(A, xen), dying);
    world.check().assert_same_as(&before, "dying");
    // What it has it can give back by itself, and others may refer to it.
    world.memory.reference_owned(A, mine.start()).unwrap();
    assert_eq!(world.memory.free_owned(A, mine).unwrap().kept, 1);
    let error = DomainError::HasFrames { domain: A, frames: 1 };
    assert!(world.memory.relinquish(A, 1).unwrap().done);
    assert_eq!(world.memory.destroy_domain(A), Err(error));
    assert!(error.waiting_can_help());
    world.memory.unreference(mine.start()).unwrap();
    world.memory.destroy_domain(A).unwrap();
    for domain in ALL {
        assert_eq!(world.memory.domain(domain).is_some(), domain != A);
    }
    assert_eq!(world.owner(mine.start()), None);
    world.memory.create_domain(A, 3).unwrap();
    assert_eq!(world.counts(A), DomainCounts { quota: 3, ..DomainCounts::default() });
    assert_eq!(world.counts(FAR).quota, 10_000);
    world.check();
}
