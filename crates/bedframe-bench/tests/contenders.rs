//! Every contender hands out every frame once, and takes each back.

use bedframe_bench::Workload;
use bedframe_bench::contender::{
    Bedframe, Bitmap, Buddy, Cache, Contender, Cpu, Domain, List, Machine, Magazine, Model, Sketch,
};

const FRAMES: u64 = 1 << 12;

/// Allocates until it is refused: naturally aligned blocks of the machine, none twice.
fn take_all<C: Contender>(contender: &C, cpu: &mut impl Cpu, order: u8) -> Vec<u32> {
    let blocks: Vec<u32> = std::iter::from_fn(|| cpu.alloc(order)).collect();
    let mut sorted = blocks.clone();
    sorted.sort_unstable();
    let first = contender.first_frame();
    let expected: Vec<u32> = (0..FRAMES as u32 >> order).map(|n| first + (n << order)).collect();
    assert_eq!(sorted, expected, "{}, order {order}", C::NAME);
    assert_eq!(cpu.alloc(order), None, "{}, order {order}", C::NAME);
    blocks
}

fn serves<C: Contender>() {
    serves_in::<C>(Workload::Bulk);
}

fn serves_in<C: Contender>(workload: Workload) {
    assert!(C::NATURE.most_frames >= FRAMES && !C::NATURE.about.is_empty());
    for order in [0, 3, 9].into_iter().filter(|order| C::fits(workload, *order)) {
        let contender = C::new(Machine { frames: FRAMES, cpus: 1, order }).unwrap();
        assert_eq!(contender.check(FRAMES, Some(FRAMES / 512)), Ok(()), "{}", C::NAME);
        for seed in 1..=2 {
            let mut cpu = contender.cpu(0);
            let mut blocks = take_all(&contender, &mut cpu, order);
            fastrand::Rng::with_seed(seed).shuffle(&mut blocks);
            for block in blocks {
                assert!(cpu.free(block, order), "{}, order {order}, {block:#x}", C::NAME);
            }
        }
        assert_eq!(contender.check(FRAMES, Some(FRAMES / 512)), Ok(()), "{}", C::NAME);
    }
}

#[test]
fn every_frame_is_handed_out_once_and_again_after_it_came_back() {
    serves::<Bedframe>();
    serves::<Sketch>();
    serves::<Magazine>();
    serves::<Cache>();
    serves::<Bitmap>();
    serves::<Buddy>();
    serves::<List>();
    serves::<Model>();
    serves_in::<Domain>(Workload::Owned);
}

fn shares<C: Contender>() {
    assert!(C::NATURE.shares && !C::NATURE.hides, "{}", C::NAME);
    let contender = C::new(Machine { frames: FRAMES, cpus: 2, order: 0 }).unwrap();
    for number in [0, 1] {
        let blocks = take_all(&contender, &mut contender.cpu(number), 0);
        let mut other = contender.cpu(1 - number);
        assert!(blocks.into_iter().all(|block| other.free(block, 0)), "{}", C::NAME);
    }
}

#[test]
fn who_shares_gives_a_frame_to_any_cpu() {
    shares::<Bedframe>();
    shares::<Sketch>();
    shares::<Bitmap>();
    shares::<Buddy>();
    shares::<List>();
    shares::<Model>();
    shares::<Domain>();
}

/// Frees a block twice.
fn frees_twice<C: Contender>(order: u8) -> bool {
    let contender = C::new(Machine { frames: FRAMES, cpus: 1, order }).unwrap();
    let mut cpu = contender.cpu(0);
    let (frame, _other) = (cpu.alloc(order).unwrap(), cpu.alloc(order).unwrap());
    assert!(cpu.free(frame, order));
    cpu.free(frame, order)
}

#[test]
fn who_claims_to_see_a_double_free_sees_it() {
    assert!(!frees_twice::<Bedframe>(0));
    assert!(!frees_twice::<Bedframe>(9));
    assert!(!frees_twice::<Domain>(0));
    assert!(!frees_twice::<Domain>(9));
    assert!(!frees_twice::<Sketch>(0));
    assert!(!frees_twice::<Sketch>(9));
    assert!(!frees_twice::<Bitmap>(0));
    assert!(!frees_twice::<List>(0));
    assert!(!frees_twice::<Model>(0));
    // Shown as what they are.
    assert!(frees_twice::<Cache>(0));
}

#[test]
fn a_wrong_count_is_a_contradiction() {
    let bedframe = Bedframe::new(Machine { frames: FRAMES, cpus: 1, order: 0 }).unwrap();
    let frame = bedframe.cpu(0).alloc(0).unwrap();
    assert_eq!(bedframe.check(FRAMES - 1, Some(FRAMES / 512 - 1)), Ok(()));
    assert!(bedframe.check(FRAMES, None).unwrap_err().contains("4095"));
    assert!(bedframe.check(FRAMES - 1, Some(FRAMES / 512)).unwrap_err().contains("order 9"));
    assert!(bedframe.cpu(0).free(frame, 0));
    for order in [0, 9] {
        let sketch = Sketch::new(Machine { frames: FRAMES, cpus: 1, order }).unwrap();
        assert!(sketch.check(FRAMES - 1, None).is_err());
        assert!(sketch.cpu(0).alloc(order).is_some());
        assert_eq!(sketch.check(FRAMES - (1 << order), None), Ok(()));
        assert!(sketch.check(FRAMES, None).unwrap_err().contains("should be"));
    }
}
