//! History: which series are meant, what the store has of them, and how it is
//! put into columns.
//!
//! [`question`] reads the query, [`answer`] makes columns of buckets; both are
//! plain functions. In between, the series are looked up and read.

mod answer;
mod question;

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tomte_api::history::History;
use tomte_model::HostId;
use tomte_store::StoreError;
use tomte_store::history::{Budget, HistoryStore, Query, SeriesKey};

use super::App;
use super::extract::Params;
use super::problem::Failure;
use crate::access::Viewer;
use question::{Explicit, Question};

/// How many points an answer may hold.
const MAX_POINTS: usize = 500_000;
/// How many series a question may be about.
const MAX_SERIES: usize = 20_000;

/// A series that was asked for, and what the answer calls it.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    key: SeriesKey,
    label: String,
    host: String,
}

/// How readings were, in columns ready for a chart.
///
/// Name series by `series`, or select them by `host`, `role`, `kind`, `name`
/// and `field` (globs). With `step`, there is one `t` for all series and null
/// where nothing was read; without it every reading comes with its own `t`.
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
        ("fn" = Option<String>, Query, description = "mean, min, max or last of each step; mean, min and max when absent"),
        ("agg" = Option<String>, Query, description = "sum, mean, min or max of all series of a kind and field, or topk: the k series with the greatest mean"),
        ("k" = Option<u32>, Query, description = "How many series topk keeps; 5 when absent"),
        ("q" = Option<f64>, Query, description = "Which quantile; not supported yet"),
    ),
    responses((status = 200, body = History)))]
pub(crate) async fn history(_: Viewer, params: Params, State(app): State<App>) -> Result<Json<History>, Failure> {
    let question = Question::from(&params, app.hub.now())?;
    let hosts = hosts(&app, &question)?;
    let catalogue = app.hub.catalogue();
    let history = app
        .hub
        .read(move |store| {
            let asked = match find(store.history.as_ref(), &question, &hosts)? {
                Ok(asked) => asked,
                Err(failure) => return Ok(Err(failure)),
            };
            let query = Query {
                series: asked.iter().map(|asked| asked.key.clone()).collect(),
                from: question.from,
                to: question.to,
                step: question.step,
                budget: Budget::points(MAX_POINTS),
            };
            let found = store.history.query(&query)?;
            Ok(Ok(answer::columns(&question, &asked, found, &catalogue)))
        })
        .await??;
    Ok(Json(history))
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
    let selected = if selector.takes_every_host() {
        app.hub.host_names().into_iter().map(|(id, name)| (id, name.into())).collect()
    } else {
        let taken = app.hub.hosts().into_iter().filter(|view| selector.takes_host(view));
        taken.map(|view| (view.id, view.name.into())).collect()
    };
    Ok(Hosts { selected, named })
}

/// The series that are meant. The inner error is the caller's.
fn find(
    store: &dyn HistoryStore,
    question: &Question,
    hosts: &Hosts,
) -> Result<Result<Vec<Asked>, Failure>, StoreError> {
    let mut asked = Vec::new();
    for explicit in &question.explicit {
        let Some((id, name)) = hosts.named.get(&explicit.host) else { continue };
        // A name that holds an escape may be meant as it stands, or escaped
        // once too often on its way here: what has history is what is meant.
        let mut key = explicit.key(*id);
        if let Some(decoded) = explicit.decoded(*id)
            && !store.series(*id)?.iter().any(|series| series.key == key)
        {
            key = decoded;
        }
        asked.push(Asked { key, label: explicit.label.clone(), host: name.clone() });
    }
    if let Some(selector) = &question.selector {
        for (id, host) in &hosts.selected {
            for series in store.series(*id)? {
                if selector.takes_series(&series.key) {
                    let label = format!("{host}/{}/{}", series.key.resource, series.key.field);
                    asked.push(Asked { key: series.key, label, host: host.clone() });
                }
            }
            if asked.len() > MAX_SERIES {
                let failure =
                    Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-series", "The answer would be too large");
                return Ok(Err(failure.detail(format!("more than {MAX_SERIES} series are meant: select fewer"))));
            }
        }
    }
    // The same series twice would be counted twice by a sum.
    let mut seen = std::collections::HashSet::new();
    asked.retain(|asked| seen.insert(asked.key.clone()));
    Ok(Ok(asked))
}
