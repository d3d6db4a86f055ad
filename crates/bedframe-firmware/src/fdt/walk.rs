//! A walker over flattened device trees, without a heap and without a panic on any input.
//!
//! Written here because the walkers on offer do not fit kernels that read what boards really
//! ship: `fdt` indexes unchecked and panics on corrupt trees; `dtoolkit`, otherwise the best kept,
//! refuses node and property names of more than 31 characters, of which vendors' trees are full,
//! adds 32-bit offsets unchecked (which overflow on 32-bit targets) and relies on `expect` after
//! its validation. What a memory map needs of a tree is small.

use core::fmt;

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Bytes of the header that versions 16 and 17 share; version 17 adds one field.
const HEADER: usize = 36;

/// Whether `data` begins like a flattened device tree.
#[must_use]
pub fn is_tree(data: &[u8]) -> bool {
    word(data, 0) == Some(MAGIC)
}

/// A flattened device tree whose structure has been checked from the first to the last token.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// The reservation block and whatever follows it.
    reservations: &'a [u8],
    /// The structure block.
    structure: &'a [u8],
    /// The strings block.
    strings: &'a [u8],
}

/// Where a tree is cut or corrupt, and what should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeError {
    /// The byte, from the start of the tree.
    pub offset: usize,
    /// What should be there.
    pub expected: &'static str,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: expected {}", self.offset, self.expected)
    }
}

impl core::error::Error for TreeError {}

/// A node of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    tree: Tree<'a>,
    name: &'a str,
    /// The offset of the first token behind the node's name.
    body: usize,
}

/// A property of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value: bytes, of which the name alone tells the meaning.
    pub value: &'a [u8],
}

enum Token<'a> {
    Begin(&'a str),
    End,
    Property(Property<'a>),
    Finish,
}

impl<'a> Tree<'a> {
    /// Checks a tree of version 16 or 17. Bytes behind its stated size are ignored.
    ///
    /// # Errors
    ///
    /// The first place that is not as the format demands: a wrong magic number, a block outside
    /// the data, a list that does not end, tokens that do not nest, names that are no UTF-8.
    pub fn new(data: &'a [u8]) -> Result<Self, TreeError> {
        let fail = |offset, expected| TreeError { offset, expected };
        if !is_tree(data) {
            return Err(fail(0, "the magic number d00dfeed"));
        }
        let field = |offset| {
            let value = word(data, offset).and_then(|value| usize::try_from(value).ok());
            value.ok_or(fail(data.len(), "a header of 36 bytes"))
        };
        let size = field(4)?;
        let data = data.get(..size).ok_or(fail(data.len(), "as many bytes as the header says"))?;
        let (version, compatible) = (field(20)?, field(24)?);
        if version < 16 || compatible > 17 {
            return Err(fail(20, "version 16 or 17"));
        }
        let strings_size = field(32)?;
        let block = |offset_field: usize, len: Option<usize>, expected| {
            let start = field(offset_field)?;
            let block = match len {
                _ if start < HEADER => None,
                Some(len) => start.checked_add(len).and_then(|end| data.get(start..end)),
                None => data.get(start..),
            };
            block.ok_or(fail(offset_field, expected))
        };
        // Version 16 does not say how long the structure is; it ends with a token of its own.
        let structure_size = if version >= 17 { Some(field(36)?) } else { None };
        let tree = Self {
            structure: block(8, structure_size, "a structure block inside the tree")?,
            strings: block(12, Some(strings_size), "a strings block inside the tree")?,
            reservations: block(16, None, "a reservation block inside the tree")?,
        };

        let reservations = field(16)?;
        let mut at = 0;
        while let Some((start, len)) = pair(tree.reservations, at) {
            if (start, len) == (0, 0) {
                tree.check(field(8)?)?;
                return Ok(tree);
            }
            at = at.saturating_add(16);
        }
        Err(fail(reservations.saturating_add(at), "an entry of zeros that ends the reservations"))
    }

    /// Walks all tokens once, so that what walks later meets no error.
    fn check(&self, base: usize) -> Result<(), TreeError> {
        let fail =
            |at: usize, expected| Err(TreeError { offset: base.saturating_add(at), expected });
        let (mut at, mut depth, mut rooted) = (0, 0usize, false);
        loop {
            let (token, next) = match self.token(at) {
                Ok(token) => token,
                Err(expected) => return fail(at, expected),
            };
            match token {
                Token::Begin(_) if depth == 0 && rooted => {
                    return fail(at, "the end of the structure behind the root");
                }
                Token::Begin(_) => {
                    rooted = true;
                    depth = depth.saturating_add(1);
                }
                Token::End | Token::Property(_) | Token::Finish if !rooted => {
                    return fail(at, "the beginning of a node");
                }
                Token::End | Token::Property(_) if depth == 0 => {
                    return fail(at, "the end of the structure behind the root");
                }
                Token::End => depth = depth.saturating_sub(1),
                Token::Property(_) => {}
                Token::Finish if depth > 0 => return fail(at, "the end of a node"),
                Token::Finish => return Ok(()),
            }
            at = next;
        }
    }

    /// The root.
    #[must_use]
    pub fn root(self) -> Node<'a> {
        match self.token(0) {
            Ok((Token::Begin(name), body)) => Node { tree: self, name, body },
            // The check has seen a node first, so there is one; an empty node stands for the rest.
            _ => Node { tree: self, name: "", body: usize::MAX },
        }
    }

    /// The entries of the reservation block (`/memreserve/`): first byte and length.
    pub fn reservations(self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let entries = self.reservations.chunks_exact(16).map_while(|entry| pair(entry, 0));
        entries.take_while(|&entry| entry != (0, 0))
    }

    /// The token at `at`, blank ones skipped, and where the next one is.
    fn token(&self, mut at: usize) -> Result<(Token<'a>, usize), &'static str> {
        loop {
            let tag = word(self.structure, at).ok_or("a token")?;
            at = at.saturating_add(4);
            let token = match tag {
                NOP => continue,
                BEGIN_NODE => {
                    let name = string(self.structure, at).ok_or("the name of a node")?;
                    // The name, the zero that ends it, and blanks up to the next word.
                    at = at.saturating_add(name.len()).saturating_add(4) & !3;
                    Token::Begin(name)
                }
                END_NODE => Token::End,
                PROPERTY => {
                    let value = word(self.structure, at)
                        .and_then(|len| usize::try_from(len).ok())
                        .and_then(|len| {
                            let start = at.checked_add(8)?;
                            self.structure.get(start..start.checked_add(len)?)
                        })
                        .ok_or("the value of a property")?;
                    let name = word(self.structure, at.saturating_add(4))
                        .and_then(|offset| usize::try_from(offset).ok())
                        .and_then(|offset| string(self.strings, offset))
                        .ok_or("the name of a property")?;
                    at = at.saturating_add(8).saturating_add(value.len()).saturating_add(3) & !3;
                    Token::Property(Property { name, value })
                }
                END => Token::Finish,
                _ => return Err("a token"),
            };
            return Ok((token, at));
        }
    }
}

impl<'a> Node<'a> {
    /// The node's name with its unit address, such as `memory@80000000`; empty for the root.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.name
    }

    /// The name without the unit address, such as `memory`.
    #[must_use]
    pub fn base_name(self) -> &'a str {
        self.name.split_once('@').map_or(self.name, |(base, _)| base)
    }

    /// The node's own properties.
    pub fn properties(self) -> impl Iterator<Item = Property<'a>> {
        let mut at = self.body;
        core::iter::from_fn(move || match self.tree.token(at) {
            Ok((Token::Property(property), next)) => {
                at = next;
                Some(property)
            }
            _ => None,
        })
    }

    /// The value of the property of this name.
    #[must_use]
    pub fn property(self, name: &str) -> Option<&'a [u8]> {
        self.properties().find(|property| property.name == name).map(|property| property.value)
    }

    /// Whether a property that holds strings, each ended by a zero, holds this one.
    #[must_use]
    pub fn lists(self, property: &str, string: &str) -> bool {
        self.property(property)
            .is_some_and(|value| value.split(|&b| b == 0).any(|item| item == string.as_bytes()))
    }

    /// Whether the node is in use: it has no status, or one of `okay` and `ok`.
    #[must_use]
    pub fn is_enabled(self) -> bool {
        self.property("status").is_none_or(|status| matches!(status, b"okay\0" | b"ok\0"))
    }

    /// The nodes right below this one.
    pub fn children(self) -> impl Iterator<Item = Node<'a>> {
        let (mut at, mut depth) = (self.body, 0usize);
        core::iter::from_fn(move || {
            loop {
                let (token, next) = self.tree.token(at).ok()?;
                at = next;
                match token {
                    Token::Begin(name) => {
                        depth = depth.saturating_add(1);
                        if depth == 1 {
                            return Some(Node { tree: self.tree, name, body: next });
                        }
                    }
                    Token::End => depth = depth.checked_sub(1)?,
                    Token::Property(_) => {}
                    Token::Finish => return None,
                }
            }
        })
    }
}

/// The big-endian word at `at`.
fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The two big-endian 64-bit numbers at `at`.
fn pair(data: &[u8], at: usize) -> Option<(u64, u64)> {
    let bytes = data.get(at..at.checked_add(16)?)?;
    let (first, second) = bytes.split_at_checked(8)?;
    Some((u64::from_be_bytes(first.try_into().ok()?), u64::from_be_bytes(second.try_into().ok()?)))
}

/// The string at `at`, ended by a zero.
fn string(data: &[u8], at: usize) -> Option<&str> {
    let bytes = data.get(at..)?;
    let len = bytes.iter().position(|&b| b == 0)?;
    core::str::from_utf8(bytes.get(..len)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const BOARD: &[u8] = include_bytes!("../../tests/dtb/hikey-hi6220-1g.dtb");
    const RESERVING: &[u8] = include_bytes!("../../tests/dtb/lx2160a.dtb");

    #[test]
    fn nodes_and_properties_of_a_real_tree() {
        let root = Tree::new(BOARD).unwrap().root();
        assert_eq!(root.name(), "");
        let names: Vec<&str> = root.children().map(Node::name).collect();
        assert_eq!(names, ["memory@0", "reserved-memory"]);
        let memory = root.children().next().unwrap();
        assert_eq!(memory.base_name(), "memory");
        assert!(memory.lists("device_type", "memory"));
        assert!(!memory.lists("device_type", "mem"));
        assert_eq!(memory.property("reg").unwrap().len(), 6 * 16);
        let reserved = root.children().nth(1).unwrap();
        let names: Vec<&str> = reserved.children().map(Node::name).collect();
        assert_eq!(names, ["region@21f00000", "pool"]);
        // A walk ends at the end of its node and does not run on into its siblings.
        assert_eq!(memory.children().count(), 0);
        assert_eq!(memory.properties().count(), 2);
    }

    #[test]
    fn the_reservation_block() {
        let entries: Vec<_> = Tree::new(RESERVING).unwrap().reservations().collect();
        assert_eq!(entries, [(0x8000_0000, 0x1_0000)]);
        assert_eq!(Tree::new(BOARD).unwrap().reservations().count(), 0);
    }

    #[test]
    fn every_cut_is_an_error_and_bytes_behind_the_end_are_none() {
        for len in 0..BOARD.len() {
            assert!(Tree::new(&BOARD[..len]).is_err(), "cut to {len}");
        }
        let mut longer = BOARD.to_vec();
        longer.extend([0xff; 64]);
        assert!(Tree::new(&longer).is_ok());
    }

    #[test]
    fn corrupt_fields_are_named() {
        let broken = |at: usize, value: u32| {
            let mut tree = BOARD.to_vec();
            tree[at..at + 4].copy_from_slice(&value.to_be_bytes());
            Tree::new(&tree).unwrap_err()
        };
        assert_eq!(broken(0, 0).expected, "the magic number d00dfeed");
        assert_eq!(broken(4, u32::MAX).expected, "as many bytes as the header says");
        assert_eq!(broken(8, u32::MAX).expected, "a structure block inside the tree");
        assert_eq!(broken(12, 0).expected, "a strings block inside the tree");
        assert_eq!(broken(16, u32::MAX).expected, "a reservation block inside the tree");
        assert_eq!(broken(20, 3).expected, "version 16 or 17");
        assert_eq!(broken(24, 18).expected, "version 16 or 17");
        let structure = usize::try_from(word(BOARD, 8).unwrap()).unwrap();
        assert_eq!(broken(structure, 5), TreeError { offset: structure, expected: "a token" });
        assert_eq!(broken(structure, END_NODE).expected, "the beginning of a node");
        assert_eq!(broken(structure, END).expected, "the beginning of a node");
        let last = BOARD.len() - usize::try_from(word(BOARD, 32).unwrap()).unwrap() - 4;
        assert_eq!(broken(last, NOP).expected, "a token");
        assert_eq!(broken(last, BEGIN_NODE).expected, "the name of a node");
        assert_eq!(broken(last - 4, NOP).expected, "the end of a node");
    }

    #[test]
    fn a_second_root_is_an_error() {
        let mut tree = BOARD.to_vec();
        let structure = usize::try_from(word(BOARD, 8).unwrap()).unwrap();
        // An empty root in place of the first words: begin, name, end.
        let words = [BEGIN_NODE, 0, END_NODE, BEGIN_NODE, 0];
        for (index, value) in words.into_iter().enumerate() {
            let at = structure + 4 * index;
            tree[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        let error = Tree::new(&tree).unwrap_err();
        assert_eq!(error.expected, "the end of the structure behind the root");
    }

    #[test]
    fn a_reservation_block_that_does_not_end_is_an_error() {
        // A block at the end of the tree: an entry for address 0, which does not end the list.
        let block = |entries: &[u64]| {
            let mut tree = RESERVING.to_vec();
            let start = u32::try_from(tree.len()).unwrap();
            tree.extend(entries.iter().flat_map(|number| number.to_be_bytes()));
            let size = u32::try_from(tree.len()).unwrap();
            tree[4..8].copy_from_slice(&size.to_be_bytes());
            tree[16..20].copy_from_slice(&start.to_be_bytes());
            tree
        };
        let error = Tree::new(&block(&[0, 0x1000])).unwrap_err();
        assert_eq!(error.expected, "an entry of zeros that ends the reservations");
        let whole = block(&[0, 0x1000, 0, 0]);
        let entries: Vec<_> = Tree::new(&whole).unwrap().reservations().collect();
        assert_eq!(entries, [(0, 0x1000)]);
    }
}
