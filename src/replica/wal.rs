//! The write-ahead log as SQLite writes it: header, frames, and the checksum that runs through them.
//!
//! ```text
//! header: magic 4 | version 4 | page size 4 | checkpoint 4 | salts 4+4 | checksum 4+4
//! frame:  page number 4 | pages after commit 4, or 0 | salts 4+4 | checksum 4+4 | page
//! ```
//!
//! All big-endian; the low bit of the magic says in which order the checksum reads its words.
//! Source: <https://www.sqlite.org/fileformat2.html#walformat>.

pub const HEADER_BYTES: usize = 32;
pub const FRAME_HEADER_BYTES: usize = 24;

const MAGIC: u32 = 0x377f_0682;

/// Tells one run of the log from the next.
pub type Salts = [u32; 2];

/// The sums so far; they run from the header through every frame.
pub type Sums = [u32; 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub page_size: u32,
    pub salts: Salts,
    pub order: Order,
    pub sums: Sums,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

/// What stands before a page in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub pgno: u32,
    /// Pages of the database after this commit; 0 within a transaction
    pub commit: u32,
    pub salts: Salts,
    pub sums: Sums,
}

impl Header {
    /// Nothing if these are not the first bytes of a log.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let magic = word(bytes, 0);
        let order = if magic & 1 == 1 { Order::Big } else { Order::Little };
        let page_size = word(bytes, 8);
        let sums = [word(bytes, 24), word(bytes, 28)];
        let is_page_size = page_size.is_power_of_two() && (512..=65_536).contains(&page_size);
        let is_log = magic & !1 == MAGIC && is_page_size && order.sum(&bytes[..24], [0, 0]) == sums;
        is_log.then(|| Header { page_size, salts: [word(bytes, 16), word(bytes, 20)], order, sums })
    }

    /// The sums after a frame, given those before it.
    pub fn sum_frame(&self, frame: &[u8], before: Sums) -> Sums {
        let inner = self.order.sum(&frame[..8], before);
        self.order.sum(&frame[FRAME_HEADER_BYTES..], inner)
    }
}

impl FrameHeader {
    pub fn parse(frame: &[u8]) -> FrameHeader {
        FrameHeader {
            pgno: word(frame, 0),
            commit: word(frame, 4),
            salts: [word(frame, 8), word(frame, 12)],
            sums: [word(frame, 16), word(frame, 20)],
        }
    }
}

impl Order {
    /// `bytes` are whole pairs of words.
    fn sum(self, bytes: &[u8], mut sums: Sums) -> Sums {
        let read: fn([u8; 4]) -> u32 = match self {
            Order::Big => u32::from_be_bytes,
            Order::Little => u32::from_le_bytes,
        };
        for pair in bytes.chunks_exact(8) {
            let first = read([pair[0], pair[1], pair[2], pair[3]]);
            let second = read([pair[4], pair[5], pair[6], pair[7]]);
            sums[0] = sums[0].wrapping_add(first).wrapping_add(sums[1]);
            sums[1] = sums[1].wrapping_add(second).wrapping_add(sums[0]);
        }
        sums
    }
}

pub fn frame_bytes(page_size: u32) -> u64 {
    FRAME_HEADER_BYTES as u64 + u64::from(page_size)
}

/// Where the frame with this number, counted from 0, begins in the file.
pub fn frame_at(page_size: u32, frame: u64) -> u64 {
    HEADER_BYTES as u64 + frame * frame_bytes(page_size)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that SQLite wrote, read with nothing but this file.
    #[test]
    fn the_sums_of_a_real_log_run_through_all_its_frames() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("t.db");
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch("pragma journal_mode=wal; create table t(a); insert into t values(1),(2);").unwrap();
        let log = std::fs::read(scratch.path().join("t.db-wal")).unwrap();

        let header = Header::parse(log[..HEADER_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(header.page_size, 4096);
        let mut sums = header.sums;
        let mut frames = 0;
        for frame in log[HEADER_BYTES..].chunks(usize::try_from(frame_bytes(4096)).unwrap()) {
            let about = FrameHeader::parse(frame);
            sums = header.sum_frame(frame, sums);
            assert_eq!((about.sums, about.salts), (sums, header.salts), "frame {frames}");
            frames += 1;
        }
        assert_eq!(frame_at(4096, frames), log.len() as u64);
        assert!(frames >= 2);
    }

    #[test]
    fn other_bytes_are_no_header() {
        assert_eq!(Header::parse(&[0; HEADER_BYTES]), None);
        let mut log = [0u8; HEADER_BYTES];
        log[..4].copy_from_slice(&MAGIC.to_be_bytes());
        log[8..12].copy_from_slice(&4096u32.to_be_bytes());
        assert_eq!(Header::parse(&log), None, "a header whose sums do not hold");
    }
}
