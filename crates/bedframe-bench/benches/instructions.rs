//! How many instructions Bedframe's own paths take:
//! `cargo bench -p bedframe-bench --bench instructions`.
//!
//! Callgrind counts, so a busy machine counts the same as a quiet one, and a regression of a single
//! instruction shows. It needs valgrind, and once `cargo install gungraun-runner --version 0.20.0`.
#![allow(missing_docs, unused_qualifications)] // The macros write items of their own.

use std::hint::black_box;

use bedframe_bench::contender::{Bedframe, Contender, Cpu, Machine};
use gungraun::{library_benchmark, library_benchmark_group, main};

/// Frames of the machine: 256 MiB, which valgrind walks in a moment.
const FRAMES: u64 = 1 << 16;

/// A machine, what is held of it, and the places of what is freed one after the other.
struct Stand {
    bedframe: Bedframe,
    held: Vec<u32>,
    places: Vec<usize>,
}

/// With `percent` in use, at random unless it is all or nothing.
fn stand(order: u8, percent: usize) -> Stand {
    let machine = Machine { frames: FRAMES, cpus: 1, order };
    let bedframe = Bedframe::new(machine).expect("memory for a machine");
    let mut rng = fastrand::Rng::with_seed(1);
    let mut held = Vec::with_capacity((FRAMES >> order) as usize);
    {
        let mut cpu = bedframe.cpu(0);
        held.extend(std::iter::from_fn(|| cpu.alloc(order)));
        if percent < 100 {
            rng.shuffle(&mut held);
        }
        for frame in held.drain(held.len() * percent / 100..) {
            assert!(cpu.free(frame, order));
        }
        // The first allocation finds a chunk; what follows is the usual path.
        if let Some(frame) = cpu.alloc(order) {
            assert!(cpu.free(frame, order));
        }
    }
    let places = (0..1000).map(|_| rng.usize(..held.len().max(1))).collect();
    Stand { bedframe, held, places }
}

// A thousand allocations, each with its free.
#[library_benchmark]
#[bench::order_0(stand(0, 0))]
#[bench::order_0_half(stand(0, 50))]
#[bench::order_3(stand(3, 0))]
#[bench::order_9(stand(9, 0))]
fn pairs(stand: Stand) -> Stand {
    let order = (FRAMES / (stand.held.capacity() as u64).max(1)).ilog2() as u8;
    let mut cpu = stand.bedframe.cpu(0);
    for _ in 0..1000 {
        let frame = cpu.alloc(order).expect("free memory");
        assert!(cpu.free(black_box(frame), order));
    }
    stand
}

// All there is.
#[library_benchmark]
#[bench::order_0(stand(0, 0))]
fn bulk_allocate(mut stand: Stand) -> Stand {
    let mut cpu = stand.bedframe.cpu(0);
    stand.held.extend(std::iter::from_fn(|| cpu.alloc(0)));
    stand
}

// All there is, in the order in which it was allocated.
#[library_benchmark]
#[bench::order_0(stand(0, 100))]
fn bulk_free(mut stand: Stand) -> Stand {
    let mut cpu = stand.bedframe.cpu(0);
    for frame in stand.held.drain(..) {
        assert!(cpu.free(frame, 0));
    }
    stand
}

// A thousand times: free a random one, allocate one.
#[library_benchmark]
#[bench::order_0(stand(0, 50))]
fn churn(mut stand: Stand) -> Stand {
    let mut cpu = stand.bedframe.cpu(0);
    for place in &stand.places {
        let place = &mut stand.held[*place];
        assert!(cpu.free(*place, 0));
        *place = cpu.alloc(0).expect("free memory");
    }
    stand
}

library_benchmark_group!(
    name = paths;
    benchmarks = pairs, bulk_allocate, bulk_free, churn
);

main!(library_benchmark_groups = paths);
