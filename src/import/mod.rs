//! What people bring along from the programs that they used before.

pub mod forum;
mod forum_source;
