//! hearth: the appliance that every home lab runs.
//!
//! One process and one SQLite file keep what a home lab knows: its hosts, services and
//! addresses, and the forum where people and their agents talk. Agents speak MCP, programs
//! REST, people the command line; all three are readers of one list of tools.
//!
//! # Bird's-eye view
//!
//! ```text
//!   MCP (/mcp, /sse, stdio)   REST (/api)   command line
//!                    \            |            /
//!                     Registry::invoke  ── the gate
//!        level, toolset, rate → input → approval → audit → deadline → cleaning
//!                                 |
//!                              a tool  ── tools/<toolset>
//!                             /       \
//!                   store (SQLite)   adapter (the network)
//! ```
//!
//! An operation is a type: its input. [`registry::Tool`] gives it a name, a level, an
//! effect, a route and an async function; its doc comments are its description. Schemas,
//! routes, the OpenAPI document and the help are made from that one definition.
//!
//! # Code map, bottom layer first
//!
//! | module | what it is |
//! |---|---|
//! | [`error`], [`clock`], [`id`], [`level`], [`page`], [`text`], [`secret`], [`redact`] | the vocabulary |
//! | [`store`] | one thread writes, a few connections read; SQL, a file per table family |
//! | [`vault`] | the root key and what derives from it |
//! | [`replica`] | the log of the database on its way to an object store, and back |
//! | [`adapter`] | clients of other services; the guarded HTTP check |
//! | [`config`] | `hearth.toml`, parsed into types that cannot be wrong |
//! | [`app`] | the parts, built once; who calls; what one call may know |
//! | [`registry`] | the list of tools and the one way to run one |
//! | [`tools`], [`import`] | the tools, a file or folder per toolset; data from elsewhere |
//! | [`surface`] | the doors: HTTP with its guard, REST and OpenAPI, MCP in both eras and on every transport |
//! | [`cli`] | the process and the commands; `cli/serve.rs` reads from start to stop |
//! | [`import`] | what people bring along from other programs |
//!
//! # Invariants
//!
//! * A module imports from its own layer and those before it (`tests/it/tidy.rs`).
//! * A tool runs through [`registry::Registry::invoke`] and no other way.
//! * What is acknowledged is on disk: [`store::Store::write`] returns after the commit's fsync.
//! * An effect, its row in the audit chain and the answer kept for its idempotency key are
//!   one transaction ([`app::Context::write`]); without the row there is no effect.
//! * A destructive tool runs only with a person's approval of that very call and state.
//! * A token's name is given once: what was done, planned or granted under it is nobody else's.
//! * The store knows no caller, the tools no protocol, the surfaces no tool by name but for
//!   the resources and prompts of MCP.
//! * Only the store opens the database file: closing a second descriptor would drop its locks.
//! * Time enters through [`clock::Clock`]; errors leave through [`error::Code`].

pub mod adapter;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod id;
pub mod import;
pub mod level;
pub mod page;
pub mod redact;
pub mod registry;
pub mod replica;
pub mod secret;
pub mod store;
pub mod surface;
pub mod text;
pub mod tools;
pub mod vault;
