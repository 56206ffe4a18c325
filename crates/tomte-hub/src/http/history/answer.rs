//! An answer about the past: what is told of each series, and of several taken
//! together. How it looks on the wire is [`super::write`]'s.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tomte_model::{Catalogue, HostId, Name, Timestamp, Unit};
use tomte_store::history::{Bucket, Points, SeriesHistory, SeriesKey, Tier};

use super::Asked;
use super::question::{Aggregate, Function, Question};

/// A value per step; `None` is a gap.
pub(super) type Column = Vec<Option<f64>>;

/// What is told.
pub(super) struct Answer {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) step_ms: Option<u64>,
    /// With a step: when each begins.
    pub(super) t: Vec<Timestamp>,
    pub(super) series: Vec<Told>,
}

/// What is told of one series, or of several taken together.
pub(super) struct Told {
    pub(super) key: String,
    /// Name and id; `None` for several together.
    pub(super) host: Option<(String, HostId)>,
    pub(super) kind: Name,
    pub(super) name: Option<String>,
    pub(super) field: Name,
    pub(super) unit: Cow<'static, str>,
    pub(super) tier: Tier,
    pub(super) interval_ms: u64,
    /// How many decimals its readings have; `None` when that is not known.
    pub(super) decimals: Option<u8>,
    pub(super) values: Values,
}

/// The values of a series.
pub(super) enum Values {
    /// As they were read.
    Raw(Vec<(Timestamp, f64)>),
    /// Mean, minimum and maximum of each step, or one of what a bucket has.
    Buckets(Vec<Option<Bucket>>, Option<Function>),
    /// One column that was worked out.
    Column(Function, Column),
}

impl Values {
    /// The mean of everything, by which `topk` ranks.
    fn overall_mean(&self) -> Option<f64> {
        let (count, sum) = match self {
            Self::Raw(points) => (points.len() as u64, points.iter().map(|(_, value)| value).sum::<f64>()),
            Self::Buckets(buckets, _) => {
                buckets.iter().flatten().fold((0, 0.0), |(count, sum), bucket| (count + bucket.count, sum + bucket.sum))
            }
            Self::Column(_, column) => column.iter().flatten().fold((0, 0.0), |(n, sum), value| (n + 1, sum + value)),
        };
        (count > 0).then(|| sum / count as f64)
    }

    /// What a step came to.
    fn at(&self, index: usize) -> Option<f64> {
        match self {
            Self::Raw(_) => None,
            Self::Buckets(buckets, function) => {
                value(buckets.get(index)?.as_ref()?, function.unwrap_or(Function::Mean))
            }
            Self::Column(_, column) => *column.get(index)?,
        }
    }
}

/// What a function makes of one step by itself.
pub(super) fn value(bucket: &Bucket, function: Function) -> Option<f64> {
    match function {
        Function::Mean => Some(bucket.mean()),
        Function::Min => Some(bucket.min),
        Function::Max => Some(bucket.max),
        Function::Last => Some(bucket.last),
        // It takes two steps.
        Function::Rate => None,
    }
}

/// Makes the answer of what was found. `asked` and what was found are in the
/// same order; the first `lead` steps were read for the sake of the next.
pub(super) fn answer(
    question: &Question,
    asked: Vec<Asked>,
    found: Vec<SeriesHistory>,
    mut t: Vec<Timestamp>,
    lead: usize,
    catalogue: &Catalogue,
) -> Answer {
    let mut series: Vec<Told> =
        asked.into_iter().zip(found).map(|(asked, found)| one(question, asked, found, lead, catalogue)).collect();
    t.drain(..lead.min(t.len()));
    match question.aggregate {
        None => {}
        Some(Aggregate::TopK(k)) => {
            let mut ranked: Vec<(f64, Told)> =
                series.into_iter().filter_map(|told| Some((told.values.overall_mean()?, told))).collect();
            // Equals keep their order.
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            ranked.truncate(k);
            series = ranked.into_iter().map(|(_, told)| told).collect();
        }
        Some(aggregate) => series = together(question, aggregate, series, t.len()),
    }
    let step_ms = question.step.map(|step| u64::try_from(step.as_millis()).unwrap_or(u64::MAX));
    Answer { from: question.from, to: question.to, step_ms, t, series }
}

fn one(question: &Question, asked: Asked, found: SeriesHistory, lead: usize, catalogue: &Catalogue) -> Told {
    let SeriesKey { host, resource, field } = found.key;
    let known = catalogue.field(&resource.kind, &field);
    let unit = known.map(|known| known.unit.clone());
    let function = question.function;
    let unit: Cow<'static, str> = match unit {
        Some(unit) if function == Some(Function::Rate) => per_second(&unit).into(),
        Some(unit) => unit.as_str().to_owned().into(),
        None => "".into(),
    };
    let values = match found.points {
        Points::Raw(points) => Values::Raw(points),
        Points::Stepped(buckets) if function == Some(Function::Rate) => {
            let step = question.step.unwrap_or_default().as_secs_f64();
            let apart = f64::from(found.interval_millis) * 3.0 / 1_000.0;
            let reach = ((apart / step).ceil() as usize).max(1);
            let mut column = rates(&buckets, step, reach, field.ends_with("_total"));
            column.drain(..lead.min(column.len()));
            Values::Column(Function::Rate, column)
        }
        Points::Stepped(buckets) => Values::Buckets(buckets, function),
    };
    Told {
        key: asked.label,
        host: Some((asked.host, host)),
        decimals: known.map(|known| u8::try_from(-known.resolution.exponent()).unwrap_or(0)),
        kind: resource.kind,
        name: Some(resource.name),
        field,
        unit,
        tier: found.tier,
        interval_ms: found.interval_millis.into(),
        values,
    }
}

/// The unit of how fast something of a unit grows.
fn per_second(unit: &Unit) -> String {
    match unit {
        Unit::Number => Unit::PerSecond.as_str().to_owned(),
        Unit::Bytes => Unit::BytesPerSecond.as_str().to_owned(),
        unit => format!("{}_per_second", unit.as_str()),
    }
}

/// By how much the last value of each step is more than that of the step
/// before, per second. Steps that hold no reading are passed over, as many as
/// lie between two readings; a longer gap stays one. A counter that fell was
/// set back to zero in between.
fn rates(buckets: &[Option<Bucket>], step: f64, reach: usize, is_counter: bool) -> Column {
    let mut before: Option<(usize, f64)> = None;
    let mut column = Vec::with_capacity(buckets.len());
    for (index, bucket) in buckets.iter().enumerate() {
        let Some(bucket) = bucket else {
            column.push(None);
            continue;
        };
        let rate = before.filter(|(at, _)| index - at <= reach).map(|(at, last)| {
            let grown = if is_counter && bucket.last < last { bucket.last } else { bucket.last - last };
            grown / ((index - at) as f64 * step)
        });
        column.push(rate);
        before = Some((index, bucket.last));
    }
    column
}

/// All series of a kind and field as one. In a step where some have no value
/// the others are taken; where none has one there is a gap.
fn together(question: &Question, aggregate: Aggregate, series: Vec<Told>, steps: usize) -> Vec<Told> {
    let function = question.function.unwrap_or(Function::Mean);
    let mut groups: BTreeMap<(Name, Name), Vec<Told>> = BTreeMap::new();
    for told in series {
        groups.entry((told.kind.clone(), told.field.clone())).or_default().push(told);
    }
    groups
        .into_iter()
        .map(|((kind, field), members)| {
            let mut values = Vec::with_capacity(members.len());
            let column = (0..steps).map(|step| {
                values.clear();
                values.extend(members.iter().filter_map(|told| told.values.at(step)));
                taken(aggregate, &mut values)
            });
            let column: Column = column.collect();
            Told {
                key: format!("{}({kind}/{field})", aggregate.as_str()),
                host: None,
                name: None,
                unit: members[0].unit.clone(),
                tier: members.iter().map(|told| told.tier).max().unwrap_or_default(),
                interval_ms: members.iter().map(|told| told.interval_ms).max().unwrap_or_default(),
                decimals: members[0].decimals,
                kind,
                field,
                values: Values::Column(function, column),
            }
        })
        .collect()
}

/// The values of several series at one step as one.
fn taken(aggregate: Aggregate, values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    Some(match aggregate {
        Aggregate::Sum => values.iter().sum(),
        Aggregate::Mean => values.iter().sum::<f64>() / values.len() as f64,
        Aggregate::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregate::Quantile(q) => quantile(q, values),
        // TopK keeps series apart and never comes here.
        Aggregate::Max | Aggregate::TopK(_) => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

/// The value below which a share of the values is; between two of them in
/// proportion, as Prometheus has it.
fn quantile(q: f64, values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = q * (values.len() - 1) as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(values.len() - 1);
    let share = rank - below as f64;
    values[below] * (1.0 - share) + values[above] * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::extract::Params;
    use tomte_api::history::History;
    use tomte_model::ResourceKey;

    fn bucket(a: f64, b: f64) -> Option<Bucket> {
        let mut bucket = Bucket::of(a);
        bucket.add(b);
        Some(bucket)
    }

    /// What goes over the wire for three hosts, as a client reads it.
    fn told(query: &str, field: &'static str, stepped: [Vec<Option<Bucket>>; 3]) -> History {
        let question = Question::from(&Params::parse(query), Timestamp::from_millis(10_000_000)).expect("a question");
        let asked = (0..3).map(|i| Asked { label: format!("h{i}/cpu:cpu/{field}"), host: format!("h{i}"), parts: 1 });
        let t = (0..stepped[0].len()).map(|i| Timestamp::from_millis(i as i64 * 60_000)).collect();
        let series = stepped.into_iter().zip(0_u64..).map(|(buckets, i)| SeriesHistory {
            key: SeriesKey {
                host: HostId::from_parts(1, i.into()),
                resource: ResourceKey::new("cpu", "cpu"),
                field: field.into(),
            },
            interval_millis: 10_000,
            tier: if i == 1 { Tier::FiveMinutes } else { Tier::Raw },
            points: Points::Stepped(buckets),
        });
        let answer = answer(&question, asked.collect(), series.collect(), t, question.lead(), &Catalogue::builtin());
        serde_json::from_slice(&super::super::write::body(&answer)).expect("what the API's types say")
    }

    fn usage(query: &str) -> History {
        let gap = vec![None, None, None];
        told(
            query,
            "usage_ratio",
            [vec![bucket(1.0, 3.0), None, None], vec![bucket(5.0, 7.0), bucket(4.0, 4.0), None], gap],
        )
    }

    #[test]
    fn steps_become_columns_with_null_for_gaps() {
        let history = usage("kind=cpu&step=1m");
        assert_eq!(history.t, Some(vec![0, 60_000, 120_000]));
        let first = &history.series[0];
        assert_eq!(first.mean, Some(vec![Some(2.0), None, None]));
        assert_eq!(first.min, Some(vec![Some(1.0), None, None]));
        assert_eq!(first.max, Some(vec![Some(3.0), None, None]));
        assert_eq!((first.last.as_ref(), first.t.as_ref()), (None, None));
        assert_eq!((first.tier.as_str(), first.interval_ms), ("raw", 10_000));
        assert_eq!((first.host.as_deref(), first.name.as_deref(), &*first.unit), (Some("h0"), Some("cpu"), "ratio"));
        assert_eq!(usage("kind=cpu&step=1m&fn=last").series[1].last, Some(vec![Some(7.0), Some(4.0), None]));
    }

    #[test]
    fn several_series_are_taken_together_where_they_have_values() {
        let column = |query: &str| {
            let mut history = usage(query);
            assert_eq!(history.series.len(), 1);
            history.series.remove(0)
        };
        let sum = column("kind=cpu&step=1m&agg=sum");
        assert_eq!((sum.key.as_str(), sum.tier.as_str()), ("sum(cpu/usage_ratio)", "5m"));
        assert_eq!(sum.mean, Some(vec![Some(8.0), Some(4.0), None]));
        assert_eq!(column("kind=cpu&step=1m&agg=mean").mean, Some(vec![Some(4.0), Some(4.0), None]));
        assert_eq!(column("kind=cpu&step=1m&agg=max&fn=max").max, Some(vec![Some(7.0), Some(4.0), None]));
        assert_eq!(column("kind=cpu&step=1m&agg=min&fn=last").last, Some(vec![Some(3.0), Some(4.0), None]));
        let quantile = |q: &str| column(&format!("kind=cpu&step=1m&agg=quantile&q={q}")).mean;
        assert_eq!(quantile("0.5"), Some(vec![Some(4.0), Some(4.0), None]));
        assert_eq!(quantile("0.25"), Some(vec![Some(3.0), Some(4.0), None]));
        assert_eq!(quantile("1"), Some(vec![Some(6.0), Some(4.0), None]));
        let top = column("kind=cpu&step=1m&agg=topk&k=1");
        assert_eq!(top.host.as_deref(), Some("h1"));
    }

    #[test]
    fn a_rate_is_what_a_value_grew_by_per_second() {
        let at = |value: f64| Some(Bucket::of(value));
        let counter = vec![at(60.0), at(120.0), at(240.0), None, at(360.0), at(30.0)];
        let mut long_gap = vec![None; 6];
        long_gap[0] = at(0.0);
        long_gap[5] = at(600.0);
        let ask = |query: &str, field| told(query, field, [counter.clone(), long_gap.clone(), vec![None; 6]]);
        // A step is read before the first, so that the first has a rate too.
        let history = ask("kind=cpu&step=1m&fn=rate", "things_total");
        assert_eq!(history.t.as_ref().map(Vec::len), Some(4), "two steps are read for the sake of the first");
        let rate = history.series[0].rate.clone();
        // Readings are 10 s apart: a step of a minute without one is a gap.
        assert_eq!(rate, Some(vec![Some(2.0), None, None, Some(0.5)]), "a counter set back to zero");
        assert_eq!(history.series[1].rate, Some(vec![None; 4]));
        let gauge = ask("kind=cpu&step=1m&fn=rate", "usage_ratio");
        assert_eq!(gauge.series[0].rate, Some(vec![Some(2.0), None, None, Some(-5.5)]));
        assert_eq!(gauge.series[0].unit, "ratio_per_second");
        let sum = ask("kind=cpu&step=1m&fn=rate&agg=sum", "things_total");
        assert_eq!(sum.series[0].rate, Some(vec![Some(2.0), None, None, Some(0.5)]));
    }

    #[test]
    fn empty_steps_between_two_readings_are_no_gap() {
        let mut buckets = vec![None; 9];
        (buckets[0], buckets[3], buckets[8]) = (Some(Bucket::of(0.0)), Some(Bucket::of(30.0)), Some(Bucket::of(60.0)));
        let column = rates(&buckets, 10.0, 3, false);
        assert_eq!(column[3], Some(1.0));
        assert_eq!(column.iter().flatten().count(), 1, "five steps are a gap");
    }
}
