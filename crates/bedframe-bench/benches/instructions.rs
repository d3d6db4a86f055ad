//! How many instructions Bedframe's own paths take, and beside them those of the sketch, the bare steps on
//! bits that no allocator of this layout does without, and some for frames of a domain:
//! `cargo bench -p bedframe-bench --bench instructions`.
//!
//! Callgrind counts, so a busy machine counts the same as a quiet one, and a regression of a single
//! instruction shows. It needs valgrind, and once `cargo install gungraun-runner --version 0.20.0`.
#![allow(missing_docs, unused_qualifications)] // The macros write items of their own.

use std::hint::black_box;

use bedframe_bench::contender::{Bedframe, Contender, Cpu, Domain, Machine, Sketch};
use gungraun::{library_benchmark, library_benchmark_group, main};

/// Frames of the machine: 256 MiB, which valgrind walks in a moment.
const FRAMES: u64 = 1 << 16;

/// A machine, what is held of it, and the places of what is freed one after the other.
struct Stand<C> {
    contender: C,
    order: u8,
    held: Vec<u32>,
    places: Vec<usize>,
}

/// With `percent` in use, at random unless it is all or nothing.
fn stand<C: Contender>(order: u8, percent: usize) -> Stand<C> {
    let machine = Machine { frames: FRAMES, cpus: 1, order };
    let contender = C::new(machine).expect("memory for a machine");
    let mut rng = fastrand::Rng::with_seed(1);
    let mut held = Vec::with_capacity((FRAMES >> order) as usize);
    {
        let mut cpu = contender.cpu(0);
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
    Stand { contender, order, held, places }
}

/// What is held, in a random order.
fn shuffled<C>(mut stand: Stand<C>) -> Stand<C> {
    fastrand::Rng::with_seed(2).shuffle(&mut stand.held);
    stand
}

/// Each block replaced four times on average, as `bedframe bench` does before it measures.
fn settled<C: Contender>(mut stand: Stand<C>) -> Stand<C> {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut cpu = stand.contender.cpu(0);
    for _ in 0..4 * stand.held.len() {
        let place = rng.usize(..stand.held.len());
        replace(&mut cpu, &mut stand.held[place], stand.order);
    }
    drop(cpu);
    stand
}

/// Frees a block and allocates one.
#[inline(always)]
fn replace(cpu: &mut impl Cpu, held: &mut u32, order: u8) {
    assert!(cpu.free(*held, order));
    *held = cpu.alloc(order).expect("free memory");
}

/// Frees all that is held.
#[inline(always)]
fn free_all<C: Contender>(mut stand: Stand<C>) -> Stand<C> {
    let mut cpu = stand.contender.cpu(0);
    for frame in stand.held.drain(..) {
        assert!(cpu.free(frame, stand.order));
    }
    drop(cpu);
    stand
}

// A thousand allocations, each with its free.
#[library_benchmark]
#[bench::order_0(stand::<Bedframe>(0, 0))]
#[bench::sketch_order_0(stand::<Sketch>(0, 0))]
#[bench::order_0_half(stand::<Bedframe>(0, 50))]
#[bench::sketch_order_0_half(stand::<Sketch>(0, 50))]
#[bench::domain_order_0(stand::<Domain>(0, 0))]
#[bench::domain_order_0_half(stand::<Domain>(0, 50))]
#[bench::order_3(stand::<Bedframe>(3, 0))]
#[bench::order_9(stand::<Bedframe>(9, 0))]
#[bench::sketch_order_9(stand::<Sketch>(9, 0))]
#[bench::domain_order_9(stand::<Domain>(9, 0))]
fn pairs<C: Contender>(stand: Stand<C>) -> Stand<C> {
    let order = stand.order;
    let mut cpu = stand.contender.cpu(0);
    for _ in 0..1000 {
        let frame = cpu.alloc(order).expect("free memory");
        assert!(cpu.free(black_box(frame), order));
    }
    drop(cpu);
    stand
}

// All there is.
#[library_benchmark]
#[bench::order_0(stand::<Bedframe>(0, 0))]
#[bench::sketch_order_0(stand::<Sketch>(0, 0))]
#[bench::order_9(stand::<Bedframe>(9, 0))]
#[bench::sketch_order_9(stand::<Sketch>(9, 0))]
fn bulk_allocate<C: Contender>(mut stand: Stand<C>) -> Stand<C> {
    let mut cpu = stand.contender.cpu(0);
    // All of them, and not the refusal behind the last.
    let blocks = FRAMES >> stand.order;
    stand.held.extend((0..blocks).map_while(|_| cpu.alloc(stand.order)));
    drop(cpu);
    stand
}

// All there is, in the order in which it was allocated.
#[library_benchmark]
#[bench::order_0(stand::<Bedframe>(0, 100))]
#[bench::sketch_order_0(stand::<Sketch>(0, 100))]
#[bench::order_9(stand::<Bedframe>(9, 100))]
#[bench::sketch_order_9(stand::<Sketch>(9, 100))]
fn bulk_free<C: Contender>(stand: Stand<C>) -> Stand<C> {
    free_all(stand)
}

// The same in a random order.
#[library_benchmark]
#[bench::order_0(shuffled(stand::<Bedframe>(0, 100)))]
#[bench::sketch_order_0(shuffled(stand::<Sketch>(0, 100)))]
fn random_free<C: Contender>(stand: Stand<C>) -> Stand<C> {
    free_all(stand)
}

// A thousand times: free a random one, allocate one.
#[library_benchmark]
#[bench::order_0(stand::<Bedframe>(0, 50))]
#[bench::sketch_order_0(stand::<Sketch>(0, 50))]
#[bench::order_0_settled(settled(stand::<Bedframe>(0, 50)))]
#[bench::sketch_order_0_settled(settled(stand::<Sketch>(0, 50)))]
fn churn<C: Contender>(mut stand: Stand<C>) -> Stand<C> {
    let mut cpu = stand.contender.cpu(0);
    for place in &stand.places {
        replace(&mut cpu, &mut stand.held[*place], stand.order);
    }
    drop(cpu);
    stand
}

// A thousand times in bursts of 50: free random ones, allocate as many.
#[library_benchmark]
#[bench::order_0_settled(settled(stand::<Bedframe>(0, 50)))]
#[bench::sketch_order_0_settled(settled(stand::<Sketch>(0, 50)))]
fn bursts<C: Contender>(mut stand: Stand<C>) -> Stand<C> {
    let mut cpu = stand.contender.cpu(0);
    for burst in stand.places.chunks(50) {
        for place in burst {
            // A place that was drawn twice holds what is freed first.
            let frame = std::mem::replace(&mut stand.held[*place], u32::MAX);
            assert!(frame == u32::MAX || cpu.free(frame, stand.order));
        }
        for place in burst {
            if stand.held[*place] == u32::MAX {
                stand.held[*place] = cpu.alloc(stand.order).expect("free memory");
            }
        }
    }
    drop(cpu);
    stand
}

library_benchmark_group!(
    name = paths;
    benchmarks = pairs, bulk_allocate, bulk_free, random_free, churn, bursts
);

main!(library_benchmark_groups = paths);
