//! `docs/reference/cli.md`: the help of every command, as the programs print it.

use clap::Command;

use super::markdown::head;

/// As wide as the help is at most.
const WIDTH: usize = 100;

/// The programs that people call.
fn programs() -> Vec<Command> {
    vec![tomte::command(), tomte_agent::cli::command()]
}

/// The page.
pub(super) fn page() -> String {
    let mut page = head("Command line");
    page.push_str(
        "The help of every command, as `--help` prints it. Options that every command has are named once, with the\n\
         program itself.\n",
    );
    for program in programs() {
        let mut program = steady(program);
        // Options of the program come to its commands only now.
        program.build();
        sections(&mut page, &without_globals_below(program), &[]);
    }
    page
}

/// The same command on every machine: no width of a terminal, no values of the
/// environment.
fn steady(command: Command) -> Command {
    command.term_width(WIDTH).mut_args(|argument| argument.hide_env_values(true)).mut_subcommands(steady)
}

/// The same command, with what the program itself takes left out below it.
fn without_globals_below(command: Command) -> Command {
    command.mut_subcommands(|command| {
        without_globals_below(command.mut_args(|argument| {
            let hidden = argument.is_hide_set() || argument.is_global_set();
            argument.hide(hidden)
        }))
    })
}

fn sections(page: &mut String, command: &Command, above: &[&str]) {
    let path: Vec<&str> = above.iter().copied().chain([command.get_name()]).collect();
    let help = command.clone().render_long_help().to_string();
    let help: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    let level = "#".repeat((path.len() + 1).min(4));
    page.push_str(&format!("\n{level} {}\n\n```text\n{}\n```\n", path.join(" "), help.join("\n")));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        sections(page, below, &path);
    }
}
