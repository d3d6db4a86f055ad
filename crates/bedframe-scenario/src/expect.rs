//! What must hold when a step is done.

mod keys;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{DomainId, FRAME_SIZE, FrameRange, Mfn, Zone};

pub(crate) use keys::STATES;
use keys::{Domains, Nodes, Owner, Pairs, State};

use crate::snapshot::{Past, Snapshot, Where};
use crate::table::table;
use crate::value::{Check, Frames};
use crate::world::{Scope, World, Wrong};

table! {
    /// What must hold when a step is done, of which everything may be left out. A counter is compared
    /// with a number (`free = 100`, `free = "1 GiB"`), with itself before the step (`"same"`, `"+4"`,
    /// `"-2 MiB"`) or at a mark (`"@boot"`, `"@boot +4"`); `!=`, `<`, `<=`, `>` and `>=` may stand before any
    /// of these.
    pub(crate) struct Expect {
        /// Frames of RAM: the sum of all states.
        ram: Option<Check>,
        /// Free frames.
        free: Option<Check>,
        /// Free frames that are not known to be scrubbed.
        dirty: Option<Check>,
        /// Frames that the heap has handed out.
        in_use: Option<Check>,
        /// Boot-allocated frames that have not been freed yet.
        uninitialised: Option<Check>,
        /// Frames that are reserved for good.
        reserved: Option<Check>,
        /// Frames that are reserved until they are released.
        releasable: Option<Check>,
        /// Frames that are to be withdrawn when they are freed.
        offlining: Option<Check>,
        /// Frames that are withdrawn and may come back.
        offlined: Option<Check>,
        /// Frames that are withheld as bad, or broken since.
        bad: Option<Check>,
        /// Frames that are Bedframe's own.
        metadata: Option<Check>,
        /// Frame 0, if it is withheld: 0 or 1.
        frame_zero: Option<Check>,
        /// Frames that came in by a late release.
        released: Option<Check>,
        /// The largest order of which a block is free; -1 if nothing is.
        largest_order: Option<Check>,
        /// Frames that are claimed and not allocated yet.
        claimed: Option<Check>,
        /// Free frames that nobody claims.
        unclaimed: Option<Check>,
        /// Frames that are claimed and not free, having been taken by force.
        deficit: Option<Check>,
        /// How often a watch has told that memory is low, since the beginning.
        low_notices: Option<Check>,
        /// How often a watch has told that memory has recovered, since the beginning.
        recovered_notices: Option<Check>,
        /// Frames that steps hold, as the program's own books have it.
        held: Option<Check>,
        /// Frees that Bedframe has reported as misuse, since the beginning.
        misuses: Option<Check>,
        /// How often flushes of TLBs were asked for, since the beginning.
        flushes: Option<Check>,
        /// TLBs that were flushed for that, all in all.
        flushed_cpus: Option<Check>,
        /// Calls of this step that were done.
        done: Option<Check>,
        /// Calls of this step that were refused.
        refused: Option<Check>,
        /// Counters of single nodes: `node.1.free = 100`.
        node: Option<Nodes>,
        /// Counters of domains: `domain.guest.accounted = 512`.
        domain: Option<Domains>,
        /// Whose every one of some frames is: a domain's, or `"nobody"`.
        owner: Option<Pairs<Owner>>,
        /// The state of every one of some frames: `state = { stack = "uninitialised", 0x100 = "reserved" }`.
        state: Option<Pairs<State>>,
        /// How many frames a name stands for.
        frames: Option<Pairs<Check>>,
        /// The order of the free block that each of some frames is part of; -1 for a frame that is not free.
        free_order: Option<Pairs<Check>>,
        /// The node of every one of some frames.
        on_node: Option<Pairs<Check>>,
        /// The zone of every one of some frames.
        zone: Option<Pairs<Check>>,
        /// The references that each of some frames has.
        references: Option<Pairs<Check>>,
        /// Frames of which every byte is zero.
        zero: Option<Frames>,
    }
}

table! {
    /// Counters of one node.
    pub(crate) struct NodeExpect {
        /// Frames of RAM.
        ram: Option<Check>,
        /// Free frames.
        free: Option<Check>,
        /// Free frames that are not known to be scrubbed.
        dirty: Option<Check>,
        /// Frames that the heap has handed out.
        in_use: Option<Check>,
        /// Boot-allocated frames that have not been freed yet.
        uninitialised: Option<Check>,
        /// Frames that are reserved for good.
        reserved: Option<Check>,
        /// Frames that are reserved until they are released.
        releasable: Option<Check>,
        /// Frames that are to be withdrawn when they are freed.
        offlining: Option<Check>,
        /// Frames that are withdrawn and may come back.
        offlined: Option<Check>,
        /// Frames that are withheld as bad, or broken since.
        bad: Option<Check>,
        /// Frames that are Bedframe's own.
        metadata: Option<Check>,
        /// The largest order of which a block is free; -1 if nothing is.
        largest_order: Option<Check>,
        /// Frames that are claimed and not allocated yet: a claim on the machine is no node's.
        claimed: Option<Check>,
        /// Free frames that nobody claims.
        unclaimed: Option<Check>,
        /// Frames that are claimed and not free, having been taken by force.
        deficit: Option<Check>,
        /// How often a watch has told that memory is low, since the beginning.
        low_notices: Option<Check>,
        /// How often a watch has told that memory has recovered, since the beginning.
        recovered_notices: Option<Check>,
    }
}

table! {
    /// What a domain has.
    pub(crate) struct DomainExpect {
        /// Whether there is such a domain.
        exists: Option<bool>,
        /// Whether it is dying.
        dying: Option<bool>,
        /// How many frames may be accounted.
        quota: Option<Check>,
        /// All frames that it has.
        frames: Option<Check>,
        /// Frames that count against its quota.
        accounted: Option<Check>,
        /// Frames of its own that do not.
        extra: Option<Check>,
        /// Frames that are lent to it.
        lent: Option<Check>,
        /// Of all these, frames that it has dropped, and that others refer to.
        dropped: Option<Check>,
        /// Frames that are claimed for it.
        claimed: Option<Check>,
    }
}

impl Expect {
    /// Compares everything, and says how many comparisons that were.
    pub(crate) fn judge(
        &self,
        world: &World<'_>,
        scope: &Scope<'_>,
        now: &Snapshot,
        past: &Past<'_>,
    ) -> Result<u64, Wrong> {
        let mut done = 0;
        let mut compare = |place: Where, name: &'static str, check: &Check| {
            done += 1;
            let found = now.get(place, name).unwrap_or(-1);
            check.judge(found, &past.of(place, name)).map_err(|expected| {
                Wrong::new(format!("{place}{name}: {expected}"), format!("{found}"))
            })
        };
        let mut checks = Vec::new();
        self.each_check(&mut |name, check| checks.push((Where::Machine, name, check)));
        for (node, expect) in self.node.iter().flat_map(|nodes| &nodes.0) {
            expect.each_check(&mut |name, check| checks.push((Where::Node(*node), name, check)));
        }
        for (domain, expect) in self.domain.iter().flat_map(|domains| &domains.0) {
            let place = Where::Domain(world.domain(domain.get()).0);
            expect.each_check(&mut |name, check| checks.push((place, name, check)));
        }
        checks.into_iter().try_for_each(|(place, name, check)| compare(place, name, check))?;
        done += self.judge_domains(world)?;
        done += self.judge_frames(world, scope)?;
        Ok(done)
    }

    fn judge_domains(&self, world: &World<'_>) -> Result<u64, Wrong> {
        let mut done = 0;
        for (name, expect) in self.domain.iter().flat_map(|domains| &domains.0) {
            let counts = world.memory().domain(world.domain(name.get()));
            let found = [counts.is_some(), counts.is_some_and(|counts| counts.dying)];
            for ((what, expected), found) in
                [("exists", expect.exists), ("dying", expect.dying)].into_iter().zip(found)
            {
                let Some(expected) = expected else { continue };
                if expected != found {
                    let expected = format!("domain {name}, {what}: {expected}");
                    return Err(Wrong::new(expected, found.to_string()));
                }
                done += 1;
            }
        }
        Ok(done)
    }

    fn judge_frames(&self, world: &World<'_>, scope: &Scope<'_>) -> Result<u64, Wrong> {
        let mut done = 0;
        for (frames, State(state)) in pairs(&self.state) {
            for frame in scope.frames(frames).into_iter().flat_map(|range| range.iter()) {
                let found = world.memory().state(frame);
                if found != *state {
                    return Err(Wrong::new(
                        format!("{frames}: every frame {state}"),
                        format!("frame {frame} is {found}"),
                    ));
                }
            }
            done += 1;
        }
        for (frames, owner) in pairs(&self.owner) {
            let owner = owner.domain(world);
            for frame in scope.frames(frames).into_iter().flat_map(|range| range.iter()) {
                let found = world.memory().owner(frame).map(|ownership| ownership.domain);
                if found != owner {
                    let whose = |owner: Option<DomainId>| {
                        owner.map_or("nobody's".into(), |owner| format!("domain {owner}'s"))
                    };
                    return Err(Wrong::new(
                        format!("{frames}: every frame {}", whose(owner)),
                        format!("frame {frame} is {}", whose(found)),
                    ));
                }
            }
            done += 1;
        }
        for (frames, check) in pairs(&self.frames) {
            let found: u64 = scope.frames(frames).iter().map(|range| range.frames()).sum();
            check.judge(i128::from(found), &Past::none()).map_err(|expected| {
                Wrong::new(format!("{frames}: {expected} frames"), found.to_string())
            })?;
            done += 1;
        }
        if self.free_order.is_some() {
            done += self.judge_orders(world, scope)?;
        }
        let each = |what: &str, table: &Option<Pairs<Check>>, value: &dyn Fn(Mfn) -> i128| {
            let mut done = 0;
            for (frames, check) in pairs(table) {
                for frame in scope.frames(frames).into_iter().flat_map(|range| range.iter()) {
                    check.judge(value(frame), &Past::none()).map_err(|expected| {
                        let found = format!("{} at frame {frame}", value(frame));
                        Wrong::new(format!("{frames}: {what} {expected}"), found)
                    })?;
                }
                done += 1;
            }
            Ok::<_, Wrong>(done)
        };
        done += each("node", &self.on_node, &|frame| {
            world.memory().range_at(frame).2.map_or(-1, |node| i128::from(node.0))
        })?;
        done += each("zone", &self.zone, &|frame| i128::from(Zone::of(frame).get()))?;
        done += each("references", &self.references, &|frame| {
            i128::from(world.memory().references(frame))
        })?;
        if let Some(frames) = &self.zero {
            scope.frames(frames).into_iter().try_for_each(|range| must_be_zero(world, range))?;
            done += 1;
        }
        Ok(done)
    }

    fn judge_orders(&self, world: &World<'_>, scope: &Scope<'_>) -> Result<u64, Wrong> {
        let mut orders: BTreeMap<Mfn, i128> = BTreeMap::new();
        for (frames, _) in pairs(&self.free_order) {
            let frames = scope.frames(frames).into_iter().flat_map(|range| range.iter());
            orders.extend(frames.map(|frame| (frame, -1)));
        }
        world.memory().each_free_run(|run, _| {
            if orders.range(run.start()..run.end()).next().is_none() {
                return;
            }
            for block in run.blocks() {
                let order = i128::from(block.frames().ilog2());
                orders.range_mut(block.start()..block.end()).for_each(|(_, value)| *value = order);
            }
        });
        for (frames, check) in pairs(&self.free_order) {
            for frame in scope.frames(frames).into_iter().flat_map(|range| range.iter()) {
                let found = orders.get(&frame).copied().unwrap_or(-1);
                check.judge(found, &Past::none()).map_err(|expected| {
                    let found = format!("{found} at frame {frame}");
                    Wrong::new(
                        format!("{frames}: free as part of a block of order {expected}"),
                        found,
                    )
                })?;
            }
        }
        Ok(pairs(&self.free_order).count() as u64)
    }
}

fn pairs<T>(table: &Option<Pairs<T>>) -> impl Iterator<Item = &(Frames, T)> {
    table.iter().flat_map(|pairs| &pairs.0)
}

/// Whether every byte of these frames is zero.
pub(crate) fn must_be_zero(world: &World<'_>, range: FrameRange) -> Result<(), Wrong> {
    world.may_touch(range)?;
    for frame in range.iter() {
        for index in 0..(FRAME_SIZE / 8) as usize {
            let word = world.contents().word(frame, index);
            let word =
                word.map_err(|error| Wrong::new("frames of the machine", error.to_string()))?;
            let word = word.load(Relaxed);
            if word != 0 {
                let found = format!("{word:#x} at byte {}", index * 8);
                return Err(Wrong::new(format!("frame {frame}: nothing but zeros"), found));
            }
        }
    }
    Ok(())
}
