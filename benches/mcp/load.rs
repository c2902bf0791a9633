//! A closed loop: each client calls as soon as its last answer is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::process::Process;
use super::session::{Session, Tool, Way};
use super::shared::Latencies;

const WARM_UP: Duration = Duration::from_millis(500);

/// What a load is made of.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub way: Way,
    pub tool: Tool,
    pub clients: usize,
    pub time: Duration,
}

pub struct Outcome {
    pub calls_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Of the server, all of its threads
    pub cpu_micros_per_call: f64,
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

impl Load {
    /// Drives the server; a call that fails ends the measurement, since a figure with errors means nothing.
    pub async fn drive(&self, address: SocketAddr, token: &str, server: &Process) -> anyhow::Result<Outcome> {
        let phase = Arc::new(AtomicU8::new(WARMING));
        let mut clients = Vec::new();
        for _ in 0..self.clients {
            let session = Session::open(address, self.way, self.tool, token).await?;
            clients.push(tokio::spawn(call(session, self.tool, Arc::clone(&phase))));
        }
        tokio::time::sleep(WARM_UP).await;
        let (begun, cpu) = (Instant::now(), server.cpu()?);
        phase.store(MEASURING, Ordering::Relaxed);
        tokio::time::sleep(self.time).await;
        phase.store(OVER, Ordering::Relaxed);
        let (took, cpu) = (begun.elapsed(), server.cpu()?.saturating_sub(cpu));

        let mut all = Latencies::default();
        for client in clients {
            all.extend(client.await??);
        }
        let calls = all.len() as f64;
        let [p50_ms, p99_ms] = all.percentiles([0.50, 0.99]);
        Ok(Outcome {
            calls_per_second: calls / took.as_secs_f64(),
            p50_ms,
            p99_ms,
            cpu_micros_per_call: cpu.as_secs_f64() * 1e6 / calls,
        })
    }
}

async fn call(mut session: Session, tool: Tool, phase: Arc<AtomicU8>) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    loop {
        let before = phase.load(Ordering::Relaxed);
        if before == OVER {
            return Ok(latencies);
        }
        let begun = Instant::now();
        session.call(tool).await?;
        if before == MEASURING {
            latencies.push(begun.elapsed());
        }
    }
}
