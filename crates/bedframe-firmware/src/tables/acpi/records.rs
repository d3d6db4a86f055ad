//! Lists of entries that each begin with a byte for their type and a byte for their length.

use crate::tables::TableError;

/// Walks over a list of entries. Ends at the first that cannot be, once it has told so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records<'a> {
    table: &'static str,
    /// The table up to the end of the list.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// The entries from the byte `at` to the end of `bytes`.
    pub(super) fn new(table: &'static str, bytes: &'a [u8], at: usize) -> Self {
        Self { table, bytes, at }
    }
}

impl<'a> Iterator for Records<'a> {
    /// Where an entry begins, its type, and its bytes with type and length.
    type Item = Result<(usize, u8, &'a [u8]), TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (table, at) = (self.table, self.at);
        let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
        self.at = self.bytes.len();
        let &[kind, len, ..] = rest else {
            let (offset, expected) = (self.bytes.len(), "a whole entry: type, length and more");
            return Some(Err(TableError::Cut { table, offset, expected }));
        };
        let record = rest.get(..usize::from(len)).filter(|record| record.len() >= 2);
        Some(match record {
            Some(record) => {
                self.at = at.saturating_add(record.len());
                Ok((at, kind, record))
            }
            None => {
                let expected = "an entry's length, from 2 to what is left of the table";
                let offset = at.saturating_add(1);
                Err(TableError::Value { table, offset, value: u64::from(len), expected })
            }
        })
    }
}

/// The error for an entry that begins at `at` and is too short for its type.
pub(super) fn too_short(table: &'static str, at: usize, record: &[u8]) -> TableError {
    let value = u64::try_from(record.len()).unwrap_or(u64::MAX);
    let expected = "a length that holds the fields of the entry's type";
    TableError::Value { table, offset: at.saturating_add(1), value, expected }
}
