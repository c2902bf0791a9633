//! Bringing a forum.db over.

use std::path::{Path, PathBuf};

use hearth::clock::Timestamp;
use hearth::error::Code;
use hearth::import::forum::{Mode, Renumbered, Report, import_forum};
use hearth::page::Limit;
use hearth::store::connection::APPLICATION_ID;
use hearth::store::forum::{self, Post, Signature, Thread};
use hearth::store::forum_search::{self, Within};
use hearth::store::migrate::SCHEMA;
use rusqlite::Connection;
use serde_json::json;

use crate::support::{TestApp, person};

const OLD_SCHEMA: &str = "
    create table threads (
        id integer primary key autoincrement, title text, body text, author text, created_at text, updated_at text);
    create table posts (
        id integer primary key autoincrement, thread_id integer references threads(id) on delete cascade, body text,
        author text, quote_post_id integer references posts(id) on delete set null, created_at text);";

struct Home(TestApp);

impl Home {
    fn open() -> Home {
        Home(TestApp::new())
    }

    fn folder(&self) -> &Path {
        self.0.dir.path()
    }

    /// An old forum with these rows.
    fn old(&self, rows: &str) -> PathBuf {
        let path = self.folder().join("forum %?#.db");
        let _ = std::fs::remove_file(&path);
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        db.execute_batch(OLD_SCHEMA).unwrap();
        db.execute_batch(rows).unwrap();
        path
    }

    async fn import(&self, path: &Path, mode: Mode) -> Result<Report, hearth::error::Error> {
        import_forum(&self.0.app, &person(), path, mode).await
    }

    async fn count(&self) -> (i64, i64) {
        self.0
            .app
            .store
            .read(|conn| {
                let counts = "select (select count(*) from threads), (select count(*) from posts)";
                Ok(conn.query_row(counts, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
            })
            .await
            .unwrap()
    }

    async fn thread(&self, thread_id: i64) -> (Thread, Vec<Post>) {
        self.0
            .app
            .store
            .read(move |conn| {
                let posts = forum::posts(conn, thread_id, Limit::default(), None)?;
                Ok((forum::thread(conn, thread_id)?, posts.items))
            })
            .await
            .unwrap()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const PLAIN: &str = "
    insert into threads values
        (3, 'Backups', 'Where to?', 'mira', '2026-01-05T09:12:33.123456+00:00', '2026-01-06T10:00:00.000000+00:00'),
        (7, 'Router', 'It reboots.', 'jo', '2025-11-02 08:00:00', '2026-01-07T12:00:00+02:00');
    insert into posts values
        (1, 3, 'To the NAS.', 'jo', null, '2026-01-05T10:00:00+00:00'),
        (2, 7, 'Heat?', 'mira', 4, '2026-01-07T09:00:00+00:00'),
        (4, 3, 'Encrypted, please', 'mira', 1, '2026-01-06T10:00:00.000000+00:00'),
        (5, 7, 'As in the other thread', 'jo', 1, '2026-01-07T10:00:00+00:00');";

#[tokio::test]
async fn threads_keep_their_numbers_and_quotes_their_posts() {
    let home = Home::open();
    let report = home.import(&home.old(PLAIN), Mode::Write).await.unwrap();
    assert!(report.written && report.problems.is_empty() && report.renumbered_threads.is_empty(), "{report}");
    assert_eq!((report.threads.imported, report.posts.imported), (2, 4));

    let (thread, posts) = home.thread(3).await;
    assert_eq!((thread.title.as_str(), thread.author.as_str(), thread.posts), ("Backups", "mira", 3));
    assert_eq!(thread.verified, "import:forum");
    assert_eq!(thread.created_at, at("2026-01-05T09:12:33.123Z"));
    assert_eq!((thread.last_activity_at, thread.last_author.as_str()), (at("2026-01-06T10:00:00Z"), "mira"));
    let bodies: Vec<_> = posts.iter().map(|post| post.body.as_str()).collect();
    assert_eq!(bodies, ["Where to?", "To the NAS.", "Encrypted, please"]);
    assert_eq!(posts[2].quote.as_ref().unwrap().text, "To the NAS.");

    let (thread, posts) = home.thread(7).await;
    assert_eq!(thread.created_at, at("2025-11-02T08:00:00Z"));
    assert_eq!(posts[2].quote.as_ref().unwrap().thread_id, 3);
    assert_eq!(posts[1].quote.as_ref().unwrap().text, "Encrypted, please", "quotes forward too");
    assert_eq!(report.renumbered_posts.iter().map(|post| post.old).collect::<Vec<_>>(), [1, 2, 4, 5]);
    let quoted = report.renumbered_posts[2].new;
    assert_eq!(posts[1].quote.as_ref().unwrap().post_id, quoted);

    let found = home
        .0
        .app
        .store
        .read(|conn| forum_search::search(conn, "nas", Within::Body, Limit::default(), None))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_writes_nothing() {
    let home = Home::open();
    let old = home.old(PLAIN);
    let dry = home.import(&old, Mode::DryRun).await.unwrap();
    assert_eq!(home.count().await, (0, 0));
    assert!(dry.to_string().starts_with("would import 2 threads and 4 posts\n"), "{dry}");
    let wet = home.import(&old, Mode::Write).await.unwrap();
    assert_eq!(wet, Report { written: true, ..dry });
    let audit = home.0.ok(&person(), "audit_list", json!({ "tool": "import_forum" })).await;
    assert_eq!(
        (&audit["items"][0]["principal"], &audit["items"][0]["reason"]),
        (&json!("owner"), &json!("2 threads, 4 posts"))
    );
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "a dry run leaves no row");
    assert_eq!(home.count().await, (2, 6));
}

#[tokio::test]
async fn a_taken_number_is_given_anew_and_reported() {
    let home = Home::open();
    home.0
        .app
        .store
        .write(|tx| {
            let by = Signature { author: "a".to_owned(), verified: "owner".to_owned() };
            for n in 0..3 {
                let thread_id = forum::insert_thread(tx, &by, &format!("own {n}"), at("2026-02-01"))?;
                forum::insert_post(tx, thread_id, &by, "x", None, at("2026-02-01"))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let report = home.import(&home.old(PLAIN), Mode::Write).await.unwrap();
    assert_eq!(report.renumbered_threads, [Renumbered { old: 3, new: 8 }]);
    assert_eq!(home.thread(8).await.0.title, "Backups");
    assert_eq!(home.thread(3).await.0.title, "own 2");
    assert_eq!(home.thread(7).await.1[2].quote.as_ref().unwrap().thread_id, 8);
    assert!(report.to_string().contains("thread 3 is 8"), "{report}");
    let made = home
        .0
        .app
        .store
        .write(|tx| {
            let by = Signature { author: "a".to_owned(), verified: "owner".to_owned() };
            forum::insert_thread(tx, &by, "after", at("2026-02-01"))
        })
        .await
        .unwrap();
    assert_eq!(made, 9);
}

#[tokio::test]
async fn nothing_comes_twice() {
    let home = Home::open();
    home.import(&home.old(PLAIN), Mode::Write).await.unwrap();
    let again = home.import(&home.old(PLAIN), Mode::Write).await.unwrap();
    assert_eq!((again.threads.imported, again.posts.imported), (0, 0));
    assert_eq!((again.threads.known, again.posts.known), (2, 4));
    assert_eq!(home.count().await, (2, 6));

    // The old forum went on meanwhile: only what is new comes over, into the same threads.
    let grown = format!(
        "{PLAIN}
         insert into threads values (9, 'New', 'n', 'jo', '2026-02-01 10:00:00', '2026-02-01 10:00:00');
         insert into posts values (6, 3, 'Done.', 'jo', 4, '2026-02-02 10:00:00');"
    );
    let report = home.import(&home.old(&grown), Mode::Write).await.unwrap();
    assert_eq!((report.threads.imported, report.posts.imported), (1, 1));
    let (thread, posts) = home.thread(3).await;
    assert_eq!((posts.len(), thread.posts, posts[3].body.as_str()), (4, 4, "Done."));
    assert_eq!(posts[3].quote.as_ref().unwrap().text, "Encrypted, please");

    // One of its rows has changed: what of it is here cannot be told, so nothing is taken.
    let before = home.count().await;
    let changed = home.old(&format!("{grown} update posts set body = 'To the cloud.' where id = 1;"));
    for mode in [Mode::DryRun, Mode::Write] {
        let error = home.import(&changed, mode).await.unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        assert!(error.message.contains("post 1"), "{error}");
    }
    assert_eq!(home.count().await, before);

    // Another forum altogether, with the same numbers.
    let other = home.old(
        "insert into threads values (3, 'Other', 'o', 'kim', '2026-02-01 10:00:00', '2026-02-01 10:00:00');
         insert into posts values (1, 3, 'p', 'kim', null, '2026-02-01 11:00:00');",
    );
    let report = home.import(&other, Mode::Write).await.unwrap();
    assert_eq!(report.renumbered_threads, [Renumbered { old: 3, new: 10 }]);
}

#[tokio::test]
async fn odd_rows_come_over_as_far_as_they_can_and_are_named() {
    let home = Home::open();
    let old = home.old(
        "alter table threads add column Pinned integer;
         alter table posts add column likes integer;
         create table users (name text);
         insert into threads (id, title, body, author, created_at, updated_at) values
             (1, null, null, null, 'yesterday', null),
             (2, 'two' || char(10) || 'lines' || char(0), x'ff41', '  ', 1735689600, '2026-01-01'),
             (4, replace(hex(zeroblob(150)), '00', 'ä'), 'b', 'a', '2026-01-01', '2026-01-01'),
             (-5, 'below zero', 'b', 'a', '2026-01-01', '2026-01-01'),
             (9223372036854775807, 'far up', 'b', 'a', '2026-01-01', '2026-01-01');
         update threads set title = title || title where id = 4;
         insert into posts (id, thread_id, body, author, quote_post_id, created_at) values
             (1, 77, 'orphan', 'a', null, '2026-01-01'),
             (2, 1, 'quotes nothing', 'a', 99, '2026-01-03 00:00:00'),
             (3, 1, 'out of order', 'b', null, '2026-01-02 00:00:00'),
             (4, 1, 'no time', 'c', null, ''),
             (5, 4, 42, 7, 1, '2026-01-02');",
    );
    let report = home.import(&old, Mode::Write).await.unwrap();
    assert_eq!((report.threads.imported, report.posts.imported, report.posts.skipped), (5, 4, 1));
    assert_eq!(report.extra_columns["threads"], ["pinned"]);
    assert_eq!(report.extra_columns["posts"], ["likes"]);
    assert_eq!(report.other_tables, ["users"]);
    assert_eq!(report.renumbered_threads, [Renumbered { old: -5, new: 5 }, Renumbered { old: i64::MAX, new: 6 }]);

    let (thread, posts) = home.thread(1).await;
    assert_eq!((thread.title.as_str(), thread.author.as_str()), ("(untitled)", "unknown"));
    assert_eq!(thread.created_at, at("2026-01-03"), "as its first post");
    let bodies: Vec<_> = posts.iter().map(|post| post.body.as_str()).collect();
    assert_eq!(bodies, ["", "quotes nothing", "out of order", "no time"]);
    assert_eq!(posts[2].created_at, at("2026-01-02"));
    assert_eq!(posts[3].created_at, at("2026-01-03"));
    assert!(posts.iter().all(|post| post.quote.is_none() && !post.deleted));
    assert_eq!(thread.last_author, "c");

    let (thread, posts) = home.thread(2).await;
    assert_eq!((thread.title.as_str(), posts[0].body.as_str()), ("two lines", "\u{fffd}A"));
    let (thread, posts) = home.thread(4).await;
    assert_eq!(thread.title.chars().count(), 200);
    assert_eq!((posts[1].body.as_str(), posts[1].author.as_str()), ("42", "7"));

    let text = report.to_string();
    for expected in [
        "posts 1: left out: its thread 77 is not there",
        "threads 1: created_at is no time: `yesterday`; taken as 2026-01-03T00:00:00.000Z",
        "threads 2: created_at is no time: `1735689600`; taken as 2026-01-01T00:00:00.000Z",
        "posts 2: it quotes post 99, which is not there; the quote is left out",
        "posts 4: created_at is no time: ``",
        "posts: likes",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    serde_json::to_value(&report).unwrap();
}

#[tokio::test]
async fn older_files_may_lack_columns() {
    let home = Home::open();
    let path = home.folder().join("old.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "create table THREADS (ID integer primary key, Title text); create table posts (id integer, thread_id text);
         insert into threads values (1, 'bare'); insert into posts values (1, '1'), (1, '1'), (null, 'x');",
    )
    .unwrap();
    let dry = home.import(&path, Mode::DryRun).await.unwrap();
    let report = home.import(&path, Mode::Write).await.unwrap();
    assert_eq!(report, Report { written: true, ..dry });
    assert_eq!((report.threads.imported, report.posts.imported, report.posts.skipped), (1, 1, 2));
    assert!(home.0.app.started_at <= home.thread(1).await.0.created_at, "the time of the import");
}

#[tokio::test]
async fn rows_still_in_the_log_come_over_and_the_file_is_left_alone() {
    let home = Home::open();
    let path = home.old("");
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db.execute_batch(PLAIN).unwrap();
    assert_eq!(home.import(&path, Mode::DryRun).await.unwrap().posts.imported, 4);
    drop(db);

    let before = std::fs::read(&path).unwrap();
    home.import(&path, Mode::Write).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let beside: Vec<_> = std::fs::read_dir(home.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("forum"))
        .collect();
    assert_eq!(beside, ["forum %?#.db"]);
}

#[tokio::test]
async fn what_is_no_old_forum_is_refused_before_anything_is_written() {
    let home = Home::open();
    let folder = home.folder();
    std::fs::write(folder.join("text.db"), "hello".repeat(1000)).unwrap();
    Connection::open(folder.join("empty.db")).unwrap().execute_batch("create table posts (id)").unwrap();
    let foreign = "create table threads (title text); create table posts (id integer, thread_id integer)";
    Connection::open(folder.join("foreign.db")).unwrap().execute_batch(foreign).unwrap();
    let ours = Connection::open(folder.join("ours.db")).unwrap();
    ours.execute_batch(SCHEMA).unwrap();
    ours.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    for name in ["missing.db", "text.db", "empty.db", "foreign.db", "ours.db", "data/hearth.db", "data"] {
        let error = home.import(&folder.join(name), Mode::Write).await.expect_err(name);
        assert_eq!(error.code, Code::InvalidInput, "{name}: {error}");
    }
    assert_eq!(home.count().await, (0, 0));
}
