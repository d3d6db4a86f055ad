//! Where the domains' records lie: a radix table over the number of a domain, in frames of the Xen
//! heap.
//!
//! It is read without a lock. A frame is made when the first domain below it is, published by a
//! compare-exchange, and stays for ever: so is what was found in it. Whoever loses the exchange gives its
//! frame back.
#![allow(unsafe_code)]

use super::id::DomainId;
use super::record::DomainRecord;
use crate::addr::Mfn;
use crate::error::AllocError;
use crate::index::{Plain, Table, shared};
use crate::platform::Platform;
use crate::sync::{AtomicU64, Ordering};

/// Bits of a domain's number that choose one of the records of a frame.
const LEAF_BITS: u32 = 5;
/// Bits that choose one of the words of a frame above that.
const BITS: u32 = 9;
/// Levels of these, which together with the leaf take all 32 bits.
const LEVELS: u32 = 3;
/// Frames on the way to a record.
const FRAMES: usize = LEVELS as usize + 1;
/// In a word: there is a frame. The rest is its machine address.
const PRESENT: u64 = 1;

const _: () = assert!(LEAF_BITS + LEVELS * BITS == u32::BITS);
const _: () = assert!((size_of::<DomainRecord>() << LEAF_BITS) as u64 == crate::FRAME_SIZE);

// SAFETY: 1. A `repr(C)` structure of atomics of integers, which any bits are valid for. 2. It has no
// destructor.
unsafe impl Plain for DomainRecord {}

/// The record of `domain`, if its frame was made.
pub(super) fn find<'a, P: Platform>(
    platform: &'a P,
    root: &'a AtomicU64,
    domain: DomainId,
) -> Option<&'a DomainRecord> {
    let mut word = root;
    for level in (0..LEVELS).rev() {
        word = entry(platform, behind(word)?, domain, level)?;
    }
    record(platform, behind(word)?, domain)
}

/// The same, having made the frames that were missing: all, or, by an error, none. `alloc` gives frames of
/// the Xen heap, and `free` takes back those that another call was faster with.
pub(super) fn make<'a, P: Platform>(
    platform: &'a P,
    root: &'a AtomicU64,
    domain: DomainId,
    alloc: impl Fn() -> Result<Mfn, AllocError>,
    free: impl Fn(Mfn),
) -> Result<Option<&'a DomainRecord>, AllocError> {
    // All before the first is published: what is there stays there.
    let mut spare = [None; FRAMES];
    let there = depth(platform, root, domain);
    for place in spare.iter_mut().skip(there) {
        match alloc() {
            Ok(frame) => *place = Some(frame),
            Err(error) => {
                spare.into_iter().flatten().for_each(free);
                return Err(error);
            }
        }
    }
    let mut spare = spare.into_iter().flatten();
    let mut frame_of = |word: &AtomicU64| match behind(word) {
        Some(address) => Some(address),
        None => {
            let frame = spare.next()?;
            for word in words(platform, frame.address()) {
                word.store(0, Ordering::Relaxed);
            }
            let (address, now) = (frame.address(), frame.address() | PRESENT);
            // Release pairs with the Acquire in `behind`: who sees the frame sees its zeros. Acquire for
            // the frame of whoever was faster.
            match word.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => Some(address),
                Err(other) => {
                    free(frame);
                    Some(other & !PRESENT)
                }
            }
        }
    };
    let mut descend = || {
        let mut word = root;
        for level in (0..LEVELS).rev() {
            word = entry(platform, frame_of(word)?, domain, level)?;
        }
        record(platform, frame_of(word)?, domain)
    };
    let record = descend();
    spare.for_each(free);
    Ok(record)
}

/// How many frames there are on the way to a domain's record.
fn depth<P: Platform>(platform: &P, root: &AtomicU64, domain: DomainId) -> usize {
    let mut word = root;
    let mut depth = 0;
    for level in (0..LEVELS).rev() {
        let Some(next) = behind(word).and_then(|at| entry(platform, at, domain, level)) else {
            return depth;
        };
        (word, depth) = (next, depth + 1);
    }
    depth + usize::from(behind(word).is_some())
}

/// Calls `f` for every record in the table.
pub(super) fn each<'a, P: Platform>(
    platform: &'a P,
    root: &'a AtomicU64,
    f: &mut dyn FnMut(DomainId, &'a DomainRecord),
) {
    let Some(address) = behind(root) else { return };
    let index = |index: usize, level: u32| (index as u32) << (LEAF_BITS + level * BITS);
    for (top, word) in (0..).zip(words(platform, address)) {
        let Some(address) = behind(word) else { continue };
        for (middle, word) in (0..).zip(words(platform, address)) {
            let Some(address) = behind(word) else { continue };
            for (low, word) in (0..).zip(words(platform, address)) {
                let Some(address) = behind(word) else { continue };
                for (leaf, record) in (0..).zip(records(platform, address)) {
                    f(DomainId(index(top, 2) | index(middle, 1) | index(low, 0) | leaf), record);
                }
            }
        }
    }
}

/// The address of the frame that a word of the table names.
fn behind(word: &AtomicU64) -> Option<u64> {
    // Acquire pairs with the Release in `make`.
    let value = word.load(Ordering::Acquire);
    (value & PRESENT != 0).then_some(value & !PRESENT)
}

/// The words of a frame of the table above its leaves.
fn words<P: Platform>(platform: &P, address: u64) -> &[AtomicU64] {
    // SAFETY: 1. The frame came from the Xen heap, which is mapped, and is given back only if nobody
    // was told of it. 2. It is written through these atomics alone, and those of the records.
    unsafe { shared(platform, Table { address, len: 1 << BITS }) }
}

fn entry<P: Platform>(
    platform: &P,
    address: u64,
    domain: DomainId,
    level: u32,
) -> Option<&AtomicU64> {
    let index = domain.0 >> (LEAF_BITS + level * BITS) & ((1 << BITS) - 1);
    words(platform, address).get(index as usize)
}

fn record<P: Platform>(platform: &P, address: u64, domain: DomainId) -> Option<&DomainRecord> {
    records(platform, address).get((domain.0 & ((1 << LEAF_BITS) - 1)) as usize)
}

/// The records of a leaf.
fn records<P: Platform>(platform: &P, address: u64) -> &[DomainRecord] {
    // SAFETY: As in `words`; a frame begins at a multiple of the records' alignment.
    unsafe { shared(platform, Table { address, len: 1 << LEAF_BITS }) }
}
