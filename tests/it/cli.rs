//! The command line: answers, exit statuses, and the life of a server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::server::{Server, command, hearth};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_stopped_server_has_finished_and_leaves_no_socket() {
    let mut server = Server::start();
    let data = server.data();
    let socket = data.join("hearth.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let _idle = server.connect();
    let mut kept = server.connect();
    kept.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    kept.read_exact(&mut [0; 16]).unwrap();
    let mut half = server.connect();
    half.write_all(b"GET /health HTTP/1.1\r\nHost: loc").unwrap();
    let mut stream = server.connect();
    stream.write_all(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 16]).unwrap();
    let asked = Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(!socket.exists() && !data.join("mcp.sock").exists());
}

#[test]
fn a_call_goes_through_the_server_or_does_without() {
    let server = Server::start();
    let through = server.hearth(&["call", "system_whoami"]);
    assert!(through.status.success(), "{}", stderr(&through));
    let dir = tempfile::tempdir().unwrap();
    let without = hearth(dir.path(), &["call", "system_whoami"]);
    for output in [through, without] {
        let whoami: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&whoami["principal"], &whoami["door"]), (&"owner".into(), &"cli".into()));
    }
}

#[test]
fn exit_statuses_say_what_happened() {
    let server = Server::start();
    for (args, status) in [
        (&["call", "no_such_tool"][..], 66),
        (&["call", "audit_list", "limit=0"], 64),
        (&["call", "audit_list", "--json", "[]"], 64),
        (&["call", "audit_list", "limit"], 2),
        (&["call"], 2),
        (&["no-such-command"], 2),
        (&["--no-such-option"], 2),
        (&["token", "create", "--name", "x", "--level", "9"], 2),
        (&["token", "revoke", "nobody"], 66),
        (&["approve", "none"], 66),
        (&["serve", "--listen", "127.0.0.1:0"], 69),
        (&["--help"], 0),
        (&["call", "--help"], 0),
        (&["completions", "bash"], 0),
    ] {
        let output = server.hearth(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn help_has_examples() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["serve", "call", "tools", "approve", "init", "mcp", "completions"] {
        let help = stdout(&hearth(dir.path(), &[command, "--help"]));
        assert!(help.contains("Example"), "{command}: {help}");
    }
}

#[test]
fn a_new_token_stands_alone_on_standard_output() {
    let server = Server::start();
    let token = server.token("agent", 1);
    assert!(!token.contains(char::is_whitespace) && token.len() > 40, "{token:?}");
    let again = server.hearth(&["token", "create", "--name", "agent", "--level", "1"]);
    assert_eq!(again.status.code(), Some(73), "{}", stderr(&again));
    let list = stdout(&server.hearth(&["token", "list"]));
    assert!(list.contains("agent") && !list.contains(&token), "{list}");
    let short = server.hearth(&[
        "token",
        "create",
        "--name",
        "short",
        "--level",
        "operate",
        "--expires",
        "90d",
        "--toolsets",
        "audit",
    ]);
    assert!(short.status.success(), "{}", stderr(&short));
}

#[test]
fn init_writes_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = hearth(dir.path(), &["init"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let file = dir.path().join("data/hearth.toml");
    assert!(std::fs::read_to_string(&file).unwrap().contains("[server]"));
    assert_eq!(std::fs::metadata(dir.path().join("root.key")).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&file, "# mine\n").unwrap();
    assert_eq!(hearth(dir.path(), &["init"]).status.code(), Some(73));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# mine\n");
}

#[test]
fn every_mistake_of_the_configuration_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(
        dir.path().join("data/hearth.toml"),
        "[server]\nprot = 1\nbind = \"0.0.0.0\"\n[limits]\nbody_bytes = 1\n",
    )
    .unwrap();
    let output = hearth(dir.path(), &["serve"]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    for part in ["hearth.toml:2:1", "did you mean `port`", "hearth.toml:3:8", "limits.body_bytes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let absent = hearth(dir.path(), &["serve", "--config", "/nonexistent.toml"]);
    assert_eq!(absent.status.code(), Some(78), "{}", stderr(&absent));
    let everywhere = tempfile::tempdir().unwrap();
    let output = hearth(everywhere.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
}

#[test]
fn a_taken_port_is_said_and_a_stale_socket_is_none() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = hearth(dir.path(), &["serve", "--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr(&output).contains("cannot listen on"), "{}", stderr(&output));

    let data = dir.path().join("data");
    drop(std::os::unix::net::UnixListener::bind(data.join("hearth.sock")).unwrap());
    assert!(hearth(dir.path(), &["call", "system_whoami"]).status.success());
}

#[test]
fn a_data_folder_with_a_long_name_has_its_socket_too() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(120));
    let mut server = command(&long).args(["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut first = [0; 12];
    server.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let output = hearth(&long, &["call", "system_whoami"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_destructive_call_runs_once_a_person_has_approved_it() {
    let server = Server::start();
    let put = server.hearth(&["call", "inventory_put_host", "name=nas", "kind=nas"]);
    assert!(put.status.success(), "{}", stderr(&put));
    let refused = server.hearth(&["call", "inventory_remove_host", "name=nas"]);
    assert_eq!(refused.status.code(), Some(75), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("hearth approve "), "{}", stderr(&refused));

    let waiting: Value = serde_json::from_str(&stdout(&server.hearth(&["approve"]))).unwrap();
    let id = waiting["items"][0]["approval_id"].as_str().unwrap().to_owned();
    assert!(server.hearth(&["approve", &id]).status.success());
    let approval = format!("approval_id={id}");
    let removed = server.hearth(&["call", "inventory_remove_host", "name=nas", &approval]);
    assert!(removed.status.success(), "{}", stderr(&removed));

    assert!(server.hearth(&["call", "inventory_put_host", "name=nas", "kind=nas"]).status.success());
    let at_once = server.hearth(&["call", "inventory_remove_host", "name=nas", "--yes"]);
    assert!(at_once.status.success(), "{}", stderr(&at_once));
    assert_eq!(server.hearth(&["call", "inventory_get_host", "name=nas"]).status.code(), Some(66));
}

#[test]
fn fields_come_as_words_and_as_json() {
    let server = Server::start();
    let made = server.hearth(&[
        "call",
        "forum_create_thread",
        "title=Disk",
        "--json",
        r#"{"body": "swap"}"#,
        "tags=nas",
        "tags=disk",
    ]);
    assert!(made.status.success(), "{}", stderr(&made));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["thread"]["tags"].as_array().unwrap().len(), 2, "{made}");
    let mut piped =
        command(server.dir.path()).args(["call", "forum_reply", "--json", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let reply = format!("{{\"thread_id\": {}, \"body\": \"done\"}}", made["thread"]["thread_id"]);
    piped.stdin.take().unwrap().write_all(reply.as_bytes()).unwrap();
    let replied = piped.wait_with_output().unwrap();
    assert!(replied.status.success(), "{}", stderr(&replied));
    let list = stdout(&server.hearth(&["tools"]));
    assert!(list.contains("forum_reply") && !list.contains("\"input\""), "{list}");
    let one = stdout(&server.hearth(&["tools", "forum_reply"]));
    assert!(one.contains("thread_id"), "{one}");
}

/// Speaks MCP over pipes: what it is asked, a line each, and the answers until it ends.
fn mcp(dir: &Path, lines: &[&str]) -> Vec<Value> {
    let mut child = command(dir).arg("mcp").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut answers = Vec::new();
    for line in lines {
        writeln!(stdin, "{line}").unwrap();
        if line.contains("\"id\"") {
            let mut answer = String::new();
            stdout.read_line(&mut answer).unwrap();
            answers.push(serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}")));
        }
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    answers
}

#[test]
fn mcp_over_pipes_is_the_same_with_a_server_and_without() {
    let server = Server::start();
    let alone = tempfile::tempdir().unwrap();
    for dir in [server.dir.path(), alone.path()] {
        let answers = mcp(
            dir,
            &[
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
                r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"system_whoami","arguments":{}}}"#,
                r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"token_create","arguments":{"name":"x","level":4}}}"#,
            ],
        );
        let tools = answers[1]["result"]["tools"].to_string();
        assert!(tools.contains("forum_reply") && !tools.contains("token_create"), "{tools}");
        let whoami = &answers[2]["result"]["structuredContent"];
        assert_eq!((&whoami["principal"], &whoami["door"]), (&"owner".into(), &"mcp".into()), "{whoami}");
        assert_ne!(answers[3]["result"]["isError"], false, "an agent is no person: {}", answers[3]);
    }
}

#[test]
fn a_forum_is_imported_through_the_server_or_without() {
    let server = Server::start();
    let file = server.dir.path().join("forum.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch(
        "create table threads (id integer primary key, title text, body text, author text, created_at text);
         create table posts (id integer primary key, thread_id integer, body text, author text, created_at text);
         insert into threads values (7, 'Old', 'first', 'ann', '2026-01-01 10:00:00');
         insert into posts values (1, 7, 'second', 'ben', '2026-01-01 11:00:00');",
    )
    .unwrap();
    drop(db);
    let path = file.to_str().unwrap();
    let dry = server.hearth(&["import", "forum", path, "--dry-run"]);
    assert!(dry.status.success(), "{}", stderr(&dry));
    let report: Value = serde_json::from_slice(&dry.stdout).unwrap();
    assert_eq!((&report["written"], &report["threads"]["read"]), (&false.into(), &1.into()), "{report}");
    let done = server.hearth(&["import", "forum", path]);
    assert!(done.status.success(), "{}", stderr(&done));
    let thread = server.hearth(&["call", "forum_read_thread", "thread_id=7"]);
    assert!(stdout(&thread).contains("second"), "{} {}", stdout(&thread), stderr(&thread));
    let absent = server.hearth(&["import", "forum", "absent.db"]);
    assert!(!absent.status.success() && stderr(&absent).contains("absent.db"), "{}", stderr(&absent));
    let alone = tempfile::tempdir().unwrap();
    assert!(hearth(alone.path(), &["import", "forum", path]).status.success());
}

#[test]
fn what_it_keeps_is_for_its_owner_alone() {
    use std::os::unix::fs::MetadataExt;

    let server = Server::start();
    server.hearth(&["call", "forum_create_thread", "title=a", "body=b"]);
    let mut seen = 0;
    for entry in std::fs::read_dir(server.data()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // The configuration is the test's own file.
        if name != "hearth.toml" {
            assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{name}");
            seen += 1;
        }
    }
    assert!(5 <= seen, "database, log, lock and sockets");
}
