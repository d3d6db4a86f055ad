//! The library against its specification: any machine, any operations, and after each of them the same
//! state in both.
//!
//! Machine and operations are those of the library's property tests, read from bytes.

use bedframe::{FrameRange, Mfn, NodeId, XenHeap};
use bedframe_hosted::HostedMemory;
use proptest::test_runner::TestCaseError;

use crate::bytes::Bytes;
use draw::Draw;
use pair::{Kind, Pair};
use worlds::Layout;

#[allow(dead_code)] // What the property tests use.
#[path = "../../bedframe/tests/against_model/draw.rs"]
pub(crate) mod draw;
#[allow(dead_code)] // What the property tests use.
#[path = "../../bedframe/tests/against_model/pair.rs"]
mod pair;
#[allow(dead_code)] // As above.
#[path = "../../bedframe/tests/against_model/worlds.rs"]
pub(crate) mod worlds;

/// More operations find nothing that fewer do not, in more time.
const OPERATIONS: usize = 100;

const KINDS: [Kind; 24] = [
    Kind::Alloc,
    Kind::Alloc,
    Kind::Alloc,
    Kind::Alloc,
    Kind::Alloc,
    Kind::Keep,
    Kind::Free,
    Kind::Free,
    Kind::Free,
    Kind::Free,
    Kind::FreeUnion,
    Kind::FreeUnion,
    Kind::FreeAny,
    Kind::FreeAny,
    Kind::Release,
    Kind::Reserve,
    Kind::ReserveReleasable,
    Kind::Bad,
    Kind::AddRam,
    Kind::Start,
    Kind::Offline,
    Kind::Offline,
    Kind::Break,
    Kind::Online,
];

/// The library against the model.
pub fn model(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let layout = layout(&mut bytes);
    let mut run = || -> Result<(), TestCaseError> {
        let Some(host) = host(&layout) else { return Ok(()) };
        let mut pair = Pair::on(host, &layout)?;
        let mut operations = 0;
        while !bytes.is_empty() && operations < OPERATIONS {
            let kind = KINDS[bytes.below(KINDS.len() as u64) as usize];
            pair.step(kind, &mut bytes)?;
            operations += 1;
        }
        pair.finish()
    };
    run().unwrap_or_else(|error| panic!("{error}\n{layout:?}"));
}

/// The machine's memory, with garbage where Bedframe's own data may come to lie: nothing may be assumed of
/// memory that was never written. `None` if it cannot exist on this host.
pub(crate) fn host(layout: &Layout) -> Option<HostedMemory> {
    let host = HostedMemory::new(layout.end()).ok()?;
    let mapped = layout.xen_heap.mapped();
    for top in layout.ram.iter().map(|(range, _)| range.intersect(mapped)) {
        let start = Mfn::new(top.end().get().saturating_sub(16)).max(top.start());
        host.fill_garbage(FrameRange::new(start, top.end())?, layout.garbage).ok()?;
    }
    Some(host)
}

/// Any machine that is checked in milliseconds: ranges of one frame to 1 GiB on some nodes, behind gaps of
/// none to 16 TiB.
pub(crate) fn layout(bytes: &mut dyn Draw) -> Layout {
    let frame_zero = bytes.one_in(2);
    let scattered = bytes.one_in(4);
    let cpus = 1 + bytes.below(5) as u32;
    let garbage = bytes.below(256);
    let heap = bytes.below(4);
    let count = 1 + bytes.below(8);
    let mut ram = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let gap = match bytes.below(8) {
            0..4 => 0,
            4 => bytes.below(20),
            5 => bytes.below(1 << 16),
            6 => bytes.below(128) << 9,
            _ => bytes.below(1 << 32),
        };
        let frames = match bytes.below(8) {
            0..3 => bytes.below(24),
            3..6 => bytes.below(2500),
            6 => bytes.below(512) << 9,
            _ => bytes.below(1 << 17),
        };
        let node = bytes.below(5) as u32;
        let (start, end) = (at + gap, at + gap + frames + 1);
        at = end;
        // Node numbers in a row, or as sparse as some machines have them.
        let node = NodeId(if scattered { node * 37 + 3 } else { node });
        ram.push((FrameRange::new(Mfn::new(start), Mfn::new(end)).unwrap(), node));
    }
    let mut edge = || match bytes.below(3) {
        0 => bytes.below(at + 1),
        _ => ram[bytes.below(count) as usize].0.start().get() + bytes.below(600),
    };
    let xen_heap = match heap {
        0 | 1 => XenHeap::Unified,
        2 => XenHeap::Limited { limit: Mfn::new(edge()) },
        _ => {
            let (a, b) = (edge(), edge());
            let range = FrameRange::new(Mfn::new(a.min(b)), Mfn::new(a.max(b))).unwrap();
            XenHeap::Separate { range }
        }
    };
    Layout { ram, xen_heap, frame_zero, cpus, garbage }
}
