//! Which mutant is on: a module of the library's copy alone.
//!
//! `BEDFRAME_MUTANT` holds the number of the one that is on. Into the file that `BEDFRAME_REACHED` names,
//! the number of each mutant is written, 4 bytes, when its place is first come to. A constant is computed
//! before anything can be asked, so no mutant is on in one.

extern crate std;

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::io::Write;
use std::sync::OnceLock;

const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

static STATES: [AtomicU8; MUTANTS] = [const { AtomicU8::new(UNKNOWN) }; MUTANTS];

#[inline(always)]
pub(crate) const fn on(mutant: usize) -> bool {
    core::intrinsics::const_eval_select((mutant,), never, asked)
}

const fn never(_: usize) -> bool {
    false
}

#[inline(always)]
fn asked(mutant: usize) -> bool {
    STATES[mutant].load(Relaxed) != OFF && is_on(mutant)
}

#[cold]
#[inline(never)]
fn is_on(mutant: usize) -> bool {
    static CHOSEN: OnceLock<Option<usize>> = OnceLock::new();
    static REACHED: OnceLock<Option<std::fs::File>> = OnceLock::new();
    if STATES[mutant].load(Relaxed) == ON {
        return true;
    }
    let chosen = CHOSEN.get_or_init(|| std::env::var("BEDFRAME_MUTANT").ok()?.parse().ok());
    let reached = REACHED.get_or_init(|| {
        let path = std::env::var_os("BEDFRAME_REACHED")?;
        Some(std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap())
    });
    if let Some(mut file) = reached.as_ref() {
        file.write_all(&(mutant as u32).to_le_bytes()).unwrap();
    }
    let on = *chosen == Some(mutant);
    STATES[mutant].store(if on { ON } else { OFF }, Relaxed);
    on
}
