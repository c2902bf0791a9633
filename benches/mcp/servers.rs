//! The servers that are compared, and how each is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::session::Way;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    Hearth,
    /// Serving `/mcp`
    FastMcp,
    /// The same, serving `/sse`: it does one of them at a time
    FastMcpSse,
    /// axum and rusqlite
    Bare,
    /// axum and nothing
    BareHeld,
}

pub const ALL: [Server; 5] = [Server::Hearth, Server::FastMcp, Server::FastMcpSse, Server::Bare, Server::BareHeld];

/// Where the files are.
pub struct Files {
    pub folder: PathBuf,
    pub python: PathBuf,
}

impl Server {
    pub fn name(self) -> &'static str {
        match self {
            Server::Hearth => "hearth",
            Server::FastMcp | Server::FastMcpSse => "FastMCP",
            Server::Bare => "bare axum + rusqlite",
            Server::BareHeld => "bare axum, answer held in memory",
        }
    }

    pub fn ways(self) -> &'static [Way] {
        match self {
            Server::Hearth => &[Way::Legacy, Way::Token, Way::Modern, Way::Sse],
            Server::FastMcp => &[Way::Legacy, Way::Modern],
            Server::FastMcpSse => &[Way::Sse],
            Server::Bare | Server::BareHeld => &[Way::Plain],
        }
    }

    pub fn command(self, files: &Files, address: SocketAddr) -> anyhow::Result<Command> {
        let database = files.folder.join("peers.db");
        Ok(match self {
            Server::Hearth => {
                let mut command = hearth("serve", &files.folder);
                command.args(["--listen", &address.to_string()]);
                command
            }
            Server::FastMcp | Server::FastMcpSse => {
                let transport = if self == Server::FastMcp { "http" } else { "sse" };
                let mut command = fastmcp(files, transport);
                command.arg(address.port().to_string());
                command
            }
            Server::Bare | Server::BareHeld => {
                let mut command = Command::new(std::env::current_exe()?);
                let behind = if self == Server::Bare { "--bare" } else { "--bare-held" };
                command.arg(behind).arg(address.to_string()).arg("--database").arg(database);
                command
            }
        })
    }
}

/// hearth on the seeded folder, its configuration as shipped but for the limits.
pub fn hearth(subcommand: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
    command.arg(subcommand);
    for (option, file) in [("--data", "data"), ("--root-key", "root.key"), ("--config", "hearth.toml")] {
        command.arg(option).arg(folder.join(file));
    }
    command.env_remove("RUST_LOG");
    command
}

pub fn fastmcp(files: &Files, transport: &str) -> Command {
    let mut command = Command::new(&files.python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/mcp/fastmcp_server.py"));
    command.arg(files.folder.join("peers.db")).arg(transport);
    command
}
