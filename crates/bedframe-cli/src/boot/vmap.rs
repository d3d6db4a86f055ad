//! A mapping that is made while the machine boots and taken away once the heap runs, and another that
//! is made then: scattered frames in a row, with pages around them that fault.

use bedframe::{
    Access, FrameRange, Memory, Order, PageState, Pool, Request, VirtualPage, VirtualRange, Vmap,
};
use bedframe_hosted::{HostedPlatform, HostedWindow};

use super::findings::Findings;
use super::world::World;

/// Pages of each mapping.
const PAGES: u64 = 64;
/// Pages of the window: what tables of two levels reach.
const WINDOW: u64 = 1 << 18;
/// Free frames below which a machine has none to spare.
const SPARE: u64 = 4096;
/// The word of each page that says which it is.
const WORD: usize = 300;

/// What was seen of both.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Mapped {
    /// Pages that were mapped before hand-over, and whose frames are in the heap.
    pub(crate) early: u64,
    /// Pages that were mapped after it.
    pub(crate) late: u64,
    /// Runs of neighbouring frames that the early mapping consisted of.
    pub(crate) runs: u64,
    /// Pages that faulted, as they must: guards, and what was unmapped.
    pub(crate) faults: u64,
}

/// A window in which boot has made its mapping.
pub(crate) struct Window<'w> {
    memory: &'w Memory<HostedPlatform>,
    vmap: Vmap<'w, HostedPlatform, HostedWindow>,
    top: FrameRange,
    early: VirtualRange,
}

/// Makes the early mapping; `None` on a machine that has no memory to spare for it.
pub(crate) fn open<'w>(world: &'w World<'_>, findings: &mut Findings) -> Option<Window<'w>> {
    let memory = &world.memory;
    if memory.statistics().free < SPARE {
        return None;
    }
    let top = memory.alloc(&Request::order(Order::ZERO).pool(Pool::Xen)).ok()?;
    let tables = HostedWindow::new(memory.platform(), top.start(), WINDOW);
    let tables = findings.expect(tables, || "a window for mappings".into())?;
    let pages = tables.pages();
    let vmap = Vmap::new(memory, tables, pages);
    let early = map(memory, &vmap, findings)?;
    Some(Window { memory, vmap, top, early })
}

/// Every second frame of twice as many, in a row; each page says which it is.
fn map(
    memory: &Memory<HostedPlatform>,
    vmap: &Vmap<'_, HostedPlatform, HostedWindow>,
    findings: &mut Findings,
) -> Option<VirtualRange> {
    let one = Request::order(Order::ZERO);
    let frames: Result<Vec<_>, _> = (0..2 * PAGES).map(|_| memory.alloc(&one)).collect();
    let mut frames = findings.expect(frames, || "frames to map".into())?;
    frames.sort_unstable_by_key(|range| range.start());
    for between in frames.iter().skip(1).step_by(2) {
        findings.expect(memory.free(*between), || format!("freeing {between}"));
    }
    let scattered: Vec<_> = frames.into_iter().step_by(2).collect();
    let mapping = findings.expect(vmap.map(&scattered, Access::READ_WRITE), || "vmap".into())?;
    for page in mapping.iter() {
        let stored = vmap.tables().store(page, WORD, page.get());
        findings.expect(stored, || format!("writing to mapped page {page}"));
    }
    Some(mapping)
}

impl Window<'_> {
    /// Takes the early mapping away, makes a late one and takes that away, and leaves nothing.
    pub(crate) fn close(self, findings: &mut Findings) -> Mapped {
        let mut mapped = Mapped { runs: self.runs(), ..Mapped::default() };
        mapped.early = self.unmap(self.early, &mut mapped.faults, findings);
        if let Some(late) = map(self.memory, &self.vmap, findings) {
            mapped.late = self.unmap(late, &mut mapped.faults, findings);
        }
        findings.expect(self.vmap.validate(), || "the window at the end".into());
        findings.equal("the window at the end", self.vmap.counts().frames, 0);
        findings.expect(self.memory.free(self.top), || "freeing the top page table".into());
        mapped
    }

    fn runs(&self) -> u64 {
        let frames: Vec<_> = self.early.iter().filter_map(|page| self.vmap.lookup(page)).collect();
        let cuts = frames.windows(2).filter(|pair| match pair {
            [one, next] => one.saturating_add(1) != *next,
            _ => false,
        });
        1 + cuts.count() as u64
    }

    /// Looks at a mapping from both sides, frees its frames, and looks again. Returns its pages.
    fn unmap(&self, mapping: VirtualRange, faults: &mut u64, findings: &mut Findings) -> u64 {
        let mut frames = Vec::new();
        for page in mapping.iter() {
            let read = self.vmap.tables().load(page, WORD);
            let read = findings.expect(read, || format!("reading mapped page {page}"));
            let Some(frame) = self.vmap.lookup(page) else { continue };
            let held = self.memory.platform().memory().word(frame, WORD);
            let held = held.map(|word| word.load(std::sync::atomic::Ordering::Relaxed));
            let held = findings.expect(held, || format!("reading frame {frame}"));
            if read != Some(page.get()) || held != read {
                findings.add(format!("mapped page {page} does not hold what frame {frame} holds"));
            }
            frames.push(frame);
        }
        let before = VirtualPage::new(mapping.start().get() - 1);
        self.must_fault([before, mapping.end()], faults, findings);
        if findings.expect(self.vmap.free(mapping), || format!("freeing {mapping}")).is_none() {
            return 0;
        }
        self.must_fault(mapping.iter(), faults, findings);
        for frame in frames {
            if self.memory.state(frame) != PageState::Free {
                findings.add(format!("frame {frame} was unmapped and is not free"));
            }
        }
        mapping.pages()
    }

    fn must_fault(
        &self,
        pages: impl IntoIterator<Item = VirtualPage>,
        faults: &mut u64,
        findings: &mut Findings,
    ) {
        for page in pages {
            match self.vmap.tables().load(page, 0) {
                Err(bedframe_hosted::HostedError::Fault { .. }) => *faults += 1,
                other => findings.add(format!("page {page} does not fault: {other:?}")),
            }
        }
    }
}
