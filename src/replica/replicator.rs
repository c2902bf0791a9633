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
        let uploader = tokio::spawn(upload(settings.spool.clone(), store, Arc::clone(&news), finishing));
        let mut follower = Follower { capture, spool, bell: Arc::clone(&bell), news, stopping, clock, settings };
        let capturer = thread::Builder::new().name("replica".into()).spawn(move || follower.run())?;
        Ok(Replicator { bell, stop, finish, capturer, uploader, progress })
    }

    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Captures and uploads what is left. When it returns, the log is let go.
    ///
    /// Progress says whether all of it arrived within `longest`; what did not waits in the spool.
    pub async fn stop(self, longest: Duration) -> Progress {
        let Replicator { bell, stop, finish, capturer, uploader, progress } = self;
        stop.send_replace(true);
        bell.ring();
        if tokio::task::spawn_blocking(move || capturer.join()).await.is_err() {
            tracing::error!("the capture ended in a panic");
        }
        // Only now is it known what the last upload is.
        finish.send_replace(true);
        let aborter = uploader.abort_handle();
        if tokio::time::timeout(longest, uploader).await.is_err() {
            aborter.abort();
        }
        *progress.borrow()
    }
}

struct Follower {
    capture: Capture,
    spool: Spool,
    bell: Arc<Bell>,
    news: Arc<watch::Sender<Progress>>,
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
        let Follower { capture, spool, .. } = self;
        let captured = capture.capture(&mut |reading| spool.keep(reading, now_ms).map(|_| ()));
        match captured {
            Err(capture::Error::Lost(why)) => {
                tracing::error!(%why, "changes were missed; the whole database is captured anew");
                image(capture, spool, now_ms)?;
            }
            result => *changed |= result?,
        }
        let is_due = *changed && CHECKPOINT_EVERY <= copied_at.elapsed();
        if is_due || CHECKPOINT_FRAMES <= self.capture.position().frames {
            let Follower { capture, spool, .. } = self;
            let copied = capture.checkpoint(&mut |reading| spool.keep(reading, now_ms).map(|_| ()))?;
            (*copied_at, *changed) = (Instant::now(), !copied.is_whole);
        }
        let txid = self.spool.txid();
        self.news.send_if_modified(|progress| std::mem::replace(&mut progress.captured, txid) != txid);
        Ok(before != txid)
    }
}

fn take_up(capture: &mut Capture, settings: &Settings, clock: &dyn Clock) -> Result<Spool, capture::Error> {
    let now_ms = clock.now().as_millis();
    let kept = Spool::open(&settings.spool).unwrap_or_else(|error| {
        tracing::error!(cause = chain(&error), "the spool is not to be used; a new history begins: {error}");
        None
    });
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
    let mut bytes = [0; 16];
    // The operating system's generator failing leaves nothing to fall back on.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    ulid::Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), u128::from_le_bytes(bytes)).to_string()
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

/// Uploads what is in the spool, in order, until it is empty and a stop is asked for.
async fn upload(
    folder: PathBuf,
    store: Arc<dyn ObjectStore>,
    news: Arc<watch::Sender<Progress>>,
    mut finishing: watch::Receiver<bool>,
) {
    let mut changes = news.subscribe();
    let mut wait = BACKOFF_FIRST;
    loop {
        let is_last = *finishing.borrow();
        let captured = changes.borrow_and_update().captured;
        match upload_all(&folder, &*store, &news).await {
            Ok(()) => wait = BACKOFF_FIRST,
            Err(error) => {
                tracing::warn!(cause = chain(&*error), "an upload failed: {error}");
                tokio::time::sleep(jitter(wait)).await;
                wait = (wait * 2).min(BACKOFF_MAX);
                continue;
            }
        }
        let replicated = news.borrow().replicated;
        if is_last && captured <= replicated && news.borrow().captured <= replicated {
            return;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            changed = finishing.changed(), if !is_last => if changed.is_err() { return },
        }
    }
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

async fn upload_all(
    folder: &std::path::Path,
    store: &dyn ObjectStore,
    news: &watch::Sender<Progress>,
) -> Result<(), Boxed> {
    let waiting = {
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || spool::waiting(&folder)).await??
    };
    let newest = waiting.last().map(|newest| newest.path.clone());
    for one in waiting {
        if news.borrow().replicated < one.name.max {
            put(store, &one).await?;
            news.send_modify(|progress| progress.replicated = one.name.max);
        }
        // The newest stays: it says where the log was left.
        if newest.as_ref() != Some(&one.path) {
            tokio::fs::remove_file(&one.path).await?;
        }
    }
    Ok(())
}

async fn put(store: &dyn ObjectStore, one: &Waiting) -> Result<(), object::Error> {
    let key = format!("{}{}", store.level_prefix(one.level), one.name);
    let meta = Meta { timestamp_ms: one.timestamp_ms, ..Meta::default() };
    store.put(&key, Body::File(one.path.clone()), &meta).await
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
