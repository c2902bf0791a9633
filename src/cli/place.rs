//! Where the data, the configuration and the root key are.

use std::path::PathBuf;

use super::args::Place;
use crate::config::{self, Config};
use crate::error::{Code, Error, Result};
use crate::tools;
use crate::vault::source;

pub fn root_key(place: &Place) -> Result<PathBuf> {
    place.root_key.clone().or_else(source::credential).or_else(source::default_path).ok_or_else(|| {
        Error::new(Code::Unconfigured, "there is no home folder to keep the root key in")
            .with_hint("name a file with --root-key")
    })
}

/// The configuration, or all that is wrong with it.
pub fn config(place: &Place) -> Result<Config> {
    let toolsets: Vec<&str> = tools::TOOLSETS.iter().map(|(name, _)| *name).collect();
    Config::load(place.config.as_deref(), &place.data, &toolsets).map_err(|error| match &error {
        config::Error::Read { source, .. } => Error::new(Code::Unconfigured, format_args!("{error}: {source}")),
        _ => Error::new(Code::Unconfigured, error),
    })
}
