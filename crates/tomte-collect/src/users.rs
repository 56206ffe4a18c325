//! Who is logged in: from utmp, or from systemd-logind where there is none.

use std::fs;
use std::path::Path;

use tomte_model::Timestamp;

use crate::error::ReadError;
use crate::list;
use crate::reader::{read_file, read_trimmed};
use crate::root::Root;

/// One login of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) user: String,
    /// `pts/0`, `tty1`; a seat or nothing for what has no terminal.
    pub(crate) terminal: String,
    /// The remote host or address; empty for a local one.
    pub(crate) from: String,
    pub(crate) since: Option<Timestamp>,
}

/// A session and the process that leads it.
type Led = (u32, Session);

/// The sessions of people; unavailable where the host keeps no list of them.
///
/// utmp is the list that `who` shows. Hosts without it (musl, and those that
/// have left it because its seconds end in 2038) or with an empty one may have
/// logind, whose files say `do not parse`: keys that are not found there are
/// taken as missing.
pub(crate) fn sessions(root: &Root) -> Result<Vec<Session>, ReadError> {
    // A leader that has ended without a farewell is not logged in any more.
    let living = |sessions: Vec<Led>| {
        let alive = |leader: u32| leader == 0 || root.proc(&leader.to_string()).exists();
        sessions.into_iter().filter(|(leader, _)| alive(*leader)).map(|(_, session)| session).collect::<Vec<_>>()
    };
    let utmp = read_file(&root.path("run/utmp")).map(|bytes| living(parse_utmp(&bytes)));
    match utmp {
        Ok(found) if !found.is_empty() => Ok(found),
        utmp => match logind(&root.path("run/systemd/sessions"))? {
            Some(found) => Ok(living(found)),
            None => utmp,
        },
    }
}

/// The sessions in logind's folder; `None` where there is no such folder.
fn logind(folder: &Path) -> Result<Option<Vec<Led>>, ReadError> {
    if !folder.exists() {
        return Ok(None);
    }
    let mut sessions = Vec::new();
    for name in list::names(folder)? {
        let path = folder.join(name);
        // Beside each session lies a FIFO, `4.ref`, which would block.
        if !fs::symlink_metadata(&path).is_ok_and(|file| file.is_file()) {
            continue;
        }
        match read_trimmed(&path) {
            Ok(text) => sessions.extend(parse_session(&text)),
            // Ended since it was listed.
            Err(ReadError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(sessions))
}

/// Lines `KEY=value`. `None` unless it is a person's session that is not
/// being closed.
fn parse_session(text: &str) -> Option<Led> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    // The others are login screens, lock screens, and those of services.
    if !matches!(value("CLASS"), "user" | "user-early" | "user-light" | "user-early-light")
        || value("STATE") == "closing"
    {
        return None;
    }
    let first =
        |keys: [&str; 2]| keys.into_iter().map(value).find(|text| !text.is_empty()).unwrap_or_default().to_owned();
    let micros = value("REALTIME").parse::<u64>().ok();
    let since = micros.and_then(|micros| i64::try_from(micros / 1000).ok()).map(Timestamp::from_millis);
    let user = first(["USER", "UID"]);
    let leader = value("LEADER").parse().unwrap_or(0);
    let session = Session { user, terminal: first(["TTY", "SEAT"]), from: value("REMOTE_HOST").to_owned(), since };
    (!session.user.is_empty()).then_some((leader, session))
}

/// The records of utmp(5) that stand for a user's session.
fn parse_utmp(bytes: &[u8]) -> Vec<Led> {
    let layout = Layout::of(bytes.len());
    bytes.chunks_exact(layout.size).filter_map(|record| layout.session(record)).collect()
}

/// A record's size and where its time stands. All else is where it is on
/// every Linux: type, process, line, id, user, host, exit status.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    size: usize,
    /// Where the seconds stand, and how many bytes they take.
    seconds: (usize, usize),
}

/// x86, 64-bit POWER, RISC-V and others keep the 32-bit times of old.
const SHORT: Layout = Layout { size: 384, seconds: (340, 4) };
/// 64-bit ARM does not.
const LONG: Layout = Layout { size: 400, seconds: (344, 8) };

/// What a record is of: USER_PROCESS.
const USER: i16 = 7;

impl Layout {
    /// The layout of a file of that length. Where the length leaves it open,
    /// the machine we were built for decides.
    fn of(length: usize) -> Self {
        let (native, other) = if cfg!(target_arch = "aarch64") { (LONG, SHORT) } else { (SHORT, LONG) };
        let fits = |layout: Layout| length.is_multiple_of(layout.size);
        if !fits(native) && fits(other) { other } else { native }
    }

    /// The session of a record as long as `size`.
    fn session(self, record: &[u8]) -> Option<Led> {
        let text = |from: usize, length: usize| {
            let field = &record[from..from + length];
            let end = field.iter().position(|&byte| byte == 0).unwrap_or(length);
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let kind = i16::from_ne_bytes(record[0..2].try_into().ok()?);
        let leader = u32::from_ne_bytes(record[4..8].try_into().ok()?);
        let (at, length) = self.seconds;
        let seconds = match length {
            4 => i64::from(u32::from_ne_bytes(record[at..at + 4].try_into().ok()?)),
            _ => i64::from_ne_bytes(record[at..at + 8].try_into().ok()?),
        };
        let since = (seconds > 0).then(|| Timestamp::from_millis(seconds.saturating_mul(1000)));
        let session = Session { user: text(44, 32), terminal: text(8, 32), from: text(76, 256), since };
        (kind == USER && !session.user.is_empty()).then_some((leader, session))
    }
}

/// What a fuzzer is let loose on.
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = (parse_utmp(bytes), parse_session(&String::from_utf8_lossy(bytes)));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use proptest::prelude::*;

    use super::*;

    fn record(layout: Layout, kind: i16, leader: u32, user: &str, from: &str, seconds: i64) -> Vec<u8> {
        let mut record = vec![0; layout.size];
        record[0..2].copy_from_slice(&kind.to_ne_bytes());
        record[4..8].copy_from_slice(&leader.to_ne_bytes());
        record[8..13].copy_from_slice(b"pts/0");
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        record[76..76 + from.len()].copy_from_slice(from.as_bytes());
        let (at, length) = layout.seconds;
        record[at..at + length].copy_from_slice(&seconds.to_ne_bytes()[..length]);
        record
    }

    const LOGIND: &str = "# This is private data. Do not parse.\nUID=1000\nUSER=ann\nACTIVE=1\nSTATE=active\nREMOTE=1\n\
        TYPE=tty\nCLASS=user\nTTY=pts/3\nREMOTE_HOST=192.0.2.7\nLEADER=4242\nREALTIME=1767225600120000\n";

    #[test]
    fn utmp_of_both_layouts() {
        for layout in [SHORT, LONG] {
            let mut file = record(layout, 2, 0, "reboot", "6.12", 1);
            file.extend(record(layout, USER, 7, "ann", "192.0.2.7", 1_767_225_600));
            file.extend(record(layout, 8, 8, "", "", 5));
            let found = parse_utmp(&file);
            let session = Session {
                user: "ann".to_owned(),
                terminal: "pts/0".to_owned(),
                from: "192.0.2.7".to_owned(),
                since: Some(Timestamp::from_millis(1_767_225_600_000)),
            };
            assert_eq!(found, [(7, session)], "{layout:?}");
        }
    }

    #[test]
    fn names_that_fill_their_field_and_bytes_that_are_no_text() {
        let long = "u".repeat(32);
        let mut file = record(SHORT, USER, 7, &long, "", -1);
        file[20] = 0xff;
        let found = parse_utmp(&file);
        assert_eq!(found[0].1.user, long);
        // After 2038 the seconds go on as an unsigned number.
        assert_eq!(found[0].1.since, Some(Timestamp::from_millis(4_294_967_295_000)));
    }

    #[test]
    fn logind_where_utmp_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert!(matches!(sessions(&root), Err(ReadError::Missing { .. })));
        let folder = root.path("run/systemd/sessions");
        create_dir_all(&folder).unwrap();
        assert_eq!(sessions(&root).unwrap(), [], "a host with logind and nobody there");
        write(folder.join("3"), LOGIND).unwrap();
        write(folder.join("c1"), LOGIND.replace("CLASS=user", "CLASS=greeter")).unwrap();
        write(folder.join("4"), LOGIND.replace("STATE=active", "STATE=closing")).unwrap();
        write(folder.join("5"), "\u{fffd}=\n=\nCLASS=user\n").unwrap();
        create_dir_all(folder.join("3.ref")).unwrap();
        assert_eq!(sessions(&root).unwrap(), [], "its leader has ended");
        create_dir_all(root.proc("4242")).unwrap();
        let found = sessions(&root).unwrap();
        assert_eq!((found.len(), found[0].terminal.as_str(), found[0].from.as_str()), (1, "pts/3", "192.0.2.7"));
        // utmp has the first word, if it has anything to say.
        write(root.path("run/utmp"), record(SHORT, USER, 1, "old", "", 1)).unwrap();
        assert_eq!(sessions(&root).unwrap()[0].user, "ann");
        create_dir_all(root.proc("1")).unwrap();
        assert_eq!(sessions(&root).unwrap()[0].user, "old");
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..1300), text: String) {
            let _ = parse_utmp(&bytes);
            let _ = parse_session(&text);
        }
    }
}
