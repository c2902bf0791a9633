//! The command line: what `hearth` does when it is run.

mod approve;
pub mod args;
mod call;
mod client;
mod completions;
mod credential;
mod import;
mod init;
mod key;
mod log;
mod ltx;
mod mcp;
mod output;
mod place;
mod prompt;
mod replica;
mod replicate;
mod restore;
mod serve;
mod token;
mod tools;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};
use crate::error::{Error, Result};

/// What is left undone, after `EX_TEMPFAIL` of sysexits(3).
const UNDONE: u8 = 75;

/// How a command ended that did not fail.
enum Ended {
    Done,
    /// Stopped before everything was finished
    Undone,
}

pub fn main() -> ExitCode {
    // Clap answers `--help` and mistakes of usage itself, the latter with status 2.
    let cli = Cli::parse();
    // What hearth keeps is its owner's: SQLite makes its files as the mask allows.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match run(cli) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Undone) => ExitCode::from(UNDONE),
        Err(error) => {
            output::complain(&error);
            ExitCode::from(error.code.exit_status())
        }
    }
}

fn run(cli: Cli) -> Result<Ended> {
    let place = cli.place;
    match cli.command {
        Command::Init => return init::run(&place).map(|()| Ended::Done),
        Command::Completions { shell } => return completions::run(shell).map(|()| Ended::Done),
        Command::Serve(args) => return runtime()?.block_on(serve::run(&place, &args)),
        _ => log::init_quietly(),
    }
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        match cli.command {
            Command::Call(args) => call::run(&place, args).await,
            Command::Tools(args) => tools::run(&place, args).await,
            Command::Token(command) => token::run(&place, command).await,
            Command::Credential(command) => credential::run(&place, command).await,
            Command::Key(command) => key::run(&place, command).await,
            Command::Approve(args) => approve::run(&place, args).await,
            Command::Import(command) => import::run(&place, command).await,
            Command::Restore(args) => restore::run(args).await,
            Command::Snapshots(args) => ltx::snapshots(&place, args).await,
            Command::Ltx(command) => ltx::run(&place, command).await,
            Command::Mcp => mcp::run(&place).await,
            Command::Init | Command::Completions { .. } | Command::Serve(_) => Ok(()),
        }
    });
    // A read of standard input cannot be cancelled, and must not keep the program from ending.
    runtime.shutdown_background();
    result.map(|()| Ended::Done)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::internal)
}
