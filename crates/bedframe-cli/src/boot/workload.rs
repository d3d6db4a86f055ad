//! Random allocations and frees over the running heap, every answer judged.

use bedframe::{AllocError, CpuId, FrameRange, Mfn, NodeId, Nodes, Order, Pool, Request, XenHeap};
use bedframe_hosted::{set_cpu, set_node};

use super::findings::Findings;
use super::live::Live;
use super::world::World;
use crate::frames::{Piece, from_len};
use crate::progress::Progress;
use crate::rng::Rng;

/// How many blocks are held at the top of a wave.
const MOST_BLOCKS: u64 = 6000;
/// CPUs that take turns. More would spread over more memory, all of which becomes resident.
const CPUS: u64 = 8;
/// Refusals that are checked by a search of their own: each costs a walk over all free memory, so
/// this is how many frames of the machine are walked for all of them together.
const AUDIT_FRAMES: u64 = 64 << 30;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    /// Allocations and frees.
    pub(crate) ops: u64,
    pub(crate) allocs: u64,
    pub(crate) frees: u64,
    /// Frees of a part of a block.
    pub(crate) parts: u64,
    /// Frees of two neighbours in one call.
    pub(crate) unions: u64,
    /// Blocks allocated and freed by address.
    pub(crate) by_address: u64,
    /// Allocations that were refused.
    pub(crate) refusals: u64,
    /// Refusals for which a search of all free memory was made.
    pub(crate) audited: u64,
    /// The most frames that were held at a time.
    pub(crate) most_frames: u64,
    /// The largest order that was allocated.
    pub(crate) largest: u8,
}

/// The machine that the workload runs on.
pub(crate) struct Stage<'a> {
    pub(crate) world: &'a World<'a>,
    pub(crate) xen_heap: XenHeap,
    /// Segments without what is withheld.
    pub(crate) allowed: &'a [Piece],
    pub(crate) nodes: &'a [NodeId],
    pub(crate) cpus: u32,
}

/// Runs `ops` operations, then frees what is left.
pub(crate) fn run(
    stage: &Stage<'_>,
    ops: u64,
    seed: u64,
    progress: &Progress,
    findings: &mut Findings,
) -> Tally {
    let rng = Rng::new(seed, 0x776f_726b);
    let live = Live::new(stage.world.contents(), stage.allowed);
    let frames = crate::frames::total(stage.allowed);
    let mut run = Run { stage, rng, live, tally: Tally::default(), frames, findings };
    while run.tally.ops < ops {
        if run.tally.ops.is_multiple_of(64) {
            run.change_cpu();
            progress.advance(run.tally.ops, ops);
        }
        // Waves: memory fills for a while, then empties for a while.
        let rising = (run.tally.ops / 20_000).is_multiple_of(2);
        let room = (run.live.len() as u64) < MOST_BLOCKS && run.live.frames < run.frames / 2;
        if run.live.len() == 0 || (room && run.rng.percent(if rising { 62 } else { 40 })) {
            run.alloc();
        } else {
            run.free();
        }
    }
    while run.live.len() > 0 {
        run.free();
    }
    set_cpu(CpuId(0));
    set_node(NodeId(0));
    run.tally
}

struct Run<'a, 'f> {
    stage: &'a Stage<'a>,
    rng: Rng,
    live: Live<'a>,
    tally: Tally,
    frames: u64,
    findings: &'f mut Findings,
}

impl Run<'_, '_> {
    fn change_cpu(&mut self) {
        let cpu = self.rng.below(CPUS.min(u64::from(self.stage.cpus))) as u32;
        set_cpu(CpuId(cpu));
        let node = self.stage.nodes.get(cpu as usize % self.stage.nodes.len().max(1));
        set_node(node.copied().unwrap_or_default());
    }

    fn alloc(&mut self) {
        self.tally.ops += 1;
        self.tally.allocs += 1;
        let some = self.some_nodes();
        let request = self.request(&some);
        if self.rng.percent(4) {
            return self.alloc_by_address();
        }
        match self.stage.world.memory.alloc(&request) {
            Ok(range) => self.got(&request, range, false),
            Err(error) => self.refused(&request, error),
        }
    }

    fn alloc_by_address(&mut self) {
        let order = Order::new(self.rng.below(7) as u8).unwrap_or_default();
        match self.stage.world.memory.alloc_xen_heap(order) {
            Ok(address) => {
                let platform = self.stage.world.memory.platform();
                match bedframe::Platform::frame_of(platform, address.as_ptr()) {
                    Some(frame) => {
                        self.tally.by_address += 1;
                        let range = from_len(frame.get(), order.frames());
                        self.got(&Request::order(order).pool(Pool::Xen), range, true);
                    }
                    None => self.findings.add(format!("{address:p} is no frame's address")),
                }
            }
            Err(error) => self.refused(&Request::order(order).pool(Pool::Xen), error),
        }
    }

    /// Nodes for requests that name some.
    fn some_nodes(&mut self) -> [NodeId; 2] {
        [(); 2].map(|()| self.rng.pick(self.stage.nodes).unwrap_or_default())
    }

    /// A request as a hypervisor might make it, and now and then one as it should not.
    fn request<'n>(&mut self, some: &'n [NodeId]) -> Request<'n> {
        let size = self.rng.below(100);
        let request = match size {
            0..74 => Request::order(Order::ZERO),
            74..88 => self.block(1, 9),
            88..96 => {
                let most = if self.rng.percent(90) { 64 } else { 1500 };
                let length = self.rng.between(1, most);
                Request::frames(length).align(1 << self.rng.below(7))
            }
            96..99 => self.block(1, 4),
            _ => self.block(10, 18),
        };
        let request = match self.rng.below(100) {
            0..40 => request,
            40..75 => request.prefer(some.first().copied().unwrap_or_default()),
            75..95 => request.on(some.first().copied().unwrap_or_default()),
            _ => request.nodes(Nodes::OneOf(some)),
        };
        let request = match self.rng.below(100) {
            0..4 => request.width(self.rng.between(20, 44) as u32),
            4 => request.width(32),
            _ => request,
        };
        if self.rng.percent(10) { request.pool(Pool::Xen) } else { request }
    }

    /// A block of a random order, at most an eighth of the machine.
    fn block<'n>(&mut self, first: u64, last: u64) -> Request<'n> {
        let most = u64::from((self.frames / 8).max(1).ilog2());
        let order = self.rng.between(first, last).min(most);
        Request::order(Order::new(order as u8).unwrap_or_default())
    }

    /// Judges what was handed out and puts it on the books.
    fn got(&mut self, request: &Request<'_>, range: FrameRange, by_address: bool) {
        match self.live.judge(range) {
            Ok(piece) => {
                if let Some(wrong) = breach(self.stage.xen_heap, request, range, piece.node) {
                    self.findings.add(format!("{range} was handed out for {request:?}: {wrong}"));
                }
            }
            Err(wrong) => return self.findings.add(wrong),
        }
        self.tally.largest = self.tally.largest.max(range.frames().ilog2() as u8);
        let added = self.live.add(range, by_address);
        self.findings.expect(added, || format!("writing to {range}"));
        self.tally.most_frames = self.tally.most_frames.max(self.live.frames);
    }

    /// A refusal is right if no free block would do.
    fn refused(&mut self, request: &Request<'_>, error: AllocError) {
        self.tally.refusals += 1;
        if self.tally.audited >= (AUDIT_FRAMES / self.frames.max(1)).clamp(1, 32) {
            return;
        }
        self.tally.audited += 1;
        let mut found = None;
        self.stage.world.memory.each_free_run(|run, node| {
            if found.is_none() && breach_of_place(self.stage.xen_heap, request, run, node).is_none()
            {
                found = place(request, run);
            }
        });
        if let Some(block) = found {
            self.findings.add(format!("{block} was free when {request:?} was refused: {error}"));
        }
    }

    fn free(&mut self) {
        self.tally.ops += 1;
        self.tally.frees += 1;
        let index = self.rng.below(self.live.len() as u64) as usize;
        let Some(block) = self.take(index) else { return };
        if block.by_address && self.rng.percent(90) {
            return self.free_by_address(block.range);
        }
        let (start, frames) = (block.range.start().get(), block.range.frames());
        let mut range = block.range;
        match self.rng.below(100) {
            0..15 if frames > 1 => {
                // A part, at either end or in the middle; the rest is held on to.
                let first = self.rng.below(frames);
                let length = self.rng.between(1, frames - first);
                range = from_len(start + first, length);
                let rest = [
                    from_len(start, first),
                    from_len(start + first + length, frames - first - length),
                ];
                for rest in rest.into_iter().filter(|rest| !rest.is_empty()) {
                    let added = self.live.add(rest, false);
                    self.findings.expect(added, || format!("writing to {rest}"));
                }
                self.tally.parts += 1;
            }
            15..30 => {
                // With the neighbour behind it, if that is held too.
                let behind = self.live.right_behind(range).and_then(|index| self.take(index));
                if let Some(behind) = behind {
                    range = from_len(start, frames + behind.range.frames());
                    self.tally.unions += 1;
                }
            }
            _ => {}
        }
        let freed = self.stage.world.memory.free(range);
        self.findings.expect(freed, || format!("freeing {range}"));
        self.zap(range);
    }

    fn free_by_address(&mut self, range: FrameRange) {
        let platform = self.stage.world.memory.platform();
        let address = bedframe::Platform::frame_ptr(platform, range.start());
        let order = Order::covering(range.frames()).unwrap_or_default();
        let freed = self.stage.world.memory.free_xen_heap(address, order);
        self.findings.expect(freed, || format!("freeing {range} by address"));
    }

    fn take(&mut self, index: usize) -> Option<super::live::Block> {
        let block = self.live.remove(index);
        self.findings.expect(block, || "the contents of a block that was held".into())
    }

    /// Large blocks move about; what they leave behind would stay resident.
    fn zap(&mut self, range: FrameRange) {
        if range.frames() >= 512 {
            let zapped = self.stage.world.contents().zap(range);
            self.findings.expect(zapped, || format!("clearing {range}"));
        }
    }
}

/// What about these frames does not meet the request.
fn breach(
    xen_heap: XenHeap,
    request: &Request<'_>,
    range: FrameRange,
    node: NodeId,
) -> Option<&'static str> {
    if range.frames() != request.length() {
        return Some("the length is another");
    }
    if !range.start().get().is_multiple_of(request.alignment()) {
        return Some("it is not aligned");
    }
    if !request.within().covers(range) {
        return Some("it lies outside");
    }
    breach_of_place(xen_heap, request, range, node)
}

/// The same for what holds for a whole segment: node and pool.
fn breach_of_place(
    xen_heap: XenHeap,
    request: &Request<'_>,
    range: FrameRange,
    node: NodeId,
) -> Option<&'static str> {
    let node_is_right = match request.allowed_nodes() {
        Nodes::Any | Nodes::Prefer(_) => true,
        Nodes::Exact(wanted) => wanted == node,
        Nodes::OneOf(nodes) => nodes.contains(&node),
    };
    if !node_is_right {
        return Some("it lies on another node");
    }
    let mapped = xen_heap.mapped().covers(range);
    let pool_is_right = match (request.heap(), xen_heap) {
        (Pool::Xen, _) => mapped,
        (Pool::Domain, XenHeap::Separate { .. }) => !mapped,
        (Pool::Domain, _) => true,
    };
    (!pool_is_right).then_some("it lies in the other pool")
}

/// A place for the request in a free run.
fn place(request: &Request<'_>, run: FrameRange) -> Option<FrameRange> {
    let run = run.intersect(request.within());
    let start = run.start().get().checked_next_multiple_of(request.alignment())?;
    let block = FrameRange::from_len(Mfn::new(start), request.length())?;
    (!block.is_empty() && run.covers(block)).then_some(block)
}
