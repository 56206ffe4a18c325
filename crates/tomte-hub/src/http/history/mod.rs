//! History: which series are meant, what the store has of them, and how it is
//! put into columns.
//!
//! [`question`] reads the query, [`answer`] makes columns of buckets, [`write`]
//! makes JSON of those; all are plain functions. In between, the series are
//! looked up and read.

mod answer;
mod question;
mod renamed;
mod write;

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tomte_api::history::{History, Import, Imported};
use tomte_model::{Catalogue, HostId};
use tomte_store::history::{HistoryStore, Query, SeriesKey};
use tomte_store::{Budget, StoreError};

use super::App;
use super::extract::{Json as BodyOf, Params};
use super::problem::Failure;
use crate::access::{Admin, Viewer};
use question::{Explicit, Question};
use renamed::{Renamed, joined};

/// How many points an answer may hold.
const MAX_POINTS: usize = 500_000;
/// How many series a question may be about.
const MAX_SERIES: usize = 20_000;

/// A series that was asked for, and what the answer calls it.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    label: String,
    host: String,
    /// Under how many names of its field it is looked up.
    parts: usize,
}

/// How readings were, in columns ready for a chart.
///
/// Name series by `series`, or select them by `host`, `role`, `kind`, `name`
/// and `field` (globs). With `step`, there is one `t` for all series and null
/// where nothing was read; without it every reading comes with its own `t`.
/// The hub reads the tier that fits the step and is still there, and names it.
#[utoipa::path(get, path = "/api/v1/history", tag = "history",
    params(
        ("series" = Option<Vec<String>>, Query, description = "HOST/KIND:NAME/FIELD, each"),
        ("host" = Option<Vec<String>>, Query, description = "Hosts by name, alias, id or glob"),
        ("role" = Option<Vec<String>>, Query, description = "Hosts by role or glob"),
        ("kind" = Option<Vec<String>>, Query, description = "Kinds, as globs"),
        ("name" = Option<Vec<String>>, Query, description = "Resources' names, as globs"),
        ("field" = Option<Vec<String>>, Query, description = "Fields, as globs"),
        ("from" = Option<String>, Query, description = "RFC 3339, milliseconds since 1970, or relative: -24h; an hour back when absent"),
        ("to" = Option<String>, Query, description = "Likewise; now when absent"),
        ("step" = Option<String>, Query, description = "30s, 5m, or milliseconds; every reading when absent"),
        ("fn" = Option<String>, Query, description = "mean, min, max or last of each step, or rate: by how much it grew per second; mean, min and max when absent"),
        ("agg" = Option<String>, Query, description = "sum, mean, min, max or quantile of all series of a kind and field, or topk: the k series with the greatest mean"),
        ("k" = Option<u32>, Query, description = "How many series topk keeps; 5 when absent"),
        ("q" = Option<f64>, Query, description = "Which quantile, from 0 to 1"),
    ),
    responses((status = 200, body = History)))]
pub(crate) async fn history(_: Viewer, params: Params, State(app): State<App>) -> Result<Response, Failure> {
    let question = Question::from(&params, app.hub.now())?;
    let hosts = hosts(&app, &question)?;
    let catalogue = app.hub.catalogue();
    let body = app.hub.read(move |store| tell(store.history.as_ref(), &question, &hosts, &catalogue)).await??;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], body).into_response())
}

/// Takes readings in: the history of another system, or an export of this one.
///
/// All of it is looked at first; when any of it makes no sense, none is taken
/// in. Readings that are there already are passed over.
#[utoipa::path(post, path = "/api/v1/history", operation_id = "import_history", tag = "history", request_body = Import,
    responses((status = 200, body = Imported)))]
pub(crate) async fn import(
    by: Admin,
    State(app): State<App>,
    BodyOf(body): BodyOf<Import>,
) -> Result<Json<Imported>, Failure> {
    Ok(Json(app.hub.import(&by, body).await?))
}

/// Looks the series up, reads them, and writes the answer. The inner error is
/// the caller's.
fn tell(
    store: &dyn HistoryStore,
    question: &Question,
    hosts: &Hosts,
    catalogue: &Catalogue,
) -> Result<Result<Vec<u8>, Failure>, StoreError> {
    let (asked, series) = match find(store, question, hosts, &Renamed::of(catalogue))? {
        Ok(found) => found,
        Err(failure) => return Ok(Err(failure)),
    };
    let lead = question.lead();
    let before = question.step.unwrap_or_default().saturating_mul(u32::try_from(lead).unwrap_or(0));
    let query = Query {
        series,
        from: question.from.minus(before),
        to: question.to,
        step: question.step,
        budget: Budget::points(MAX_POINTS),
    };
    let found = store.query(&query)?;
    let mut parts = found.series.into_iter();
    let series = asked.iter().filter_map(|asked| joined(parts.by_ref().take(asked.parts))).collect();
    let answer = answer::answer(question, asked, series, found.t, lead, catalogue);
    Ok(Ok(write::body(&answer)))
}

/// The hosts that a question may be about, by id and name.
struct Hosts {
    /// Those that its selectors take.
    selected: Vec<(HostId, String)>,
    /// Those that its explicit series name, as they name them.
    named: HashMap<String, (HostId, String)>,
}

fn hosts(app: &App, question: &Question) -> Result<Hosts, Failure> {
    let mut named = HashMap::new();
    for Explicit { host, .. } in &question.explicit {
        if named.contains_key(host) {
            continue;
        }
        let id = app.hub.find_host(host).ok_or_else(|| Failure::no_such_host(host))?;
        let name = app.hub.with_latest(id, |name, _| name.to_string()).unwrap_or_default();
        named.insert(host.clone(), (id, name));
    }
    let Some(selector) = &question.selector else { return Ok(Hosts { selected: Vec::new(), named }) };
    let mut selected = app.hub.hosts_where(|record| selector.takes_host(record));
    selected.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(Hosts { selected, named })
}

/// The series that are meant, each under all names of its field. The inner
/// error is the caller's.
#[allow(clippy::type_complexity, reason = "two lists in the same order")]
fn find(
    store: &dyn HistoryStore,
    question: &Question,
    hosts: &Hosts,
    renamed: &Renamed,
) -> Result<Result<(Vec<Asked>, Vec<SeriesKey>), Failure>, StoreError> {
    let (mut asked, mut series) = (Vec::new(), Vec::new());
    // The same series twice would be counted twice by a sum.
    let mut seen = HashSet::new();
    let mut add = |key: SeriesKey, label: String, host: &str, unique: bool| {
        let keys = renamed.keys(key);
        if unique || seen.insert(keys[0].clone()) {
            asked.push(Asked { label, host: host.to_owned(), parts: keys.len() });
            series.extend(keys);
        }
    };
    for explicit in &question.explicit {
        let Some((id, name)) = hosts.named.get(&explicit.host) else { continue };
        // A name that holds an escape may be meant as it stands, or escaped
        // once too often on its way here: what has history is what is meant.
        let mut key = explicit.key(*id);
        if let Some(decoded) = explicit.decoded(*id) {
            let (kind, field) = explicit.kind_and_field();
            let here = &key.resource.name;
            if store.find(&[*id], &|k, name, f| k == kind && f == field && name == here)?.is_empty() {
                key = decoded;
            }
        }
        add(key, explicit.label.clone(), name, false);
    }
    let Some(selector) = &question.selector else { return Ok(Ok((asked, series))) };
    let wanted = |kind: &str, name: &str, field: &str| {
        selector.takes_series(kind, name, field)
            || renamed.names(kind, field).iter().any(|other| selector.takes_series(kind, name, other))
    };
    let ids: Vec<HostId> = hosts.selected.iter().map(|(id, _)| *id).collect();
    let names: HashMap<HostId, &str> = hosts.selected.iter().map(|(id, name)| (*id, name.as_str())).collect();
    let found = if ids.is_empty() { Vec::new() } else { store.find(&ids, &wanted)? };
    if found.len() > MAX_SERIES {
        let failure =
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-series", "The answer would be too large");
        let why = format!("{} series are meant, and at most {MAX_SERIES} are read: select fewer", found.len());
        return Ok(Err(failure.detail(why)));
    }
    let unique = renamed.is_empty() && question.explicit.is_empty();
    for key in found {
        let host = names.get(&key.host).copied().unwrap_or_default();
        let field = renamed.names(&key.resource.kind, &key.field).first().unwrap_or(&key.field);
        let label = format!("{host}/{}/{field}", key.resource);
        add(key, label, host, unique);
    }
    Ok(Ok((asked, series)))
}
