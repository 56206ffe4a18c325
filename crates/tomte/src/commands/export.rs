//! `tomte export`: history into a file, host by host, with a progress bar.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;
use tomte_api::client::Client;
use tomte_api::history::{HistoryQuery, Series};
use tomte_model::Timestamp;

use crate::cli::ExportArgs;
use crate::output::{Format, Output, progress, tolerate_closed_pipe};

/// How much one request asks for; halved when the hub says it is too much.
const WINDOW_MILLIS: i64 = 6 * 3_600_000;
const LEAST_WINDOW_MILLIS: i64 = 60_000;

pub(crate) async fn run(args: ExportArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    // Fixed here once, so that "now" is the same moment for every request.
    let at = |text: &str| tomte_api::time::time(text, super::now()).map_err(anyhow::Error::msg);
    let range = at(&args.from)?.millis()..at(&args.to)?.millis();
    if range.is_empty() {
        bail!("--from {} is not before --to {}", args.from, args.to);
    }
    let patterns = super::query::globs(&args.host)?;
    let hosts: Vec<_> = client
        .hosts()
        .await?
        .into_iter()
        .filter(|host| patterns.as_ref().is_none_or(|globs| globs.is_match(&host.name)))
        .collect();
    if hosts.is_empty() {
        bail!("no host matches");
    }
    let mut sink = Sink::open(args.output.as_deref(), output.format)?;
    let span = (range.end - range.start).cast_unsigned();
    let bar = progress(span * hosts.len() as u64);
    let mut points = 0_u64;
    for (number, host) in (0_u64..).zip(&hosts) {
        bar.set_message(host.name.clone());
        let mut window = WINDOW_MILLIS;
        let mut from = range.start;
        while from < range.end {
            let to = (from + window).min(range.end);
            let query = HistoryQuery {
                host: vec![host.id.to_string()],
                kind: args.kind.iter().cloned().collect(),
                field: args.field.iter().cloned().collect(),
                from: Some(from.to_string()),
                to: Some(to.to_string()),
                step: args.step.clone(),
                ..Default::default()
            };
            let history = match client.history(&query).await {
                Err(error)
                    if error.problem().is_some_and(|p| p.code() == "too-many-points")
                        && window > LEAST_WINDOW_MILLIS =>
                {
                    window /= 2;
                    continue;
                }
                answer => answer?,
            };
            for series in &history.series {
                let times = series.t.as_deref().or(history.t.as_deref()).unwrap_or_default();
                points += sink.write(series, times)?;
            }
            from = to;
            bar.set_position(span * number + (from - range.start).cast_unsigned());
        }
    }
    bar.finish_and_clear();
    sink.finish()?;
    if let Some(path) = &args.output {
        let mut terminal = io::stderr().lock();
        writeln!(terminal, "{points} points of {} hosts in {}", hosts.len(), path.display())?;
    }
    Ok(())
}

/// Where the points go. A file appears under its name only when it is whole.
struct Sink {
    writer: Box<dyn Write>,
    format: Format,
    rename: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    fn open(path: Option<&Path>, format: Format) -> anyhow::Result<Self> {
        let (writer, rename): (Box<dyn Write>, _) = match path {
            None => (Box::new(BufWriter::new(io::stdout().lock())), None),
            Some(path) => {
                let mut name = path.file_name().context("--output names no file")?.to_owned();
                name.push(".part");
                let part = path.with_file_name(name);
                let file = File::create(&part).with_context(|| format!("creating {}", part.display()))?;
                (Box::new(BufWriter::new(file)), Some((part, path.to_owned())))
            }
        };
        let mut sink = Self { writer, format, rename };
        if format != Format::Json {
            sink.text("time,host,kind,name,field,value\n")?;
        }
        Ok(sink)
    }

    fn text(&mut self, text: &str) -> anyhow::Result<()> {
        let written = self.writer.write_all(text.as_bytes());
        if self.rename.is_some() { written.context("writing the export") } else { tolerate_closed_pipe(written) }
    }

    fn write(&mut self, series: &Series, times: &[i64]) -> anyhow::Result<u64> {
        let host = series.host.as_deref().unwrap_or_default();
        let name = series.name.as_deref().unwrap_or_default();
        let values = super::query::values(series);
        let mut lines = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        let mut text = String::new();
        let mut points = 0;
        for (time, value) in times.iter().zip(values) {
            let Some(value) = value else { continue };
            let time = Timestamp::from_millis(*time).to_string();
            if self.format == Format::Json {
                let point = json!({
                    "time": time, "host": host, "kind": series.kind, "name": name, "field": series.field, "value": value,
                });
                text.push_str(&point.to_string());
                text.push('\n');
            } else {
                lines.write_record([&time, host, &series.kind, name, &series.field, &value.to_string()])?;
            }
            points += 1;
        }
        if self.format != Format::Json {
            text = String::from_utf8(lines.into_inner()?).context("names that are not UTF-8")?;
        }
        self.text(&text)?;
        Ok(points)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let flushed = self.writer.flush();
        let Some((part, path)) = self.rename else { return tolerate_closed_pipe(flushed) };
        flushed.context("writing the export")?;
        drop(self.writer);
        File::open(&part)?.sync_all().with_context(|| format!("writing {}", part.display()))?;
        std::fs::rename(&part, &path).with_context(|| format!("renaming to {}", path.display()))
    }
}
