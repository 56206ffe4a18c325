//! `tomte man` and `tomte completions`, from the same definitions as the help.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::cli::Program;
use crate::output::tolerate_closed_pipe;

/// The manual page of `tomte`, or a page for each command of both programs
/// into a folder.
pub(crate) fn man(out: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Program::Tomte.command()).render(&mut page)?;
        return tolerate_closed_pipe(std::io::stdout().lock().write_all(&page));
    };
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    for program in [Program::Tomte, Program::TomteAgent] {
        clap_mangen::generate_to(program.command(), folder)
            .with_context(|| format!("writing into {}", folder.display()))?;
    }
    Ok(())
}

/// Completions of a program for a shell.
pub(crate) fn completions(shell: clap_complete::Shell, program: Program) -> anyhow::Result<()> {
    let mut command = program.command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    tolerate_closed_pipe(std::io::stdout().lock().write_all(&script))
}
