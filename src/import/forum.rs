//! Brings the threads and posts of a forum.db over, all of them or none.
//!
//! Numbers stand in people's notes: a thread keeps its number where that is free. Posts are
//! numbered anew, since a thread's first post had no number there; `forum_imports` and the
//! report say which became which.
//!
//! Nothing comes twice. A row is known again by its number and the digest of its author, time
//! and text. A file of which nothing is known comes over whole; one that has grown since brings
//! what is new; one in which a known number has another text beside rows that are known is
//! refused, since it cannot be told what of it is here already.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, params};

pub use super::forum_report::{Counts, Problem, Renumbered, Report};
use super::forum_source::{self, Moment, Source, SourcePost, SourceThread};
use crate::app::{App, Caller, Event};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id;
use crate::store::Store;
use crate::store::audit::{self, Record};
use crate::store::forum_words;

/// What the gate would say of an author, had it been there.
pub const VERIFIED: &str = "import:forum";

/// Above this a number is not kept, so that the numbers after it stay short.
const KEPT_ID_MAX: i64 = i32::MAX as i64;
const TITLE_CHARS: usize = 200;
const AUTHOR_CHARS: usize = 64;

/// Whether to write, or only to say what would be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    DryRun,
    Write,
}

/// Imports the file in one transaction, with its row in the audit chain.
pub async fn import_forum(app: &App, caller: &Caller, source: &Path, mode: Mode) -> Result<Report> {
    let source = read(&app.store, source.to_owned()).await?;
    let now = app.clock.now();
    if mode == Mode::DryRun {
        return app.store.read(move |conn| Ok(Plan::make(conn, source, now)?.report)).await;
    }
    let key = app.keys.audit.clone();
    let mut record = Record {
        at: now,
        call_id: id::call_id(),
        principal: caller.principal.clone(),
        door: caller.door.word().to_owned(),
        tool: "import_forum".to_owned(),
        phase: "outcome",
        decision: "ok".to_owned(),
        ..Record::default()
    };
    let report = app
        .store
        .write(move |tx| {
            let mut plan = Plan::make(tx, source, now)?;
            plan.apply(tx)?;
            plan.report.written = true;
            let Report { threads, posts, .. } = &plan.report;
            record.reason = Some(format!("{} threads, {} posts", threads.imported, posts.imported));
            audit::append(tx, &key, &record)?;
            Ok(plan.report)
        })
        .await?;
    for event in [Event::ListChanged, Event::Changed { uri: "hearth://forum".to_owned() }] {
        // Without watchers there is nobody to tell.
        let _ = app.events.send(event);
    }
    Ok(report)
}

async fn read(store: &Store, path: PathBuf) -> Result<Source> {
    let file = std::fs::metadata(&path)
        .map_err(|error| Error::invalid("file", format_args!("cannot open {}: {error}", path.display())))?;
    // Opening and closing our own file a second time would drop the locks that the store holds on it.
    let own = std::fs::metadata(store.path()).map_err(Error::internal)?;
    if (file.dev(), file.ino()) == (own.dev(), own.ino()) {
        return Err(Error::invalid("file", format_args!("{} is the database of this hearth", path.display())));
    }
    tokio::task::spawn_blocking(move || forum_source::read(&path)).await.map_err(Error::internal)?
}

/// What is going to be written, with every number decided.
struct Plan {
    threads: Vec<NewThread>,
    /// In the order in which they are numbered.
    posts: Vec<NewPost>,
    report: Report,
}

struct NewThread {
    old_id: i64,
    digest: [u8; 32],
    thread_id: i64,
    title: String,
    author: String,
    created_at: Timestamp,
    last_activity_at: Timestamp,
}

struct NewPost {
    /// `None` for the first post of a thread, which had no number.
    old_id: Option<i64>,
    digest: [u8; 32],
    post_id: i64,
    thread_id: i64,
    body: String,
    author: String,
    old_quote: Option<i64>,
    quote_post_id: Option<i64>,
    created_at: Timestamp,
}

const THREAD: &str = "thread";
const POST: &str = "post";

const KNOWN: &str = "select old_id, digest, new_id from forum_imports where kind = ?1";
const NOTE: &str = "insert into forum_imports (kind, old_id, digest, new_id) values (?1, ?2, ?3, ?4)";
const TAKEN: &str = "select 1 from threads where thread_id = ?1";
const LAST_THREAD: &str = "select max(coalesce((select max(thread_id) from threads), 0),
                                      coalesce((select seq from sqlite_sequence where name = 'threads'), 0))";
const LAST_POST: &str = "select max(coalesce((select max(post_id) from posts), 0),
                                    coalesce((select seq from sqlite_sequence where name = 'posts'), 0))";
const INSERT_THREAD: &str = "insert into threads
        (thread_id, title, author, verified, created_at, last_activity_at, last_author)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?3)";
const INSERT_POST: &str = "insert into posts (post_id, thread_id, author, verified, body, created_at)
                           values (?1, ?2, ?3, ?4, ?5, ?6)";
const COUNT_POST: &str = "update threads set posts = posts + 1, last_activity_at = max(last_activity_at, ?2),
                                             last_author = ?3 where thread_id = ?1";
const QUOTE: &str = "update posts set quote_post_id = ?2 where post_id = ?1";

impl Plan {
    fn make(conn: &Connection, source: Source, now: Timestamp) -> Result<Plan> {
        let mut draft = Draft { known: read_known(conn)?, ..Draft::default() };
        draft.report.extra_columns = source.extra_columns;
        draft.report.other_tables = source.other_tables;
        draft.take_threads(source.threads, &source.posts, now);
        draft.take_posts(source.posts);
        draft.refuse_a_mix()?;
        draft.number_threads(conn)?;
        draft.number_posts(conn)?;
        draft.resolve_quotes();
        Ok(Plan { threads: draft.threads, posts: draft.posts, report: draft.report })
    }

    fn apply(&self, tx: &Transaction<'_>) -> Result<()> {
        let mut note = tx.prepare_cached(NOTE)?;
        for thread in &self.threads {
            tx.prepare_cached(INSERT_THREAD)?.execute(params![
                thread.thread_id,
                thread.title,
                thread.author,
                VERIFIED,
                thread.created_at,
                thread.last_activity_at,
            ])?;
            forum_words::add(tx, &[&thread.title])?;
            note.execute(params![THREAD, thread.old_id, thread.digest, thread.thread_id])?;
        }
        for post in &self.posts {
            tx.prepare_cached(INSERT_POST)?.execute(params![
                post.post_id,
                post.thread_id,
                post.author,
                VERIFIED,
                post.body,
                post.created_at
            ])?;
            tx.prepare_cached(COUNT_POST)?.execute(params![post.thread_id, post.created_at, post.author])?;
            forum_words::add(tx, &[&post.author, &post.body])?;
            if let Some(old_id) = post.old_id {
                note.execute(params![POST, old_id, post.digest, post.post_id])?;
            }
        }
        // A post may quote a later one, so all of them are there before the first quote is set.
        for post in &self.posts {
            if let Some(quoted) = post.quote_post_id {
                tx.prepare_cached(QUOTE)?.execute([post.post_id, quoted])?;
            }
        }
        Ok(())
    }
}

/// What came before, by kind and number: its digest and its number here.
type Known = HashMap<(&'static str, i64), Vec<([u8; 32], i64)>>;

fn read_known(conn: &Connection) -> Result<Known> {
    let mut known = Known::new();
    let mut statement = conn.prepare_cached(KNOWN)?;
    for kind in [THREAD, POST] {
        let mut rows = statement.query([kind])?;
        while let Some(row) = rows.next()? {
            known.entry((kind, row.get(0)?)).or_default().push((row.get(1)?, row.get(2)?));
        }
    }
    Ok(known)
}

#[derive(Default)]
struct Draft {
    known: Known,
    threads: Vec<NewThread>,
    posts: Vec<NewPost>,
    report: Report,
    /// Threads and posts that are here, or are going to be: the number there, the number here.
    thread_ids: HashMap<i64, i64>,
    post_ids: HashMap<i64, i64>,
    /// The newest time so far in each thread, by its number there.
    newest: HashMap<i64, Timestamp>,
    /// The first row whose number came before, with another text.
    changed: Option<(&'static str, i64)>,
}

impl Draft {
    fn take_threads(&mut self, threads: Vec<SourceThread>, posts: &[SourcePost], now: Timestamp) {
        let mut first_reply: HashMap<i64, Timestamp> = HashMap::new();
        for post in posts {
            if let Some(at) = post.created_at.at {
                first_reply.entry(post.thread_id).or_insert(at);
            }
        }
        let mut seen = BTreeSet::new();
        for row in threads {
            self.report.threads.read += 1;
            if !seen.insert(row.id) {
                self.skip("threads", row.id, "its number comes twice; only the first row is taken");
                self.report.threads.skipped += 1;
                continue;
            }
            let digest = digest(&[&row.title, &row.body, &row.author, &row.created_at.text]);
            let told = row.created_at.at.or(row.updated_at.at).or(first_reply.get(&row.id).copied());
            let created_at = told.unwrap_or(now);
            self.newest.insert(row.id, created_at);
            if let Some(here) = self.known(THREAD, row.id, &digest) {
                self.thread_ids.insert(row.id, here);
                self.report.threads.known += 1;
                continue;
            }
            let taken = told.map_or_else(|| "the time of the import".to_owned(), |at| at.to_string());
            self.note_time("threads", row.id, &row.created_at, &taken);
            if row.updated_at.at.is_none() && !row.updated_at.text.is_empty() {
                self.problem("threads", row.id, format!("updated_at is no time: {}", shown(&row.updated_at.text)));
            }
            let title = self.line("threads", row.id, "title", &row.title, TITLE_CHARS, "(untitled)");
            let author = self.line("threads", row.id, "author", &row.author, AUTHOR_CHARS, "unknown");
            self.posts.push(NewPost {
                old_id: None,
                digest,
                post_id: 0,
                thread_id: row.id,
                body: row.body,
                author: author.clone(),
                old_quote: None,
                quote_post_id: None,
                created_at,
            });
            self.threads.push(NewThread {
                old_id: row.id,
                digest,
                thread_id: 0,
                title,
                author,
                created_at,
                last_activity_at: row.updated_at.at.unwrap_or(created_at).max(created_at),
            });
            self.report.threads.imported += 1;
        }
    }

    fn take_posts(&mut self, posts: Vec<SourcePost>) {
        let mut seen = BTreeSet::new();
        for row in posts {
            self.report.posts.read += 1;
            let Some(&newest) = self.newest.get(&row.thread_id) else {
                self.skip("posts", row.id, &format!("its thread {} is not there", row.thread_id));
                self.report.posts.skipped += 1;
                continue;
            };
            if !seen.insert(row.id) {
                self.skip("posts", row.id, "its number comes twice; only the first row is taken");
                self.report.posts.skipped += 1;
                continue;
            }
            let thread = row.thread_id.to_string();
            let digest = digest(&[&thread, &row.body, &row.author, &row.created_at.text]);
            let created_at = row.created_at.at.unwrap_or(newest);
            self.newest.insert(row.thread_id, newest.max(created_at));
            if let Some(here) = self.known(POST, row.id, &digest) {
                self.post_ids.insert(row.id, here);
                self.report.posts.known += 1;
                continue;
            }
            self.note_time("posts", row.id, &row.created_at, "that of the post before it");
            let author = self.line("posts", row.id, "author", &row.author, AUTHOR_CHARS, "unknown");
            self.posts.push(NewPost {
                old_id: Some(row.id),
                digest,
                post_id: 0,
                thread_id: row.thread_id,
                body: row.body,
                author,
                old_quote: row.quote_post_id,
                quote_post_id: None,
                created_at,
            });
            self.report.posts.imported += 1;
        }
    }

    /// The number that a row has here, if it came before.
    fn known(&mut self, kind: &'static str, id: i64, digest: &[u8; 32]) -> Option<i64> {
        let earlier = self.known.get(&(kind, id))?;
        let here = earlier.iter().find(|(text, _)| text == digest).map(|(_, here)| *here);
        if here.is_none() && self.changed.is_none() {
            self.changed = Some((kind, id));
        }
        here
    }

    fn refuse_a_mix(&self) -> Result<()> {
        let known = self.report.threads.known + self.report.posts.known;
        match self.changed {
            Some((kind, id)) if known != 0 => Err(Error::conflict(format_args!(
                "{known} threads and posts of this file came over before, but {kind} {id} came with another text; nothing was written"
            ))
            .with_hint("import the file as it was, or take the rows that are here already out of a copy of it")),
            _ => Ok(()),
        }
    }

    fn number_threads(&mut self, conn: &Connection) -> Result<()> {
        let mut taken = conn.prepare_cached(TAKEN)?;
        let mut last: i64 = conn.query_row(LAST_THREAD, [], |row| row.get(0))?;
        let mut free = BTreeSet::new();
        for thread in &self.threads {
            let id = thread.old_id;
            if (1..=KEPT_ID_MAX).contains(&id) && !taken.exists([id])? {
                free.insert(id);
                last = last.max(id);
            }
        }
        for thread in &mut self.threads {
            thread.thread_id = thread.old_id;
            if !free.contains(&thread.old_id) {
                last += 1;
                thread.thread_id = last;
                self.report.renumbered_threads.push(Renumbered { old: thread.old_id, new: last });
            }
            self.thread_ids.insert(thread.old_id, thread.thread_id);
        }
        Ok(())
    }

    /// By time, as far as each thread keeps its order: newer posts have higher numbers.
    fn number_posts(&mut self, conn: &Connection) -> Result<()> {
        let mut newest: BTreeMap<i64, Timestamp> = BTreeMap::new();
        let mut order: Vec<(Timestamp, usize)> = Vec::with_capacity(self.posts.len());
        for (index, post) in self.posts.iter().enumerate() {
            let at = newest.entry(post.thread_id).or_insert(post.created_at);
            *at = post.created_at.max(*at);
            order.push((*at, index));
        }
        order.sort();
        let mut last: i64 = conn.query_row(LAST_POST, [], |row| row.get(0))?;
        for (_, index) in &order {
            let post = &mut self.posts[*index];
            last += 1;
            post.post_id = last;
            post.thread_id = self.thread_ids[&post.thread_id];
            if let Some(old) = post.old_id {
                self.post_ids.insert(old, last);
                self.report.renumbered_posts.push(Renumbered { old, new: last });
            }
        }
        self.posts.sort_by_key(|post| post.post_id);
        self.report.renumbered_posts.sort();
        Ok(())
    }

    fn resolve_quotes(&mut self) {
        let mut lost = Vec::new();
        for post in &mut self.posts {
            let (Some(old_id), Some(quoted)) = (post.old_id, post.old_quote) else { continue };
            post.quote_post_id = self.post_ids.get(&quoted).copied();
            if post.quote_post_id.is_none() {
                lost.push((old_id, quoted));
            }
        }
        for (id, quoted) in lost {
            self.problem("posts", id, format!("it quotes post {quoted}, which is not there; the quote is left out"));
        }
    }

    fn note_time(&mut self, table: &'static str, id: i64, created_at: &Moment, taken: &str) {
        if created_at.at.is_none() {
            self.problem(table, id, format!("created_at is no time: {}; taken as {taken}", shown(&created_at.text)));
        }
    }

    /// A text as one line of bounded length.
    fn line(&mut self, table: &'static str, id: i64, column: &str, text: &str, max: usize, empty: &str) -> String {
        let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let plain = plain.trim();
        if plain.is_empty() {
            self.problem(table, id, format!("{column} is empty; taken as {empty}"));
            return empty.to_owned();
        }
        if plain.chars().nth(max).is_some() {
            self.problem(table, id, format!("{column} has over {max} characters and is cut: {}", shown(plain)));
            return plain.chars().take(max - 1).chain(['…']).collect();
        }
        plain.to_owned()
    }

    fn skip(&mut self, table: &'static str, id: i64, why: &str) {
        self.problem(table, id, format!("left out: {why}"));
    }

    fn problem(&mut self, table: &'static str, id: i64, what: String) {
        self.report.problems.push(Problem { table, id, what });
    }
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("`{}`", short.escape_debug())
}

/// Of the parts with their lengths, so that none runs into the next.
fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
