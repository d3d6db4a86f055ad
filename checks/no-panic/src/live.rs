//! Live hand-over to a second instance, from streams that are right and from others.

use core::fmt::Write;

use bedframe::{Accounting, DomainId, FrameRange, Memory, Mfn, NodeId, Request, Scope};
use bedframe_live::Stream;

use crate::machine::{LOW, Machine, spoil};
use crate::{Sink, Wrong, check, get, opaque};

static OLD: Memory<Machine> = Memory::new(Machine).with_records();
static NEXT: Memory<Machine> = Memory::new(Machine).with_records();

/// Records that are no stream, and one that is cut off everywhere.
fn refuse(stream: &[u8]) -> Result<(), Wrong> {
    for length in 0..stream.len() {
        let cut = get!(stream.get(..opaque(length)));
        check!(Stream::check(cut).is_err());
    }
    if let Err(error) = Stream::check(opaque(&[1; 40])) {
        get!(write!(Sink(0), "{error}"));
    }
    Ok(())
}

fn fill(memory: &Memory<Machine>) -> Result<FrameRange, Wrong> {
    let (domain, one) = (DomainId(opaque(7)), Request::frames(opaque(1)));
    // SAFETY: RAM that nothing else uses now, and all of it is mapped.
    get!(unsafe { memory.add_ram(opaque(LOW), NodeId(opaque(0))) });
    get!(memory.start(opaque(1)));
    get!(memory.create_domain(domain, opaque(100)));
    get!(memory.set_affinity_with(domain, opaque(1), |_| NodeId(opaque(0))));
    check!(memory.preferred_node(domain, opaque(0)) == Some(NodeId(0)));
    let mine = get!(memory.alloc_for(domain, &Request::frames(opaque(7)), Accounting::Counted));
    get!(memory.reference_owned(domain, mine.start()));
    get!(memory.claim(domain, Scope::Node(NodeId(opaque(0))), opaque(3)));
    let gone = get!(memory.alloc(&one));
    get!(memory.offline(gone.start()));
    get!(memory.free(gone));
    Ok(get!(memory.alloc(&Request::frames(opaque(9)))))
}

pub fn hand_over() -> Result<(), Wrong> {
    spoil();
    let kept = fill(&OLD)?;
    let (mut buffer, mut length) = ([0; 4096], 0);
    let described = bedframe_live::describe(&OLD, opaque(&[kept]), |bytes| {
        let room = buffer.get_mut(length..).and_then(|rest| rest.get_mut(..bytes.len()));
        room.ok_or(()).map(|room| {
            room.copy_from_slice(bytes);
            length += bytes.len();
        })
    });
    check!(described == Ok(length as u64));
    check!(bedframe_live::describe(&OLD, opaque(&[kept, kept]), |_| Err(())).is_err());
    let bytes = get!(buffer.get(..opaque(length)));
    refuse(bytes)?;
    let stream = get!(Stream::check(bytes));
    get!(write!(Sink(0), "{stream:?} {}", stream.bytes().len()));
    check!(stream.ram().eq([(LOW, NodeId(0))]));
    // SAFETY: nothing is called of the old instance any more.
    unsafe {
        get!(stream.begin(&NEXT));
        check!(stream.begin(&NEXT).is_err());
    }
    get!(NEXT.start(opaque(1)));
    let adopted = get!(stream.finish(&NEXT));
    check!((adopted.domains, adopted.owned, adopted.kept, adopted.unclaimed) == (1, 7, 9, 0));
    if let Err(error) = stream.finish(&NEXT) {
        get!(write!(Sink(0), "{error} {}", error.waiting_can_help()));
    }
    let mut domains = 0;
    NEXT.each_domain(|domain, counts| {
        let terms = NEXT.domain_terms(domain);
        domains += u32::from(counts.claimed == 3 && terms.is_some_and(|terms| terms.nodes == 1));
    });
    check!(domains == 1);
    get!(NEXT.free(kept));
    let mut at = Mfn::ZERO;
    while at < LOW.end() {
        at = NEXT.run_at(opaque(at)).frames.end();
    }
    check!(NEXT.xen_heap() == bedframe::XenHeap::Unified);
    check!(NEXT.keep(opaque(kept)).is_err());
    check!(NEXT.validate().is_ok());
    Ok(())
}
