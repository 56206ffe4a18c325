//! The databases: how much there is, and their care. Long work answers with a
//! line of JSON now and then that says how far it has come.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use tomte_api::account::Credential;
use tomte_api::store::{BackUp, BackedUp, Checked, Compacted, Progress, Step, StoreInfo, StorePart, StoreRetention};
use tomte_store::StoreError;
use tomte_store::history::Progress as StoreProgress;

use super::App;
use super::auth::Identity;
use super::extract::Json as BodyOf;
use super::problem::Failure;
use super::system;
use crate::Hub;
use crate::access::Admin;

/// A line of JSON after the other.
pub(super) const LINES: &str = "application/x-ndjson";
/// How often a line is sent at most.
const EVERY: std::time::Duration = std::time::Duration::from_millis(100);
/// How long nothing is said at most, so that nobody takes silence for an end.
const BEAT: std::time::Duration = std::time::Duration::from_secs(5);

/// How much the databases hold, and how long it is kept.
#[utoipa::path(get, path = "/api/v1/store", operation_id = "store", tag = "hub",
    responses((status = 200, body = StoreInfo)))]
pub(crate) async fn info(_: Admin, State(app): State<App>) -> Result<Json<StoreInfo>, Failure> {
    let files = system::storage(&app).await?;
    let (stats, trouble) = app.hub.read(|store| Ok((store.history.stats()?, store.history.trouble()))).await?;
    let config = app.hub.config();
    let history = &config.history;
    // Those of the last hours are kept twice, until they are sealed.
    let raw = stats.parts.iter().filter(|part| ["recent", "raw"].contains(&part.name));
    let (readings, bytes) = raw.fold((0, 0), |(values, bytes), part| (values + part.values, bytes + part.bytes));
    Ok(Json(StoreInfo {
        state_bytes: files.get("state.db").copied().unwrap_or(0),
        history_bytes: stats.bytes,
        max_bytes: (history.max_size.0 > 0).then_some(history.max_size.0),
        series: stats.series,
        readings,
        bytes_per_reading: (readings > 0).then(|| bytes as f64 / readings as f64),
        waiting: stats.waiting,
        quarantined: stats.quarantined,
        trouble: trouble.map(|error| error.to_string()),
        parts: stats
            .parts
            .into_iter()
            .map(|part| StorePart {
                name: part.name.to_owned(),
                pieces: part.pieces,
                values: part.values,
                bytes: part.bytes,
                oldest: part.oldest,
            })
            .collect(),
        retention: StoreRetention {
            raw: history.raw.0.as_secs(),
            five_minutes: history.five_minutes.0.as_secs(),
            hourly: history.hourly.0.as_secs(),
        },
    }))
}

/// Checks the history: reads all of it, compares checksums, and sets aside
/// what is damaged. The answer is a line of JSON per step.
#[utoipa::path(post, path = "/api/v1/store/check", operation_id = "check_store", tag = "hub",
    responses((status = 200, body = Step<Checked>, content_type = "application/x-ndjson")))]
pub(crate) async fn check(by: Admin, State(app): State<App>) -> Result<Response, Failure> {
    work(&app, &by, "store.check", String::new(), |hub, progress| {
        let found = hub.store().history.check(progress)?;
        Ok(Checked { sound: found.is_sound(), pieces: found.pieces, damaged: found.damaged, file: found.file })
    })
    .await
}

/// Puts everything in its final place, due or not, and gives free space back.
/// The answer is a line of JSON per step.
#[utoipa::path(post, path = "/api/v1/store/compact", operation_id = "compact_store", tag = "hub",
    responses((status = 200, body = Step<Compacted>, content_type = "application/x-ndjson")))]
pub(crate) async fn compact(by: Admin, State(app): State<App>) -> Result<Response, Failure> {
    work(&app, &by, "store.compact", String::new(), |hub, progress| {
        // What the records do not cover would have to stay in the journal.
        hub.save_snapshots()?;
        Ok(Compacted { freed_bytes: hub.store().history.compact(hub.now(), progress)? })
    })
    .await
}

/// Copies both databases, each as it is at one moment, into a folder on the
/// hub's machine. Only on the hub's own socket. The answer is a line of JSON
/// per step.
#[utoipa::path(post, path = "/api/v1/store/backup", operation_id = "back_up_store", tag = "hub", request_body = BackUp,
    responses((status = 200, body = Step<BackedUp>, content_type = "application/x-ndjson")))]
pub(crate) async fn back_up(
    by: Admin,
    identity: Identity,
    State(app): State<App>,
    BodyOf(body): BodyOf<BackUp>,
) -> Result<Response, Failure> {
    // A token must not be enough to have files written where its owner likes.
    if identity.by != Credential::Local {
        return Err(Failure::forbidden(
            "a backup is made on the hub's own machine: tomte store backup FOLDER --data DIR",
        ));
    }
    let folder = PathBuf::from(&body.folder);
    if !folder.is_absolute() {
        return Err(Failure::invalid(format!("folder: {:?} is not a whole path", body.folder)));
    }
    work(&app, &by, "store.backup", body.folder.clone(), move |hub, progress| {
        hub.store().backup(&folder, progress)?;
        let files = ["state.db", "history.db"].map(|file| std::fs::metadata(folder.join(file)));
        let bytes = files.into_iter().filter_map(Result::ok).map(|file| file.len()).sum();
        Ok(BackedUp { folder: folder.display().to_string(), bytes })
    })
    .await
}

/// Does long work on a thread of its own, one at a time, and tells of it line
/// by line. Work that was begun is finished, also when nobody listens.
async fn work<T: Serialize + Send + 'static>(
    app: &App,
    by: &Admin,
    action: &'static str,
    target: String,
    run: impl FnOnce(&Hub, &mut dyn FnMut(StoreProgress)) -> Result<T, StoreError> + Send + 'static,
) -> Result<Response, Failure> {
    let Ok(alone) = Arc::clone(&app.store_work).try_lock_owned() else {
        return Err(Failure::conflict("the store is being looked after already; try again when that is done"));
    };
    let (hub, actor) = (Arc::clone(&app.hub), by.actor().clone());
    let (lines, told) = mpsc::channel::<Bytes>(16);
    tokio::task::spawn_blocking(move || {
        let _alone = alone;
        let mut last: Option<std::time::Instant> = None;
        let mut tell = |so_far: StoreProgress| {
            if last.is_none_or(|last| last.elapsed() >= EVERY) {
                last = Some(std::time::Instant::now());
                let progress = Progress { done: so_far.done, total: so_far.total };
                // Who does not keep up misses some, and that is all.
                let _ = lines.try_send(line(&Step::<()>::Progress(progress)));
            }
        };
        let result = run(&hub, &mut tell);
        let outcome = result.as_ref().err().map_or_else(|| "ok".to_owned(), ToString::to_string);
        let entry = hub.audit_entry(&actor, action, &target, &outcome, Default::default());
        let audited = hub.store().state.audit(&entry).map(drop);
        let step = match audited.and(result) {
            Ok(done) => Step::Done(done),
            Err(error) => Step::Failed(Failure::from(error).into_problem()),
        };
        let _ = lines.blocking_send(line(&step));
    });
    let lines = stream::unfold(told, |mut told| async move {
        match tokio::time::timeout(BEAT, told.recv()).await {
            Ok(None) => None,
            Ok(Some(line)) => Some((line, told)),
            Err(_) => Some((line(&Step::<()>::Progress(Progress { done: 0, total: 0 })), told)),
        }
    });
    // Some that read it ask once more after the end.
    let body = Body::from_stream(lines.fuse().map(Ok::<_, std::convert::Infallible>));
    let kind = HeaderValue::from_static(LINES);
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

fn line<T: Serialize>(step: &Step<T>) -> Bytes {
    let mut text = serde_json::to_vec(step).expect("words and numbers");
    text.push(b'\n');
    text.into()
}
