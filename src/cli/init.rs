//! `hearth init`: a commented configuration file and the root key.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::args::Place;
use super::{output, place};
use crate::config;
use crate::config::example::EXAMPLE;
use crate::error::{Error, Result};
use crate::vault::root::Root;
use crate::vault::source::{KeyFile, Stored};

pub fn run(args: &Place) -> Result<()> {
    let root_key = place::root_key(args)?;
    let file = args.config.clone().unwrap_or_else(|| args.data.join(config::FILE));
    make_folder(&args.data)?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    write_new(&file, EXAMPLE)?;
    let key_file = KeyFile::at(&root_key, &args.data)?;
    let had_key = key_file.read()?.is_some();
    if !had_key {
        key_file.create(&Stored::Open(Root::generate()?))?;
    }
    output::line(&format!("configuration: {}", file.display()))?;
    let key = if had_key { "kept" } else { "made; without it or its recovery kit, every secret is lost" };
    output::line(&format!("root key:      {} ({key})", root_key.display()))?;
    output::line(&format!("next:          hearth serve --data {}", args.data.display()))?;
    output::line(&format!("and, on paper: hearth key kit --data {}", args.data.display()))
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))
}

/// Never over a file that somebody may have edited.
fn write_new(file: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(file) {
        Ok(mut opened) => opened
            .write_all(text.as_bytes())
            .and_then(|()| opened.sync_all())
            .map_err(|error| cannot_write(file, &error)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::conflict(format_args!("there is {} already", file.display()))
                .with_hint("edit it, or name another with --config"))
        }
        Err(error) => Err(cannot_write(file, &error)),
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::unavailable(format_args!("cannot write {}: {error}", path.display()))
        .with_hint("name a place that you can write with --data and --config")
}
