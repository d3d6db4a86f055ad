//! A program that links only if no call of Bedframe can panic, and that ends with status 0 only if
//! the calls do what they should.
//!
//! The panic handler calls a function that exists nowhere. If the optimised program holds any way
//! to a panic, the linker misses `bedframe_reachable_panic`.
#![no_std]
#![no_main]

use core::fmt::Write;

mod start;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn bedframe_reachable_panic() -> !;
    }
    // SAFETY: never called: a program in which it could be does not link.
    unsafe { bedframe_reachable_panic() }
}

/// Called on a stack by `start`; the answer is the exit status.
#[unsafe(no_mangle)]
extern "C" fn no_panic_main() -> u32 {
    #[cfg(feature = "prove_the_check")]
    {
        let table = [1_u32, 2, 3];
        if table[every_call::opaque(1_usize)] == 0 {
            return 99;
        }
    }
    let Err(wrong) = every_call::every_call() else { return 0 };
    let _ = writeln!(start::Stderr, "{}:{}: this is not so", wrong.file, wrong.line);
    1
}
