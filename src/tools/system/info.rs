//! The machine that hearth runs on.

use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{Context, Level};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::registry::{Effect, Tool};

/// Describe the machine that hearth runs on
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Info {}

#[derive(Serialize, JsonSchema)]
pub struct Machine {
    version: String,
    sqlite: String,
    hostname: String,
    kernel: String,
    started_at: Timestamp,
    now: Timestamp,
    cpus: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_1m: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_available_bytes: Option<u64>,
    /// Of the disk that holds the data
    disk_total_bytes: u64,
    disk_free_bytes: u64,
}

impl Tool for Info {
    const NAME: &'static str = "system_info";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/system/info";
    type Output = Machine;

    async fn run(self, cx: &Context) -> Result<Machine> {
        let uname = rustix::system::uname();
        let disk = rustix::fs::statvfs(&cx.app.data).map_err(Error::internal)?;
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Machine {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sqlite: rusqlite::version().to_owned(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            started_at: cx.app.started_at,
            now: cx.now(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            load_1m: load.split(' ').next().and_then(|text| text.parse().ok()),
            memory_total_bytes: kibibytes(&memory, "MemTotal:"),
            memory_available_bytes: kibibytes(&memory, "MemAvailable:"),
            disk_total_bytes: disk.f_blocks * disk.f_frsize,
            disk_free_bytes: disk.f_bavail * disk.f_frsize,
        })
    }
}

/// A line of `/proc/meminfo`, proc_meminfo(5), in bytes.
fn kibibytes(memory: &str, name: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn meminfo_is_read_in_bytes() {
        let text = "MemTotal:       24590732 kB\nMemFree:  1 kB\n";
        assert_eq!(super::kibibytes(text, "MemTotal:"), Some(24_590_732 * 1024));
        assert_eq!(super::kibibytes(text, "MemAvailable:"), None);
    }
}
