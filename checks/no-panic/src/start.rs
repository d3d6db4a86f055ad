//! What a C library would have brought: the entry, the exit, and the functions that the compiler
//! calls by itself.

use core::arch::{asm, global_asm};

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {main}",
    "mov edi, eax",
    "mov eax, 231", // exit_group
    "syscall",
    "ud2",
    main = sym crate::no_panic_main,
);

#[cfg(target_arch = "x86")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and esp, -16",
    "call {main}",
    "mov ebx, eax",
    "mov eax, 252", // exit_group
    "int 0x80",
    "ud2",
    main = sym crate::no_panic_main,
);

/// Where messages go.
pub struct Stderr;

impl core::fmt::Write for Stderr {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        // SAFETY: this system call, write to 2, reads `text.len()` bytes at `text` and changes no
        // memory. A message that is cut short is no harm.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            asm!("syscall", inout("rax") 1_usize => _, in("rdi") 2, in("rsi") text.as_ptr(),
                in("rdx") text.len(), out("rcx") _, out("r11") _, options(nostack));
            #[cfg(target_arch = "x86")]
            asm!("int 0x80", inout("eax") 4_usize => _, in("ebx") 2, in("ecx") text.as_ptr(),
                in("edx") text.len(), options(nostack));
        }
        Ok(())
    }
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // By instruction: a loop would be compiled into a call of memcpy.
    // SAFETY: the caller says that both ranges are valid and apart.
    unsafe { copy_up(to, from, len) };
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= len {
        // SAFETY: the caller says that both ranges are valid, and the target does not begin inside
        // the source, so no byte is overwritten before it is read.
        unsafe { copy_up(to, from, len) };
    } else {
        let mut left = len;
        while left > 0 {
            left -= 1;
            // SAFETY: inside the ranges that the caller says are valid; from the end down, since
            // the target begins inside the source. Volatile, or this is compiled into memmove.
            unsafe { to.add(left).write_volatile(from.add(left).read_volatile()) };
        }
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY: the caller says that the range is valid; the direction flag is clear between
    // instructions of compiled code.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") byte as u8,
            options(nostack, preserves_flags));
        #[cfg(target_arch = "x86")]
        asm!("rep stosb", inout("ecx") len => _, inout("edi") to => _, in("al") byte as u8,
            options(nostack, preserves_flags));
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    let mut at = 0;
    while at < len {
        // SAFETY: inside the ranges that the caller says are valid.
        let (a, b) = unsafe { (left.add(at).read_volatile(), right.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { memcmp(left, right, len) }
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut len = 0;
    // SAFETY: the caller says that a zero byte comes, and this stops there.
    while unsafe { string.add(len).read_volatile() } != 0 {
        len += 1;
    }
    len
}

/// Named by the ready-made core library; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the ready-made core library; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}

/// # Safety
///
/// Both ranges are valid, and `to` does not lie inside the range at `from`.
unsafe fn copy_up(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's promise; esi and rsi are given back because LLVM keeps esi for itself
    // on 32-bit processors.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
        #[cfg(target_arch = "x86")]
        asm!("xchg esi, {from}", "rep movsb", "mov esi, {from}", from = inout(reg) from => _,
            inout("ecx") len => _, inout("edi") to => _, options(preserves_flags));
    }
}
