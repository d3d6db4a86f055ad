//! The actions that a step can take: a file for each family.

mod churn;
mod claims;
mod domains;
mod find;
mod frames;
mod live;
mod map;
mod offline;
mod owned;
mod references;
mod scrub;
mod tlb;
mod vmap;

use serde::Deserialize;
use toml::Spanned;

use crate::expect::Expect;
use crate::scenario::Steps;
use crate::step::{Thread, What};
use crate::table::{Field, Mention, Value};
use crate::value::{ErrorName, ErrorNames, NewMark};
use crate::world::{Scope, World, Wrong};

pub(crate) use vmap::Window;

/// What every action can do.
pub(crate) trait Act: Value {
    /// Whether a thread may take it while others are at work.
    const IN_THREADS: bool = true;

    /// What a report calls it.
    fn title(&self) -> String;

    /// What of it can be known to be wrong before anything happens: what was expected.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Does it.
    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong>;
}

/// An action as the description of the format shows it.
pub(crate) struct Described {
    pub(crate) key: &'static str,
    pub(crate) about: &'static str,
    pub(crate) fields: &'static [Field],
    pub(crate) in_threads: bool,
}

macro_rules! actions {
    ($($key:ident: $action:ident in $file:ident,)*) => {
        /// The keys of a step, as they are written.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Actions {
            title: Option<String>,
            steps: Option<Steps>,
            threads: Option<Vec<Spanned<Thread>>>,
            repeat: Option<u64>,
            refused: Option<ErrorName>,
            may_be_refused: Option<ErrorNames>,
            expect: Option<Spanned<Box<Expect>>>,
            validate: Option<bool>,
            mark: Option<NewMark>,
            $($key: Option<Box<$file::$action>>,)*
        }

        /// One of the actions.
        #[derive(Clone, Debug)]
        pub(crate) enum Action {
            $($action(Box<$file::$action>),)*
        }

        impl Actions {
            /// What is to be done, which is one thing at most.
            fn what(&mut self) -> Result<What, String> {
                let mut all: Vec<(&str, What)> = Vec::new();
                $(
                    if let Some(action) = self.$key.take() {
                        all.push((stringify!($key), What::Action(Box::new(Action::$action(action)))));
                    }
                )*
                if let Some(Steps(steps)) = self.steps.take() {
                    all.push(("steps", What::Steps(steps)));
                }
                if let Some(threads) = self.threads.take() {
                    all.push(("threads", What::Threads(threads)));
                }
                let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                match names.as_slice() {
                    [] => Ok(What::Look),
                    [_] => Ok(all.remove(0).1),
                    _ => Err(format!("expected one action in a step, not {}", names.join(" and "))),
                }
            }
        }

        impl Action {
            pub(crate) fn key(&self) -> &'static str {
                match self { $(Self::$action(_) => stringify!($key),)* }
            }

            pub(crate) fn title(&self) -> String {
                match self { $(Self::$action(action) => action.title(),)* }
            }

            pub(crate) fn check(&self) -> Result<(), String> {
                match self { $(Self::$action(action) => action.check(),)* }
            }

            pub(crate) fn in_threads(&self) -> bool {
                match self { $(Self::$action(_) => $file::$action::IN_THREADS,)* }
            }

            pub(crate) fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
                match self { $(Self::$action(action) => action.mentions(visit),)* }
            }

            pub(crate) fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
                match self { $(Self::$action(action) => action.act(world, scope),)* }
            }
        }

        /// All of them.
        pub(crate) const ACTIONS: &[Described] = &[
            $(Described {
                key: stringify!($key),
                about: $file::$action::ABOUT,
                fields: $file::$action::FIELDS,
                in_threads: $file::$action::IN_THREADS,
            },)*
        ];
    };
}

actions! {
    start: Start in map,
    hand_over_live: HandOverLive in live,
    add_ram: AddRam in map,
    reserve: Reserve in map,
    reserve_releasable: ReserveReleasable in map,
    withhold_bad: WithholdBad in map,
    release: Release in map,
    run_on: RunOn in map,
    alloc: Alloc in frames,
    free: Free in frames,
    split: Split in frames,
    join: Join in frames,
    scribble: Scribble in frames,
    churn: Churn in churn,
    reference: Reference in references,
    unreference: Unreference in references,
    create_domain: CreateDomain in domains,
    set_quota: SetQuota in domains,
    set_affinity: SetAffinity in domains,
    set_width: SetWidth in domains,
    set_dma_reserve: SetDmaReserve in domains,
    kill: Kill in domains,
    relinquish: Relinquish in domains,
    destroy_domain: DestroyDomain in domains,
    claim: Claim in claims,
    release_claim: ReleaseClaim in claims,
    watch: Watch in claims,
    unwatch: Unwatch in claims,
    assign: Assign in owned,
    steal: Steal in owned,
    lend: Lend in owned,
    take_back: TakeBack in owned,
    scrub: Scrub in scrub,
    flush_tlb: FlushTlb in tlb,
    offline: Offline in offline,
    mark_broken: MarkBroken in offline,
    online: Online in offline,
    trap: Trap in offline,
    map: Map in vmap,
    unmap: Unmap in vmap,
}

/// The keys of a step beside what it does.
pub(crate) struct Keys {
    pub(crate) title: Option<String>,
    pub(crate) repeat: Option<u64>,
    pub(crate) refused: Option<ErrorName>,
    pub(crate) may_be_refused: Option<ErrorNames>,
    pub(crate) expect: Option<Spanned<Box<Expect>>>,
    pub(crate) validate: Option<bool>,
    pub(crate) mark: Option<NewMark>,
}

impl Actions {
    /// What is to be done, and the rest.
    pub(crate) fn split(mut self) -> Result<(What, Keys), String> {
        let what = self.what()?;
        let keys = Keys {
            title: self.title,
            repeat: self.repeat,
            refused: self.refused,
            may_be_refused: self.may_be_refused,
            expect: self.expect,
            validate: self.validate,
            mark: self.mark,
        };
        Ok((what, keys))
    }
}
