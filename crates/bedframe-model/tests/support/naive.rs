//! One vector entry for each frame, and every question answered by looking at all of them.
//!
//! Written from the rules once more, sharing no code with the model, and slow on purpose.

use bedframe::{FrameRange, Mfn, NodeId, Nodes, Order, Pool, Request, XenHeap, Zone};
use bedframe_model::{Block, FrameState};

#[derive(Clone, PartialEq, Debug)]
pub struct Naive {
    pub frames: Vec<Frame>,
    pub xen_heap: XenHeap,
    pub started: bool,
    pub batches: u32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Frame {
    pub node: Option<NodeId>,
    /// In a hole: what the frame will be once it is RAM.
    pub state: FrameState,
    /// Which call added it while the heap ran; 0 for all that was there before.
    pub batch: u32,
}

fn index(frames: FrameRange) -> std::ops::Range<usize> {
    frames.start().get() as usize..frames.end().get() as usize
}

impl Naive {
    pub fn new(frames: usize, xen_heap: XenHeap) -> Self {
        let hole = Frame { node: None, state: FrameState::Free, batch: 0 };
        Self { frames: vec![hole; frames], xen_heap, started: false, batches: 0 }
    }

    pub fn state(&self, frame: usize) -> FrameState {
        match self.frames[frame] {
            Frame { node: None, .. } => FrameState::Hole,
            Frame { state, .. } => state,
        }
    }

    /// The first frame that was added on another node.
    pub fn add_ram(&mut self, range: FrameRange, node: NodeId) -> Result<(), u64> {
        let other = |f: &usize| self.frames[*f].node.is_some_and(|n| n != node);
        if let Some(frame) = index(range).find(other) {
            return Err(frame as u64);
        }
        self.batches += u32::from(self.started);
        let batch = self.batches;
        for frame in &mut self.frames[index(range)] {
            if frame.node.is_none() {
                *frame = Frame { node: Some(node), batch, ..*frame };
            }
        }
        Ok(())
    }

    /// The first frame that somebody has.
    pub fn withhold(&mut self, range: FrameRange, to: FrameState) -> Result<(), u64> {
        use FrameState::*;
        if let Some(frame) =
            index(range).find(|&f| matches!(self.state(f), Given | InUse | Metadata))
        {
            return Err(frame as u64);
        }
        for frame in &mut self.frames[index(range)] {
            frame.state = match (frame.state, to) {
                (Bad, _) | (_, Bad) => Bad,
                (Reserved, _) | (_, Reserved) => Reserved,
                _ => to,
            };
        }
        Ok(())
    }

    /// The first frame that is none of `accepted`; if there is none, all that are `from` become
    /// free.
    pub fn make_free(
        &mut self,
        range: FrameRange,
        accepted: [FrameState; 2],
        from: &[FrameState],
    ) -> Result<(), u64> {
        if let Some(frame) = index(range).find(|&f| !accepted.contains(&self.state(f))) {
            return Err(frame as u64);
        }
        for frame in &mut self.frames[index(range)] {
            if from.contains(&frame.state) {
                frame.state = FrameState::Free;
            }
        }
        Ok(())
    }

    pub fn take(&mut self, range: FrameRange, state: FrameState) {
        for frame in &mut self.frames[index(range)] {
            assert_eq!(frame.state, FrameState::Free);
            frame.state = state;
        }
    }

    fn mapped(&self, frame: usize) -> bool {
        match self.xen_heap {
            XenHeap::Unified => true,
            XenHeap::Limited { limit } => (frame as u64) < limit.get(),
            XenHeap::Separate { range } => range.contains(Mfn::new(frame as u64)),
        }
    }

    fn serves(&self, frame: usize, pool: Pool) -> bool {
        match (pool, self.xen_heap) {
            (Pool::Xen, _) => self.mapped(frame),
            (Pool::Domain, XenHeap::Separate { .. }) => !self.mapped(frame),
            (Pool::Domain, _) => true,
        }
    }

    /// Whether a block may hold both frames, which are neighbours.
    fn joined(&self, a: usize, b: usize) -> bool {
        let zone = |f: usize| Zone::of(Mfn::new(f as u64));
        let Self { frames, .. } = self;
        let kind = |f: usize| (frames[f].node, frames[f].batch, zone(f), self.mapped(f));
        self.frames[a].node.is_some() && kind(a) == kind(b)
    }

    /// Whether `request` may be met by `start..start + length`.
    pub fn fits(&self, request: &Request<'_>, start: usize) -> bool {
        let length = request.length() as usize;
        let alignment = request.alignment() as usize;
        if length == 0 || !alignment.is_power_of_two() || !start.is_multiple_of(alignment) {
            return false;
        }
        let Some(taken) = self.frames.get(start..start + length) else { return false };
        let node = taken[0].node;
        let range = start..start + length;
        let one_node = taken.iter().all(|f| f.node == node);
        let nodes = match request.allowed_nodes() {
            Nodes::Any | Nodes::Prefer(_) => true,
            Nodes::Exact(n) => one_node && node == Some(n),
            Nodes::OneOf(set) => one_node && set.iter().any(|&n| node == Some(n)),
        };
        let place = if self.started {
            range.clone().all(|f| self.serves(f, request.heap()))
                && (start + 1..start + length).all(|f| self.joined(f - 1, f))
        } else {
            request.heap() == Pool::Domain || range.clone().all(|f| self.mapped(f))
        };
        nodes
            && place
            && range.clone().all(|f| self.state(f) == FrameState::Free)
            && range.clone().all(|f| request.within().contains(Mfn::new(f as u64)))
    }

    pub fn can_satisfy(&self, request: &Request<'_>) -> bool {
        (0..self.frames.len()).any(|start| self.fits(request, start))
    }

    /// Largest blocks first: any naturally aligned block that is free, in one segment, and in no
    /// larger such block.
    pub fn blocks(&self) -> Vec<Block> {
        let mut found: Vec<Block> = Vec::new();
        for order in (0..12).rev().filter_map(Order::new) {
            let size = order.frames() as usize;
            for start in (0..self.frames.len()).step_by(size) {
                let block = Block { start: Mfn::new(start as u64), order };
                if start + size <= self.frames.len()
                    && (start..start + size).all(|f| self.state(f) == FrameState::Free)
                    && (start + 1..start + size).all(|f| self.joined(f - 1, f))
                    && !found.iter().any(|larger| larger.range().covers(block.range()))
                {
                    found.push(block);
                }
            }
        }
        found.sort();
        found
    }
}
