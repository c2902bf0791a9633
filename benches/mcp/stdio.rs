//! MCP over standard input and output: from the start of the program to its first list of tools.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader, Write};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

pub fn first_list(command: &mut Command) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut input = child.stdin.take().context("no stdin")?;
    let mut output = BufReader::new(child.stdout.take().context("no stdout")?);
    let mut answer = String::new();
    writeln!(input, "{INITIALIZE}")?;
    output.read_line(&mut answer)?;
    ensure!(answer.contains("\"result\""), "no answer to initialize: {answer}");
    writeln!(input, "{INITIALIZED}\n{LIST}")?;
    answer.clear();
    output.read_line(&mut answer)?;
    let took = begun.elapsed();
    ensure!(answer.contains("forum_read_thread"), "no tools: {answer}");
    drop(input);
    child.kill()?;
    child.wait()?;
    Ok(took)
}
