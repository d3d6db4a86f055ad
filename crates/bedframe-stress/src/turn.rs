//! One operation after the other, by one thread.

mod free;
mod hammer;
mod look;
mod once;
mod wrong;

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    CpuId, FrameRange, FreeError, FreeRefusal, Mfn, NodeId, Nodes, Order, Platform, Pool, Request,
};
use fastrand::Rng;

use crate::ask::{Before, any_request, impossible, judge, judge_refusal};
use crate::counts::Counts;
use crate::found::Found;
use crate::held::{Held, Piece};
use crate::layout::END;
use crate::life::Life;
use crate::owners::NOBODY;
use crate::{content, mix};

pub(crate) use once::Event;

/// What a thread keeps from one phase to the next.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) held: Held,
    pub(crate) counts: Counts,
}

/// A worker at work in one phase of a life.
pub(crate) struct Turn<'a> {
    pub(crate) life: &'a Life,
    pub(crate) worker: &'a mut Worker,
    pub(crate) rng: Rng,
    /// CPU numbers that have hints of their own.
    pub(crate) cpus: u32,
    /// Whether so much is free all the time that a few frames are always found.
    pub(crate) roomy: bool,
}

impl Turn<'_> {
    /// Random choices from here on depend on `seed` alone.
    pub(crate) fn choose_by(&mut self, seed: u64) {
        self.rng = Rng::with_seed(mix(seed));
    }

    /// One operation of the mixture. The thread comes to hold about `target` frames.
    pub(crate) fn step(&mut self, target: u64) -> Result<(), Found> {
        match self.rng.u32(0..200) {
            0..4 => self.look(),
            4..8 => self.free_wrongly(),
            8..16 => self.refer(),
            16..24 => self.take_from_inbox(),
            24..26 => {
                self.become_some_cpu();
                Ok(())
            }
            26 => self.release_something(),
            27 => self.add_what_is_there(),
            28..30 => self.ask_the_impossible(),
            _ => {
                let likely = if self.worker.held.frames() < target { 65 } else { 35 };
                if self.rng.u32(0..100) < likely { self.take() } else { self.give() }
            }
        }
    }

    /// From now on this thread is another CPU, which another thread may be at the same time; the
    /// CPU that it was vanishes, with whatever hints it had.
    pub(crate) fn become_some_cpu(&mut self) {
        let cpu = match self.rng.u32(0..16) {
            0 => u32::MAX - self.rng.u32(0..3),
            _ => self.rng.u32(0..2 * self.cpus),
        };
        bedframe_hosted::set_cpu(CpuId(cpu));
        bedframe_hosted::set_node(NodeId(self.rng.u32(0..4)));
    }

    fn ask_the_impossible(&mut self) -> Result<(), Found> {
        let (request, expected, name) = impossible(&mut self.rng);
        self.worker.counts.did("alloc the impossible");
        let result = self.life.memory.alloc(&request);
        self.worker.counts.refused(name);
        Found::unless(result == Err(expected), || {
            format!("{request:?} was answered with {result:?}, not {expected:?}")
        })
    }

    fn take(&mut self) -> Result<(), Found> {
        match self.rng.u32(0..20) {
            0 => self.take_owned(),
            1 => self.take_xen(),
            _ => {
                let (name, request) = any_request(&mut self.rng);
                self.take_request(name, &request)
            }
        }
    }

    pub(crate) fn take_request(
        &mut self,
        name: &'static str,
        request: &Request<'_>,
    ) -> Result<(), Found> {
        let before = Before::now(self.life);
        self.worker.counts.did(name);
        match self.life.memory.alloc(request) {
            Ok(range) => {
                judge(self.life, request, range, before)?;
                self.hold(range)
            }
            Err(error) => {
                let name = judge_refusal(self.life, request, error, before)?;
                self.worker.counts.refused(name);
                // A block that is free throughout the call is found.
                Found::unless(!self.roomy || name == "LedgerFull" || !is_modest(request), || {
                    format!("with half of all memory free, {request:?} was refused: {error}")
                })
            }
        }
    }

    /// Makes frames that were just handed out this thread's.
    fn hold(&mut self, range: FrameRange) -> Result<(), Found> {
        let tag = self.life.next_tag();
        self.life.owners.pass(range, NOBODY, tag)?;
        content::write(self.life.hosted(), range, tag);
        self.worker.held.put(Piece { range, tag });
        Ok(())
    }

    /// Checks and forgets frames that are about to be freed.
    fn let_go(&mut self, piece: Piece) -> Result<(), Found> {
        content::check(self.life.hosted(), piece.range, piece.tag)?;
        content::scribble(self.life.hosted(), piece.range, piece.tag);
        self.life.owners.pass(piece.range, piece.tag, NOBODY)
    }

    /// The reverse, for a free that was refused for a while.
    fn hold_on(&mut self, piece: Piece) -> Result<(), Found> {
        self.life.owners.pass(piece.range, NOBODY, piece.tag)?;
        content::write(self.life.hosted(), piece.range, piece.tag);
        self.worker.held.put(piece);
        Ok(())
    }

    /// Frames that free themselves: a part is dropped at once, the rest is kept.
    fn take_owned(&mut self) -> Result<(), Found> {
        let (_, request) = any_request(&mut self.rng);
        let before = Before::now(self.life);
        self.worker.counts.did("alloc owned");
        let mut owned = match self.life.memory.alloc_owned(&request) {
            Ok(owned) => owned,
            Err(error) => {
                let name = judge_refusal(self.life, &request, error, before)?;
                self.worker.counts.refused(name);
                return Ok(());
            }
        };
        judge(self.life, &request, owned.range(), before)?;
        // The ledger may have no room for a split, and a drop cannot say so.
        if before.is_heap()
            && let Some(rest) = owned.split_off(self.rng.u64(0..=request.length()))
        {
            let (tag, range) = (self.life.next_tag(), rest.range());
            self.life.owners.pass(range, NOBODY, tag)?;
            content::write(self.life.hosted(), range, tag);
            self.let_go(Piece { range, tag })?;
            drop(rest);
            self.worker.counts.did("drop owned");
        }
        self.hold(owned.into_range())
    }

    /// A block of the Xen heap, by its address.
    fn take_xen(&mut self) -> Result<(), Found> {
        let order = Order::new(self.rng.u8(0..=10)).unwrap_or(Order::ZERO);
        let before = Before::now(self.life);
        self.worker.counts.did("alloc Xen heap");
        let request = Request::order(order).pool(Pool::Xen);
        match self.life.memory.alloc_xen_heap(order) {
            Ok(address) => {
                let frame = Platform::frame_of(self.life.memory.platform(), address.as_ptr());
                let range = frame.and_then(|frame| FrameRange::from_len(frame, order.frames()));
                let range = range.ok_or_else(|| Found(format!("no frame at {address:?}")))?;
                judge(self.life, &request, range, before)?;
                self.hold(range)
            }
            Err(error) => {
                let name = judge_refusal(self.life, &request, error, before)?;
                self.worker.counts.refused(name);
                Ok(())
            }
        }
    }

    /// A place to look for something that is held.
    fn somewhere(&mut self) -> Mfn {
        Mfn::new(self.rng.u64(0..END.get()))
    }

    /// Frees something, or something that another thread left.
    pub(crate) fn drain(&mut self) -> Result<(), Found> {
        if self.rng.u32(0..4) == 0 { self.take_from_inbox() } else { self.give() }
    }

    fn take_from_inbox(&mut self) -> Result<(), Found> {
        let Some(piece) = self.life.inboxes[self.worker.number].pop() else { return Ok(()) };
        if self.rng.bool() {
            content::check(self.life.hosted(), piece.range, piece.tag)?;
            self.worker.held.put(piece);
            return Ok(());
        }
        self.free_pieces("free another thread's", &[piece])
    }

    /// Counts a refused free; answers whether it may come later.
    pub(crate) fn count_refusal(&mut self, error: &FreeError) -> bool {
        if !error.waiting_can_help() {
            self.worker.counts.misuses += 1;
        }
        self.worker.counts.refused(refusal_name(error.why));
        error.waiting_can_help()
    }

    /// Whether the later memory with this number is on its way or there.
    fn is_later_there(&self, which: usize) -> bool {
        self.life.later[which].load(Relaxed) == 2
    }
}

/// Whether any eight frames of the domain heap would do.
fn is_modest(request: &Request<'_>) -> bool {
    request.length() <= 8
        && request.alignment() <= 8
        && request.within() == FrameRange::ALL
        && request.heap() == Pool::Domain
        && matches!(request.allowed_nodes(), Nodes::Any | Nodes::Prefer(_))
}

fn refusal_name(why: FreeRefusal) -> &'static str {
    match why {
        FreeRefusal::AlreadyFree => "AlreadyFree",
        FreeRefusal::Hole => "Hole",
        FreeRefusal::Reserved => "Reserved",
        FreeRefusal::Releasable => "Releasable",
        FreeRefusal::Metadata => "Metadata",
        FreeRefusal::Bad => "Bad",
        FreeRefusal::Referenced => "Referenced",
        FreeRefusal::NotReleasable => "NotReleasable",
        FreeRefusal::NotMapped => "NotMapped",
        FreeRefusal::OutOfRange => "OutOfRange",
        FreeRefusal::LedgerFull => "LedgerFull",
        _ => "another",
    }
}
