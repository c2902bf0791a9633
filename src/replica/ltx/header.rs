//! The first 100 bytes of an LTX file.

use super::error::{Error, Part};
use super::name::{FileName, Txid};

pub const HEADER_BYTES: usize = RESERVED_AT + RESERVED_BYTES;
/// Header flag: the file carries no checksum of the database. Litestream restores no other files.
pub const NO_CHECKSUM: u32 = 0x2;

const MAGIC: [u8; 4] = *b"LTX1";
const FLAGS_AT: usize = MAGIC.len();
const PAGE_SIZE_AT: usize = FLAGS_AT + 4;
const COMMIT_AT: usize = PAGE_SIZE_AT + 4;
const MIN_TXID_AT: usize = COMMIT_AT + 4;
const MAX_TXID_AT: usize = MIN_TXID_AT + 8;
const TIMESTAMP_AT: usize = MAX_TXID_AT + 8;
const PRE_APPLY_AT: usize = TIMESTAMP_AT + 8;
const WAL_OFFSET_AT: usize = PRE_APPLY_AT + 8;
const WAL_SIZE_AT: usize = WAL_OFFSET_AT + 8;
const WAL_SALT1_AT: usize = WAL_SIZE_AT + 8;
const WAL_SALT2_AT: usize = WAL_SALT1_AT + 4;
const NODE_ID_AT: usize = WAL_SALT2_AT + 4;
const RESERVED_AT: usize = NODE_ID_AT + 8;
const RESERVED_BYTES: usize = 20;

const PAGE_SIZE_MIN: u32 = 512;
const PAGE_SIZE_MAX: u32 = 65536;
/// Where SQLite's lock bytes are; no data stands in the page that holds them.
const LOCK_BYTE: u32 = 0x4000_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`NO_CHECKSUM`] or 0
    pub flags: u32,
    /// Bytes of a page, a power of two from 512 to 65536
    pub page_size: u32,
    /// Pages of the database after this file; 0 when it was deleted
    pub commit: u32,
    pub min_txid: Txid,
    pub max_txid: Txid,
    /// Since 1970, of the last transaction
    pub timestamp_ms: i64,
    /// Checksum of the whole database before this file; 0 in a snapshot and without checksums
    pub pre_apply: u64,
    /// The part of the WAL that is in this file; 0 in one that was compacted
    pub wal_offset: i64,
    pub wal_size: i64,
    pub wal_salt1: u32,
    pub wal_salt2: u32,
    pub node_id: u64,
}

/// Number of the page that holds SQLite's lock bytes and is in no file; a restore fills it with zeros.
pub const fn lock_page(page_size: u32) -> u32 {
    LOCK_BYTE / page_size + 1
}

impl Header {
    pub fn is_snapshot(&self) -> bool {
        self.min_txid == Txid::FIRST
    }

    pub fn has_checksums(&self) -> bool {
        self.flags & NO_CHECKSUM == 0
    }

    pub fn name(&self) -> FileName {
        FileName { min: self.min_txid, max: self.max_txid }
    }

    /// Bytes of the database after this file.
    pub fn database_bytes(&self) -> u64 {
        u64::from(self.commit) * u64::from(self.page_size)
    }

    pub(super) fn encode(&self) -> Result<[u8; HEADER_BYTES], Error> {
        self.check().map_err(|reason| Error::Unencodable { part: Part::Header, reason })?;
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(FLAGS_AT, &self.flags.to_be_bytes());
        put(PAGE_SIZE_AT, &self.page_size.to_be_bytes());
        put(COMMIT_AT, &self.commit.to_be_bytes());
        put(MIN_TXID_AT, &self.min_txid.0.to_be_bytes());
        put(MAX_TXID_AT, &self.max_txid.0.to_be_bytes());
        put(TIMESTAMP_AT, &self.timestamp_ms.to_be_bytes());
        put(PRE_APPLY_AT, &self.pre_apply.to_be_bytes());
        put(WAL_OFFSET_AT, &self.wal_offset.to_be_bytes());
        put(WAL_SIZE_AT, &self.wal_size.to_be_bytes());
        put(WAL_SALT1_AT, &self.wal_salt1.to_be_bytes());
        put(WAL_SALT2_AT, &self.wal_salt2.to_be_bytes());
        put(NODE_ID_AT, &self.node_id.to_be_bytes());
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Error> {
        let malformed = |reason| Error::Malformed { part: Part::Header, offset: 0, reason };
        let u32_at = |at: usize| u32::from_be_bytes(field(bytes, at));
        let u64_at = |at: usize| u64::from_be_bytes(field(bytes, at));
        let i64_at = |at: usize| i64::from_be_bytes(field(bytes, at));
        if !bytes.starts_with(&MAGIC) {
            return Err(malformed(format!("it begins with `{}`, not `LTX1`", bytes[..MAGIC.len()].escape_ascii())));
        }
        if bytes[RESERVED_AT..].iter().any(|byte| *byte != 0) {
            return Err(malformed("its reserved bytes are not zero".to_owned()));
        }
        let header = Header {
            flags: u32_at(FLAGS_AT),
            page_size: u32_at(PAGE_SIZE_AT),
            commit: u32_at(COMMIT_AT),
            min_txid: Txid(u64_at(MIN_TXID_AT)),
            max_txid: Txid(u64_at(MAX_TXID_AT)),
            timestamp_ms: i64_at(TIMESTAMP_AT),
            pre_apply: u64_at(PRE_APPLY_AT),
            wal_offset: i64_at(WAL_OFFSET_AT),
            wal_size: i64_at(WAL_SIZE_AT),
            wal_salt1: u32_at(WAL_SALT1_AT),
            wal_salt2: u32_at(WAL_SALT2_AT),
            node_id: u64_at(NODE_ID_AT),
        };
        header.check().map_err(malformed)?;
        Ok(header)
    }

    /// What any header must keep to, whoever wrote it.
    fn check(&self) -> Result<(), String> {
        let is_size = self.page_size.is_power_of_two() && (PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&self.page_size);
        let has_wal = self.wal_offset != 0;
        let mistake = if self.flags & !NO_CHECKSUM != 0 {
            format!("flags {:#x} are unknown; a newer program may have written it", self.flags)
        } else if !is_size {
            format!("{} is no page size", self.page_size)
        } else if self.min_txid.0 == 0 || self.min_txid > self.max_txid {
            format!("{}-{} is no range of transactions", self.min_txid, self.max_txid)
        } else if self.wal_offset < 0 || self.wal_size < 0 {
            format!("{}+{} is no range of the WAL", self.wal_offset, self.wal_size)
        } else if !has_wal && (self.wal_size != 0 || self.wal_salt1 != 0 || self.wal_salt2 != 0) {
            "it has a size or salts of the WAL without an offset".to_owned()
        } else if !self.has_checksums() && self.pre_apply != 0 {
            "it has a pre-apply checksum, and a flag that says there is none".to_owned()
        } else if self.has_checksums() && self.is_snapshot() && self.pre_apply != 0 {
            "it is a snapshot with a pre-apply checksum".to_owned()
        } else if self.has_checksums() && !self.is_snapshot() && self.pre_apply & super::checksum::PRESENT == 0 {
            "it has no pre-apply checksum".to_owned()
        } else {
            return Ok(());
        };
        Err(mistake)
    }
}

fn field<const BYTES: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; BYTES] {
    std::array::from_fn(|index| bytes[at + index])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            flags: NO_CHECKSUM,
            page_size: 4096,
            commit: 3,
            min_txid: Txid(2),
            max_txid: Txid(5),
            timestamp_ms: 1_769_860_800_250,
            pre_apply: 0,
            wal_offset: 32,
            wal_size: 4120,
            wal_salt1: 0xdead_beef,
            wal_salt2: 7,
            node_id: 0x0102_0304_0506_0708,
        }
    }

    #[test]
    fn every_field_stands_where_the_format_says() {
        let bytes = sample().encode().unwrap();
        assert_eq!(bytes.len(), 100);
        assert_eq!(&bytes[..16], b"LTX1\0\0\0\x02\0\0\x10\0\0\0\0\x03");
        assert_eq!(bytes[31], 5);
        assert_eq!(bytes[55], 32);
        assert_eq!(&bytes[64..80], b"\xde\xad\xbe\xef\0\0\0\x07\x01\x02\x03\x04\x05\x06\x07\x08");
        assert_eq!(Header::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn what_breaks_a_rule_is_neither_written_nor_read() {
        type Damage = fn(&mut Header);
        let broken: [(&str, Damage); 8] = [
            ("unknown", |header| header.flags |= 4),
            ("page size", |header| header.page_size = 5000),
            ("page size", |header| header.page_size = 131_072),
            ("range of transactions", |header| header.min_txid = Txid(0)),
            ("range of transactions", |header| header.min_txid = Txid(6)),
            ("range of the WAL", |header| header.wal_size = -1),
            ("without an offset", |header| header.wal_offset = 0),
            ("pre-apply", |header| header.pre_apply = 1),
        ];
        for (word, change) in broken {
            let mut header = sample();
            change(&mut header);
            let message = header.encode().unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        let mut bytes = sample().encode().unwrap();
        bytes[99] = 1;
        assert!(Header::decode(&bytes).unwrap_err().to_string().contains("reserved"));
        bytes[0] = b'X';
        assert!(Header::decode(&bytes).unwrap_err().to_string().contains("XTX1"));
    }

    #[test]
    fn the_lock_page_starts_at_one_gibibyte() {
        assert_eq!(lock_page(512), 2_097_153);
        assert_eq!(lock_page(4096), 262_145);
        assert_eq!(lock_page(65536), 16_385);
    }
}
