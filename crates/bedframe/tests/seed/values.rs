//! Frames, ranges, orders, zones and requests, against their definitions spelled out.

use bedframe::{
    Access, Direction, FRAME_SIZE, FrameRange, Mfn, NodeId, Nodes, Order, Pool, Request,
    VirtualPage, VirtualRange, Zone,
};

use crate::common::range;

/// All ranges within a few frames.
fn small_ranges() -> Vec<FrameRange> {
    let ends = (0..6).flat_map(|start| (start..6).map(move |end| (start, end)));
    ends.map(|(start, end)| range(start, end)).collect()
}

fn frames(range: FrameRange) -> Vec<u64> {
    (range.start().get()..range.end().get()).collect()
}

#[test]
fn two_ranges_are_compared_frame_by_frame() {
    for one in small_ranges() {
        assert_eq!(
            (one.frames(), one.is_empty()),
            (frames(one).len() as u64, frames(one).is_empty())
        );
        for frame in 0..8 {
            assert_eq!(
                one.contains(Mfn::new(frame)),
                frames(one).contains(&frame),
                "{one} {frame}"
            );
        }
        for other in small_ranges() {
            let both: Vec<_> =
                frames(one).into_iter().filter(|n| frames(other).contains(n)).collect();
            assert_eq!(frames(one.intersect(other)), both, "{one} {other}");
            assert_eq!(one.overlaps(other), !both.is_empty(), "{one} {other}");
            assert_eq!(one.covers(other), both == frames(other), "{one} {other}");
        }
        let forth: Vec<_> = one.iter().map(Mfn::get).collect();
        let mut back: Vec<_> = one.iter().rev().map(Mfn::get).collect();
        back.reverse();
        assert_eq!((&forth, &back), (&frames(one), &frames(one)));
    }
}

#[test]
fn frame_numbers_end_where_addresses_do() {
    let last = (1 << 52) - 1;
    assert_eq!(Mfn::MAX.get(), last + 1);
    assert_eq!(Mfn::new(last).get(), last);
    assert_eq!(Mfn::new(last + 1), Mfn::MAX);
    assert_eq!(Mfn::new(last + 2), Mfn::MAX);
    assert_eq!(Mfn::new(last).saturating_add(0).get(), last);
    assert_eq!(Mfn::new(last - 1).saturating_add(1).get(), last);
    for more in [1, 2, u64::MAX] {
        assert_eq!(Mfn::new(last).saturating_add(more), Mfn::MAX);
    }
    assert_eq!(FrameRange::single(Mfn::new(last)), range(last, last + 1));
    assert_eq!(FrameRange::from_len(Mfn::new(last), 1), Some(range(last, last + 1)));
    assert_eq!(FrameRange::from_len(Mfn::new(last), 2), None);
    assert_eq!(FrameRange::from_len(Mfn::new(1), u64::MAX), None);
    assert_eq!(FrameRange::new(Mfn::new(2), Mfn::new(1)), None);
    assert_eq!(FrameRange::new(Mfn::new(2), Mfn::new(2)).map(FrameRange::frames), Some(0));
    assert_eq!(VirtualRange::new(VirtualPage::new(2), VirtualPage::new(1)), None);
    assert_eq!(VirtualRange::from_len(VirtualPage::new(last), 1).map(VirtualRange::pages), Some(1));
    assert_eq!(VirtualRange::from_len(VirtualPage::new(last), 2), None);
}

#[test]
fn virtual_ranges_are_made_of_pages() {
    let page = VirtualPage::new;
    for number in [0, 1, 0x1234, VirtualPage::MAX.get() - 1] {
        assert_eq!(page(number).address(), number * FRAME_SIZE);
        assert_eq!(VirtualPage::from_address(number * FRAME_SIZE + 17), page(number));
    }
    for start in 0..4 {
        for pages in 0..4 {
            let range = VirtualRange::from_len(page(start), pages).unwrap();
            assert_eq!((range.pages(), range.is_empty()), (pages, pages == 0));
            let inside: Vec<_> = (0..8).filter(|number| range.contains(page(*number))).collect();
            assert_eq!(inside, (start..start + pages).collect::<Vec<_>>());
        }
    }
}

/// Not even where the bytes do.
#[test]
fn a_range_never_ends_before_it_begins() {
    for start in [0, 1, FRAME_SIZE, FRAME_SIZE + 1, 3 * FRAME_SIZE] {
        for end in [0, 1, FRAME_SIZE - 1, FRAME_SIZE, 3 * FRAME_SIZE] {
            for range in
                [FrameRange::inside_bytes(start, end), FrameRange::around_bytes(start, end)]
            {
                assert!(range.start() <= range.end(), "{start:#x} {end:#x}");
            }
        }
    }
}

#[test]
fn bytes_become_the_frames_inside_or_around_them() {
    let edges =
        [0, 1, FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, 3 * FRAME_SIZE - 1, 3 * FRAME_SIZE];
    let ends = edges.into_iter().chain([u64::MAX]);
    for start in ends.clone() {
        for end in ends.clone() {
            let (inside, around) =
                (FrameRange::inside_bytes(start, end), FrameRange::around_bytes(start, end));
            for frame in [0, 1, 2, 3, (1 << 52) - 2, (1 << 52) - 1] {
                let first = u128::from(frame * FRAME_SIZE);
                let after = first + u128::from(FRAME_SIZE);
                let (start, end) = (u128::from(start), u128::from(end));
                let within = start <= first && after <= end;
                let touched = start < end && start < after && first < end;
                assert_eq!(inside.contains(Mfn::new(frame)), within, "{start:#x} {end:#x} {frame}");
                assert_eq!(
                    around.contains(Mfn::new(frame)),
                    touched,
                    "{start:#x} {end:#x} {frame}"
                );
            }
        }
    }
    assert_eq!(Mfn::from_address(0x7fff).get(), 7);
    assert_eq!(Mfn::new(7).address(), 0x7000);
}

/// Blocks are naturally aligned, follow one another, and none could be part of a larger one.
#[test]
fn a_range_is_cut_into_the_largest_blocks() {
    let last = 1 << 52;
    for whole in small_ranges().into_iter().chain([
        range(1, 1000),
        range(512, 2048),
        range(0, 4096),
        range(last - 5, last),
        range(0, last),
        range(last / 2, last),
    ]) {
        let blocks: Vec<_> = whole.blocks().collect();
        let mut at = whole.start().get();
        for block in &blocks {
            let (start, size) = (block.start().get(), block.frames());
            assert_eq!((start, start % size, size.is_power_of_two()), (at, 0, true), "{whole}");
            at += size;
            let double = start - start % (2 * size);
            let largest = size == 1 << 51;
            assert!(
                largest || !whole.covers(range(double, (double + 2 * size).min(last))),
                "{whole}"
            );
        }
        assert!(at == whole.end().get() || whole.is_empty());
    }
}

#[test]
fn orders_cover_and_zones_hold_what_they_say() {
    for frames in 0..1100_u64 {
        let order = Order::covering(frames).unwrap();
        assert!(order.frames() >= frames && (order.get() == 0 || order.frames() / 2 < frames));
    }
    assert_eq!(Order::covering(1 << 51), Some(Order::MAX));
    assert_eq!(Order::covering((1 << 51) + 1), None);
    assert_eq!((Order::new(51), Order::new(52)), (Some(Order::MAX), None));
    for number in 0..=Zone::MAX.get() {
        let zone = Zone::new(number).unwrap();
        let frames = zone.frames();
        assert_eq!(frames.frames(), if number == 0 { 1 } else { 1 << (number - 1) });
        for frame in [frames.start().get(), frames.end().get() - 1] {
            assert_eq!(Zone::of(Mfn::new(frame)), zone);
        }
        let next = Zone::new(number + 1).map(|next| next.frames().start());
        assert_eq!(next.unwrap_or(Mfn::MAX), frames.end());
    }
    assert_eq!((Zone::of(Mfn::MAX), Zone::MIN.get()), (Zone::MAX, 0));
}

#[test]
fn requests_narrow_where_they_may_be_met() {
    let any = Request::frames(3);
    for (bits, end) in [(0, 0), (11, 0), (12, 1), (13, 2), (32, 1 << 20), (63, 1 << 51)] {
        assert_eq!(any.width(bits).within(), range(0, end), "{bits}");
    }
    for bits in [64, 65, u32::MAX] {
        assert_eq!(any.width(bits).within(), FrameRange::ALL);
    }
    let zone = |number| Zone::new(number).unwrap();
    assert_eq!(any.zones(zone(2), zone(4)).within(), range(2, 16));
    assert!(any.zones(zone(4), zone(2)).within().is_empty());
    assert_eq!(any.below(Mfn::new(9)).inside(range(4, 20)).within(), range(4, 9));
    let exact = Request::exactly(range(4, 9));
    assert_eq!((exact.length(), exact.alignment(), exact.within()), (5, 1, range(4, 9)));
    let block = Request::order(Order::new(5).unwrap());
    assert_eq!((block.length(), block.alignment()), (32, 32));
}

#[test]
fn requests_say_what_was_asked_for() {
    let any = Request::frames(3);
    assert_eq!((any.allowed_nodes(), any.heap()), (Nodes::Any, Pool::Domain));
    assert_eq!((any.search_direction(), any.within()), (Direction::TopDown, FrameRange::ALL));
    assert!(!any.wants_clean() && !any.spares_reserve());
    assert!(any.clean().wants_clean() && any.spare_reserve().spares_reserve());
    assert!(!any.clean().spares_reserve() && !any.spare_reserve().wants_clean());
    let nodes = [NodeId(4), NodeId(1)];
    assert_eq!(any.prefer(NodeId(4)).allowed_nodes(), Nodes::Prefer(NodeId(4)));
    assert_eq!(any.on(NodeId(4)).allowed_nodes(), Nodes::Exact(NodeId(4)));
    assert_eq!(any.nodes(Nodes::OneOf(&nodes)).allowed_nodes(), Nodes::OneOf(&nodes));
    assert_eq!(any.pool(Pool::Xen).heap(), Pool::Xen);
    assert_eq!(any.direction(Direction::BottomUp).search_direction(), Direction::BottomUp);
    assert_eq!((any.align(8).alignment(), any.align(8).length()), (8, 3));
    assert_eq!(Access::default(), Access::READ);
}
