//! Keys: the root key and what derives from it.

pub mod root;
