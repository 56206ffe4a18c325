//! `tomte import`: history from a file, in parts, with a progress bar.
//!
//! A file is read twice: first to see whether all of it makes sense, then to
//! take it in. Standard input can be read but once, so there the parts before
//! a bad line are in; the message says so, and importing again passes them over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use serde::Deserialize;
use tomte_api::client::Client;
use tomte_api::history::{Import, ImportSeries, Imported};
use tomte_model::Timestamp;

use super::openmetrics;
use crate::cli::{Exchange, ImportArgs};
use crate::output::{Format, Output, progress};

/// How many bytes of JSON one part has at most: well below what a hub takes.
const PART_BYTES: usize = 700_000;
/// How long a line may be.
const MAX_LINE: u64 = 1 << 20;

pub(crate) async fn run(args: ImportArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let stdin = args.file == Path::new("-");
    let Some(format) = args.exchange.or_else(|| Exchange::of(&args.file)) else {
        bail!("{} does not say how it is written; say --as csv, jsonl or openmetrics", args.file.display());
    };
    let known = client.hosts().await?;
    let names = known
        .iter()
        .flat_map(|host| [host.name.clone(), host.id.to_string()].into_iter().chain(host.aliases.iter().cloned()));
    let reading = Reading { format, host: args.host.clone(), hosts: names.collect(), add_hosts: args.add_hosts };
    if !stdin {
        let looked = reading.walk(open(&args.file)?, |_| Ok(()));
        looked.with_context(|| args.file.display().to_string()).context("nothing was taken in")?;
    }
    let size = if stdin { 0 } else { std::fs::metadata(&args.file).map_or(0, |file| file.len()) };
    let bar = progress(size);
    let mut sum = Imported::default();
    let mut part = Part::new(args.add_hosts);
    let input = Counted { inner: if stdin { Box::new(std::io::stdin()) } else { open(&args.file)? }, bar: bar.clone() };
    let mut points = reading.points(input);
    loop {
        let next = points.next().transpose();
        let point = match next {
            Ok(point) => point,
            Err(error) => {
                let before = format!("{} readings before it were taken in; import again when it is mended", sum.taken);
                return Err(error.context(before));
            }
        };
        let last = point.is_none();
        if part.is_full() || (last && !part.is_empty()) {
            let taken = client.import(&part.take()).await?;
            sum.taken += taken.taken;
            sum.known += taken.known;
            sum.refused += taken.refused;
        }
        match point {
            Some(point) => part.add(point),
            None => break,
        }
    }
    bar.finish_and_clear();
    if output.format == Format::Json {
        return output.json(&sum);
    }
    let refused = if sum.refused > 0 { format!(", {} refused (too many series)", sum.refused) } else { String::new() };
    output.line(format!("{} readings taken in, {} were there already{refused}", sum.taken, sum.known))
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    Ok(Box::new(File::open(path).with_context(|| format!("opening {}", path.display()))?))
}

/// Moves the bar as bytes are read.
struct Counted {
    inner: Box<dyn Read>,
    bar: ProgressBar,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    host: String,
    kind: String,
    name: String,
    field: String,
    at: i64,
    value: f64,
}

/// A line of ours: a row of CSV, an object of JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    time: String,
    #[serde(default)]
    host: String,
    kind: String,
    name: String,
    field: String,
    value: f64,
}

/// How a file is read.
struct Reading {
    format: Exchange,
    host: Option<String>,
    /// The hosts there are, by all their names.
    hosts: BTreeSet<String>,
    add_hosts: bool,
}

type Points<'a> = Box<dyn Iterator<Item = anyhow::Result<Point>> + 'a>;

impl Reading {
    fn walk(
        &self,
        input: impl Read + 'static,
        mut each: impl FnMut(Point) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.points(input).try_for_each(|point| each(point?))
    }

    /// The readings of a file; an error says which line, and why.
    fn points(&self, input: impl Read + 'static) -> Points<'_> {
        match self.format {
            Exchange::Csv => {
                let rows = csv::Reader::from_reader(BufReader::new(input)).into_deserialize::<Row>();
                Box::new(rows.enumerate().map(|(index, row)| {
                    // The header is the first line. Rows hold no line breaks of ours.
                    let line = index as u64 + 2;
                    let row = row.map_err(|error| {
                        let line = error.position().map_or(line, csv::Position::line);
                        anyhow::anyhow!("line {line}: {}", in_words(&error))
                    })?;
                    self.of_row(row).map_err(|why| anyhow::anyhow!("line {line}: {why}"))
                }))
            }
            Exchange::Jsonl => self.lines(input, |line| {
                if line.trim().is_empty() {
                    return Ok(None);
                }
                let row: Row = serde_json::from_str(line).map_err(|error| error.to_string())?;
                self.of_row(row).map(Some)
            }),
            Exchange::Openmetrics => {
                self.lines(input, |line| openmetrics::parse(line)?.map(|sample| self.of_sample(sample)).transpose())
            }
        }
    }

    fn lines<'a>(
        &'a self,
        input: impl Read + 'static,
        parse: impl Fn(&str) -> Result<Option<Point>, String> + 'a,
    ) -> Points<'a> {
        let mut input = BufReader::new(input);
        let mut number = 0_u64;
        Box::new(std::iter::from_fn(move || {
            loop {
                number += 1;
                let mut line = String::new();
                let read = match input.by_ref().take(MAX_LINE).read_line(&mut line) {
                    Ok(0) => return None,
                    Ok(read) => read as u64,
                    Err(error) => return Some(Err(anyhow::anyhow!("line {number}: {error}"))),
                };
                let parsed = if read == MAX_LINE { Err("it is too long".to_owned()) } else { parse(&line) };
                match parsed {
                    Ok(None) => {}
                    Ok(Some(point)) => return Some(Ok(point)),
                    Err(why) => return Some(Err(anyhow::anyhow!("line {number}: {why}"))),
                }
            }
        }))
    }

    fn of_row(&self, row: Row) -> Result<Point, String> {
        let now = super::now();
        let at = tomte_api::time::time(&row.time, now)?.millis();
        let host = if row.host.is_empty() { None } else { Some(row.host) };
        self.checked(
            host,
            Point { host: String::new(), kind: row.kind, name: row.name, field: row.field, at, value: row.value },
        )
    }

    /// Ours has a label for the kind; that of others becomes a kind of its own.
    fn of_sample(&self, sample: openmetrics::Sample) -> Result<Point, String> {
        let openmetrics::Sample { name: metric, mut labels, value, at } = sample;
        let host = labels.remove("host").or_else(|| {
            // Without the port that was scraped.
            let instance = labels.remove("instance")?;
            Some(instance.rsplit_once(':').map_or(instance.clone(), |(host, _)| host.to_owned()))
        });
        let ours =
            labels.get("kind").and_then(|kind| Some((kind.clone(), metric.strip_prefix(&format!("tomte_{kind}_"))?)));
        let (kind, field) = match ours {
            Some((kind, field)) => (kind, field.to_owned()),
            None => ("metric".to_owned(), metric.to_lowercase().replace(':', "_")),
        };
        labels.remove("kind");
        let rest =
            || labels.iter().filter(|(label, _)| *label != "name").map(|(label, text)| format!("{label}={text}"));
        let name = match labels.get("name") {
            Some(name) if labels.len() == 1 => name.clone(),
            Some(name) => format!("{name},{}", rest().collect::<Vec<_>>().join(",")),
            None if labels.is_empty() => "main".to_owned(),
            None => rest().collect::<Vec<_>>().join(","),
        };
        self.checked(host, Point { host: String::new(), kind, name, field, at, value })
    }

    fn checked(&self, host: Option<String>, point: Point) -> Result<Point, String> {
        let host = host.or_else(|| self.host.clone()).ok_or("it names no host; say --host NAME")?;
        if !self.add_hosts && !self.hosts.contains(&host) {
            return Err(format!("there is no host {host:?}; say --add-hosts to have it made"));
        }
        if !point.value.is_finite() {
            return Err(format!("{} is no reading", point.value));
        }
        if point.at <= 0 || point.at > super::now().millis() + 300_000 {
            return Err(format!("{} is no time of a reading", Timestamp::from_millis(point.at)));
        }
        Ok(Point { host, ..point })
    }
}

/// What is wrong with a row of CSV, without its place.
fn in_words(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} columns and not {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is no UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// What goes into one request.
struct Part {
    add_hosts: bool,
    series: BTreeMap<[String; 4], (Vec<i64>, Vec<f64>)>,
    bytes: usize,
}

impl Part {
    fn new(add_hosts: bool) -> Self {
        Self { add_hosts, series: BTreeMap::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.bytes >= PART_BYTES
    }

    fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn add(&mut self, point: Point) {
        let Point { host, kind, name, field, at, value } = point;
        let names = host.len() + kind.len() + name.len() * 2 + field.len() + 80;
        let (t, values) = self.series.entry([host, kind, name, field]).or_default();
        // A number takes at most so many characters.
        self.bytes += if t.is_empty() { names } else { 0 } + 40;
        t.push(at);
        values.push(value);
    }

    fn take(&mut self) -> Import {
        self.bytes = 0;
        let series = std::mem::take(&mut self.series);
        let series = series.into_iter().map(|([host, kind, name, field], (t, values))| ImportSeries {
            host,
            kind,
            name,
            field,
            t,
            values,
        });
        Import { add_hosts: self.add_hosts, series: series.collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reading(format: Exchange) -> Reading {
        Reading { format, host: None, hosts: ["nas".to_owned()].into(), add_hosts: false }
    }

    fn read(format: Exchange, text: &'static str) -> Result<Vec<Point>, String> {
        reading(format).points(text.as_bytes()).collect::<anyhow::Result<_>>().map_err(|error| format!("{error:#}"))
    }

    fn point(name: &str, value: f64) -> Point {
        Point {
            host: "nas".into(),
            kind: "filesystem".into(),
            name: name.into(),
            field: "used_ratio".into(),
            at: 1_767_225_600_000,
            value,
        }
    }

    #[test]
    fn the_same_is_read_from_every_format() {
        let expected = vec![point("/", 0.5), point("/mnt/a,b", 0.25)];
        let csv = "time,host,kind,name,field,value\n2026-01-01T00:00:00.000Z,nas,filesystem,/,used_ratio,0.5\n\
                   1767225600000,nas,filesystem,\"/mnt/a,b\",used_ratio,0.25\n";
        assert_eq!(read(Exchange::Csv, csv).unwrap(), expected);
        let jsonl = "{\"time\":\"2026-01-01T00:00:00Z\",\"host\":\"nas\",\"kind\":\"filesystem\",\"name\":\"/\",\"field\":\"used_ratio\",\"value\":0.5}\n\n\
                     {\"time\":\"1767225600000\",\"host\":\"nas\",\"kind\":\"filesystem\",\"name\":\"/mnt/a,b\",\"field\":\"used_ratio\",\"value\":0.25}";
        assert_eq!(read(Exchange::Jsonl, jsonl).unwrap(), expected);
        let om = "# TYPE tomte_filesystem_used_ratio gauge\n\
                  tomte_filesystem_used_ratio{host=\"nas\",kind=\"filesystem\",name=\"/\"} 0.5 1767225600.000\n\
                  tomte_filesystem_used_ratio{host=\"nas\",kind=\"filesystem\",name=\"/mnt/a,b\"} 0.25 1767225600\n# EOF\n";
        assert_eq!(read(Exchange::Openmetrics, om).unwrap(), expected);
    }

    #[test]
    fn what_others_call_their_metrics_becomes_a_kind_of_its_own() {
        let read =
            read(Exchange::Openmetrics, "node_load1{instance=\"nas:9100\",job=\"node\"} 0.5 1767225600\n").unwrap();
        let expected =
            Point { kind: "metric".into(), name: "job=node".into(), field: "node_load1".into(), ..point("", 0.5) };
        assert_eq!(read, [expected]);
    }

    #[test]
    fn a_bad_line_is_named_with_the_reason() {
        for (format, text, expected) in [
            (Exchange::Csv, "time,host,kind,name,field,value\nnow,nas,a,b,c,1\nnow,nas,a,b,c,much\n", "line 3: "),
            (Exchange::Csv, "time,host,kind,name,field,value\nnow,nas,a,b,c\n", "line 2: it has 5 columns and not 6"),
            (
                Exchange::Csv,
                "time,host,kind,name,field,value\nnow,attic,a,b,c,1\n",
                "line 2: there is no host \"attic\"",
            ),
            (Exchange::Csv, "time,host,kind,name,field,value\nnow,nas,a,b,c,NaN\n", "line 2: NaN is no reading"),
            (Exchange::Jsonl, "\n{\"time\": 5}\n", "line 2: "),
            (Exchange::Openmetrics, "x{host=\"nas\"} 1 1767225600\nx 1\n", "line 2: a sample needs its time"),
            (Exchange::Openmetrics, "x 1 1767225600\n", "line 1: it names no host"),
            (Exchange::Openmetrics, "x{host=\"nas\"} 1 99999999999\n", "line 1: 5138-"),
        ] {
            let error = read(format, text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_part_is_never_larger_than_it_may_be() {
        let mut part = Part::new(false);
        let mut sent = 0;
        for number in 0..60_000 {
            if part.is_full() {
                let import = part.take();
                assert!(serde_json::to_vec(&import).unwrap().len() < 1 << 20);
                sent += import.series.iter().map(|series| series.t.len()).sum::<usize>();
            }
            part.add(point(&format!("/mnt/{}", number % 500), 1.0 / f64::from(number + 1)));
        }
        sent += part.take().series.iter().map(|series| series.t.len()).sum::<usize>();
        assert_eq!((sent, part.is_empty()), (60_000, true));
    }
}
