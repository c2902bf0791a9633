//! The inventory's records: put as a patch, references, removal, history, events.

use hearth::app::{Caller, Event, Level};
use hearth::error::Code;
use serde_json::{Value, json};

use crate::support::{TestApp, caller, person};

fn keeper() -> Caller {
    caller("keeper", Level::Configure)
}

async fn put(app: &TestApp, kind: &str, input: Value) -> Value {
    app.ok(&keeper(), &format!("inventory_put_{kind}"), input).await
}

async fn read(app: &TestApp, tool: &str, input: Value) -> Value {
    app.ok(&caller("reader", Level::Monitor), tool, input).await
}

/// Proposes a removal, has a person approve it and removes.
async fn remove(app: &TestApp, kind: &str, name: &str) -> Value {
    let tool = format!("inventory_remove_{kind}");
    let error = app.err(&keeper(), &tool, json!({ "name": name })).await;
    let (approval, plan) = error.approval().expect("a plan");
    let plan = plan.clone();
    app.ok(&person(), "system_approve", json!({ "approval": approval })).await;
    let removed = app.ok(&keeper(), &tool, json!({ "name": name, "approval_id": approval })).await;
    assert_eq!(removed, json!({ "removed": name }));
    plan
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// A host, a VM and two services, one upon the other.
async fn lab() -> TestApp {
    let app = TestApp::new();
    put(&app, "host", json!({ "name": "nas", "kind": "nas", "addresses": ["192.168.1.10"], "os": "TrueNAS", "tags": ["storage", "24x7"] })).await;
    put(
        &app,
        "vm",
        json!({ "name": "plex", "host": "NAS", "vmid": 101, "addresses": ["192.168.1.20"], "status": "running" }),
    )
    .await;
    put(&app, "service", json!({ "name": "db", "kind": "database", "runs_on": "host:nas", "port": 5432 })).await;
    put(&app, "service", json!({ "name": "web", "kind": "web", "url": "http://plex.lan:8080", "runs_on": "vm:plex", "depends_on": ["DB"] })).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_keeps_what_it_leaves_out_and_clears_what_is_empty() {
    let app = lab().await;
    let host = put(
        &app,
        "host",
        json!({ "name": "nas", "location": "attic", "addresses": ["::ffff:192.168.1.10", "FD00::0:1"] }),
    )
    .await;
    assert_eq!(host["os"], "TrueNAS");
    assert_eq!(host["addresses"], json!(["192.168.1.10", "fd00::1"]));
    assert_eq!((&host["version"], &host["updated_by"]), (&json!(2), &json!("token:keeper")));
    let host = put(&app, "host", json!({ "name": "nas", "os": "", "tags": [], "addresses": [] })).await;
    assert!(host.get("os").is_none());
    assert_eq!((&host["tags"], &host["addresses"], &host["location"]), (&json!([]), &json!([]), &json!("attic")));
    let vm = put(&app, "vm", json!({ "name": "plex", "vmid": 0, "host": "" })).await;
    assert!(vm.get("vmid").is_none() && vm.get("host").is_none());
    assert_eq!(vm["status"], "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_changes_nothing_leaves_no_trace() {
    let app = lab().await;
    let before = read(&app, "inventory_get_host", json!({ "name": "nas" })).await;
    let again =
        put(&app, "host", json!({ "name": "NAS", "os": " TrueNAS ", "tags": ["storage", "24x7", "Storage"] })).await;
    assert_eq!(again["version"], 1);
    assert_eq!(read(&app, "inventory_get_host", json!({ "name": "nas" })).await, before);
    let changes = read(&app, "inventory_changes", json!({ "kind": "host" })).await;
    assert_eq!(changes["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_answers_as_the_first_did() {
    let app = lab().await;
    let network = json!({ "name": "lan", "cidr": "192.168.1.0/24", "request_id": "n1" });
    let first = put(&app, "network", network.clone()).await;
    assert_eq!(put(&app, "network", network).await, first);
    let lease = json!({ "network": "lan", "request_id": "a1" });
    let given = app.ok(&keeper(), "inventory_allocate_ip", lease.clone()).await;
    assert_eq!(app.ok(&keeper(), "inventory_allocate_ip", lease).await, given);
    assert_eq!(given["address"], "192.168.1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn if_version_holds_off_a_second_writer() {
    let app = lab().await;
    put(&app, "host", json!({ "name": "nas", "notes": "one", "if_version": 1 })).await;
    let error =
        app.err(&keeper(), "inventory_put_host", json!({ "name": "nas", "notes": "two", "if_version": 1 })).await;
    assert_eq!(error.code, Code::Conflict);
    assert!(error.message.contains("version 2"), "{error}");
    for (name, version) in [("nas", 0), ("new", 1)] {
        let input = json!({ "name": name, "if_version": version });
        assert_eq!(app.err(&keeper(), "inventory_put_host", input).await.code, Code::Conflict);
    }
    put(&app, "host", json!({ "name": "new", "if_version": 0 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn references_must_exist_and_are_spelled_as_they_are_stored() {
    let app = lab().await;
    let vm = read(&app, "inventory_get_vm", json!({ "name": "plex" })).await;
    assert_eq!((&vm["host"], &vm["services"]), (&json!("nas"), &json!(["web"])));
    let web = read(&app, "inventory_get_service", json!({ "name": "web" })).await;
    assert_eq!(web["depends_on"], json!(["db"]));
    for (tool, input, field, hint) in [
        ("inventory_put_vm", json!({ "name": "x", "host": "nsa" }), "host", "`nas`"),
        ("inventory_put_service", json!({ "name": "x", "runs_on": "vm:plexx" }), "runs_on", "`plex`"),
        ("inventory_put_service", json!({ "name": "x", "depends_on": ["wbe"] }), "depends_on", "`web`"),
        ("inventory_put_service", json!({ "name": "x", "depends_on": ["zzzzzz"] }), "depends_on", "known: `db`, `web`"),
    ] {
        let error = app.err(&keeper(), tool, input).await;
        assert_eq!((error.code, error.field()), (Code::InvalidInput, Some(field)), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
    for (tool, input, field) in [
        ("inventory_put_service", json!({ "name": "x", "runs_on": "nas" }), "runs_on"),
        ("inventory_put_service", json!({ "name": "x", "runs_on": "service:web" }), "runs_on"),
        ("inventory_put_service", json!({ "name": "x", "depends_on": ["X"] }), "depends_on"),
        ("inventory_put_service", json!({ "name": "x", "url": "http://u:p@nas/" }), "url"),
        ("inventory_put_service", json!({ "name": "x", "url": "nas" }), "url"),
        ("inventory_put_service", json!({ "name": "x", "health_endpoint": "/health" }), "health_endpoint"),
        ("inventory_put_service", json!({ "name": "x", "port": 70000 }), "port"),
        ("inventory_put_host", json!({ "name": "x", "addresses": ["192.168.1.300"] }), "addresses"),
        ("inventory_put_host", json!({ "name": "x", "addresses": ["192.168.1.0/24"] }), "addresses"),
        ("inventory_put_host", json!({ "name": "x", "addresses": ["0.0.0.0"] }), "addresses"),
        ("inventory_put_host", json!({ "name": "../x" }), "name"),
        ("inventory_put_host", json!({ "name": "x", "os": "a\nb" }), "os"),
        ("inventory_put_host", json!({ "name": "x", "kind": "toaster" }), "kind"),
    ] {
        let error = app.err(&keeper(), tool, input.clone()).await;
        assert_eq!((error.code, error.field()), (Code::InvalidInput, Some(field)), "{input}: {error}");
    }
    let error = app.err(&keeper(), "inventory_get_host", json!({ "name": "naz" })).await;
    assert_eq!((error.code, error.hint()), (Code::NotFound, Some("did you mean `nas`?")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_belongs_to_one_machine() {
    let app = lab().await;
    let error = app.err(&keeper(), "inventory_put_vm", json!({ "name": "x", "addresses": ["192.168.1.10"] })).await;
    assert_eq!(error.code, Code::Conflict);
    assert!(error.message.contains("host `nas`"), "{error}");
    let error = app.err(&keeper(), "inventory_put_host", json!({ "name": "x", "addresses": ["192.168.1.20"] })).await;
    assert!(error.message.contains("vm `plex`"), "{error}");
    put(&app, "host", json!({ "name": "nas", "addresses": [] })).await;
    put(&app, "vm", json!({ "name": "x", "addresses": ["192.168.1.10"] })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_by_name_and_filtered() {
    let app = lab().await;
    for n in 0..25 {
        put(
            &app,
            "host",
            json!({ "name": format!("h{n:02}"), "kind": "server", "tags": [if n % 2 == 0 { "even" } else { "odd" }] }),
        )
        .await;
    }
    let first = read(&app, "inventory_list_hosts", json!({})).await;
    assert_eq!(names(&first).len(), 20);
    assert!(first["items"][0].get("created_at").is_none());
    let second = read(&app, "inventory_list_hosts", json!({ "cursor": first["next_cursor"] })).await;
    assert_eq!(names(&second), ["h20", "h21", "h22", "h23", "h24", "nas"]);
    assert!(second.get("next_cursor").is_none());
    let odd = read(&app, "inventory_list_hosts", json!({ "tag": "ODD", "limit": 3 })).await;
    assert_eq!(names(&odd), ["h01", "h03", "h05"]);
    assert_eq!(names(&read(&app, "inventory_list_hosts", json!({ "kind": "nas" })).await), ["nas"]);
    assert_eq!(names(&read(&app, "inventory_list_vms", json!({ "host": "Nas", "status": "running" })).await), ["plex"]);
    assert_eq!(names(&read(&app, "inventory_list_vms", json!({ "status": "stopped" })).await), [""; 0]);
    assert_eq!(names(&read(&app, "inventory_list_services", json!({ "runs_on": "vm:PLEX" })).await), ["web"]);
    assert_eq!(names(&read(&app, "inventory_list_services", json!({ "kind": "Database" })).await), ["db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_names_what_is_left_dangling() {
    let app = lab().await;
    let plan = remove(&app, "host", "nas").await;
    let effects = plan["effects"].to_string();
    assert!(effects.contains("vm `plex`") && effects.contains("service `db`"), "{plan}");
    assert_eq!(plan["before"]["host"]["os"], "TrueNAS");
    assert_eq!(plan["reversible"]["answer"], "yes");
    assert_eq!(app.err(&keeper(), "inventory_get_host", json!({ "name": "nas" })).await.code, Code::NotFound);
    // What dangles stays editable.
    let vm = put(&app, "vm", json!({ "name": "plex", "notes": "homeless" })).await;
    assert_eq!(vm["host"], "nas");
    let plan = remove(&app, "service", "db").await;
    assert!(plan["effects"].to_string().contains("service `web`"), "{plan}");
    remove(&app, "vm", "plex").await;
    let error = app.err(&keeper(), "inventory_remove_vm", json!({ "name": "plex" })).await;
    assert_eq!(error.code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_in_the_history_with_before_and_after() {
    let app = lab().await;
    put(&app, "host", json!({ "name": "nas", "os": "Debian", "notes": "moved" })).await;
    remove(&app, "host", "nas").await;
    let page = read(&app, "inventory_changes", json!({ "kind": "host", "name": "NAS" })).await;
    let items = page["items"].as_array().unwrap();
    let actions: Vec<_> = items.iter().map(|change| change["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["removed", "updated", "created"]);
    let updated = &items[1];
    assert_eq!(updated["fields"], json!(["notes", "os"]));
    assert_eq!((&updated["before"]["os"], &updated["after"]["os"]), (&json!("TrueNAS"), &json!("Debian")));
    assert_eq!((&updated["by"], &updated["after"]["version"]), (&json!("token:keeper"), &json!(2)));
    assert!(items[0].get("after").is_none() && items[2].get("before").is_none());

    let all = read(&app, "inventory_changes", json!({ "limit": 2, "by": "token:keeper" })).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let rest = read(&app, "inventory_changes", json!({ "by": "token:keeper", "cursor": all["next_cursor"] })).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 4);
    let none = read(&app, "inventory_changes", json!({ "until": "2020-01-01" })).await;
    assert_eq!(none["items"], json!([]));
    let none = read(&app, "inventory_changes", json!({ "by": "token:other" })).await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_names_the_call_and_holds_no_more_than_happened() {
    let app = lab().await;
    let (changes, audited): (i64, i64) = app
        .app
        .store
        .read(|conn| {
            let sql = "select count(*), count(audit.call_id) from inventory_changes
                 left join audit on audit.call_id = inventory_changes.call_id and phase = 'outcome'";
            Ok(conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await
        .unwrap();
    assert_eq!((changes, audited), (4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_hear_of_what_changed() {
    let app = lab().await;
    let mut events = app.app.events.subscribe();
    let mut heard = move || std::iter::from_fn(|| events.try_recv().ok()).collect::<Vec<_>>();
    put(&app, "host", json!({ "name": "nas", "notes": "x" })).await;
    assert_eq!(heard(), [Event::changed("hearth://host/nas")]);
    put(&app, "host", json!({ "name": "nas", "notes": "x" })).await;
    assert_eq!(heard(), []);
    put(&app, "vm", json!({ "name": "new" })).await;
    assert_eq!(heard(), [Event::ListChanged, Event::changed("hearth://vm/new")]);
    // A host shows its VMs.
    put(&app, "vm", json!({ "name": "new", "host": "nas" })).await;
    assert_eq!(heard(), [Event::changed("hearth://vm/new"), Event::changed("hearth://host/nas")]);
    put(&app, "vm", json!({ "name": "new", "notes": "x" })).await;
    assert_eq!(heard(), [Event::changed("hearth://vm/new")]);
    remove(&app, "vm", "new").await;
    let last = heard();
    for event in [Event::changed("hearth://vm/new"), Event::changed("hearth://host/nas"), Event::ListChanged] {
        assert!(last.contains(&event), "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_beginnings_first_and_parts_if_there_are_none() {
    let app = lab().await;
    put(&app, "network", json!({ "name": "lan", "cidr": "192.168.1.0/24", "vlan": 42, "notes": "Büro \"upstairs\"" }))
        .await;
    let lease = json!({ "network": "lan", "address": "192.168.1.77", "hostname": "printer", "kind": "reserved" });
    app.ok(&keeper(), "inventory_allocate_ip", lease).await;
    for (query, found) in [
        ("nas", "nas"),
        ("true", "nas"),
        ("storage 24x7", "nas"),
        ("192.168.1.20", "plex"),
        ("büro", "lan"),
        ("\"upstairs\"", "lan"),
        ("printer", "192.168.1.77"),
        ("data 5432", "db"),
        ("ueNA", "nas"),
        ("8.1.7", "192.168.1.77"),
    ] {
        let page = read(&app, "inventory_search", json!({ "query": query })).await;
        assert!(names(&page).contains(&found), "{query}: {page}");
    }
    let page = read(&app, "inventory_search", json!({ "query": "nas", "kind": "service" })).await;
    assert_eq!(names(&page), ["db"]);
    for query in ["nas zzz", "%", "_", "\\", "* OR nas", "-", "NEAR("] {
        let page = read(&app, "inventory_search", json!({ "query": query })).await;
        assert_eq!(page["items"], json!([]), "{query}");
    }
    put(&app, "host", json!({ "name": "nas", "os": "Debian" })).await;
    assert_eq!(names(&read(&app, "inventory_search", json!({ "query": "truenas" })).await), [""; 0]);
    remove(&app, "host", "nas").await;
    assert_eq!(names(&read(&app, "inventory_search", json!({ "query": "debian" })).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_paged_without_gaps() {
    let app = TestApp::new();
    for n in 0..15 {
        put(&app, "host", json!({ "name": format!("h{n:02}"), "os": "Debian 12" })).await;
    }
    for query in ["debian", "ebia"] {
        let (mut found, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let page = read(&app, "inventory_search", json!({ "query": query, "limit": 4, "cursor": cursor })).await;
            found.extend(names(&page).into_iter().map(str::to_owned));
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(found, (0..15).map(|n| format!("h{n:02}")).collect::<Vec<_>>(), "{query}");
    }
}
