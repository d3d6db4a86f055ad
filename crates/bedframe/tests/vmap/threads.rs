//! Threads that map and unmap in one window, with contents that tell whose a page is.

use std::thread;

use bedframe::{Access, CpuId, Memory, NodeId, Request, Vmap};
use bedframe_hosted::{HostedMemory, HostedPlatform, HostedWindow, set_cpu};

use crate::common::{Heap, Random, mfn, range};
use crate::watched::Room;

/// Two threads and real mappings: no page ever holds what another thread has written.
#[test]
fn two_threads_keep_their_pages() {
    const FRAMES: u64 = 8192;
    let memory = Memory::new(HostedPlatform::new(HostedMemory::new(mfn(FRAMES)).unwrap()));
    memory.reserve(range(1, 2)).unwrap();
    // SAFETY: the hosted machine's memory is used by nobody else; frame 1 is reserved for the top
    // table.
    unsafe { memory.add_ram(range(0, FRAMES), NodeId(0)) }.unwrap();
    let tables = HostedWindow::new(memory.platform(), mfn(1), 1 << 11).unwrap();
    let pages = tables.pages();
    let window = Vmap::new(&memory, tables, pages);
    let before = memory.statistics().free;
    let work = |cpu: u32| {
        set_cpu(CpuId(cpu));
        let mut random = Random::new(u64::from(cpu));
        let mut held = Vec::new();
        for round in 0..400_u64 {
            let tag = u64::from(cpu) << 32 | round;
            if held.len() < 12 && random.below(2) == 0 {
                let size = random.below(40) + 1;
                let mapping = window.alloc(size, &Request::frames(1), Access::READ_WRITE).unwrap();
                for page in [mapping.start(), bedframe::VirtualPage::new(mapping.end().get() - 1)] {
                    window.tables().store(page, 3, tag).unwrap();
                }
                held.push((mapping, tag));
            } else if !held.is_empty() {
                let (mapping, tag) = held.swap_remove(random.below(held.len() as u64) as usize);
                assert_eq!(window.tables().load(mapping.start(), 3).unwrap(), tag);
                assert!(window.tables().load(mapping.end(), 3).is_err(), "a guard");
                window.free(mapping).unwrap();
            }
            if round == 200 && cpu == 0 {
                memory.start(2).unwrap();
            }
        }
        held.into_iter().for_each(|(mapping, _)| window.free(mapping).unwrap());
    };
    thread::scope(|scope| {
        scope.spawn(|| work(1));
        work(0);
    });
    memory.validate().unwrap();
    window.validate().unwrap();
    let after = memory.statistics();
    assert_eq!((after.in_use, after.uninitialised), (0, 0));
    assert_eq!(after.free + after.metadata, before);
}

/// The same on page tables that watch for frames which go while a CPU can reach them.
#[test]
fn two_threads_on_watched_tables() {
    let room = Room::new(Heap::Unified, 1 << 18, 1 << 18);
    room.world.start();
    let before = room.memory.statistics();
    thread::scope(|scope| {
        for cpu in 0..2 {
            let window = room.window;
            scope.spawn(move || {
                set_cpu(CpuId(cpu));
                let mut random = Random::new(77 + u64::from(cpu));
                for _ in 0..300 {
                    let size = if random.below(4) == 0 { 600 } else { random.below(6) + 1 };
                    let made = window.alloc(size, &Request::frames(1), Access::READ).unwrap();
                    window.free(made).unwrap();
                }
            });
        }
    });
    room.check();
    let after = room.memory.statistics();
    assert_eq!((after.in_use, after.uninitialised), (before.in_use, before.uninitialised));
}
