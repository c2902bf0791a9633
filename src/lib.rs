//! hearth

pub mod adapter;
pub mod app;
pub mod clock;
pub mod config;
pub mod error;
pub mod id;
pub mod page;
pub mod registry;
pub mod secret;
pub mod store;
pub mod surface;
pub mod text;
pub mod tools;
pub mod vault;
