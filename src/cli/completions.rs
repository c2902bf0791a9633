//! `hearth completions`: scripts for shells, made of the arguments themselves.

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::output;
use crate::error::{Error, Result};

pub fn run(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hearth", &mut script);
    output::line(String::from_utf8(script).map_err(Error::internal)?.trim_end())
}
