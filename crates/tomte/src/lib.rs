//! The command line of Tomte: wiring, and printing what the API says. It has no
//! logic of its own. Start at [`cli`] for the commands, at `commands` for what
//! each does, at [`run`] for how they are reached.

mod cli;
mod commands;
mod connect;
mod demo;
mod output;

use std::process::ExitCode;

use clap::Parser;
use tomte_api::client::Client;
use tracing_subscriber::EnvFilter;

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
    let Cli { global, command } = cli;
    let format = if global.json { Format::Json } else { global.format };
    let output = Output::detect(format, global.color);
    match command {
        Command::Hub(args) => serve(commands::hub::hub(args, global.data.as_deref(), output)),
        Command::Demo(args) => serve(commands::hub::demo(args, global.data.as_deref(), output)),
        Command::Check(args) => commands::check::run(args, &global, output),
        Command::Completions { shell, program } => commands::manual::completions(shell, program),
        Command::Man { out } => commands::manual::man(out.as_deref()),
        Command::Catalogue { kind } if !global.names_hub() => commands::catalogue::run(kind.as_deref(), None, output),
        Command::Store { command: cli::StoreCommand::Restore { folder, replace } } => {
            commands::store::restore(&folder, global.data.as_deref(), replace, output)
        }
        Command::Top(args) => block_on(commands::top::run(args, &global, output)),
        asking => block_on(async move {
            let hub = connect::open(&global, asking.folder()).await?;
            hub.with(async |client| ask(asking, client, output).await).await
        }),
    }
}

/// The commands that ask a hub.
async fn ask(command: Command, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Host { command } => commands::host::run(command, client, output).await,
        Command::Resource { command } => commands::resource::run(command, client, output).await,
        Command::Change { command } => commands::change::run(command, client, output).await,
        Command::Action { command } => commands::action::run(command, client, output).await,
        Command::Event { command } => commands::event::run(command, client, output).await,
        Command::Store { command } => commands::store::run(command, client, output).await,
        Command::User { command } => commands::user::run(command, client, output).await,
        Command::Token { command } => commands::token::run(command, client, output).await,
        Command::Query(args) => commands::query::run(args, client, output).await,
        Command::Watch(args) => commands::watch::run(args, client, output).await,
        Command::Export(args) => commands::export::run(args, client, output).await,
        Command::Import(args) => commands::import::run(args, client, output).await,
        Command::Catalogue { kind } => {
            commands::catalogue::run(kind.as_deref(), Some(client.catalogue().await?), output)
        }
        Command::Hub(_)
        | Command::Demo(_)
        | Command::Top(_)
        | Command::Check(_)
        | Command::Completions { .. }
        | Command::Man { .. } => {
            unreachable!("these ask no hub; see run")
        }
    }
}

/// One thread is enough for a client.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A hub uses what cores there are, and writes its log to standard error.
fn serve(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("TOMTE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
