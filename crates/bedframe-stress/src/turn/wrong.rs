//! Frees that must be refused, whatever other threads do.

use bedframe::{FrameRange, FreeError, FreeRefusal, Mfn, Order, Platform};

use super::Turn;
use crate::found::Found;
use crate::layout::{BAD, HOLES, RELEASABLE, RESERVED};

impl Turn<'_> {
    /// A free or a release of what nobody ever holds.
    pub(super) fn free_wrongly(&mut self) -> Result<(), Found> {
        let metadata = self.life.metadata.as_slice();
        let (list, why): (&[FrameRange], _) = match self.rng.u32(0..9) {
            0 => (&RESERVED, FreeRefusal::Reserved),
            1 => (&BAD, FreeRefusal::Bad),
            2 => (&HOLES, FreeRefusal::Hole),
            // The first one is kept until the end.
            3 => (&RELEASABLE[..1], FreeRefusal::Releasable),
            4 => (metadata, FreeRefusal::Metadata),
            5 => return self.free_no_address(),
            6 => return self.release_wrongly(),
            _ => return self.free_over_withheld(),
        };
        if list.is_empty() {
            return Ok(());
        }
        let range = list[self.rng.usize(0..list.len())];
        let frame = Mfn::new(range.start().get() + self.rng.u64(0..range.frames()));
        let result = self.life.memory.free(FrameRange::single(frame));
        self.expect("free the withheld", result, frame, why)
    }

    /// Whatever else is in the range: with one frame in it that cannot be freed, none is.
    fn free_over_withheld(&mut self) -> Result<(), Found> {
        let list = if self.rng.bool() { BAD[1] } else { RESERVED[1] };
        let start = list.start().get() - self.rng.u64(0..700);
        let end = list.end().get() + self.rng.u64(0..700);
        let range = FrameRange::new(Mfn::new(start), Mfn::new(end)).unwrap_or(list);
        self.worker.counts.did("free over the withheld");
        match self.life.memory.free(range) {
            Err(error) if error.committed == 0 && range.contains(error.frame) => {
                self.count_refusal(&error);
                Ok(())
            }
            result => Err(Found(format!("free of {range}, with {list} withheld: {result:?}"))),
        }
    }

    fn free_no_address(&mut self) -> Result<(), Found> {
        let start = self.life.mapped().start().saturating_add(0x20);
        let address = self.life.memory.platform().frame_ptr(start).wrapping_add(8);
        let result = self.life.memory.free_xen_heap(address, Order::ZERO);
        self.expect("free the withheld", result, start, FreeRefusal::NotMapped)
    }

    fn release_wrongly(&mut self) -> Result<(), Found> {
        let near = self.somewhere();
        let Some(piece) = self.worker.held.peek(near) else { return Ok(()) };
        let result = self.life.memory.release(piece.range).map(|_| ());
        self.expect("release the held", result, piece.range.start(), FreeRefusal::NotReleasable)
    }

    fn expect(
        &mut self,
        name: &'static str,
        result: Result<(), FreeError>,
        frame: Mfn,
        why: FreeRefusal,
    ) -> Result<(), Found> {
        self.worker.counts.did(name);
        let expected = FreeError { frame, why, committed: 0 };
        match result {
            Err(error) if error == expected => {
                self.count_refusal(&error);
                Ok(())
            }
            _ => Err(Found(format!("{name}: {result:?}, not {expected:?}"))),
        }
    }
}
