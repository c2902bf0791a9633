//! The doors: what speaks a protocol and reads the registry.

pub mod docs;
pub mod http;
pub mod mcp;
pub mod openapi;
pub mod rest;
