//! How long Bedframe's own paths take: `cargo bench -p bedframe-bench --bench time`.
//!
//! For comparisons with others use `bedframe bench`, which measures all in the same rounds.

use bedframe_bench::contender::{Bedframe, Contender, Cpu, MOST_FRAMES, Machine};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn bedframe(order: u8) -> Bedframe {
    Bedframe::new(Machine { frames: MOST_FRAMES, cpus: 1, order }).expect("memory for a machine")
}

/// An allocation and its free.
#[divan::bench(args = [0, 3, 9, 18])]
fn pair(bencher: Bencher, order: u8) {
    let bedframe = bedframe(order);
    let mut cpu = bedframe.cpu(0);
    bencher.bench_local(|| {
        let frame = cpu.alloc(order).expect("free memory");
        assert!(cpu.free(black_box(frame), order));
    });
}

/// All of 4 GiB, and back in the same order.
#[divan::bench(args = [0, 9], sample_count = 20)]
fn bulk(bencher: Bencher, order: u8) {
    let bedframe = bedframe(order);
    let mut cpu = bedframe.cpu(0);
    let mut held = Vec::with_capacity(MOST_FRAMES as usize);
    bencher.counter(ItemsCount::new(MOST_FRAMES >> order)).bench_local(|| {
        held.extend(std::iter::from_fn(|| cpu.alloc(order)));
        for frame in held.drain(..) {
            assert!(cpu.free(frame, order));
        }
    });
}

/// From a random half in use: free a random one, allocate one.
#[divan::bench(args = [0, 9])]
fn churn(bencher: Bencher, order: u8) {
    let bedframe = bedframe(order);
    let mut cpu = bedframe.cpu(0);
    let mut held: Vec<u32> = std::iter::from_fn(|| cpu.alloc(order)).collect();
    let mut rng = fastrand::Rng::with_seed(1);
    rng.shuffle(&mut held);
    for frame in held.drain(held.len() / 2..) {
        assert!(cpu.free(frame, order));
    }
    bencher.bench_local(|| {
        let place = &mut held[rng.usize(..)];
        assert!(cpu.free(*place, order));
        *place = cpu.alloc(order).expect("free memory");
    });
}
