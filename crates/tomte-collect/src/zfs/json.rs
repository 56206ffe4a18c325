//! `zpool list -j --json-int` and `zpool status -j --json-int` of OpenZFS 2.3 and
//! newer.

use serde_json::{Map, Value};
use tomte_model::Timestamp;

use super::MOST_POOLS;
use super::pool::{MOST_VDEVS, Pool, Role, Scan, ScanState, Vdev};

/// The pools by what `zpool list` says of each; nothing at all is printed where
/// there is none.
pub(super) fn list(text: &[u8]) -> Result<Vec<Pool>, String> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let pool = |name: &str, told: &Value| {
        let property = |key: &str| number(told.pointer(&format!("/properties/{key}/value")));
        Pool {
            name: name.to_owned(),
            state: text_of(told, "/properties/health/value"),
            size: property("size"),
            allocated: property("allocated"),
            free: property("free"),
            fragmentation: property("fragmentation"),
            deduplication: property("dedupratio"),
            ..Pool::default()
        }
    };
    Ok(pools(text)?.iter().map(|(name, told)| pool(name, told)).collect())
}

/// The pools by what `zpool status` says of each.
pub(super) fn status(text: &[u8]) -> Result<Vec<Pool>, String> {
    let pool = |name: &str, told: &Value| {
        let mut vdevs = Vec::new();
        // The root, named as the pool, is the pool.
        let root = told.pointer("/vdevs").and_then(Value::as_object).and_then(|all| all.get(name));
        if let Some(below) = root.and_then(|root| root.get("vdevs")) {
            tree(below, 0, Role::Data, &mut vdevs);
        }
        let others = [
            ("special", Role::Special),
            ("dedup", Role::Dedup),
            ("logs", Role::Log),
            ("l2cache", Role::Cache),
            ("spares", Role::Spare),
        ];
        for (key, role) in others {
            if let Some(below) = told.get(key) {
                tree(below, 0, role, &mut vdevs);
            }
        }
        Pool {
            name: name.to_owned(),
            state: text_of(told, "/state"),
            message: sentence(&text_of(told, "/status")),
            advice: sentence(&text_of(told, "/action")),
            data_errors: number(told.get("error_count")),
            scan: told.get("scan_stats").and_then(scan),
            vdevs,
            ..Pool::default()
        }
    };
    Ok(pools(text)?.iter().map(|(name, told)| pool(name, told)).collect())
}

fn pools(text: &[u8]) -> Result<Map<String, Value>, String> {
    let all: Value = serde_json::from_slice(text).map_err(|error| format!("zpool's answer is no JSON: {error}"))?;
    match all {
        Value::Object(mut all) => match all.remove("pools") {
            Some(Value::Object(pools)) if pools.len() <= MOST_POOLS => Ok(pools),
            Some(Value::Object(pools)) => Err(format!("{} pools are more than can be", pools.len())),
            _ => Err("zpool's answer has no pools in it".to_owned()),
        },
        _ => Err("zpool's answer is no object".to_owned()),
    }
}

/// Deeper than any pool; serde_json itself stops at 128.
const DEEPEST: usize = 8;

fn tree(below: &Value, depth: usize, role: Role, vdevs: &mut Vec<Vdev>) {
    for (name, told) in below.as_object().into_iter().flatten() {
        if vdevs.len() >= MOST_VDEVS || depth > DEEPEST {
            return;
        }
        let count = |key: &str| number(told.get(key)).unwrap_or(0.0);
        let was = text_of(told, "/was");
        vdevs.push(Vdev {
            depth,
            name: name.clone(),
            role,
            // The JSON has the library's own word for it.
            state: match text_of(told, "/state").as_str() {
                "CANT_OPEN" => "UNAVAIL".to_owned(),
                other => other.to_owned(),
            },
            read_errors: count("read_errors"),
            write_errors: count("write_errors"),
            checksum_errors: count("checksum_errors"),
            note: if was.is_empty() { String::new() } else { format!("was {was}") },
        });
        if let Some(below) = told.get("vdevs") {
            tree(below, depth + 1, role, vdevs);
        }
    }
}

fn scan(told: &Value) -> Option<Scan> {
    let time = |key: &str| {
        let seconds = told.get(key).and_then(Value::as_i64).filter(|seconds| *seconds > 0)?;
        Some(Timestamp::from_millis(seconds.checked_mul(1000)?))
    };
    let paused = told.get("scrub_pause").and_then(Value::as_i64).is_some_and(|at| at > 0);
    let state = match text_of(told, "/state").as_str() {
        "SCANNING" if paused => ScanState::Paused,
        "SCANNING" => ScanState::Running,
        "FINISHED" => ScanState::Finished,
        "CANCELED" => ScanState::Cancelled,
        _ => return None,
    };
    // What was issued counts as done; before that, it is only looked through.
    let examined = number(told.get("to_examine")).zip(number(told.get("skipped")).or(Some(0.0)));
    let total = examined.map(|(all, skipped)| all - skipped).filter(|total| *total > 0.0);
    let progress = number(told.get("issued")).zip(total).map(|(issued, total)| issued / total);
    Some(Scan {
        function: text_of(told, "/function").to_lowercase(),
        state,
        started: time("start_time"),
        ended: time("end_time"),
        // It has been seen to wrap below zero.
        progress: progress.filter(|done| (0.0..=1.05).contains(done)).map(|done| done.min(1.0)),
        remaining: None,
        errors: number(told.get("errors")),
    })
}

/// A number, also one that is written as text.
fn number(value: Option<&Value>) -> Option<f64> {
    let value = value?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim_end_matches(['x', '%']).parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn text_of(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().chars().take(500).collect()
}

/// A sentence that was broken into lines.
fn sentence(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
