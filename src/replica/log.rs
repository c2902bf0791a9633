//! The log's file, read through one long-lived descriptor and believed only as far as SQLite's own count.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::wal::{FRAME_HEADER_BYTES, FrameHeader, HEADER_BYTES, Header, Salts, Sums, frame_at, frame_bytes};

/// Bytes read at a time: some fifteen pages of the usual size.
const READ_BYTES: u64 = 64 << 10;

/// How far the log has been followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Of the run that it is in; zeros before the first
    pub salts: Salts,
    /// Frames of that run that are behind it
    pub frames: u64,
    pub sums: Sums,
}

/// What the frames between two positions do to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub from: Position,
    pub to: Position,
    /// Each page once, ascending, with the number of the last frame that holds it
    pub pages: Vec<(u32, u64)>,
    /// Pages of the database afterwards
    pub commit: u32,
}

/// Why the log cannot be followed from where it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    #[error("the log was started over by somebody else")]
    Restarted,
    #[error("a frame of the log does not carry on from the one before it")]
    Frame,
    #[error("the log ends within a transaction")]
    Unfinished,
    #[error("the log has another page size")]
    PageSize,
}

pub struct Log {
    path: PathBuf,
    file: File,
    page_size: u32,
}

impl Log {
    /// The log beside `database`, which some connection has opened already.
    pub fn open(database: &Path, page_size: u32) -> io::Result<Log> {
        let path = beside(database);
        Ok(Log { file: File::open(&path)?, path, page_size })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn header(&self) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_BYTES];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Header::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until what is in the log is on disk, whoever wrote it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Follows the frames after `from` as far as number `count`, which SQLite has committed.
    pub fn follow(&self, header: &Header, from: Position, count: u64) -> io::Result<Result<Changes, Break>> {
        if header.page_size != self.page_size {
            return Ok(Err(Break::PageSize));
        }
        let frame_bytes = frame_bytes(self.page_size);
        let at_once = (READ_BYTES / frame_bytes).max(1);
        let mut buffer = vec![0; usize::try_from(at_once * frame_bytes).unwrap_or(usize::MAX)];
        let mut pages: Vec<(u32, u64)> = Vec::new();
        let (mut sums, mut commit, mut number) = (from.sums, 0, from.frames);
        while number < count {
            let frames = at_once.min(count - number);
            let part = &mut buffer[..usize::try_from(frames * frame_bytes).unwrap_or(usize::MAX)];
            match self.file.read_exact_at(part, frame_at(self.page_size, number)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Err(Break::Frame)),
                result => result?,
            }
            for frame in part.chunks_exact(usize::try_from(frame_bytes).unwrap_or(usize::MAX)) {
                let about = FrameHeader::parse(frame);
                sums = header.sum_frame(frame, sums);
                if about.salts != header.salts || about.sums != sums || about.pgno == 0 {
                    return Ok(Err(Break::Frame));
                }
                pages.push((about.pgno, number));
                commit = about.commit;
                number += 1;
            }
        }
        if commit == 0 && from.frames < count {
            return Ok(Err(Break::Unfinished));
        }
        keep_last(&mut pages);
        pages.retain(|(pgno, _)| *pgno <= commit);
        let to = Position { salts: header.salts, frames: count, sums };
        Ok(Ok(Changes { from, to, pages, commit }))
    }

    /// Reads the page of a frame, if the frame is still of the run with these salts.
    pub fn page(&self, salts: Salts, frame: u64, page: &mut [u8]) -> io::Result<bool> {
        let at = frame_at(self.page_size, frame);
        self.file.read_exact_at(page, at + FRAME_HEADER_BYTES as u64)?;
        // A frame's header is written before its page: old salts after the read mean an old page.
        let mut header = [0; FRAME_HEADER_BYTES];
        self.file.read_exact_at(&mut header, at)?;
        Ok(FrameHeader::parse(&header).salts == salts)
    }
}

/// Sorts by page, and of each page keeps the last frame.
fn keep_last(pages: &mut Vec<(u32, u64)>) {
    pages.sort_unstable_by_key(|(pgno, frame)| (*pgno, std::cmp::Reverse(*frame)));
    pages.dedup_by_key(|(pgno, _)| *pgno);
}

fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_page_the_last_frame_is_kept() {
        let mut pages = vec![(3, 0), (1, 1), (3, 2), (2, 3), (1, 4)];
        keep_last(&mut pages);
        assert_eq!(pages, [(1, 4), (2, 3), (3, 2)]);
    }

    #[test]
    fn a_broken_frame_ends_the_following() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("t.db");
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch("pragma journal_mode=wal; create table t(a); insert into t values(zeroblob(9000));")
            .unwrap();
        let log = Log::open(&path, 4096).unwrap();
        let header = log.header().unwrap().unwrap();
        let start = Position { salts: header.salts, frames: 0, sums: header.sums };
        let whole = std::fs::metadata(log.path()).unwrap().len();
        let count = (whole - HEADER_BYTES as u64) / frame_bytes(4096);
        let changes = log.follow(&header, start, count).unwrap().unwrap();
        assert_eq!(changes.to.frames, count);
        assert!(changes.pages.is_sorted() && changes.pages.len() <= usize::try_from(count).unwrap());
        assert_eq!(log.follow(&header, start, count + 1).unwrap(), Err(Break::Frame), "past the end");
        assert_eq!(log.follow(&header, start, count - 1).unwrap(), Err(Break::Unfinished));

        let file = File::options().write(true).open(log.path()).unwrap();
        file.write_all_at(b"x", frame_at(4096, count - 1) + 100).unwrap();
        assert_eq!(log.follow(&header, start, count).unwrap(), Err(Break::Frame), "a changed byte");
    }
}
