//! A domain's life.

use core::fmt::Write;

use bedframe::{
    Accounting, CpuId, DomainError, DomainId, FrameRange, Memory, Mfn, NodeId, Order, OwnerError,
    Pool, Request, Scope,
};

use crate::machine::Machine;
use crate::{Sink, Wrong, check, get, opaque};

fn told(error: OwnerError) -> Result<(), Wrong> {
    get!(write!(Sink(0), "{error}"));
    opaque(error.waiting_can_help());
    Ok(())
}

/// From the first frame to the last. Returns how many frames the books keep.
pub fn life(memory: &Memory<Machine>) -> Result<u64, Wrong> {
    let domain = DomainId(opaque(0x0123_4567));
    get!(write!(Sink(0), "{domain}"));
    let before = memory.statistics().free;
    if let Err(error) = memory.create_domain(domain, opaque(2000)) {
        get!(write!(Sink(0), "{error}"));
        check!(error == DomainError::NoRecords && !error.waiting_can_help());
        check!(memory.alloc_for(domain, &Request::frames(1), Accounting::Counted).is_err());
        check!(memory.domain(domain).is_none());
        return Ok(0);
    }
    let books = before - memory.statistics().free;
    check!(memory.create_domain(opaque(domain), 1).is_err());
    get!(memory.set_quota(domain, opaque(1000)));
    get!(memory.set_affinity(domain, &opaque([NodeId(1), NodeId(0)])));
    check!(memory.set_affinity(domain, &opaque([NodeId(99)])).is_err());
    get!(memory.set_width(domain, opaque(40)));
    get!(memory.set_dma_reserve(opaque(20)));
    check!(memory.set_dma_reserve(opaque(3)).is_err() && memory.dma_reserve() == 20);

    let chunk = Request::order(get!(Order::new(opaque(9))));
    let block = get!(memory.alloc_for(domain, &chunk, opaque(Accounting::Counted)));
    let odd = Request::frames(opaque(77)).spare_reserve();
    check!(odd.spares_reserve());
    let odd = get!(memory.alloc_for(domain, &odd, opaque(Accounting::Extra)));
    let xen = get!(memory.alloc(&Request::frames(opaque(5)).pool(Pool::Xen)));
    get!(memory.lend(domain, xen));
    let some = get!(memory.alloc(&Request::frames(opaque(130))));
    get!(memory.assign(domain, some, opaque(Accounting::Counted)));
    let counts = get!(memory.domain(domain));
    check!((counts.accounted, counts.extra, counts.lent) == (642, 77, 5));
    check!(counts.frames() == 724);

    let frame = block.start().saturating_add(opaque(100));
    get!(memory.reference_owned(domain, frame));
    let ownership = get!(memory.owner(opaque(frame)));
    check!(ownership.domain == domain && ownership.references == 1);
    let mut walk = get!(memory.walk_owned(domain));
    get!(write!(Sink(0), "{walk:?}"));
    let mut seen = 0;
    while let Some(run) = get!(walk.step()) {
        seen += run.frames.frames();
    }
    check!(seen == 724);

    for wild in [FrameRange::EMPTY, FrameRange::ALL, FrameRange::single(Mfn::new(1 << 40))] {
        let wild = opaque(wild);
        let results = [
            memory.free_owned(domain, wild).map(|_| ()),
            memory.assign(domain, wild, Accounting::Counted),
            memory.lend(domain, wild),
            memory.take_back(domain, wild),
            memory.steal(domain, wild),
            memory.reference_owned(domain, wild.end()),
            memory
                .alloc_for(domain, &Request::frames(wild.frames()), Accounting::Extra)
                .map(|_| ()),
            memory.alloc_for(DomainId(opaque(3)), &chunk, Accounting::Counted).map(|_| ()),
        ];
        for result in results {
            match result {
                Ok(()) => check!(wild.frames() == 1),
                Err(error) => told(error)?,
            }
        }
    }
    get!(memory.steal(domain, some));
    get!(memory.free(some));
    get!(memory.take_back(domain, xen));
    get!(memory.lend(domain, xen));
    memory.flush_tlb(CpuId(opaque(0)), || ());
    get!(memory.claim(domain, opaque(Scope::Machine), opaque(3)));
    for wrong in [Scope::Node(NodeId(0)), Scope::Node(NodeId(99))] {
        if let Err(error) = memory.claim(opaque(domain), opaque(wrong), opaque(1)) {
            get!(write!(Sink(0), "{error}"));
        }
    }
    check!(memory.release_claim(domain, opaque(9)) == Ok(3));
    let back = get!(memory.free_owned(domain, block));
    check!((back.gone, back.kept) == (511, 1));
    get!(memory.unreference(frame));
    check!(memory.free(odd).is_err());
    if let Err(contradiction) = memory.validate() {
        get!(write!(Sink(0), "{contradiction}"));
        check!(false);
    }

    check!(memory.destroy_domain(domain).is_err());
    get!(memory.kill_domain(domain));
    loop {
        let done = get!(memory.relinquish(domain, opaque(10)));
        opaque((done.gone, done.kept));
        if done.done {
            break;
        }
    }
    get!(memory.destroy_domain(domain));
    get!(memory.free(xen));
    check!(memory.statistics().free == before - books);
    Ok(books)
}
