//! The log, on standard error: standard output belongs to answers.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::log::{Format, Log};
use crate::redact::Secrets;

/// What no line may show, once it is known.
static SECRETS: OnceLock<Arc<Secrets>> = OnceLock::new();

/// Takes these secrets out of every line from now on; the first appliance of a process counts.
pub fn keep_out(secrets: &Arc<Secrets>) {
    let _ = SECRETS.set(Arc::clone(secrets));
}

/// Standard error without secrets. The subscriber writes a line at a time.
struct Clean;

impl Write for Clean {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut err = io::stderr().lock();
        match SECRETS.get() {
            Some(secrets) => err.write_all(&secrets.clean_bytes(line))?,
            None => err.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Clean {
    type Writer = Clean;

    fn make_writer(&self) -> Clean {
        Clean
    }
}

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
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Clean).with_ansi(is_terminal);
    // A panic's message may quote what it failed on.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let message = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref().copied());
        let message = message.unwrap_or("no message");
        tracing::error!(place, "panicked: {message}");
    }));
    // A second call, as in a test, keeps the first subscriber.
    let _ = if is_json { subscriber.json().try_init() } else { subscriber.try_init() };
}
