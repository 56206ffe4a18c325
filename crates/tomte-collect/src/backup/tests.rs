//! The collector against real repositories, made, aged, locked and corrupted
//! here, and against status files.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use tomte_model::Facet;

use super::*;
use crate::tool::{SystemTools, Tools};

/// Whether that program is here; if not, it is said.
fn has(program: &str) -> bool {
    let there = SystemTools::default().has(program);
    if !there {
        eprintln!("SKIPPED: {program} is not installed; scripts/test-setup.sh installs it");
    }
    there
}

/// A folder with a repository, something to back up, and a password.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(bench.path("source")).unwrap();
        fs::write(bench.path("source/letter"), "Dear tomte, ".repeat(1000)).unwrap();
        bench.password("secret");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn password(&self, password: &str) {
        let path = self.path("password");
        fs::write(&path, format!("{password}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The tool as whoever makes the backups runs it.
    fn tool(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.path("home"))
            .env("TZ", "UTC")
            .env("RESTIC_REPOSITORY", self.path("repository"))
            .env("RESTIC_PASSWORD_FILE", self.path("password"))
            .env("BORG_REPO", self.path("repository"))
            .env("BORG_BASE_DIR", self.path("home"))
            .env("BORG_PASSPHRASE", "secret")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        assert!(self.tool(program, arguments).status().unwrap().success(), "{program} {arguments:?}");
    }

    fn settings(&self, kind: BackupType) -> BackupSettings {
        let text = format!(
            "name = \"x\"\ntype = \"{}\"\nrepository = {:?}\npassword_file = {:?}\nexpected = \"1d\"\ncheck_every = \"1d\"\n",
            kind.as_str(),
            self.path("repository"),
            self.path("password")
        );
        let job = toml::from_str(&text).unwrap();
        BackupSettings { status_dir: self.path("status"), cache_dir: Some(self.path("cache")), jobs: vec![job] }
    }

    fn root(&self) -> Root {
        Root::system().with_tools(Arc::new(SystemTools::default()))
    }

    fn collector(&self, kind: BackupType) -> Backups {
        Backups::new(&self.root(), &self.settings(kind))
    }

    fn check(&self, kind: BackupType) -> Vec<Scope> {
        let settings = Settings { backup: self.settings(kind), ..Settings::default() };
        check::make(&self.root(), &settings).collect(now(0))
    }

    /// Every file below that folder, with its size.
    fn tree(&self, name: &str) -> Vec<(PathBuf, u64)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let metadata = entry.metadata().unwrap();
                found.push((entry.path(), metadata.len()));
                if metadata.is_dir() {
                    walk(&entry.path(), found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(name), &mut found);
        found.sort();
        found
    }
}

/// So many hours from now; boot time goes on with it.
fn now(hours: u64) -> Moment {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let later = Duration::from_secs(hours * 3_600);
    Moment {
        wall: Timestamp::from_millis(0).plus(wall).plus(later),
        boot_millis: 1_000 + u64::try_from(later.as_millis()).unwrap(),
    }
}

fn scope_of(collector: &mut Backups, moment: Moment) -> Scope {
    collector.collect(moment).into_iter().find(|scope| scope.name == "backup:x").unwrap()
}

fn main_of(collector: &mut Backups, moment: Moment) -> Facet {
    let scope = scope_of(collector, moment);
    assert!(scope.outcome.is_complete(), "{scope:?}");
    scope.facets.into_iter().next().unwrap()
}

fn state(facet: &Facet) -> String {
    facet.attribute("state").unwrap().to_string()
}

/// What holds of every repository, once its first backup is made.
fn ages_and_goes_away(bench: &Bench, kind: BackupType) {
    let mut collector = bench.collector(kind);
    let before = bench.tree("repository");
    let good = main_of(&mut collector, now(0));
    assert_eq!(state(&good), "ok", "{good:?}");
    assert_eq!(bench.tree("repository"), before, "looking leaves nothing behind");
    // restic tells of them from 0.17 on.
    assert!(good.reading("files").is_none_or(|files| files == 1.0), "{good:?}");
    assert_eq!(good.reading("size_bytes"), Some(12_000.0));
    assert!(good.reading("stored_bytes").unwrap() > 0.0);
    assert_eq!((good.reading("backups"), good.reading("running")), (Some(1.0), Some(0.0)));
    let old = main_of(&mut collector, now(40));
    assert_eq!(state(&old), "old");
    assert!((1.6..1.7).contains(&old.reading("age_ratio").unwrap()));

    fs::rename(bench.path("repository"), bench.path("elsewhere")).unwrap();
    let away = main_of(&mut collector, now(42));
    assert_eq!((state(&away).as_str(), away.reading("unreachable")), ("unreachable", Some(1.0)), "{away:?}");
    assert!(away.reading("age_seconds").is_some() && away.reading("never").is_none(), "{away:?}");
    // A fresh agent knows nothing of the past, and does not say "never".
    let fresh = main_of(&mut bench.collector(kind), now(42));
    assert_eq!((state(&fresh).as_str(), fresh.reading("never")), ("unreachable", None));
    fs::rename(bench.path("elsewhere"), bench.path("repository")).unwrap();
    assert_eq!(state(&main_of(&mut collector, now(43))), "old", "what went wrong is tried again at once");

    bench.password("wrong");
    let denied = scope_of(&mut collector, now(50));
    assert!(matches!(&denied.outcome, Outcome::Denied { cure, .. } if cure.contains("password")), "{denied:?}");
    fs::set_permissions(bench.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
    let denied = scope_of(&mut collector, now(50));
    assert!(matches!(&denied.outcome, Outcome::Denied { cure, .. } if cure.starts_with("chmod")), "{denied:?}");
    bench.password("secret");

    let checked = bench.check(kind).pop().unwrap();
    assert_eq!(checked.facets[0].reading("check_failed"), Some(0.0), "{checked:?}");
}

#[test]
fn a_restic_repository_through_its_life() {
    if !has("restic") {
        return;
    }
    let bench = Bench::new();
    bench.run("restic", &["init"]);
    let empty = main_of(&mut bench.collector(BackupType::Restic), now(0));
    assert_eq!((state(&empty).as_str(), empty.reading("never")), ("never", Some(1.0)));
    bench.run("restic", &["backup", "source"]);
    ages_and_goes_away(&bench, BackupType::Restic);

    // A backup that waits for more to come holds a lock.
    let mut running = bench.tool("restic", &["backup", "--stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    let locks = bench.path("repository/locks");
    while fs::read_dir(&locks).unwrap().next().is_none() {
        assert!(running.try_wait().unwrap().is_none(), "it ended before it began");
        std::thread::yield_now();
    }
    let seen = main_of(&mut bench.collector(BackupType::Restic), now(0));
    assert_eq!((state(&seen).as_str(), seen.reading("stale_locks")), ("running", Some(0.0)));
    running.kill().unwrap();
    running.wait().unwrap();
    let left = main_of(&mut bench.collector(BackupType::Restic), now(1));
    assert_eq!((left.reading("running"), left.reading("stale_locks")), (Some(0.0), Some(1.0)));
    bench.run("restic", &["unlock", "--remove-all"]);

    let (snapshot, _) = bench.tree("repository/snapshots").pop().unwrap();
    fs::set_permissions(&snapshot, fs::Permissions::from_mode(0o600)).unwrap();
    let mut content = fs::read(&snapshot).unwrap();
    content[20] ^= 1;
    fs::write(&snapshot, content).unwrap();
    let damaged = bench.check(BackupType::Restic).pop().unwrap();
    assert_eq!(damaged.facets[0].reading("check_failed"), Some(1.0), "{damaged:?}");
}

#[test]
fn a_borg_repository_through_its_life() {
    if !has("borg") {
        return;
    }
    let bench = Bench::new();
    bench.run("borg", &["init", "-e", "repokey"]);
    let empty = main_of(&mut bench.collector(BackupType::Borg), now(0));
    assert_eq!((state(&empty).as_str(), empty.reading("never")), ("never", Some(1.0)));
    bench.run("borg", &["create", "::first", "source"]);
    ages_and_goes_away(&bench, BackupType::Borg);

    let repository = bench.path("repository").display().to_string();
    let mut running = bench.tool("borg", &["with-lock", &repository, "sleep", "600"]).spawn().unwrap();
    while fs::read_dir(bench.path("repository/lock.exclusive")).map_or(true, |mut holders| holders.next().is_none()) {
        assert!(running.try_wait().unwrap().is_none(), "it ended before it began");
        std::thread::yield_now();
    }
    let seen = main_of(&mut bench.collector(BackupType::Borg), now(0));
    assert_eq!((state(&seen).as_str(), seen.reading("stale_locks")), ("running", Some(0.0)));
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.id())).unwrap_or_default();
    running.kill().unwrap();
    running.wait().unwrap();
    for pid in child.split_whitespace() {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let left = main_of(&mut bench.collector(BackupType::Borg), now(0));
    assert_eq!((left.reading("running"), left.reading("stale_locks")), (Some(0.0), Some(1.0)), "{left:?}");
    bench.run("borg", &["break-lock"]);

    let (segment, _) = bench.tree("repository/data/0").into_iter().max_by_key(|(_, size)| *size).unwrap();
    let mut content = fs::read(&segment).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&segment, content).unwrap();
    let damaged = bench.check(BackupType::Borg).pop().unwrap();
    assert_eq!(damaged.facets[0].reading("check_failed"), Some(1.0), "{damaged:?}");
}

#[test]
fn a_repository_is_not_looked_at_more_often_than_it_should() {
    // A disk that sleeps must not be woken: no tool is run at all.
    #[derive(Debug, Default)]
    struct Counting(std::sync::atomic::AtomicUsize);
    impl Tools for Counting {
        fn has(&self, _: &str) -> bool {
            true
        }
        fn run(&self, _: &crate::ToolCall) -> Result<crate::Ran, crate::ToolError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(crate::Ran { status: Some(0), stdout: b"t@a\t1795208000\t5\n".to_vec(), stderr: String::new() })
        }
    }
    let job = toml::from_str("name = \"x\"\ntype = \"zfs\"\ndataset = \"t\"\n").unwrap();
    let tools = Arc::new(Counting::default());
    let folder = tempfile::tempdir().unwrap();
    let settings = BackupSettings { status_dir: folder.path().join("none"), jobs: vec![job], ..Default::default() };
    let mut collector = Backups::new(&Root::system().with_tools(tools.clone()), &settings);
    let ages: Vec<_> = [0, 900, 1_800, 3_600]
        .map(|second| {
            let wall = Timestamp::from_millis((1_795_208_000 + second) * 1000);
            let moment = Moment { wall, boot_millis: second as u64 * 1000 };
            main_of(&mut collector, moment).reading("age_seconds").unwrap()
        })
        .to_vec();
    assert_eq!(ages, [0.0, 900.0, 1_800.0, 3_600.0], "what is known grows older");
    assert_eq!(tools.0.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn status_files_come_go_and_fail_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let settings = BackupSettings { status_dir: folder.path().to_owned(), ..BackupSettings::default() };
    let mut collector = Backups::new(&Root::system(), &settings);
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.json", r#"{"state": "ok", "ended_at": 1795208000, "expected": "1d"}"#);
    write("b.json", "{");
    write("c.txt", "no status");
    write("..json", "{}");
    let moment = Moment { wall: Timestamp::from_millis(1_795_208_000_000 + 7_200_000), boot_millis: 1 };
    let scopes = collector.collect(moment);
    let names: Vec<_> = scopes.iter().map(|scope| scope.name.as_ref()).collect();
    assert_eq!(names, ["backup", "backup:a", "backup:b"]);
    assert_eq!(scopes[1].facets[0].reading("age_seconds"), Some(7_200.0));
    assert!(matches!(&scopes[2].outcome, Outcome::Failed { error } if error.contains("b.json:1:")));
    write("a.json", r#"{"state": "failed", "expected": "1d", "error": "disk full"}"#);
    let failed = &collector.collect(moment)[1].facets[0];
    assert_eq!((failed.reading("failed"), failed.reading("age_seconds")), (Some(1.0), Some(7_200.0)), "{failed:?}");
    assert_eq!((state(failed).as_str(), failed.reading("never")), ("failed", None));
    fs::remove_file(folder.path().join("a.json")).unwrap();
    let scopes = collector.collect(moment);
    let gone = scopes.iter().find(|scope| scope.name == "backup:a").unwrap();
    assert!(gone.outcome.is_complete() && gone.facets.is_empty(), "who takes the file away takes the backup away");
    drop(folder);
    let scopes = collector.collect(moment);
    assert!(matches!(scopes[0].outcome, Outcome::Unavailable { .. }), "{scopes:?}");
}

#[test]
fn a_tool_that_is_missing_is_denied_with_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    let job = toml::from_str("name = \"x\"\ntype = \"restic\"\nrepository = \"/r\"\n").unwrap();
    let settings = BackupSettings { jobs: vec![job], ..BackupSettings::default() };
    let scope = scope_of(&mut Backups::new(&Root::new(folder.path()), &settings), now(0));
    assert!(matches!(&scope.outcome, Outcome::Denied { cure, .. } if cure.contains("package restic")), "{scope:?}");
}
