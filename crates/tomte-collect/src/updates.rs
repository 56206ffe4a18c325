//! Updates that wait, by apt, dnf, pacman or apk and what they already know, the
//! generation of NixOS, and whether the host wants a restart.
//!
//! Nothing is refreshed: a list that is old is told to be old. A package manager is
//! only run when its files have changed since it was last run.

mod packages;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tomte_model::report::Table;
use tomte_model::{Facet, Glob, Moment, Outcome, Scope, Value};

use self::packages::Package;
use crate::Collector;
use crate::list::names;
use crate::reader::read_trimmed;
use crate::root::Root;
use crate::settings::Settings;
use crate::tool::{Ran, ToolCall};

/// A package manager reads all it knows of some hundred thousand packages.
const LIMIT: Duration = Duration::from_secs(60);
/// How many packages are listed.
const LISTED: usize = 100;

/// The collector `updates`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Updates { root: root.clone(), known: None })
}

struct Updates {
    root: Root,
    /// What was found, and of which state of the manager's files.
    known: Option<(Vec<Option<SystemTime>>, Vec<Package>)>,
}

/// A package manager.
struct Manager {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// What is added to have those alone that mend a weakness, where the manager
    /// does not say so of each.
    security: &'static [&'static str],
    /// What lies there where the lists say which those are; of [`stamps`].
    advisories: &'static str,
    /// Exit statuses that mean that it worked.
    statuses: &'static [i32],
    /// What it has installed: one of them changes with each installation. The first
    /// is there wherever the manager is in use.
    installed: &'static [&'static str],
    /// Where its lists are: these change with each refresh, and with nothing that
    /// the manager does when it is only asked; of [`stamps`].
    lists: &'static [&'static str],
    parse: fn(&str) -> Vec<Package>,
}

/// The folder stays as it is when packages are installed; its database does not.
const RPM: &[&str] = &[
    "var/lib/rpm",
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/rpmdb.sqlite-wal",
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
];

const MANAGERS: [Manager; 5] = [
    Manager {
        name: "apt",
        program: "apt-get",
        arguments: &[
            "-s",
            "-q",
            "-o",
            "Debug::NoLocking=true",
            "-o",
            "APT::Get::Show-User-Simulation-Note=false",
            "dist-upgrade",
        ],
        security: &[],
        advisories: "",
        statuses: &[0],
        installed: &["var/lib/dpkg/status"],
        lists: &["var/lib/apt/lists", "var/lib/apt/lists/partial", "var/lib/apt/periodic/update-success-stamp"],
        parse: packages::apt,
    },
    // An ordinary user has lists of its own with dnf 5, and no folder for its log,
    // without which it does not run; so it is told to use those of the system, to
    // write none, and to log where the agent may.
    Manager {
        name: "dnf",
        program: "dnf5",
        arguments: &[
            "-C",
            "-q",
            "--setopt=cachedir=/var/cache/libdnf5",
            "--setopt=build_cache=0",
            "--setopt=logdir=/run/tomte",
            "--setopt=log_size=65536",
            "check-upgrade",
        ],
        security: &["--security"],
        advisories: "var/cache/libdnf5/*/repodata/*updateinfo*",
        // 100: there are updates.
        statuses: &[0, 100],
        installed: RPM,
        lists: &["var/cache/libdnf5/*/repodata/*"],
        parse: packages::dnf,
    },
    // The folder itself changes whenever dnf 4 is asked: for that long there is a
    // lock in it, and that cannot be helped where the agent runs as root.
    Manager {
        name: "dnf",
        program: "dnf",
        arguments: &["-C", "-q", "--setopt=cachedir=/var/cache/dnf", "check-update"],
        security: &["--security"],
        advisories: "var/cache/dnf/*/repodata/*updateinfo*",
        statuses: &[0, 100],
        installed: RPM,
        lists: &["var/cache/dnf/*/repodata/*"],
        parse: packages::dnf,
    },
    Manager {
        name: "pacman",
        program: "pacman",
        arguments: &["-Qu"],
        security: &[],
        advisories: "",
        // 1: there is none.
        statuses: &[0, 1],
        installed: &["var/lib/pacman/local"],
        lists: &["var/lib/pacman/sync"],
        parse: packages::pacman,
    },
    Manager {
        name: "apk",
        program: "apk",
        arguments: &["--no-network", "version", "-l", "<"],
        security: &[],
        advisories: "",
        statuses: &[0],
        installed: &["lib/apk/db/installed"],
        // apk 3 touches a list that was found to be the newest; apk 2 does not.
        lists: &["var/cache/apk", "var/cache/apk/APKINDEX*", "etc/apk/cache", "etc/apk/cache/APKINDEX*"],
        parse: packages::apk,
    },
];

impl Collector for Updates {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let mut facet = Facet::owner("updates", "updates", "main");
        let manager = self.manager();
        let generation = generation(&self.root);
        match manager {
            Some(manager) => {
                facet.text("manager", manager.name);
                if let Err(outcome) = self.pending(manager, &mut facet) {
                    return vec![Scope::failed("updates", outcome)];
                }
                let refreshed = manager.lists.iter().flat_map(|list| stamps(&self.root, list)).max();
                facet.read("lists_age_seconds", refreshed.and_then(|at| age(at, now)));
            }
            None if generation.is_some() => facet.text("manager", "nix"),
            None => {
                let error = "this host has no package manager that is known here".to_owned();
                return vec![Scope::failed("updates", Outcome::Unavailable { error })];
            }
        }
        facet.text("generation", generation.unwrap_or_default());
        restart(&self.root, &mut facet);
        versions(&self.root, &mut facet);
        vec![Scope::complete("updates", vec![facet])]
    }
}

impl Updates {
    /// The manager of this host: one whose program is there, before one whose is not.
    fn manager(&self) -> Option<&'static Manager> {
        let used = || MANAGERS.iter().filter(|manager| self.root.path(manager.installed[0]).exists());
        used().find(|manager| self.root.tools().has(manager.program)).or_else(|| used().next_back())
    }

    fn ask(&self, manager: &Manager, more: &[&str]) -> Result<Vec<Package>, Outcome> {
        let arguments = manager.arguments.iter().chain(more).copied();
        let call = ToolCall::new(manager.program).args(arguments).limit(LIMIT);
        let ran = self.root.tools().run(&call).map_err(|error| error.outcome())?;
        if !ran.status.is_some_and(|status| manager.statuses.contains(&status)) {
            return Err(Outcome::Failed { error: format!("{}: {}", manager.name, ran.complaint()) });
        }
        let packages = (manager.parse)(&ran.text());
        // Without lists, or without its database, each of them but apt complains, and
        // ends as though there were nothing to update.
        if packages.is_empty() && ran.stderr.lines().any(complains) {
            return Err(Outcome::Failed { error: format!("{}: {}", manager.name, ran.complaint()) });
        }
        Ok(packages)
    }

    fn pending(&mut self, manager: &Manager, facet: &mut Facet) -> Result<(), Outcome> {
        let installed = manager.installed.iter().map(|file| modified(&self.root.path(file)));
        let lists = manager.lists.iter().map(|list| stamps(&self.root, list).into_iter().max());
        let state: Vec<_> = installed.chain(lists).collect();
        if self.known.as_ref().is_none_or(|(known, _)| *known != state) {
            let mut packages = self.ask(manager, &[])?;
            // Where the lists do not say which they are, none being told means nothing.
            if !manager.security.is_empty() && !stamps(&self.root, manager.advisories).is_empty() {
                // One that does not know the option says nothing of it.
                if let Ok(security) = self.ask(manager, manager.security) {
                    let names: HashSet<&str> = security.iter().map(|package| package.name.as_str()).collect();
                    packages.iter_mut().for_each(|of| of.security = Some(names.contains(of.name.as_str())));
                }
            }
            self.known = Some((state, packages));
        }
        let packages = self.known.as_ref().map_or(&[][..], |(_, packages)| packages);
        facet.read("pending", packages.len() as f64);
        let is_apt_or_dnf = manager.name == "apt" || !manager.security.is_empty();
        let tells = packages.iter().all(|package| package.security.is_some()) && is_apt_or_dnf;
        let security = packages.iter().filter(|package| package.security == Some(true)).count();
        facet.read("security", tells.then_some(security as f64));
        facet.tables.push(table(packages));
        Ok(())
    }
}

fn table(packages: &[Package]) -> Table {
    let mut sorted: Vec<&Package> = packages.iter().collect();
    sorted.sort_by_key(|package| (Reverse(package.security == Some(true)), &package.name));
    let text = |text: &str| (!text.is_empty()).then(|| Value::Text(text.to_owned()));
    let row = |package: &&Package| {
        let security = package.security.map(Value::Bool);
        vec![text(&package.name), text(&package.installed), text(&package.offered), security]
    };
    Table {
        name: "packages".into(),
        columns: ["name", "installed", "offered", "security"].map(Into::into).to_vec(),
        rows: sorted.iter().take(LISTED).map(row).collect(),
    }
}

/// When the files were modified whose path is as a pattern says, folder by folder.
fn stamps(root: &Root, pattern: &str) -> Vec<SystemTime> {
    let mut found = vec![root.path("")];
    for part in pattern.split('/') {
        let glob = Glob::new(part).ok().filter(|_| !Glob::is_plain(part));
        found = match glob {
            None => found.into_iter().map(|path| path.join(part)).collect(),
            Some(glob) => {
                let inside = |path: PathBuf| {
                    let names = names(&path).unwrap_or_default().into_iter().filter(|name| glob.matches(name));
                    names.map(|name| path.join(name)).collect::<Vec<_>>()
                };
                found.into_iter().flat_map(inside).collect()
            }
        };
    }
    found.iter().filter_map(|path| modified(path)).collect()
}

/// Whether a line says that a database or a list is missing or broken.
fn complains(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.starts_with("error:") || line.starts_with("warning: opening ") || line.starts_with("warning: database file ")
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn age(at: SystemTime, now: Moment) -> Option<f64> {
    let at = at.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now.wall.millis() as f64 / 1000.0 - at).filter(|age| *age >= 0.0).map(f64::floor)
}

/// The generation of NixOS: `42`, of the link `system-42-link`.
fn generation(root: &Root) -> Option<String> {
    let link = fs::read_link(root.path("nix/var/nix/profiles/system")).ok()?;
    let name = link.file_name()?.to_str()?;
    Some(name.strip_prefix("system-")?.strip_suffix("-link")?.to_owned())
}

/// Whether the host wants a restart, and why.
fn restart(root: &Root, facet: &mut Facet) {
    let running = read_trimmed(&root.proc("sys/kernel/osrelease")).unwrap_or_default();
    let installed = newest_kernel(root, &running);
    facet.text("running_kernel", running.clone());
    facet.text("installed_kernel", installed.clone().unwrap_or_default());
    let marked = root.path("run/reboot-required").exists() || root.path("var/run/reboot-required").exists();
    let nixos = |file: &str| {
        let of = |system: &str| fs::read_link(root.path("run").join(system).join(file)).ok();
        of("booted-system").zip(of("current-system")).map(|(booted, current)| booted != current)
    };
    // The modules of the running kernel were removed: it can load none any more.
    let modules =
        ["usr/lib/modules", "lib/modules"].map(|place| root.path(place)).into_iter().find(|path| path.is_dir());
    let lost = modules
        .is_some_and(|modules| names(&modules).is_ok_and(|kernels| !kernels.is_empty() && !kernels.contains(&running)));
    let reason = if installed.as_ref().is_some_and(|installed| *installed != running) || nixos("kernel") == Some(true) {
        Some("a newer kernel is installed")
    } else if lost && installed.is_some() {
        Some("the modules of the running kernel are gone")
    } else if marked {
        Some("an update asks for it")
    } else {
        None
    };
    facet.text("restart_reason", reason.unwrap_or_default());
    // In a container, nothing of this can be told.
    let tells = installed.is_some() || marked || nixos("kernel").is_some();
    facet.read("restart_required", tells.then(|| f64::from(u8::from(reason.is_some()))));
}

/// The newest kernel of the running one's kind (`-amd64`, `-pve`, `-lts`) in /boot
/// or beside its modules.
fn newest_kernel(root: &Root, running: &str) -> Option<String> {
    let kind = kind(running);
    let boot = names(&root.path("boot")).unwrap_or_default();
    let in_boot = boot.iter().filter_map(|name| name.strip_prefix("vmlinuz-")).map(str::to_owned);
    let modules = root.path("usr/lib/modules");
    let beside =
        names(&modules).unwrap_or_default().into_iter().filter(|name| modules.join(name).join("vmlinuz").exists());
    let of_kind = |name: &String| self::kind(name) == kind && name.starts_with(|c: char| c.is_ascii_digit());
    in_boot.chain(beside).filter(of_kind).max_by_key(|name| numbers(name))
}

/// What is left of a kernel's name without its numbers: `amd64`, `pve`.
fn kind(kernel: &str) -> &str {
    let last = kernel.rsplit(['-', '.']).next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) { "" } else { last }
}

/// The numbers in a version, in order.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// The versions of what a hypervisor is made of.
fn versions(root: &Root, facet: &mut Facet) {
    let said = |program: &str, arguments: &[&str]| {
        let ran = root
            .tools()
            .has(program)
            .then(|| root.tools().run(&ToolCall::new(program).args(arguments.iter().copied())));
        ran.and_then(Result::ok).filter(Ran::success).map(|ran| ran.text().into_owned()).unwrap_or_default()
    };
    // pve-manager/9.1.9/ee7bad0a3d1546c9 (running kernel: 6.17.13-2-pve)
    let proxmox = said("pveversion", &[]);
    facet.text("proxmox_version", proxmox.split('/').nth(1).unwrap_or_default());
    if let Ok(module) = read_trimmed(&root.sys("module/zfs/version")) {
        facet.text("zfs_module_version", module);
        // zfs-2.3.2-2~bpo12+2
        let tools = said("zfs", &["version"]);
        facet.text("zfs_version", tools.lines().find_map(|line| line.strip_prefix("zfs-")).unwrap_or_default());
    }
}

/// Reads what package managers print: what a fuzzer is let loose on.
pub fn fuzz_packages(bytes: &[u8]) {
    for manager in &MANAGERS {
        let _ = table(&(manager.parse)(&String::from_utf8_lossy(bytes)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, remove_file, write};
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;
    use tomte_model::Timestamp;

    use super::*;
    use crate::published::{captured, published};

    struct Host {
        dir: tempfile::TempDir,
        collector: Box<dyn Collector>,
    }

    impl Host {
        fn new(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let collector = make(&Root::new(dir.path()), &Settings::default());
            let host = Self { dir, collector };
            files.iter().for_each(|(path, content)| host.put(path, content));
            host
        }
        fn put(&self, path: &str, content: &str) {
            let path = self.dir.path().join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, content).unwrap();
        }
        fn facet(&mut self) -> Facet {
            let wall = Timestamp::from_millis(4_000_000_000_000);
            let scope = self.collector.collect(Moment { wall, boot_millis: 0 }).remove(0);
            assert!(scope.outcome.is_complete(), "{scope:?}");
            scope.facets.into_iter().next().unwrap()
        }
    }

    fn word(facet: &Facet, name: &str) -> String {
        facet.attribute(name).map(ToString::to_string).unwrap_or_default()
    }

    const APT: &str =
        "tools/apt-get -s -q -o Debug::NoLocking=true -o APT::Get::Show-User-Simulation-Note=false dist-upgrade";

    #[test]
    fn apt_as_it_answered() {
        let printed = String::from_utf8(captured("apt/dist-upgrade.txt")).unwrap();
        let packages = packages::apt(&printed);
        let upgrades = printed.lines().filter(|line| line.starts_with("Inst ")).count();
        assert_eq!(packages.len(), upgrades);
        let of = |name: &str| packages.iter().find(|package| package.name == name).unwrap();
        assert_eq!((of("bash").offered.as_str(), of("bash").security), ("5.2.15-2+b13", Some(false)));
        assert_eq!((of("liblzma5").installed.as_str(), of("liblzma5").security), ("5.4.1-1", Some(true)));
        assert!(
            packages::apt("Inst linux-image-6.1.0-57-amd64 (6.1.180-1 Debian:12 [amd64])\n").is_empty(),
            "it is new"
        );
    }

    #[test]
    fn a_manager_is_run_only_when_something_has_changed() {
        let printed = String::from_utf8(captured("apt/dist-upgrade.txt")).unwrap();
        let mut host = Host::new(&[("var/lib/dpkg/status", ""), ("var/lib/apt/lists/x", ""), (APT, &printed)]);
        let facet = host.facet();
        let pending = facet.reading("pending").unwrap();
        assert!(
            pending > 10.0 && facet.reading("security").unwrap() > 0.0 && facet.reading("security").unwrap() <= pending
        );
        assert!(facet.reading("lists_age_seconds").unwrap() > 0.0);
        assert_eq!(facet.tables[0].rows[0][3], Some(Value::Bool(true)), "security first");
        remove_file(host.dir.path().join(APT)).unwrap();
        assert_eq!(host.facet().reading("pending"), Some(pending), "it was not run");
        let status = fs::File::options().write(true).open(host.dir.path().join("var/lib/dpkg/status")).unwrap();
        status.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        let scope = host.collector.collect(Moment::default()).remove(0);
        assert!(!scope.outcome.is_complete(), "it is run, and is not there any more");
    }

    fn printed(name: &str) -> String {
        String::from_utf8(captured(name)).unwrap()
    }

    fn told(packages: &[Package]) -> Vec<(&str, &str, &str)> {
        packages.iter().map(|of| (of.name.as_str(), of.installed.as_str(), of.offered.as_str())).collect()
    }

    const LONG: &str = "a-package-with-a-name-that-is-longer-than-any-terminal-line-is-wide-and-then-some-more";

    #[test]
    fn pacman_and_apk_as_they_answered() {
        assert_eq!(
            told(&packages::pacman(&printed("pacman/qu.txt"))),
            [("epoch", "1:1.0-1", "1:1.1-1"), ("linux", "6.12.1.arch1-1", "6.12.4.arch1-1")],
            "what is held does not wait"
        );
        let long = "a-package-with-a-name-that-is-longer-than-the-column-it-has";
        assert_eq!(
            told(&packages::apk(&printed("apk/version.txt"))),
            [
                (long, "1.0_git20240101-r0", "1.0_git20240102-r0"),
                ("busybox", "1.36.1-r5", "1.36.1-r7"),
                ("ca-certificates-bundle", "20240226-r0", "20240705-r0"),
                ("libcrypto3", "3.1.4-r1", "3.1.4-r6"),
            ]
        );
    }

    #[test]
    fn dnf_4_and_5_as_they_answered() {
        let all = [
            (LONG, "", "20240202.abcdef0123456789-1.fc40"),
            ("alpha", "", "1.2-3.fc40"),
            ("bravo-libs", "", "1:2.1-1.fc40"),
            ("kernel-core", "", "6.1.3-1.fc40"),
        ];
        for (call, cache, updates, security) in [
            (DNF4, "dnf", "dnf/check-update-4.txt", "dnf/security-4.txt"),
            (DNF5, "libdnf5", "dnf/check-upgrade-5.txt", "dnf/security-5.txt"),
        ] {
            assert_eq!(told(&packages::dnf(&printed(updates))), all);
            let mut host = Host::new(&[
                ("var/lib/rpm/rpmdb.sqlite", ""),
                (&format!("var/cache/{cache}/updates-1/repodata/0ff-primary.xml.gz"), ""),
                (call, &printed(updates)),
                (&format!("{call}.status"), "100"),
                (&format!("{call} --security"), &printed(security)),
                (&format!("{call} --security.status"), "100"),
            ]);
            assert_eq!(host.facet().reading("security"), None, "the lists do not say which they are");
            host.put(&format!("var/cache/{cache}/updates-1/repodata/0ff-updateinfo.xml.gz"), "");
            let facet = host.facet();
            assert_eq!((facet.reading("pending"), facet.reading("security")), (Some(4.0), Some(2.0)));
            assert_eq!(facet.tables[0].rows[0][0], Some(Value::Text("alpha".into())), "security first");
            assert!(facet.reading("lists_age_seconds").is_some());
            // None of them mends a weakness: dnf 5 says so in words.
            host.put(&format!("{call} --security"), &printed("dnf/security-5-none.txt"));
            host.put(&format!("{call} --security.status"), "0");
            // The folder of the database is as it was.
            host.put("var/lib/rpm/rpmdb.sqlite", "another package");
            assert_eq!(host.facet().reading("security"), Some(0.0), "it was asked anew");
            // One that does not know of security says so by failing.
            remove_file(host.dir.path().join(format!("{call} --security"))).unwrap();
            host.put("var/lib/rpm/rpmdb.sqlite", "and another");
            let facet = host.facet();
            assert_eq!((facet.reading("pending"), facet.reading("security")), (Some(4.0), None));
        }
    }

    const DNF4: &str = "tools/dnf -C -q --setopt=cachedir=!var!cache!dnf check-update";
    const DNF5: &str = "tools/dnf5 -C -q --setopt=cachedir=!var!cache!libdnf5 --setopt=build_cache=0 \
                        --setopt=logdir=!run!tomte --setopt=log_size=65536 check-upgrade";

    #[test]
    fn a_lock_in_a_folder_of_lists_makes_them_no_newer() {
        let mut host = Host::new(&[
            ("var/lib/rpm/rpmdb.sqlite", ""),
            ("var/cache/dnf/updates-1/repodata/repomd.xml", ""),
            (DNF4, "a.x86_64 1-1 updates\n"),
        ]);
        let age = |host: &mut Host| host.facet().reading("lists_age_seconds").unwrap();
        let list = fs::File::options()
            .write(true)
            .open(host.dir.path().join("var/cache/dnf/updates-1/repodata/repomd.xml"))
            .unwrap();
        list.set_modified(UNIX_EPOCH + Duration::from_secs(1_000)).unwrap();
        assert_eq!(age(&mut host), 3_999_999_000.0);
        remove_file(host.dir.path().join(DNF4)).unwrap();
        host.put("var/cache/dnf/metadata_lock.pid", "");
        assert_eq!(age(&mut host), 3_999_999_000.0, "and nothing was run");
    }

    /// With the exit status of "there is none".
    #[test]
    fn no_lists_and_no_database_are_not_no_updates() {
        for (installed, call, status, out, err) in [
            ("var/lib/rpm/x", DNF4, "0", String::new(), "dnf/no-database-4.err"),
            ("var/lib/pacman/local/x", "tools/pacman -Qu", "1", String::new(), "pacman/no-database.err"),
            (
                "lib/apk/db/installed",
                "tools/apk --no-network version -l <",
                "0",
                printed("apk/no-lists.txt"),
                "apk/no-lists.err",
            ),
        ] {
            let mut host = Host::new(&[(installed, ""), (call, &out), (&format!("{call}.status"), status)]);
            assert_eq!(host.facet().reading("pending"), Some(0.0));
            let mut host = Host::new(&[
                (installed, ""),
                (call, &out),
                (&format!("{call}.status"), status),
                (&format!("{call}.stderr"), &printed(err)),
            ]);
            let scope = host.collector.collect(Moment::default()).remove(0);
            assert!(matches!(scope.outcome, Outcome::Failed { .. }), "{scope:?}");
        }
    }

    #[test]
    fn the_manager_whose_program_is_there_is_asked() {
        let mut host = Host::new(&[
            ("var/lib/dpkg/status", ""),
            ("var/lib/rpm/rpmdb.sqlite", ""),
            (DNF4, "a.x86_64 1-1 updates\n"),
        ]);
        assert_eq!(word(&host.facet(), "manager"), "dnf");
    }

    #[test]
    fn stamps_are_of_all_that_is_called_so() {
        let host = Host::new(&[("a/x-1/r/a-y.z", ""), ("a/x-2/r/b-y", ""), ("a/w/r/y", ""), ("a/x-3", "")]);
        let root = Root::new(host.dir.path());
        let count = |pattern: &str| stamps(&root, pattern).len();
        assert_eq!((count("a/x-*/r/*y*"), count("a/*/r/*"), count("a/x*"), count("a"), count("b/*")), (2, 3, 3, 1, 0));
        assert_eq!((count("a/x-1/r/b*y*"), count("a/x-1/r/*y*y*")), (0, 0));
    }

    #[test]
    fn a_newer_kernel_wants_a_restart() {
        let files = [
            ("var/lib/pacman/local/x", ""),
            ("tools/pacman -Qu", ""),
            ("proc/sys/kernel/osrelease", "6.1.0-9-amd64\n"),
            ("boot/vmlinuz-6.1.0-9-amd64", ""),
            ("boot/vmlinuz-6.9.0-1-rt", ""),
        ];
        let mut host = Host::new(&files);
        let facet = host.facet();
        assert_eq!(
            (facet.reading("restart_required"), word(&facet, "installed_kernel").as_str()),
            (Some(0.0), "6.1.0-9-amd64")
        );
        host.put("run/reboot-required", "");
        assert_eq!(word(&host.facet(), "restart_reason"), "an update asks for it");
        host.put("boot/vmlinuz-6.1.0-10-amd64", "");
        let facet = host.facet();
        assert_eq!(
            (facet.reading("restart_required"), word(&facet, "restart_reason").as_str()),
            (Some(1.0), "a newer kernel is installed")
        );
        assert_eq!(word(&facet, "installed_kernel"), "6.1.0-10-amd64");
    }

    #[test]
    fn a_container_cannot_tell_and_an_unknown_system_has_none() {
        let mut host = Host::new(&[]);
        assert!(matches!(host.collector.collect(Moment::default())[0].outcome, Outcome::Unavailable { .. }));
        let mut host = Host::new(&[
            ("var/lib/pacman/local/x", ""),
            ("tools/pacman -Qu", ""),
            ("proc/sys/kernel/osrelease", "6.1.0"),
        ]);
        assert_eq!(host.facet().reading("restart_required"), None);
    }

    #[test]
    fn nixos_has_generations() {
        let mut host = Host::new(&[("run/x", "")]);
        let link = |path: &str, to: &str| {
            let path = host.dir.path().join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            symlink(to, path).unwrap();
        };
        link("nix/var/nix/profiles/system", "system-42-link");
        link("run/booted-system/kernel", "/nix/store/a/bzImage");
        link("run/current-system/kernel", "/nix/store/b/bzImage");
        let facet = host.facet();
        assert_eq!((word(&facet, "manager").as_str(), word(&facet, "generation").as_str()), ("nix", "42"));
        assert_eq!((facet.reading("restart_required"), facet.reading("pending")), (Some(1.0), None));
    }

    #[test]
    fn versions_of_proxmox_and_zfs() {
        let zfs = "zfs-2.3.2-2~bpo12+2\nzfs-kmod-2.3.2-2~bpo12+2\n";
        let mut host = Host::new(&[
            ("var/lib/pacman/local/x", ""),
            ("tools/pacman -Qu", ""),
            ("sys/module/zfs/version", "2.3.2-2~bpo12+2\n"),
            ("tools/zfs version", zfs),
        ]);
        if let Some(said) = published("pvesh/real_pveversion_9.txt") {
            host.put("tools/pveversion", &String::from_utf8_lossy(&said));
            assert_eq!(word(&host.facet(), "proxmox_version"), "9.1.9");
        }
        assert_eq!(word(&host.facet(), "zfs_version"), "2.3.2-2~bpo12+2");
        assert_eq!(word(&host.facet(), "zfs_module_version"), "2.3.2-2~bpo12+2");
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String, line in "[A-Za-z .<>()\\[\\]0-9é-]{0,60}") {
            for text in [text, format!("Inst {line}"), line] {
                let _ = (packages::apt(&text), packages::pacman(&text), packages::apk(&text), packages::dnf(&text));
                let _ = (kind(&text), numbers(&text));
            }
        }
    }
}
