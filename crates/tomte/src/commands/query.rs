//! `tomte query`: readings now, or their history with a sparkline.

use std::collections::BTreeSet;

use anyhow::bail;
use tomte_api::catalogue::Kind;
use tomte_api::client::{Client, ResourceFilter};
use tomte_api::history::{History, HistoryQuery, Series};
use tomte_model::{BadGlob, Catalogue, Glob, Timestamp, Unit};

use super::{ago, now};
use crate::cli::QueryArgs;
use crate::output::{Format, Output, Text, sparkline};

pub(crate) async fn run(args: QueryArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    match args.from.clone() {
        None => latest(args, client, output).await,
        Some(from) => history(args, from, client, output).await,
    }
}

async fn latest(args: QueryArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let filter = ResourceFilter { kinds: vec![args.kind.clone()], ..ResourceFilter::default() };
    let mut rows = client.latest(&filter, std::slice::from_ref(&args.field)).await?;
    if rows.is_empty() {
        check_spelling(&args, client).await?;
    }
    let hosts = Wanted::new(&args.host)?;
    let names = Wanted::new(args.name.as_slice())?;
    let with_role: Option<BTreeSet<String>> = match &args.role {
        None => None,
        Some(role) => {
            let hosts = client.hosts().await?;
            Some(hosts.into_iter().filter(|host| host.roles.contains(role)).map(|host| host.name).collect())
        }
    };
    rows.retain(|row| {
        hosts.takes(&row.host)
            && names.takes(&row.name)
            && with_role.as_ref().is_none_or(|hosts| hosts.contains(&row.host))
    });
    let unit = Catalogue::builtin().field(&args.kind, &args.field).map_or(Unit::Number, |field| field.unit.clone());
    let cells = rows
        .iter()
        .map(|row| {
            let age = ago(Some(row.at), now());
            vec![
                Text::new(row.host.clone()),
                Text::new(row.name.clone()),
                row.readings.get(&args.field).map_or_else(Text::none, |value| Text::reading(&unit, *value)),
                Text::status(row.status),
                if row.stale { age.coloured(comfy_table::Color::Yellow) } else { age },
            ]
        })
        .collect();
    output.list(&rows, &["host", "name", &args.field, "status", "age"], cells)
}

/// Nothing to show may mean that there is no such thing anywhere.
async fn check_spelling(args: &QueryArgs, client: &Client) -> anyhow::Result<()> {
    // An agent's own socket has the catalogue of this program.
    let builtin = || Catalogue::builtin().kinds().map(Kind::from).collect();
    let kinds: Vec<Kind> = client.catalogue().await.unwrap_or_else(|_| builtin());
    let (kind, field) = (&args.kind, &args.field);
    let Some(known) = kinds.iter().find(|known| known.name == *kind) else {
        bail!("no kind is called {kind:?}; `tomte catalogue` lists them");
    };
    anyhow::ensure!(
        known.fields.iter().any(|known| known.name == *field),
        "{kind} has no field {field:?}; `tomte catalogue {kind}` lists them"
    );
    Ok(())
}

/// The names that one of the patterns fits; all, where there is none.
pub(super) struct Wanted(Vec<Glob>);

impl Wanted {
    pub(super) fn new(patterns: &[String]) -> Result<Self, BadGlob> {
        Ok(Self(patterns.iter().map(|pattern| Glob::new(pattern)).collect::<Result<_, _>>()?))
    }

    pub(super) fn takes(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|glob| glob.matches(name))
    }
}

async fn history(args: QueryArgs, from: String, client: &Client, output: Output) -> anyhow::Result<()> {
    let step = match args.step.as_deref() {
        Some("raw") => None,
        Some(step) => Some(step.to_owned()),
        // A table needs no more points than a line has characters.
        None if output.format == Format::Table => relative_seconds(&from, args.to.as_deref())
            .map(|seconds| format!("{}s", (seconds / SPARKLINE_WIDTH as u64).max(1))),
        None => None,
    };
    let stepped = args.agg.is_some() || args.function.is_some();
    let query = HistoryQuery {
        host: args.host,
        role: args.role.into_iter().collect(),
        kind: vec![args.kind],
        name: args.name.into_iter().collect(),
        field: vec![args.field],
        from: Some(from),
        to: args.to,
        step: if stepped { step.or_else(|| Some("1m".to_owned())) } else { step },
        function: args.function,
        aggregate: args.agg,
        k: args.k,
        q: args.q,
        ..Default::default()
    };
    let history = client.history(&query).await?;
    match output.format {
        Format::Json => output.json(&history),
        Format::Csv => output.list(&history, &["time", "series", "value"], points(&history)),
        Format::Table => {
            let rows = history.series.iter().map(|series| line(series, &output)).collect();
            output.list(&history, &["series", "least", "mean", "most", "last", "points", "history"], rows)
        }
    }
}

const SPARKLINE_WIDTH: usize = 40;

/// The values of a series: whichever column it came with.
pub(super) fn values(series: &Series) -> &[Option<f64>] {
    [&series.mean, &series.last, &series.max, &series.min, &series.rate]
        .into_iter()
        .find_map(|column| column.as_deref())
        .unwrap_or_default()
}

fn line(series: &Series, output: &Output) -> Vec<Text> {
    let unit = Unit::from_name(&series.unit);
    let values = values(series);
    let present: Vec<f64> = values.iter().flatten().copied().collect();
    let cell = |value: Option<f64>| value.map_or_else(Text::none, |value| Text::reading(&unit, value));
    let column = |column: &Option<Vec<Option<f64>>>, pick: fn(f64, f64) -> f64| {
        column.as_deref().unwrap_or(values).iter().flatten().copied().reduce(pick)
    };
    let mean = (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64);
    vec![
        Text::new(series.key.clone()),
        cell(column(&series.min, f64::min)),
        cell(mean),
        cell(column(&series.max, f64::max)),
        cell(present.last().copied()),
        Text::new(present.len().to_string()),
        // Bars in a pipe are noise.
        Text::new(if output.terminal() { sparkline(values, SPARKLINE_WIDTH) } else { String::new() }),
    ]
}

fn points(history: &History) -> Vec<Vec<Text>> {
    let shared = history.t.as_deref();
    history
        .series
        .iter()
        .flat_map(|series| {
            let times = series.t.as_deref().or(shared).unwrap_or_default();
            times.iter().zip(values(series)).filter_map(|(time, value)| {
                Some(vec![
                    Text::new(Timestamp::from_millis(*time).to_string()),
                    Text::new(series.key.clone()),
                    Text::new((*value)?.to_string()),
                ])
            })
        })
        .collect()
}

/// How long a range is, when it is written as "the last so long".
fn relative_seconds(from: &str, to: Option<&str>) -> Option<u64> {
    if to.is_some_and(|to| to != "now") {
        return None;
    }
    tomte_api::time::duration(from.strip_prefix('-')?).ok().map(|span| span.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ranges_up_to_now_have_a_length_here() {
        assert_eq!(relative_seconds("-24h", None), Some(86_400));
        assert_eq!(relative_seconds("-5m", Some("now")), Some(300));
        assert_eq!(relative_seconds("-5m", Some("-1m")), None);
        assert_eq!(relative_seconds("2026-01-01T00:00:00Z", None), None);
    }

    #[test]
    fn gaps_are_left_out_of_csv() {
        let series = Series { key: "a/b:c/d".into(), mean: Some(vec![Some(1.5), None]), ..Series::default() };
        let history = History { t: Some(vec![0, 1000]), series: vec![series], ..History::default() };
        assert_eq!(points(&history).len(), 1);
    }
}
