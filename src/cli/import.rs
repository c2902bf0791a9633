//! `hearth import`: data from elsewhere.

use super::args::{Import, Place};
use super::client::Client;
use super::output::{self, Form};
use crate::error::{Error, Result};
use crate::registry::fence;
use crate::surface::http::local::ForumFile;

pub async fn run(place: &Place, command: Import) -> Result<()> {
    let Import::Forum { file, dry_run } = command;
    // The server stands in another folder.
    let file = std::path::absolute(&file)
        .map_err(|error| Error::invalid("FILE", format_args!("{}: {error}", file.display())))?;
    let mut client = Client::connect(place).await?;
    let imported = client.import_forum(&ForumFile { file, dry_run }).await;
    client.close().await?;
    let imported = imported?;
    match Form::of(place) {
        Form::Json => output::print(Form::Json, &imported.report),
        Form::Table => output::line(fence::clean(imported.text.trim_end()).as_ref()),
    }
}
