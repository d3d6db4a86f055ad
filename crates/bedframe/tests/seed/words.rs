//! What errors say: each has words of its own, names what it is about, and says whether waiting can help.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};

use bedframe::{
    AllocError, ClaimError, Contradiction, DomainError, DomainId, FrameRange, FreeError,
    FreeRefusal, MapError, Mfn, NodeId, OfflineError, Order, OwnerError, OwnerRefusal, PageState,
    PageTableError, Pool, ReferenceError, Scope, VirtualPage, VirtualRange, VmapContradiction,
    VmapError, WatchError, Zone,
};

use crate::common::range;

const FRAME: Mfn = Mfn::new(0x2a);
const NODE: NodeId = NodeId(77);
const DOMAIN: DomainId = DomainId(78);
const RANGE: FrameRange = FrameRange::single(FRAME);

/// Each value's text names all that stands beside it, and is no other's; `waiting` says whether it is
/// right that waiting can help.
fn said<E: Display + Debug>(cases: &[(E, &[&str], bool)], waiting: impl Fn(&E) -> bool) {
    let mut texts = BTreeSet::new();
    for (error, parts, can_help) in cases {
        let text = error.to_string();
        for part in *parts {
            assert!(text.contains(part), "{text}: {part}");
        }
        assert_eq!(waiting(error), *can_help, "{text}");
        assert!(texts.insert(text), "{error:?} says what another says");
    }
}

#[test]
fn refused_allocations() {
    use AllocError::*;
    let none = OutOfMemory { frames: 5, pool: Pool::Xen };
    said(
        &[
            (NoFrames, &["zero frames"], false),
            (BadAlignment { alignment: 3 }, &["3"], false),
            (UnknownNode { node: NODE }, &["77"], false),
            (Impossible { frames: 5, within: RANGE }, &["5 frames", "[0x2a, 0x2b)"], false),
            (none, &["5 frames", "Xen heap"], true),
            (OutOfMemory { frames: 5, pool: Pool::Domain }, &["domain heap"], true),
            (Claimed { frames: 5, unclaimed: 3 }, &["5 frames", "3 are free"], true),
            (LedgerFull, &["ledger"], true),
            (Unreachable { frame: FRAME }, &["0x2a"], false),
        ],
        AllocError::waiting_can_help,
    );
}

#[test]
fn refused_maps() {
    use MapError::*;
    said(
        &[
            (BadRange { range: RANGE }, &["[0x2a, 0x2b)"], false),
            (OtherNode { frame: FRAME, node: NODE }, &["0x2a", "77"], false),
            (InUse { frame: FRAME, state: PageState::Free }, &["0x2a", "free"], true),
            (NoMetadata { frames: 5 }, &["5 frames"], true),
            (BadWidth { bits: 12 }, &["12"], false),
            (NoMemory, &["no RAM"], false),
            (Started, &["running already"], false),
        ],
        MapError::waiting_can_help,
    );
}

#[test]
fn refused_owners() {
    use OwnerRefusal::*;
    let none = AllocError::OutOfMemory { frames: 5, pool: Pool::Xen };
    let of = |why| OwnerError::Frame { frame: FRAME, why, committed: 0 };
    said(
        &[
            (OwnerError::NoFrames { range: range(3, 3) }, &["[0x3, 0x3)"][..], false),
            (DomainError::Dying { domain: DOMAIN }.into(), &["78", "dying"], false),
            (DomainError::HasFrames { domain: DOMAIN, frames: 5 }.into(), &["78", "5"], true),
            (none.into(), &["Xen heap"], true),
            (AllocError::NoFrames.into(), &["zero"], false),
            (of(State(PageState::Metadata)), &["0x2a", "metadata"], false),
            (of(Owned { owner: DOMAIN }), &["78"], false),
            (of(NotOwned { owner: Some(DOMAIN) }), &["78"], false),
            (of(NotOwned { owner: None }), &["nobody"], false),
            (of(Dropped), &["dropped"], false),
            (of(Lent), &["is lent"], false),
            (of(NotLent), &["not lent"], false),
            (of(NotXenHeap), &["Xen heap"], false),
            (of(Referenced { references: 6 }), &["6 references"], true),
            (of(TooManyReferences), &["as many"], true),
            (
                OwnerError::Frame { frame: FRAME, why: Lent, committed: 9 },
                &["0x2a", "is lent", "9 frames before"],
                false,
            ),
        ],
        OwnerError::waiting_can_help,
    );
}

#[test]
fn refused_domains() {
    use DomainError::*;
    let (domain, none) = (DOMAIN, AllocError::OutOfMemory { frames: 1, pool: Pool::Xen });
    said(
        &[
            (NoRecords, &["records"][..], false),
            (Unknown { domain }, &["no domain 78"], false),
            (Exists { domain }, &["78 already"], false),
            (Dying { domain }, &["78 is dying"], false),
            (Alive { domain }, &["78 is not dying"], false),
            (HasFrames { domain, frames: 5 }, &["78", "5 frames"], true),
            (
                OverQuota { domain, quota: 8, accounted: 7, asked: 2 },
                &["78", "7 of 8", "2 more"],
                true,
            ),
            (WalkEnded { domain }, &["78"], false),
            (UnknownNode { node: NODE }, &["77"], false),
            (NoMemory { why: none }, &["Xen heap"], true),
            (NoMemory { why: AllocError::NoFrames }, &["zero"], false),
        ],
        DomainError::waiting_can_help,
    );
}

#[test]
fn refused_claims_and_watches() {
    use ClaimError::*;
    said(
        &[
            (NotStarted, &["not run yet"][..], true),
            (NoFrames, &["zero"], false),
            (UnknownNode { node: NODE }, &["77"], false),
            (UnknownDomain { domain: DOMAIN }, &["78"], false),
            (Dying { domain: DOMAIN }, &["78 is dying"], false),
            (OtherScope { scope: Scope::Machine }, &["the machine"], false),
            (OtherScope { scope: Scope::Node(NODE) }, &["node 77"], false),
            (NoRecords, &["records"], false),
            (NotEnough { frames: 5, unclaimed: 3 }, &["5 frames", "3 can be"], true),
            (Deficit { frames: 5 }, &["5 frames"], true),
        ],
        ClaimError::waiting_can_help,
    );
    said(
        &[
            (WatchError::NotStarted, &["not run yet"][..], true),
            (WatchError::UnknownNode { node: NODE }, &["77"], false),
            (WatchError::BadWatermarks { low: 5, high: 3 }, &["5 and 3"], false),
        ],
        WatchError::waiting_can_help,
    );
}

#[test]
fn refused_references_and_withdrawals() {
    let (frame, state) = (FRAME, PageState::Free);
    said(
        &[
            (ReferenceError::NoRecords, &["records"][..], false),
            (ReferenceError::NotInUse { frame, state }, &["0x2a is free"], false),
            (ReferenceError::TooMany { frame }, &["0x2a", "too many"], true),
            (ReferenceError::NotReferenced { frame }, &["0x2a", "no references"], false),
        ],
        ReferenceError::waiting_can_help,
    );
    said(
        &[
            (OfflineError::NoRecords, &["records"][..], false),
            (OfflineError::State { frame, state }, &["0x2a is free"], false),
        ],
        OfflineError::waiting_can_help,
    );
}

#[test]
fn refused_mappings() {
    use VmapError::*;
    let page = VirtualPage::new(0x9a);
    let mapping = VirtualRange::from_len(page, 2).unwrap();
    let (room, none) = (AllocError::LedgerFull, AllocError::NoFrames);
    let free = |why| FreeError { frame: FRAME, why, committed: 0 };
    let (referenced, double) = (free(FreeRefusal::Referenced), free(FreeRefusal::AlreadyFree));
    let (refused, occupied) = (PageTableError::Refused { code: -5 }, PageTableError::Occupied);
    said(
        &[
            (NoPages, &[][..], false),
            (TooLarge { pages: 5, most: 3 }, &["5", "3"], false),
            (NoRoom { pages: 5, most: 3 }, &["5", "3"], true),
            (NoMetadata { error: room }, &["ledger"], true),
            (NoMetadata { error: none }, &["zero"], false),
            (NoFrame { mapped: 4, error: room }, &["4", "ledger"], true),
            (NoFrame { mapped: 4, error: none }, &["4", "zero"], false),
            (PageTable { mapped: 4, error: refused }, &["4", "-5"], true),
            (PageTable { mapped: 4, error: occupied }, &["4", "already"], false),
            (NotMapped { page }, &["0x9a"], false),
            (NotWhole { mapping }, &["0x9a", "0x9c"], false),
            (Busy { mapping }, &["0x9a", "0x9c"], true),
            (NotFreeable { page, error: referenced }, &["0x9a", "0x2a", "referenced"], true),
            (NotFreeable { page, error: double }, &["0x9a", "0x2a", "double"], false),
            (NotFreed { page, error: referenced }, &["0x9a", "0x2a", "referenced"], true),
        ],
        VmapError::waiting_can_help,
    );
    assert_eq!(NotFreed { page, error: double }.frame(), Some(FRAME));
    assert_eq!(NoPages.frame(), None);
    let tables: [(_, &[&str], _); 4] = [
        (refused, &["-5"], true),
        (occupied, &["already"], false),
        (PageTableError::NoTable { error: room }, &["ledger"], true),
        (PageTableError::NoTable { error: none }, &["zero"], false),
    ];
    said(&tables, PageTableError::waiting_can_help);
}

#[test]
fn contradictions_name_the_place() {
    use Contradiction::*;
    let frame = FRAME;
    let at = [
        LedgerOrder { frame },
        Segments { frame },
        Entry { frame },
        RaggedWhole { frame },
        Outside { frame },
        FreeUninitialised { frame },
        Withheld { frame },
        Hidden { frame },
        NotMerged { frame },
        References { frame },
        Owner { frame },
    ];
    let at: Vec<(_, &[&str], _)> = at.into_iter().map(|one| (one, &["0x2a"][..], false)).collect();
    said(&at, |_| false);
    said(
        &[
            (DomainCounts { domain: DOMAIN }, &["78"][..], false),
            (Sum { ram: 5, states: 3 }, &["5 frames", "3 frames"], false),
        ],
        |_| false,
    );
    let page = VirtualPage::new(0x9a);
    let mapping = VirtualRange::from_len(page, 2).unwrap();
    said(
        &[
            (VmapContradiction::Order { page }, &["0x9a"][..], false),
            (VmapContradiction::Tree { mapping }, &["0x9a", "0x9c"], false),
            (VmapContradiction::NoFrame { page }, &["0x9a"], false),
            (VmapContradiction::Guard { page }, &["0x9a"], false),
            (VmapContradiction::Count { counted: 5, noted: 3 }, &["5", "3"], false),
        ],
        |_| false,
    );
}

#[test]
fn states_and_numbers_are_readable() {
    let states: BTreeSet<_> = PageState::ALL.iter().map(PageState::to_string).collect();
    assert_eq!(states.len(), PageState::ALL.len());
    assert!(states.contains("in use") && states.contains("broken, offlining"));
    let order = Order::new(9).unwrap();
    let zone = Zone::new(9).unwrap();
    assert_eq!((format!("{order} {zone} {NODE} {FRAME} {RANGE}")), "9 9 77 0x2a [0x2a, 0x2b)");
    let debug = format!("{order:?} {zone:?} {NODE:?} {FRAME:?} {RANGE:?}");
    assert_eq!(debug, "Order(9) Zone(9) NodeId(77) Mfn(0x2a) [0x2a, 0x2b)");
}
