//! docs/cures.md and its pictures.

use bedframe_explore::cost::{self, measured};
use bedframe_explore::cure::Cure;
use bedframe_explore::invariant::Invariant;
use bedframe_explore::picture;
use bedframe_explore::report::{Outcome, Target, VARIANT_DEPTHS};
use bedframe_explore::story::{Story, Told};

use super::story::{broken, pairs};
use crate::units::{bytes, count};

/// Where numbers of states begin, which a short run has fewer of. All above is the same in every run.
const EXPLORED: &str = "## What was explored";

/// Every file, by its name below the folder.
pub(super) fn write(outcome: &Outcome) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut page = String::new();
    introduction(&mut page);
    answers(&mut page, outcome);
    costs(&mut page);
    page.push_str("## Counterexamples\n\n");
    page.push_str(
        "Each is the shortest there is, found anew by every run, and none of its steps can be left out, which is \
         tested. The machine has sixteen frames: frame 11 is kernel text, 12 an initrd, 14 a hole, and node 1 begins \
         at frame 10. A separate Xen heap is frames 0 to 5. The number in a frame is its word in the frame table.\n\n",
    );
    for (story, told) in &outcome.stories {
        if let Some(told) = told {
            counterexample(&mut page, story, told);
            files.push((format!("cures/{}.svg", story.name), picture::write(story.title, told)));
        }
    }
    variants(&mut page, outcome);
    mistakes(&mut page, outcome);
    explored(&mut page, outcome);
    files.push(("cures.md".into(), page));
    files
}

fn introduction(page: &mut String) {
    page.push_str(
        "# The three cures, compared\n\n\
         Frames that the boot allocator handed out come back to a heap that has no record of them. How does the heap \
         know such a frame? Three answers were on the table in the message that Bedframe began with ([seed.md](seed.md)):\n\n\
         - **count-zero**: its word in the frame table is 0, since nobody has written there;\n\
         - **uninitialised**: its word says so, in a state of its own that is the default, and *in use* is something that \
         is written;\n\
         - **all-ones**: its word is all ones, since the whole frame table was filled with them. *\"But I am not entirely \
         sure whether the allocator would be able to cope with it.\"*\n\n\
         This page is what `bedframe explore` finds if it tries everything that can happen on a small machine under each of \
         them, and in Bedframe itself. It is written by the program, and a test holds it to what the program finds:\n\n\
         ```sh\ncargo run --release -- explore --markdown docs\n```\n\n",
    );
}

fn answers(page: &mut String, outcome: &Outcome) {
    page.push_str(
        "## The answers\n\n| cure | breaks in | bytes written at boot of 12 TiB | instructions of a free | does the heap cope? |\n\
         |---|---|--:|--:|---|\n",
    );
    let copes = |cure: Cure| match cure {
        Cure::CountZero => {
            "no: a frame in use has 0 there too, and so have kernel text and the heap's own tables"
        }
        Cure::Uninitialised => {
            "yes, with a zone check and a ledger that knows boot frames from kernel text"
        }
        Cure::AllOnes => {
            "yes, with the same two, if whole records are filled; ones in the word alone read as *free*, and \
             hand-over merges what is not there"
        }
    };
    for cure in Cure::ALL {
        let finding = outcome.cures().into_iter().find(|finding| finding.cure == cure.name());
        let way = finding.and_then(|finding| finding.counterexample);
        page.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            cure.name(),
            way.map_or("nothing found".into(), |way| format!("`{}`", way.join("`, `"))),
            bytes(cost::boot_bytes(cure, cost::FRAMES)),
            cost::free_instructions(cure),
            copes(cure),
        ));
    }
    page.push_str(
        "\nWhat the variants show, each line of it by the table further down:\n\n\
         - *count-zero* miscounts as soon as a frame whose word is 0 while it is in use is freed, by callers who make no \
         mistake. Marking every frame in use helps, but a separate Xen heap has no mark to set. A ledger helps until a frame \
         that once was a boot frame is in use a second time.\n\
         - Whatever the word says, it does not tell a boot frame from kernel text: without a ledger each of the three takes \
         back what was never handed out, and then hands it out.\n\
         - Keeping frame 0 out of the heap does keep zones apart without a zone check, as long as there is one heap. The edge \
         of a separate Xen heap is not a power of two, and is crossed. With a zone check frame 0 may be memory like any other.\n\
         - Frame 0, where it is thrown away when it is freed, leaves no trace of that: it can be freed again and again. \
         Bedframe withholds it as reserved instead.\n\n",
    );
}

fn costs(page: &mut String) {
    page.push_str("## What they cost\n\n");
    page.push_str(&format!(
        "**Bytes written at boot**, of *f* frames: *count-zero* and *all-ones* write the frame table, {} bytes a record, so \
         {} × *f*: zeros have to be written as well, since nothing says what memory holds before. *uninitialised*, as \
         Bedframe has it, writes an entry of 4 bytes for each 512 frames, since an entry can say \"nobody has written here\" for \
         all of them. (In a frame table of Xen's manner its records would be zeros, and cost what those of *count-zero* do.) \
         What hand-over really writes was counted, as bytes that differ from what was there before:\n\n\
         | machine | entries, by the formula | written, counted | all-ones, by the formula |\n|--:|--:|--:|--:|\n",
        cost::RECORD,
        cost::RECORD,
    ));
    for shift in [18, 20, 22] {
        let frames = 1u64 << shift;
        page.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            bytes(frames << 12),
            count(cost::boot_bytes(Cure::Uninitialised, frames)),
            measured(frames, 1024).map_or("too large".into(), count),
            count(cost::boot_bytes(Cure::AllOnes, frames)),
        ));
    }
    page.push_str(
        "\n**Instructions of a free** are those of a reference implementation (`crates/bedframe-explore/src/cost.rs`): one \
         frame that the heap has handed out goes from *in use* to *free* by one compare-exchange, a boot frame and a double \
         free being told apart. They were counted by callgrind on x86-64, release build, the return included (`examples/frees.rs` \
         says how). Where *in use* is a state that is written, one comparison settles the usual case; where it is whatever is neither \
         0 (or all ones) nor free, it takes two. In Bedframe the comparison is none at all: a frame that has been in the heap \
         answers by its own bits, in the compare-exchange that frees it.\n\n",
    );
}

fn counterexample(page: &mut String, story: &Story, told: &Told) {
    page.push_str(&format!(
        "### {}\n\n{}{}\n\n![{}](cures/{}.svg)\n\n",
        story.title,
        story.variant,
        if story.honest { "; nobody makes a mistake" } else { "; somebody makes a mistake" },
        told.ending.as_deref().unwrap_or_default(),
        story.name,
    ));
    for (number, line) in (1..).zip(&told.lines) {
        page.push_str(&format!("{number}. `{}`: {}\n", line.call, line.words));
    }
    page.push_str(&format!(
        "\n**{}** What must hold: {}. To see it: `bedframe explore --replay {}`.\n\n",
        told.ending.as_deref().unwrap_or_default(),
        story.invariant,
        story.name,
    ));
}

fn variants(page: &mut String, outcome: &Outcome) {
    let (right, any) = VARIANT_DEPTHS;
    page.push_str(&format!(
        "## Every variant\n\nWhat breaks, and in how many calls at least: with callers who give back only what they hold, \
         up to {right} calls in a row; and with callers who try everything, up to {any}.\n\n\
         | variant | callers make no mistakes | callers make mistakes |\n|---|---|---|\n",
    ));
    for [right, any] in pairs(&outcome.variants) {
        page.push_str(&format!("| {} | {} | {} |\n", right.variant, broken(right), broken(any)));
    }
    page.push('\n');
}

fn mistakes(page: &mut String, outcome: &Outcome) {
    page.push_str(
        "## Mistakes made on purpose\n\nSo that the search can be seen to find what there is to find: traps of sketches of \
         this layout, made one at a time in the worlds that go step by step. Each breaks something, in the fewest steps there \
         are; `bedframe explore --replay NAME` shows which.\n\n| name | what is done wrong | what breaks | steps |\n|---|---|---|--:|\n",
    );
    for caught in &outcome.mistakes {
        let (what, steps) = match &caught.way {
            Some((invariant, steps)) => (invariant.words(), steps.len()),
            None => ("nobody noticed", 0),
        };
        page.push_str(&format!(
            "| {} | {} | {what} | {steps} |\n",
            caught.mistake.name(),
            caught.mistake.words()
        ));
    }
    page.push_str("\n## What must hold\n\n");
    for invariant in Invariant::ALL {
        page.push_str(&format!("- **{}**: {}\n", invariant.name(), invariant.words()));
    }
    page.push('\n');
}

fn explored(page: &mut String, outcome: &Outcome) {
    page.push_str(EXPLORED);
    page.push_str(
        "\n\nThe engine is stateright: breadth first, so that what is found is as short as can be. Of states that differ only \
         in which of the CPUs is where, one stands for all. *To the end* means that there is nothing beyond; a number, that \
         every sequence of so many calls was tried.\n\n| target | world | states | steps tried | depth |\n|---|---|--:|--:|--:|\n",
    );
    for world in &outcome.worlds {
        let target = if world.target == Target::Library { "library" } else { "design" };
        let found = &world.found;
        let depth = if found.complete { "to the end".into() } else { found.depth.to_string() };
        page.push_str(&format!(
            "| {target} | {} | {} | {} | {depth} |\n",
            world.name,
            count(found.states),
            count(found.tried),
        ));
    }
    page.push_str(
        "\nWhat this does not show. Steps are interleaved as if memory were sequentially consistent; loom explores the \
         orderings, over the code that ships. Two sequences of calls on the library that end in what looks the same are \
         followed once, whatever hints they leave behind; every block that the library then chooses is judged, but not every \
         choice is seen. In the chunk's world nobody takes a frame, or lets it come back, while a call is about to free it: of \
         two frees of one frame, with a withdrawal and its undoing or another holder in between, both report success \
         ([design.md](design.md)). What a domain takes on its claim is made nobody's at once; owners have tests of their own. And \
         it is small machines: 16 frames, 80 frames, a chunk of four. The library's have 80 and not fewer since its index takes \
         about half of them.\n",
    );
}
