//! One binary for all integration tests, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod adapter_http;
mod audit;
mod config;
mod forum;
mod import_forum;
mod registry;
mod store;
mod support;
mod tidy;
