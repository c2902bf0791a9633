//! Replication: the database's history as objects in a store, and back.

pub mod ltx;
