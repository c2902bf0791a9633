//! Replication, from the store of objects up.

mod object;
