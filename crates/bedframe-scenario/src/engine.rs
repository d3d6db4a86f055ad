//! Runs a scenario: step by step, up to the first thing that does not hold.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{CpuId, DomainError, DomainId, Memory, NodeId, ScrubPolicy};
use bedframe_hosted::{HostedPlatform, set_cpu, set_node};
use toml::Spanned;

use crate::error::BadScenario;
use crate::instance::Instance;
use crate::machine::{PolicyName, Site};
use crate::report::{Contradiction, Report, StepReport};
use crate::scenario::Scenario;
use crate::snapshot::{Past, Snapshot};
use crate::step::{Step, Thread, What};
use crate::world::{Policy, Scope, Tally, World, Wrong};

/// Told of progress: which step is under way, and how much of it is done, of how much.
pub type Watch<'a> = dyn Fn(&str, u64, u64) + Sync + 'a;

/// A step that failed: its number below the top step, and how.
struct Failed {
    path: String,
    wrong: Wrong,
}

impl From<Wrong> for Failed {
    fn from(wrong: Wrong) -> Self {
        Self { path: String::new(), wrong }
    }
}

/// What a step left behind.
#[derive(Clone, Copy, Default)]
struct Looked {
    checks: u64,
    validated: bool,
}

struct Engine<'e, 'm> {
    scenario: &'e Scenario,
    world: &'e World<'m>,
    marks: BTreeMap<String, Snapshot>,
}

impl Scenario {
    /// Takes the steps on a machine made for it, up to the first thing that does not hold.
    ///
    /// The calling thread is CPU 0 on node 0 when the first step begins, and when all is over.
    ///
    /// # Errors
    ///
    /// [`BadScenario`] if there is no such machine: its map cannot be read, or Bedframe cannot work on it.
    pub fn run(&self, watch: &Watch<'_>) -> Result<Report, BadScenario> {
        set_cpu(CpuId(0));
        set_node(NodeId(0));
        let site = Site::new(self)?;
        let table = self.table.machine.as_ref();
        let empty = || {
            let mut memory: Memory<HostedPlatform> = Memory::new(site.platform.clone());
            if table.frame_zero {
                memory = memory.hand_out_frame_zero();
            }
            if table.records {
                memory = memory.with_records();
            }
            if let Some(name) = table.scrub_on_free {
                memory = memory.scrub_on_free(name.policy());
            }
            // Nothing is known of it yet: not refused.
            let _ = memory.set_xen_heap(site.xen_heap);
            memory
        };
        let first = empty();
        site.tell(&first).map_err(|error| {
            self.bad_machine(format!("expected memory that can be used: {error}"))
        })?;
        let first = Instance::new(first);
        let policy = table.scrub_on_free.map(PolicyName::policy);
        let scrubs = policy.unwrap_or_default() == ScrubPolicy::Always;
        let world = World::new(&first, &empty, site.xen_heap, &self.domains, scrubs);
        let mut engine = Engine { scenario: self, world: &world, marks: BTreeMap::new() };
        let report = engine.run(site.describe(), watch);
        set_cpu(CpuId(0));
        set_node(NodeId(0));
        Ok(report)
    }
}

impl Engine<'_, '_> {
    fn run(&mut self, machine: String, watch: &Watch<'_>) -> Report {
        let scenario = self.scenario;
        let mut report = Report {
            scenario: scenario.file.clone(),
            about: scenario.table.about.clone(),
            machine,
            steps: Vec::new(),
            contradiction: None,
        };
        let mut names = BTreeMap::new();
        let mut tags = BTreeMap::new();
        let mut mappings = BTreeMap::new();
        let mut before = Snapshot::take(scenario, self.world, Tally::default());
        for (index, step) in scenario.table.step.0.iter().enumerate() {
            let step = step.as_ref();
            let title = step.title();
            let line = scenario.lines.get(index).copied().unwrap_or(1);
            watch(&title, 0, 0);
            let advance = |done, all| watch(&title, done, all);
            let mut scope = Scope::new(Some(&advance));
            scope.names = std::mem::take(&mut names);
            scope.tags = std::mem::take(&mut tags);
            scope.mappings = std::mem::take(&mut mappings);
            // A panic is a defect as well: the machine refuses access to frames that are not mapped by
            // one.
            let result = catch_unwind(AssertUnwindSafe(|| {
                self.take(step, &mut scope, Some(&before), true).and_then(|looked| {
                    self.world.look_at_all()?;
                    Ok(looked)
                })
            }));
            let result = result.unwrap_or_else(|panic| {
                let says = panic.downcast_ref::<String>().cloned();
                let says = says.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                Err(Wrong::new("no panic", says.unwrap_or_else(|| "a panic".into())).into())
            });
            let now = Snapshot::take(scenario, self.world, scope.tally);
            let looked = result.as_ref().map_or(Looked::default(), |looked| *looked);
            report.steps.push(StepReport {
                number: index + 1,
                line,
                title: title.clone(),
                action: step.kind(),
                done: scope.tally.done,
                refused: scope.tally.refused,
                checks: looked.checks,
                validated: looked.validated,
                free: now.machine.states.free,
                in_use: now.machine.states.in_use,
                uninitialised: now.machine.states.uninitialised,
                held: now.held,
            });
            if let Err(Failed { path, wrong }) = result {
                report.contradiction = Some(Contradiction {
                    step: format!("{}{path}", index + 1),
                    line,
                    expected: wrong.expected,
                    found: wrong.found,
                });
                return report;
            }
            before = now;
            (names, tags, mappings) = (scope.names, scope.tags, scope.mappings);
        }
        report
    }

    /// Takes a step as often as it says, and looks whether what must hold does.
    fn take(
        &mut self,
        step: &Step,
        scope: &mut Scope<'_>,
        before: Option<&Snapshot>,
        validate: bool,
    ) -> Result<Looked, Failed> {
        let mut looked = Looked::default();
        for turn in 0..step.repeat {
            scope.advance(turn, step.repeat);
            let edge = turn == 0 || turn + 1 == step.repeat;
            let in_turn = |mut failed: Failed| {
                if step.repeat > 1 {
                    failed.path.push_str(&format!(", turn {}", turn + 1));
                }
                failed
            };
            looked.checks += self.turn(step, scope, edge).map_err(in_turn)?;
        }
        self.world.settle();
        let now = |scope: &Scope<'_>| Snapshot::take(self.scenario, self.world, scope.tally);
        if let Some(expect) = &step.expect {
            let past = Past::new(before, &self.marks);
            looked.checks += expect.as_ref().judge(self.world, scope, &now(scope), &past)?;
        }
        if step.validate.unwrap_or(validate) {
            self.validate()?;
            looked.validated = true;
        }
        if let Some(mark) = &step.mark {
            let now = now(scope);
            self.marks.insert(mark.get().into(), now);
        }
        Ok(looked)
    }

    /// One turn of a step. `edge`: whether it is the first or the last.
    fn turn(&mut self, step: &Step, scope: &mut Scope<'_>, edge: bool) -> Result<u64, Failed> {
        match &step.what {
            What::Look => Ok(0),
            What::Action(action) => {
                let before = step.refused.as_ref().map(|_| self.world.memory().statistics());
                let done = scope.tally.done;
                act(action, step, self.world, scope)?;
                if let Some(before) = before.filter(|_| scope.tally.done == done) {
                    let after = self.world.memory().statistics();
                    if before != after {
                        let expected =
                            format!("nothing changed by calls that are refused: {before:?}");
                        return Err(Wrong::new(expected, format!("{after:?}")).into());
                    }
                }
                Ok(0)
            }
            What::Steps(steps) => self.group(steps, scope, edge),
            What::Threads(threads) => {
                self.threads(threads, scope)?;
                Ok(0)
            }
        }
    }

    fn group(
        &mut self,
        steps: &[Spanned<Step>],
        scope: &mut Scope<'_>,
        edge: bool,
    ) -> Result<u64, Failed> {
        let mut checks = 0;
        for (index, step) in steps.iter().enumerate() {
            let step = step.as_ref();
            let outside = std::mem::take(&mut scope.tally);
            let before = Snapshot::take_if(step.expect.is_some(), self.scenario, self.world);
            let result = self.take(step, scope, before.as_ref(), edge);
            scope.tally.done += outside.done;
            scope.tally.refused += outside.refused;
            let below = |failed: Failed| Failed {
                path: format!(".{}{}", index + 1, failed.path),
                ..failed
            };
            checks += result.map_err(below)?.checks;
        }
        Ok(checks)
    }

    /// Lets threads take their steps side by side.
    fn threads(&self, threads: &[Spanned<Thread>], scope: &mut Scope<'_>) -> Result<(), Failed> {
        let barrier = Barrier::new(threads.len());
        let known = scope.names.clone();
        let results: Vec<_> = std::thread::scope(|spawner| {
            let handles: Vec<_> = threads
                .iter()
                .enumerate()
                .map(|(index, thread)| {
                    let thread = thread.as_ref();
                    let (mut own, world, barrier) = (scope.for_thread(), self.world, &barrier);
                    spawner.spawn(move || {
                        set_cpu(CpuId(thread.cpu.unwrap_or(index as u32)));
                        set_node(NodeId(thread.node.unwrap_or(0)));
                        barrier.wait();
                        let result = (0..thread.repeat.unwrap_or(1))
                            .try_for_each(|_| row(&thread.steps.0, world, &mut own));
                        (own, result)
                    })
                })
                .collect();
            handles.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for (index, result) in results.into_iter().enumerate() {
            let in_thread = |failed: Failed| Failed {
                path: format!(", thread {}{}", index + 1, failed.path),
                ..failed
            };
            match result {
                Ok((own, result)) => {
                    scope.join(own, &known);
                    result.map_err(in_thread)?;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    }

    /// Walks everything, and compares the program's own books with Bedframe's counters.
    fn validate(&self) -> Result<(), Wrong> {
        let sound = |result: Result<(), String>| {
            result.map_err(|error| Wrong::new("memory that agrees with itself", error))
        };
        sound(self.world.memory().validate().map_err(|error| error.to_string()))?;
        if let Some(window) = self.world.window.get() {
            sound(window.validate())?;
        }
        self.walk_domains()?;
        self.sum_claims()?;
        let used = self.world.used();
        let held = self.world.books().frames() + self.world.own.load(Relaxed);
        if used != held {
            return Err(Wrong::new(
                format!("{held} frames in use or uninitialised: what steps hold"),
                used.to_string(),
            ));
        }
        Ok(())
    }
}

impl Engine<'_, '_> {
    /// What is claimed is what domains claim, and with what is not it makes up what is free.
    fn sum_claims(&self) -> Result<(), Wrong> {
        let memory = self.world.memory();
        let Some(counts) = memory.claims(bedframe::Scope::Machine) else { return Ok(()) };
        let domains = self.scenario.domains.values();
        let domains = domains.filter_map(|id| memory.domain(DomainId(*id)));
        let claimed: u64 = domains.map(|counts| counts.claimed).sum();
        let free = memory.statistics().free;
        if counts.claimed != claimed || claimed + counts.unclaimed != free + counts.deficit {
            let expected = format!("{claimed} frames claimed, as domains say, and {free} free");
            return Err(Wrong::new(expected, format!("{counts:?}")));
        }
        Ok(())
    }

    /// What a walk over each domain finds is what its counters say, and its own.
    fn walk_domains(&self) -> Result<(), Wrong> {
        let memory = self.world.memory();
        for (name, id) in &self.scenario.domains {
            let Some(counts) = memory.domain(DomainId(*id)) else { continue };
            let broken =
                |error: DomainError| Wrong::new(format!("a walk over {name}"), error.to_string());
            let mut walk = memory.walk_owned(DomainId(*id)).map_err(broken)?;
            let mut found = 0;
            while let Some(run) = walk.step().map_err(broken)? {
                found += run.frames.frames();
                if run.ownership.domain != DomainId(*id) {
                    return Err(Wrong::new(format!("frames of {name}"), format!("{run:?}")));
                }
            }
            if found != counts.frames() {
                let expected = format!("a walk over {} frames of {name}", counts.frames());
                return Err(Wrong::new(expected, format!("{found} frames")));
            }
        }
        Ok(())
    }
}

/// Steps of a thread, one after the other.
fn row(steps: &[Spanned<Step>], world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Failed> {
    for (index, step) in steps.iter().enumerate() {
        let step = step.as_ref();
        let below = |failed: Failed| Failed {
            path: format!(", step {}{}", index + 1, failed.path),
            ..failed
        };
        for _ in 0..step.repeat {
            match &step.what {
                What::Look | What::Threads(_) => Ok(()),
                What::Action(action) => act(action, step, world, scope).map_err(Failed::from),
                What::Steps(steps) => row(steps, world, scope),
            }
            .map_err(below)?;
        }
    }
    Ok(())
}

/// Takes an action, with its calls judged as the step says.
fn act(
    action: &crate::action::Action,
    step: &Step,
    world: &World<'_>,
    scope: &mut Scope<'_>,
) -> Result<(), Wrong> {
    scope.policy =
        Policy { refused: step.refused.clone(), may_be_refused: step.may_be_refused.clone() };
    action.act(world, scope)
}
