//! What is wrong with an LTX file, and where.

use std::fmt;
use std::io;

/// Reads on from the name of the file: "`name` ends early: ...".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot be read at byte {offset}")]
    Read { offset: u64, source: io::Error },
    #[error("cannot be written")]
    Write { source: io::Error },
    #[error("ends after {offset} bytes, in its {part}")]
    Truncated { part: Part, offset: u64 },
    #[error("is damaged in its {part}, near byte {offset}: {reason}")]
    Malformed { part: Part, offset: u64, reason: String },
    #[error(
        "has other content than was written: its {part} says checksum {stored:016x}, its bytes have {computed:016x}"
    )]
    Checksum { part: Part, stored: u64, computed: u64 },
    /// What the encoder was given cannot stand in a file
    #[error("cannot hold this {part}: {reason}")]
    Unencodable { part: Part, reason: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Header,
    Page(u32),
    Pages,
    Index,
    Trailer,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Header => f.write_str("header"),
            Part::Page(pgno) => write!(f, "page {pgno}"),
            Part::Pages => f.write_str("pages"),
            Part::Index => f.write_str("page index"),
            Part::Trailer => f.write_str("trailer"),
        }
    }
}
