//! The command line of Tomte: wiring, and printing what the API says. It has no
//! logic of its own. Start at [`cli`] for the commands, at `commands` for what
//! each does, at [`run`] for how they are reached.

mod cli;
mod commands;
mod connect;
mod demo {
    pub(crate) mod host;
}
mod output;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use output::{Format, Output};

/// Parses the arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The alternate form names the causes, each once.
            anstream::eprintln!("tomte: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line as data, for the reference in the docs.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let global = &cli.global;
    let format = if global.json { Format::Json } else { global.format };
    let output = Output::detect(format, global.color);
    let client = || connect::client(global);
    match cli.command {
        Command::Host { command } => block_on(commands::host::run(command, &client()?, output)),
        Command::Resource { command } => block_on(commands::resource::run(command, &client()?, output)),
        Command::Event { command } => block_on(commands::event::run(command, &client()?, output)),
        Command::User { command } => block_on(commands::user::run(command, &client()?, output)),
        Command::Token { command } => block_on(commands::token::run(command, &client()?, output)),
        Command::Query(args) => block_on(commands::query::run(args, &client()?, output)),
        Command::Watch(args) => block_on(commands::watch::run(args, &client()?, output)),
        Command::Export(args) => block_on(commands::export::run(args, &client()?, output)),
        Command::Catalogue { kind } => {
            let described = match global.names_hub() {
                true => Some(block_on(async { Ok(client()?.catalogue().await?) })?),
                false => None,
            };
            commands::catalogue::run(kind.as_deref(), described, output)
        }
        Command::Completions { shell } => commands::manual::completions(shell),
        Command::Man { out } => commands::manual::man(out.as_deref()),
        Command::Hub(_) | Command::Demo(_) | Command::Check(_) => unreachable!(),
    }
}

/// One thread is enough for a client.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
