//! Secrets that leave in no form: any secret, in any text, in any encoding, cut anywhere.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hearth::app::{Context, Event, Level, Progress};
use hearth::error::{Error, Result};
use hearth::redact::{MARK, Reach, Secrets};
use hearth::registry::{Call, Effect, Entry, Tool};
use hearth::surface::http::Peer;
use http_body_util::BodyExt;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{TestApp, caller, person, unhurried};

fn secrets(all: &[&[u8]]) -> Arc<Secrets> {
    let secrets = Arc::new(Secrets::default());
    secrets.replace_all(all.iter().map(|secret| (*secret, "label")));
    secrets
}

/// The ways that `n` counts, each with the bytes around the secret that the encoding takes in.
const ENCODINGS: usize = 20;

fn encoded(n: usize, secret: &str, before: &str, after: &str) -> String {
    let around = |text: &str| format!("{before}{text}{after}");
    let whole = around(secret);
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let unicode = |text: &str, prefix: &str, upper: bool| -> String {
        let units = text.encode_utf16();
        units.map(|unit| if upper { format!("{prefix}{unit:04X}") } else { format!("{prefix}{unit:04x}") }).collect()
    };
    match n {
        0 => whole,
        1 => around(&STANDARD.encode(secret)),
        2 => STANDARD.encode(whole),
        3 => STANDARD_NO_PAD.encode(whole),
        4 => URL_SAFE.encode(whole),
        5 => URL_SAFE_NO_PAD.encode(whole),
        6 => around(&hex(secret)),
        7 => around(&hex(secret).to_uppercase()),
        8 => hex(&whole),
        9 => url::form_urlencoded::byte_serialize(whole.as_bytes()).collect(),
        10 => percents(&whole, |_| true, false),
        11 => percents(&whole, |_| true, true),
        12 => percents(&whole, |byte| !byte.is_ascii_alphanumeric(), true),
        13 => json(&whole),
        14 => format!("\"{}\"", unicode(&whole, "\\u", false)),
        15 => unicode(&whole, "\\u", true),
        16 => format!("{whole:?}"),
        17 => json(&format!("{whole:?}")),
        18 => json(&json(&json(&whole))),
        // A URL in JSON, with a JSON text as a parameter
        _ => json(&percents(&json(&whole), |byte| !byte.is_ascii_alphanumeric(), false)),
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn percents(text: &str, is_escaped: impl Fn(&u8) -> bool, is_upper: bool) -> String {
    let byte = |byte: u8| match (is_escaped(&byte), is_upper) {
        (false, _) => char::from(byte).to_string(),
        (true, true) => format!("%{byte:02X}"),
        (true, false) => format!("%{byte:02x}"),
    };
    text.bytes().map(byte).collect()
}

/// What is left of a text for someone who looks for the secret: undone as often as it takes.
fn still_shows(text: &[u8], n: usize, secret: &str) -> bool {
    let encoded = encoded(n, secret, "", "");
    let encoded = encoded.trim_matches('"').trim_end_matches('=');
    text.windows(encoded.len()).any(|window| window == encoded.as_bytes())
}

fn secret() -> impl Strategy<Value = String> {
    // What a secret looks like, and what it never looks like.
    prop_oneof![
        "[a-zA-Z0-9]{8,40}",
        "[ -~]{10,80}",
        "\\PC{8,30}",
        "[a-z0-9+/=&%\\\\\"' \n\t]{12,200}",
        "(-----BEGIN KEY-----\n([A-Za-z0-9+/]{40}\n){3,8}-----END KEY-----\n)",
    ]
    .prop_filter("short or monotonous ones are words", |secret| {
        let rows = |secret: &str| secret.as_bytes().windows(16).any(|part| distinct(part) < 6);
        Secrets::default().add("", secret.as_bytes()) == Reach::Anywhere && !rows(secret)
    })
}

fn distinct(bytes: &[u8]) -> usize {
    bytes.iter().collect::<std::collections::BTreeSet<_>>().len()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,60}", "\\PC{0,40}", "[a-zA-Z0-9+/=%\\\\\n\"]{0,80}"]
}

/// A stream's output for these cuts.
fn streamed(secrets: &Arc<Secrets>, bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut scrubber = secrets.stream();
    let (mut out, mut rest) = (Vec::new(), bytes);
    for cut in cuts {
        let (part, after) = rest.split_at(cut % (rest.len() + 1));
        out.extend(scrubber.push(part));
        rest = after;
    }
    out.extend(scrubber.push(rest));
    out.extend(scrubber.finish());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_secret_survives_in_any_encoding(
        secret in secret(), before in text(), after in text(), n in 0..ENCODINGS, others in prop::collection::vec(secret(), 0..4),
    ) {
        let secrets = secrets(&[]);
        secrets.add_all(others.iter().map(|other| (other.as_bytes(), "other")));
        secrets.add("label", secret.as_bytes());
        let text = encoded(n, &secret, &before, &after);
        let clean = secrets.clean(&text);
        prop_assert!(matches!(clean, Cow::Owned(_)), "encoding {n}: {text:?}");
        prop_assert!(!still_shows(clean.as_bytes(), n, secret.trim()), "encoding {n}: {text:?} -> {clean:?}");
        prop_assert_eq!(secrets.clean(&clean), clean.as_ref(), "cleaning once is enough");
    }

    #[test]
    fn no_secret_survives_a_stream_wherever_it_is_cut(
        secret in secret(), before in text(), after in text(), n in 0..ENCODINGS,
        cuts in prop::collection::vec(0..40_usize, 0..12),
    ) {
        let secrets = secrets(&[secret.as_bytes()]);
        let text = encoded(n, &secret, &before, &after);
        let out = streamed(&secrets, text.as_bytes(), &cuts);
        prop_assert!(!still_shows(&out, n, secret.trim()), "encoding {n}, cuts {cuts:?}: {text:?} -> {out:?}");
        prop_assert!(out.windows(MARK.len()).any(|window| window == MARK.as_bytes()));
    }

    #[test]
    fn a_stream_byte_by_byte_shows_no_part_of_a_secret_that_stands_alone(secret in secret(), n in 0..ENCODINGS) {
        prop_assume!(!secret.contains("-----"));
        let secrets = secrets(&[secret.as_bytes()]);
        let text = format!("<{}>", encoded(n, &secret, "", ""));
        let cuts = vec![1; text.len()];
        let (out, whole) = (streamed(&secrets, text.as_bytes(), &cuts), secrets.clean(&text));
        prop_assert!(out.len() <= whole.len() + secret.len() - secret.trim().len() + 60, "{text:?} -> {out:?}");
        prop_assert!(!still_shows(&out, n, secret.trim()));
    }

    #[test]
    fn text_without_secrets_is_neither_changed_nor_copied(text in "\\PC{0,200}|[ -~\n]{0,400}") {
        let secrets = secrets(&[b"kJ8#mQ2$vX5!", b"correct horse battery staple", b"0x5f3759df-and-more"]);
        prop_assert!(matches!(secrets.clean(&text), Cow::Borrowed(_)));
        prop_assert_eq!(streamed(&secrets, text.as_bytes(), &[7, 30, 2, 90]), text.as_bytes());
    }

    /// The filter and the pieces against an automaton that reads every byte.
    #[test]
    fn it_finds_what_an_automaton_finds(
        all in prop::collection::vec("[ab]{0,4}[abcd]{6,17}", 1..12), text in "[abcd]{0,200}", at in 0..150_usize,
    ) {
        let reach = |secret: &String| Secrets::default().add("", secret.as_bytes());
        let all: Vec<String> = all.into_iter().filter(|secret| reach(secret) == Reach::Anywhere).collect();
        prop_assume!(!all.is_empty());
        let mut text = text;
        text.insert_str(at.min(text.len()), &all[0]);
        let mut expected = vec![false; text.len()];
        let automaton = aho_corasick::AhoCorasick::new(&all).unwrap();
        for found in automaton.find_overlapping_iter(&text) {
            expected[found.range()].fill(true);
        }
        let mut clean = String::new();
        for (index, byte) in text.bytes().enumerate() {
            match expected[index] {
                false => clean.push(char::from(byte)),
                true if index == 0 || !expected[index - 1] => clean.push_str(MARK),
                true => {}
            }
        }
        let secrets = Arc::new(Secrets::default());
        secrets.add_all(all.iter().map(|secret| (secret.as_bytes(), "label")));
        prop_assert_eq!(secrets.clean(&text), clean);
    }

    #[test]
    fn any_part_of_a_long_secret_is_found(secret in "[ -~]{24,120}", from in 0..100_usize, n in prop::sample::select(vec![0, 1, 6, 7])) {
        prop_assume!(secret.trim() == secret && secret.as_bytes().windows(16).all(|part| 6 <= distinct(part)));
        let secrets = secrets(&[secret.as_bytes()]);
        let form = encoded(n, &secret, "", "");
        let form = form.trim_end_matches('=');
        let from = from.min(form.len() - 24);
        let part = &form[from..from + 24];
        let text = format!("\n{part}\n");
        prop_assert_eq!(secrets.clean(&text), format!("\n{MARK}\n"));
    }
}

#[test]
fn overlapping_and_touching_secrets_leave_nothing_of_each_other() {
    let secrets = secrets(&[b"abcdef12", b"ef123456", b"123456789", b"zzyyxxww"]);
    assert_eq!(secrets.clean("<abcdef123456789>"), "<***>");
    assert_eq!(secrets.clean("abcdef12zzyyxxww"), "***");
    assert_eq!(secrets.clean("abcdef1"), "abcdef1");
}

#[test]
fn short_and_monotonous_secrets_go_as_words_only() {
    let secrets = secrets(&[]);
    assert_eq!(secrets.add("pin", b"4711"), Reach::WholeWord);
    assert_eq!(secrets.add("row", b"aaaaaaaaaaaa"), Reach::WholeWord);
    assert_eq!(secrets.add("one", b"x"), Reach::Nowhere);
    assert_eq!(secrets.clean("pin 4711, \"4711\" and x"), "pin ***, \"***\" and x");
    assert_eq!(secrets.clean("14711 47112 a4711_ aaaaaaaaaaaaa"), "14711 47112 a4711_ aaaaaaaaaaaaa");
    assert_eq!(secrets.clean("NDcxMQ== and 34373131"), "***== and ***");
    let mut scrubber = secrets.stream();
    let out: Vec<u8> = [&b"4"[..], b"71", b"1", b"2 47", b"11"].iter().flat_map(|part| scrubber.push(part)).collect();
    assert_eq!([out, scrubber.finish()].concat(), b"47112 ***");
}

#[test]
fn labels_come_and_go_and_a_stream_knows_what_came_meanwhile() {
    let secrets = secrets(&[b"first-secret"]);
    let mut scrubber = secrets.stream();
    secrets.add("one", b"second-secret");
    secrets.add("one", b"third-secret");
    assert_eq!(secrets.clean("first-secret second-secret third-secret"), "*** *** ***");
    assert_eq!(scrubber.push(b"second-secret\n"), b"***\n");
    secrets.remove("one");
    assert_eq!(secrets.clean("first-secret second-secret third-secret"), "*** second-secret third-secret");
    secrets.replace_all([]);
    assert!(matches!(secrets.clean("first-secret"), Cow::Borrowed(_)));
}

#[test]
fn a_stream_holds_back_nothing_that_cannot_be_a_secret() {
    let secrets = secrets(&[b"correct horse battery"]);
    let mut scrubber = secrets.stream();
    assert_eq!(scrubber.push(b"$ cat note\n"), b"$ cat note\n");
    assert_eq!(scrubber.push(b"it is correct"), b"it is ");
    assert_eq!(scrubber.push(b" to ask"), b"correct to ask");
    assert_eq!(scrubber.push(b" correct horse"), b" ");
    assert_eq!(scrubber.push(b" battery, that is"), b"***, that is");
    assert_eq!(scrubber.finish(), b"");
}

#[test]
fn a_key_is_found_by_its_lines_and_its_armour_is_no_secret() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2g\nQyNTUxOQAAACB7fJ0yGx3vT2hU1bWc9dLkPqZsRtYuIoAsDfGhJkLzXc\n-----END OPENSSH PRIVATE KEY-----\n";
    let secrets = secrets(&[key.as_bytes()]);
    assert_eq!(secrets.clean(key), "***\n");
    assert_eq!(secrets.clean(&key.replace('\n', "\r\n")), "***\r\n");
    assert_eq!(secrets.clean("-----BEGIN OPENSSH PRIVATE KEY-----"), "-----BEGIN OPENSSH PRIVATE KEY-----");
    let line = key.lines().nth(2).unwrap();
    assert_eq!(secrets.clean(&format!("> {line}")), "> ***");
    let wrapped: Vec<String> =
        STANDARD.encode(key).as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let clean = secrets.clean(&wrapped.join("\n")).into_owned();
    assert!(clean.lines().all(|line| line.trim_start_matches(MARK).len() <= 23), "{clean}");
}

#[test]
fn values_are_cleaned_with_their_names_and_keep_their_shape() {
    let secrets = secrets(&[b"hunter2hunter3", "pässwörd".as_bytes()]);
    let mut value: Value = json!({ "a": ["x hunter2hunter3 y", 5, null, true], "hunter2hunter3": { "p": "pässwörd" } });
    secrets.clean_value(&mut value);
    assert_eq!(value, json!({ "a": ["x *** y", 5, null, true], "***": { "p": "***" } }));
}

#[test]
fn a_cut_in_the_middle_of_a_letter_takes_the_whole_letter() {
    let secret = "ääääöööößßßßüüüüÄÄÄÄÖÖÖÖ";
    let secrets = secrets(&[secret.as_bytes()]);
    // `ö` and `é` begin with the same byte.
    assert_eq!(secrets.clean(&format!("x{}éx", &secret[..24])), "x***x");
}

/// Repeats its input in every way that a call can
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Blab {
    /// What to say
    text: String,
    /// Whether to fail
    fail: bool,
}

#[derive(Serialize, JsonSchema)]
struct Blabbed {
    text: String,
}

impl Tool for Blab {
    const NAME: &'static str = "lab_blab";
    const LEVEL: Level = Level::Operate;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/lab/blab";
    type Output = Blabbed;

    async fn run(self, cx: &Context) -> Result<Blabbed> {
        cx.progress(1.0, None, &self.text).await;
        cx.publish(Event::changed(format!("hearth://host/{}", self.text)));
        if self.fail {
            return Err(Error::invalid(&self.text, &self.text).with_hint(&self.text));
        }
        cx.write(move |_| Ok(Blabbed { text: self.text })).await
    }
}

/// Shows what it is told, exactly
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reveal {
    /// What to show
    text: String,
}

impl Tool for Reveal {
    const NAME: &'static str = "lab_reveal";
    const LEVEL: Level = Level::Operate;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/lab/reveal";
    const REVEALS: bool = true;
    type Output = Blabbed;

    async fn run(self, cx: &Context) -> Result<Blabbed> {
        cx.write(move |_| Ok(Blabbed { text: self.text })).await
    }
}

const LAB: &[Entry] = &[Entry::of::<Blab>(), Entry::of::<Reveal>()];
const SECRET: &str = "s3cr\u{e9}t \"of\" the/house";

#[tokio::test]
async fn the_gate_lets_no_secret_out_but_by_the_tool_that_reveals_it() {
    let toolsets: Vec<_> = hearth::tools::TOOLSETS.iter().copied().chain([("lab", LAB)]).collect();
    let lab = TestApp::with(unhurried(), &toolsets);
    lab.app.secrets.add("label", SECRET.as_bytes());
    let mut events = lab.app.events.subscribe();
    let heard = Arc::new(Mutex::new(Vec::new()));
    for fail in [false, true] {
        let input = json!({ "text": SECRET, "fail": fail, "request_id": format!("{fail} {SECRET}") });
        let mut call = Call::new(Arc::new(caller("a", Level::Manage)), "lab_blab", input);
        let ears = Arc::clone(&heard);
        call.progress = Progress::to(move |step| {
            ears.lock().unwrap().push(step.message);
            Box::pin(std::future::ready(()))
        });
        match lab.registry.invoke(call).await {
            Ok(output) => assert_eq!(output, json!({ "text": MARK })),
            Err(error) => {
                let body = serde_json::to_value(error.body()).unwrap();
                assert_eq!(body["message"], "`***`: ***");
                assert_eq!((&body["hint"], &body["field"]), (&json!(MARK), &json!(MARK)));
            }
        }
        assert_eq!(events.recv().await.unwrap(), Event::changed("hearth://host/***"));
    }
    assert_eq!(*heard.lock().unwrap(), [MARK, MARK]);
    let error = lab.err(&person(), SECRET, json!({})).await;
    assert!(error.message.contains(MARK), "{error}");

    let reveal = json!({ "text": SECRET, "request_id": "once" });
    assert_eq!(lab.ok(&person(), "lab_reveal", reveal.clone()).await["text"], SECRET);
    assert_eq!(lab.ok(&person(), "lab_reveal", reveal).await["text"], MARK, "the record of a call keeps no secret");
    let rows = lab.ok(&person(), "audit_list", json!({})).await.to_string();
    assert!(rows.contains("`***`: ***"), "{rows}");
    let kept: Vec<String> = lab
        .app
        .store
        .read(|conn| {
            let sql = "select coalesce(output, '') from requests union all select coalesce(reason, '') from audit";
            let mut statement = conn.prepare(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
        .unwrap();
    assert!(kept.iter().all(|text| !lab.app.secrets.is_in(text.as_bytes())), "{kept:?}");
}

#[tokio::test]
async fn http_refuses_without_repeating_a_secret() {
    let lab = TestApp::new();
    lab.app.secrets.add("label", b"tskey-abc/def-ghi");
    let router = hearth::surface::http::router(&lab.registry, axum::Router::new());
    let owner = hearth::surface::http::owner_router(&lab.registry);
    let local = "127.0.0.1:8080".parse().unwrap();
    let tcp = Peer::Tcp { remote: "127.0.0.1:9".parse().unwrap(), local };
    for (router, peer) in [(&router, tcp), (&owner, Peer::Owner)] {
        for path in [
            "/no/tskey-abc/def-ghi",
            "/api/tskey-abc%2Fdef-ghi",
            "/api/audit?tskey-abc%2fdef-ghi=1",
            "/api/inventory/hosts/x?tskey-abc/def-ghi=1",
        ] {
            let request = http::Request::get(path).header("host", "127.0.0.1:8080").extension(peer);
            let response = router.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
            assert!(response.status().is_client_error(), "{path}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains(MARK) && !lab.app.secrets.is_in(&body), "{path}: {text}");
        }
    }
}
