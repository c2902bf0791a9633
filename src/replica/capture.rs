//! Follows the log of a live database and copies it back: the one checkpointer of the file.
//!
//! Invariant: a reader is pinned, or the write lock is held, at every instant; so nobody, not
//! even another program, can start the log over before its frames are in a sink.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rusqlite::Connection;

use super::log::{Break, Changes, Log, Position};
use super::ltx;
use super::source::{Source, Unheld};

/// Takes the number and the bytes of a page.
type EachPage<'a> = dyn FnMut(u32, &[u8]) -> Result<(), Error> + 'a;

/// The header is written after SQLite's own note of a restart; the two agree a moment later.
const LOOKS_MAX: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("SQLite does not say how far the log goes")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the log or the database file cannot be read")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Unheld(#[from] Unheld),
    /// What is missing is gone: only a whole image helps
    #[error("changes were missed: {0}")]
    Lost(#[from] Break),
    #[error("the changes cannot be kept")]
    Sink(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whether the log was copied back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointed {
    pub frames: u64,
    pub is_whole: bool,
}

pub struct Capture {
    source: Arc<dyn Source>,
    /// Counts frames and copies them back; writes nothing.
    keeper: Connection,
    pin: Connection,
    log: Log,
    file: Arc<File>,
    page_size: u32,
    position: Position,
    /// Pages of the database at the position
    pages: u32,
    /// All frames of this run are in the file, by our own hand: the next run follows without a gap.
    restart_is_ours: bool,
}

/// The pages that changed, read one after the other.
pub struct Reading<'a> {
    log: &'a Log,
    file: &'a File,
    pub changes: &'a Changes,
    /// Pages that the database grew by without a frame for them
    grown: std::ops::RangeInclusive<u32>,
    pub page_size: u32,
}

impl Capture {
    /// Opens the log and pins it, at the start of its present run.
    pub fn open(source: Arc<dyn Source>) -> Result<Capture, Error> {
        let (keeper, pin) = (source.connect()?, source.connect()?);
        take_pin(&pin)?;
        let page_size = keeper.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let log = Log::open(source.path(), page_size)?;
        let file = source.file();
        let mut capture = Capture {
            source,
            keeper,
            pin,
            log,
            file,
            page_size,
            position: Position::default(),
            pages: 0,
            restart_is_ours: true,
        };
        capture.pages = capture.pages_now()?;
        Ok(capture)
    }

    pub fn position(&self) -> Position {
        self.position
    }

    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// Goes on from a position that an earlier process reached, if the log still leads there.
    pub fn resume(&mut self, at: Position, pages: u32) -> Result<(), Error> {
        let Some(header) = self.log.header()? else { return Err(Break::Restarted.into()) };
        let count = self.frames()?;
        if header.salts != at.salts || count < at.frames {
            return Err(Break::Restarted.into());
        }
        let start = Position { salts: header.salts, frames: 0, sums: header.sums };
        let reached = if at.frames == 0 { start } else { self.log.follow(&header, start, at.frames)??.to };
        (self.position, self.pages, self.restart_is_ours) = (reached, pages, false);
        Ok(())
    }

    /// Hands what was committed since the last capture to `sink`, which keeps it durably.
    ///
    /// Returns whether there was anything.
    pub fn capture(&mut self, sink: &mut dyn FnMut(&Reading<'_>) -> Result<(), Error>) -> Result<bool, Error> {
        let Some(changes) = self.changes()? else { return Ok(false) };
        // Nothing leaves the machine that its own disk might still lose.
        self.log.sync()?;
        let reading = self.reading(&changes);
        sink(&reading)?;
        self.restart_is_ours = false;
        (self.position, self.pages) = (changes.to, changes.commit);
        Ok(true)
    }

    /// Captures what is left and copies the log back into the file.
    pub fn checkpoint(
        &mut self,
        sink: &mut dyn FnMut(&Reading<'_>) -> Result<(), Error>,
    ) -> Result<Checkpointed, Error> {
        self.capture(sink)?;
        self.held(|capture| {
            capture.capture(sink)?;
            capture.pin.execute_batch("rollback")?;
            let copied = checkpoint(&capture.keeper, "passive");
            // Pinned again before anybody may write.
            take_pin(&capture.pin)?;
            let (frames, done) = copied?;
            let is_whole = frames == done && frames == capture.position.frames;
            capture.restart_is_ours = is_whole;
            Ok(Checkpointed { frames, is_whole })
        })
    }

    /// Hands every page of the database as it is now to `each`, ascending, and follows the log from there.
    ///
    /// `begin` is told the number of pages first. Writers wait meanwhile.
    pub fn image(
        &mut self,
        begin: &mut dyn FnMut(u32, Position) -> Result<(), Error>,
        each: &mut EachPage<'_>,
    ) -> Result<(), Error> {
        self.held(|capture| {
            let (position, frames) = capture.whole_run()?;
            let pages = capture.pages_now()?;
            begin(pages, position)?;
            let mut page = vec![0; capture.page_size as usize];
            let mut frames = frames.into_iter().peekable();
            for pgno in (1..=pages).filter(|pgno| *pgno != ltx::lock_page(capture.page_size)) {
                while frames.next_if(|(framed, _)| *framed < pgno).is_some() {}
                match frames.next_if(|(framed, _)| *framed == pgno) {
                    Some((_, frame)) => {
                        if !capture.log.page(position.salts, frame, &mut page)? {
                            return Err(Break::Restarted.into());
                        }
                    }
                    None => read_page(&capture.file, pgno, &mut page)?,
                }
                each(pgno, &page)?;
            }
            (capture.position, capture.pages) = (position, pages);
            // With no frame in this run, whatever run comes next is the first that there is.
            capture.restart_is_ours = position.frames == 0;
            Ok(())
        })
    }

    /// The number of pages and the first of them, as the log left them at the position.
    pub fn first_page(&mut self) -> Result<(u32, Vec<u8>), Error> {
        self.held(|capture| {
            let (position, frames) = capture.whole_run()?;
            let mut page = vec![0; capture.page_size as usize];
            let is_current = match frames.first() {
                Some((1, frame)) => capture.log.page(position.salts, *frame, &mut page)?,
                _ => read_page(&capture.file, 1, &mut page).map(|()| true)?,
            };
            if !is_current || position != capture.position {
                return Err(Break::Restarted.into());
            }
            Ok((capture.pages, page))
        })
    }

    fn held<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let source = Arc::clone(&self.source);
        let (mut work, mut done) = (Some(work), None);
        source.hold_writes(&mut || {
            if let Some(work) = work.take() {
                done = Some(work(self));
            }
        })?;
        done.unwrap_or(Err(Error::Unheld(Unheld)))
    }

    fn changes(&self) -> Result<Option<Changes>, Error> {
        let (header, count) = self.look()?;
        let at = self.position;
        let Some(header) = header else { return Ok(None) };
        if header.salts == at.salts {
            // Fewer frames than before: the next run is noted, and its header not yet written.
            return if count <= at.frames { Ok(None) } else { Ok(Some(self.log.follow(&header, at, count)??)) };
        }
        if count == 0 {
            return Ok(None);
        }
        if !self.restart_is_ours {
            return Err(Break::Restarted.into());
        }
        let start = Position { salts: header.salts, frames: 0, sums: header.sums };
        Ok(Some(self.log.follow(&header, start, count)??))
    }

    /// The header of the log, and the count of frames that goes with it.
    fn look(&self) -> Result<(Option<super::wal::Header>, u64), Error> {
        for _ in 0..LOOKS_MAX {
            let before = self.log.header()?;
            let count = self.frames()?;
            if before == self.log.header()? {
                return Ok((before, count));
            }
        }
        Err(Break::Frame.into())
    }

    /// All of the present run, for an image of the database.
    fn whole_run(&self) -> Result<(Position, Vec<(u32, u64)>), Error> {
        let (header, count) = self.look()?;
        let Some(header) = header else { return Ok((Position::default(), Vec::new())) };
        let start = Position { salts: header.salts, frames: 0, sums: header.sums };
        if count == 0 {
            return Ok((start, Vec::new()));
        }
        let changes = self.log.follow(&header, start, count)??;
        Ok((changes.to, changes.pages))
    }

    fn reading<'a>(&'a self, changes: &'a Changes) -> Reading<'a> {
        let grown = self.pages.saturating_add(1)..=changes.commit;
        Reading { log: &self.log, file: &self.file, changes, grown, page_size: self.page_size }
    }

    /// SQLite's own count of committed frames: a failed commit leaves valid frames that are not in it.
    fn frames(&self) -> Result<u64, Error> {
        Ok(checkpoint(&self.keeper, "noop")?.0)
    }

    fn pages_now(&self) -> Result<u32, Error> {
        Ok(self.keeper.pragma_query_value(None, "page_count", |row| row.get(0))?)
    }
}

impl Reading<'_> {
    /// Hands every page to `each`, ascending.
    pub fn each(&self, each: &mut EachPage<'_>) -> Result<(), Error> {
        let mut page = vec![0; self.page_size as usize];
        let lock_page = ltx::lock_page(self.page_size);
        let mut grown = self.grown.clone().filter(|pgno| *pgno != lock_page).peekable();
        for (pgno, frame) in &self.changes.pages {
            while let Some(new) = grown.next_if(|new| new < pgno) {
                read_page(self.file, new, &mut page)?;
                each(new, &page)?;
            }
            grown.next_if_eq(pgno);
            if !self.log.page(self.changes.to.salts, *frame, &mut page)? {
                return Err(Break::Restarted.into());
            }
            each(*pgno, &page)?;
        }
        for new in grown {
            read_page(self.file, new, &mut page)?;
            each(new, &page)?;
        }
        Ok(())
    }
}

/// Reads a page of the file; past its end there are zeros, as SQLite sees it.
fn read_page(file: &File, pgno: u32, page: &mut [u8]) -> io::Result<()> {
    let mut at = u64::from(pgno - 1) * page.len() as u64;
    let mut rest = page;
    while !rest.is_empty() {
        match file.read_at(rest, at) {
            Ok(0) => {
                rest.fill(0);
                return Ok(());
            }
            Ok(read) => {
                rest = &mut rest[read..];
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn take_pin(pin: &Connection) -> rusqlite::Result<()> {
    pin.execute_batch("begin; select count(*) from sqlite_schema")
}

/// Frames in the log, and those of them that are in the file.
fn checkpoint(keeper: &Connection, mode: &str) -> rusqlite::Result<(u64, u64)> {
    keeper.query_row(&format!("pragma wal_checkpoint({mode})"), [], |row| {
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        Ok((count(row.get(1)?), count(row.get(2)?)))
    })
}
