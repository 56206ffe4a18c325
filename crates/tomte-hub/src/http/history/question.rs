//! A question about the past, read from the query string.

use std::time::Duration;

use tomte_api::time::{duration, time};
use tomte_model::{Glob, HostId, ResourceKey, Timestamp};
use tomte_store::history::SeriesKey;
use tomte_store::state::HostRecord;

use crate::http::extract::Params;
use crate::http::problem::Failure;

/// What is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) explicit: Vec<Explicit>,
    pub(super) selector: Option<Selector>,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) step: Option<Duration>,
    pub(super) function: Option<Function>,
    pub(super) aggregate: Option<Aggregate>,
}

/// What is taken of each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Mean,
    Min,
    Max,
    Last,
    /// By how much it grew, per second.
    Rate,
}

impl Function {
    /// The word for it, and the name of its column.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::Rate => "rate",
        }
    }
}

/// How series are taken together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aggregate {
    Sum,
    Mean,
    Min,
    Max,
    /// The value below which this share of the series is.
    Quantile(f64),
    TopK(usize),
}

impl Aggregate {
    /// The word for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Quantile(_) => "quantile",
            Self::TopK(_) => "topk",
        }
    }
}

/// Readings are hardly ever farther apart than this.
const LEAD: Duration = Duration::from_secs(90);
const MAX_LEAD: usize = 90;

const KNOWN: &[&str] =
    &["series", "host", "role", "kind", "name", "field", "from", "to", "step", "fn", "agg", "k", "q"];

impl Question {
    /// Reads a query.
    pub(super) fn from(params: &Params, now: Timestamp) -> Result<Self, Failure> {
        params.only(KNOWN)?;
        let moment = |name: &str, usual: Timestamp| match params.one(name)? {
            Some(text) => time(text, now).map_err(|why| Failure::parameter(name, why)),
            None => Ok(usual),
        };
        let to = moment("to", now)?;
        let from = moment("from", to.minus(Duration::from_secs(3600)))?;
        if from >= to {
            return Err(Failure::parameter("from", "the range ends before it begins"));
        }
        let step = params.one("step")?.map(|text| {
            duration(text).ok().filter(|step| !step.is_zero()).ok_or_else(|| {
                Failure::parameter("step", format!("{text:?} is not a step: write 30s, 5m, or milliseconds"))
            })
        });
        let explicit = params.all("series").map(Explicit::parse).collect::<Result<Vec<_>, _>>()?;
        let selector = Selector::from(params)?;
        if explicit.is_empty() && selector.is_none() {
            return Err(Failure::parameter(
                "series",
                "say what is meant: series=HOST/KIND:NAME/FIELD, or host, role, kind, name and field",
            ));
        }
        let question = Self {
            explicit,
            selector,
            from,
            to,
            step: step.transpose()?,
            function: params.one("fn")?.map(function).transpose()?,
            aggregate: aggregate(params)?,
        };
        if question.step.is_none() && (question.aggregate.is_some() || question.function.is_some()) {
            return Err(Failure::parameter("step", "fn and agg need one"));
        }
        Ok(question)
    }

    /// How many steps are read before the first, for the sake of it: a rate
    /// takes two readings, and those of a step of a second may be far apart.
    pub(super) fn lead(&self) -> usize {
        match (self.function, self.step) {
            (Some(Function::Rate), Some(step)) => {
                (LEAD.as_nanos().div_ceil(step.as_nanos().max(1)) as usize).clamp(1, MAX_LEAD)
            }
            _ => 0,
        }
    }
}

fn function(text: &str) -> Result<Function, Failure> {
    match text {
        "mean" => Ok(Function::Mean),
        "min" => Ok(Function::Min),
        "max" => Ok(Function::Max),
        "last" => Ok(Function::Last),
        "rate" => Ok(Function::Rate),
        _ => Err(Failure::parameter("fn", "mean, min, max, last or rate")),
    }
}

fn aggregate(params: &Params) -> Result<Option<Aggregate>, Failure> {
    let (k, q) = (params.read::<usize>("k")?, params.read::<f64>("q")?);
    let aggregate = match params.one("agg")? {
        None => None,
        Some("sum") => Some(Aggregate::Sum),
        Some("mean") => Some(Aggregate::Mean),
        Some("min") => Some(Aggregate::Min),
        Some("max") => Some(Aggregate::Max),
        Some("topk") if k == Some(0) => return Err(Failure::parameter("k", "must be at least 1")),
        Some("topk") => Some(Aggregate::TopK(k.unwrap_or(5))),
        Some("quantile") => match q {
            Some(q) if (0.0..=1.0).contains(&q) => Some(Aggregate::Quantile(q)),
            Some(_) => return Err(Failure::parameter("q", "from 0 to 1, such as 0.95")),
            None => return Err(Failure::parameter("q", "agg=quantile needs one, such as 0.95")),
        },
        Some(_) => return Err(Failure::parameter("agg", "sum, mean, min, max, quantile or topk")),
    };
    if q.is_some() && !matches!(aggregate, Some(Aggregate::Quantile(_))) {
        return Err(Failure::parameter("q", "only agg=quantile has one"));
    }
    if k.is_some() && !matches!(aggregate, Some(Aggregate::TopK(_))) {
        return Err(Failure::parameter("k", "only agg=topk has one"));
    }
    Ok(aggregate)
}

/// A series that is named whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Explicit {
    /// As it was asked for.
    pub(super) label: String,
    pub(super) host: String,
    resource: ResourceKey,
    field: String,
}

impl Explicit {
    /// `HOST/KIND:NAME/FIELD`. The name may hold slashes and colons: the host
    /// ends at the first slash, the field begins after the last one.
    fn parse(text: &str) -> Result<Self, Failure> {
        let parts = text.split_once('/').and_then(|(host, rest)| {
            let (resource, field) = rest.rsplit_once('/')?;
            Some((host, resource.parse::<ResourceKey>().ok()?, field))
        });
        match parts {
            Some((host, resource, field)) if !host.is_empty() && !field.is_empty() => {
                Ok(Self { label: text.to_owned(), host: host.to_owned(), resource, field: field.to_owned() })
            }
            _ => Err(Failure::parameter("series", format!("{text:?} is not HOST/KIND:NAME/FIELD"))),
        }
    }

    /// The kind and the field.
    pub(super) fn kind_and_field(&self) -> (&str, &str) {
        (&self.resource.kind, &self.field)
    }

    /// The key, with the name as it stands.
    pub(super) fn key(&self, host: HostId) -> SeriesKey {
        SeriesKey { host, resource: self.resource.clone(), field: self.field.clone().into() }
    }

    /// The key with the name percent-decoded, if that makes a difference.
    pub(super) fn decoded(&self, host: HostId) -> Option<SeriesKey> {
        let name = percent_decoded(&self.resource.name)?;
        let resource = ResourceKey { kind: self.resource.kind.clone(), name };
        Some(SeriesKey { host, resource, field: self.field.clone().into() })
    }
}

/// The text with its percent escapes resolved; `None` when there are none, or
/// what they stand for is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| byte == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match escape.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok().filter(|decoded| decoded != text)
}

/// Series that are meant by their parts.
#[derive(Debug)]
pub(super) struct Selector {
    hosts: Globs,
    roles: Globs,
    kinds: Globs,
    names: Globs,
    fields: Globs,
}

/// Patterns of which any may fit; none: everything does. Words without
/// anything special are compared as they are, which is much quicker.
#[derive(Debug, Default)]
struct Globs {
    words: Vec<String>,
    globs: Vec<Glob>,
}

impl Globs {
    fn from(params: &Params, name: &str) -> Result<Self, Failure> {
        let mut all = Self::default();
        for text in params.all(name) {
            if Glob::is_plain(text) {
                all.words.push(text.to_owned());
            } else {
                all.globs.push(Glob::new(text).map_err(|error| Failure::parameter(name, error))?);
            }
        }
        Ok(all)
    }
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.globs.is_empty()
    }
    fn take(&self, text: &str) -> bool {
        self.is_empty() || self.fit(text)
    }
    fn fit(&self, text: &str) -> bool {
        self.words.iter().any(|word| word == text) || self.globs.iter().any(|glob| glob.matches(text))
    }
}

impl Selector {
    fn from(params: &Params) -> Result<Option<Self>, Failure> {
        let selector = Self {
            hosts: Globs::from(params, "host")?,
            roles: Globs::from(params, "role")?,
            kinds: Globs::from(params, "kind")?,
            names: Globs::from(params, "name")?,
            fields: Globs::from(params, "field")?,
        };
        let parts = [&selector.hosts, &selector.roles, &selector.kinds, &selector.names, &selector.fields];
        Ok(if parts.iter().all(|globs| globs.is_empty()) { None } else { Some(selector) })
    }

    pub(super) fn takes_host(&self, host: &HostRecord) -> bool {
        let by_name = || {
            self.hosts.fit(host.name.as_str())
                || host.aliases.iter().any(|alias| self.hosts.fit(alias.as_str()))
                || self.hosts.words.iter().any(|word| *word == host.id.to_string())
        };
        (self.hosts.is_empty() || by_name())
            && (self.roles.is_empty() || host.roles.iter().any(|role| self.roles.fit(role)))
    }

    pub(super) fn takes_series(&self, kind: &str, name: &str, field: &str) -> bool {
        self.kinds.take(kind) && self.fields.take(field) && self.names.take(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(query: &str) -> Result<Question, String> {
        let now = Timestamp::from_millis(1_000_000_000);
        Question::from(&Params::parse(query), now).map_err(|failure| {
            let problem = failure.into_problem();
            format!("{}: {}", problem.code(), problem.detail.as_deref().unwrap_or_default())
        })
    }

    #[test]
    fn a_series_name_may_hold_slashes_colons_and_escapes() {
        let host = HostId::from_parts(1, 1);
        let parse = |text: &str| Explicit::parse(text).expect(text);
        let key = parse("nas/filesystem:/mnt/a:b/used_ratio").key(host);
        assert_eq!((key.resource.to_string().as_str(), &*key.field), ("filesystem:/mnt/a:b", "used_ratio"));
        assert_eq!(parse("nas/filesystem:/mnt/a/used_ratio").decoded(host), None);
        let decoded = parse("nas/filesystem:%2Fmnt%2Fa/used_ratio").decoded(host).expect("an escape");
        assert_eq!(decoded.resource.to_string(), "filesystem:/mnt/a");
        assert_eq!(percent_decoded("100%"), None);
        assert_eq!(percent_decoded("%C3%BC%zz"), Some("ü%zz".to_owned()));
        assert_eq!(percent_decoded("%FF"), None);
        for bad in ["", "nas", "nas/cpu:cpu", "/cpu:cpu/x", "nas/cpu/x", "nas/cpu:cpu/"] {
            assert!(Explicit::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn senseless_questions_are_refused() {
        for bad in [
            "",
            "kind=cpu&from=now&to=-1h",
            "kind=cpu&step=0",
            "kind=cpu&step=fast",
            "kind=cpu&fn=mean",
            "kind=cpu&agg=sum",
            "kind=cpu&step=5m&k=3",
            "kind=cpu&step=5m&q=0.5",
            "kind=cpu&step=5m&agg=quantile",
            "kind=cpu&step=5m&agg=quantile&q=1.5",
            "kind=cpu&step=5m&agg=quantile&q=NaN",
            "kind=cpu&step=5m&agg=topk&k=0",
            "kind=cpu&step=5m&fn=median",
            "kind=[",
            "knid=cpu",
        ] {
            assert!(question(bad).is_err(), "{bad:?}");
        }
        assert!(question("kind=cpu&step=5m&agg=topk&k=3&fn=max&from=-24h&to=now").is_ok());
        assert!(question("kind=cpu&step=5m&agg=quantile&q=0.95&fn=rate").is_ok());
    }
}
