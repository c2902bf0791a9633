//! Answers that a client missed: replayed whatever others do meanwhile, until they are too old.

use std::io::{Read, Write};
use std::time::Duration;

use hearth::config::Config;
use serde_json::{Value, json};

use super::{Events, Lab, call, initialize, request};
use crate::support::server::Server;

/// A connection that stays, as clients keep theirs.
struct Connection<'a> {
    server: &'a Server,
    stream: std::net::TcpStream,
    head: String,
    read: Vec<u8>,
}

impl Connection<'_> {
    /// Opens a session.
    fn open<'a>(server: &'a Server, token: &str) -> Connection<'a> {
        let head = format!("Host: {}\r\nAuthorization: Bearer {token}\r\n", server.address);
        let mut connection = Connection { server, stream: server.connect(), head, read: Vec::new() };
        let answer = connection.post(&initialize(json!({})));
        let session = answer.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap();
        connection.head += &format!("Mcp-Session-Id: {session}\r\n");
        connection.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        connection
    }

    fn send(&mut self, method: &str, headers: &str, body: &str) {
        let head = format!(
            "{method} /mcp HTTP/1.1\r\n{}{headers}Accept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.head,
            body.len()
        );
        self.stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    }

    /// Reads until there is what is wanted, and returns it: `wanted` says where it ends.
    fn take(&mut self, wanted: impl Fn(&[u8]) -> Option<usize>) -> String {
        let mut buffer = [0; 64 * 1024];
        loop {
            if let Some(end) = wanted(&self.read) {
                return String::from_utf8(self.read.drain(..end).collect()).unwrap();
            }
            let n = self.stream.read(&mut buffer).unwrap();
            assert!(0 < n, "the server closed after {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&buffer[..n]);
        }
    }

    fn until(&mut self, end: &str) -> String {
        self.take(|read| read.windows(end.len()).position(|found| found == end.as_bytes()).map(|at| at + end.len()))
    }

    /// The whole of a body in chunks.
    fn body(&mut self) -> String {
        let mut body = String::new();
        loop {
            let size = usize::from_str_radix(self.until("\r\n").trim(), 16).unwrap();
            let chunk = self.take(|read| (size + 2 <= read.len()).then_some(size + 2));
            if size == 0 {
                return body;
            }
            body += chunk.trim_end_matches("\r\n");
        }
    }

    /// Sends a message and reads the whole response.
    fn post(&mut self, message: &Value) -> String {
        self.send("POST", "", &message.to_string());
        let mut answer = self.until("\r\n\r\n");
        if answer.contains("chunked") {
            answer += &self.body();
        }
        answer
    }

    /// Sends a call and goes away at the first event of its stream, whose id it keeps.
    fn miss(&mut self, message: &Value) -> String {
        self.send("POST", "", &message.to_string());
        self.until("\nid: ");
        let id = self.until("\n").trim().to_owned();
        self.read.clear();
        self.stream = self.server.connect();
        id
    }

    /// What comes after an event that it knows.
    fn resume(&mut self, last: &str) -> String {
        // One that says nothing for long is closed.
        self.stream = self.server.connect();
        self.send("GET", &format!("Last-Event-ID: {last}\r\n"), "");
        self.until("\r\n\r\n");
        self.body()
    }
}

#[test]
fn an_answer_missed_is_replayed_after_two_thousand_calls_of_another() {
    let server = Server::start();
    let (owner, other) = (server.token("owner", 2), server.token("other", 2));
    let mut sleeper = Connection::open(&server, &owner);
    let thread = json!({ "title": "Long", "body": "The pool is degraded. ".repeat(500) });
    let written = sleeper.post(&request(2, "tools/call", call("forum_create_thread", thread)));
    assert!(written.contains(r#""isError":false"#), "{written}");
    let read = |id| request(id, "tools/call", call("forum_read_thread", json!({ "thread_id": 1 })));
    let missed = |id: i64, replayed: &str| {
        assert!(replayed.contains(&format!(r#""id":{id},"#)) && replayed.contains("pool"), "{id}: {replayed}");
    };
    // It lost some of its connections and goes on by others.
    let lost: Vec<(i64, String)> = (100..105).map(|id| (id, sleeper.miss(&read(id)))).collect();
    for (id, last) in &lost {
        missed(*id, &sleeper.resume(last));
    }
    let last = sleeper.miss(&read(200));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut busy = Connection::open(&server, &other);
                for id in 0..500 {
                    let answer = busy.post(&read(id));
                    assert!(answer.contains(&format!(r#""id":{id},"#)) && answer.contains("pool"), "{id}: {answer}");
                }
            });
        }
    });
    missed(200, &sleeper.resume(&last));
}

#[tokio::test]
async fn more_missed_answers_than_memory_holds_are_all_replayed_also_after_a_restart() {
    let lab = Lab::open();
    let session = lab.initialize(&[], json!({})).await;
    let headers = [("mcp-session-id", session.as_str())];
    let mut missed = Vec::new();
    for id in 1..=40 {
        let echo = call("lab_echo", json!({ "text": format!("{id}:{}", "x".repeat(20_000)) }));
        let mut stream = Events::of(lab.send("POST", "/mcp", &headers, Some(request(id, "tools/call", echo))).await);
        missed.push((id, stream.next().await.unwrap().0));
    }
    let replay_all = async |lab: &Lab| {
        for (id, last) in &missed {
            let resume = [("mcp-session-id", session.as_str()), ("last-event-id", last.as_str())];
            let mut stream = Events::of(lab.send("GET", "/mcp", &resume, None).await);
            let (_, message) = stream.message().await.unwrap_or_else(|| panic!("{id} is lost"));
            let text = message["result"]["structuredContent"]["text"].as_str().unwrap();
            assert!(message["id"] == *id && text.starts_with(&format!("{id}:")) && 20_000 < text.len(), "{id}");
            assert!(stream.message().await.is_none(), "a stream ends with its answer");
        }
    };
    replay_all(&lab).await;
    let lab = lab.restart().await;
    replay_all(&lab).await;
}

#[tokio::test]
async fn an_answer_that_was_read_is_not_written_and_one_that_was_missed_is() {
    let lab = Lab::open();
    let session = lab.initialize(&[], json!({})).await;
    let headers = [("mcp-session-id", session.as_str())];
    let until = tokio::time::Instant::now() + Duration::from_millis(2500);
    let mut id = 0;
    while tokio::time::Instant::now() < until {
        id += 1;
        let echo = request(id, "tools/call", call("lab_echo", json!({ "text": "read to its end" })));
        let mut stream = Events::of(lab.send("POST", "/mcp", &headers, Some(echo)).await);
        while stream.message().await.is_some() {}
        // So few that they need no room made for them.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(3 < id, "{id}");
    assert_eq!(rows(&lab, "read to its end").await, 0);
    let echo = request(id + 1, "tools/call", call("lab_echo", json!({ "text": "gone too early" })));
    drop(lab.send("POST", "/mcp", &headers, Some(echo)).await);
    // A client that goes on may have lost one of its connections all the same.
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while rows(&lab, "gone too early").await == 0 {
        assert!(tokio::time::Instant::now() < until, "the answer is not written");
        lab.ask(&session, &[], "tools/call", call("lab_echo", json!({ "text": "next" }))).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn events_are_pruned_after_their_retention() {
    let mut config = Config::default();
    config.mcp.event_retention = Duration::from_millis(2500);
    let lab = Lab::open_with(tempfile::tempdir().unwrap(), config);
    let session = lab.initialize(&[], json!({})).await;
    let headers = [("mcp-session-id", session.as_str())];
    let echo = request(5, "tools/call", call("lab_echo", json!({ "text": "soon forgotten" })));
    let (last, _, _) = Events::of(lab.send("POST", "/mcp", &headers, Some(echo)).await).next().await.unwrap();
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while rows(&lab, "soon forgotten").await == 0 {
        assert!(tokio::time::Instant::now() < until, "the answer is not written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let resume = [("mcp-session-id", session.as_str()), ("last-event-id", last.as_str())];
    assert_eq!(Events::of(lab.send("GET", "/mcp", &resume, None).await).message().await.unwrap().1["id"], 5);
    while 0 < rows(&lab, "soon forgotten").await {
        assert!(tokio::time::Instant::now() < until, "the answer stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let too_late = Events::of(lab.send("GET", "/mcp", &resume, None).await).message().await;
    assert!(too_late.is_none(), "{too_late:?}");
    // The session itself goes on.
    let said = lab.ask(&session, &[], "tools/call", call("lab_echo", json!({ "text": "still here" }))).await;
    assert_eq!(said["result"]["structuredContent"]["text"], "still here");
}

/// The events in SQLite that hold a text.
async fn rows(lab: &Lab, text: &str) -> i64 {
    let text = format!("%{text}%");
    let count = lab.app.store.read(move |conn| {
        Ok(conn.query_row("select count(*) from mcp_events where event like ?1", [text], |row| row.get(0))?)
    });
    count.await.unwrap()
}
