//! The vault at the command line: secrets that are piped in, a kit that restores, hints that can be followed.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::server::{Server, command, hearth};

const CANARY: &str = "c4n4ry-hunter2-c4n4ry";

fn fed(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = command(dir).args(args).stdin(Stdio::piped()).spawn().unwrap();
    // It may have refused before it read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, status: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{text}");
    text
}

fn code_on(kit: &str) -> String {
    kit.lines().skip_while(|line| !line.starts_with("HEAR ")).take_while(|line| !line.is_empty()).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_secret_is_piped_in_hidden_over_rest_and_shown_exactly_when_confirmed() {
    let server = Server::start();
    let (token, dir) = (server.token("agent", 4), server.dir.path());
    let post = format!(r#"{{"title":"note","body":"it is {CANARY}."}}"#);
    let thread = server.post_as(&token, "/api/forum/threads", &post).json()["thread"]["thread_id"].clone();
    let path = format!("/api/forum/threads/{}", thread.as_str().map_or_else(|| thread.to_string(), str::to_owned));
    assert!(server.get_as(&token, &path).text().contains(CANARY));
    let put = said(fed(dir, &["credential", "put", "nas", "--kind", "password"], &format!("{CANARY}\n")));
    assert_eq!((&json(&put)["name"], &json(&put)["version"]), (&"nas".into(), &1.into()));
    let read = server.get_as(&token, &path).text();
    assert!(read.contains("it is ***.") && !read.contains(CANARY), "{read}");
    let get = ["credential", "get", "nas", "--purpose", "by hand"];
    let unconfirmed = hearth(dir, &get);
    assert!(!unconfirmed.status.success() && unconfirmed.stdout.is_empty());
    assert_eq!(said(hearth(dir, &[&get[..], &["--yes"]].concat())), format!("{CANARY}\n"));
    said(fed(dir, &["credential", "rotate", "nas"], "an0ther-secret"));
    assert_eq!(said(hearth(dir, &[&get[..], &["--yes"]].concat())), "an0ther-secret\n");
    said(hearth(dir, &["credential", "rotate", "nas", "--restore"]));
    let list = said(hearth(dir, &["credential", "list"]));
    assert_eq!(json(&list)["items"][0]["version"], 3);
    assert_eq!(json(&said(hearth(dir, &["credential", "expiring"])))["items"], Value::Array(Vec::new()));
    said(hearth(dir, &["credential", "remove", "nas", "--yes"]));
    assert!(!server.log().contains(CANARY) && !list.contains(CANARY));
}

#[test]
fn a_secret_among_the_arguments_is_refused_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let whole = format!(r#"{{"name":"nas","kind":"password","secret":"{CANARY}"}}"#);
    let field = format!("secret={CANARY}");
    for args in [
        &["call", "credential_put", "name=nas", "kind=password", &field][..],
        &["call", "credential_put", "--json", &whole],
    ] {
        let text = refused(&hearth(dir.path(), args), 64);
        assert!(text.contains("--json -") && !text.contains(CANARY), "{text}");
    }
    let list = said(hearth(dir.path(), &["credential", "list"]));
    assert_eq!(json(&list)["items"], Value::Array(Vec::new()));
    said(fed(dir.path(), &["call", "credential_put", "--json", "-"], &whole));
    for (input, why) in [("", "is empty"), ("\n", "is empty")] {
        let text = refused(&fed(dir.path(), &["credential", "rotate", "nas"], input), 64);
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_kit_brings_back_a_lost_key_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, key) = (dir.path(), dir.path().join("root.key"));
    said(fed(dir, &["credential", "put", "nas", "--kind", "password"], CANARY));
    let kit = said(hearth(dir, &["key", "kit"]));
    let code = code_on(&kit);
    let verified = json(&said(fed(dir, &["key", "verify"], &code)));
    assert_eq!((&verified["versions"], &verified["opened"]), (&1.into(), &1.into()), "{verified}");
    // Nothing is written over a key that is there.
    refused(&fed(dir, &["key", "restore"], &code), 73);
    let lost = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let hint = hearth(dir, &["credential", "list"]);
    assert!(String::from_utf8_lossy(&hint.stderr).contains("hearth key restore"));
    // A kit of another appliance leaves no file behind.
    let other = tempfile::tempdir().unwrap();
    let foreign = said(hearth(other.path(), &["key", "kit"]));
    let foreign = code_on(&foreign);
    assert!(!fed(dir, &["key", "restore"], &foreign).status.success());
    assert!(!fed(dir, &["key", "restore"], &code[..20]).status.success());
    assert!(!key.exists());
    let restored = json(&said(fed(dir, &["key", "restore"], &code)));
    assert_eq!(restored["opened"], 1, "{restored}");
    assert_eq!(std::fs::read(&key).unwrap(), lost);
    assert_eq!(said(hearth(dir, &["credential", "get", "nas", "--purpose", "x", "--yes"])).trim(), CANARY);
}

#[test]
fn the_root_key_is_exchanged_at_the_command_line() {
    let server = Server::start();
    let dir = server.dir.path();
    said(fed(dir, &["credential", "put", "nas", "--kind", "password"], CANARY));
    let before = std::fs::read(dir.join("root.key")).unwrap();
    let rotated = json(&said(hearth(dir, &["key", "rotate"])));
    assert_ne!(std::fs::read(dir.join("root.key")).unwrap(), before);
    let status = json(&said(hearth(dir, &["key", "status"])));
    let current = status["keys"].as_array().unwrap().iter().find(|key| key["state"] == "current").unwrap();
    assert_eq!((&current["key_id"], &current["versions"]), (&rotated["new"], &1.into()), "{status}");
    let leaked = json(&said(hearth(dir, &["key", "compromise"])));
    assert_eq!(leaked["items"][0]["name"], "nas");
    assert_eq!(said(hearth(dir, &["credential", "get", "nas", "--purpose", "x", "--yes"])).trim(), CANARY);
}

#[test]
fn init_says_how_to_print_the_kit() {
    let dir = tempfile::tempdir().unwrap();
    let text = said(hearth(dir.path(), &["init"]));
    assert!(text.contains("hearth key kit"), "{text}");
    assert!(said(hearth(dir.path(), &["key", "kit"])).contains("HEAR TH1"));
}
