//! Random allocations and frees.

use bedframe::{AllocError, NodeId};

use super::Act;
use super::find::{Place, judge};
use crate::table::table;
use crate::value::Amount;
use crate::world::{Scope, World, Wrong};

table! {
    /// Allocates and frees blocks at random, each with contents of its own, and frees all of them at the
    /// end. Where memory is short it frees; no other refusal is right.
    pub(crate) struct Churn {
        /// How many allocations and frees.
        operations: u64,
        /// What all choices depend on: 1 unless this says otherwise.
        seed: Option<u64>,
        /// The largest order: 9 unless this says otherwise.
        order: Option<u32>,
        /// The most that is held at a time: 64 MiB unless this says otherwise.
        most: Option<Amount>,
        /// On this node or not at all.
        node: Option<u32>,
        /// From the Xen heap.
        #[serde(default)]
        xen: bool,
    }
}

impl Act for Churn {
    fn title(&self) -> String {
        format!("{} random allocations and frees", self.operations)
    }

    fn check(&self) -> Result<(), String> {
        if self.order.is_some_and(|order| order > 18) {
            return Err("expected an order up to 18".into());
        }
        Ok(())
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let mut random = fastrand::Rng::with_seed(self.seed.unwrap_or(1));
        let most = self.most.map_or(1 << 14, |most| most.0);
        let place = Place { node: self.node, xen: self.xen, ..Place::default() };
        let among: [NodeId; 0] = [];
        let (mut held, mut frames) = (Vec::new(), 0);
        for done in 0..self.operations {
            scope.advance(done, self.operations);
            // Small blocks more often than large ones.
            let most_order = random.u32(0..=self.order.unwrap_or(9));
            let order = random.u32(0..=most_order);
            if !held.is_empty() && (frames + (1 << order) > most || random.u32(0..100) < 45) {
                let range = held.swap_remove(random.usize(0..held.len()));
                frames -= free(world, scope, range)?;
                continue;
            }
            let request = place.request(1 << order, 1 << order, &among);
            match world.memory().alloc(&request) {
                Ok(range) => {
                    judge(world, &request, range)?;
                    world.hand_out(range)?;
                    frames += range.frames();
                    held.push(range);
                    scope.tally.done += 1;
                }
                Err(AllocError::OutOfMemory { .. }) => scope.tally.refused += 1,
                Err(error) => drop(scope.judge("alloc", Err::<(), _>(error))?),
            }
        }
        held.into_iter().try_for_each(|range| free(world, scope, range).map(drop))
    }
}

fn free(
    world: &World<'_>,
    scope: &mut Scope<'_>,
    range: bedframe::FrameRange,
) -> Result<u64, Wrong> {
    world.take_back(range)?;
    scope.judge(&format!("free of {range}"), world.memory().free(range))?;
    Ok(range.frames())
}
