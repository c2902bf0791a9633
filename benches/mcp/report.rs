//! What was measured, as tables.

use std::collections::BTreeMap;
use std::time::Duration;

use super::load::Outcome;
use super::servers::Server;
use super::session::{Tool, Way};
use super::shared::{Rounds, Table};
use super::{CLIENTS, TOOLS};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub tool: Tool,
    pub clients: usize,
    pub server: Server,
    pub way: Way,
}

#[derive(Default)]
struct Figures {
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
    cpu: Rounds,
}

#[derive(Default)]
struct Life {
    start: Rounds,
    stdio: Rounds,
    idle: Rounds,
    loaded: Rounds,
}

#[derive(Default)]
pub struct Report {
    cases: BTreeMap<Case, Figures>,
    lives: BTreeMap<Server, Life>,
}

/// What is divided by what: ours on the left.
const PAIRS: [(Way, Server, Way); 8] = [
    (Way::Legacy, Server::FastMcp, Way::Legacy),
    (Way::Modern, Server::FastMcp, Way::Modern),
    (Way::Sse, Server::FastMcpSse, Way::Sse),
    (Way::Legacy, Server::Bare, Way::Plain),
    (Way::Modern, Server::Bare, Way::Plain),
    (Way::Sse, Server::Bare, Way::Plain),
    (Way::Modern, Server::BareHeld, Way::Plain),
    (Way::Token, Server::Hearth, Way::Legacy),
];

impl Report {
    pub fn start(&mut self, server: Server, took: Duration) {
        self.lives.entry(server).or_default().start.push(took.as_secs_f64() * 1e3);
    }

    pub fn stdio(&mut self, server: Server, took: Duration) {
        self.lives.entry(server).or_default().stdio.push(took.as_secs_f64() * 1e3);
    }

    pub fn idle(&mut self, server: Server, megabytes: f64) {
        self.lives.entry(server).or_default().idle.push(megabytes);
    }

    pub fn loaded(&mut self, server: Server, megabytes: f64) {
        self.lives.entry(server).or_default().loaded.push(megabytes);
    }

    pub fn load(&mut self, case: Case, outcome: &Outcome) {
        let figures = self.cases.entry(case).or_default();
        figures.rate.push(outcome.calls_per_second);
        figures.p50.push(outcome.p50_ms);
        figures.p99.push(outcome.p99_ms);
        figures.cpu.push(outcome.cpu_micros_per_call);
    }

    pub fn tables(&self) -> Vec<Table> {
        let loads = TOOLS.into_iter().flat_map(|tool| CLIENTS.map(|clients| self.loads(tool, clients)));
        loads.chain([self.ratios(), self.lives()]).collect()
    }

    fn loads(&self, tool: Tool, clients: usize) -> Table {
        let noun = if clients == 1 { "client" } else { "clients" };
        let title = format!("`{}`, {clients} {noun}", tool.name);
        let mut table = Table::new(&title, &["", "calls/s", "p50 ms", "p99 ms", "CPU µs a call"]);
        for (case, figures) in &self.cases {
            if (case.tool, case.clients) == (tool, clients) {
                let name = format!("{}: {}", case.server.name(), case.way.name());
                let Figures { rate, p50, p99, cpu } = figures;
                table.row([name, rate.show(), p50.show_median(), p99.show(), cpu.show_median()]);
            }
        }
        table
    }

    fn ratios(&self) -> Table {
        let mut head = vec!["calls/s of hearth by those of".to_owned()];
        for tool in TOOLS {
            head.extend(CLIENTS.map(|clients| format!("`{}`, {clients}", tool.name)));
        }
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let mut table =
            Table::new("Paired ratios, round by round: × faster than FastMCP, ÷ slower than bare axum", &head);
        for (way, peer, peer_way) in PAIRS {
            let mut row = vec![format!("{}: {}, {}", way.name(), peer.name(), peer_way.name())];
            for tool in TOOLS {
                for clients in CLIENTS {
                    let rate = |server, way| self.cases.get(&Case { tool, clients, server, way }).map(|of| &of.rate);
                    let cell = match (rate(Server::Hearth, way), rate(peer, peer_way), peer) {
                        (Some(ours), Some(theirs), Server::FastMcp | Server::FastMcpSse) => {
                            format!("× {}", ours.by(theirs).show())
                        }
                        (Some(ours), Some(theirs), _) => format!("÷ {}", theirs.by(ours).show()),
                        _ => "–".to_owned(),
                    };
                    row.push(cell);
                }
            }
            table.row(row);
        }
        table
    }

    fn lives(&self) -> Table {
        let head =
            ["", "exec to first answer, ms", "stdio: exec to first tools/list, ms", "idle, MB", "after the load, MB"];
        let mut table = Table::new("Starting, and memory", &head);
        for (server, Life { start, stdio, idle, loaded }) in &self.lives {
            let name = match server {
                Server::FastMcpSse => "FastMCP, /sse".to_owned(),
                server => server.name().to_owned(),
            };
            table.row([name, start.show(), stdio.show(), idle.show(), loaded.show()]);
        }
        table
    }
}
