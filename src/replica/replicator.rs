//! The thread that captures and the task that uploads, from the start of a server to its stop.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::capture::{self, Capture};
use super::ltx::{Header, Txid};
use super::object::{self, Body, Meta, ObjectStore};
use super::source::Source;
use super::spool::{self, Spool, Waiting};
use crate::clock::Clock;
use crate::id;

/// Frames after which the log is copied back.
const CHECKPOINT_FRAMES: u64 = 4000;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// How often other programs' commits are looked for, which ring no bell.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How a database is replicated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Beside the database, on the same disk
    pub spool: PathBuf,
    /// At most one object in this time, once the first is on its way
    pub sync_interval: Duration,
    /// Bytes that may wait in the spool while the store is away; never less than 1.2 databases
    pub spool_bytes: u64,
}

/// How far things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub captured: Txid,
    pub replicated: Txid,
}

/// Rung by the writer after each commit.
#[derive(Default)]
pub struct Bell {
    commits: AtomicU64,
    asleep: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    pub fn ring(&self) {
        self.commits.fetch_add(1, Ordering::Release);
        if *self.asleep.lock().unwrap_or_else(PoisonError::into_inner) {
            self.wake.notify_all();
        }
    }

    /// Waits for a commit beyond `seen`, for as long as `longest`.
    fn wait(&self, seen: u64, longest: Duration) {
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        if self.commits.load(Ordering::Acquire) == seen {
            *asleep = true;
            let still = |_: &mut bool| self.commits.load(Ordering::Acquire) == seen;
            asleep = self.wake.wait_timeout_while(asleep, longest, still).unwrap_or_else(PoisonError::into_inner).0;
            *asleep = false;
        }
    }
}

/// A running replication.
pub struct Replicator {
    bell: Arc<Bell>,
    stop: watch::Sender<bool>,
    finish: watch::Sender<bool>,
    capturer: thread::JoinHandle<()>,
    uploader: tokio::task::JoinHandle<()>,
    progress: watch::Receiver<Progress>,
}

impl Replicator {
    /// Takes up the history in the spool, or begins a new one with a snapshot, and follows `source`.
    ///
    /// The capture has hold of the log when this returns. Nothing may be written before.
    pub fn start(
        source: Arc<dyn Source>,
        bell: Arc<Bell>,
        store: Arc<dyn ObjectStore>,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Replicator, capture::Error> {
        let mut capture = Capture::open(source)?;
        let spool = take_up(&mut capture, &settings, &*clock)?;
        let store = store.at(spool.lineage());
        let (news, progress) = watch::channel(Progress { captured: spool.txid(), replicated: Txid(0) });
        let (stop, stopping) = watch::channel(false);
        let (finish, finishing) = watch::channel(false);
        let news = Arc::new(news);
        let begun = Begun::default();
        let upload =
            Upload { folder: settings.spool.clone(), store, news: Arc::clone(&news), begun: Arc::clone(&begun) };
        let uploader = tokio::spawn(upload.run(finishing));
        let mut follower = Follower { capture, spool, bell: Arc::clone(&bell), news, begun, stopping, clock, settings };
        let capturer = thread::Builder::new().name("replica".into()).spawn(move || follower.run())?;
        Ok(Replicator { bell, stop, finish, capturer, uploader, progress })
    }

    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Captures and uploads what is left. When it returns, the log is let go.
    ///
    /// Progress says whether all of it arrived before `enough`; what did not waits in the spool.
    pub async fn stop(self, enough: impl Future<Output = ()>) -> Progress {
        let Replicator { bell, stop, finish, capturer, uploader, progress } = self;
        stop.send_replace(true);
        bell.ring();
        if tokio::task::spawn_blocking(move || capturer.join()).await.is_err() {
            tracing::error!("the capture ended in a panic");
        }
        // Only now is it known what the last upload is.
        finish.send_replace(true);
        let aborter = uploader.abort_handle();
        tokio::select! {
            _ = uploader => {}
            () = enough => aborter.abort(),
        }
        *progress.borrow()
    }
}

struct Follower {
    capture: Capture,
    spool: Spool,
    bell: Arc<Bell>,
    news: Arc<watch::Sender<Progress>>,
    begun: Begun,
    stopping: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl Follower {
    fn run(&mut self) {
        let mut seen = u64::MAX;
        let mut kept_at: Option<Instant> = None;
        let (mut copied_at, mut changed) = (Instant::now(), false);
        loop {
            self.bell.wait(seen, LOOK_EVERY);
            let is_last = *self.stopping.borrow();
            let pause = kept_at.map_or(Duration::ZERO, |at| self.settings.sync_interval.saturating_sub(at.elapsed()));
            if !is_last && !pause.is_zero() {
                self.pause(pause);
            }
            seen = self.bell.commits.load(Ordering::Acquire);
            match self.turn(&mut copied_at, &mut changed) {
                Ok(true) => kept_at = Some(Instant::now()),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(cause = chain(&error), "the database is not replicated at the moment: {error}");
                    if !is_last {
                        self.pause(RETRY_AFTER);
                        seen = u64::MAX;
                    }
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// Sleeps, but not past the stop.
    fn pause(&self, longest: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        let end = Instant::now() + longest;
        while !*self.stopping.borrow() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(STEP));
        }
    }

    fn turn(&mut self, copied_at: &mut Instant, changed: &mut bool) -> Result<bool, capture::Error> {
        let before = self.spool.txid();
        let now_ms = self.clock.now().as_millis();
        if let Some(sent) = self.spool.needs_baseline()
            && sent <= self.news.borrow().replicated
        {
            tracing::info!("the object store is back; the whole database is captured anew");
            image(&mut self.capture, &mut self.spool, now_ms)?;
        }
        let Follower { capture, spool, .. } = self;
        let captured = capture.capture(&mut |reading| keep(spool, reading, now_ms));
        match captured {
            Err(capture::Error::Lost(why)) => {
                tracing::error!(%why, "changes were missed; the whole database is captured anew");
                match spool.needs_baseline() {
                    None => image(capture, spool, now_ms)?,
                    // The image waits for the store; until then the log is only followed.
                    Some(_) => capture.image(&mut |_, _| Ok(()), &mut |_, _| Ok(()))?,
                }
            }
            result => *changed |= result?,
        }
        let is_due = *changed && CHECKPOINT_EVERY <= copied_at.elapsed();
        if is_due || CHECKPOINT_FRAMES <= self.capture.position().frames {
            let Follower { capture, spool, .. } = self;
            let copied = capture.checkpoint(&mut |reading| keep(spool, reading, now_ms))?;
            (*copied_at, *changed) = (Instant::now(), !copied.is_whole);
        }
        self.bound_spool()?;
        let txid = self.spool.txid();
        self.news.send_if_modified(|progress| std::mem::replace(&mut progress.captured, txid) != txid);
        Ok(before != txid)
    }

    /// Gives up what cannot be sent before it fills the disk.
    fn bound_spool(&mut self) -> Result<(), capture::Error> {
        let database = u64::from(self.capture.pages()) * u64::from(self.capture.page_size());
        let most = self.settings.spool_bytes.max(database.saturating_add(database / 5));
        if self.spool.needs_baseline().is_some() || !self.spool.is_over(most).map_err(spool::sink)? {
            return Ok(());
        }
        // Nothing new is begun while files go.
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.spool.drop_unsent(*begun).map_err(spool::sink)?;
        if files > 0 {
            tracing::error!(
                files,
                spool = %self.settings.spool.display(),
                most,
                "the spool is full: what waited was dropped; once the object store is back, the whole database goes up anew"
            );
        }
        Ok(())
    }
}

/// Keeps what was captured, unless only a baseline helps, which is made once the store is back.
fn keep(spool: &mut Spool, reading: &capture::Reading<'_>, now_ms: i64) -> Result<(), capture::Error> {
    match spool.needs_baseline() {
        None => spool.keep(reading, now_ms).map(|_| ()),
        Some(_) => Ok(()),
    }
}

fn take_up(capture: &mut Capture, settings: &Settings, clock: &dyn Clock) -> Result<Spool, capture::Error> {
    let now_ms = clock.now().as_millis();
    let kept = Spool::open(&settings.spool).unwrap_or_else(|error| {
        tracing::error!(cause = chain(&error), "the spool is not to be used; a new history begins: {error}");
        None
    });
    let kept = match kept {
        Some(spool) if spool.needs_baseline().is_some() => {
            tracing::error!("transactions were dropped from a full spool: the whole database goes up anew");
            return Ok(spool);
        }
        kept => kept,
    };
    if let Some(mut spool) = kept
        && let Some((position, pages)) = spool.position()
    {
        match capture.resume(position, pages) {
            Ok(()) => return Ok(spool),
            Err(capture::Error::Lost(why)) => {
                tracing::warn!(%why, "the database changed unseen; it is captured anew");
                image(capture, &mut spool, now_ms)?;
                return Ok(spool);
            }
            Err(error) => return Err(error),
        }
    }
    let mut spool = Spool::begin(&settings.spool, &lineage(now_ms)).map_err(spool::sink)?;
    image(capture, &mut spool, now_ms)?;
    // Level 0 must never be empty: its newest file is where a continuation takes its number from.
    first_of_level_0(capture, &mut spool, now_ms)?;
    Ok(spool)
}

/// A name that no other history has.
fn lineage(now_ms: i64) -> String {
    ulid::Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), u128::from_le_bytes(id::random())).to_string()
}

/// Keeps every page of the database as the next transaction.
fn image(capture: &mut Capture, spool: &mut Spool, now_ms: i64) -> Result<(), capture::Error> {
    let page_size = capture.page_size();
    let draft = std::cell::RefCell::new(None);
    let shared = std::cell::RefCell::new(&mut *spool);
    capture.image(
        &mut |pages, position| {
            let header: Header = shared.borrow().next(page_size, pages, position, position, now_ms);
            draft.replace(Some(shared.borrow().draft(header).map_err(spool::sink)?));
            Ok(())
        },
        &mut |pgno, page| match draft.borrow_mut().as_mut() {
            Some(draft) => draft.page(pgno, page).map_err(spool::sink),
            None => Ok(()),
        },
    )?;
    if let Some(draft) = draft.into_inner() {
        spool.finish(draft).map_err(spool::sink)?;
    }
    Ok(())
}

fn first_of_level_0(capture: &mut Capture, spool: &mut Spool, now_ms: i64) -> Result<(), capture::Error> {
    let position = capture.position();
    let (pages, first) = capture.first_page()?;
    let header = spool.next(capture.page_size(), pages, position, position, now_ms);
    let mut draft = spool.draft(header).map_err(spool::sink)?;
    draft.page(1, &first).map_err(spool::sink)?;
    spool.finish(draft).map_err(spool::sink)?;
    Ok(())
}

/// The last transaction whose upload was begun.
type Begun = Arc<Mutex<Txid>>;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

struct Upload {
    folder: PathBuf,
    store: Arc<dyn ObjectStore>,
    news: Arc<watch::Sender<Progress>>,
    begun: Begun,
}

impl Upload {
    /// Uploads what is in the spool, in order, until it is empty and a stop is asked for.
    async fn run(self, mut finishing: watch::Receiver<bool>) {
        let mut changes = self.news.subscribe();
        let mut wait = BACKOFF_FIRST;
        loop {
            // With the stop the capture has ended: what is in the spool then is all.
            let is_last = *finishing.borrow_and_update();
            changes.borrow_and_update();
            match self.all().await {
                Ok(()) if is_last => return,
                Ok(()) => wait = BACKOFF_FIRST,
                Err(error) => {
                    tracing::warn!(cause = chain(&*error), "an upload failed: {error}");
                    tokio::select! {
                        () = tokio::time::sleep(jitter(wait)) => wait = (wait * 2).min(BACKOFF_MAX),
                        // A stop does not sit out a wait that may be long: it tries at once.
                        changed = finishing.changed() => match changed {
                            Ok(()) => wait = BACKOFF_FIRST,
                            Err(_) => return,
                        },
                    }
                    continue;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                changed = finishing.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn all(&self) -> Result<(), Boxed> {
        let folder = self.folder.clone();
        let waiting = tokio::task::spawn_blocking(move || spool::waiting(&folder)).await??;
        let newest = waiting.last().map(|newest| newest.path.clone());
        for one in waiting {
            if self.news.borrow().replicated < one.name.max {
                if !self.begin(&one) {
                    return Ok(());
                }
                self.put(&one).await?;
                self.news.send_modify(|progress| progress.replicated = one.name.max);
            }
            // The newest stays: it says where the log was left.
            if newest.as_ref() != Some(&one.path) {
                tokio::fs::remove_file(&one.path).await?;
            }
        }
        Ok(())
    }

    /// Whether the file is still there; from now on it is not dropped.
    fn begin(&self, one: &Waiting) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = one.path.exists();
        if is_there {
            *begun = one.name.max;
        }
        is_there
    }

    async fn put(&self, one: &Waiting) -> Result<(), object::Error> {
        let key = format!("{}{}", self.store.level_prefix(one.level), one.name);
        let meta = Meta { timestamp_ms: one.timestamp_ms, ..Meta::default() };
        self.store.put(&key, Body::File(one.path.clone()), &meta).await
    }
}

/// A random part of the wait, so that many do not come again at once.
fn jitter(wait: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without randomness everybody waits the whole time, which is no worse than late.
    let part = getrandom::fill(&mut bytes).map_or(1.0, |()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX));
    wait.mul_f64(part)
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
