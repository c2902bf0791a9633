//! The doors: what speaks a protocol and reads the registry.

pub mod docs;
pub mod http;
pub mod mcp;
pub mod openapi;
pub mod rest;

/// A connection of this process; what a client asks by the same one comes in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId(pub u64);
