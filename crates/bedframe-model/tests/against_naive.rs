//! Random worlds, random operations: the model against one vector entry for each frame, and, where
//! worlds are too large for that, against itself.

mod support;

use bedframe::{
    Direction, FrameRange, FreeError, MapError, Mfn, NodeId, Nodes, Pool, Request, XenHeap,
};
use bedframe_model::{Config, FrameState, Mutant, World};
use proptest::prelude::*;
use support::naive::Naive;
use support::*;

/// Frames of a small world: nine zones.
const FRAMES: u64 = 160;

#[derive(Clone, Debug)]
struct Ask {
    length: u64,
    alignment: u64,
    within: FrameRange,
    /// 0 any, 1 prefer, 2 exact, 3 a set.
    how: u8,
    nodes: Vec<NodeId>,
    pool: Pool,
    direction: Direction,
}

impl Ask {
    fn request(&self) -> Request<'_> {
        let nodes = match self.how {
            0 => Nodes::Any,
            1 => Nodes::Prefer(self.nodes[0]),
            2 => Nodes::Exact(self.nodes[0]),
            _ => Nodes::OneOf(&self.nodes),
        };
        Request::frames(self.length)
            .align(self.alignment)
            .inside(self.within)
            .nodes(nodes)
            .pool(self.pool)
            .direction(self.direction)
    }
}

#[derive(Clone, Debug)]
enum Step {
    AddRam(FrameRange, NodeId),
    Withhold(FrameRange, FrameState),
    Metadata(FrameRange),
    Alloc(Ask),
    /// The library chose this start.
    Replay(Ask, u64),
    Free(FrameRange),
    /// Frees an earlier allocation: which one, and how much is cut off at both ends.
    FreeHeld(usize, u64, u64),
    Release(FrameRange),
    Start,
}

fn ranges(frames: u64) -> impl Strategy<Value = FrameRange> {
    (0..=frames, 0..=frames).prop_map(|(a, b)| range(a.min(b), a.max(b)))
}

/// Mostly short ranges, or hardly any of them would be free all over.
fn short_ranges(frames: u64) -> impl Strategy<Value = FrameRange> {
    (0..frames, 0..frames / 8).prop_map(move |(at, n)| range(at, (at + n).min(frames)))
}

fn nodes() -> impl Strategy<Value = NodeId> {
    (0u32..4).prop_map(|node| NodeId(node * 5))
}

fn pools() -> impl Strategy<Value = Pool> {
    prop_oneof![Just(Pool::Xen), Just(Pool::Domain)]
}

fn asks(frames: u64) -> impl Strategy<Value = Ask> {
    let length = prop_oneof![
        1 => Just(0),
        10 => 1..frames / 4,
        10 => (0u32..6).prop_map(|order| 1 << order),
        1 => any::<u64>(),
    ];
    let alignment =
        prop_oneof![10 => (0u32..6).prop_map(|o| 1 << o), 1 => 0..frames, 1 => Just(1 << 63)];
    let within = prop_oneof![3 => Just(FrameRange::ALL), 1 => ranges(frames)];
    let nodes = (0u8..4, prop::collection::vec(nodes(), 1..3));
    let direction = prop_oneof![Just(Direction::TopDown), Just(Direction::BottomUp)];
    // Half of the lengths get their natural alignment: those go through the heap's lists.
    (length, alignment, any::<bool>(), within, nodes, pools(), direction).prop_map(
        |(length, alignment, natural, within, (how, nodes), pool, direction)| {
            let natural = natural && length.is_power_of_two();
            let alignment = if natural { length } else { alignment };
            Ask { length, alignment, within, how, nodes, pool, direction }
        },
    )
}

fn steps(frames: u64) -> impl Strategy<Value = Step> {
    let kinds = prop_oneof![
        Just(FrameState::Reserved),
        Just(FrameState::Releasable),
        Just(FrameState::Bad)
    ];
    prop_oneof![
        2 => (ranges(frames), nodes()).prop_map(|(r, n)| Step::AddRam(r, n)),
        2 => (short_ranges(frames), kinds).prop_map(|(r, s)| Step::Withhold(r, s)),
        1 => short_ranges(frames).prop_map(Step::Metadata),
        8 => asks(frames).prop_map(Step::Alloc),
        4 => (asks(frames), 0..frames).prop_map(|(a, s)| Step::Replay(a, s)),
        2 => short_ranges(frames).prop_map(Step::Free),
        6 => (any::<usize>(), 0u64..3, 0u64..3).prop_map(|(i, l, r)| Step::FreeHeld(i, l, r)),
        1 => short_ranges(frames).prop_map(Step::Release),
        1 => Just(Step::Start),
    ]
}

fn xen_heaps(frames: u64) -> impl Strategy<Value = XenHeap> {
    prop_oneof![
        Just(XenHeap::Unified),
        (0..=frames).prop_map(|limit| XenHeap::Limited { limit: mfn(limit) }),
        ranges(frames).prop_map(|range| XenHeap::Separate { range }),
    ]
}

fn freed(result: Result<(), FreeError>) -> Result<(), u64> {
    result.map_err(|error| {
        assert_eq!(error.committed, 0);
        error.frame.get()
    })
}

/// Does the same to both and compares what is said and what becomes of them.
fn step(
    world: &mut World,
    naive: &mut Naive,
    held: &mut Vec<FrameRange>,
    step: Step,
) -> Result<(), TestCaseError> {
    use FrameState::*;
    let before = world.clone();
    let handed_out = if naive.started { InUse } else { Given };
    let refused = match step {
        Step::AddRam(range, node) => {
            let said = world.add_ram(range, node).map_err(|error| match error {
                MapError::OtherNode { frame, .. } => frame.get(),
                other => panic!("{other}"),
            });
            prop_assert_eq!(said, naive.add_ram(range, node));
            said.is_err()
        }
        Step::Withhold(range, state) => {
            let said = match state {
                Reserved => world.reserve(range),
                Releasable => world.reserve_releasable(range),
                _ => world.withhold_bad(range),
            };
            let said = said.map_err(|error| match error {
                MapError::InUse { frame, .. } => frame.get(),
                other => panic!("{other}"),
            });
            prop_assert_eq!(said, naive.withhold(range, state));
            said.is_err()
        }
        Step::Metadata(range) => {
            let ask = Request::exactly(range).pool(Pool::Xen);
            let legal = range.iter().all(|f| naive.state(f.get() as usize) == Free)
                && world.take_metadata(range).is_ok();
            if legal {
                naive.take(range, Metadata);
                world.return_metadata(range).expect("it was taken");
                prop_assert_eq!(world.clone(), before.clone());
                world.take_metadata(range).expect("it was legal");
            } else {
                prop_assert!(world.take_metadata(range).is_err());
                prop_assert!(!naive.fits(&ask, range.start().get() as usize));
            }
            !legal
        }
        Step::Alloc(ask) => {
            let request = ask.request();
            match world.alloc(&request) {
                Ok(got) => {
                    prop_assert!(naive.fits(&request, got.start().get() as usize));
                    let mut replayed = before.clone();
                    prop_assert_eq!(replayed.replay_alloc(&request, got), Ok(()));
                    prop_assert_eq!(&replayed, &*world);
                    naive.take(got, handed_out);
                    held.push(got);
                    false
                }
                Err(refusal) => {
                    prop_assert!(!naive.can_satisfy(&request), "{}", refusal);
                    prop_assert_eq!(before.judge_refusal(&request, refusal), Ok(()));
                    true
                }
            }
        }
        Step::Replay(ask, start) => {
            let request = ask.request();
            prop_assert_eq!(world.can_satisfy(&request).is_some(), naive.can_satisfy(&request));
            let length = ask.length.min(FRAMES);
            let got = FrameRange::from_len(mfn(start), length).expect("small");
            let legal = length == ask.length && naive.fits(&request, start as usize);
            prop_assert_eq!(world.replay_alloc(&request, got).is_ok(), legal);
            if legal {
                naive.take(got, handed_out);
                held.push(got);
            }
            !legal
        }
        Step::Free(range) => {
            let said = freed(world.free(range));
            let expected = naive.make_free(range, [Given, InUse], &[Given, InUse]);
            prop_assert_eq!(said, expected);
            said.is_err()
        }
        Step::FreeHeld(which, left, right) => {
            if held.is_empty() {
                return Ok(());
            }
            let whole = held.swap_remove(which % held.len());
            let start = whole.start().saturating_add(left).min(whole.end());
            let end = mfn(whole.end().get().saturating_sub(right).max(start.get()));
            let piece = range(start.get(), end.get());
            let said = freed(world.free(piece));
            prop_assert_eq!(said, naive.make_free(piece, [Given, InUse], &[Given, InUse]));
            said.is_err()
        }
        Step::Release(range) => {
            let said = world.release(range);
            let expected = naive.make_free(range, [Releasable, Bad], &[Releasable]);
            prop_assert_eq!(freed(said.map(|_| ())), expected);
            said.is_err()
        }
        Step::Start => {
            let said = world.start(&[]);
            let may = !naive.started && naive.frames.iter().any(|f| f.node.is_some());
            prop_assert_eq!(said.is_ok(), may);
            naive.started |= may;
            said.is_err()
        }
    };
    if refused {
        prop_assert!(*world == before, "a refused call changed something");
    }
    prop_assert_eq!(world.validate(), Ok(()));
    prop_assert_eq!(world.blocks(), naive.blocks());
    for frame in 0..FRAMES {
        prop_assert_eq!(world.frame_state(mfn(frame)), naive.state(frame as usize));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn small_worlds_behave_as_one_vector_entry_for_each_frame(
        xen_heap in xen_heaps(FRAMES),
        firmware in prop::collection::vec((ranges(FRAMES), nodes()), 0..5),
        steps in prop::collection::vec(steps(FRAMES), 0..60),
    ) {
        let mut world = world(xen_heap, &[]);
        let mut naive = Naive::new(FRAMES as usize, xen_heap);
        let mut held = Vec::new();
        for (range, node) in firmware {
            step(&mut world, &mut naive, &mut held, Step::AddRam(range, node))?;
        }
        for next in steps {
            step(&mut world, &mut naive, &mut held, next)?;
        }
    }

    /// From one frame to 30 TiB, 1 to 64 nodes, ragged edges, holes.
    #[test]
    fn large_worlds_stay_valid_and_get_back_what_they_gave(
        size in 0u32..33,
        xen_heap in xen_heaps(1 << 33),
        edges in prop::collection::vec((any::<u64>(), any::<bool>()), 1..65),
        asks in prop::collection::vec((asks(1 << 30), any::<u64>()), 0..24),
        start_at in 0usize..24,
    ) {
        let top = (1u64 << size).min(30 << 28);
        let mut cuts: Vec<(u64, bool)> = edges.into_iter().map(|(e, hole)| (e % top, hole)).collect();
        cuts.push((0, false));
        cuts.sort_unstable();
        let ends: Vec<u64> = cuts.iter().skip(1).map(|c| c.0).chain([top]).collect();
        let mut world = World::new(Config { xen_heap, withhold_frame0: false, mutant: None });
        for (node, (&(from, hole), to)) in cuts.iter().zip(ends).enumerate() {
            if !hole {
                world.add_ram(range(from, to), NodeId(node as u32)).unwrap();
            }
        }
        let empty = world.clone();
        let mut held = Vec::new();
        for (turn, (ask, random)) in asks.into_iter().enumerate() {
            if turn == start_at {
                let _ = world.start(&[]);
            }
            let request = ask.request();
            let before = world.clone();
            match world.alloc(&request) {
                Ok(got) => {
                    let mut replayed = before;
                    prop_assert_eq!(replayed.replay_alloc(&request, got), Ok(()));
                    prop_assert!(replayed == world);
                    held.push(got);
                }
                Err(refusal) => {
                    prop_assert_eq!(world.judge_refusal(&request, refusal), Ok(()));
                    prop_assert!(before == world);
                }
            }
            if random % 3 == 0 && !held.is_empty() {
                let whole = held.swap_remove(random as usize % held.len());
                let cut = mfn(whole.start().get() + random % (whole.frames() + 1));
                world.free(FrameRange::new(cut, whole.end()).unwrap()).unwrap();
                world.free(FrameRange::new(whole.start(), cut).unwrap()).unwrap();
            }
            prop_assert_eq!(world.validate(), Ok(()));
            prop_assert_eq!(world.blocks(), world.blocks_by_walk());
        }
        for range in held {
            world.free(range).unwrap();
        }
        prop_assert_eq!(world.validate(), Ok(()));
        let all: Vec<_> = world.free_ranges().collect();
        prop_assert_eq!(all, empty.free_ranges().collect::<Vec<_>>());
    }
}

/// The comparison above would notice each of the seeded mistakes, without knowing what to look
/// for: some random life makes the heap list other blocks than the naive allocator has.
#[test]
fn every_mutant_differs_from_the_naive_allocator() {
    for mutant in Mutant::ALL {
        let config =
            Config { xen_heap: XenHeap::Unified, withhold_frame0: false, mutant: Some(mutant) };
        let mut world = World::new(config);
        let mut naive = Naive::new(FRAMES as usize, XenHeap::Unified);
        for (range, node) in [(range(0, 77), NodeId(0)), (range(77, FRAMES), NodeId(1))] {
            world.add_ram(range, node).unwrap();
            naive.add_ram(range, node).unwrap();
        }
        world.start(&[]).unwrap();
        naive.started = true;
        // A fixed walk through frames that takes and frees each of them.
        let walk = (0..FRAMES).map(|i| Mfn::new((i * 59 + 7) % FRAMES));
        let noticed = walk.map(FrameRange::single).any(|frame| {
            world.replay_alloc(&Request::exactly(frame), frame).unwrap();
            world.free(frame).unwrap();
            world.blocks() != naive.blocks()
        });
        assert!(noticed, "{mutant:?}");
        assert!(world.validate().is_err(), "{mutant:?}");
    }
}
