//! Replication: what is committed goes to an object store in Litestream's format, and comes back.
//!
//! Invariant: nothing in here knows a table; it reads the log and the pages of one SQLite file.

pub mod capture;
pub mod log;
pub mod ltx;
pub mod object;
pub mod plan;
pub mod replicator;
pub mod restore;
pub mod source;
pub mod spool;
pub mod wal;
