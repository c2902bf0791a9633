//! A server as a process of its own: started, looked at through /proc, and ended.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::session::{Tool, Way, first_answer};

/// Of /proc's times; the kernel shows them in this unit whatever its own is.
const TICKS_PER_SECOND: u64 = 100;
const START_WAIT: Duration = Duration::from_secs(60);
const STOP_WAIT: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_micros(500);

/// Ended when dropped.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    pub fn start(command: &mut Command) -> anyhow::Result<Process> {
        let name = format!("{command:?}");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Process { child: child.with_context(|| format!("cannot start {name}"))?, name })
    }

    /// Starts a server and waits for its first answer; how long that took, from the exec on.
    pub async fn serve(
        command: &mut Command,
        address: SocketAddr,
        way: Way,
        tool: Tool,
    ) -> anyhow::Result<(Process, Duration)> {
        let begun = Instant::now();
        let mut process = Process::start(command)?;
        loop {
            let answer = first_answer(address, way, tool).await;
            let took = begun.elapsed();
            let Err(error) = answer else { return Ok((process, took)) };
            if let Some(status) = process.child.try_wait()? {
                bail!("{} ended with {status}", process.name);
            }
            if START_WAIT < took {
                return Err(error.context(format!("{} does not answer", process.name)));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub fn cpu(&self) -> anyhow::Result<Duration> {
        // Counted from behind the name, which may hold anything.
        const UTIME: usize = 11;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let ticks: u64 = fields.split_whitespace().skip(UTIME).take(2).map(|field| field.parse().unwrap_or(0)).sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    pub fn memory_mb(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    pub fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let end = Instant::now() + STOP_WAIT;
        while self.child.try_wait()?.is_none() {
            if end < Instant::now() {
                self.child.kill()?;
                self.child.wait()?;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // There is nobody to tell any more.
        let _ = self.end();
    }
}

pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
