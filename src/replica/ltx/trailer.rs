//! The end of an LTX file: its checksums.

/// The post-apply checksum and the file checksum.
pub const TRAILER_BYTES: usize = 8 + 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Checksum of the whole database after this file; 0 where the header says that there is none
    pub post_apply: u64,
    /// Checksum of this file
    pub file_checksum: u64,
}
