//! The doors: what speaks a protocol and reads the registry, never a tool by name.

pub mod docs;
pub mod http;
pub mod openapi;
pub mod rest;
//! The doors: readers of the registry, none of which knows a tool by name.
pub mod mcp;
