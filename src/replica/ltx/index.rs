//! The page index of an LTX file: where each page's frame stands.

use super::checksum;

/// Bytes of the longest entry: numbers of 5, 10 and 10 bytes.
const ENTRY_BYTES_MAX: usize = 5 + 10 + 10;

/// One entry, encoded.
pub(super) struct Entry {
    bytes: [u8; ENTRY_BYTES_MAX],
    len: usize,
}

impl Entry {
    /// A page whose frame has `size` bytes and begins at `offset` of the file.
    pub fn new(pgno: u32, offset: u64, size: u64) -> Entry {
        let mut entry = Entry { bytes: [0; ENTRY_BYTES_MAX], len: 0 };
        for mut number in [u64::from(pgno), offset, size] {
            while number >= 0x80 {
                entry.push(number as u8 & 0x7f | 0x80);
                number >>= 7;
            }
            entry.push(number as u8);
        }
        entry
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What the index must say, after the pages that were read: its length and its checksum suffice,
/// so that a reader of a large file needs no memory for it.
pub(super) struct Expected {
    running: checksum::Running,
    len: u64,
}

impl Expected {
    pub fn new() -> Expected {
        Expected { running: checksum::Running::new(), len: 0 }
    }

    pub fn push(&mut self, entry: &Entry) {
        self.running.update(entry.as_bytes());
        self.len += entry.len as u64;
    }

    /// Bytes of the whole index without its length, and their checksum.
    pub fn finish(mut self) -> (u64, u64) {
        self.running.update(&[0]);
        (self.len + 1, self.running.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_varints() {
        assert_eq!(Entry::new(1, 100, 127).as_bytes(), [1, 100, 127]);
        assert_eq!(Entry::new(300, 128, 0).as_bytes(), [0xac, 2, 0x80, 1, 0]);
        assert_eq!(Entry::new(u32::MAX, u64::MAX, u64::MAX).as_bytes().len(), ENTRY_BYTES_MAX);
    }
}
