//! Device trees made by hand, for what no real board does.

/// Writes the tokens of a tree one after the other.
pub struct TreeBuilder {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl TreeBuilder {
    pub fn new() -> Self {
        Self { structure: Vec::new(), strings: Vec::new() }
    }

    fn word(&mut self, value: u32) {
        self.structure.extend(value.to_be_bytes());
    }

    fn pad(&mut self) {
        while !self.structure.len().is_multiple_of(4) {
            self.structure.push(0);
        }
    }

    pub fn begin(&mut self, name: &str) -> &mut Self {
        self.word(1);
        self.structure.extend(name.bytes());
        self.structure.push(0);
        self.pad();
        self
    }

    pub fn end(&mut self) -> &mut Self {
        self.word(2);
        self
    }

    fn property(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.word(3);
        self.word(u32::try_from(value.len()).unwrap());
        self.word(u32::try_from(self.strings.len()).unwrap());
        self.strings.extend(name.bytes());
        self.strings.push(0);
        self.structure.extend(value);
        self.pad();
        self
    }

    pub fn cells(&mut self, name: &str, cells: &[u32]) -> &mut Self {
        let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.property(name, &value)
    }

    pub fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.property(name, format!("{value}\0").as_bytes())
    }

    pub fn empty(&mut self, name: &str) -> &mut Self {
        self.property(name, &[])
    }

    /// The whole tree, version 17, with these entries in its reservation block.
    pub fn finish(mut self, reservations: &[(u64, u64)]) -> Vec<u8> {
        self.word(9);
        let mut block = Vec::new();
        for &(start, size) in reservations.iter().chain(&[(0, 0)]) {
            block.extend(start.to_be_bytes());
            block.extend(size.to_be_bytes());
        }
        let structure_at = 40 + block.len();
        let strings_at = structure_at + self.structure.len();
        let total = strings_at + self.strings.len();
        let fields = [
            0xd00d_feed,
            total,
            structure_at,
            strings_at,
            40,
            17,
            16,
            0,
            self.strings.len(),
            self.structure.len(),
        ];
        let mut tree: Vec<u8> = fields
            .into_iter()
            .flat_map(|field| u32::try_from(field).unwrap().to_be_bytes())
            .collect();
        tree.extend(block);
        tree.extend(self.structure);
        tree.extend(self.strings);
        tree
    }
}
