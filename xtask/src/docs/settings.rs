//! `docs/reference/*-config.md`: the sample files that the programs print, which
//! their own tests compare with the defaults.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::markdown::head;

/// What `tomte-agent check --sample` prints.
pub(super) const AGENT_SAMPLE: &str = "crates/tomte-agent/src/config/sample.toml";
/// What `tomte-agent check --sample-commands` prints.
pub(super) const COMMANDS_SAMPLE: &str = "crates/tomte-agent/src/command/sample.toml";
/// What `tomte check --sample` prints.
pub(super) const HUB_SAMPLE: &str = "crates/tomte-hub/hub.toml";
/// What every setting of `tomte top` is in.
pub(super) const TOP_SAMPLE: &str = "crates/tomte-tui/top.toml";

/// The page of `agent.toml`.
pub(super) fn agent(root: &Path) -> anyhow::Result<String> {
    page(
        root,
        "Configuration of the agent",
        AGENT_SAMPLE,
        "`tomte-agent` reads the file that `--config` names, else `~/.config/tomte/agent.toml` (not as root), else\n\
         `/etc/tomte/agent.toml`. `tomte-agent check` prints what is in force and where each value comes from.\n\
         This is the whole file, every setting at its default:",
    )
}

/// The page of `commands.toml`.
pub(super) fn commands(root: &Path) -> anyhow::Result<String> {
    page(
        root,
        "What others may ask a host to run",
        COMMANDS_SAMPLE,
        "`/etc/tomte/commands.toml` is the host's own list of commands; [Commands and actions](../actions.md) tells of\n\
         each key. This is the sample that `tomte-agent check --sample-commands` prints:",
    )
}

/// The page of `hub.toml`.
pub(super) fn hub(root: &Path) -> anyhow::Result<String> {
    page(
        root,
        "Configuration of the hub",
        HUB_SAMPLE,
        "`tomte hub` reads the file that `--config` names, else `~/.config/tomte/hub.toml` (not as root), else\n\
         `/etc/tomte/hub.toml`. `tomte check` prints what is in force and where each value comes from.\n\
         This is the whole file, every setting at its default:",
    )
}

/// The page of `top.toml`.
pub(super) fn top(root: &Path) -> anyhow::Result<String> {
    page(
        root,
        "Configuration of tomte top",
        TOP_SAMPLE,
        "`tomte top` reads the file that `--config` names, else `~/.config/tomte/top.toml` (not as root), else\n\
         `/etc/tomte/top.toml`; its settings page (`o`) writes the same file. This is the whole file, every setting\n\
         at its default:",
    )
}

fn page(root: &Path, title: &str, sample: &str, introduction: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(root.join(sample)).with_context(|| format!("reading {sample}"))?;
    Ok(format!("{}{introduction}\n\n```toml\n{}\n```\n", head(title), text.trim_end()))
}
