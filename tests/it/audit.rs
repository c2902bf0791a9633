//! The audit chain notices every edit, removal, reorder and cut.

use hearth::app::{App, Level};
use hearth::config::Config;
use hearth::error::Code;
use hearth::vault::root::Root;
use hearth::vault::source::{KeyFile, Stored};
use serde_json::json;

use crate::support::{TestApp, caller, person};

async fn app_with_rows() -> TestApp {
    let app = TestApp::new();
    for name in ["a", "b", "c", "d"] {
        app.ok(&person(), "token_create", json!({ "name": name, "level": 1 })).await;
    }
    app
}

async fn tamper(app: &TestApp, sql: &'static str) {
    app.app.store.write(move |tx| Ok(tx.execute_batch(sql)?)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_nobody_touched_holds_also_after_a_restart() {
    let app = app_with_rows().await;
    let app = app.restart(hearth::tools::TOOLSETS).await;
    let verdict = app.ok(&caller("x", Level::Monitor), "audit_verify", json!({})).await;
    assert_eq!((&verdict["valid"], &verdict["rows"]), (&json!(true), &json!(8)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tampering_is_found_and_located() {
    for (sql, at) in [
        ("update audit set principal = 'mallory' where seq = 3", 3),
        ("update audit set decision = 'ok' where seq = 1", 1),
        ("update audit set at = at + 1 where seq = 8", 8),
        ("delete from audit where seq = 5", 5),
        ("delete from audit where seq >= 7", 7),
        ("delete from audit", 1),
        (
            "update audit set seq = -1 where seq = 2; update audit set seq = 2 where seq = 4; update audit set seq = 4 where seq = -1",
            2,
        ),
        ("delete from audit_head", 9),
        ("update audit set reason = '', input_digest = null where seq = 6", 6),
    ] {
        let app = app_with_rows().await;
        tamper(&app, sql).await;
        let verdict = app.ok(&person(), "audit_verify", json!({})).await;
        assert_eq!((&verdict["valid"], &verdict["broken_at"]), (&json!(false), &json!(at)), "{sql}: {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_another_root_key_is_refused_before_anything_is_written() {
    let app = app_with_rows().await;
    app.app.close().await.unwrap();
    let TestApp { dir, app, registry } = app;
    drop((app, registry));
    let (data, other) = (dir.path().join("data"), dir.path().join("other.key"));
    let open = || App::open(&data, &other, Config::default()).err().unwrap();
    assert_eq!(open().code, Code::Unconfigured);
    assert!(!other.exists(), "a second key was made for a database that has one");
    KeyFile::at(&other, &data).unwrap().create(&Stored::Open(Root::generate().unwrap())).unwrap();
    assert_eq!(open().code, Code::Integrity);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_listed_by_who_what_and_page() {
    let app = app_with_rows().await;
    let first = app.ok(&person(), "audit_list", json!({ "tool": "token_create", "limit": 5 })).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 5);
    let next = json!({ "tool": "token_create", "limit": 5, "cursor": first["next_cursor"] });
    let second = app.ok(&person(), "audit_list", next).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 3);
    assert!(second.get("next_cursor").is_none());
    let none = app.ok(&person(), "audit_list", json!({ "principal": "nobody" })).await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_counted_into_the_chain() {
    let app = TestApp::new();
    for _ in 0..3 {
        app.ok(&caller("x", Level::Monitor), "system_whoami", json!({})).await;
    }
    let app = app.restart(hearth::tools::TOOLSETS).await;
    let rows = app.ok(&person(), "audit_list", json!({ "principal": "token:x" })).await;
    assert_eq!((&rows["items"][0]["phase"], &rows["items"][0]["count"]), (&json!("reads"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_turned_away_are_counted_into_the_chain() {
    let app = TestApp::new();
    let agent = caller("clumsy", Level::Manage);
    for _ in 0..3 {
        assert_eq!(app.err(&agent, "forum_create_thread", json!({ "titel": "x" })).await.code, Code::InvalidInput);
    }
    assert_eq!(app.err(&agent, "forum_read_thread", json!({ "thread_id": 99 })).await.code, Code::NotFound);
    app.app.write_reads().await.unwrap();
    let rows = app.ok(&person(), "audit_list", json!({ "principal": agent.principal })).await;
    let mut seen: Vec<_> = rows["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {} {}", row["tool"], row["phase"], row["decision"], row["count"]))
        .collect();
    seen.sort();
    let expected =
        [r#""forum_create_thread" "refused" "invalid_input" 3"#, r#""forum_read_thread" "refused" "not_found" 1"#];
    assert_eq!(seen, expected);
}
