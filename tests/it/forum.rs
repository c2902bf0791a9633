//! The forum through the gate, as every door calls it.

use hearth::app::{Caller, Event, Level};
use hearth::error::{Code, Error};
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Value, json};

use crate::support::{TestApp, caller, person};

struct Forum(TestApp);

const NONE: [i64; 0] = [];

impl Forum {
    fn open() -> Forum {
        Forum(TestApp::new())
    }

    async fn attempt(&self, caller: &Caller, tool: &str, input: Value) -> Result<Value, Error> {
        self.0.call(caller, &format!("forum_{tool}"), input).await
    }

    async fn call(&self, caller: &Caller, tool: &str, input: Value) -> Value {
        self.attempt(caller, tool, input.clone()).await.unwrap_or_else(|error| panic!("{tool} {input}: {error}"))
    }

    async fn thread(&self, caller: &Caller, title: &str, body: &str) -> (i64, i64) {
        let made = self.call(caller, "create_thread", json!({ "title": title, "body": body })).await;
        (number(&made["thread"]["thread_id"]), number(&made["post"]["post_id"]))
    }

    async fn reply(&self, caller: &Caller, thread_id: i64, body: &str) -> i64 {
        number(&self.call(caller, "reply", json!({ "thread_id": thread_id, "body": body })).await["post_id"])
    }

    /// The posts that a search finds, best first.
    async fn found(&self, query: &str, within: &str) -> Vec<i64> {
        let page = self.call(&alice(), "search", json!({ "query": query, "in": within })).await;
        numbers(&page, "post_id")
    }
}

fn alice() -> Caller {
    caller("alice", Level::Monitor)
}

fn bob() -> Caller {
    caller("bob", Level::Monitor)
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn numbers(page: &Value, field: &str) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|item| number(&item[field])).collect()
}

#[tokio::test]
async fn a_thread_shows_who_signed_and_who_it_was() {
    let forum = Forum::open();
    let made = forum
        .call(
            &alice(),
            "create_thread",
            json!({ "title": " Backups ", "body": "Where to?", "author": "Owner", "tags": ["Disk", "disk", "plan"] }),
        )
        .await;
    let (thread, post) = (&made["thread"], &made["post"]);
    assert_eq!(thread["title"], "Backups");
    assert_eq!(thread["tags"], json!(["disk", "plan"]));
    assert_eq!((&thread["author"], &thread["verified"]), (&json!("Owner"), &json!("token:alice")));
    assert_eq!((&thread["posts"], &post["deleted"]), (&json!(1), &json!(false)));
    assert!(post.get("quote").is_none() && post.get("edited_at").is_none());

    let reply = forum.call(&bob(), "reply", json!({ "thread_id": thread["thread_id"], "body": "To the NAS." })).await;
    assert_eq!((&reply["author"], &reply["verified"]), (&json!("token:bob"), &json!("token:bob")));
    let page = forum.call(&alice(), "read_thread", json!({ "thread_id": thread["thread_id"] })).await;
    assert_eq!(numbers(&page, "post_id"), [number(&post["post_id"]), number(&reply["post_id"])]);
    assert_eq!((&page["thread"]["posts"], &page["thread"]["last_author"]), (&json!(2), &json!("token:bob")));
    assert!(page.get("next_cursor").is_none());
}

#[tokio::test]
async fn inputs_out_of_bounds_are_refused_by_field() {
    let forum = Forum::open();
    let (thread_id, post_id) = forum.thread(&alice(), "t", "b").await;
    let tags: Vec<String> = (0..11).map(|n| format!("tag{n}")).collect();
    for (tool, input, field) in [
        ("create_thread", json!({ "title": "", "body": "x" }), "title"),
        ("create_thread", json!({ "title": "x".repeat(201), "body": "x" }), "title"),
        ("create_thread", json!({ "title": "x", "body": "" }), "body"),
        ("create_thread", json!({ "title": "x", "body": "x".repeat(65_537) }), "body"),
        ("create_thread", json!({ "title": "x", "body": "x", "author": "two\nlines" }), "author"),
        ("create_thread", json!({ "title": "x", "body": "x", "tags": tags }), "tags"),
        ("create_thread", json!({ "title": "x", "body": "x", "tags": ["-a"] }), "tags[0]"),
        ("reply", json!({ "thread_id": thread_id, "body": "x", "verified": "owner" }), "verified"),
        ("list_threads", json!({ "cursor": "x" }), "cursor"),
        ("read_thread", json!({ "thread_id": thread_id, "limit": 101 }), "limit"),
        ("search", json!({ "query": "" }), "query"),
        ("search", json!({ "query": "x", "in": "everything" }), "in"),
        ("mark_read", json!({ "thread_id": thread_id + 1, "post_id": post_id }), "post_id"),
    ] {
        let error = forum.attempt(&alice(), tool, input.clone()).await.expect_err(&input.to_string());
        assert_eq!((error.code, error.field()), (Code::InvalidInput, Some(field)), "{error}");
    }
    for (tool, input) in [
        ("read_thread", json!({ "thread_id": 99 })),
        ("reply", json!({ "thread_id": 99, "body": "x" })),
        ("reply", json!({ "thread_id": thread_id, "body": "x", "quote_post_id": 99 })),
        ("edit_post", json!({ "post_id": 99, "body": "x" })),
        ("delete_post", json!({ "post_id": 99 })),
        ("tag_thread", json!({ "thread_id": 99, "tags": [] })),
        ("pin_thread", json!({ "thread_id": 99, "pinned": true })),
        ("mark_read", json!({ "thread_id": 99 })),
    ] {
        let error = forum.attempt(&alice(), tool, input.clone()).await.expect_err(&input.to_string());
        assert_eq!(error.code, Code::NotFound, "{tool} {input}: {error}");
    }
}

#[tokio::test]
async fn threads_are_listed_pinned_first_then_by_activity_page_by_page() {
    let forum = Forum::open();
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(forum.thread(&alice(), &format!("thread {n}"), "body").await.0);
    }
    forum.call(&bob(), "pin_thread", json!({ "thread_id": ids[2], "pinned": true })).await;
    forum.call(&bob(), "tag_thread", json!({ "thread_id": ids[4], "tags": ["Nas"] })).await;

    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let mut input = json!({ "limit": 3 });
        if let Some(cursor) = cursor {
            input["cursor"] = cursor;
        }
        let page = forum.call(&alice(), "list_threads", input).await;
        seen.extend(numbers(&page, "thread_id"));
        cursor = page.get("next_cursor").cloned();
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [ids[2], ids[6], ids[5], ids[4], ids[3], ids[1], ids[0]]);

    let tagged = forum.call(&alice(), "list_threads", json!({ "tag": "NAS" })).await;
    assert_eq!(numbers(&tagged, "thread_id"), [ids[4]]);
    let signed = forum.call(&alice(), "list_threads", json!({ "author": "Token:Alice" })).await;
    assert_eq!(numbers(&signed, "thread_id").len(), 7);
    let none = forum.call(&alice(), "list_threads", json!({ "author": "nobody" })).await;
    assert!(numbers(&none, "thread_id").is_empty());
}

#[tokio::test]
async fn a_page_of_long_posts_ends_early_and_goes_on() {
    let forum = Forum::open();
    let (thread_id, first) = forum.thread(&alice(), "long", &"x".repeat(60_000)).await;
    let mut ids = vec![first];
    for _ in 0..5 {
        ids.push(forum.reply(&alice(), thread_id, &"y".repeat(10_000)).await);
    }
    let (mut pages, mut input) = (Vec::new(), json!({ "thread_id": thread_id }));
    loop {
        let page = forum.call(&alice(), "read_thread", input.clone()).await;
        pages.push(numbers(&page, "post_id"));
        match page.get("next_cursor") {
            Some(cursor) => input["cursor"] = cursor.clone(),
            None => break,
        }
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 2, 1]);
    assert_eq!(pages.concat(), ids);
}

#[tokio::test]
async fn only_who_it_was_may_edit_whatever_the_signature() {
    let forum = Forum::open();
    let (thread_id, _) = forum.thread(&alice(), "t", "b").await;
    let mine = forum.reply(&alice(), thread_id, "a draft").await;
    let owner = person();
    for other in [&bob(), &owner] {
        let error = forum.attempt(other, "edit_post", json!({ "post_id": mine, "body": "x" })).await.unwrap_err();
        assert_eq!(error.code, Code::Forbidden);
    }
    let edited = forum.call(&alice(), "edit_post", json!({ "post_id": mine, "body": "a final" })).await;
    assert_eq!(edited["body"], "a final");
    assert!(edited["edited_at"].is_string());
    assert_eq!(forum.found("draft", "all").await, NONE);
    assert_eq!(forum.found("final", "body").await, [mine]);
}

#[tokio::test]
async fn a_deleted_post_leaves_its_place_and_nothing_of_its_text() {
    let forum = Forum::open();
    let (thread_id, first) = forum.thread(&alice(), "Secrets", "the password is swordfish").await;
    let quoting =
        forum.call(&bob(), "reply", json!({ "thread_id": thread_id, "body": "really?", "quote_post_id": first })).await;
    assert_eq!(quoting["quote"]["text"], "the password is swordfish");
    let other = forum.reply(&bob(), thread_id, "unrelated swordfish").await;
    assert_eq!(forum.found("swordfish", "all").await.len(), 2);

    let error = forum.attempt(&bob(), "delete_post", json!({ "post_id": first })).await.unwrap_err();
    assert_eq!(error.code, Code::Forbidden);
    let deleted = forum.call(&alice(), "delete_post", json!({ "post_id": first })).await;
    assert_eq!((&deleted["deleted"], &deleted["body"]), (&json!(true), &json!("")));
    assert_eq!(forum.call(&alice(), "delete_post", json!({ "post_id": first })).await, deleted);

    let page = forum.call(&bob(), "read_thread", json!({ "thread_id": thread_id })).await;
    assert!(!page.to_string().contains("the password"), "{page}");
    assert_eq!(page["items"][1]["quote"]["deleted"], true);
    assert_eq!(page["thread"]["posts"], 2);
    assert_eq!(forum.found("swordfish", "all").await, [other]);
    assert_eq!(forum.found("password", "body").await, NONE);
    assert_eq!(forum.found("ssword", "all").await, NONE);
    assert_eq!(forum.found("alice", "author").await, NONE);
    assert_eq!(forum.found("secrets", "title").await, [first], "the thread is still there");

    for (tool, input) in [
        ("edit_post", json!({ "post_id": first, "body": "x" })),
        ("reply", json!({ "thread_id": thread_id, "body": "x", "quote_post_id": first })),
    ] {
        assert_eq!(forum.attempt(&alice(), tool, input).await.unwrap_err().code, Code::Conflict);
    }
    let owner = person();
    forum.call(&owner, "delete_post", json!({ "post_id": other })).await;
    assert_eq!(forum.found("swordfish", "all").await, NONE);
}

#[tokio::test]
async fn a_quote_may_name_a_post_of_another_thread() {
    let forum = Forum::open();
    let (other, quoted) = forum.thread(&alice(), "one", &"ä".repeat(1000)).await;
    let (thread_id, _) = forum.thread(&bob(), "two", "b").await;
    let post =
        forum.call(&bob(), "reply", json!({ "thread_id": thread_id, "body": "see", "quote_post_id": quoted })).await;
    assert_eq!((&post["quote"]["thread_id"], &post["quote"]["post_id"]), (&json!(other), &json!(quoted)));
    assert_eq!(post["quote"]["text"].as_str().unwrap().chars().count(), 401);
}

#[tokio::test]
async fn search_finds_beginnings_of_words_where_it_is_told_to() {
    let forum = Forum::open();
    let (_, plex) = forum.thread(&alice(), "Plex buffers", "The transcoder starves on Café Wi-Fi").await;
    let (other, _) = forum.thread(&bob(), "Router", "unrelated").await;
    let mention = forum.reply(&bob(), other, "plex is not to blame; see 192.168.1.10 and c++").await;

    assert_eq!(forum.found("PLEX", "title").await, [plex]);
    assert_eq!(forum.found("plex", "body").await, [mention]);
    assert_eq!(forum.found("plex", "all").await, [plex, mention], "a title weighs more");
    assert_eq!(forum.found("transc starv", "all").await, [plex]);
    assert_eq!(forum.found("cafe", "all").await, [plex]);
    assert_eq!(forum.found("bob", "author").await.len(), 2);
    assert_eq!(forum.found("192.168.1.1", "all").await, [mention]);
    assert_eq!(forum.found("c++", "all").await, [mention]);
    assert_eq!(forum.found("scode", "all").await, [plex], "within a word, since none begins so");
    assert_eq!(forum.found("scode", "title").await, NONE);
    assert_eq!(forum.found("++", "all").await, [mention]);
    assert_eq!(forum.found("%", "all").await, NONE);
    assert_eq!(forum.found("_lex", "all").await, NONE);
    assert_eq!(forum.found("body:plex", "title").await, NONE);
    assert_eq!(forum.found("plex NOT blame", "all").await, [mention], "NOT is a word");

    let page = forum.call(&alice(), "search", json!({ "query": "blame" })).await;
    assert_eq!(page["items"][0]["title"], "Router");
    assert_eq!(page["items"][0]["verified"], "token:bob");
    assert!(page["items"][0]["snippet"].as_str().unwrap().contains("not to blame"));
}

#[tokio::test]
async fn a_common_word_is_paged_to_its_end_without_repetition() {
    let forum = Forum::open();
    let (thread_id, first) = forum.thread(&alice(), "t", "common").await;
    let app = &forum.0.app;
    // Straight into the store: more hits than are ranked against each other.
    app.store
        .write(move |tx| {
            for n in 0..2100 {
                tx.execute(
                    "insert into posts (thread_id, author, verified, body, created_at) values (?1, 'a', 'a', ?2, 0)",
                    (thread_id, format!("common {}", "filler ".repeat(n % 7))),
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    for (query, all) in [("comm", 2101), ("ommon", 2101)] {
        let (mut seen, mut input) = (Vec::new(), json!({ "query": query, "limit": 100 }));
        loop {
            let page = forum.call(&alice(), "search", input.clone()).await;
            seen.extend(numbers(&page, "post_id"));
            match page.get("next_cursor") {
                Some(cursor) => input["cursor"] = cursor.clone(),
                None => break,
            }
        }
        assert!(seen.contains(&first));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((count, seen.len()), (all, all), "{query}");
    }
}

#[test]
fn no_text_breaks_search_or_names_a_column() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let forum = Forum::open();
    runtime.block_on(async {
        forum.thread(&alice(), "title", "body author rowid rank post_text").await;
    });
    let hostile = "([a-zäß\u{1f600}0-9 \"*:^(){}%_\\\\+-]|\u{0}|NEAR|AND|OR|NOT|body|title|post_text){1,40}";
    let mut runner = TestRunner::new(Cases { cases: 400, failure_persistence: None, ..Cases::default() });
    let texts = proptest::prop_oneof![proptest::string::string_regex(hostile).unwrap(), ".{1,60}"];
    let result = runner.run(&texts, |text| {
        let text = text.replace('\0', " ");
        runtime.block_on(async {
            for within in ["title", "body", "author", "all"] {
                let found = forum.attempt(&alice(), "search", json!({ "query": text, "in": within })).await;
                if let Err(error) = found {
                    panic!("{text:?} in {within}: {error}: {}", error.chain());
                }
            }
            // A column's name before a word is part of the word, so nothing has it.
            let filtered = format!("body : {text}zzz");
            let found = forum.call(&alice(), "search", json!({ "query": filtered, "in": "all" })).await;
            assert_eq!(numbers(&found, "post_id"), NONE, "{filtered:?}");
        });
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn news_are_kept_for_each_reader() {
    let forum = Forum::open();
    let (one, first) = forum.thread(&alice(), "one", "a").await;
    let (two, _) = forum.thread(&alice(), "two", "b").await;
    let reply = forum.reply(&bob(), one, "c").await;

    let news = forum.call(&alice(), "whats_new", json!({})).await;
    assert_eq!(numbers(&news, "thread_id"), [one], "own posts are read");
    assert_eq!((number(&news["items"][0]["new_posts"]), number(&news["items"][0]["first_new_post_id"])), (1, reply));
    let news = forum.call(&bob(), "whats_new", json!({})).await;
    assert_eq!(numbers(&news, "thread_id"), [two], "who replies has read the thread");
    let fresh = forum.call(&bob(), "whats_new", json!({ "reader": "planner", "limit": 1 })).await;
    assert_eq!(numbers(&fresh, "thread_id"), [one]);
    let rest = json!({ "reader": "planner", "limit": 1, "cursor": fresh["next_cursor"] });
    assert_eq!(numbers(&forum.call(&bob(), "whats_new", rest).await, "thread_id"), [two]);

    let marked = forum.call(&bob(), "mark_read", json!({ "post_id": first, "reader": "planner" })).await;
    assert_eq!(marked, json!({ "reader": "token:bob/planner", "marked": 1 }));
    let news = forum.call(&bob(), "whats_new", json!({ "reader": "planner" })).await;
    assert_eq!(number(&news["items"][0]["new_posts"]), 1);
    let marked = forum.call(&bob(), "mark_read", json!({ "reader": "planner" })).await;
    assert_eq!(marked["marked"], 2);
    assert_eq!(numbers(&forum.call(&bob(), "whats_new", json!({ "reader": "planner" })).await, "thread_id"), NONE);
    forum.call(&bob(), "mark_read", json!({ "post_id": first, "reader": "planner" })).await;
    assert_eq!(numbers(&forum.call(&bob(), "whats_new", json!({ "reader": "planner" })).await, "thread_id"), NONE);

    let signed = json!({ "thread_id": two, "body": "d", "author": "planner" });
    forum.call(&bob(), "reply", signed).await;
    for reader in [json!({ "reader": "planner" }), json!({})] {
        assert_eq!(numbers(&forum.call(&bob(), "whats_new", reader).await, "thread_id"), NONE);
    }
    let hidden = forum.reply(&alice(), two, "e").await;
    forum.call(&alice(), "delete_post", json!({ "post_id": hidden })).await;
    assert_eq!(numbers(&forum.call(&bob(), "whats_new", json!({})).await, "thread_id"), NONE);
}

#[tokio::test]
async fn watchers_are_told_and_a_repeated_request_acts_once() {
    let forum = Forum::open();
    let mut events = forum.0.app.events.subscribe();
    let input = json!({ "title": "t", "body": "b", "request_id": "r1" });
    let made = forum.call(&alice(), "create_thread", input.clone()).await;
    assert_eq!(forum.call(&alice(), "create_thread", input).await, made);
    let thread = format!("hearth://thread/{}", made["thread"]["thread_id"]);
    let changed = |uri: &str| Event::Changed { uri: uri.to_owned() };
    for expected in [Event::ListChanged, changed(&thread), changed("hearth://forum")] {
        assert_eq!(events.try_recv().unwrap(), expected);
    }
    assert!(events.try_recv().is_err());
    let list = forum.call(&alice(), "list_threads", json!({})).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    forum.call(&alice(), "edit_post", json!({ "post_id": made["post"]["post_id"], "body": "c" })).await;
    assert_eq!(events.try_recv().unwrap(), changed(&thread));
}

#[tokio::test]
async fn the_search_rows_follow_every_change() {
    let forum = Forum::open();
    let (thread_id, first) = forum.thread(&alice(), "t", "alpha").await;
    let second = forum.reply(&alice(), thread_id, "beta").await;
    forum.call(&alice(), "edit_post", json!({ "post_id": first, "body": "gamma" })).await;
    forum.call(&alice(), "delete_post", json!({ "post_id": second })).await;
    let store = &forum.0.app.store;
    let rows: i64 = store
        .write(move |tx| {
            tx.execute("insert into post_text (post_text) values ('integrity-check')", [])?;
            tx.execute("delete from threads where thread_id = ?1", [thread_id])?;
            tx.execute("insert into post_text (post_text) values ('integrity-check')", [])?;
            Ok(tx.query_row("select count(*) from post_text", [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(rows, 0);
}
