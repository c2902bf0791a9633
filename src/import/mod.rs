//! What people bring along from the programs that they used before.

pub mod forum;
pub mod forum_report;
mod forum_source;
