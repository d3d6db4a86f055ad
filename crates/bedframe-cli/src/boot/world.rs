//! A hosted machine, and one boot of it up to hand-over.

use std::time::{Duration, Instant};

use bedframe::{FrameRange, MapError, Memory, Mfn, NodeId, RangeKind, Request};
use bedframe_firmware::{DynamicReservation, Machine};
use bedframe_hosted::{HostedError, HostedMemory, HostedPlatform};

use super::layout::Layout;
use super::plan::{Plan, Want, What};
use crate::Trouble;
use crate::frames::{self, from_len};

/// The hosted machine: memory and nothing in it. A boot borrows it as a whole, so there is one at
/// a time.
pub(crate) struct Site {
    platform: HostedPlatform,
}

impl Site {
    pub(crate) fn new(machine: &Machine, layout: &Layout) -> Result<Self, HostedError> {
        let memory = HostedMemory::covering(layout.ram.iter().map(|piece| piece.range))?;
        let distances = machine.distances.iter().flat_map(|table| {
            let pairs = table.nodes().iter().flat_map(|from| {
                table.nodes().iter().map(|to| (*from, *to, table.get(*from, *to)))
            });
            pairs.filter_map(|(from, to, distance)| Some((from, to, distance?)))
        });
        let platform = HostedPlatform::new(memory)
            .with_distances(distances)
            .with_mapped(layout.xen_heap.mapped());
        Ok(Self { platform })
    }

    pub(crate) fn memory(&mut self) -> &HostedMemory {
        self.platform.memory()
    }
}

/// Frames that boot was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub(crate) what: What,
    pub(crate) range: FrameRange,
    /// What their contents are made of, beside the frame's number.
    pub(crate) tag: u64,
}

/// Memory under Bedframe, on a hosted machine.
pub(crate) struct World<'s> {
    pub(crate) memory: Memory<HostedPlatform>,
    /// What boot holds, in the order in which it was given.
    pub(crate) taken: Vec<Taken>,
    /// Reservations of a device tree that the boot allocator found a place for, and that stay.
    pub(crate) placed: Vec<FrameRange>,
    /// What did not go as planned, without being wrong.
    pub(crate) remarks: Vec<String>,
    _site: &'s mut Site,
}

impl<'s> World<'s> {
    /// Boots up to the moment before hand-over: adds the map, reserves, allocates.
    pub(crate) fn boot(
        site: &'s mut Site,
        machine: &Machine,
        layout: &Layout,
        plan: &Plan,
    ) -> Result<Self, Trouble> {
        let memory = Memory::new(site.platform.clone());
        Self::boot_into(memory, site, machine, layout, plan)
    }

    /// The same, with space for records, so that frames can have owners.
    pub(crate) fn boot_with_records(
        site: &'s mut Site,
        machine: &Machine,
        layout: &Layout,
        plan: &Plan,
    ) -> Result<Self, Trouble> {
        let memory = Memory::new(site.platform.clone()).with_records();
        Self::boot_into(memory, site, machine, layout, plan)
    }

    fn boot_into(
        memory: Memory<HostedPlatform>,
        site: &'s mut Site,
        machine: &Machine,
        layout: &Layout,
        plan: &Plan,
    ) -> Result<Self, Trouble> {
        let mut world = Self {
            memory,
            taken: Vec::new(),
            placed: Vec::new(),
            remarks: Vec::new(),
            _site: site,
        };
        world.add_map(machine, layout).map_err(|error| refused(machine, &error))?;
        for placement in &machine.placements {
            world.place(placement);
        }
        for want in &plan.wants {
            world.take(*want);
        }
        world.give_back_scratch()?;
        Ok(world)
    }

    /// Tells Bedframe of all memory. Reservations come first, so that nothing of Bedframe's own
    /// ever lies in one.
    fn add_map(&self, machine: &Machine, layout: &Layout) -> Result<(), MapError> {
        self.memory.set_xen_heap(layout.xen_heap)?;
        for reservation in &machine.reserved {
            if reservation.kind.is_releasable() {
                self.memory.reserve_releasable(reservation.range)?;
            } else {
                self.memory.reserve(reservation.range)?;
            }
        }
        for bad in &machine.bad {
            self.memory.withhold_bad(*bad)?;
        }
        for late in &machine.late {
            self.memory.reserve_releasable(late.range)?;
        }
        self.memory.reserve_releasable(layout.module)?;
        for piece in &layout.ram {
            self.add_ram(piece.range, piece.node)?;
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    fn add_ram(&self, range: FrameRange, node: NodeId) -> Result<u64, MapError> {
        // SAFETY: 1. `Site::new` made a machine that reaches over every piece of the layout, and
        // each frame of it can be read and written. 2. This world has borrowed the site, and the
        // program touches only frames that it was given, until the world is dropped. 3. The
        // platform maps what the layout's Xen heap says is mapped.
        unsafe { self.memory.add_ram(range, node) }
    }

    /// Makes one allocation, smaller if need be.
    fn take(&mut self, want: Want) {
        let mut now = want;
        loop {
            match self.memory.alloc(&now.request()) {
                Ok(range) => {
                    let tag = self.taken.len() as u64 + 1;
                    self.taken.push(Taken { what: want.what, range, tag });
                    return;
                }
                Err(error) => match now.smaller() {
                    Some(smaller) => now = smaller,
                    None => {
                        self.remarks.push(format!("{} left out: {error}", want.what));
                        return;
                    }
                },
            }
        }
    }

    /// Finds a place for a reservation that a device tree only gives the size of. What the system
    /// may not use stays reserved; a reusable one is an allocation like any other.
    fn place(&mut self, wanted: &DynamicReservation) {
        let frames = wanted.size.div_ceil(bedframe::FRAME_SIZE);
        let align = (wanted.align / bedframe::FRAME_SIZE).max(1);
        let anywhere = [FrameRange::ALL];
        let windows = if wanted.within.is_empty() { &anywhere[..] } else { &wanted.within };
        let request = Request::frames(frames).align(align);
        let mut found = windows.iter().map(|w| self.memory.alloc(&request.inside(*w)));
        let Some(range) = found.find_map(Result::ok) else {
            drop(found);
            self.remarks.push(format!("no place for the reservation {}", wanted.name));
            return;
        };
        drop(found);
        if wanted.reusable {
            let tag = self.taken.len() as u64 + 1;
            self.taken.push(Taken { what: What::Reusable, range, tag });
            return;
        }
        // A place is found by allocating it; reserved is what nobody holds.
        let reserved = self.memory.free(range).is_ok() && self.memory.reserve(range).is_ok();
        if reserved {
            self.placed.push(range);
        } else {
            self.remarks.push(format!("the reservation {} could not be kept", wanted.name));
        }
    }

    /// Before hand-over memory comes back by the same call as after it: the middle of the scratch
    /// buffer does.
    fn give_back_scratch(&mut self) -> Result<(), Trouble> {
        let scratch = self.taken.iter().position(|taken| taken.what == What::Scratch);
        let Some(scratch) = scratch.map(|index| self.taken.remove(index)) else { return Ok(()) };
        let (start, frames) = (scratch.range.start().get(), scratch.range.frames());
        let (low, high) = (frames / 3, frames - frames / 4);
        let middle = from_len(start + low, high - low);
        self.memory.free(middle).map_err(|error| {
            Trouble::Contradiction(format!("before hand-over {middle} was not taken back: {error}"))
        })?;
        for range in [from_len(start, low), from_len(start + high, frames - high)] {
            if !range.is_empty() {
                let tag = self.taken.len() as u64 + 1_000_000;
                self.taken.push(Taken { what: What::Scratch, range, tag });
            }
        }
        Ok(())
    }

    /// Hands over, and says how long that took.
    pub(crate) fn start(&self, machine: &Machine, cpus: u32) -> Result<Duration, Trouble> {
        let clock = Instant::now();
        let result = self.memory.start(cpus);
        let time = clock.elapsed();
        result.map(|()| time).map_err(|error| refused(machine, &error))
    }

    /// The machine's memory: for frames that this world was given.
    pub(crate) fn contents(&self) -> &HostedMemory {
        self.memory.platform().memory()
    }

    /// Frames that boot holds.
    pub(crate) fn taken_frames(&self) -> u64 {
        self.taken.iter().map(|taken| taken.range.frames()).sum()
    }

    /// All ranges of RAM of this kind.
    pub(crate) fn ranges(&self, wanted: RangeKind) -> Vec<FrameRange> {
        let mut ranges = Vec::new();
        let mut at = Mfn::ZERO;
        while at < Mfn::MAX {
            let (range, kind, _) = self.memory.range_at(at);
            if kind == wanted {
                ranges.push(range);
            }
            at = range.end();
        }
        frames::union(ranges)
    }
}

/// A map that Bedframe refuses: too small to hold its index, or at odds with itself.
fn refused(machine: &Machine, error: &MapError) -> Trouble {
    let name = &machine.name;
    match error {
        MapError::NoMetadata { .. } | MapError::NoMemory => {
            Trouble::Input(format!("{name}: this machine is too small to boot: {error}"))
        }
        _ => Trouble::Contradiction(format!("{name}: the map was refused: {error}")),
    }
}
