//! Stale translations.

use bedframe::{CpuId, Request};

use crate::common::order;
use crate::watched::{Asked, CPUS, watched};
use crate::{A, B, COUNTED};

/// X 23a183607a, XSA-241: an owner's frames are freed, the clock ticks because some CPU is flushed, and
/// somebody else gets them: the CPUs that were not flushed since the free are, whatever was flushed before it;
/// the next user after that needs no flush.
///
/// Answer: frames are stamped by the free, and the stamp is compared by the allocation, with the time of each
/// CPU's last flush. A flush counts from its beginning, so one that began before the free counts as one before
/// it.
///
/// Also: `tlb::a_flush_before_the_free_does_not_count`, `tlb::a_flush_behind_the_free_counts`,
/// `tlb::nobody_is_reached`
#[test]
fn a_stamp_is_taken_at_the_free_and_compared_at_the_allocation() {
    let (memory, machine) = watched();
    memory.create_domain(B, u64::MAX).unwrap();
    let tick = |cpu| memory.flush_tlb(CpuId(cpu), || {});
    let asked = || -> Vec<Vec<u32>> {
        let flushes = machine.asked().into_iter();
        flushes
            .filter_map(|asked| if let Asked::FlushTlbs(cpus) = asked { Some(cpus) } else { None })
            .collect()
    };
    for exponent in [0, 6, 9, 10] {
        let block = memory.alloc_for(A, &Request::order(order(exponent)), COUNTED).unwrap();
        asked();
        // All of them, but the owner goes on using its frames behind that.
        (0..CPUS).for_each(tick);
        memory.free_owned(A, block).unwrap();
        // The clock ticks, for one CPU of three.
        tick(1);
        let next = memory.alloc_for(B, &Request::exactly(block), COUNTED).unwrap();
        assert_eq!(asked(), [vec![0, 2, CPUS]], "order {exponent}: those not flushed since");
        memory.steal(B, next).unwrap();
        // Stolen frames come from an owner as well.
        memory.free(next).unwrap();
        let third = memory.alloc(&Request::exactly(block)).unwrap();
        assert_eq!(asked(), [vec![0, 1, 2, CPUS]], "order {exponent}: all, once");
        memory.free(third).unwrap();
        memory.alloc_for(A, &Request::exactly(block), COUNTED).unwrap();
        assert!(asked().is_empty(), "order {exponent}: nobody reached it");
        memory.free_owned(A, block).unwrap();
    }
    assert_eq!(memory.validate(), Ok(()));
}
