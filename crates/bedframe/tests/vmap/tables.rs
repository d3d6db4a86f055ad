//! Page tables come from the machine's memory, and go back to it with the last page that they serve.

use bedframe::{Access, Memory, Request};

use crate::common::{Heap, Machine};
use crate::watched::Room;

const ONE: Request<'static> = Request::frames(1);

fn taken(memory: &Memory<Machine>) -> u64 {
    let counts = memory.statistics();
    counts.in_use + counts.uninitialised
}

/// Mappings that share tables: each table stays until the last of them goes, in whatever order.
#[test]
fn tables_stay_for_as_long_as_they_serve() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for late in [false, true] {
            let room = Room::new(Heap::Unified, 1 << 18, 1 << 18);
            if late {
                room.world.start();
            }
            let before = taken(room.memory);
            // From page 1 on; the second reaches over two tables' edges, the third ends in the last.
            let sizes = [300, 800, 200];
            let held = sizes.map(|pages| room.window.alloc(pages, &ONE, Access::READ).unwrap());
            // One for the books, and four tables: pages 0, 512 and 1024 on, and one above.
            assert_eq!(taken(room.memory) - before, 1300 + 1 + 4);
            for at in order {
                room.window.free(held[at]).unwrap();
                room.check();
            }
            assert_eq!(taken(room.memory), before);
        }
    }
}

/// A table goes when all its pages go, though its neighbours are still in use.
#[test]
fn tables_inside_a_mapping_go_with_it() {
    let room = Room::new(Heap::Unified, 1 << 18, 1 << 18);
    let low = room.window.alloc(1, &ONE, Access::READ).unwrap();
    let middle = room.window.alloc(1600, &ONE, Access::READ).unwrap();
    let high = room.window.alloc(1, &ONE, Access::READ).unwrap();
    let before = taken(room.memory);
    room.window.free(middle).unwrap();
    // Pages 3 to 1603, of which tables for 512 on and 1024 on are this mapping's alone.
    assert_eq!(before - taken(room.memory), 1600 + 2);
    room.check();
    room.window.free(low).unwrap();
    room.window.free(high).unwrap();
    room.check();
}

/// A mapping is flushed once for its pages and once for its tables, however large it is; one more
/// flush serves 32 tables.
#[test]
fn flushes_are_few() {
    let room = Room::new(Heap::Unified, 1 << 18, 1 << 18);
    let flushes = || room.window.tables().flushes();
    let neighbour = room.window.alloc(1, &ONE, Access::READ).unwrap();
    for (pages, expected) in [(1, 1), (100, 1), (1000, 2), (3000, 3)] {
        let mapping = room.window.alloc(pages, &ONE, Access::READ).unwrap();
        let before = flushes();
        room.window.free(mapping).unwrap();
        assert_eq!(flushes() - before, expected, "{pages} pages");
    }
    let before = flushes();
    room.window.free(neighbour).unwrap();
    assert_eq!(flushes() - before, 2, "the last page, and the last tables");
    room.check();
}
