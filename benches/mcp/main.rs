//! How fast hearth speaks MCP, beside FastMCP with the same tools and beside bare axum.
//!
//! `cargo bench --bench mcp [-- --rounds N] [--seconds S] [--peers yes|no]`

#![allow(clippy::print_stdout, reason = "the tables are what a benchmark is for")]

mod bare;
mod client;
mod load;
mod process;
mod report;
mod seed;
mod servers;
mod session;
#[path = "../shared/mod.rs"]
mod shared;
mod stdio;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};

use self::bare::Behind;
use self::load::Load;
use self::process::{Process, free_address};
use self::report::{Case, Report};
use self::servers::{Files, Server};
use self::session::{Session, Tool};

/// A look-up of one row, and a page of text.
pub const TOOLS: [Tool; 2] = [
    Tool { name: "inventory_get_host", arguments: r#"{"name":"nas"}"# },
    Tool { name: "forum_read_thread", arguments: r#"{"thread_id":1,"limit":10}"# },
];
const CLIENTS: [usize; 2] = [1, 8];
/// Starts of a server in a round, without those that are slow to start.
const STARTS: usize = 5;

fn main() -> anyhow::Result<()> {
    for (option, behind) in [("--bare", Behind::Sqlite), ("--bare-held", Behind::Nothing)] {
        let address: String = shared::argument(option, String::new())?;
        if !address.is_empty() {
            let database: PathBuf = shared::argument("--database", PathBuf::new())?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            return runtime.block_on(bare::serve(address.parse()?, &database, behind));
        }
    }
    let rounds = shared::argument("--rounds", 5)?;
    let time = Duration::from_secs_f64(shared::argument("--seconds", 2.0)?);
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers/venv/bin/python"));
    let with_peers = shared::argument("--peers", "yes".to_owned())? == "yes";
    ensure!(
        !with_peers || python.exists(),
        "FastMCP is not installed: `tests/setup` does that, and `--peers no` goes without"
    );
    // One thread: the client must not take what the server needs.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(rounds, time, python, with_peers))
}

async fn measure(rounds: usize, time: Duration, python: PathBuf, with_peers: bool) -> anyhow::Result<()> {
    let folder = shared::folder()?;
    let token = seed::seed(folder.path()).await.context("cannot fill the database")?;
    let files = Files { folder: folder.path().to_owned(), python };
    let servers: Vec<Server> = servers::ALL
        .into_iter()
        .filter(|server| with_peers || !matches!(server, Server::FastMcp | Server::FastMcpSse))
        .collect();
    println!("{}; {rounds} rounds, median [min–max]\n", shared::machine());

    agree(&servers, &files, &token).await?;
    let mut report = Report::default();
    for _ in 0..rounds {
        for &server in &servers {
            round(server, &files, &token, time, &mut report).await.with_context(|| format!("{server:?}"))?;
        }
    }
    for table in report.tables() {
        println!("{}", table.to_markdown());
    }
    println!("load average at the end: {}", shared::load());
    Ok(())
}

/// Servers that answer different things cannot be compared.
async fn agree(servers: &[Server], files: &Files, token: &str) -> anyhow::Result<()> {
    let mut expected: [Option<serde_json::Value>; TOOLS.len()] = Default::default();
    for &server in servers {
        let (process, address, _) = start(server, files).await?;
        for &way in server.ways() {
            for (tool, expected) in TOOLS.into_iter().zip(&mut expected) {
                let answer = Session::open(address, way, tool, token).await?.ask(tool).await?;
                let expected = expected.get_or_insert_with(|| answer.clone());
                ensure!(answer == *expected, "{server:?} by {way:?} answers {answer}, not {expected}");
            }
        }
        process.stop()?;
    }
    for (tool, answer) in TOOLS.iter().zip(expected) {
        let bytes = answer.map_or(0, |answer| answer.to_string().len());
        println!(
            "`{}` answers {} bytes of JSON, as text and as structured content",
            tool.name,
            shared::figure(bytes as f64)
        );
    }
    println!();
    Ok(())
}

async fn start(server: Server, files: &Files) -> anyhow::Result<(Process, SocketAddr, Duration)> {
    let address = free_address()?;
    let way = server.ways()[0];
    let (process, took) = Process::serve(&mut server.command(files, address)?, address, way, TOOLS[0]).await?;
    Ok((process, address, took))
}

async fn round(server: Server, files: &Files, token: &str, time: Duration, report: &mut Report) -> anyhow::Result<()> {
    let is_python = matches!(server, Server::FastMcp | Server::FastMcpSse);
    for _ in 1..if is_python { 1 } else { STARTS } {
        let (process, _, took) = start(server, files).await?;
        report.start(server, took);
        process.stop()?;
    }
    let (process, address, took) = start(server, files).await?;
    report.start(server, took);
    report.idle(server, process.memory_mb()?);
    match server {
        Server::Hearth => {
            for _ in 0..STARTS {
                report.stdio(server, stdio::first_list(&mut servers::hearth("mcp", &files.folder))?);
            }
        }
        Server::FastMcp => report.stdio(server, stdio::first_list(&mut servers::fastmcp(files, "stdio"))?),
        _ => {}
    }
    for &way in server.ways() {
        for tool in TOOLS {
            for clients in CLIENTS {
                let load = Load { way, tool, clients, time };
                let outcome = load.drive(address, token, &process).await?;
                report.load(Case { tool, clients, server, way }, &outcome);
            }
        }
    }
    report.loaded(server, process.memory_mb()?);
    process.stop()
}
