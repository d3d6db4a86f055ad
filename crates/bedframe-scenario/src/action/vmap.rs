//! Mappings: scattered frames in a row, with guard pages.

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{Access, FrameRange, Order, Pool, Request, VirtualPage, VirtualRange, Vmap};
use bedframe_hosted::{HostedError, HostedPlatform, HostedWindow};

use super::Act;
use crate::table::table;
use crate::value::{Frames, NewMapping, OldMapping};
use crate::world::{Scope, World, Wrong};

/// Pages of the window: what tables of two levels reach.
const PAGES: u64 = 1 << 18;
/// Frames of a window in which nothing is mapped.
const TOP_TABLES: u64 = 1;

/// The window in which a scenario maps.
pub(crate) struct Window<'m> {
    vmap: Vmap<'m, HostedPlatform, HostedWindow>,
}

impl<'m> Window<'m> {
    fn open(world: &World<'m>) -> Result<Self, Wrong> {
        let memory = world.memory();
        let top = memory.alloc(&Request::order(Order::ZERO).pool(Pool::Xen));
        let top = top.map_err(|error| Wrong::new("a frame for page tables", error.to_string()))?;
        let tables = HostedWindow::new(memory.platform(), top.start(), PAGES);
        let tables = tables.map_err(|error| Wrong::new("a window", error.to_string()))?;
        let pages = tables.pages();
        Ok(Self { vmap: Vmap::new(memory, tables, pages) })
    }

    fn of<'w>(world: &'w World<'m>) -> Result<&'w Self, Wrong> {
        if let Some(window) = world.window.get() {
            return Ok(window);
        }
        let window = world.measure(|| Self::open(world), |_| 0)?;
        Ok(world.window.get_or_init(|| window))
    }

    /// Whether its books agree.
    pub(crate) fn validate(&self) -> Result<(), String> {
        self.vmap.validate().map_err(|error| error.to_string())
    }

    /// Every page shows its frame, and the pages around them fault.
    fn look(&self, world: &World<'_>, mapping: VirtualRange) -> Result<(), Wrong> {
        for page in mapping.iter() {
            let Some(frame) = self.vmap.lookup(page) else {
                return Err(Wrong::new(format!("a frame at page {page}"), "none"));
            };
            let shown = self.vmap.tables().load(page, 0).map_err(|error| error.to_string());
            let held = world.contents().word(frame, 0).map(|word| word.load(Relaxed));
            if shown.as_ref().ok() != held.as_ref().ok() {
                let found = format!("{shown:x?} at page {page}");
                return Err(Wrong::new(format!("{held:x?}, as frame {frame} holds"), found));
            }
        }
        let before = VirtualPage::new(mapping.start().get() - 1);
        self.must_fault([before, mapping.end()])
    }

    fn must_fault(&self, pages: impl IntoIterator<Item = VirtualPage>) -> Result<(), Wrong> {
        for page in pages {
            match self.vmap.tables().load(page, 0) {
                Err(HostedError::Fault { .. }) => {}
                other => {
                    return Err(Wrong::new(
                        format!("a fault at page {page}"),
                        format!("{other:?}"),
                    ));
                }
            }
        }
        Ok(())
    }
}

table! {
    /// Maps frames in a row, in the order in which they are named, with pages around them that fault, and
    /// checks that each page shows its frame.
    pub(crate) struct Map {
        /// Names the mapping.
        r#as: NewMapping,
        /// Which frames.
        what: Frames,
    }
}

impl Act for Map {
    const IN_THREADS: bool = false;

    fn title(&self) -> String {
        format!("map {}", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let window = Window::of(world)?;
        let frames = scope.frames(&self.what);
        let mapped = world.measure(|| window.vmap.map(&frames, Access::READ_WRITE), |_| 0);
        if let Some(mapping) = scope.judge("map", mapped)? {
            window.look(world, mapping)?;
            scope.mappings.insert(self.r#as.get().into(), mapping);
        }
        Ok(())
    }
}

table! {
    /// Takes a mapping away, after a look at it, and checks that its pages fault.
    pub(crate) struct Unmap {
        /// Which mapping.
        what: OldMapping,
        /// Frees the frames as well.
        #[serde(default)]
        free: bool,
    }
}

impl Act for Unmap {
    const IN_THREADS: bool = false;

    fn title(&self) -> String {
        format!("unmap {}", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let window = Window::of(world)?;
        let Some(mapping) = scope.mappings.get(self.what.get()).copied() else { return Ok(()) };
        window.look(world, mapping)?;
        let frames: Vec<_> = mapping.iter().filter_map(|page| window.vmap.lookup(page)).collect();
        let count = if self.free { frames.len() as u64 } else { 0 };
        for frame in frames.iter().filter(|_| self.free) {
            world.take_back(FrameRange::single(*frame))?;
        }
        let result = world.measure(
            || match self.free {
                true => window.vmap.free(mapping),
                false => window.vmap.unmap(mapping, |_, _| {}),
            },
            |result| if result.is_ok() { count } else { 0 },
        );
        if scope.judge("unmap", result)?.is_some() {
            window.must_fault(mapping.iter())?;
            scope.mappings.remove(self.what.get());
            let (left, own) = (window.vmap.counts().mappings, world.own.load(Relaxed));
            if left == 0 && own != TOP_TABLES {
                return Err(Wrong::new("no page table but the top one", format!("{own} frames")));
            }
        }
        Ok(())
    }
}
