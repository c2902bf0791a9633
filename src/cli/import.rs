//! `hearth import`: data from elsewhere, once.

use super::args::{Import, Place};
use crate::error::{Code, Error, Result};

pub async fn run(place: &Place, command: Import) -> Result<()> {
    let Import::Forum { file, dry_run } = command;
    let _ = (place, dry_run);
    Err(Error::new(Code::Unconfigured, format_args!("cannot import {}", file.display())))
}
