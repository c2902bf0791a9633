//! Talking to services: one error, one guard over addresses, one HTTP client.

pub mod certificate;
pub mod error;
pub mod http;
pub mod vet;

pub use error::{Error, Kind, Result};
