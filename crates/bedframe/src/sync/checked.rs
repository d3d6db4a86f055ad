//! Atomics that a checker watches, loom or shuttle, in words that lie wherever the index has its words.
//!
//! A checker's own atomics cannot stand in the tables: they are larger than the words, they are made
//! inside an execution and die with it, and tables are raw memory that is filled word by word. So each
//! atomic here is the word itself, and the checker's object for it is kept on the side, by address, in
//! the [`Execution`].
//!
//! * An object is given to a word when that is first reached. What lies there then, written by plain
//!   stores or before anybody watched, comes first in the order of its changes.
//! * Loom holds that an object is written where it is made, and so that whoever uses it must have
//!   synchronised with its maker. So all are made when the execution begins, before there is a second
//!   thread. Nobody knows then what will lie in the word: an object holds the number of a value in
//!   the list of those that its word had, and number 0 is whatever it had first.
//! * Each change is written to the word too, so that plain reads, and everything behind the end of the
//!   execution, find what came last.
//! * Outside of [`begin`] and [`end`] the words are ordinary atomics. Preparing a world and looking at
//!   it afterwards cost no interleavings.
//!
//! An object's step is one: checkers switch threads before it and never within, so word and object
//! change together. All threads of an execution are coroutines of one thread of the system: what is
//! thread-local here is common to them.
//!
//! Loom knows which writes a load may see, and plain accesses that race, which [`plain_read`] and
//! [`plain_write`] tell it of. It takes sequentially consistent fences for stronger than they are: each
//! synchronises with all before it. Shuttle takes every access for sequentially consistent.

// The library alone, without its tests, is built with these flags too; and not every atomic needs
// every method.
#![allow(dead_code)]

use core::cell::{Cell, RefCell};
use core::sync::atomic::{self as words, Ordering};
use std::collections::HashMap;
use std::rc::Rc;

#[cfg(loom)]
use loom::sync::atomic as watched;
#[cfg(shuttle)]
use shuttle::sync::atomic as watched;

/// What the checker knows of one word.
struct Object {
    /// The number of the word's value.
    number: watched::AtomicUsize,
    values: RefCell<Vec<u64>>,
}

impl Object {
    fn number_of(&self, value: u64) -> usize {
        let mut values = self.values.borrow_mut();
        values.iter().position(|known| *known == value).unwrap_or_else(|| {
            values.push(value);
            values.len() - 1
        })
    }

    fn value_of(&self, number: usize) -> u64 {
        self.values.borrow()[number]
    }

    fn compare_exchange(
        &self,
        old: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        let (old, new) = (self.number_of(old), self.number_of(new));
        let result = self.number.compare_exchange(old, new, success, failure);
        result.map(|was| self.value_of(was)).map_err(|is| self.value_of(is))
    }
}

/// The objects of one execution, by the address of their word.
struct Execution {
    objects: HashMap<usize, Rc<Object>>,
    spare: Vec<watched::AtomicUsize>,
    #[cfg(loom)]
    plain: HashMap<usize, Rc<loom::cell::UnsafeCell<()>>>,
}

type Hook = Rc<dyn Fn()>;

std::thread_local! {
    static EXECUTION: RefCell<Option<Execution>> = const { RefCell::new(None) };
    static BEFORE: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// From here on the checker watches. No more than `words` of them will be reached.
pub(crate) fn begin(words: usize) {
    let spare = (0..words).map(|_| watched::AtomicUsize::new(0)).collect();
    EXECUTION.set(Some(Execution {
        objects: HashMap::new(),
        spare,
        #[cfg(loom)]
        plain: HashMap::new(),
    }));
}

/// From here on words are words again.
pub(crate) fn end() {
    EXECUTION.set(None);
}

/// Whether the checker watches.
pub(crate) fn is_watched() -> bool {
    EXECUTION.with_borrow(|execution| execution.is_some())
}

/// Has `hook` called before every step on an atomic, as an interrupt comes between any two of them.
pub(crate) fn before_each_step(hook: Option<Hook>) {
    BEFORE.set(hook);
}

/// Steps on atomics so far, of this thread of the system.
pub(crate) fn steps() -> u64 {
    STEPS.get()
}

/// The object of a word, if the checker watches.
fn object(address: usize, value: impl FnOnce() -> u64) -> Option<Rc<Object>> {
    STEPS.set(STEPS.get() + 1);
    if let Some(hook) = BEFORE.with_borrow(Option::clone) {
        hook();
    }
    EXECUTION.with_borrow_mut(|execution| {
        let Execution { objects, spare, .. } = execution.as_mut()?;
        let make = || {
            let number = spare.pop().expect("more words are reached than were announced");
            Rc::new(Object { number, values: RefCell::new(vec![value()]) })
        };
        Some(objects.entry(address).or_insert_with(make).clone())
    })
}

/// A sequentially consistent fence.
pub(crate) fn fence() {
    if is_watched() {
        watched::fence(Ordering::SeqCst);
    } else {
        words::fence(Ordering::SeqCst);
    }
}

/// Says that what lies at `address` is read by plain loads from here on.
pub(crate) fn plain_read<T: ?Sized>(address: *const T) {
    #[cfg(loom)]
    {
        // What was not written in this execution was written before it.
        let find = |execution: &Execution| execution.plain.get(&place(address)).cloned();
        if let Some(cell) = EXECUTION.with_borrow(|execution| execution.as_ref().and_then(find)) {
            cell.with(|_| ());
        }
    }
    let _ = address;
}

/// Says that what lies at `address` is written by plain stores from here on.
pub(crate) fn plain_write<T: ?Sized>(address: *const T) {
    #[cfg(loom)]
    {
        let cell = EXECUTION.with_borrow_mut(|execution| {
            let cell = execution.as_mut()?.plain.entry(place(address));
            Some(cell.or_insert_with(|| Rc::new(loom::cell::UnsafeCell::new(()))).clone())
        });
        if let Some(cell) = cell {
            cell.with_mut(|_| ());
        }
    }
    let _ = address;
}

#[cfg(loom)]
fn place<T: ?Sized>(address: *const T) -> usize {
    address.cast::<()>().addr()
}

macro_rules! atomic {
    ($name:ident, $value:ty, $from:expr, $($method:ident: $new:expr),*) => {
        /// The word of the same name, watched.
        #[repr(transparent)]
        pub(crate) struct $name(words::$name);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(words::$name::new(value))
            }

            fn object(&self) -> Option<Rc<Object>> {
                object(self.0.as_ptr().addr(), || u64::from(self.0.load(Ordering::Relaxed)))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                let Some(object) = self.object() else { return self.0.load(order) };
                $from(object.value_of(object.number.load(order)))
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                let Some(object) = self.object() else { return self.0.store(value, order) };
                object.number.store(object.number_of(u64::from(value)), order);
                self.0.store(value, Ordering::Relaxed);
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                let Some(object) = self.object() else { return self.0.swap(value, order) };
                let was = object.number.swap(object.number_of(u64::from(value)), order);
                self.0.store(value, Ordering::Relaxed);
                $from(object.value_of(was))
            }

            pub(crate) fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let Some(object) = self.object() else {
                    return self.0.compare_exchange(old, new, success, failure);
                };
                let (from, to) = (u64::from(old), u64::from(new));
                let result = object.compare_exchange(from, to, success, failure);
                if result.is_ok() {
                    self.0.store(new, Ordering::Relaxed);
                }
                result.map($from).map_err($from)
            }

            /// Neither checker has compare-exchanges fail for nothing.
            pub(crate) fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(old, new, success, failure)
            }

            /// By compare-exchange from what came last: it succeeds at once as a rule.
            fn change(&self, object: &Object, order: Ordering, new: impl Fn($value) -> $value) -> $value {
                let mut old = self.0.load(Ordering::Relaxed);
                loop {
                    let (from, to) = (u64::from(old), u64::from(new(old)));
                    match object.compare_exchange(from, to, order, Ordering::Relaxed) {
                        Ok(_) => {
                            self.0.store(new(old), Ordering::Relaxed);
                            return old;
                        }
                        Err(now) => old = $from(now),
                    }
                }
            }

            $(pub(crate) fn $method(&self, value: $value, order: Ordering) -> $value {
                let Some(object) = self.object() else { return self.0.$method(value, order) };
                let new: fn($value, $value) -> $value = $new;
                self.change(&object, order, |old| new(old, value))
            })*
        }
    };
}

atomic!(AtomicBool, bool, |value| value != 0, fetch_or: |old, value| old | value);
atomic!(AtomicU32, u32, |value| value as u32,
    fetch_add: u32::wrapping_add, fetch_sub: u32::wrapping_sub);
atomic!(AtomicU64, u64, |value| value,
    fetch_add: u64::wrapping_add,
    fetch_or: |old, value| old | value,
    fetch_and: |old, value| old & value,
    fetch_max: u64::max);
