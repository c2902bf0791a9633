//! The data that every server answers from: a small home lab and its forum.

use std::path::Path;
use std::sync::Arc;

use hearth::app::{App, Caller, Door};
use hearth::config::Config;
use hearth::registry::{Call, Registry};
use rusqlite::Connection;
use serde_json::{Value, json};

const HOSTS: usize = 30;
const THREADS: usize = 20;
const POSTS: usize = 25;
const BODY: &str = "The backup of last night ended after 41 minutes with one warning: the second disk of the pool showed \
                    twelve reallocated sectors. I have ordered a spare, which comes on Thursday, and will replace it \
                    in the maintenance window. Until then nobody should start a scrub. The media services stay up, \
                    and the photos are replicated to the other house as before. If the alarm sounds again, please \
                    write it down here, with the time and what `smartctl` says.";

/// Limits that a load does not meet, and nothing else: the rest is as shipped.
pub const CONFIG: &str = "[limits]\nreads_per_second = 1000000\nconcurrent_calls = 1000\n";

/// Fills hearth's folder through its own tools, and copies the database for the others; returns a token.
pub async fn seed(folder: &Path) -> anyhow::Result<String> {
    let data = folder.join("data");
    let mut config = Config::default();
    config.limits.writes_per_second = 1_000_000;
    let app = App::open(&data, &folder.join("root.key"), config)?;
    let registry = Registry::new(Arc::clone(&app), hearth::tools::TOOLSETS);
    let owner = Arc::new(Caller::owner(Door::Cli));
    let call = async |tool: &str, input: Value| registry.invoke(Call::new(Arc::clone(&owner), tool, input)).await;

    for index in 0..HOSTS {
        let name = if index == 0 { "nas".to_owned() } else { format!("node-{index}") };
        let host = json!({
            "name": name, "kind": "server", "addresses": [format!("192.168.1.{}", 10 + index)], "os": "Debian 13",
            "location": "cellar, rack 1", "notes": "Bought in 2023; 64 GB of memory, two disks in a mirror.",
            "tags": ["storage", "always-on"],
        });
        call("inventory_put_host", host).await?;
    }
    for (index, name) in ["media", "photos", "backup"].iter().enumerate() {
        call("inventory_put_vm", json!({ "name": name, "host": "nas", "vmid": 100 + index, "status": "running" }))
            .await?;
        let place = format!("vm:{name}");
        call("inventory_put_service", json!({ "name": format!("{name}-web"), "kind": "web", "runs_on": place }))
            .await?;
    }
    for (name, port) in [("smb", 445), ("nfs", 2049)] {
        let service = json!({ "name": name, "kind": "share", "runs_on": "host:nas", "port": port });
        call("inventory_put_service", service).await?;
    }
    for index in 0..THREADS {
        let thread = json!({
            "title": format!("Disk of the nas, week {index}"), "body": BODY, "author": "nas-agent",
            "tags": ["storage", "maintenance"],
        });
        let made = call("forum_create_thread", thread).await?;
        let thread_id = &made["thread"]["thread_id"];
        for post in 1..POSTS {
            let body = format!("{BODY} ({post})");
            call("forum_reply", json!({ "thread_id": thread_id, "body": body, "author": "nas-agent" })).await?;
        }
    }
    let token = call("token_create", json!({ "name": "bench", "level": 1 })).await?;
    let token = token["token"].as_str().map(str::to_owned);
    app.close().await?;
    drop((registry, app));

    std::fs::write(folder.join("hearth.toml"), CONFIG)?;
    // Nobody holds the file any more, so that opening it here endangers no locks.
    let conn = Connection::open(data.join(hearth::store::FILE))?;
    conn.execute("vacuum into ?1", [folder.join("peers.db").to_string_lossy()])?;
    token.ok_or_else(|| anyhow::anyhow!("token_create gave no token"))
}
