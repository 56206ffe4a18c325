//! `tomte store`: how much is kept, and its care.
//!
//! Everything goes through the API, so that a running hub's databases are
//! never touched behind its back; where none runs, one is started for the
//! moment (see [`crate::connect`]). Only a restore is done on the folder
//! itself, and refuses to while a hub uses it.

use std::path::Path;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use tomte_api::client::Client;
use tomte_api::store::{Progress, StoreInfo};
use tomte_model::Unit;

use crate::cli::StoreCommand;
use crate::output::{Format, Output, Text, progress};

pub(crate) async fn run(command: StoreCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        StoreCommand::Stats => stats(&client.store().await?, output),
        StoreCommand::Check => {
            let bar = progress(0);
            let checked = client.check_store(|so_far| show(&bar, so_far)).await?;
            bar.finish_and_clear();
            if output.format == Format::Json {
                output.json(&checked)?;
            } else {
                for what in checked.damaged.iter().chain(&checked.file) {
                    output.line(what)?;
                }
            }
            if let Some(file) = &checked.file {
                bail!("history.db is damaged ({file}): restore a backup, or move it away to begin a new one");
            }
            if !checked.sound {
                bail!(
                    "{} of {} pieces were damaged and set aside; the rest is kept",
                    checked.damaged.len(),
                    checked.pieces
                );
            }
            if output.format == Format::Json {
                Ok(())
            } else {
                output.line(format!("{} pieces, all sound", checked.pieces))
            }
        }
        StoreCommand::Compact => {
            let bar = progress(0);
            let compacted = client.compact_store(|so_far| show(&bar, so_far)).await?;
            bar.finish_and_clear();
            if output.format == Format::Json {
                return output.json(&compacted);
            }
            output.line(format!("{} given back", Unit::Bytes.format(compacted.freed_bytes as f64)))
        }
        StoreCommand::Backup { folder } => {
            // The hub has a working directory of its own.
            let folder = std::path::absolute(&folder).with_context(|| format!("{} is no path", folder.display()))?;
            let bar = progress(0);
            let made = client.back_up_store(&folder.to_string_lossy(), |so_far| show(&bar, so_far)).await?;
            bar.finish_and_clear();
            if output.format == Format::Json {
                return output.json(&made);
            }
            output.line(format!("{} in {}", Unit::Bytes.format(made.bytes as f64), made.folder))
        }
        StoreCommand::Restore { .. } => unreachable!("it asks no hub; see crate::run"),
    }
}

fn show(bar: &ProgressBar, so_far: Progress) {
    if so_far.total > 0 {
        bar.set_length(so_far.total);
        bar.set_position(so_far.done);
    }
}

fn stats(info: &StoreInfo, output: Output) -> anyhow::Result<()> {
    if output.format == Format::Table {
        let bytes = |bytes: u64| Unit::Bytes.format(bytes as f64);
        let most = info.max_bytes.map(|most| format!(" of {} at most", bytes(most))).unwrap_or_default();
        let mut facts = vec![
            ("records", bytes(info.state_bytes)),
            ("history", format!("{}{most}", bytes(info.history_bytes))),
            ("series", info.series.to_string()),
        ];
        let each = info.bytes_per_reading.map(|each| format!(", {each:.2} bytes each")).unwrap_or_default();
        facts.push(("readings", format!("{}{each}", info.readings)));
        facts.push(("waiting", format!("{} reports", info.waiting)));
        let span = |seconds: u64| Unit::Seconds.format(seconds as f64);
        let kept = info.retention;
        let (raw, minutes, hours) = (span(kept.raw), span(kept.five_minutes), span(kept.hourly));
        facts.push(("kept", format!("readings {raw}, five minutes {minutes}, hours {hours}")));
        if info.quarantined > 0 {
            facts.push(("damaged", format!("{} pieces set aside; see tomte store check", info.quarantined)));
        }
        if let Some(trouble) = &info.trouble {
            facts.push(("trouble", trouble.clone()));
        }
        for (label, value) in facts {
            output.line(format!("{label:<10} {value}"))?;
        }
        output.line("")?;
    }
    let rows = info
        .parts
        .iter()
        .map(|part| {
            let each = (part.values > 0).then(|| part.bytes as f64 / part.values as f64);
            vec![
                Text::new(part.name.clone()),
                Text::reading(&Unit::Bytes, part.bytes as f64),
                Text::new(part.values.to_string()),
                each.map_or_else(Text::none, |each| Text::with_raw(format!("{each:.2}"), each.to_string())),
                Text::new(part.pieces.to_string()),
                part.oldest.map_or_else(Text::none, |oldest| Text::new(oldest.to_string())),
            ]
        })
        .collect();
    output.list(info, &["part", "bytes", "values", "bytes each", "pieces", "since"], rows)
}

/// Puts a backup in the place of the databases in a folder.
pub(crate) fn restore(backup: &Path, data: Option<&Path>, replace: bool, output: Output) -> anyhow::Result<()> {
    let Some(data) = data else { bail!("say which hub's folder to restore: --data DIR") };
    let there: Vec<_> = ["state.db", "history.db"].into_iter().filter(|file| data.join(file).exists()).collect();
    if !there.is_empty() && !replace {
        bail!(
            "{} holds {} already; say --replace to put the backup in their place",
            data.display(),
            there.join(" and ")
        );
    }
    let renamed = tomte_hub::restore(backup, data)?;
    if output.format == Format::Json {
        return output.json(&serde_json::json!({ "restored": data, "renamed": renamed }));
    }
    for path in renamed {
        output.line(format!("what was there is now {}", path.display()))?;
    }
    output.line(format!("restored {} from {}", data.display(), backup.display()))
}
