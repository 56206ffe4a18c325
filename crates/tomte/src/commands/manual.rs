//! `tomte man` and `tomte completions`, from the same definitions as the help.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::output::tolerate_closed_pipe;

/// The manual page of `tomte`, or a page for each command into a folder.
pub(crate) fn man(out: Option<&Path>) -> anyhow::Result<()> {
    let command = Cli::command();
    let Some(folder) = out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return tolerate_closed_pipe(std::io::stdout().lock().write_all(&page));
    };
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    clap_mangen::generate_to(command, folder).with_context(|| format!("writing into {}", folder.display()))
}

/// Completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tomte", &mut script);
    tolerate_closed_pipe(std::io::stdout().lock().write_all(&script))
}
