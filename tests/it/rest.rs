//! REST: every tool by its route, problems by their shape, the document by what it promises.

use serde_json::{Value, json};

use crate::support::server::Server;

const WHOAMI: &str = "/api/system/whoami";

#[test]
fn what_does_not_hold_is_a_problem_that_names_it() {
    let server = Server::start();
    let token = server.token("boss", 4);
    let list = |query: &str| server.get(&format!("/api/audit?{query}")).problem(400);
    assert_eq!(list("limit=0")["field"], "limit");
    assert_eq!(list("limit=many")["field"], "limit");
    assert_eq!(list("limit=1&limit=2")["field"], "limit");
    assert_eq!(list("colour=red")["field"], "colour");
    assert!(list("limit=0")["call_id"].is_string());
    server.get("/api/no/such").problem(404);
    let answer = server.send("DELETE", WHOAMI, &[], b"");
    answer.problem(405);
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));

    let post = |body: &str| server.post_as(&token, "/api/tokens", body);
    for body in ["{", "[]", "null", "\"x\"", "{\"name\": 1,}", "\u{feff}{}"] {
        assert_eq!(post(body).problem(400)["code"], "invalid_input", "{body}");
    }
    let deep = format!("{{\"name\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    post(&deep).problem(400);
    assert_eq!(post("{\"name\": null}").problem(400)["field"], "name");
    let query = server.send("POST", "/api/tokens?name=x", &[], b"{}").problem(400);
    assert_eq!(query["field"], "name");
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        server.send("POST", "/api/tokens", &[("Content-Type", media_type)], b"{}").problem(415);
    }
}

#[test]
fn what_is_for_a_person_is_for_nobody_over_the_network() {
    let server = Server::start();
    let token = server.token("boss", 4);
    let body = r#"{"name": "mine", "level": 4}"#;
    for answer in [server.post_as(&token, "/api/tokens", body), server.get_as(&token, "/api/tokens")] {
        assert_eq!(answer.problem(403)["code"], "forbidden");
    }
    let document = server.get_as(&token, "/api/openapi.json").text();
    assert!(!document.contains("token_create") && !document.contains("system_approve"));
}

#[test]
fn an_answer_that_is_known_is_not_sent_again() {
    let server = Server::start();
    let first = server.get(WHOAMI);
    let tag = first.header("etag").unwrap().to_owned();
    for known in [tag.as_str(), "*", &format!("\"x\", W/{tag}")] {
        let again = server.send("GET", WHOAMI, &[("If-None-Match", known)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
    let other = server.send("GET", WHOAMI, &[("If-None-Match", "\"x\"")], b"");
    assert_eq!((other.status, other.header("content-type")), (200, Some("application/json")));
    let head = server.send("HEAD", WHOAMI, &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn too_many_calls_are_told_when_to_come_back() {
    let server = Server::with("[limits]\nreads_per_second = 1\nburst_seconds = 2\n");
    let answers: Vec<_> = (0..4).map(|_| server.get(WHOAMI)).collect();
    let limited = answers.last().unwrap();
    assert_eq!(limited.problem(429)["code"], "rate_limited");
    assert_eq!(limited.header("retry-after"), Some("1"));
}

#[test]
fn the_document_describes_what_the_caller_may_call() {
    let server = Server::start();
    let document = server.get("/api/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            names.push(name.to_owned());
            assert_eq!(operation["x-hearth-level"], 1, "{name}: loopback has level 1");
            assert!(operation["responses"]["default"].is_object(), "{name}");
            let parameters = operation["parameters"].as_array().unwrap();
            for field in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let is_it = |parameter: &&Value| parameter["name"] == field && parameter["in"] == "path";
                let parameter = parameters.iter().find(is_it).unwrap_or_else(|| panic!("{name}: {field}"));
                assert_eq!(parameter["required"], true, "{name}: {field}");
            }
            assert_eq!(operation["requestBody"].is_object(), !["get", "delete"].contains(&method.as_str()), "{name}");
        }
    }
    assert!(names.contains(&"audit_list".to_owned()), "{names:?}");
    assert!(!names.contains(&"token_create".to_owned()), "{names:?}");
    let whole = document.to_string();
    for reference in whole.split("\"$ref\":\"#/").skip(1) {
        let pointer = format!("/{}", reference.split('"').next().unwrap());
        assert!(document.pointer(&pointer).is_some(), "{pointer}");
    }
}

#[test]
fn figures_are_in_prometheus_form() {
    let server = Server::start();
    server.get(WHOAMI);
    let answer = server.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    assert!(text.contains("hearth_calls_total{tool=\"system_whoami\",door=\"rest\",code=\"ok\"} 1\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert_eq!(server.get("/ready").json(), json!({ "status": "ready" }));
}

#[test]
fn a_repeated_call_with_its_key_is_answered_and_not_run_again() {
    let server = Server::start();
    let post =
        |key: &str, body: &str| server.send("POST", "/api/forum/threads", &[("Idempotency-Key", key)], body.as_bytes());
    let body = r#"{"title": "One", "body": "x"}"#;
    let first = post("k1", body).json();
    assert_eq!(post("k1", body).json(), first);
    assert_eq!(post("k1", r#"{"title": "Two", "body": "x"}"#).problem(409)["code"], "conflict");
    assert_eq!(post("k2", r#"{"title": "Two", "body": "x", "request_id": "k3"}"#).problem(400)["field"], "request_id");
    post(&"k".repeat(200), body).problem(400);
    assert_eq!(server.get("/api/forum/threads").json()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn paths_queries_and_bodies_are_one_input() {
    let server = Server::start();
    let token = server.token("boss", 4);
    let bearer = format!("Bearer {token}");
    let made =
        server.post_as(&token, "/api/forum/threads", r#"{"title": "One", "body": "x", "tags": ["a", "b"]}"#).json();
    let id = made["thread"]["thread_id"].to_string();
    let path = format!("/api/forum/threads/{id}");
    assert_eq!(server.get(&format!("{path}?limit=1")).json()["thread"]["title"], "One");
    assert_eq!(server.get("/api/forum/threads/x").problem(400)["field"], "thread_id");
    assert_eq!(server.get(&format!("{path}?thread_id=1")).problem(400)["field"], "thread_id");
    server.get("/api/forum/threads/999").problem(404);
    server.get("/api/forum/threads/%ff").problem(400);
    let tags = |body: &str| server.send("PUT", &format!("{path}/tags"), &[("Authorization", &bearer)], body.as_bytes());
    assert_eq!(tags(r#"{"tags": ["c"]}"#).json()["tags"], json!(["c"]));
    assert_eq!(tags(r#"{"tags": ["c"], "thread_id": 1}"#).problem(400)["field"], "thread_id");

    let put = server.send("PUT", "/api/inventory/hosts/nas", &[("Authorization", &bearer)], br#"{"kind": "nas"}"#);
    assert_eq!(put.status, 200, "{}", put.text());
    let remove = |approval: &str| {
        let headers = [("Authorization", bearer.as_str()), ("X-Hearth-Approval", approval)];
        server.send("DELETE", "/api/inventory/hosts/nas", &headers[..if approval.is_empty() { 1 } else { 2 }], b"")
    };
    let planned = remove("").problem(428);
    let id = planned["approval_id"].as_str().unwrap().to_owned();
    assert!(planned["plan"]["summary"].is_string(), "{planned}");
    remove(&id).problem(428);
    assert!(server.hearth(&["approve", &id]).status.success());
    assert_eq!(remove(&id).json()["removed"], "nas");
    server.get("/api/inventory/hosts/nas").problem(404);
}
