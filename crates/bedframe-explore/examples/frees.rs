//! Frees a frame a thousand times as each cure does, for callgrind to count the instructions:
//!
//! ```sh
//! cargo build --release -p bedframe-explore --example frees
//! valgrind --tool=callgrind --callgrind-out-file=frees.out target/release/examples/frees
//! callgrind_annotate frees.out | grep free_
//! ```
//!
//! A thousandth of each number is what `cost::free_instructions` says.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;

use bedframe_explore::cost::{free, word_in_use};
use bedframe_explore::cure::Cure;

fn main() {
    for cure in Cure::ALL {
        for _ in 0..1000 {
            let word = AtomicU64::new(word_in_use(cure));
            black_box(free(black_box(cure), black_box(&word)));
        }
    }
}
