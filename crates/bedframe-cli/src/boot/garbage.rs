//! Garbage in the memory that metadata will lie in, and what is known of it beforehand.

use bedframe::{FrameRange, RangeKind};
use bedframe_hosted::{HostedError, HostedMemory};

use super::world::{Site, World};
use crate::frames::from_len;

/// Below this many frames garbage is written; above, it is laid under the memory and costs nothing
/// until it is touched.
const WRITTEN: u64 = 1024;

/// Where a boot keeps its metadata. The next one of the same machine will keep it in the same
/// place.
#[derive(Clone, Debug)]
pub(crate) struct Footprint {
    metadata: Vec<FrameRange>,
    /// Frames of it that were touched up to the end of hand-over.
    touched: Vec<FrameRange>,
}

impl Footprint {
    /// What `world` has touched since the machine was made.
    pub(crate) fn of(world: &World<'_>) -> Result<Self, HostedError> {
        let metadata = world.ranges(RangeKind::Metadata);
        let mut touched = Vec::new();
        for range in &metadata {
            find_touched(world.contents(), *range, &mut touched)?;
        }
        Ok(Self { metadata, touched: crate::frames::union(touched) })
    }

    /// Lays garbage under all of it. Frames that hand-over does not touch stay untouched.
    pub(crate) fn lay(&self, site: &mut Site, seed: u64) -> Result<(), HostedError> {
        let memory = site.memory();
        for range in &self.metadata {
            if range.frames() < WRITTEN {
                memory.fill_garbage(*range, seed)?;
            } else {
                memory.lay_garbage(*range, seed)?;
            }
        }
        Ok(())
    }

    /// Writes garbage into every frame that hand-over will touch, so that it finds them resident
    /// and full of nonsense.
    pub(crate) fn fill(&self, site: &mut Site, seed: u64) -> Result<(), HostedError> {
        self.touched.iter().try_for_each(|range| site.memory().fill_garbage(*range, seed))
    }
}

/// Adds the touched frames of `range`, found by halving.
fn find_touched(
    memory: &HostedMemory,
    range: FrameRange,
    touched: &mut Vec<FrameRange>,
) -> Result<(), HostedError> {
    if range.is_empty() || memory.is_untouched(range)? {
        return Ok(());
    }
    if range.frames() == 1 {
        touched.push(range);
        return Ok(());
    }
    let (start, half) = (range.start().get(), range.frames() / 2);
    find_touched(memory, from_len(start, half), touched)?;
    find_touched(memory, from_len(start + half, range.frames() - half), touched)
}
