//! One binary for all integration tests, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod adapter_http;
mod addresses;
mod audit;
mod cli;
mod config;
mod health;
mod inventory;
mod guard;
mod mcp;
mod forum;
mod import_forum;
mod registry;
mod rest;
mod store;
mod support;
mod tidy;
