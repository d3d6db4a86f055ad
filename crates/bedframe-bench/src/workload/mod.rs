//! What is done to contenders: one family of workloads a file.

mod bulk;
mod churn;
mod cross_thread;
mod exhaustion;
mod fragmentation;
mod handover;
mod latency;
mod mixed;
mod offline;
mod owned;
mod relinquish;
mod repeat;
mod scrub;

use crate::contender::{Bedframe, Contender, Domain, Nature};
use crate::plan::{Cell, Plan, Workload};
use crate::results::{Metric, Reading};
use crate::stand::contradiction;
use crate::trouble::Trouble;

/// What a subject is made from.
pub(crate) struct Context<'a> {
    pub(crate) cell: &'a Cell,
    pub(crate) plan: &'a Plan,
    pub(crate) seed: u64,
}

impl Context<'_> {
    /// The frames that a contender of this nature gets to manage.
    pub(crate) fn frames(&self, nature: Nature) -> u64 {
        let frames = match (self.cell.workload, self.cell.order) {
            (Workload::Relinquish, 0) => self.plan.dying_frames,
            (Workload::Relinquish, _) => self.plan.dying_blocks,
            (Workload::Scrub | Workload::Latency | Workload::LatencyClean, _) => {
                self.plan.real_frames
            }
            _ => self.plan.frames,
        };
        frames.min(nature.most_frames)
    }
}

/// A contender in a cell, ready to be measured.
pub(crate) trait Subject {
    /// Measures once.
    fn round(&mut self) -> Result<Vec<Reading>, Trouble>;

    /// Looks for contradictions at the end.
    fn finish(&self) -> Result<(), Trouble> {
        Ok(())
    }
}

/// A subject, unless the contender cannot do what the cell asks for.
pub(crate) type Made = Result<Option<Box<dyn Subject>>, Trouble>;

/// `C` in this cell.
pub(crate) fn subject<C: Contender + 'static>(context: &Context<'_>) -> Made {
    let cell = context.cell;
    let nature = C::NATURE;
    // Some things only Bedframe has.
    let (ours, owns) = (C::NAME == Bedframe::NAME, C::NAME == Domain::NAME);
    let not_his = match cell.workload {
        Workload::Owned => !ours && !owns,
        Workload::Handover
        | Workload::HandoverCold
        | Workload::Assign
        | Workload::Relinquish
        | Workload::Scrub
        | Workload::Latency
        | Workload::LatencyClean
        | Workload::Offline => !ours,
        _ => false,
    };
    let blocks = context.frames(nature) >> cell.order;
    // Fewer than two blocks for each CPU show nothing.
    let too_small = blocks < 2 * cell.threads as u64;
    let mixes = matches!(
        cell.workload,
        Workload::Mixed | Workload::Fragmentation | Workload::FragmentationMixed
    );
    let moves = cell.workload == Workload::CrossThread;
    let fits = C::fits(cell.workload, cell.order);
    if not_his || !fits || too_small || (mixes && !nature.orders) || (moves && !nature.shares) {
        return Ok(None);
    }
    Ok(match cell.order {
        0 => by_order::<C, 0>(context)?,
        9 => by_order::<C, 9>(context)?,
        18 => by_order::<C, 18>(context)?,
        _ => None,
    })
}

fn by_order<C: Contender + 'static, const ORDER: u8>(context: &Context<'_>) -> Made {
    Ok(Some(match context.cell.workload {
        Workload::Repeat | Workload::RepeatHalf => {
            Box::new(repeat::Repeat::<C, ORDER>::new(context)?)
        }
        Workload::Bulk => Box::new(bulk::Bulk::<C, ORDER>::new(context)?),
        Workload::RandomFree => Box::new(bulk::RandomFree::<C, ORDER>::new(context)?),
        Workload::Checkerboard => Box::new(bulk::Checkerboard::<C, ORDER>::new(context)?),
        Workload::Churn | Workload::ChurnListed => {
            Box::new(churn::Churn::<C, ORDER, 1>::new(context)?)
        }
        Workload::Churn64 => Box::new(churn::Churn::<C, ORDER, 64>::new(context)?),
        Workload::Mixed => Box::new(mixed::Mixed::<C>::new(context)?),
        Workload::Exhaustion => Box::new(exhaustion::Exhaustion::<C, ORDER>::new(context)?),
        Workload::Refusal => Box::new(exhaustion::Refusal::<C, ORDER>::new(context)?),
        Workload::CrossThread => Box::new(cross_thread::CrossThread::<C, ORDER>::new(context)?),
        Workload::Fragmentation => Box::new(fragmentation::Plain::<C>::new(context)),
        Workload::FragmentationMixed => Box::new(fragmentation::Lives::<C>::new(context)),
        Workload::Metadata => match metadata::<C>(context)? {
            Some(subject) => Box::new(subject),
            None => return Ok(None),
        },
        Workload::Handover | Workload::HandoverCold => {
            Box::new(handover::Handover::new(context, C::NAME))
        }
        Workload::Owned => Box::new(owned::Owned::<C, ORDER>::new(context)?),
        Workload::Assign => Box::new(owned::Assign::<ORDER>::new(context)?),
        Workload::Relinquish => Box::new(relinquish::Relinquish::<ORDER>::new(context)?),
        Workload::Scrub => Box::new(scrub::Scrub::new(context)?),
        Workload::Latency | Workload::LatencyClean => Box::new(latency::Latency::new(context)?),
        Workload::Offline => Box::new(offline::Offline::new(context)?),
    }))
}

/// One figure that does not change.
struct Known(Reading);

impl Subject for Known {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        Ok(vec![self.0])
    }
}

fn metadata<C: Contender>(context: &Context<'_>) -> Result<Option<Known>, Trouble> {
    let stand = crate::stand::Stand::<C>::new(context)?;
    let Some(bytes) = stand.contender.metadata_bytes() else { return Ok(None) };
    if bytes == 0 {
        return Err(contradiction::<C>(context.cell, "it keeps its data nowhere".into()));
    }
    Ok(Some(Known((Metric::BytesPerFrame, bytes as f64 / stand.machine.frames as f64))))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::contender::{Cpu, Machine};
    use crate::plan::{Effort, cells};

    /// Hands out the same frames again and again.
    struct Broken(AtomicU32);

    impl Contender for Broken {
        const NAME: &'static str = "broken";
        const NATURE: Nature = Nature {
            about: "wrong",
            shares: true,
            hides: false,
            orders: true,
            most_frames: 1 << 12,
        };
        type Cpu<'a> = &'a Broken;
        fn new(_: Machine) -> Result<Self, Trouble> {
            Ok(Self(AtomicU32::new(0)))
        }
        fn cpu(&self, _: usize) -> &Broken {
            self
        }
    }

    impl Cpu for &Broken {
        fn alloc(&mut self, order: u8) -> Option<u32> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            (number < 1 << 14).then_some((number % 100) << order & 0xfff)
        }
        fn free(&mut self, _: u32, _: u8) -> bool {
            true
        }
    }

    #[test]
    fn a_broken_allocator_is_found_out_where_frames_are_held() {
        let plan = Effort::Tiny.plan();
        for cell in cells(Effort::Tiny, &[1]) {
            use Workload::{Bulk, Churn, Exhaustion, Fragmentation, Mixed, RandomFree};
            if !matches!(
                cell.workload,
                Bulk | RandomFree | Churn | Exhaustion | Mixed | Fragmentation
            ) || cell.order > 0
            {
                continue;
            }
            let context = Context { cell: &cell, plan: &plan, seed: 1 };
            let made = subject::<Broken>(&context);
            let result = made.and_then(|subject| match subject {
                Some(mut subject) => subject.round().and_then(|_| subject.finish()),
                None => Ok(()),
            });
            match result {
                Err(Trouble::Contradiction { allocator, workload, what }) => {
                    assert_eq!((allocator, workload), ("broken", cell.workload.name()));
                    assert!(what.contains("twice"), "{what}");
                }
                other => panic!("{}: {other:?}", cell.workload.name()),
            }
        }
    }
}
