//! ZFS snapshots as a backup: `zfs list -Hp -t snapshot -d 1 DATASET`.

use tomte_model::{Glob, Timestamp};

use super::access::not_run;
use super::known::{Known, Trouble};
use super::settings::BackupJob;
use crate::tool::{ToolCall, Tools};

/// Looks at a dataset's snapshots.
pub(super) fn read(job: &BackupJob, tools: &dyn Tools) -> Result<Known, Trouble> {
    let call = ToolCall::new("zfs")
        .args(["list", "-H", "-p", "-t", "snapshot", "-d", "1", "-o", "name,creation,referenced"])
        .arg(&job.repository)
        .limit(job.limit);
    let ran = tools.run(&call).map_err(|error| not_run(&error, "zfsutils-linux"))?;
    if ran.success() {
        return Ok(summarise(&ran.text(), job.only.as_deref()));
    }
    let complaint = ran.complaint();
    match complaint.contains("permission denied") {
        true => {
            let cure = format!("zfs allow tomte list {}", job.repository);
            Err(Trouble::Denied { error: complaint, cure })
        }
        // The pool is not imported, or there is no such dataset.
        false => Err(Trouble::Unreachable(complaint)),
    }
}

/// Name, time and size a line; lines that make no sense are left out. `only`
/// is what must stand in the name after the @.
pub(crate) fn summarise(text: &str, only: Option<&str>) -> Known {
    let only = only.and_then(|only| Glob::new(only).ok());
    let line = |line: &str| {
        let mut columns = line.split('\t');
        let (_, snapshot) = columns.next()?.split_once('@')?;
        let seconds: i64 = columns.next()?.trim().parse().ok()?;
        let size: Option<f64> = columns.next().and_then(|size| size.trim().parse().ok());
        let counts = only.as_ref().is_none_or(|only| only.matches(snapshot));
        counts.then(|| (Timestamp::from_millis(seconds.saturating_mul(1000)), size))
    };
    let mut known = Known::default();
    let mut count: f64 = 0.0;
    for (time, size) in text.lines().filter_map(line) {
        count += 1.0;
        if known.last_success.is_none_or(|last| last <= time) {
            (known.last_success, known.size) = (Some(time), size);
        }
        if known.oldest.is_none_or(|oldest| time < oldest) {
            known.oldest = Some(time);
        }
    }
    known.backups = Some(count);
    known.never = Some(known.last_success.is_none());
    known
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "t/h@auto-1\t1795208000\t100\nt/h@hand\t1795300000\t300\nt/h@auto-2\t1795208600\t200\nx\n";

    #[test]
    fn newest_and_oldest() {
        let known = summarise(TEXT, None);
        assert_eq!((known.backups, known.size), (Some(3.0), Some(300.0)));
        let known = summarise(TEXT, Some("auto-*"));
        assert_eq!((known.backups, known.size), (Some(2.0), Some(200.0)));
        assert_eq!(known.last_success.unwrap().millis(), 1_795_208_600_000);
        assert_eq!(summarise("", None).last_success, None);
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String, only: String) {
            let _ = summarise(&text, Some(&only));
        }
    }
}
