//! Everything that `bedframe explore` does: the worlds, the variants of the cures, the mistakes, the stories.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::cost;
use crate::cure::{Cure, Variant};
use crate::design::Design;
use crate::engine::{Found, Limit, World, explore};
use crate::invariant::Invariant;
use crate::library::{Layout, Library};
use crate::steps::chunk::Chunk;
use crate::steps::handover::Handover;
use crate::steps::mistake::Mistake;
use crate::steps::places::Places;
use crate::story::{Story, Told, stories};

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Seconds.
    Quick,
    /// Minutes.
    Full,
}

impl Effort {
    fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }
}

/// What a finding is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The design, as a model.
    Design,
    /// The library.
    Library,
}

/// A cure, and what became of it: one object of what `--json` prints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CureFinding {
    /// The cure's name.
    pub cure: &'static str,
    /// What was explored.
    pub target: Target,
    /// Different states.
    pub states: u64,
    /// Calls in a row that were tried in every way.
    pub depth: u16,
    /// The shortest way to break something, if there is one.
    pub counterexample: Option<Vec<String>>,
    /// Bytes written at boot on a machine of [`cost::FRAMES`].
    pub boot_bytes: u64,
    /// Instructions of a free.
    pub free_instructions: u64,
}

/// A world that was explored.
#[derive(Clone, PartialEq, Debug)]
pub struct Explored {
    /// What is explored.
    pub target: Target,
    /// The cure, if the world is about one.
    pub cure: Option<Cure>,
    /// What world it is.
    pub name: String,
    /// States, steps tried, depth.
    pub found: Found<String>,
}

/// A variant of a cure: the shortest way to break each invariant that can be broken.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    /// The variant.
    pub variant: Variant,
    /// Whether callers made no mistakes.
    pub honest: bool,
    /// Invariants broken, and in how many calls.
    pub broken: Vec<(Invariant, usize)>,
}

/// A mistake that was made on purpose, and how it was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Caught {
    /// The mistake.
    pub mistake: Mistake,
    /// What it breaks, and the steps to it; `None` if nobody noticed.
    pub way: Option<(Invariant, Vec<String>)>,
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How far it went.
    pub effort: Effort,
    /// The worlds.
    pub worlds: Vec<Explored>,
    /// The variants.
    pub variants: Vec<Compared>,
    /// The mistakes.
    pub mistakes: Vec<Caught>,
    /// The stories, with `None` for one that cannot be told any more.
    pub stories: Vec<(Story, Option<Told>)>,
    /// How long it took.
    pub time: Duration,
}

/// Calls in a row for the variants: with callers who make no mistakes, and with any.
pub const VARIANT_DEPTHS: (u16, u16) = (5, 4);

/// What there is to do.
enum Task {
    Cure(Cure),
    Chunk(u8, u8),
    Places,
    Handover(u8),
    Library(Layout, bool),
    Claims(Layout),
    Variant(Variant, bool),
    Mistake(Mistake),
    Story(Story),
}

/// What came of it.
enum Done {
    World(Explored),
    Variant(Compared),
    Mistake(Caught),
    Story(Story, Option<Told>),
}

/// Does all of it, on as many threads as there are processors. `progress` counts the steps that were tried.
#[must_use]
pub fn run(effort: Effort, progress: &Arc<AtomicU64>) -> Outcome {
    let begun = std::time::Instant::now();
    let tasks = tasks(effort);
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, task)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    tasks.get(at).map(|task| (at, task))
                } {
                    let result = perform(task, effort, progress);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    let mut outcome = Outcome {
        effort,
        worlds: Vec::new(),
        variants: Vec::new(),
        mistakes: Vec::new(),
        stories: Vec::new(),
        time: begun.elapsed(),
    };
    for (_, done) in done {
        match done {
            Done::World(world) => outcome.worlds.push(world),
            Done::Variant(compared) => outcome.variants.push(compared),
            Done::Mistake(caught) => outcome.mistakes.push(caught),
            Done::Story(story, told) => outcome.stories.push((story, told)),
        }
    }
    outcome
}

/// Long ones first, so that no thread is left alone with one.
fn tasks(effort: Effort) -> Vec<Task> {
    let library = |layout| [true, false].map(|running| Task::Library(layout, running));
    let mut tasks: Vec<Task> = Layout::all().into_iter().take(1).map(Task::Claims).collect();
    tasks.extend(Layout::all().into_iter().flat_map(library));
    tasks.extend(Cure::ALL.map(Task::Cure));
    tasks.extend(match effort {
        Effort::Quick => [Task::Chunk(2, 2), Task::Chunk(3, 1)],
        Effort::Full => [Task::Chunk(3, 2), Task::Chunk(2, 3)],
    });
    tasks.extend([Task::Places, Task::Handover(effort.pick(1, 3))]);
    for variant in Cure::ALL.into_iter().flat_map(Variant::all) {
        tasks.extend([true, false].map(|honest| Task::Variant(variant, honest)));
    }
    tasks.extend(Mistake::ALL.map(Task::Mistake));
    tasks.extend(stories().into_iter().map(Task::Story));
    tasks
}

/// Every way there is, to the end.
const ALL: Limit = Limit { depth: u16::MAX, stop_at_first: true };

fn perform(task: &Task, effort: Effort, progress: &Arc<AtomicU64>) -> Done {
    let world =
        |target, cure, name: String, found| Done::World(Explored { target, cure, name, found });
    match *task {
        Task::Cure(cure) => {
            let variant = Variant::proposed(cure);
            // Where wrong frees are accepted there are many more states, and nothing to prove.
            let depth = match cure {
                Cure::CountZero => effort.pick(4, 6),
                Cure::Uninitialised => effort.pick(5, 8),
                Cure::AllOnes => effort.pick(5, 7),
            };
            let limit = Limit { depth, stop_at_first: false };
            let found = search(Design { variant, honest: false }, limit, progress);
            world(
                Target::Design,
                Some(cure),
                format!("16 frames, {} as proposed", cure.name()),
                found,
            )
        }
        Task::Chunk(cpus, calls) => {
            let found = search(Chunk { cpus, calls, mistake: None }, ALL, progress);
            let name = format!("a chunk, {cpus} CPUs of {} each, step by step", some_calls(calls));
            world(Target::Design, Some(Cure::Uninitialised), name, found)
        }
        Task::Places => {
            let name = "three CPUs that look for a chunk, step by step".into();
            world(
                Target::Design,
                Some(Cure::Uninitialised),
                name,
                search(Places::default(), ALL, progress),
            )
        }
        Task::Handover(calls) => {
            let found = search(Handover { calls, mistake: None }, ALL, progress);
            let name =
                format!("hand-over amid three CPUs of {} each, step by step", some_calls(calls));
            world(Target::Design, Some(Cure::Uninitialised), name, found)
        }
        Task::Library(layout, running) => {
            let depth = if running { effort.pick(2, 4) } else { effort.pick(3, 5) };
            let limit = Limit { depth, stop_at_first: true };
            let found = search(Library::new(layout, running), limit, progress);
            let from = if running { "the heap runs" } else { "from the start" };
            world(
                Target::Library,
                Some(Cure::Uninitialised),
                format!("80 frames, {layout}, {from}"),
                found,
            )
        }
        Task::Claims(layout) => {
            let limit = Limit { depth: effort.pick(2, 3), stop_at_first: true };
            let found =
                search(Library { claims: true, ..Library::new(layout, true) }, limit, progress);
            world(
                Target::Library,
                Some(Cure::Uninitialised),
                format!("80 frames, {layout}, the heap runs, two domains claim"),
                found,
            )
        }
        Task::Variant(variant, honest) => {
            let (right, any) = VARIANT_DEPTHS;
            let limit = Limit { depth: if honest { right } else { any }, stop_at_first: false };
            let found = explore(Design { variant, honest }, limit, progress);
            let broken =
                found.ways.iter().map(|(invariant, way)| (*invariant, way.len())).collect();
            Done::Variant(Compared { variant, honest, broken })
        }
        Task::Mistake(mistake) => Done::Mistake(Caught { mistake, way: catch(mistake, progress) }),
        Task::Story(story) => Done::Story(story, story.told()),
    }
}

fn some_calls(calls: u8) -> String {
    if calls == 1 { "one call".into() } else { format!("{calls} calls") }
}

/// The search, with its steps in words.
fn search<W: World>(world: W, limit: Limit, progress: &Arc<AtomicU64>) -> Found<String> {
    let found = explore(world, limit, progress);
    let words = |way: Vec<W::Step>| way.iter().map(W::Step::to_string).collect();
    Found {
        ways: found.ways.into_iter().map(|(invariant, way)| (invariant, words(way))).collect(),
        states: found.states,
        tried: found.tried,
        depth: found.depth,
        complete: found.complete,
        time: found.time,
    }
}

/// Makes a mistake where it can be made, and looks whether that is noticed: what it breaks first.
#[must_use]
pub fn catch(mistake: Mistake, progress: &Arc<AtomicU64>) -> Option<(Invariant, Vec<String>)> {
    let made = Some(mistake);
    let found = match mistake {
        Mistake::AdoptedBlindly => search(Places { mistake: made }, ALL, progress),
        Mistake::StageNotAskedAgain => search(Handover { calls: 1, mistake: made }, ALL, progress),
        _ => search(Chunk { cpus: 2, calls: 3, mistake: made }, ALL, progress),
    };
    found.shortest().cloned()
}

impl Outcome {
    /// What `--json` prints of it: each cure for each target that has it.
    #[must_use]
    pub fn cures(&self) -> Vec<CureFinding> {
        let finding = |cure: Cure, target: Target| {
            let mine = |world: &&Explored| world.cure == Some(cure) && world.target == target;
            let worlds: Vec<&Explored> = self.worlds.iter().filter(mine).collect();
            let cut = worlds.iter().filter(|world| !world.found.complete);
            CureFinding {
                cure: cure.name(),
                target,
                states: worlds.iter().map(|world| world.found.states).sum(),
                depth: cut.map(|world| world.found.depth).min().unwrap_or(0),
                counterexample: worlds
                    .iter()
                    .filter_map(|world| world.found.shortest())
                    .min_by_key(|(_, way)| way.len())
                    .map(|(_, way)| way.clone()),
                boot_bytes: cost::boot_bytes(cure, cost::FRAMES),
                free_instructions: cost::free_instructions(cure),
            }
        };
        vec![
            finding(Cure::CountZero, Target::Design),
            finding(Cure::Uninitialised, Target::Design),
            finding(Cure::Uninitialised, Target::Library),
            finding(Cure::AllOnes, Target::Design),
        ]
    }

    /// What was expected, and whether it was found.
    #[must_use]
    pub fn verdicts(&self) -> Vec<(bool, String)> {
        let cures = self.cures();
        let sound = |target| {
            move |finding: &&CureFinding| {
                finding.cure == "uninitialised" && finding.target == target
            }
        };
        let holds = |target| {
            cures.iter().find(sound(target)).is_some_and(|finding| finding.counterexample.is_none())
        };
        let enough = self.effort == Effort::Quick
            || cures.iter().filter(|f| f.cure == "uninitialised").all(|f| f.states >= 100_000);
        let broken =
            |cure: &str| cures.iter().any(|f| f.cure == cure && f.counterexample.is_some());
        let unlike: Vec<String> = self
            .variants
            .iter()
            .filter(|compared| compared.broken != expected(compared.variant, compared.honest))
            .map(|compared| format!("{} ({:?})", compared.variant, compared.broken))
            .collect();
        let missed: Vec<&str> =
            self.mistakes.iter().filter(|m| m.way.is_none()).map(|m| m.mistake.name()).collect();
        let untold: Vec<&str> =
            self.stories.iter().filter(|(_, told)| told.is_none()).map(|(s, _)| s.name).collect();
        vec![
            (holds(Target::Design), "uninitialised: no way to break the design".into()),
            (holds(Target::Library), "uninitialised: no way to break the library".into()),
            (enough, "uninitialised: at least 100,000 states of each".into()),
            (broken("count-zero"), "count-zero: a way to break it".into()),
            (!broken("all-ones"), "all-ones, whole records filled: no way to break it".into()),
            (
                unlike.is_empty(),
                list(
                    "each variant of a cure breaks what it was expected to, and nothing else",
                    &unlike,
                ),
            ),
            (missed.is_empty(), list("every mistake made on purpose is found", &missed)),
            (
                untold.is_empty(),
                list("every story is found, and none of its steps can be left out", &untold),
            ),
        ]
    }

    /// Whether everything is as expected.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.verdicts().iter().all(|(good, _)| *good)
    }
}

fn list(words: &str, but: &[impl AsRef<str>]) -> String {
    if but.is_empty() {
        return words.into();
    }
    let but: Vec<&str> = but.iter().map(AsRef::as_ref).collect();
    format!("{words}; not so: {}", but.join(", "))
}

/// What a variant should break, and in how many calls: the argument of docs/cures.md, spelled out.
#[must_use]
pub fn expected(v: Variant, honest: bool) -> Vec<(Invariant, usize)> {
    use Invariant::{Coalesced, Counts, Edges, Once, OnlyRam, RightFree, WrongFree};
    let mut broken = Vec::new();
    let (right, any) = VARIANT_DEPTHS;
    let depth = usize::from(if honest { right } else { any });
    let mut breaks = |invariant, calls: usize| {
        if calls <= depth && !broken.iter().any(|(known, _)| *known == invariant) {
            broken.push((invariant, calls));
        }
    };
    // Where only words are filled hand-over itself merges what is not there.
    if v.cure == Cure::AllOnes && !v.whole_records {
        for (invariant, calls) in
            [(Once, 3), (OnlyRam, 2), (Counts, 2), (RightFree, 3), (Coalesced, 1)]
        {
            breaks(invariant, calls);
        }
        if !v.zone_check {
            breaks(Edges, 1);
        }
    }
    // Without a zone check only the missing frame 0 keeps zones apart; nothing keeps two heaps apart.
    if !v.zone_check {
        match (v.withhold_zero, v.separate) {
            (false, _) => breaks(Edges, 1),
            (true, true) => breaks(Edges, if honest || v.ledger { 5 } else { 2 }),
            (true, false) => {}
        }
    }
    if !honest {
        if !v.ledger {
            for (invariant, calls) in [(OnlyRam, 3), (Counts, 2), (WrongFree, 2)] {
                breaks(invariant, calls);
            }
        } else if v.withhold_zero || !v.whole_records {
            breaks(WrongFree, if v.whole_records { 4 } else { 2 });
        }
    }
    // A word of zero in use is taken for a boot frame; with a ledger, if it once was one.
    if v.cure == Cure::CountZero && (v.zero_in_use || v.separate) {
        breaks(Counts, if v.ledger { 5 } else { 3 });
    }
    broken.sort();
    broken
}
