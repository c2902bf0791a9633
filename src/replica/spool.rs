//! The folder between the log and the object store: files of level 0, durable before any upload.
//!
//! Invariant: the bytes of a transaction id never change once its file has its name.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use super::capture::Reading;
use super::log::Position;
use super::ltx::{self, Decoder, Encoder, FileName, Header, NO_CHECKSUM, Txid};
use super::wal;

const LINEAGE: &str = "lineage";
const SNAPSHOT: &str = "snapshot";
const GAP: &str = "baseline-needed";
const UNFINISHED: &str = ".tmp";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be used", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} {source}", .path.display())]
    Ltx { path: PathBuf, source: ltx::Error },
}

/// One continuous history, and what of it is not in the object store yet.
pub struct Spool {
    folder: PathBuf,
    lineage: String,
    newest: Option<Header>,
    gap: Option<Gap>,
    /// At least as many bytes as there are in the folder
    bytes: u64,
}

/// Transactions that were dropped before their upload; only an image of the whole database fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    first: Txid,
    last: Txid,
    timestamp_ms: i64,
}

/// A file that waits for its upload.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub path: PathBuf,
    pub name: FileName,
    pub level: u8,
    pub timestamp_ms: i64,
}

/// The file that is being written.
pub struct Draft {
    encoder: Encoder<BufWriter<File>>,
    header: Header,
    unfinished: PathBuf,
    path: PathBuf,
}

impl Spool {
    /// Opens the spool in `folder`, if it holds a history to go on with.
    pub fn open(folder: &Path) -> Result<Option<Spool>, Error> {
        let path = folder.join(LINEAGE);
        let lineage = match fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let mut spool = Spool { folder: folder.to_owned(), lineage, newest: None, gap: None, bytes: 0 };
        spool.bytes = spool.measure()?;
        let newest = match spool.level_0()?.pop() {
            Some(newest) => Some(verify(&newest.path)?),
            None => None,
        };
        // An image that filled the gap has its name before the note of the gap goes.
        let gap = spool.noted_gap()?;
        spool.gap = gap.filter(|gap| newest.is_none_or(|newest| newest.max_txid <= gap.last));
        if spool.gap.is_none() && gap.is_some() {
            spool.forget_gap()?;
        }
        spool.newest = newest;
        Ok((spool.newest.is_some() || spool.gap.is_some()).then_some(spool))
    }

    /// Begins a new history; what is left of an earlier one goes.
    pub fn begin(folder: &Path, lineage: &str) -> Result<Spool, Error> {
        let failed = |source| Error::Io { path: folder.to_owned(), source };
        if let Err(error) = fs::remove_dir_all(folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed(error));
        }
        fs::create_dir_all(folder.join(SNAPSHOT)).map_err(failed)?;
        let write = || {
            fs::write(folder.join(LINEAGE), lineage)?;
            File::open(folder.join(LINEAGE))?.sync_all()?;
            File::open(folder)?.sync_all()
        };
        write().map_err(failed)?;
        Ok(Spool { folder: folder.to_owned(), lineage: lineage.to_owned(), newest: None, gap: None, bytes: 0 })
    }

    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    /// Where the log was left, and the pages of the database there.
    ///
    /// Nothing while a baseline is needed.
    pub fn position(&self) -> Option<(Position, u32)> {
        let newest = self.newest.filter(|_| self.gap.is_none())?;
        let frame_bytes = i64::try_from(wal::frame_bytes(newest.page_size)).ok()?;
        let frames = (newest.wal_offset + newest.wal_size - wal::HEADER_BYTES as i64).max(0) / frame_bytes;
        let salts = [newest.wal_salt1, newest.wal_salt2];
        Some((Position { salts, frames: u64::try_from(frames).ok()?, sums: [0, 0] }, newest.commit))
    }

    pub fn txid(&self) -> Txid {
        let newest = self.newest.map_or(Txid(0), |newest| newest.max_txid);
        self.gap.map_or(newest, |gap| gap.last)
    }

    fn timestamp_ms(&self, now_ms: i64) -> i64 {
        let newest = self.newest.map_or(i64::MIN, |newest| newest.timestamp_ms);
        let last = self.gap.map_or(newest, |gap| gap.timestamp_ms);
        now_ms.max(last.saturating_add(1))
    }

    /// The header of the next file of level 0, which reaches from `from` to `to` in the log.
    pub fn next(&self, page_size: u32, commit: u32, from: Position, to: Position, now_ms: i64) -> Header {
        let at = |frames| i64::try_from(wal::frame_at(page_size, frames)).unwrap_or(i64::MAX);
        let start = if from.salts == to.salts { at(from.frames) } else { at(0) };
        let has_run = to.salts != [0, 0];
        let txid = self.txid().next();
        Header {
            flags: NO_CHECKSUM,
            page_size,
            commit,
            min_txid: self.gap.map_or(txid, |gap| gap.first),
            max_txid: txid,
            timestamp_ms: self.timestamp_ms(now_ms),
            pre_apply: 0,
            wal_offset: if has_run { start } else { 0 },
            wal_size: if has_run { at(to.frames) - start } else { 0 },
            wal_salt1: to.salts[0],
            wal_salt2: to.salts[1],
            node_id: 0,
        }
    }

    /// Keeps what the log says; durable when this returns.
    pub fn keep(&mut self, reading: &Reading<'_>, now_ms: i64) -> Result<Txid, super::capture::Error> {
        let changes = reading.changes;
        let header = self.next(reading.page_size, changes.commit, changes.from, changes.to, now_ms);
        let mut draft = self.draft(header).map_err(sink)?;
        reading.each(&mut |pgno, page| draft.page(pgno, page).map_err(sink))?;
        self.finish(draft).map_err(sink)
    }

    /// Begins a file; a header from [`Txid::FIRST`] on is a snapshot.
    pub fn draft(&self, header: Header) -> Result<Draft, Error> {
        let name = FileName { min: header.min_txid, max: header.max_txid }.to_string();
        let folder = if header.is_snapshot() { self.folder.join(SNAPSHOT) } else { self.folder.clone() };
        let (path, unfinished) = (folder.join(&name), folder.join(name + UNFINISHED));
        let failed = |source| Error::Io { path: unfinished.clone(), source };
        let out = BufWriter::new(File::create(&unfinished).map_err(failed)?);
        let encoder = Encoder::new(out, header).map_err(|source| Error::Ltx { path: unfinished.clone(), source })?;
        Ok(Draft { encoder, header, unfinished, path })
    }

    pub fn finish(&mut self, draft: Draft) -> Result<Txid, Error> {
        let Draft { encoder, header, unfinished, path } = draft;
        let (out, summary) = encoder.finish().map_err(|source| Error::Ltx { path: unfinished.clone(), source })?;
        let publish = || {
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(path.parent().unwrap_or(&self.folder))?.sync_all()
        };
        publish().map_err(|source| Error::Io { path: path.clone(), source })?;
        self.newest = Some(header);
        self.bytes = self.bytes.saturating_add(summary.bytes);
        if self.gap.take().is_some() {
            self.forget_gap()?;
        }
        Ok(header.max_txid)
    }
}

impl Draft {
    pub fn page(&mut self, pgno: u32, page: &[u8]) -> Result<(), Error> {
        self.encoder.page(pgno, page).map_err(|source| Error::Ltx { path: self.unfinished.clone(), source })
    }
}

impl Spool {
    /// The transaction after which some were dropped, if only an image of the whole database helps.
    pub fn needs_baseline(&self) -> Option<Txid> {
        self.gap.map(|gap| Txid(gap.first.0 - 1))
    }

    /// Whether there are more than `most` bytes in the folder.
    pub fn is_over(&mut self, most: u64) -> Result<bool, Error> {
        if self.bytes > most {
            // What was uploaded since is no longer there.
            self.bytes = self.measure()?;
        }
        Ok(self.bytes > most)
    }

    /// Drops what waits, except the oldest and all whose upload had begun with `begun`.
    ///
    /// Returns how many files went. If any did, a baseline is needed, which a crash does not forget.
    pub fn drop_unsent(&mut self, begun: Txid) -> Result<usize, Error> {
        let all = waiting(&self.folder)?;
        let Some(oldest) = all.first().map(|oldest| oldest.name.max) else { return Ok(0) };
        let kept = begun.max(oldest);
        let dropped: Vec<_> = all.into_iter().filter(|one| kept < one.name.max).collect();
        let (Some(first), Some(last)) = (dropped.first(), dropped.last()) else { return Ok(0) };
        let gap = Gap { first: first.name.min, last: last.name.max, timestamp_ms: last.timestamp_ms };
        let (path, unfinished) = (self.folder.join(GAP), self.folder.join(format!("{GAP}{UNFINISHED}")));
        let note = || {
            fs::write(&unfinished, format!("{} {} {}\n", gap.first, gap.last, gap.timestamp_ms))?;
            File::open(&unfinished)?.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        note().map_err(|source| Error::Io { path: path.clone(), source })?;
        self.gap = Some(gap);
        for one in &dropped {
            fs::remove_file(&one.path).map_err(|source| Error::Io { path: one.path.clone(), source })?;
        }
        self.bytes = self.measure()?;
        Ok(dropped.len())
    }

    fn noted_gap(&self) -> Result<Option<Gap>, Error> {
        let path = self.folder.join(GAP);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let txid = |word: &str| u64::from_str_radix(word, 16).ok().filter(|txid| *txid > 1).map(Txid);
        let words: Vec<&str> = text.split_whitespace().collect();
        let gap = match words[..] {
            [first, last, ms] => match (txid(first), txid(last), ms.parse()) {
                (Some(first), Some(last), Ok(timestamp_ms)) => Some(Gap { first, last, timestamp_ms }),
                _ => None,
            },
            _ => None,
        };
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the note of a needed baseline does not read");
        gap.map(Some).ok_or_else(|| Error::Io { path, source: wrong() })
    }

    fn forget_gap(&self) -> Result<(), Error> {
        let path = self.folder.join(GAP);
        let forget = || {
            fs::remove_file(&path)?;
            File::open(&self.folder)?.sync_all()
        };
        forget().map_err(|source| Error::Io { path: path.clone(), source })
    }

    fn measure(&self) -> Result<u64, Error> {
        let mut bytes = 0;
        for one in waiting(&self.folder)? {
            match fs::metadata(&one.path) {
                Ok(about) => bytes += about.len(),
                // Uploaded in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::Io { path: one.path, source }),
            }
        }
        Ok(bytes)
    }

    fn level_0(&self) -> Result<Vec<Waiting>, Error> {
        listed(&self.folder, 0)
    }
}

/// What is in the spool at `folder`, in the order in which it has to go up.
pub fn waiting(folder: &Path) -> Result<Vec<Waiting>, Error> {
    let mut found = listed(&folder.join(SNAPSHOT), 9)?;
    found.extend(listed(folder, 0)?);
    Ok(found)
}

fn listed(folder: &Path, level: u8) -> Result<Vec<Waiting>, Error> {
    let failed = |source| Error::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(name) = entry.file_name().to_str().and_then(|name| name.parse::<FileName>().ok()) else { continue };
        let path = entry.path();
        let file = match File::open(&path) {
            // Uploaded, or dropped, in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.map_err(failed)?,
        };
        let decoder = Decoder::new(BufReader::new(file)).map_err(|source| Error::Ltx { path: path.clone(), source })?;
        found.push(Waiting { path, name, level, timestamp_ms: decoder.header().timestamp_ms });
    }
    found.sort_by_key(|waiting| waiting.name);
    Ok(found)
}

/// Reads the whole file and its checksum.
fn verify(path: &Path) -> Result<Header, Error> {
    let wrong = |source| Error::Ltx { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let mut decoder = Decoder::new(BufReader::new(file)).map_err(wrong)?;
    let header = *decoder.header();
    let mut page = Vec::new();
    while decoder.next_page(&mut page).map_err(wrong)?.is_some() {}
    decoder.finish().map_err(wrong)?;
    Ok(header)
}

pub(super) fn sink(error: Error) -> super::capture::Error {
    super::capture::Error::Sink(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(spool: &mut Spool) -> Txid {
        let at = Position::default();
        let mut draft = spool.draft(spool.next(512, 1, at, at, 7)).unwrap();
        draft.page(1, &[3; 512]).unwrap();
        spool.finish(draft).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        waiting(folder)
            .unwrap()
            .iter()
            .map(|one| format!("{}/{}-{}", one.level, one.name.min.0, one.name.max.0))
            .collect()
    }

    #[test]
    fn what_was_dropped_is_known_after_a_crash_until_an_image_stands_in_for_it() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("spool");
        let mut spool = Spool::begin(&folder, "L").unwrap();
        for _ in 0..4 {
            keep(&mut spool);
        }
        assert!(!spool.is_over(1 << 20).unwrap() && spool.is_over(100).unwrap());
        assert_eq!(spool.drop_unsent(Txid(2)).unwrap(), 2, "what an upload has begun with stays");
        assert_eq!(names(&folder), ["9/1-1", "0/2-2"]);

        let mut spool = Spool::open(&folder).unwrap().unwrap();
        assert_eq!((spool.needs_baseline(), spool.txid()), (Some(Txid(2)), Txid(4)));
        assert_eq!(spool.position(), None, "the log was not followed to where it is now");
        let note = fs::read(folder.join(GAP)).unwrap();
        assert_eq!(keep(&mut spool), Txid(5));
        assert_eq!(names(&folder), ["9/1-1", "0/2-2", "0/3-5"]);
        assert!(spool.needs_baseline().is_none() && !folder.join(GAP).exists());

        // A crash between the image's name and the end of the note.
        fs::write(folder.join(GAP), note).unwrap();
        let spool = Spool::open(&folder).unwrap().unwrap();
        assert_eq!((spool.needs_baseline(), spool.txid()), (None, Txid(5)));
        assert!(!folder.join(GAP).exists());
    }

    #[test]
    fn the_oldest_file_is_never_dropped_and_alone_it_makes_no_gap() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("spool");
        let mut spool = Spool::begin(&folder, "L").unwrap();
        keep(&mut spool);
        assert_eq!(spool.drop_unsent(Txid(0)).unwrap(), 0);
        assert_eq!((spool.needs_baseline(), names(&folder)), (None, vec!["9/1-1".to_owned()]));
    }
}
