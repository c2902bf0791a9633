//! Properties of the whole list of tools, and of the gate that each call passes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hearth::app::{Context, Level};
use hearth::error::{Code, Error, Result};
use hearth::registry::{Effect, Entry, Plan, Reversible, Tool, Toolset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{TestApp, caller, person, unhurried};

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Add a line
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Add {
    /// What
    text: String,
    /// How to fail
    fail: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Added {
    text: String,
    times: u32,
}

impl Tool for Add {
    const NAME: &'static str = "test_add_line";
    const LEVEL: Level = Level::Operate;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/test/lines";
    type Output = Added;

    async fn run(self, cx: &Context) -> Result<Added> {
        match self.fail.as_deref() {
            Some("panic") => panic!("on purpose"),
            Some("slow") => tokio::time::sleep(Duration::from_secs(3600)).await,
            Some("late") => tokio::time::sleep(Duration::from_millis(50)).await,
            Some(_) => return Err(Error::conflict("as asked")),
            None => {}
        }
        let text = self.text;
        cx.write(move |tx| {
            let times = RUNS.fetch_add(1, Ordering::SeqCst) + 1;
            tx.execute("insert or replace into meta (key, value) values ('test', ?1)", [&text])?;
            Ok(Added { text, times })
        })
        .await
    }
}

/// Wipe the line
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wipe {
    /// Which
    key: String,
}

#[derive(Serialize, JsonSchema)]
struct Wiped {
    wiped: usize,
}

impl Tool for Wipe {
    const NAME: &'static str = "test_wipe_line";
    const LEVEL: Level = Level::Configure;
    const EFFECT: Effect = Effect::Destructive;
    const ROUTE: &'static str = "DELETE /api/test/lines/{key}";
    type Output = Wiped;

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        let key = self.key.clone();
        let before = cx.read(move |conn| hearth::store::meta::get(conn, &key)).await?;
        Ok(Plan {
            summary: format!("wipe `{}`", self.key),
            effects: vec!["the line is gone".to_owned()],
            before: json!(before),
            reversible: Reversible::No,
        })
    }

    async fn run(self, cx: &Context) -> Result<Wiped> {
        cx.write(move |tx| Ok(Wiped { wiped: tx.execute("delete from meta where key = ?1", [&self.key])? })).await
    }
}

const TOOLS: &[Entry] = &[Entry::of::<Add>(), Entry::of::<Wipe>()];
const TOOLSETS: &[Toolset] = &[("test", TOOLS)];

fn app() -> TestApp {
    let mut config = unhurried();
    config.limits.call_timeout = Duration::from_millis(300);
    TestApp::with(config, TOOLSETS)
}

async fn audit_rows(app: &TestApp) -> Vec<(String, String, String)> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    app.app
        .store
        .read(move |conn| {
            let mut statement = conn.prepare("select tool, phase, decision from audit order by seq")?;
            Ok(statement.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()?)
        })
        .await
        .unwrap()
}

fn toolset(name: &str) -> Toolset {
    *hearth::tools::TOOLSETS.iter().find(|(own, _)| *own == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_is_well_formed() {
    let app = TestApp::new();
    let (mut names, mut routes) = (BTreeSet::new(), BTreeSet::new());
    for tool in app.registry.all() {
        let name = tool.entry.name;
        assert!(names.insert(name), "{name} twice");
        assert!(routes.insert((tool.method.to_string(), tool.path)), "{name}: its route is another's");
        assert!(name.starts_with(&format!("{}_", tool.toolset)), "{name} is not of {}", tool.toolset);
        assert!(name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(!tool.summary.is_empty() && !tool.summary.ends_with('.'), "{name}: `{}`", tool.summary);
        let reads = tool.entry.effect == Effect::Read;
        assert_eq!(reads, tool.method == http::Method::GET, "{name}: {}", tool.method);
        let input = Value::Object((*tool.input).clone());
        assert_eq!(input["type"], "object", "{name}");
        for (field, schema) in input["properties"].as_object().unwrap() {
            assert!(schema["description"].is_string(), "{name}: `{field}` has no description");
            let flat = match schema["type"].as_str() {
                Some("array") => schema["items"]["type"].is_string() || schema["items"]["enum"].is_array(),
                Some(kind) => kind != "object",
                None => schema["enum"].is_array() || schema["oneOf"].is_array(),
            };
            assert!(flat, "{name}: `{field}` is not flat: {schema}");
        }
        for part in tool.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            assert!(input["properties"].get(part).is_some(), "{name}: no field for {{{part}}}");
        }
        let output = Value::Object((*tool.output).clone());
        assert_eq!(output["type"], "object", "{name}");
        for text in [input.to_string(), output.to_string()] {
            assert!(!text.contains("$ref") && !text.contains("uint") && !text.contains("\"null\""), "{name}: {text}");
        }
        // The one tool that a person approves for being shown a secret.
        let words: &[&str] = if name == "credential_get" { &[] } else { &["password", "secret", "private"] };
        assert_eq!(tool.entry.reveals, name == "credential_get");
        for word in words {
            assert!(!output.to_string().contains(word), "{name} may answer a {word}");
        }
    }
}

/// Names, levels, effects and routes stay once they are released.
#[tokio::test(flavor = "multi_thread")]
async fn released_tools_stay_as_they_are() {
    let app = TestApp::new();
    let line = |tool: &hearth::registry::Described| {
        let fields = tool.input["properties"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
        format!(
            "{} level {} {:?} {} {} ({})",
            tool.entry.name,
            tool.entry.level.number(),
            tool.entry.effect,
            tool.method,
            tool.path,
            fields.unwrap_or_default().join(" ")
        )
    };
    let list: Vec<_> = app.registry.all().map(line).collect();
    insta::assert_snapshot!(list.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_level_is_refused_before_the_input_is_read_and_leaves_a_row() {
    let app = app();
    let error = app.err(&caller("a", Level::Monitor), "test_add_line", json!("not even an object")).await;
    assert_eq!(error.code, Code::Forbidden);
    assert!(error.message.contains("level 2 (operate)"), "{error}");
    assert_eq!(audit_rows(&app).await, [("test_add_line".into(), "attempt".into(), "forbidden".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_input_names_its_field_and_a_wrong_tool_the_nearest() {
    let app = app();
    let a = caller("a", Level::Manage);
    for (input, field) in [
        (json!({}), "text"),
        (json!({ "text": 5 }), "text"),
        (json!({ "text": "x", "txet": 1 }), "txet"),
        (json!({ "text": "x", "request_id": 7 }), "request_id"),
        (json!({ "text": "x", "request_id": "" }), "request_id"),
    ] {
        let error = app.err(&a, "test_add_line", input.clone()).await;
        assert_eq!((error.code, error.field()), (Code::InvalidInput, Some(field)), "{input}: {error}");
    }
    assert_eq!(app.err(&a, "test_add_line", json!([1])).await.code, Code::InvalidInput);
    let error = app.err(&a, "test_add_lines", json!({})).await;
    assert_eq!(error.code, Code::NotFound);
    assert!(error.hint().unwrap().contains("test_add_line"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_has_its_attempt_before_and_its_outcome_after() {
    let app = app();
    let a = caller("a", Level::Manage);
    app.ok(&a, "test_add_line", json!({ "text": "x" })).await;
    app.err(&a, "test_add_line", json!({ "text": "x", "fail": "conflict" })).await;
    let tool = || "test_add_line".to_owned();
    assert_eq!(
        audit_rows(&app).await,
        [
            (tool(), "attempt".into(), "allowed".into()),
            (tool(), "outcome".into(), "ok".into()),
            (tool(), "attempt".into(), "allowed".into()),
            (tool(), "outcome".into(), "conflict".into()),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_a_missed_deadline_end_that_call_only() {
    let app = app();
    let a = caller("a", Level::Manage);
    let error = app.err(&a, "test_add_line", json!({ "text": "x", "fail": "panic" })).await;
    assert_eq!(error.code, Code::Internal);
    let error = app.err(&a, "test_add_line", json!({ "text": "x", "fail": "slow" })).await;
    assert_eq!(error.code, Code::Timeout);
    assert!(error.body().call_id.is_some());
    app.ok(&a, "test_add_line", json!({ "text": "x" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_effect_without_an_audit_row() {
    let app = app();
    app.app
        .store
        .write(|tx| {
            Ok(tx
                .execute_batch("create trigger no_audit before insert on audit begin select raise(abort, 'no'); end")?)
        })
        .await
        .unwrap();
    app.err(&caller("a", Level::Manage), "test_add_line", json!({ "text": "unaudited" })).await;
    let found = app.app.store.read(|conn| hearth::store::meta::get(conn, "test")).await.unwrap();
    assert_eq!(found, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_acts_once_however_often_it_is_sent() {
    let app = app();
    let a = caller("a", Level::Manage);
    let input = json!({ "text": "once", "fail": "late", "request_id": "r1" });
    let calls = (0..20).map(|_| app.call(&a, "test_add_line", input.clone()));
    let results = futures_util::future::join_all(calls).await;
    let first = results.iter().find_map(|result| result.as_ref().ok()).expect("one ran").clone();
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error.code, Code::Conflict, "{error}");
    }
    assert_eq!(app.ok(&a, "test_add_line", input.clone()).await, first);
    let other = json!({ "text": "other", "request_id": "r1" });
    assert_eq!(app.err(&a, "test_add_line", other).await.code, Code::Conflict);
    // Another caller's key is another key.
    let b = app.ok(&caller("b", Level::Manage), "test_add_line", input).await;
    assert_ne!(b, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_outlives_a_restart_and_a_failed_call_may_be_repeated() {
    let app = app();
    let a = caller("a", Level::Manage);
    let first = app.ok(&a, "test_add_line", json!({ "text": "x", "request_id": "r1" })).await;
    app.err(&a, "test_add_line", json!({ "text": "x", "fail": "yes", "request_id": "r2" })).await;
    let app = app.restart(TOOLSETS).await;
    assert_eq!(app.ok(&a, "test_add_line", json!({ "text": "x", "request_id": "r1" })).await, first);
    app.err(&a, "test_add_line", json!({ "text": "x", "fail": "yes", "request_id": "r2" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destructive_call_needs_a_persons_word_on_this_very_call_and_state() {
    let app = TestApp::with(unhurried(), &[("test", TOOLS), toolset("system")]);
    let (a, b) = (caller("a", Level::Manage), caller("b", Level::Manage));
    let put = |value: &'static str| app.app.store.write(move |tx| hearth::store::meta::put(tx, "line", value));
    put("one").await.unwrap();
    let propose = || app.err(&a, "test_wipe_line", json!({ "key": "line" }));
    let id = |error: &Error| error.approval().expect("a plan").0.to_owned();
    let with = |id: &str, key: &str| json!({ "key": key, "approval_id": id });

    let error = propose().await;
    assert_eq!(error.code, Code::Unconfirmed);
    assert_eq!(error.approval().unwrap().1["before"], "one");
    let first = id(&error);
    assert_eq!(app.err(&a, "test_wipe_line", with(&first, "line")).await.code, Code::Unconfirmed);
    // An agent cannot approve its own plan, whatever its level.
    assert_eq!(app.err(&a, "system_approve", json!({ "approval": first })).await.code, Code::Forbidden);
    let agent_as_owner = hearth::app::Caller::owner(hearth::app::Door::Mcp);
    assert_eq!(app.err(&agent_as_owner, "system_approve", json!({ "approval": first })).await.code, Code::Forbidden);

    app.ok(&person(), "system_approve", json!({ "approval": first })).await;
    for (who, id, key) in [(&b, first.as_str(), "line"), (&a, &first, "other"), (&a, "0000000000", "line")] {
        assert_eq!(app.err(who, "test_wipe_line", with(id, key)).await.code, Code::Unconfirmed);
    }
    put("two").await.unwrap();
    let error = app.err(&a, "test_wipe_line", with(&first, "line")).await;
    assert!(error.message.contains("changed"), "{error}");
    put("one").await.unwrap();
    let once = json!({ "key": "line", "approval_id": first, "request_id": "w1" });
    assert_eq!(app.ok(&a, "test_wipe_line", once.clone()).await["wiped"], 1);
    // The answer was lost on the way: the same key gets it again, though the approval is spent and the line gone.
    assert_eq!(app.ok(&a, "test_wipe_line", once.clone()).await["wiped"], 1);
    put("one").await.unwrap();
    assert_eq!(app.ok(&a, "test_wipe_line", once).await["wiped"], 1);
    assert!(app.app.store.read(|conn| hearth::store::meta::get(conn, "line")).await.unwrap().is_some());
    assert!(app.err(&a, "test_wipe_line", with(&first, "line")).await.message.contains("used"));

    let second = id(&propose().await);
    app.ok(&person(), "system_reject", json!({ "approval": second })).await;
    assert_eq!(app.err(&a, "test_wipe_line", with(&second, "line")).await.code, Code::Forbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_shown_nothing_that_it_may_not_call() {
    let app = TestApp::new();
    for level in [Level::Monitor, Level::Operate, Level::Configure, Level::Manage] {
        let agent = caller("a", level);
        for tool in app.registry.offered(&agent) {
            assert!(tool.entry.level <= level && !tool.entry.person_only, "{}", tool.entry.name);
        }
        for tool in app.registry.all().filter(|tool| !tool.is_offered(&agent)) {
            let error = app.err(&agent, tool.entry.name, json!({})).await;
            assert_eq!(error.code, Code::Forbidden, "{}", tool.entry.name);
        }
        let narrow = agent.narrowed(&["audit".to_owned()]);
        assert!(app.registry.offered(&narrow).all(|tool| tool.toolset == "audit"));
        assert_eq!(app.err(&narrow, "system_info", json!({})).await.code, Code::Forbidden);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_past_the_rate_are_told_when_to_come_back() {
    let mut config = unhurried();
    (config.limits.reads_per_second, config.limits.burst_seconds) = (1, 3);
    let app = TestApp::with(config, hearth::tools::TOOLSETS);
    let a = caller("a", Level::Monitor);
    let calls = (0..10).map(|_| app.call(&a, "system_whoami", json!({})));
    let results = futures_util::future::join_all(calls).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    let error = results.into_iter().find_map(Result::err).unwrap();
    assert_eq!(error.code, Code::RateLimited);
    assert!(error.retry_after().is_some());
    app.ok(&caller("b", Level::Monitor), "system_whoami", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_comes_too_early_keeps_its_approval() {
    let toolsets = [("test", TOOLS), toolset("system")];
    let mut config = unhurried();
    config.limits.destructive_per_hour = 1;
    let app = TestApp::with(config, &toolsets);
    let a = caller("a", Level::Manage);
    let mut approved = Vec::new();
    for key in ["one", "two"] {
        app.app.store.write(move |tx| hearth::store::meta::put(tx, key, "line")).await.unwrap();
        let error = app.err(&a, "test_wipe_line", json!({ "key": key })).await;
        let id = error.approval().expect("a plan").0.to_owned();
        app.ok(&person(), "system_approve", json!({ "approval": id })).await;
        approved.push(json!({ "key": key, "approval_id": id }));
    }
    app.ok(&a, "test_wipe_line", approved[0].clone()).await;
    for _ in 0..2 {
        let error = app.err(&a, "test_wipe_line", approved[1].clone()).await;
        assert_eq!(error.code, Code::RateLimited, "{error}");
        assert!(error.retry_after().is_some());
    }
    // The next process has a fresh rate and the same approvals.
    let app = app.restart(&toolsets).await;
    assert_eq!(app.ok(&a, "test_wipe_line", approved[1].clone()).await["wiped"], 1);
}

/// Every client keeps the list of tools in its model's context.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_tools_fits_into_a_models_context() {
    let app = TestApp::new();
    for (level, budget) in [(Level::Monitor, 24 * 1024), (Level::Manage, 60 * 1024)] {
        let agent = caller("a", level);
        let tools: Vec<_> = app.registry.offered(&agent).map(hearth::surface::mcp::tools::describe).collect();
        let bytes = serde_json::to_string(&tools).unwrap().len();
        assert!(bytes <= budget, "level {}: {bytes} bytes of {budget}", level.number());
    }
}
