//! The doors: readers of the registry, none of which knows a tool by name.

pub mod mcp;
