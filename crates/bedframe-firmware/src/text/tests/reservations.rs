//! Reservations that a device tree makes.

use super::*;

const OF: &str = "OF: reserved mem: 0x100000..0x10ffff (64 KiB) nomap non-reusable fw@100000\n";
const NODE: &str = "node   0: [mem 0x100000-0x1fffff]\n";

#[test]
fn reservations_of_a_tree_belong_to_their_boot() {
    let reserved = |text: &str| read(text).map(|machine| machine.reserved_frames());
    assert_eq!(reserved(&format!("{OF}{NODE}")), Ok(0x10));
    // Somebody has sorted the lines.
    assert_eq!(reserved(&format!("{NODE}{OF}")), Ok(0x10));
    let headed = format!("Early memory node ranges\n{NODE}");
    let twice = read(&format!("{OF}{headed}{OF}{headed}")).unwrap();
    assert_eq!((twice.reserved_frames(), twice.warnings.len()), (0x10, 1));
    let wrapped = OF.replace("(64 KiB) ", "(64 KiB)\n");
    assert_eq!(reserved(&format!("{wrapped}{NODE}")), Ok(0x10));
}

#[test]
fn a_reservation_that_cannot_be_is_named() {
    let cut = OF.split_at(40).0;
    let shown = error(&format!("{NODE}{cut}\nother words\n"));
    assert!(shown.starts_with("t.log:2: \"OF: reserved mem: 0x100000"), "{shown}");
    assert!(shown.contains("expected a range such as"), "{shown}");
    // A kernel above Xen does not say what is reserved below it.
    let machine = read(&format!("(XEN) RAM: 0000000000100000 - 00000000001fffff\n{OF}")).unwrap();
    assert_eq!(machine.reserved, []);
}
