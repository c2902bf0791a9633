//! The checksums of LTX: CRC-64/GO-ISO with the topmost bit set, so that none is zero.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

/// Set in every checksum that is there; zero means that there is none.
pub const PRESENT: u64 = 1 << 63;

/// A checksum over bytes that come piece by piece.
pub struct Running(Digest);

impl Running {
    pub fn new() -> Running {
        Running(Digest::new(CrcAlgorithm::Crc64GoIso))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all bytes so far.
    pub fn value(&self) -> u64 {
        PRESENT | self.0.finalize()
    }
}

impl Default for Running {
    fn default() -> Running {
        Running::new()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({:016x})", self.value())
    }
}

/// Of one page under its number.
pub fn page(pgno: u32, bytes: &[u8]) -> u64 {
    let mut running = Running::new();
    running.update(&pgno.to_be_bytes());
    running.update(bytes);
    running.value()
}

/// A database's checksum with one more page in it, or, the page being in it already, without it.
/// That of no pages is [`PRESENT`].
pub fn toggle(database: u64, page: u64) -> u64 {
    PRESENT | (database ^ page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_one_of_the_catalogue() {
        let mut running = Running::new();
        running.update(b"12345");
        running.update(b"6789");
        assert_eq!(running.value(), PRESENT | 0xb909_56c7_75a4_1001);
    }

    #[test]
    fn a_page_toggled_twice_leaves_no_trace() {
        let (first, second) = (page(1, &[7; 512]), page(2, &[7; 512]));
        assert_ne!(first, second);
        let both = toggle(toggle(PRESENT, first), second);
        assert_eq!(both, toggle(toggle(PRESENT, second), first));
        assert_eq!(toggle(both, second), toggle(PRESENT, first));
    }
}
