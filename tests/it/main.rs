//! One binary for all integration tests, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod adapter_http;
mod addresses;
mod audit;
mod cli;
mod config;
mod forum;
mod forum_search;
mod guard;
mod health;
mod import_forum;
mod inventory;
mod mcp;
mod registry;
mod replica;
mod rest;
mod security;
mod store;
mod support;
mod tidy;
