//! Writing pages, from the newest file to the oldest, each page once.

use super::fetch::Pieces;
use super::output::Temporary;
use super::{Error, Restored};
use crate::replica::ltx::{self, Decoder, HEADER_BYTES, lock_page};
use crate::replica::plan::Candidate;

/// Adjacent pages are written together up to this many bytes.
const RUN_BYTES: usize = 1 << 20;
/// No page takes less in a file.
const FRAME_BYTES_MIN: u64 = 10;

/// Pages that are there already.
struct Seen(Vec<u64>);

struct Run<'a> {
    file: &'a Temporary,
    begin: u64,
    bytes: Vec<u8>,
}

pub(super) fn write(
    files: &[Candidate],
    names: Vec<String>,
    mut pieces: Pieces,
    output: &Temporary,
) -> Result<Restored, Error> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let mut restored: Option<Restored> = None;
    let mut seen = Seen(Vec::new());
    // A page beyond the end of any later state is gone, even when the database grew again.
    let mut limit = u32::MAX;
    let mut page = Vec::new();
    for (index, (file, name)) in files.iter().zip(names).enumerate() {
        pieces.begin(index);
        let failed = |pieces: &mut Pieces, source: ltx::Error| match pieces.failed.take() {
            Some(error) => Error::Store(error),
            None => Error::File { object: name.clone(), source },
        };
        let misfit = |reason: String| Error::Misfit { object: name.clone(), reason };
        let mut decoder = match Decoder::new(&mut pieces) {
            Ok(decoder) => decoder,
            Err(error) => return Err(failed(&mut pieces, error)),
        };
        let header = *decoder.header();
        if header.name() != file.name {
            return Err(misfit(format!("it holds {}", header.name())));
        }
        let restored = match &restored {
            Some(newest) if newest.page_size == header.page_size => newest,
            Some(newest) => {
                return Err(misfit(format!("its pages have {} bytes, theirs {}", header.page_size, newest.page_size)));
            }
            None => {
                if header.commit == 0 {
                    return Err(Error::Deleted { txid: header.max_txid });
                }
                if u64::from(header.commit).saturating_sub(1) * FRAME_BYTES_MIN + HEADER_BYTES as u64 > total {
                    let reason = format!("it claims {} pages, more than {total} bytes can hold", header.commit);
                    return Err(misfit(reason));
                }
                seen = Seen(vec![0; header.commit as usize / 64 + 1]);
                output.set_len(header.database_bytes())?;
                restored.insert(Restored {
                    txid: header.max_txid,
                    timestamp_ms: header.timestamp_ms,
                    page_size: header.page_size,
                    pages: header.commit,
                    files: files.len(),
                    fetched_bytes: total,
                })
            }
        };
        limit = limit.min(header.commit);
        let mut run = Run { file: output, begin: 0, bytes: Vec::new() };
        let decoded = loop {
            match decoder.next_page(&mut page) {
                Ok(Some(pgno)) if pgno <= limit && seen.insert(pgno) => {
                    run.push(u64::from(pgno - 1) * u64::from(restored.page_size), &page)?;
                }
                Ok(Some(_)) => {}
                Ok(None) => break decoder.finish(),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = decoded {
            return Err(failed(&mut pieces, error));
        }
        run.flush()?;
    }
    let restored = restored.ok_or_else(|| Error::Unsound("no file was applied".to_owned()))?;
    let lock = lock_page(restored.page_size);
    match (1..=restored.pages).find(|pgno| *pgno != lock && !seen.contains(*pgno)) {
        Some(pgno) => Err(Error::PageMissing { pgno, pages: restored.pages }),
        None => Ok(restored),
    }
}

impl Seen {
    /// Whether it is new.
    fn insert(&mut self, pgno: u32) -> bool {
        let (word, bit) = (&mut self.0[pgno as usize / 64], 1 << (pgno % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn contains(&self, pgno: u32) -> bool {
        self.0[pgno as usize / 64] & 1 << (pgno % 64) != 0
    }
}

impl Run<'_> {
    fn push(&mut self, at: u64, page: &[u8]) -> Result<(), Error> {
        if self.begin + self.bytes.len() as u64 != at || self.bytes.len() >= RUN_BYTES {
            self.flush()?;
            self.begin = at;
        }
        self.bytes.extend_from_slice(page);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_at(self.begin, &self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}
