//! `hearth import`: data from elsewhere, once.

use super::args::{Import, Place};
use super::output::{self, Form};
use super::place;
use crate::app::{App, Caller, Door};
use crate::error::{Error, Result};
use crate::import::forum::{self, Mode};

pub async fn run(place: &Place, command: Import) -> Result<()> {
    let Import::Forum { file, dry_run } = command;
    let mode = if dry_run { Mode::DryRun } else { Mode::Write };
    let app = App::open(&place.data, &place::root_key(place)?, place::config(place)?)?;
    let result = forum::import_forum(&app, &Caller::owner(Door::Cli), &file, mode).await;
    app.close().await?;
    let report = result?;
    match Form::of(place) {
        Form::Json => output::print(Form::Json, &serde_json::to_value(&report).map_err(Error::internal)?),
        Form::Table => output::line(report.to_string().trim_end()),
    }
}
