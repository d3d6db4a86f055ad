//! Which CPU a thread is. A kernel finds that out by one load relative to a segment register; a thread-local
//! of Rust's in a library may look like a call to the compiler, which then saves registers around it, and that
//! is no cost of any allocator's.
#![allow(unsafe_code)]

pub(super) use number::{cpu, set_cpu};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod number {
    use std::arch::{asm, global_asm};

    // One word for each thread, zero at first.
    global_asm!(
        ".pushsection .tbss.bedframe_bench_cpu, \"awT\", @nobits",
        ".balign 8",
        ".hidden bedframe_bench_cpu",
        ".globl bedframe_bench_cpu",
        ".type bedframe_bench_cpu, @object",
        ".size bedframe_bench_cpu, 8",
        "bedframe_bench_cpu:",
        ".zero 8",
        ".popsection",
    );

    /// The calling thread is this CPU from now on.
    pub(in crate::contender) fn set_cpu(number: usize) {
        // SAFETY: The word is this thread's own, and only these two functions know of it.
        unsafe {
            asm!(
                "mov {place}, qword ptr [rip + bedframe_bench_cpu@GOTTPOFF]",
                "mov qword ptr fs:[{place}], {number}",
                place = out(reg) _,
                number = in(reg) number,
                options(nostack, preserves_flags),
            );
        }
    }

    /// The CPU that the calling thread is.
    #[inline(always)]
    pub(in crate::contender) fn cpu() -> usize {
        let number;
        // SAFETY: As above.
        unsafe {
            asm!(
                "mov {number}, qword ptr [rip + bedframe_bench_cpu@GOTTPOFF]",
                "mov {number}, qword ptr fs:[{number}]",
                number = out(reg) number,
                options(nostack, preserves_flags, readonly),
            );
        }
        number
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod number {
    use std::cell::Cell;

    thread_local! {
        static CPU: Cell<usize> = const { Cell::new(0) };
    }

    /// The calling thread is this CPU from now on.
    pub(in crate::contender) fn set_cpu(number: usize) {
        CPU.set(number);
    }

    /// The CPU that the calling thread is.
    #[inline(always)]
    pub(in crate::contender) fn cpu() -> usize {
        CPU.get()
    }
}

#[cfg(test)]
mod tests {
    use super::{cpu, set_cpu};

    #[test]
    fn each_thread_is_a_cpu_of_its_own() {
        set_cpu(3);
        std::thread::spawn(|| {
            assert_eq!(cpu(), 0);
            set_cpu(5);
            assert_eq!(cpu(), 5);
        })
        .join()
        .unwrap();
        assert_eq!(cpu(), 3);
    }
}
