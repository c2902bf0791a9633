//! LTX files: the pages that a run of transactions changed, as Litestream 0.5 writes and reads them.
//!
//! All integers are big-endian; the source is superfly/ltx, version 3 of the format.
//!
//! ```text
//! header    100 bytes, see [`Header`]
//! page      pgno u32, flags u16, then
//!             flags 1: length u32, one LZ4 block of that length   (0.5.16 and later)
//!             flags 0: one LZ4 frame                              (0.5.0 to 0.5.15)
//! ...       ascending by number
//! end       6 zero bytes
//! index     per page: uvarint pgno, offset, size; uvarint 0; u64 length of all that
//! trailer   post-apply checksum u64, file checksum u64
//! ```
//!
//! The file checksum covers the header, each page's header and *uncompressed* bytes, the end,
//! the index and the post-apply checksum. A file that begins at transaction 1 is a snapshot and
//! holds every page but the lock page, which no file ever holds.

pub mod checksum;
mod decoder;
mod encoder;
mod error;
mod frame;
mod header;
mod index;
mod name;
mod trailer;

pub use self::decoder::Decoder;
pub use self::encoder::{Encoder, PageFormat, Summary};
pub use self::error::{Error, Part};
pub use self::header::{HEADER_BYTES, Header, NO_CHECKSUM, lock_page};
pub use self::name::{FileName, Level, NotAFileName, Txid};
pub use self::trailer::{TRAILER_BYTES, Trailer};

/// Bytes of a page's number and flags, of which the end of the pages is made, too.
const PAGE_HEADER_BYTES: usize = 4 + 2;
/// Page flag: a length follows, and the page is one LZ4 block.
const PAGE_IS_BLOCK: u16 = 0x0001;

/// The most that LZ4 makes of a page that it cannot compress.
const fn block_bytes_max(page_size: usize) -> usize {
    page_size + page_size / 255 + 16
}
