//! Mappings that are real: bytes written through one are in the frames, and guards fault.

use bedframe::{Access, FrameRange, Memory, NodeId, Request, VirtualPage, Vmap};
use bedframe_hosted::{HostedError, HostedMemory, HostedPlatform, HostedWindow};

use crate::common::{mfn, range};

const FRAMES: u64 = 4096;

type Window<'m> = Vmap<'m, HostedPlatform, HostedWindow>;

fn machine() -> Memory<HostedPlatform> {
    let host = HostedMemory::new(mfn(FRAMES)).unwrap();
    host.fill_garbage(range(0, FRAMES), 11).unwrap();
    let memory = Memory::new(HostedPlatform::new(host));
    memory.reserve(range(1, 2)).unwrap();
    // SAFETY: the hosted machine's memory is used by nobody else; frame 1 is reserved for the top
    // table.
    unsafe { memory.add_ram(range(0, FRAMES), NodeId(0)) }.unwrap();
    memory
}

fn window(memory: &Memory<HostedPlatform>) -> Window<'_> {
    let tables = HostedWindow::new(memory.platform(), mfn(1), 1 << 12).unwrap();
    let pages = tables.pages();
    Vmap::new(memory, tables, pages)
}

#[track_caller]
fn faults(window: &Window<'_>, page: VirtualPage) {
    let load = window.tables().load(page, 0);
    assert!(matches!(load, Err(HostedError::Fault { page: at }) if at == page), "{page}: {load:?}");
    let store = window.tables().store(page, 511, 1);
    assert!(matches!(store, Err(HostedError::Fault { .. })), "{page}: {store:?}");
}

/// What a mapping that was made early says is what its frames hold, to its end: through hand-over,
/// and until it is freed, when it faults.
#[test]
fn contents_are_those_of_the_frames() {
    let memory = machine();
    let window = window(&memory);
    let bytes = memory.platform().memory();
    let early = window.alloc(600, &Request::frames(1), Access::READ_WRITE).unwrap();
    for page in early.iter() {
        let frame = window.lookup(page).unwrap();
        window.tables().store(page, 5, page.get() ^ 77).unwrap();
        assert_eq!(
            bytes.word(frame, 5).unwrap().load(std::sync::atomic::Ordering::Relaxed),
            page.get() ^ 77
        );
        bytes.write(frame, 8, &frame.get().to_ne_bytes()).unwrap();
    }
    memory.start(2).unwrap();
    let late = window.alloc(600, &Request::frames(1), Access::READ_WRITE).unwrap();
    late.iter().for_each(|page| window.tables().store(page, 1, 0).unwrap());
    for page in early.iter() {
        assert_eq!(window.tables().load(page, 5).unwrap(), page.get() ^ 77);
        let frame = window.lookup(page).unwrap();
        assert_eq!(window.tables().load(page, 1).unwrap(), frame.get());
    }
    window.free(early).unwrap();
    early.iter().for_each(|page| faults(&window, page));
    late.iter().for_each(|page| assert_eq!(window.tables().load(page, 1).unwrap(), 0));
    window.free(late).unwrap();
    memory.validate().unwrap();
    assert_eq!(memory.statistics().in_use + memory.statistics().uninitialised, 0);
}

/// Before the first mapping, behind each one, and wherever nothing is.
#[test]
fn guards_fault() {
    let memory = machine();
    let window = window(&memory);
    faults(&window, window.window().start());
    let mut held = Vec::new();
    for pages in [1, 2, 7, 512, 30] {
        let mapping = window.alloc(pages, &Request::frames(1), Access::READ_WRITE).unwrap();
        held.push(mapping);
    }
    for mapping in &held {
        mapping.iter().for_each(|page| window.tables().store(page, 0, 1).unwrap());
        faults(&window, mapping.end());
        faults(&window, VirtualPage::new(mapping.start().get() - 1));
    }
    // The middle goes; its neighbours stay.
    window.free(held[2]).unwrap();
    held[2].iter().for_each(|page| faults(&window, page));
    for mapping in [held[1], held[3]] {
        mapping.iter().for_each(|page| assert_eq!(window.tables().load(page, 0).unwrap(), 1));
    }
    window.validate().unwrap();
}

/// One frame at several pages is one frame, and what may only be read cannot be written.
#[test]
fn frames_are_shared_and_access_is_kept() {
    let memory = machine();
    let window = window(&memory);
    let frame = memory.alloc(&Request::frames(1)).unwrap();
    let ring = window.map(&[frame, frame, frame], Access::READ_WRITE).unwrap();
    let reader = window.map(&[frame], Access::READ).unwrap();
    for (number, page) in ring.iter().enumerate() {
        window.tables().store(page, 9, number as u64).unwrap();
        for other in ring.iter().chain(reader.iter()) {
            assert_eq!(window.tables().load(other, 9).unwrap(), number as u64);
        }
    }
    let store = window.tables().store(reader.start(), 9, 5);
    assert!(matches!(store, Err(HostedError::Fault { .. })), "{store:?}");
    window.unmap(ring, |_, at| assert_eq!(at, frame.start())).unwrap();
    assert_eq!(window.tables().load(reader.start(), 9).unwrap(), 2);
    window.free(reader).unwrap();
    memory.validate().unwrap();
}

/// The machine has no such frame: the host refuses, and all is as it was.
#[test]
fn frames_beyond_the_machine_are_refused() {
    let memory = machine();
    let window = window(&memory);
    let before = memory.statistics();
    let beyond = FrameRange::from_len(mfn(FRAMES - 3), 6).unwrap();
    let error = window.map(&[beyond], Access::READ).unwrap_err();
    assert!(error.to_string().starts_with("after 3 pages"), "{error}");
    let pages = window.window();
    (0..8).for_each(|at| faults(&window, VirtualPage::new(pages.start().get() + at)));
    assert_eq!(memory.statistics(), before);
    window.validate().unwrap();
}
