//! The hosted machine as its users see it.

use std::io;

use bedframe::{
    CpuId, FRAME_SIZE, FrameRange, FreeError, FreeRefusal, InterruptMask, Mfn, NodeId, Platform,
    VirtualPage,
};
use bedframe_hosted::{
    HostedError, HostedMemory, HostedPlatform, HostedWindow, Pattern, ProcessMemory,
    interrupt_count, set_cpu, set_node,
};

const TIB: u64 = 1 << 40;

fn range(start: u64, frames: u64) -> FrameRange {
    FrameRange::from_len(Mfn::new(start), frames).unwrap()
}

fn small() -> HostedMemory {
    HostedMemory::new(Mfn::new(1024)).unwrap()
}

/// The peak is the process's, and tests run side by side: nothing here touches much.
#[test]
fn thirty_tebibytes_cost_what_is_touched() {
    let end = Mfn::from_address(30 * TIB);
    let memory = HostedMemory::new(end).unwrap();
    let before = ProcessMemory::now().unwrap();
    assert_eq!(memory.resident_bytes().unwrap(), 0);
    assert!(memory.is_untouched(memory.frames()).unwrap());

    let last = Mfn::new(end.get() - 1);
    for frame in [Mfn::ZERO, Mfn::from_address(17 * TIB), last] {
        assert_eq!(memory.bytes(frame).unwrap(), [0; FRAME_SIZE as usize]);
        memory.write_pattern(FrameRange::single(frame), Pattern::whole(frame.get())).unwrap();
    }
    for frame in [Mfn::ZERO, Mfn::from_address(17 * TIB), last] {
        memory.check_pattern(FrameRange::single(frame), Pattern::whole(frame.get())).unwrap();
    }
    assert_eq!(memory.resident_bytes().unwrap(), 3 * FRAME_SIZE);
    assert!(memory.is_untouched(range(1, 1 << 30)).unwrap());
    assert!(!memory.is_untouched(memory.frames()).unwrap());
    let after = ProcessMemory::now().unwrap();
    assert!(after.resident < before.resident + (256 << 20), "{before:?} {after:?}");
}

#[test]
fn sixty_four_tebibytes_can_be_mapped() {
    let end = Mfn::from_address(64 * TIB);
    let machine = HostedPlatform::new(HostedMemory::new(end).unwrap());
    let last = Mfn::new(end.get() - 1);
    machine.memory().write(last, 4095, &[7]).unwrap();
    assert_eq!(machine.memory().bytes(last).unwrap()[4095], 7);
}

/// Together they are more than a process can map, and small enough beside the other tests.
#[test]
fn a_dropped_machine_gives_its_addresses_back() {
    for _ in 0..8 {
        HostedMemory::new(Mfn::from_address(20 * TIB)).unwrap();
    }
}

#[test]
fn machines_that_cannot_be_are_refused_by_name() {
    assert!(matches!(HostedMemory::new(Mfn::ZERO), Err(HostedError::Empty)));
    assert!(matches!(HostedMemory::covering([]), Err(HostedError::Empty)));
    for end in [Mfn::MAX, Mfn::from_address(1 << 62), Mfn::from_address(1 << 58)] {
        let error = HostedMemory::new(end).unwrap_err();
        assert!(matches!(error, HostedError::AddressSpace { end: e, .. } if e == end), "{error}");
        assert!(error.to_string().contains("GiB"), "{error}");
    }
}

#[test]
fn the_highest_range_sets_the_end() {
    let ranges = [range(40, 8), range(100, 28), range(500, 0), range(0, 1)];
    assert_eq!(HostedMemory::covering(ranges).unwrap().end(), Mfn::new(128));
}

#[test]
fn frames_past_the_end_are_refused_before_anything_is_written() {
    let memory = small();
    let over = range(1000, 25);
    let results = [
        memory.write_pattern(over, 1),
        memory.check_pattern(over, 1),
        memory.fill_garbage(over, 1),
        memory.lay_garbage(over, 1),
        memory.zap(over),
        memory.is_untouched(over).map(drop),
        memory.bytes(Mfn::new(1024)).map(drop),
        memory.write(Mfn::new(1024), 0, &[1]),
        memory.word(Mfn::new(1024), 0).map(drop),
        memory.word(Mfn::MAX, 0).map(drop),
    ];
    for (call, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(HostedError::OutOfRange { .. })), "call {call}: {result:?}");
    }
    let results = [
        memory.write(Mfn::ZERO, 4095, &[1, 2]),
        memory.write(Mfn::ZERO, usize::MAX, &[1]),
        memory.word(Mfn::ZERO, 512).map(drop),
        memory.word(Mfn::ZERO, usize::MAX).map(drop),
    ];
    for (call, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(HostedError::OutOfFrame { .. })), "call {call}: {result:?}");
    }
    assert_eq!(memory.resident_bytes().unwrap(), 0);
}

#[test]
fn bytes_are_written_where_they_belong() {
    let memory = small();
    memory.write(Mfn::new(3), 5, b"across words").unwrap();
    let bytes = memory.bytes(Mfn::new(3)).unwrap();
    assert_eq!(&bytes[..18], b"\0\0\0\0\0across words\0");
    assert!(memory.is_untouched(range(0, 3)).unwrap() && memory.is_untouched(range(4, 1)).unwrap());
}

/// Whatever single word of a frame changes, the check names it, if the pattern covers it.
#[test]
fn patterns_name_the_frame_and_word_that_changed() {
    let memory = small();
    for (pattern, covered) in [
        (Pattern::whole(9), (0..512).collect::<Vec<_>>()),
        (Pattern::edges(9), (0..8).chain(504..512).collect()),
    ] {
        memory.write_pattern(range(16, 8), pattern).unwrap();
        for index in 0..512 {
            let word = memory.word(Mfn::new(19), index).unwrap();
            let was = word.fetch_xor(1 << 40, std::sync::atomic::Ordering::Relaxed);
            // A part of the range that leaves the frame out does not see it.
            memory.check_pattern(range(20, 4), pattern).unwrap();
            match memory.check_pattern(range(16, 8), pattern) {
                Ok(()) => assert!(!covered.contains(&index), "word {index} was not missed"),
                Err(HostedError::Mismatch { frame, offset, expected, found }) => {
                    assert_eq!((frame, offset), (Mfn::new(19), index * 8));
                    assert_eq!((expected, found), (was, was ^ (1 << 40)));
                }
                Err(error) => panic!("{error}"),
            }
            word.store(was, std::sync::atomic::Ordering::Relaxed);
        }
        // A frame that holds what another frame or another owner should hold is a mismatch.
        assert!(memory.check_pattern(range(16, 8), Pattern::edges(8)).is_err());
        let other = memory.bytes(Mfn::new(16)).unwrap();
        memory.write(Mfn::new(17), 0, &other).unwrap();
        assert!(memory.check_pattern(range(17, 1), pattern).is_err());
    }
}

fn zero_words(memory: &HostedMemory, frame: u64) -> usize {
    memory.bytes(Mfn::new(frame)).unwrap().chunks(8).filter(|word| *word == [0; 8]).count()
}

#[test]
fn garbage_differs_by_frame_and_seed() {
    let memory = small();
    memory.fill_garbage(range(8, 4), 1).unwrap();
    let first: Vec<_> = (8..12).map(|f| memory.bytes(Mfn::new(f)).unwrap()).collect();
    assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(zero_words(&memory, 8), 0);
    assert_eq!(memory.resident_bytes().unwrap(), 4 * FRAME_SIZE);
    memory.fill_garbage(range(8, 4), 2).unwrap();
    assert!((8..12).zip(&first).all(|(f, old)| memory.bytes(Mfn::new(f)).unwrap() != *old));
}

/// Over 1 TiB, from an odd frame to an odd frame: garbage inside, zeros outside, writes stay.
#[test]
fn laid_garbage_reads_as_garbage_and_keeps_what_is_written() {
    let memory = HostedMemory::new(Mfn::from_address(2 * TIB)).unwrap();
    let before = ProcessMemory::now().unwrap();
    let frames = TIB / FRAME_SIZE;
    let garbage = range(77, frames);
    memory.write_pattern(range(77, 1), 1).unwrap();
    memory.write_pattern(range(76, 1), 1).unwrap();
    memory.lay_garbage(garbage, 5).unwrap();
    assert_eq!(memory.resident_bytes().unwrap(), FRAME_SIZE);

    memory.check_pattern(range(76, 1), 1).unwrap();
    assert!(memory.check_pattern(range(77, 1), 1).is_err());
    for frame in [77, 78, 5000, frames / 2, 77 + frames - 1] {
        assert_eq!(zero_words(&memory, frame), 0, "frame {frame}");
    }
    assert_eq!(zero_words(&memory, 77 + frames), 512);

    memory.write_pattern(range(1000, 100), Pattern::whole(3)).unwrap();
    memory.check_pattern(range(1000, 100), Pattern::whole(3)).unwrap();
    assert_eq!((zero_words(&memory, 999), zero_words(&memory, 1100)), (0, 0));
    memory.zap(range(1000, 50)).unwrap();
    assert!(memory.check_pattern(range(1000, 1), 3).is_err());
    assert_eq!(zero_words(&memory, 1000), 0);
    memory.check_pattern(range(1050, 50), Pattern::whole(3)).unwrap();

    let after = ProcessMemory::now().unwrap();
    assert!(after.resident < before.resident + (256 << 20), "{before:?} {after:?}");
    memory.lay_garbage(FrameRange::EMPTY, 1).unwrap();
    let one = range(3, 1);
    memory.lay_garbage(one, 1).unwrap();
    assert_eq!((zero_words(&memory, 3), zero_words(&memory, 4)), (0, 512));
}

#[test]
fn zapped_frames_read_as_zeros_and_cost_nothing() {
    let memory = small();
    memory.write_pattern(range(0, 64), 1).unwrap();
    memory.zap(range(16, 32)).unwrap();
    assert_eq!(memory.resident_bytes().unwrap(), 32 * FRAME_SIZE);
    assert!(memory.is_untouched(range(16, 32)).unwrap());
    assert_eq!(zero_words(&memory, 16), 512);
    memory.check_pattern(range(0, 16), 1).unwrap();
    memory.check_pattern(range(48, 16), 1).unwrap();
}

#[test]
fn frames_and_addresses_are_each_others_inverse() {
    let machine = HostedPlatform::new(small());
    for frame in machine.memory().frames().iter() {
        let address = machine.frame_ptr(frame);
        assert_eq!(address.addr() % FRAME_SIZE as usize, 0);
        assert_eq!(machine.frame_of(address), Some(frame));
        assert_eq!(machine.frame_of(address.wrapping_add(4095)), Some(frame));
    }
    let first = machine.frame_ptr(Mfn::ZERO);
    assert_eq!(machine.frame_of(first.wrapping_sub(1)), None);
    assert_eq!(machine.frame_of(first.wrapping_add(1024 * 4096)), None);
    assert_eq!(machine.frame_of(std::ptr::null()), None);
    // The pointer leads to the same bytes as the safe methods.
    // SAFETY: the frame is mapped, and this thread alone uses it.
    #[allow(unsafe_code)]
    unsafe {
        machine.frame_ptr(Mfn::new(9)).add(5).write(0xa5);
    }
    assert_eq!(machine.memory().bytes(Mfn::new(9)).unwrap()[5], 0xa5);
}

#[test]
#[should_panic(expected = "frame 0x400 is not mapped")]
fn a_frame_past_the_end_has_no_address() {
    let _ = HostedPlatform::new(small()).frame_ptr(Mfn::new(1024));
}

#[test]
#[should_panic(expected = "is not mapped")]
fn a_frame_that_is_not_mapped_has_no_address() {
    let machine = HostedPlatform::new(small()).with_mapped(range(16, 16));
    assert_eq!(machine.frame_of(machine.frame_ptr(Mfn::new(31))), Some(Mfn::new(31)));
    let _ = machine.frame_ptr(Mfn::new(32));
}

#[test]
fn an_address_that_is_not_mapped_is_no_frames() {
    let whole = HostedPlatform::new(small());
    let part = whole.clone().with_mapped(range(16, 1 << 40));
    assert_eq!(part.frame_of(whole.frame_ptr(Mfn::new(15))), None);
    assert_eq!(part.frame_of(whole.frame_ptr(Mfn::new(16))), Some(Mfn::new(16)));
}

#[test]
fn each_thread_is_a_cpu_of_its_own() {
    let machine = HostedPlatform::new(small());
    set_cpu(CpuId(3));
    set_node(NodeId(1));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!((machine.cpu(), machine.node()), (CpuId(0), NodeId(0)));
            set_cpu(CpuId(4));
            assert_eq!(machine.cpu(), CpuId(4));
        });
    });
    assert_eq!((machine.cpu(), machine.node()), (CpuId(3), NodeId(1)));
}

#[test]
fn distances_are_what_was_set_or_the_default() {
    let machine = HostedPlatform::new(small()).with_distances([
        (NodeId(0), NodeId(7), 31),
        (NodeId(7), NodeId(0), 32),
        (NodeId(7), NodeId(7), 11),
    ]);
    let far = |from, to| machine.distance(NodeId(from), NodeId(to));
    assert_eq!((far(0, 7), far(7, 0), far(7, 7)), (31, 32, 11));
    assert_eq!((far(0, 0), far(0, 1)), (10, 20));
}

#[test]
fn masked_sections_are_counted_and_must_nest() {
    let machine = HostedPlatform::new(small());
    let outer = machine.mask_interrupts();
    let inner = machine.mask_interrupts();
    assert_eq!(interrupt_count().depth, 2);
    machine.restore_interrupts(inner);
    machine.restore_interrupts(outer);
    let count = interrupt_count();
    assert_eq!((count.depth, count.masked, count.mismatched), (0, 2, 0));

    let outer = machine.mask_interrupts();
    let _forgotten = machine.mask_interrupts();
    machine.restore_interrupts(outer);
    assert_eq!((interrupt_count().depth, interrupt_count().mismatched), (0, 1));
    machine.restore_interrupts(InterruptMask(0));
    assert_eq!(interrupt_count().mismatched, 2);
}

#[test]
fn misuse_is_counted_on_every_handle_and_the_last_one_kept() {
    let machine = HostedPlatform::new(small());
    let given = machine.clone();
    assert_eq!((machine.misuse_count(), machine.last_misuse()), (0, None));
    for frame in [4, 5] {
        given.misuse(&FreeError {
            frame: Mfn::new(frame),
            why: FreeRefusal::AlreadyFree,
            committed: 0,
        });
    }
    assert_eq!(machine.misuse_count(), 2);
    assert_eq!(machine.last_misuse().unwrap().frame, Mfn::new(5));
}

#[test]
fn errors_say_what_and_where() {
    let memory = small();
    let error = memory.zap(range(1020, 8)).unwrap_err().to_string();
    assert_eq!(error, "frames [0x3fc, 0x404) reach past the machine's end at frame 0x400");
    let error = memory.check_pattern(range(2, 1), 1).unwrap_err().to_string();
    assert!(error.starts_with("frame 0x2 holds 0x0000000000000000 at byte 0, not 0x"), "{error}");
    let error = HostedMemory::new(Mfn::from_address(1 << 60)).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.downcast_ref::<io::Error>().is_some());
}

/// Until something is mapped every page of a window faults; its top table is cleared. What works is
/// shown by `tests/vmap` of the library.
#[test]
fn an_empty_window_faults() {
    let machine = HostedPlatform::new(small());
    machine.memory().fill_garbage(range(3, 1), 1).unwrap();
    for (pages, align) in [(1, 512), (1 << 18, 512), ((1 << 18) + 1, 1 << 18)] {
        let window = HostedWindow::new(&machine, Mfn::new(3), pages).unwrap();
        assert_eq!(zero_words(machine.memory(), 3), 512);
        let (start, end) = (window.pages().start(), window.pages().end());
        assert_eq!((start.get() % align, window.pages().pages()), (0, pages));
        for page in [start, VirtualPage::new(end.get() - 1), end, VirtualPage::new(0)] {
            let load = window.load(page, 0);
            assert!(matches!(load, Err(HostedError::Fault { page: at }) if at == page), "{load:?}");
            let store = window.store(page, 0, 1);
            assert!(matches!(store, Err(HostedError::Fault { .. })), "{store:?}");
        }
        let beyond = window.load(start, 512);
        assert!(matches!(beyond, Err(HostedError::OutOfFrame { .. })), "{beyond:?}");
    }
    for pages in [0, (1 << 27) + 1, u64::MAX] {
        let refused = HostedWindow::new(&machine, Mfn::new(3), pages);
        assert!(matches!(refused, Err(HostedError::Host { .. })), "{pages}");
    }
    let no_frame = HostedWindow::new(&machine, Mfn::new(1024), 8);
    assert!(matches!(no_frame, Err(HostedError::OutOfRange { .. })));
}
