//! The log, on standard error: standard output belongs to answers.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::log::{Format, Log};

/// For the commands that a person waits for: what went wrong, and no more.
pub fn init_quietly() {
    init(&Log { format: Format::Human, filter: "warn".to_owned() });
}

pub fn init(log: &Log) {
    // MCP's library tells of every request at `info`, and at `error` of every client that hung up;
    // whoever wants that names it in the filter.
    let directives = match log.filter.contains("rmcp") {
        true => log.filter.clone(),
        false => format!("{},rmcp=warn,rmcp::service=off", log.filter),
    };
    let filter = EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = io::stderr().is_terminal();
    let is_json = match log.format {
        Format::Auto => !is_terminal,
        Format::Human => false,
        Format::Json => true,
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(is_terminal);
    // A second call, as in a test, keeps the first subscriber.
    let _ = if is_json { subscriber.json().try_init() } else { subscriber.try_init() };
}
