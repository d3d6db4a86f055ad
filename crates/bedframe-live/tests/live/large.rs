//! A machine of 64 GiB, half of it guests'. Shows how long each step took: `cargo test --release -p bedframe-live
//! large -- --nocapture`.

use std::time::Instant;

use bedframe::{Accounting, DomainId, Mfn, NodeId, Request, ScrubPolicy, XenHeap};
use bedframe_hosted::{HostedMemory, HostedPlatform};
use bedframe_live::Stream;

use crate::world::{Machine, World, range};

/// 64 GiB.
const FRAMES: u64 = 1 << 24;
const GUESTS: u32 = 16;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    result
}

#[test]
fn a_large_machine_goes_over() {
    let machine = Machine(HostedPlatform::new(HostedMemory::new(Mfn::new(FRAMES)).unwrap()));
    let instance = || {
        let memory = bedframe::Memory::new(machine.clone()).with_records();
        World { memory: memory.scrub_on_free(ScrubPolicy::Never), machine: machine.clone() }
    };
    let old = instance();
    // SAFETY: hosted memory that nobody else uses.
    unsafe { old.memory.add_ram(range(0, FRAMES), NodeId(0)) }.unwrap();
    old.memory.start(2).unwrap();
    let whole = Request::frames(512).align(512);
    for guest in 0..GUESTS {
        old.memory.create_domain(DomainId(guest), FRAMES).unwrap();
    }
    // Guests in turns, so that hardly two chunks in a row are of one; and some frames of each that are shared.
    for turn in 0..FRAMES / 512 / 2 {
        let guest = DomainId(turn as u32 % GUESTS);
        old.memory.alloc_for(guest, &whole, Accounting::Counted).unwrap();
        if turn % 64 == 0 {
            let page = old.memory.alloc_for(guest, &Request::frames(1), Accounting::Extra).unwrap();
            old.memory.reference_owned(guest, page.start()).unwrap();
        }
    }
    let bytes = timed("describe", || old.describe(&[]));
    println!("{} bytes", bytes.len());
    let stream = timed("check", || Stream::check(&bytes).unwrap());
    let next = instance();
    next.memory.set_xen_heap(XenHeap::Unified).unwrap();
    // SAFETY: hosted memory that nobody uses any more but through the next instance.
    timed("begin", || unsafe { stream.begin(&next.memory) }).unwrap();
    timed("start", || next.memory.start(2)).unwrap();
    let adopted = timed("finish", || stream.finish(&next.memory)).unwrap();
    assert_eq!((adopted.domains, adopted.owned), (16, FRAMES / 2 + FRAMES / 512 / 2 / 64));
    assert_eq!(next.describe(&[]), bytes);
    next.memory.validate().unwrap();
}
