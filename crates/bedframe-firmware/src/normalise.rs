//! The rules for maps: from what a source lists to what is RAM.
//!
//! - A frame is RAM if it lies wholly inside usable ranges and overlaps no range of another kind;
//!   usable ranges that touch count as one.
//! - A frame is released late if it lies wholly inside ACPI-reclaimable ranges and overlaps no
//!   range of a third kind. Where such a range overlaps a usable one, it wins: the tables are
//!   there.
//! - Lists below the deciding one change nothing; where they disagree there is a warning.
//! - Reservations are rounded outwards and count only where they lie on RAM.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use bedframe::{FrameRange, Mfn};

use crate::error::MapError;
use crate::homes::{Homes, whole_frames};
use crate::machine::{
    Kind, LateRange, LateReason, Machine, RamRange, Reservation, Source, Warning,
};
use crate::span::{Span, intersect, subtract, total, union};
use crate::survey::{Claim, Entry, Survey, homes_of};

/// The frames that are compared between lists. Kernels keep the first megabyte, or part of it,
/// from their own lists, and nobody wants to be warned of that.
const COMPARED: [Span; 1] = [Span { start: 0x100, end: u64::MAX }];

/// Applies the rules. `file` is named in errors.
pub(crate) fn normalise(file: &str, survey: Survey) -> Result<Machine, MapError> {
    let Survey {
        source,
        entries,
        lower,
        homes,
        claims,
        mirrored,
        extra,
        placements,
        distances,
        mut warnings,
    } = survey;

    let ram = ram_of(&entries);
    if ram.is_empty() {
        return Err(MapError::NoRam { file: file.to_string(), source });
    }
    warnings.extend(overlap(&entries));

    let homes = Homes::settle(&homes).map_err(|(first, second)| MapError::Conflict {
        place: second.origin.place(file),
        other: Box::new(first.origin.place(file)),
    })?;
    warnings.extend(doubtful_homes(&homes, &ram));

    for (other, entries) in &lower {
        warnings.extend(disagreement(source, &ram, *other, entries));
        warnings.extend(other_nodes(&homes, &ram, *other, entries));
    }

    let mirrored = intersect(&ram, &whole_frames(&union(mirrored)));
    let late = homes.assign(&late_of(&entries));
    let mut listed: Vec<_> = entries.iter().map(Entry::listed).collect();
    listed.extend(extra);
    Ok(Machine {
        name: file.to_string(),
        source,
        reserved: reserved(&ram, claims),
        ram: homes
            .assign(&ram)
            .into_iter()
            .map(|(span, node)| RamRange { range: frames(span), node })
            .collect(),
        late: late
            .into_iter()
            .map(|(span, node)| {
                let why = LateReason::AcpiReclaimable;
                LateRange { range: frames(span), node, why }
            })
            .collect(),
        bad: Vec::new(),
        mirrored: mirrored.into_iter().map(frames).collect(),
        placements,
        distances,
        listed,
        warnings,
    })
}

/// The frames of a span of frame numbers.
fn frames(span: Span) -> FrameRange {
    FrameRange::new(Mfn::new(span.start), Mfn::new(span.end)).unwrap_or(FrameRange::EMPTY)
}

fn bytes_of(entries: &[Entry], wanted: impl Fn(&Kind) -> bool) -> Vec<Span> {
    union(entries.iter().filter(|entry| wanted(&entry.kind)).map(|entry| entry.span))
}

fn ram_of(entries: &[Entry]) -> Vec<Span> {
    let usable = bytes_of(entries, |kind| *kind == Kind::Usable);
    let other = bytes_of(entries, |kind| *kind != Kind::Usable);
    whole_frames(&subtract(&usable, &other))
}

fn late_of(entries: &[Entry]) -> Vec<Span> {
    let tables = bytes_of(entries, |kind| *kind == Kind::AcpiReclaimable);
    let other = bytes_of(entries, |kind| !matches!(kind, Kind::AcpiReclaimable | Kind::Usable));
    whole_frames(&subtract(&tables, &other))
}

/// Warns of the first range, in address order, that is listed as usable and as something else.
fn overlap(entries: &[Entry]) -> Option<Warning> {
    let mut sorted: Vec<&Entry> = entries.iter().filter(|entry| !entry.span.is_empty()).collect();
    sorted.sort_by_key(|entry| entry.span);
    let (mut usable, mut other): (Option<&Entry>, Option<&Entry>) = (None, None);
    for entry in sorted {
        let (same, opposite) =
            if entry.kind == Kind::Usable { (&mut usable, &other) } else { (&mut other, &usable) };
        if let Some(first) = opposite.filter(|first| first.span.overlaps(entry.span)) {
            let text = format!(
                "{} memory at {:#x} overlaps {} memory at {:#x}; what both list is not RAM",
                entry.kind, entry.span.start, first.kind, first.span.start
            );
            return Some(Warning { line: entry.origin.line, text });
        }
        if same.is_none_or(|last| last.span.end < entry.span.end) {
            *same = Some(entry);
        }
    }
    None
}

fn doubtful_homes(homes: &Homes, ram: &[Span]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let ambiguous = homes.ambiguous(ram);
    if ambiguous > 0 {
        let text = format!(
            "{ambiguous} frames of RAM lie in hot-pluggable ranges of several nodes; \
             the range listed first counts"
        );
        warnings.push(Warning { line: None, text });
    }
    let uncovered = homes.uncovered(&intersect(ram, &COMPARED));
    if uncovered > 0 && !homes.is_empty() {
        let text =
            format!("{uncovered} frames of RAM lie in no node's range; they join the nearest node");
        warnings.push(Warning { line: None, text });
    }
    warnings
}

/// Warns if the list `other` would give other RAM.
fn disagreement(source: Source, ram: &[Span], other: Source, entries: &[Entry]) -> Option<Warning> {
    let (here, there) = (intersect(ram, &COMPARED), intersect(&ram_of(entries), &COMPARED));
    let (only_here, only_there) = (subtract(&here, &there), subtract(&there, &here));
    let first = only_here.iter().chain(&only_there).map(|span| span.start).min()?;
    let text = format!(
        "{source} and {other} disagree, and {source} counts: {} frames are RAM only in the first, \
         {} only in the second; the first such frame is {first:#x}",
        total(&only_here),
        total(&only_there)
    );
    Some(Warning { line: None, text })
}

/// Warns if the list `other` puts RAM on other nodes.
fn other_nodes(homes: &Homes, ram: &[Span], other: Source, entries: &[Entry]) -> Option<Warning> {
    let stated = homes_of(entries);
    if stated.is_empty() || homes.is_empty() {
        return None;
    }
    let theirs = Homes::settle(&stated).ok()?.assign(&intersect(ram, &ram_of(entries)));
    let ours = homes.assign(ram);
    let (mut a, mut b) = (ours.iter().peekable(), theirs.iter().peekable());
    let (mut moved, mut first) = (0, None);
    while let (Some(&&(x, our)), Some(&&(y, their))) = (a.peek(), b.peek()) {
        if our != their && x.overlaps(y) {
            let start = x.start.max(y.start);
            moved += x.end.min(y.end) - start;
            first = first.or(Some(start));
        }
        if x.end <= y.end {
            a.next()
        } else {
            b.next()
        };
    }
    let first = first?;
    let text = format!(
        "{other} put {moved} frames of RAM on other nodes than the ranges that count; \
         the first such frame is {first:#x}"
    );
    Some(Warning { line: None, text })
}

/// Rounds reservations outwards to frames and cuts them to RAM. Where they overlap, the stronger
/// kind keeps the frames, so that each is withheld once.
fn reserved(ram: &[Span], mut claims: Vec<Claim>) -> Vec<Reservation> {
    claims.sort_by_key(|claim| (claim.kind, claim.span));
    let mut free = ram.to_vec();
    let mut reserved = Vec::new();
    for claim in claims {
        let range = FrameRange::around_bytes(claim.span.start, claim.span.end);
        let taken = [Span::new(range.start().get(), range.end().get())];
        let pieces = intersect(&free, &taken);
        if pieces.is_empty() {
            continue;
        }
        free = subtract(&free, &taken);
        reserved.extend(pieces.into_iter().map(|span| Reservation {
            range: frames(span),
            name: claim.name.clone(),
            kind: claim.kind,
        }));
    }
    reserved.sort_by_key(|reservation| reservation.range.start());
    reserved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Kind::*, ReservationKind};
    use crate::survey::Origin;
    use alloc::string::String;
    use alloc::vec;
    use bedframe::NodeId;

    fn entry(start: u64, end: u64, kind: Kind) -> Entry {
        let origin = Origin { line: None, text: String::new() };
        Entry { span: Span::new(start, end), kind, node: None, origin }
    }

    fn machine(entries: Vec<Entry>) -> Result<Machine, MapError> {
        normalise("test", Survey::new(Source::E820, entries))
    }

    fn ram(entries: Vec<Entry>) -> Vec<(u64, u64)> {
        let machine = machine(entries).expect("some RAM");
        machine.ram.iter().map(|r| (r.range.start().get(), r.range.end().get())).collect()
    }

    #[test]
    fn a_frame_is_ram_if_it_lies_wholly_inside_usable_ranges() {
        assert_eq!(ram(vec![entry(0x1001, 0x4fff, Usable)]), [(2, 4)]);
    }

    #[test]
    fn usable_halves_that_touch_make_a_whole() {
        let halves = vec![entry(0x1800, 0x3000, Usable), entry(0x1000, 0x1800, Usable)];
        assert_eq!(ram(halves), [(1, 3)]);
        let apart = vec![entry(0x1801, 0x3000, Usable), entry(0x1000, 0x1800, Usable)];
        assert_eq!(ram(apart), [(2, 3)]);
    }

    #[test]
    fn a_frame_that_another_kind_touches_is_not_ram() {
        for kind in
            [Reserved, AcpiNvs, AcpiReclaimable, Unusable, Persistent, SoftReserved, Other(20)]
        {
            let list = vec![entry(0x1000, 0x5000, Usable), entry(0x2fff, 0x3001, kind.clone())];
            assert_eq!(ram(list), [(1, 2), (4, 5)], "{kind}");
        }
        // An empty range touches nothing.
        let list = vec![entry(0x1000, 0x5000, Usable), entry(0x2800, 0x2800, Reserved)];
        assert_eq!(ram(list), [(1, 5)]);
    }

    #[test]
    fn no_other_kind_is_ram() {
        for kind in [Reserved, AcpiNvs, AcpiReclaimable, Unusable, Persistent, SoftReserved] {
            let error = machine(vec![entry(0x1000, 0x9000, kind.clone())]).unwrap_err();
            assert!(matches!(error, MapError::NoRam { .. }), "{kind}");
        }
    }

    #[test]
    fn acpi_reclaimable_frames_are_late_if_nothing_but_usable_overlaps_them() {
        let list = vec![
            entry(0x1000, 0x8000, Usable),
            entry(0x10_0800, 0x10_5000, AcpiReclaimable),
            entry(0x10_3fff, 0x10_4000, AcpiNvs),
            entry(0x10_2000, 0x10_2800, Usable),
        ];
        let machine = machine(list).unwrap();
        let late: Vec<_> =
            machine.late.iter().map(|l| (l.range.start().get(), l.range.end().get())).collect();
        assert_eq!(late, [(0x101, 0x103), (0x104, 0x105)]);
        assert_eq!((machine.late_frames(), machine.ram_frames()), (3, 7));
    }

    #[test]
    fn an_overlap_of_kinds_is_a_warning() {
        let list = vec![entry(0x1000, 0x5000, Usable), entry(0x3000, 0x4000, Reserved)];
        let warnings = machine(list).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].text.starts_with("reserved memory at 0x3000 overlaps usable memory"));
        let list = vec![entry(0x1000, 0x3000, Usable), entry(0x3000, 0x4000, Reserved)];
        assert_eq!(machine(list).unwrap().warnings, []);
    }

    #[test]
    fn a_lower_list_that_disagrees_is_a_warning() {
        let warnings = |lower: Vec<Entry>| {
            let list = vec![entry(0, 0x9_f000, Usable), entry(0x10_0000, 0x20_0000, Usable)];
            let mut survey = Survey::new(Source::E820, list);
            survey.lower.push((Source::NodeRanges, lower));
            normalise("test", survey).unwrap().warnings
        };
        // Below one megabyte nothing is compared.
        assert_eq!(warnings(vec![entry(0x10_0000, 0x20_0000, Usable)]), []);
        let other = warnings(vec![entry(0x10_1000, 0x20_1000, Usable)]);
        assert_eq!(other.len(), 1);
        let text = &other[0].text;
        assert!(
            text.contains("1 frames are RAM only in the first, 1 only in the second"),
            "{text}"
        );
        assert!(text.ends_with("frame is 0x100"), "{text}");
    }

    #[test]
    fn a_lower_list_with_other_nodes_is_a_warning() {
        let list = vec![entry(0x10_0000, 0x20_0000, Usable)];
        let mut survey = Survey::new(Source::E820, list);
        let mut home = entry(0, 0x100_0000, Usable);
        home.node = Some(NodeId(3));
        survey.homes = homes_of(&[home]);
        let mut lower = entry(0x10_0000, 0x20_0000, Usable);
        lower.node = Some(NodeId(4));
        survey.lower.push((Source::NodeRanges, vec![lower]));
        let warnings = normalise("test", survey).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].text.contains("256 frames of RAM on other nodes"), "{warnings:?}");
    }

    #[test]
    fn ram_outside_all_node_ranges_joins_the_nearest_with_a_warning() {
        let mut survey = Survey::new(Source::E820, vec![entry(0x10_0000, 0x20_0000, Usable)]);
        let mut home = entry(0x18_0000, 0x20_0000, Usable);
        home.node = Some(NodeId(5));
        survey.homes = homes_of(&[home]);
        let machine = normalise("test", survey).unwrap();
        assert_eq!(machine.nodes(), [NodeId(5)]);
        assert_eq!(machine.ram_frames_on(NodeId(5)), 0x100);
        assert!(machine.warnings[0].text.starts_with("128 frames of RAM lie in no node's range"));
    }

    #[test]
    fn reservations_round_outwards_stay_on_ram_and_count_once() {
        let claim = |start, end, name: &str, kind| Claim {
            span: Span::new(start, end),
            name: name.to_string(),
            kind,
        };
        let list = vec![entry(0x1000, 0x9000, Usable), entry(0x20_000, 0x30_000, Usable)];
        let mut survey = Survey::new(Source::DeviceTree, list);
        survey.claims = vec![
            claim(0x2fff, 0x3001, "head", ReservationKind::MemReserve),
            claim(0x3000, 0x5000, "device", ReservationKind::NoMap),
            claim(0x8000, 0x21_000, "bridge", ReservationKind::Static),
            claim(0x10_000, 0x11_000, "outside", ReservationKind::NoMap),
            claim(0x7000, 0x7000, "empty", ReservationKind::NoMap),
        ];
        let machine = normalise("test", survey).unwrap();
        let found: Vec<_> = machine
            .reserved
            .iter()
            .map(|r| (r.range.start().get(), r.range.end().get(), r.name.as_str()))
            .collect();
        let expected = [(2, 3, "head"), (3, 5, "device"), (8, 9, "bridge"), (0x20, 0x21, "bridge")];
        assert_eq!(found, expected);
        assert_eq!(machine.reserved_frames(), 5);
    }
}
