//! A counterexample, step by step.

use std::fs;

use bedframe_explore::cure::Variant;
use bedframe_explore::design::{Call, Design};
use bedframe_explore::invariant::Invariant;
use bedframe_explore::picture;
use bedframe_explore::report::catch;
use bedframe_explore::steps::mistake::Mistake;
use bedframe_explore::story::{Told, named, stories, tell};

use crate::Trouble;
use crate::page::{Page, strong};

/// What was replayed.
pub(super) struct Replayed {
    /// The story as text.
    pub(super) text: String,
    title: String,
    told: Option<Told>,
    /// Why it is not what it should be.
    wrong: Option<String>,
}

impl Replayed {
    /// The story as a picture.
    pub(super) fn picture(&self) -> Result<String, Trouble> {
        match &self.told {
            Some(told) => Ok(picture::write(&self.title, told)),
            None => Err(Trouble::Input(format!("--svg: {} has no frames to draw", self.title))),
        }
    }

    pub(super) fn verdict(&self) -> Result<(), Trouble> {
        self.wrong.clone().map_or(Ok(()), |wrong| Err(Trouble::Contradiction(wrong)))
    }
}

/// Replays the counterexample of that name, or the calls in that file.
pub(super) fn replay(what: &str) -> Result<Replayed, Trouble> {
    if let Some(story) = named(what) {
        let told = story.told();
        let wrong = told
            .is_none()
            .then(|| format!("{what}: {} is not to be broken any more", story.invariant));
        let told = told.unwrap_or_else(|| tell(story.design(), &[], None));
        return Ok(design(story.title, told, Some(story.invariant), wrong));
    }
    if let Some(mistake) = Mistake::ALL.into_iter().find(|mistake| mistake.name() == what) {
        return Ok(interleaving(mistake));
    }
    let text = fs::read_to_string(what).map_err(|error| {
        let names = stories().into_iter().map(|story| story.name);
        let names: Vec<&str> = names.chain(Mistake::ALL.map(Mistake::name)).collect();
        Trouble::Input(format!(
            "--replay {what}: expected a file, or one of {}; as a file: {error}",
            names.join(", ")
        ))
    })?;
    from_file(what, &text)
}

/// A cure; a call a line; and perhaps "breaks" and an invariant. What stands behind # is a remark.
fn from_file(name: &str, text: &str) -> Result<Replayed, Trouble> {
    let bad = |number: usize, line: &str, expected: &str| {
        Trouble::Input(format!("{name}:{}: {line:?}: expected {expected}", number + 1))
    };
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut lines = lines.enumerate().filter(|(_, line)| !line.is_empty());
    let (number, line) = lines.next().ok_or_else(|| bad(0, "", "a cure"))?;
    let variant = Variant::parse(line).map_err(|word| {
        bad(number, &word, "a cure (count-zero, uninitialised, all-ones), then what differs from how it was proposed")
    })?;
    let mut calls = Vec::new();
    let mut breaks = None;
    for (number, line) in lines {
        if let Some(invariant) = line.strip_prefix("breaks ") {
            let known = Invariant::named(invariant.trim());
            breaks = Some(known.ok_or_else(|| bad(number, line, "the name of an invariant"))?);
        } else {
            let expected = "a call as in \"boot-alloc 3 top\", \"start\", \
                            \"alloc order 1 node 0 domain\", \"free 11 1\", \"release 12\"";
            calls.push(Call::parse(line).ok_or_else(|| bad(number, line, expected))?);
        }
    }
    let told = tell(Design { variant, honest: false }, &calls, None);
    let wrong = match breaks {
        Some(invariant) if !told.breaks(invariant) => {
            Some(format!("{name} does not break: {invariant}"))
        }
        None if told.breaks_any() => Some(format!("{name} breaks what must hold")),
        _ => None,
    };
    Ok(design(name, told, breaks, wrong))
}

fn design(title: &str, told: Told, breaks: Option<Invariant>, wrong: Option<String>) -> Replayed {
    let mut page = Page::default();
    page.line(&format!("{}  {}", strong("bedframe explore"), strong(title)));
    page.words(&told.design.variant.to_string());
    page.heading(
        "steps",
        "frames 0 to 15; 11 is kernel text, 12 the initrd, 14 a hole; node 1 begins at 10",
    );
    for line in &told.lines {
        page.row(&strong(&line.call.to_string()));
        page.words(&line.words);
    }
    page.line("");
    match (&told.ending, breaks) {
        (Some(ending), _) => page.verdict(false, ending),
        (None, _) => page.verdict(true, "nothing is broken"),
    }
    if let Some(invariant) = breaks {
        page.words(&format!("What must hold: {invariant}."));
    }
    Replayed { text: page.into_text(), title: title.into(), told: Some(told), wrong }
}

fn interleaving(mistake: Mistake) -> Replayed {
    let mut page = Page::default();
    page.line(&format!("{}  {}", strong("bedframe explore"), strong(mistake.name())));
    page.words(&format!("A mistake made on purpose: {}.", mistake.words()));
    page.heading("steps", "each is one atomic access");
    let way = catch(mistake, &Default::default());
    let wrong = way.is_none().then(|| format!("{}: nobody noticed the mistake", mistake.name()));
    if let Some((invariant, steps)) = way {
        steps.iter().for_each(|step| page.row(step));
        page.line("");
        page.verdict(false, &format!("What must hold, and does not: {invariant}."));
    }
    Replayed { text: page.into_text(), title: mistake.name().into(), told: None, wrong }
}
