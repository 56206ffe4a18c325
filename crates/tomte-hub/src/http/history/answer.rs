//! An answer about the past: buckets put into columns, and taken together.

use std::collections::BTreeMap;

use tomte_api::history::{History, Series};
use tomte_model::{Catalogue, Name};
use tomte_store::history::{Bucket, History as Found, Points, SeriesHistory, Tier};

use super::Asked;
use super::question::{Aggregate, Function, Question};

type Column = Vec<Option<f64>>;

/// What the store found, in columns. `asked` and what was found are in the
/// same order.
pub(super) fn columns(question: &Question, asked: &[Asked], found: Found, catalogue: &Catalogue) -> History {
    let series = asked.iter().zip(found.series);
    let series = match question.aggregate {
        None => series.map(|(asked, found)| one(question, asked, found, catalogue)).collect(),
        Some(Aggregate::TopK(k)) => {
            let mut ranked: Vec<_> = series.map(|(asked, found)| (overall_mean(&found.points), asked, found)).collect();
            // Those without any value are no candidates; equals keep their order.
            ranked.retain(|(mean, ..)| mean.is_some());
            ranked.sort_by(|a, b| b.0.unwrap_or(f64::MIN).total_cmp(&a.0.unwrap_or(f64::MIN)));
            ranked.truncate(k);
            ranked.into_iter().map(|(_, asked, found)| one(question, asked, found, catalogue)).collect()
        }
        Some(aggregate) => together(question, aggregate, series, found.t.len(), catalogue),
    };
    let step = question.step.map(|step| u64::try_from(step.as_millis()).unwrap_or(u64::MAX));
    History {
        from: question.from.millis(),
        to: question.to.millis(),
        step_ms: step,
        t: step.map(|_| found.t.iter().map(|t| t.millis()).collect()),
        series,
    }
}

fn unit(catalogue: &Catalogue, kind: &str, field: &str) -> String {
    catalogue.field(kind, field).map(|field| field.unit.as_str().to_owned()).unwrap_or_default()
}

fn one(question: &Question, asked: &Asked, found: SeriesHistory, catalogue: &Catalogue) -> Series {
    let (kind, field) = (&asked.key.resource.kind, &asked.key.field);
    let mut series = Series {
        key: asked.label.clone(),
        host: Some(asked.host.clone()),
        host_id: Some(asked.key.host),
        kind: kind.to_string(),
        name: Some(asked.key.resource.name.clone()),
        field: field.to_string(),
        unit: unit(catalogue, kind, field),
        tier: found.tier.as_str().to_owned(),
        interval_ms: found.interval_millis.into(),
        ..Series::default()
    };
    match found.points {
        Points::Raw(points) => {
            series.t = Some(points.iter().map(|(t, _)| t.millis()).collect());
            series.mean = Some(points.into_iter().map(|(_, value)| Some(value)).collect());
        }
        Points::Stepped(buckets) => match question.function {
            Some(function) => put(&mut series, function, buckets.iter().map(|b| value(b, function)).collect()),
            None => {
                for function in [Function::Mean, Function::Min, Function::Max] {
                    put(&mut series, function, buckets.iter().map(|b| value(b, function)).collect());
                }
            }
        },
    }
    series
}

fn value(bucket: &Option<Bucket>, function: Function) -> Option<f64> {
    let bucket = bucket.as_ref()?;
    Some(match function {
        Function::Mean => bucket.mean(),
        Function::Min => bucket.min,
        Function::Max => bucket.max,
        Function::Last => bucket.last,
    })
}

fn put(series: &mut Series, function: Function, column: Column) {
    let place = match function {
        Function::Mean => &mut series.mean,
        Function::Min => &mut series.min,
        Function::Max => &mut series.max,
        Function::Last => &mut series.last,
    };
    *place = Some(column);
}

/// The mean of all values, by which `topk` ranks.
fn overall_mean(points: &Points) -> Option<f64> {
    let (count, sum) = match points {
        Points::Raw(points) => (points.len() as u64, points.iter().map(|(_, value)| value).sum::<f64>()),
        Points::Stepped(buckets) => {
            buckets.iter().flatten().fold((0, 0.0), |(count, sum), bucket| (count + bucket.count, sum + bucket.sum))
        }
    };
    (count > 0).then(|| sum / count as f64)
}

/// All series of a kind and field as one. In a step where some have no value
/// the others are taken; where none has one there is a gap.
fn together<'a>(
    question: &Question,
    aggregate: Aggregate,
    series: impl Iterator<Item = (&'a Asked, SeriesHistory)>,
    steps: usize,
    catalogue: &Catalogue,
) -> Vec<Series> {
    let function = question.function.unwrap_or(Function::Mean);
    let mut groups: BTreeMap<(&Name, &Name), (Vec<Gathered>, u64, Tier)> = BTreeMap::new();
    for (asked, found) in series {
        let (gathered, interval, tier) = groups
            .entry((&asked.key.resource.kind, &asked.key.field))
            .or_insert_with(|| (vec![Gathered::default(); steps], 0, Tier::Raw));
        *tier = (*tier).max(found.tier);
        *interval = (*interval).max(found.interval_millis.into());
        let Points::Stepped(buckets) = found.points else { continue };
        for (gathered, bucket) in gathered.iter_mut().zip(&buckets) {
            if let Some(value) = value(bucket, function) {
                gathered.add(value);
            }
        }
    }
    groups
        .into_iter()
        .map(|((kind, field), (gathered, interval, tier))| {
            let mut series = Series {
                key: format!("{}({kind}/{field})", aggregate.as_str()),
                kind: kind.to_string(),
                field: field.to_string(),
                unit: unit(catalogue, kind, field),
                tier: tier.as_str().to_owned(),
                interval_ms: interval,
                ..Series::default()
            };
            put(&mut series, function, gathered.into_iter().map(|g| g.value(aggregate)).collect());
            series
        })
        .collect()
}

/// The values of several series at one step.
#[derive(Debug, Clone, Default)]
struct Gathered(Option<Bucket>);

impl Gathered {
    fn add(&mut self, value: f64) {
        match &mut self.0 {
            Some(bucket) => bucket.add(value),
            None => self.0 = Some(Bucket::of(value)),
        }
    }

    fn value(&self, aggregate: Aggregate) -> Option<f64> {
        let bucket = self.0.as_ref()?;
        Some(match aggregate {
            Aggregate::Sum => bucket.sum,
            Aggregate::Mean => bucket.mean(),
            Aggregate::Min => bucket.min,
            // TopK keeps series apart and never comes here.
            Aggregate::Max | Aggregate::TopK(_) => bucket.max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::extract::Params;
    use tomte_model::{HostId, ResourceKey, Timestamp};
    use tomte_store::history::SeriesKey;

    fn answer(query: &str) -> History {
        let question = Question::from(&Params::parse(query), Timestamp::from_millis(10_000_000)).expect("a question");
        let asked: Vec<Asked> = (0..3_u64)
            .map(|i| Asked {
                key: SeriesKey {
                    host: HostId::from_parts(1, i.into()),
                    resource: ResourceKey::new("cpu", "cpu"),
                    field: "usage_ratio".into(),
                },
                label: format!("h{i}/cpu:cpu/usage_ratio"),
                host: format!("h{i}"),
            })
            .collect();
        let bucket = |a: f64, b: f64| {
            let mut bucket = Bucket::of(a);
            bucket.add(b);
            Some(bucket)
        };
        let stepped = [
            vec![bucket(1.0, 3.0), None, None],
            vec![bucket(5.0, 7.0), bucket(4.0, 4.0), None],
            vec![None, None, None],
        ];
        let series = asked.iter().zip(stepped).map(|(asked, buckets)| SeriesHistory {
            tier: Tier::Raw,
            key: asked.key.clone(),
            interval_millis: 10_000,
            points: Points::Stepped(buckets),
        });
        let found = Found { t: [0, 60_000, 120_000].map(Timestamp::from_millis).to_vec(), series: series.collect() };
        columns(&question, &asked, found, &Catalogue::builtin())
    }

    #[test]
    fn steps_become_columns_with_null_for_gaps() {
        let history = answer("kind=cpu&step=1m");
        assert_eq!(history.t, Some(vec![0, 60_000, 120_000]));
        let first = &history.series[0];
        assert_eq!(first.mean, Some(vec![Some(2.0), None, None]));
        assert_eq!(first.min, Some(vec![Some(1.0), None, None]));
        assert_eq!(first.max, Some(vec![Some(3.0), None, None]));
        assert_eq!((first.last.as_ref(), first.t.as_ref()), (None, None));
        assert_eq!((first.tier.as_str(), first.interval_ms), ("raw", 10_000));
        assert_eq!(answer("kind=cpu&step=1m&fn=last").series[1].last, Some(vec![Some(7.0), Some(4.0), None]));
    }

    #[test]
    fn several_series_are_taken_together_where_they_have_values() {
        let column = |query: &str| {
            let mut history = answer(query);
            assert_eq!(history.series.len(), 1);
            history.series.remove(0)
        };
        let sum = column("kind=cpu&step=1m&agg=sum");
        assert_eq!(sum.key, "sum(cpu/usage_ratio)");
        assert_eq!(sum.mean, Some(vec![Some(8.0), Some(4.0), None]));
        assert_eq!(column("kind=cpu&step=1m&agg=mean").mean, Some(vec![Some(4.0), Some(4.0), None]));
        assert_eq!(column("kind=cpu&step=1m&agg=max&fn=max").max, Some(vec![Some(7.0), Some(4.0), None]));
        assert_eq!(column("kind=cpu&step=1m&agg=min&fn=last").last, Some(vec![Some(3.0), Some(4.0), None]));
        let top = column("kind=cpu&step=1m&agg=topk&k=1");
        assert_eq!(top.host.as_deref(), Some("h1"));
    }
}
