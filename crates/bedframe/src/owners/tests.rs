//! What domains keep in frames of their own, and what `validate` says if it is spoiled.

use super::{Accounting, DomainId, table};
use crate::addr::{FrameRange, Mfn};
use crate::error::MapError;
use crate::heap::tests::{Machine, frames, memory, take};
use crate::index::{Chunk, Record};
use crate::memory::{Contradiction, Memory};
use crate::node::NodeId;
use crate::sync::Ordering;

/// A list of nodes takes a frame for each 1024, and they are free again when it goes.
#[test]
fn a_list_of_nodes_takes_as_many_frames_as_it_needs() {
    let memory = memory(FrameRange::EMPTY);
    let domain = DomainId(3);
    memory.create_domain(domain, 10).unwrap();
    let before = memory.statistics().free;
    for count in [1, 1024, 1025, 2049, 1] {
        memory.set_affinity(domain, &vec![NodeId(0); count]).unwrap();
        let taken = before - memory.statistics().free;
        assert_eq!(taken, count.div_ceil(1024) as u64, "{count}");
    }
    memory.set_affinity(domain, &[]).unwrap();
    assert_eq!(memory.statistics().free, before);
    memory.set_affinity(domain, &[NodeId(0)]).unwrap();
    memory.kill_domain(domain).unwrap();
    memory.destroy_domain(domain).unwrap();
    assert!(memory.statistics().free >= before, "its own record may have gone, too");
    memory.validate().unwrap();
}

/// Records that do not go with the lists are found, and the frame or the domain is named.
#[test]
fn records_and_lists_that_disagree_are_found() {
    use Contradiction::{DomainCounts, Owner};
    let (one, other) = (DomainId(1), DomainId(2));
    let at = Mfn::new;
    // 0x250 is domain 1's, 0x251 was and is referred to, 0x252 is nobody's, and 0x400 to 0x600 are
    // domain 1's as a whole.
    let spoiled = |spoil: &dyn Fn(&Memory<Machine>)| {
        let memory = memory(FrameRange::EMPTY);
        take(&memory, 0x250, 0x253);
        take(&memory, 0x400, 0x600);
        for domain in [one, other] {
            memory.create_domain(domain, 1000).unwrap();
        }
        memory.assign(one, frames(0x250, 0x252), Accounting::Counted).unwrap();
        memory.assign(one, frames(0x400, 0x600), Accounting::Counted).unwrap();
        memory.reference_owned(one, at(0x251)).unwrap();
        memory.free_owned(one, frames(0x251, 0x252)).unwrap();
        memory.validate().unwrap();
        spoil(&memory);
        memory.validate()
    };
    let chunk = |memory: &Memory<Machine>, frame: u64, change: &dyn Fn(Chunk<'_>, u32)| {
        let heap = memory.heap().unwrap();
        let piece = heap.piece(frame, frame + 1).unwrap();
        change(heap.chunk_of(&piece).unwrap(), piece.span.first);
    };
    let record = |memory: &Memory<Machine>, frame: u64, change: &dyn Fn(Record) -> Record| {
        chunk(memory, frame, &|chunk, bit| {
            let mut opened = chunk.open(memory.platform()).unwrap();
            opened.set(bit, change(opened.record(bit)));
            let _ = opened.close();
        });
    };
    let owned = |domain, accounting| move |_| Record::NONE.with_owner(domain, accounting);
    let (counted, extra) = (Accounting::Counted, Accounting::Extra);
    assert_eq!(spoiled(&|_| ()), Ok(()));
    for (found, expected) in [
        (spoiled(&|it| record(it, 0x250, &|_| Record::NONE)), Owner { frame: at(0x250) }),
        (spoiled(&|it| record(it, 0x250, &owned(other, counted))), Owner { frame: at(0x250) }),
        (spoiled(&|it| record(it, 0x252, &owned(one, counted))), Owner { frame: at(0x5ff) }),
        (spoiled(&|it| record(it, 0x250, &Record::dropped)), Owner { frame: at(0x250) }),
        (
            spoiled(&|it| record(it, 0x251, &|record| record.unreferenced().unwrap())),
            Owner { frame: at(0x251) },
        ),
        (spoiled(&|it| record(it, 0x250, &owned(one, extra))), DomainCounts { domain: one }),
        (spoiled(&|it| it.lock_domain(one).unwrap().end()), DomainCounts { domain: one }),
        (
            spoiled(&|it| {
                chunk(it, 0x250, &|chunk, bit| {
                    let links = chunk.records.unwrap().links(bit).unwrap();
                    links.before.store(5, Ordering::Relaxed);
                });
            }),
            Owner { frame: at(0x250) },
        ),
        (
            spoiled(&|it| chunk(it, 0x400, &|chunk, _| chunk.records.unwrap().set_listed(false))),
            Owner { frame: at(0x400) },
        ),
    ] {
        assert_eq!(found, Err(expected));
    }
}

/// Records are found by the numbers of their domains, all over the table.
#[test]
fn each_record_is_that_of_its_number() {
    let memory = memory(FrameRange::EMPTY);
    let (platform, root) = (memory.platform(), memory.domains());
    let before = memory.statistics().free;
    // (a number, and how many frames its record's place takes)
    let numbers = [
        (5, 4),
        (31, 0),
        (32, 1),
        (7 << 14, 2),
        (7 << 14 | 3 << 5, 1),
        (3 << 23, 3),
        (u32::MAX, 3),
    ];
    let mut taken = 0;
    for (number, frames) in numbers {
        memory.create_domain(DomainId(number), 1).unwrap();
        taken += frames;
        assert_eq!(before - memory.statistics().free, taken, "{number:#x}");
    }
    let mut seen = Vec::new();
    table::each(platform, root, &mut |id, record| {
        assert!(core::ptr::eq(table::find(platform, root, id).unwrap(), record), "{id}");
        seen.push(id.0);
    });
    assert_eq!(seen.len(), 6 * 32, "all records of six leaves");
    assert!(seen.is_sorted() && numbers.iter().all(|(number, _)| seen.contains(number)));
    assert!(table::find(platform, root, DomainId(1 << 30)).is_none());
}

/// All of a range is looked at before any of it changes hands, over chunks, words and whole chunks.
#[test]
fn a_range_that_is_not_all_a_domains_is_left_as_it_is() {
    let (one, other) = (DomainId(1), DomainId(2));
    let counted = Accounting::Counted;
    for wrong in [0x3e0, 0x3ff, 0x43f, 0x47f] {
        let memory = memory(FrameRange::EMPTY);
        let all = frames(0x3e0, 0x480);
        take(&memory, 0x3e0, 0x400);
        take(&memory, 0x400, 0x480);
        for domain in [one, other] {
            memory.create_domain(domain, 1000).unwrap();
        }
        memory.assign(other, frames(wrong, wrong + 1), counted).unwrap();
        let before = (memory.statistics(), memory.domain(one), memory.domain(other));
        let same = || {
            assert_eq!((memory.statistics(), memory.domain(one), memory.domain(other)), before);
            memory.validate().unwrap();
        };
        assert!(memory.assign(one, all, counted).is_err());
        same();
        let parts = [frames(0x3e0, wrong), frames(wrong + 1, 0x480)];
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            memory.assign(one, part, counted).unwrap();
        }
        let before = (memory.statistics(), memory.domain(one), memory.domain(other));
        let same = || {
            assert_eq!((memory.statistics(), memory.domain(one), memory.domain(other)), before);
            memory.validate().unwrap();
        };
        assert!(memory.free_owned(one, all).is_err());
        same();
        assert!(memory.steal(one, all).is_err());
        same();
        memory.free_owned(other, frames(wrong, wrong + 1)).unwrap();
        assert!(memory.free_owned(one, all).is_err(), "it is nobody's");
    }
    let memory = memory(FrameRange::EMPTY);
    take(&memory, 0x3e0, 0x400);
    take(&memory, 0x400, 0x600);
    memory.create_domain(one, 1000).unwrap();
    memory.create_domain(other, 1000).unwrap();
    memory.assign(one, frames(0x3e0, 0x400), counted).unwrap();
    memory.assign(other, frames(0x400, 0x600), counted).unwrap();
    let before = memory.statistics();
    for domain in [one, other] {
        assert!(memory.free_owned(domain, frames(0x3e0, 0x600)).is_err());
        assert_eq!(memory.statistics(), before);
    }
    memory.free_owned(other, frames(0x400, 0x600)).unwrap();
    memory.free_owned(one, frames(0x3e0, 0x400)).unwrap();
    memory.validate().unwrap();
}

/// The reserve of low memory is as wide as an address can be, or there is none.
#[test]
fn the_reserve_has_a_width_that_addresses_have() {
    let memory = memory(FrameRange::EMPTY);
    for bits in [1, 12, 64, u32::MAX] {
        assert_eq!(memory.set_dma_reserve(bits), Err(MapError::BadWidth { bits }));
    }
    for bits in [13, 32, 63, 0] {
        assert_eq!((memory.set_dma_reserve(bits), memory.dma_reserve()), (Ok(()), bits));
    }
}
