//! `zpool list -H -p`, `zpool status -p`, `zfs list -H -p`: what every OpenZFS
//! prints. The lists are made for programs; the status is made for people, and is
//! read only where there is no JSON.

use std::collections::BTreeMap;

use tomte_model::Timestamp;

use super::MOST_POOLS;
use super::pool::{MOST_VDEVS, Pool, Role, Scan, ScanState, Vdev};

/// The columns of [`list`].
pub(super) const LIST: &str = "name,size,allocated,free,fragmentation,capacity,dedupratio,health";

/// The columns of [`datasets`].
pub(super) const DATASETS: &str =
    "name,type,used,available,referenced,usedbysnapshots,compressratio,quota,refquota,volsize,mountpoint";

/// The columns of [`snapshots`].
pub(super) const SNAPSHOTS: &str = "name,creation";

/// More datasets than this are not told of.
const MOST_DATASETS: usize = 10_000;

/// The pools by what `zpool list -H -p -o` [`LIST`] says of each.
pub(super) fn list(text: &str) -> Result<Vec<Pool>, String> {
    if text.trim() == "no pools available" {
        return Ok(Vec::new());
    }
    let pool = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, size, allocated, free, fragmentation, _capacity, deduplication, health] = columns.as_slice() else {
            return Err(format!("zpool list: {} columns where 8 were asked for", columns.len()));
        };
        Ok(Pool {
            name: (*name).to_owned(),
            state: (*health).to_owned(),
            size: number(size),
            allocated: number(allocated),
            free: number(free),
            fragmentation: number(fragmentation),
            deduplication: number(deduplication),
            ..Pool::default()
        })
    };
    text.lines().filter(|line| !line.trim().is_empty()).take(MOST_POOLS).map(pool).collect()
}

/// The pools by what `zpool status -p` says of each.
pub(super) fn status(text: &str) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    let mut section = String::new();
    let mut role = Role::Data;
    for line in text.lines() {
        let heading = line.split_once(':').map(|(key, rest)| (key.trim(), rest.trim()));
        // A heading stands at the right of a narrow column; what is indented by a
        // tab goes on with the last one.
        let is_heading = |key: &str| {
            !line.starts_with('\t')
                && ["pool", "state", "status", "action", "see", "scan", "config", "errors", "remove", "checkpoint"]
                    .contains(&key)
        };
        if let Some((key, rest)) = heading.filter(|(key, _)| is_heading(key)) {
            if key == "pool" {
                if pools.len() >= MOST_POOLS {
                    return pools;
                }
                pools.push(Pool { name: rest.to_owned(), ..Pool::default() });
                role = Role::Data;
            }
            section = key.to_owned();
            let Some(pool) = pools.last_mut() else { continue };
            match key {
                "state" => pool.state = rest.to_owned(),
                "status" => add(&mut pool.message, rest),
                "action" => add(&mut pool.advice, rest),
                "scan" => pool.scan = scan(rest),
                "errors" => pool.data_errors = data_errors(rest),
                _ => {}
            }
            continue;
        }
        let Some(pool) = pools.last_mut() else { continue };
        match section.as_str() {
            "status" => add(&mut pool.message, line),
            "action" => add(&mut pool.advice, line),
            "scan" => {
                if let Some(scan) = &mut pool.scan {
                    more_of_scan(scan, line);
                }
            }
            "config" => config(pool, line, &mut role),
            _ => {}
        }
    }
    pools
}

/// Adds the words of a line to a text that was broken into lines.
fn add(text: &mut String, line: &str) {
    for word in line.split_ascii_whitespace() {
        if text.len() + word.len() > 500 {
            return;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
}

/// A line of the tree: behind a tab, two blanks for each step, then name, state,
/// three counts, and what else there is to say.
fn config(pool: &mut Pool, line: &str, role: &mut Role) {
    let Some(line) = line.strip_prefix('\t') else { return };
    let indent = line.len() - line.trim_start_matches(' ').len();
    let mut words = line.split_ascii_whitespace();
    let Some(name) = words.next() else { return };
    let state = words.next();
    if indent == 0 {
        *role = match (name, state) {
            ("NAME", _) => return,
            ("logs", None) => Role::Log,
            ("cache", None) => Role::Cache,
            ("spares", None) => Role::Spare,
            ("special", None) => Role::Special,
            ("dedup", None) => Role::Dedup,
            // The pool itself.
            _ => Role::Data,
        };
        return;
    }
    let Some(state) = state.filter(|_| pool.vdevs.len() < MOST_VDEVS) else { return };
    let counts: Vec<f64> = words.clone().take(3).map_while(number).collect();
    let [read_errors, write_errors, checksum_errors] = counts[..] else {
        // Spares have no counts, but may say by whom they are used.
        let note = words.collect::<Vec<_>>().join(" ");
        let depth = (indent / 2).saturating_sub(1).min(MOST_VDEVS);
        pool.vdevs.push(Vdev {
            depth,
            name: name.to_owned(),
            role: *role,
            state: state.to_owned(),
            note,
            ..Vdev::default()
        });
        return;
    };
    pool.vdevs.push(Vdev {
        depth: (indent / 2).saturating_sub(1).min(MOST_VDEVS),
        name: name.to_owned(),
        role: *role,
        state: state.to_owned(),
        read_errors,
        write_errors,
        checksum_errors,
        note: words.skip(3).collect::<Vec<_>>().join(" "),
    });
}

/// `scrub repaired 0B in 00:00:01 with 0 errors on Fri Nov 20 20:45:24 2026`,
/// `scrub in progress since …`, `resilver in progress since …`, `scrub paused
/// since …`, `scrub canceled on …`, `resilvered 36K in … with 0 errors on …`.
fn scan(text: &str) -> Option<Scan> {
    let function = if text.starts_with("resilver") { "resilver" } else { "scrub" };
    if !text.starts_with("resilver") && !text.starts_with("scrub") {
        return None;
    }
    let after = |words: &str| text.split_once(words).and_then(|(_, rest)| date(rest));
    let errors = text.split_once(" with ").and_then(|(_, rest)| number(rest.split(' ').next()?));
    let of = |state, started, ended| Scan {
        function: function.to_owned(),
        state,
        started,
        ended,
        errors,
        ..Scan::default()
    };
    if text.contains(" in progress since ") {
        Some(of(ScanState::Running, after(" since "), None))
    } else if text.contains(" paused since ") {
        Some(of(ScanState::Paused, None, None))
    } else if text.contains(" canceled on ") {
        Some(of(ScanState::Cancelled, None, after(" on ")))
    } else if text.contains(" errors on ") {
        Some(of(ScanState::Finished, None, after(" errors on ")))
    } else {
        None
    }
}

/// The lines below: `1.2T / 3T scanned, …`, `0B repaired, 39.47% done, 02:10:20 to
/// go`, `scrub started on …`.
fn more_of_scan(scan: &mut Scan, line: &str) {
    if let Some((_, at)) = line.split_once("started on ") {
        scan.started = date(at);
    }
    for part in line.split(',').map(str::trim) {
        if let Some(percent) = part.strip_suffix("% done").and_then(number) {
            scan.progress = Some((percent / 100.0).min(1.0));
        } else if let Some(left) = part.strip_suffix(" to go") {
            scan.remaining = duration(left);
        }
    }
}

/// `02:10:20` or `3 days 02:10:20`.
fn duration(text: &str) -> Option<f64> {
    let (days, clock) = match text.split_once(" days ") {
        Some((days, clock)) => (number(days)?, clock),
        None => (0.0, text),
    };
    let mut parts = clock.split(':').map(number);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(((days * 24.0 + hours) * 60.0 + minutes) * 60.0 + seconds)
}

/// `Fri Nov 20 20:45:24 2026`, in UTC, because so the tool is asked.
fn date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_ascii_whitespace().skip(1);
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let day: u8 = words.next()?.parse().ok()?;
    let (time, year) = (words.next()?, words.next()?);
    format!("{year}-{month:02}-{day:02}T{time}Z").parse().ok()
}

/// `No known data errors`, or `3 data errors, use '-v' for a list`.
fn data_errors(text: &str) -> Option<f64> {
    if text == "No known data errors" {
        return Some(0.0);
    }
    text.split_once(" data errors").and_then(|(count, _)| number(count))
}

/// A file system or volume.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Dataset {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) used: Option<f64>,
    pub(super) available: Option<f64>,
    pub(super) referenced: Option<f64>,
    pub(super) by_snapshots: Option<f64>,
    pub(super) compression: Option<f64>,
    /// The tighter of those that are set.
    pub(super) quota: Option<f64>,
    /// What counts against it.
    pub(super) against_quota: Option<f64>,
    pub(super) volume_size: Option<f64>,
    pub(super) mountpoint: String,
}

/// The datasets by what `zfs list -H -p -t filesystem,volume -o` [`DATASETS`] says.
pub(super) fn datasets(text: &str) -> Result<Vec<Dataset>, String> {
    let dataset = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [
            name,
            kind,
            used,
            available,
            referenced,
            by_snapshots,
            compression,
            quota,
            refquota,
            volume_size,
            mountpoint,
        ] = columns.as_slice()
        else {
            return Err(format!("zfs list: {} columns where 11 were asked for", columns.len()));
        };
        let (used, referenced) = (number(used), number(referenced));
        // None is written as zero.
        let limit = |text: &str| number(text).filter(|limit| *limit > 0.0);
        let quotas = [limit(quota).zip(used), limit(refquota).zip(referenced)];
        let tightest = quotas.into_iter().flatten().max_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        Ok(Dataset {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            used,
            available: number(available),
            referenced,
            by_snapshots: number(by_snapshots),
            compression: number(compression),
            quota: tightest.map(|(limit, _)| limit),
            against_quota: tightest.map(|(_, used)| used),
            volume_size: number(volume_size),
            mountpoint: Some(*mountpoint).filter(|point| *point != "-").unwrap_or_default().to_owned(),
        })
    };
    text.lines().filter(|line| !line.is_empty()).take(MOST_DATASETS).map(dataset).collect()
}

/// How many snapshots a dataset has, and when the first and the last were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Snapshots {
    pub(super) count: u64,
    pub(super) oldest: Option<i64>,
    pub(super) newest: Option<i64>,
}

/// The snapshots of each dataset, by what `zfs list -H -p -t snapshot -o`
/// [`SNAPSHOTS`] says.
pub(super) fn snapshots(text: &str) -> Result<BTreeMap<&str, Snapshots>, String> {
    let mut all: BTreeMap<&str, Snapshots> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let wrong = || format!("zfs list: {:?} is no snapshot", line.chars().take(60).collect::<String>());
        let (name, creation) = line.split_once('\t').ok_or_else(wrong)?;
        let (dataset, _) = name.split_once('@').ok_or_else(wrong)?;
        if all.len() >= MOST_DATASETS && !all.contains_key(dataset) {
            continue;
        }
        let seconds = creation.trim().parse::<i64>().ok();
        let known = all.entry(dataset).or_default();
        known.count += 1;
        known.oldest = known.oldest.into_iter().chain(seconds).min();
        known.newest = known.newest.into_iter().chain(seconds).max();
    }
    Ok(all)
}

/// A number; what is not there is written `-`, `none` or `N/A`.
fn number(text: &str) -> Option<f64> {
    let text = text.trim().trim_end_matches(['x', '%']);
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}
