//! The library against its specification: random machines, random operations, and after each of
//! them the same state in both.
//!
//! The model replays what the library chose, rejecting it if it is not wholly free and legal, and
//! judges every refusal by a search of its own.

mod draw;
mod pair;
mod worlds;

use draw::Rng;
use pair::{Kind, Op, Pair};
use proptest::prelude::*;
use worlds::{Layout, Size};

fn op() -> impl Strategy<Value = Op> {
    let seed = |kind| any::<u64>().prop_map(move |seed| Op { kind, seed });
    prop_oneof![
        8 => seed(Kind::Alloc),
        5 => seed(Kind::Free),
        2 => seed(Kind::FreeUnion),
        2 => seed(Kind::FreeAny),
        1 => seed(Kind::Release),
        1 => seed(Kind::Reserve),
        1 => seed(Kind::ReserveReleasable),
        1 => seed(Kind::Keep),
        1 => seed(Kind::Bad),
        1 => seed(Kind::AddRam),
        1 => seed(Kind::Start),
        2 => seed(Kind::Offline),
        1 => seed(Kind::Break),
        2 => seed(Kind::Online),
    ]
}

fn run(layout: &Layout, ops: &[Op]) -> Result<(), TestCaseError> {
    let Some(mut pair) = Pair::new(layout)? else { return Ok(()) };
    for op in ops {
        pair.step(op.kind, &mut Rng(op.seed))?;
    }
    // Whatever happened, everything that was handed out can be given back.
    pair.finish()
}

/// `PROPTEST_CASES` scales all of them.
fn cases(share: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: (config.cases * share / 100).max(8), ..config }
}

proptest! {
    #![proptest_config(cases(100))]

    /// Worlds of 1 to 64 frames, where every edge is near.
    #[test]
    fn tiny_worlds(
        layout in worlds::layout(Size::Tiny),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(&layout, &ops)?;
    }

    /// Worlds of some thousand frames from frame 0 on: many zones, ragged chunks.
    #[test]
    fn small_worlds(
        layout in worlds::layout(Size::Small),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        run(&layout, &ops)?;
    }
}

proptest! {
    #![proptest_config(cases(50))]

    /// Worlds of some GiB: whole chunks, large orders.
    #[test]
    fn medium_worlds(
        layout in worlds::layout(Size::Medium),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        run(&layout, &ops)?;
    }
}

proptest! {
    #![proptest_config(cases(6))]

    /// Worlds of up to 30 TiB on up to 64 nodes.
    #[test]
    fn giant_worlds(
        layout in worlds::layout(Size::Giant),
        ops in prop::collection::vec(op(), 1..25),
    ) {
        run(&layout, &ops)?;
    }
}
