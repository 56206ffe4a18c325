//! `tomte export`: history into a file, host by host, with a progress bar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;
use tomte_api::client::Client;
use tomte_api::history::{HistoryQuery, Series};
use tomte_api::host::Host;
use tomte_model::Timestamp;

use super::openmetrics;
use super::query::Wanted;
use crate::cli::{Exchange, ExportArgs};
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
    let patterns = Wanted::new(&args.host)?;
    let hosts: Vec<_> = client.hosts().await?.into_iter().filter(|host| patterns.takes(&host.name)).collect();
    if hosts.is_empty() {
        bail!("no host matches");
    }
    let by_name = args.output.as_deref().and_then(Exchange::of);
    let by_option = match output.format {
        Format::Json => Exchange::Jsonl,
        Format::Csv | Format::Table => Exchange::Csv,
    };
    let exchange = args.exchange.or(by_name).unwrap_or(by_option);
    if exchange == Exchange::Openmetrics {
        return openmetrics(&args, &hosts, range, client).await;
    }
    let mut sink = Sink::open(args.output.as_deref(), exchange)?;
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
    told(&args, points, hosts.len())
}

/// Says what was written, unless it went to standard output.
fn told(args: &ExportArgs, points: u64, hosts: usize) -> anyhow::Result<()> {
    if let Some(path) = &args.output {
        let mut terminal = io::stderr().lock();
        writeln!(terminal, "{points} points of {hosts} hosts in {}", path.display())?;
    }
    Ok(())
}

/// OpenMetrics wants all of a family together, and in it all of a series: so it
/// is read field by field, host by host.
async fn openmetrics(args: &ExportArgs, hosts: &[Host], range: Range<i64>, client: &Client) -> anyhow::Result<()> {
    let mut sink = Sink::open(args.output.as_deref(), Exchange::Openmetrics)?;
    let (kinds, fields) = (Wanted::new(args.kind.as_slice())?, Wanted::new(args.field.as_slice())?);
    let catalogue = client.catalogue().await?;
    let families: Vec<_> = catalogue
        .iter()
        .filter(|kind| kinds.takes(&kind.name))
        .flat_map(|kind| kind.fields.iter().filter(|field| fields.takes(&field.name)).map(move |field| (kind, field)))
        .collect();
    let bar = progress((families.len() * hosts.len()) as u64);
    let mut points = 0_u64;
    let span = range.end - range.start;
    for (kind, field) in families {
        let ask = |host: Vec<String>, from: i64, to: i64, step: Option<String>| HistoryQuery {
            host,
            kind: vec![kind.name.clone()],
            field: vec![field.name.clone()],
            from: Some(from.to_string()),
            to: Some(to.to_string()),
            step,
            ..Default::default()
        };
        // Most fields have no history on most hosts: one question tells.
        let all: Vec<String> = hosts.iter().map(|host| host.id.to_string()).collect();
        let there = client.history(&ask(all, range.start, range.end, Some(format!("{span}ms")))).await?;
        let mut begun = false;
        for host in hosts {
            bar.set_message(format!("{} {} {}", kind.name, field.name, host.name));
            bar.inc(1);
            if !there.series.iter().any(|series| series.host_id == Some(host.id)) {
                continue;
            }
            let mut whole: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
            let mut from = range.start;
            while from < range.end {
                let to = (from + WINDOW_MILLIS).min(range.end);
                let history = client.history(&ask(vec![host.id.to_string()], from, to, args.step.clone())).await?;
                for series in &history.series {
                    let times = series.t.as_deref().or(history.t.as_deref()).unwrap_or_default();
                    let name = series.name.clone().unwrap_or_default();
                    let read = times.iter().zip(super::query::values(series));
                    whole.entry(name).or_default().extend(read.filter_map(|(t, value)| Some((*t, (*value)?))));
                }
                from = to;
            }
            for (name, mut readings) in whole {
                readings.dedup_by_key(|(t, _)| *t);
                if !std::mem::replace(&mut begun, true) {
                    sink.text(&openmetrics::head(&kind.name, &field.name, &field.help))?;
                }
                points += readings.len() as u64;
                sink.text(&openmetrics::samples(&kind.name, &field.name, &host.name, &name, &readings))?;
            }
        }
    }
    bar.finish_and_clear();
    sink.text(openmetrics::END)?;
    sink.finish()?;
    told(args, points, hosts.len())
}

/// Where the points go. A file appears under its name only when it is whole.
struct Sink {
    writer: Box<dyn Write>,
    format: Exchange,
    rename: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    fn open(path: Option<&Path>, format: Exchange) -> anyhow::Result<Self> {
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
        if format == Exchange::Csv {
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
            if self.format == Exchange::Jsonl {
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
        if self.format != Exchange::Jsonl {
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
