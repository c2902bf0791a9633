//! Replication: the store of objects, the codec against what real Litestream wrote, and restores of it.

mod capture;
mod codec;
mod fuzz;
mod object;
mod replicator;
mod restore;

use std::path::{Path, PathBuf};

use hearth::replica::ltx::{Decoder, Encoder, Error, Header, PageFormat, Trailer};

/// A file's content, decoded.
#[derive(Debug, PartialEq)]
pub struct Content {
    pub header: Header,
    pub pages: Vec<(u32, Vec<u8>)>,
    pub trailer: Trailer,
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ltx")
}

/// Every `.ltx` file under a folder, in order.
pub fn ltx_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(ltx_files(&path));
        } else if path.extension().is_some_and(|kind| kind == "ltx") {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub fn decode(bytes: &[u8]) -> Result<Content, Error> {
    let mut decoder = Decoder::new(bytes)?;
    let header = *decoder.header();
    let mut pages = Vec::new();
    let mut page = Vec::new();
    while let Some(pgno) = decoder.next_page(&mut page)? {
        pages.push((pgno, page.clone()));
    }
    let trailer = decoder.finish()?;
    Ok(Content { header, pages, trailer })
}

pub fn encode(header: Header, pages: &[(u32, Vec<u8>)], format: PageFormat) -> Vec<u8> {
    let mut encoder = Encoder::with_format(Vec::new(), header, format).unwrap();
    for (pgno, page) in pages {
        encoder.page(*pgno, page).unwrap();
    }
    let (bytes, summary) = encoder.finish().unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(summary.pages as usize, pages.len());
    bytes
}
