//! Domains come and go.

use bedframe::{
    AllocError, ClaimError, DomainCounts, DomainError, DomainId, Memory, Mfn, NodeId, Pool,
    Request, Scope,
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
