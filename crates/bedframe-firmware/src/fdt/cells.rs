//! Numbers in a device tree's properties: big-endian words called cells, as many to a number as
//! the parent node says.

/// How many cells the addresses and sizes below a node have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) address: usize,
    pub(crate) size: usize,
}

/// Why a property gives no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellError {
    /// Its length is no multiple of what one number, or one pair, takes.
    Shape,
    /// A number has more than 64 bits.
    TooHigh,
}

/// More cells than any bus has; each number must still fit into 64 bits.
const MOST: usize = 4;

/// A single number that takes the whole value.
pub(crate) fn number(value: &[u8]) -> Result<u64, CellError> {
    let (cells, rest) = value.as_chunks::<4>();
    if cells.is_empty() || cells.len() > MOST || !rest.is_empty() {
        return Err(CellError::Shape);
    }
    cells.iter().try_fold(0u64, |number, cell| {
        if number >> 32 != 0 {
            return Err(CellError::TooHigh);
        }
        Ok(number << 32 | u64::from(u32::from_be_bytes(*cell)))
    })
}

impl Cells {
    /// The pairs of address and size in a value.
    pub(crate) fn pairs(
        self,
        value: &[u8],
    ) -> Result<impl Iterator<Item = Result<(u64, u64), CellError>> + '_, CellError> {
        let fits = (1..=MOST).contains(&self.address) && (1..=MOST).contains(&self.size);
        let (address, size) = if fits { (self.address * 4, self.size * 4) } else { (1, 0) };
        if !fits || !value.len().is_multiple_of(address + size) {
            return Err(CellError::Shape);
        }
        Ok(value.chunks_exact(address + size).map(move |entry| {
            let (first, second) = entry.split_at_checked(address).ok_or(CellError::Shape)?;
            Ok((number(first)?, number(second)?))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn bytes(cells: &[u32]) -> Vec<u8> {
        cells.iter().flat_map(|cell| cell.to_be_bytes()).collect()
    }

    fn pairs(address: usize, size: usize, cells: &[u32]) -> Result<Vec<(u64, u64)>, CellError> {
        Cells { address, size }.pairs(&bytes(cells))?.collect()
    }

    #[test]
    fn pairs_of_every_width() {
        assert_eq!(pairs(1, 1, &[1, 2, 3, 4]), Ok(Vec::from([(1, 2), (3, 4)])));
        assert_eq!(pairs(2, 1, &[1, 2, 3]), Ok(Vec::from([(1 << 32 | 2, 3)])));
        assert_eq!(pairs(3, 2, &[0, 1, 2, 3, 4]), Ok(Vec::from([(1 << 32 | 2, 3 << 32 | 4)])));
        assert_eq!(pairs(2, 2, &[]), Ok(Vec::new()));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert_eq!(pairs(2, 2, &[1, 2, 3]), Err(CellError::Shape));
        assert_eq!(pairs(0, 1, &[1]), Err(CellError::Shape));
        assert_eq!(pairs(1, 0, &[1]), Err(CellError::Shape));
        assert_eq!(pairs(5, 1, &[0; 6]), Err(CellError::Shape));
        assert_eq!(pairs(3, 1, &[1, 2, 3, 4]), Err(CellError::TooHigh));
        assert_eq!(number(&[]), Err(CellError::Shape));
        assert_eq!(number(&[0, 0, 1]), Err(CellError::Shape));
        assert_eq!(number(&bytes(&[0, 7])), Ok(7));
    }
}
