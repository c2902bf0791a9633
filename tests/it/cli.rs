//! The command line: answers, exit statuses, and the life of a server.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
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
    let server = Server::start();
    let data = server.data();
    let socket = data.join("hearth.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let _idle = server.connect();
    let mut kept = server.connect();
    kept.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    kept.read_exact(&mut [0; 16]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let asked = Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(!socket.exists());
    drop(dir);
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
