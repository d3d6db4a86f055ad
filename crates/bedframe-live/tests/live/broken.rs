//! Streams that are wrong, and ranges that cannot be kept.

use std::convert::Infallible;

use bedframe::{Accounting, DomainId, NodeId, PageState, Request, Scope, XenHeap};
use bedframe_live::{DescribeError, Stream, StreamError, describe};

use crate::world::{World, range, single};

/// A stream with some of everything: the record of RAM of node 0, ..., a domain's, a preference, frames.
fn stream() -> Vec<u8> {
    let old = World::started(XenHeap::Unified);
    let memory = &old.memory;
    memory.withhold_bad(range(20_000, 20_010)).unwrap();
    for domain in [3, 5] {
        memory.create_domain(DomainId(domain), 1000).unwrap();
        memory.set_affinity(DomainId(domain), &[NodeId(1), NodeId(0)]).unwrap();
    }
    memory.claim(DomainId(5), Scope::Node(NodeId(1)), 7).unwrap();
    let mine = memory.alloc_for(DomainId(3), &Request::frames(7), Accounting::Extra).unwrap();
    memory.reference_owned(DomainId(3), mine.start()).unwrap();
    memory.offline(mine.start()).unwrap();
    old.describe(&[])
}

/// The last record's sum, made anew.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc::Crc::<u64>::new(&crc::CRC_64_XZ);
    let end = bytes.len() - 8;
    let sum = sum.checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn checked(bytes: &[u8]) -> Result<(), StreamError> {
    Stream::check(bytes).map(|_| ())
}

/// Records by their kinds, counted from 0.
fn kinds(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(40).map(|record| record[0]).collect()
}

#[test]
fn every_bit_counts() {
    let bytes = stream();
    assert_eq!(checked(&bytes), Ok(()));
    assert_eq!(checked(&sealed(bytes.clone())), Ok(()));
    for bit in 0..bytes.len() * 8 {
        let mut wrong = bytes.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(checked(&wrong).is_err(), "bit {bit}");
    }
}

#[test]
fn a_stream_that_is_cut_off_has_no_end() {
    let bytes = stream();
    for length in 0..bytes.len() {
        let error = checked(&bytes[..length]).unwrap_err();
        if length < 40 {
            assert_eq!(error, StreamError::NoStream);
        } else {
            assert_eq!(error, StreamError::CutOff { bytes: length });
        }
    }
    let mut more = bytes.clone();
    more.extend_from_slice(&[0xff; 100]);
    assert_eq!(
        Stream::check(&more).unwrap().bytes(),
        &bytes[..],
        "what follows makes no difference"
    );
}

#[test]
fn each_wrong_header_is_named() {
    let change = |at: usize, byte: u8| {
        let mut bytes = stream();
        bytes[at] = byte;
        checked(&sealed(bytes))
    };
    assert_eq!(change(0, 2), Err(StreamError::NoStream));
    assert_eq!(change(8, b'b'), Err(StreamError::NoStream));
    assert_eq!(change(1, 2), Err(StreamError::Version { version: 2 }));
    assert_eq!(change(17, 0x20), Err(StreamError::FrameSize { bytes: 0x2000 }));
    assert_eq!(change(40, 9), Err(StreamError::UnknownKind { record: 1 }));
    assert_eq!(change(40, 0), Err(StreamError::UnknownKind { record: 1 }));
    let bytes = stream();
    let mut wrong = bytes.clone();
    let count = bytes.len() - 32;
    wrong[count] += 1;
    let records = bytes.len() as u64 / 40 - 1;
    let counted = StreamError::Count { said: records + 1, found: records };
    assert_eq!(checked(&sealed(wrong)), Err(counted));
    let mut wrong = bytes.clone();
    wrong[45] ^= 1;
    assert!(matches!(checked(&wrong), Err(StreamError::Checksum { .. })));
}

/// Each contradiction between records, and within one, is named with the record.
#[test]
fn each_contradiction_is_named() {
    use StreamError::*;
    let bytes = stream();
    let kinds = kinds(&bytes);
    assert_eq!(kinds[..11], [1, 2, 2, 2, 2, 3, 3, 4, 4, 4, 4]);
    assert_eq!(kinds[11..], [5, 5, 5, 5, 6]);
    let (ram, domain, preference, frames) = (1, 5, 7, 11);
    // Frame 0, which is reserved; the first of the domain's, the other six; bad ones where no RAM is.
    let (mine, rest, bad) = (frames + 1, frames + 2, frames + 3);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        checked(&sealed(bytes))
    };
    let set = |record: usize, at: usize, value: &[u8]| {
        with(&|bytes| bytes[record * 40 + at..][..value.len()].copy_from_slice(value))
    };
    let swap = |a: usize, b: usize| {
        with(&|bytes| {
            for byte in 0..40 {
                bytes.swap(a * 40 + byte, b * 40 + byte);
            }
        })
    };
    let (zero, huge) = (0u64.to_le_bytes(), u64::MAX.to_le_bytes());
    // Order, within a section and between sections.
    assert_eq!(swap(ram, ram + 1), Err(Disorder { record: ram + 1 }));
    assert_eq!(swap(domain, domain + 1), Err(Disorder { record: domain + 1 }));
    assert_eq!(swap(preference + 1, preference + 2), Err(Disorder { record: preference + 2 }));
    assert_eq!(swap(frames, frames + 1), Err(Disorder { record: frames + 1 }));
    assert!(matches!(swap(ram, domain), Err(Disorder { .. })));
    assert!(matches!(swap(0, ram), Err(NoStream)));
    assert_eq!(set(domain + 1, 4, &[3]), Err(Disorder { record: domain + 1 }), "twice");
    assert_eq!(set(ram, 8 + 9, &[0xff]), Err(Disorder { record: ram + 1 }), "overlaps");
    assert!(matches!(set(ram + 1, 0, &[1]), Err(Disorder { .. })), "a second header");
    // What cannot be.
    for record in [ram, frames, mine] {
        assert_eq!(set(record, 16, &zero), Err(Impossible { record }), "no frames");
        assert_eq!(set(record, 16, &huge), Err(Impossible { record }), "too many");
        assert_eq!(set(record, 8, &huge), Err(Impossible { record }), "too high");
    }
    assert_eq!(set(ram, 2, &[1]), Err(Impossible { record: ram }));
    assert_eq!(set(domain, 2, &[2]), Err(Impossible { record: domain }));
    assert_eq!(set(domain, 16, &huge), Err(Impossible { record: domain }), "width");
    assert_eq!(set(domain, 32, &huge), Err(Impossible { record: domain }), "node");
    assert_eq!(
        set(domain, 32, &(1u64 << 32 | 1).to_le_bytes()),
        Err(Impossible { record: domain })
    );
    assert_eq!(
        set(domain + 1, 2, &[1]),
        Err(Impossible { record: domain + 1 }),
        "dying and claims"
    );
    assert_eq!(set(domain, 2, &[1]), Ok(()), "dying");
    assert_eq!(set(preference, 8, &huge), Err(Impossible { record: preference }));
    assert_eq!(set(mine, 24, &(1u64 << 25).to_le_bytes()), Err(Impossible { record: mine }));
    assert_eq!(set(mine, 24, &(1u64 << 25 | 1).to_le_bytes()), Err(Impossible { record: mine }));
    assert_eq!(set(mine, 24, &((1u64 << 25) - 1).to_le_bytes()), Ok(()));
    // Marks: kept 1, releasable 2, reserved 4, bad 8, offlined 16, owned 32, extra 64, lent 128, dropped 256,
    // offlining 512, broken 1024.
    let marks = |record: usize, marks: u16| set(record, 2, &marks.to_le_bytes());
    for possible in [97, 33, 161, 97 | 256, 33 | 256, 97 | 1024] {
        assert_eq!(marks(mine, possible), Ok(()), "{possible}");
    }
    for wrong in
        [0, 32, 3, 12, 97 | 128, 97 | 512 | 1024, 97 | 2048, 1 | 64, 1 | 128, 1 | 256, 16, 4, 8]
    {
        assert_eq!(marks(mine, wrong), Err(Impossible { record: mine }), "{wrong}");
    }
    assert_eq!(
        marks(rest, 97 | 256),
        Err(Impossible { record: rest }),
        "dropped, and no references"
    );
    for (wrong, why) in
        [(4 | 32, "owned"), (4 | 512, "leaving"), (4 | 1024, "broken"), (0, "nothing")]
    {
        assert_eq!(marks(frames, wrong), Err(Impossible { record: frames }), "{why}");
    }
    for possible in [1, 2, 4, 8, 16, 1 | 512] {
        assert_eq!(marks(frames, possible), Ok(()), "{possible}");
    }
    assert_eq!(
        set(frames, 24, &[1]),
        Err(Impossible { record: frames }),
        "references to what is reserved"
    );
    assert_eq!(set(frames, 4, &[3]), Err(Impossible { record: frames }), "a domain for nothing");
    // What nobody told of.
    assert_eq!(set(domain + 1, 32, &[9]), Err(Unknown { record: domain + 1 }), "node 8");
    assert_eq!(set(preference, 8, &[8]), Err(Unknown { record: preference }), "node 8");
    assert_eq!(set(preference, 4, &[2]), Err(Unknown { record: preference }), "domain 2");
    for other in [0, 2, 4, 6, 255] {
        assert_eq!(set(mine, 4, &[other]), Err(Unknown { record: mine }), "domain {other}");
    }
    assert_eq!(set(mine, 4, &[5]), Ok(()), "domain 5");
    assert_eq!(marks(bad, 1), Err(Unknown { record: bad }), "in use, and no RAM");
    assert_eq!(marks(bad, 16), Err(Unknown { record: bad }), "offlined, and no RAM");
    assert_eq!(marks(bad, 2), Ok(()));
}

#[test]
fn only_what_is_in_use_is_kept() {
    let old = World::started(XenHeap::Unified);
    let mine = old.memory.alloc(&Request::frames(10)).unwrap();
    let (start, end) = (mine.start().get(), mine.end().get());
    let kept = |kept: &[_]| describe(&old.memory, kept, |_| Ok::<_, Infallible>(()));
    assert!(kept(&[range(start, start + 3), range(start + 3, end)]).is_ok());
    for ranges in [
        [range(start + 3, end), range(start, start + 3)],
        [range(start, start + 4), range(start + 3, end)],
        [range(start, start + 4), range(end, end)],
    ] {
        assert_eq!(kept(&ranges), Err(DescribeError::Disorder { range: ranges[1] }));
    }
    let not = |range: bedframe::FrameRange, frame: u64, state| {
        let frame = bedframe::Mfn::new(frame);
        assert_eq!(kept(&[range]), Err(DescribeError::NotInUse { frame, state }));
    };
    old.memory.free(single(start + 4)).unwrap();
    not(mine, start + 4, PageState::Free);
    not(range(10_000_000, 10_000_001), 10_000_000, PageState::Absent);
    let gone = old.memory.alloc(&Request::frames(2)).unwrap();
    let (first, second) = (gone.start(), gone.start().saturating_add(1));
    old.memory.free(gone).unwrap();
    old.memory.offline(first).unwrap();
    old.memory.mark_broken(second).unwrap();
    not(gone, first.get(), PageState::Offlined);
    not(single(second.get()), second.get(), PageState::Broken);
    old.memory.offline(mine.start()).unwrap();
    assert!(kept(&[range(start, start + 3)]).is_ok(), "it is on its way, and in use");
    let metadata = old.runs().into_iter().find(|run| run.state == PageState::Metadata).unwrap();
    not(metadata.frames, metadata.frames.start().get(), PageState::Metadata);
}

#[test]
fn an_error_of_the_writer_is_passed_on() {
    let old = World::started(XenHeap::Unified);
    for room in 0..6 {
        let mut left = room;
        let result = describe(&old.memory, &[], |_| {
            left -= 1;
            if left < 0 { Err("full") } else { Ok(()) }
        });
        assert_eq!(result, Err(DescribeError::Write("full")));
        assert_eq!(left, -1, "nothing is written behind an error");
    }
}
