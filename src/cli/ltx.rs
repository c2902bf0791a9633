//! `hearth ltx` and `hearth snapshots`: what is in a replica and in its files.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::{Ltx, Place, ReplicaPlace};
use super::output::{self, Form};
use super::replica;
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::replica::ltx::{self, Decoder, FileName, Level};
use crate::replica::plan::{Candidate, Target};
use crate::replica::restore;

/// Page numbers that a dump shows.
const PAGES_SHOWN: usize = 1000;
/// Folders below each other that are looked into.
const DEPTH_MAX: usize = 8;

pub async fn run(place: &Place, command: Ltx) -> Result<()> {
    match command {
        Ltx::List(args) => list(place, &args, |_| true).await,
        Ltx::Dump { file } => output::print(Form::of(place), &dump(&file)?),
        Ltx::Verify { paths } => verify(place, &paths),
    }
}

pub async fn snapshots(place: &Place, args: ReplicaPlace) -> Result<()> {
    list(place, &args, |file| file.level == Level::SNAPSHOTS).await
}

async fn list(place: &Place, args: &ReplicaPlace, wanted: impl Fn(&Candidate) -> bool) -> Result<()> {
    let replica = replica::open(args).await?;
    let files = restore::catalog(&replica.store, Target::Latest).await.map_err(replica::restore_error)?;
    let item = |file: &Candidate| {
        json!({
            "level": file.level.number(),
            "min_txid": file.name.min.to_string(),
            "max_txid": file.name.max.to_string(),
            "size_bytes": file.size,
            "modified": Timestamp::from_millis(file.timestamp_ms),
            "key": file.key,
        })
    };
    let items: Vec<Value> = files.iter().filter(|file| wanted(file)).map(item).collect();
    output::print(Form::of(place), &json!({ "lineage": replica.lineage, "items": items }))
}

fn dump(path: &Path) -> Result<Value> {
    let wrong = |error: ltx::Error| file_error(path, error);
    let mut decoder = open(path)?;
    let header = *decoder.header();
    let (mut page, mut pages) = (Vec::new(), Vec::new());
    while let Some(pgno) = decoder.next_page(&mut page).map_err(wrong)? {
        if pages.len() < PAGES_SHOWN {
            pages.push(pgno);
        }
    }
    let count = decoder.pages();
    let trailer = decoder.finish().map_err(wrong)?;
    Ok(json!({
        "flags": format!("{:#x}", header.flags),
        "page_size_bytes": header.page_size,
        "commit_pages": header.commit,
        "min_txid": header.min_txid.to_string(),
        "max_txid": header.max_txid.to_string(),
        "is_snapshot": header.is_snapshot(),
        "timestamp": Timestamp::from_millis(header.timestamp_ms),
        "wal": format!("{}+{}", header.wal_offset, header.wal_size),
        "wal_salts": format!("{:08x} {:08x}", header.wal_salt1, header.wal_salt2),
        "node_id": header.node_id,
        "pages": count,
        "first_pages": pages,
        "post_apply_checksum": format!("{:016x}", trailer.post_apply),
        "file_checksum": format!("{:016x}", trailer.file_checksum),
    }))
}

fn verify(place: &Place, paths: &[PathBuf]) -> Result<()> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, DEPTH_MAX, &mut files)?;
    }
    files.sort();
    let (mut items, mut damaged) = (Vec::new(), 0);
    for path in &files {
        let verdict = match verify_file(path) {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                damaged += 1;
                error.message
            }
        };
        items.push(json!({ "file": path, "verdict": verdict }));
    }
    output::print(Form::of(place), &json!({ "files": files.len(), "damaged": damaged, "items": items }))?;
    match damaged {
        _ if files.is_empty() => Err(Error::not_found("there is no .ltx file there")),
        0 => Ok(()),
        _ => Err(Error::new(Code::Integrity, format_args!("{damaged} of {} files are damaged", files.len()))),
    }
}

fn verify_file(path: &Path) -> Result<()> {
    let decoder = open(path)?;
    let (found, name) = (decoder.header().name(), path.file_name().and_then(|name| name.to_str()));
    decoder.finish().map_err(|error| file_error(path, error))?;
    match name.and_then(|name| name.parse::<FileName>().ok()) {
        Some(name) if name != found => {
            Err(Error::new(Code::Integrity, format_args!("{} holds {found}", path.display())))
        }
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<Decoder<BufReader<File>>> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    Decoder::new(BufReader::with_capacity(1 << 18, file)).map_err(|error| file_error(path, error))
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, error))? {
        let path = entry.map_err(|error| unreadable(path, error))?.path();
        let is_ltx = path.extension().is_some_and(|kind| kind == "ltx");
        if depth > 0 && (is_ltx || (path.is_dir() && !path.is_symlink())) {
            collect(&path, depth - 1, files)?;
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::Unavailable };
    Error::new(code, format_args!("{}: {error}", path.display()))
}

fn file_error(path: &Path, error: ltx::Error) -> Error {
    Error::new(Code::Integrity, format_args!("{} {error}", path.display())).with_source(error)
}
