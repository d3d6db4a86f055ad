//! Random operations against a list of mappings.

use bedframe::{Access, FrameRange, Mfn, Request, VirtualRange, VmapError};
use proptest::prelude::*;

use crate::common::Heap;
use crate::watched::{Room, frames_of, page};

#[derive(Clone, Debug)]
enum Op {
    /// Allocates and maps so many pages.
    Alloc(u64),
    /// Allocates pieces and maps them.
    Map(Vec<u64>),
    /// Frees the mapping with this number.
    Free(prop::sample::Index),
    /// Unmaps the mapping with this number, and frees its frames as what they are.
    Unmap(prop::sample::Index),
    /// A range that need not be one.
    Wrong(u64, u64),
    Start,
}

fn op() -> impl Strategy<Value = Op> {
    let size = || prop_oneof![6 => 1_u64..12, 2 => 12_u64..80, 1 => 400_u64..900];
    prop_oneof![
        6 => size().prop_map(Op::Alloc),
        3 => prop::collection::vec(1_u64..9, 1..6).prop_map(Op::Map),
        5 => any::<prop::sample::Index>().prop_map(Op::Free),
        3 => any::<prop::sample::Index>().prop_map(Op::Unmap),
        1 => (0_u64..4000, 0_u64..20).prop_map(|(start, pages)| Op::Wrong(start, pages)),
        1 => Just(Op::Start),
    ]
}

/// What is mapped, by first page.
struct Model {
    window: VirtualRange,
    mappings: Vec<(VirtualRange, Vec<Mfn>)>,
}

impl Model {
    /// The holes, each with the first page behind the guard before it, and its pages.
    fn holes(&self) -> Vec<(u64, u64)> {
        let mut at = self.window.start().get() + 1;
        let mut holes = Vec::new();
        for (range, _) in &self.mappings {
            holes.push((at, range.start().get() - at));
            at = range.end().get() + 1;
        }
        holes.push((at, self.window.end().get() - at));
        holes
    }

    /// Where the next mapping of so many pages comes, or the most pages that there is room for.
    fn place(&self, pages: u64) -> Result<u64, u64> {
        let holes = self.holes();
        let most = holes.iter().map(|(_, size)| size.saturating_sub(1)).max().unwrap();
        holes.iter().find(|(_, size)| *size > pages).map(|(start, _)| *start).ok_or(most)
    }

    fn insert(&mut self, range: VirtualRange, frames: Vec<Mfn>) {
        let at = self.mappings.partition_point(|(other, _)| other.start() < range.start());
        self.mappings.insert(at, (range, frames));
    }
}

fn check_made(
    room: &Room,
    model: &mut Model,
    pages: u64,
    result: Result<VirtualRange, VmapError>,
) -> Result<bool, TestCaseError> {
    match (model.place(pages), result) {
        (Ok(start), Ok(range)) => {
            prop_assert_eq!((range.start(), range.pages()), (page(start), pages));
            let frames = range.iter().map(|page| room.window.lookup(page).unwrap()).collect();
            model.insert(range, frames);
            Ok(true)
        }
        // The machine is small.
        (_, Err(VmapError::NoFrame { .. } | VmapError::PageTable { .. })) => Ok(false),
        (_, Err(VmapError::NoMetadata { .. })) => Ok(false),
        (Err(most), Err(error)) => {
            let never = room.window.window().pages() - 2;
            if pages > never {
                prop_assert_eq!(error, VmapError::TooLarge { pages, most: never });
            } else {
                prop_assert_eq!(error, VmapError::NoRoom { pages, most });
            }
            Ok(false)
        }
        (place, result) => Err(TestCaseError::fail(format!("{place:?} but {result:?}"))),
    }
}

fn run(heap: Heap, start: u64, pages: u64, ops: &[Op]) -> Result<(), TestCaseError> {
    let room = Room::new(heap, start, pages);
    let mut model = Model { window: room.window.window(), mappings: Vec::new() };
    let mut started = false;
    for op in ops {
        match op {
            Op::Alloc(pages) => {
                let one = Request::frames(1);
                let result = room.window.alloc(*pages, &one, Access::READ_WRITE);
                check_made(&room, &mut model, *pages, result)?;
            }
            Op::Map(sizes) => {
                let held: Vec<FrameRange> = sizes
                    .iter()
                    .filter_map(|size| room.memory.alloc(&Request::frames(*size)).ok())
                    .collect();
                let pages = held.iter().map(|range| range.frames()).sum();
                if pages == 0 {
                    continue;
                }
                let result = room.window.map(&held, Access::READ);
                if check_made(&room, &mut model, pages, result)? {
                    let mapped = model.mappings.iter().find(|(range, _)| Ok(*range) == result);
                    prop_assert_eq!(&mapped.unwrap().1, &frames_of(&held));
                } else {
                    held.iter().for_each(|range| room.memory.free(*range).unwrap());
                }
            }
            Op::Free(index) if !model.mappings.is_empty() => {
                let (range, _) = model.mappings.remove(index.index(model.mappings.len()));
                prop_assert_eq!(room.window.free(range), Ok(()));
            }
            Op::Unmap(index) if !model.mappings.is_empty() => {
                let (range, frames) = model.mappings.remove(index.index(model.mappings.len()));
                let mut told = Vec::new();
                let result = room.window.unmap(range, |page, frame| told.push((page, frame)));
                prop_assert_eq!(result, Ok(()));
                told.reverse();
                let expected: Vec<_> = range.iter().zip(frames.iter().copied()).collect();
                prop_assert_eq!(told, expected);
                for frame in frames {
                    room.memory.free(FrameRange::single(frame)).unwrap();
                }
            }
            Op::Wrong(start, pages) => {
                let range = VirtualRange::from_len(page(*start), *pages).unwrap();
                if model.mappings.iter().all(|(mapping, _)| *mapping != range) {
                    prop_assert!(room.window.free(range).is_err());
                }
            }
            Op::Start if !started => {
                started = true;
                room.world.start();
            }
            Op::Free(_) | Op::Unmap(_) | Op::Start => {}
        }
        room.check();
        let counts = room.window.counts();
        prop_assert_eq!(counts.mappings, model.mappings.len() as u64);
        prop_assert_eq!(
            counts.largest,
            model.holes().iter().map(|h| h.1.max(1) - 1).max().unwrap()
        );
        for (range, frames) in &model.mappings {
            let found: Vec<_> = range.iter().filter_map(|page| room.window.lookup(page)).collect();
            prop_assert_eq!(&found, frames);
            prop_assert_eq!(room.window.lookup(range.end()), None);
        }
    }
    for (range, _) in model.mappings {
        prop_assert_eq!(room.window.free(range), Ok(()));
    }
    room.check();
    prop_assert_eq!(room.window.counts().frames, 0);
    // The top table is left, and where the window does not hold them whole, tables at its ends.
    let counts = room.memory.statistics();
    let whole = start.is_multiple_of(1 << 18) && pages.is_multiple_of(1 << 18);
    let most = if whole { 0 } else { 4 };
    let left = counts.in_use + counts.uninitialised - 1;
    prop_assert!(left <= most, "{} frames are left", left);
    Ok(())
}

fn heap() -> impl Strategy<Value = Heap> {
    prop::sample::select(&Heap::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: (ProptestConfig::default().cases / 4).max(8),
        ..ProptestConfig::default()
    })]

    /// A window in which room is short.
    #[test]
    fn small_windows(
        heap in heap(),
        start in 0_u64..1500,
        pages in 3_u64..1200,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(heap, start, pages, &ops)?;
    }

    /// A window that holds its tables whole, on a machine in which frames are short.
    #[test]
    fn large_windows(heap in heap(), ops in prop::collection::vec(op(), 1..80)) {
        run(heap, 3 << 18, 1 << 18, &ops)?;
    }
}
