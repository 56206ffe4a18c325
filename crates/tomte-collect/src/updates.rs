//! Updates that wait, by apt, dnf, pacman or apk and what they already know, the
//! generation of NixOS, and whether the host wants a restart.
//!
//! Nothing is refreshed: a list that is old is told to be old. A package manager is
//! only run when its files have changed since it was last run.

mod packages;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tomte_model::report::Table;
use tomte_model::{Facet, Moment, Outcome, Scope, Value};

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
    /// Exit statuses that mean that it worked.
    statuses: &'static [i32],
    /// What it has installed: this changes with each installation.
    installed: &'static str,
    /// Where its lists are: these change with each refresh.
    lists: &'static [&'static str],
    parse: fn(&str) -> Vec<Package>,
}

const MANAGERS: [Manager; 4] = [
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
        statuses: &[0],
        installed: "var/lib/dpkg/status",
        lists: &["var/lib/apt/lists", "var/lib/apt/lists/partial", "var/lib/apt/periodic/update-success-stamp"],
        parse: packages::apt,
    },
    Manager {
        name: "dnf",
        program: "dnf",
        arguments: &["-C", "-q", "--setopt=cachedir=/var/cache/dnf", "check-update"],
        security: &["--security"],
        // 100: there are updates.
        statuses: &[0, 100],
        installed: "var/lib/rpm",
        lists: &["var/cache/dnf", "var/cache/libdnf5"],
        parse: packages::dnf,
    },
    Manager {
        name: "pacman",
        program: "pacman",
        arguments: &["-Qu"],
        security: &[],
        // 1: there is none.
        statuses: &[0, 1],
        installed: "var/lib/pacman/local",
        lists: &["var/lib/pacman/sync"],
        parse: packages::pacman,
    },
    Manager {
        name: "apk",
        program: "apk",
        arguments: &["--no-network", "version", "-l", "<"],
        security: &[],
        statuses: &[0],
        installed: "lib/apk/db/installed",
        lists: &["var/cache/apk", "etc/apk/cache"],
        parse: packages::apk,
    },
];

impl Collector for Updates {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let mut facet = Facet::owner("updates", "updates", "main");
        let manager = MANAGERS.iter().find(|manager| self.root.path(manager.installed).exists());
        let generation = generation(&self.root);
        match manager {
            Some(manager) => {
                facet.text("manager", manager.name);
                if let Err(outcome) = self.pending(manager, &mut facet) {
                    return vec![Scope::failed("updates", outcome)];
                }
                let refreshed = manager.lists.iter().filter_map(|list| modified(&self.root.path(list))).max();
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
    fn ask(&self, manager: &Manager, more: &[&str]) -> Result<Vec<Package>, Outcome> {
        let arguments = manager.arguments.iter().chain(more).copied();
        let call = ToolCall::new(manager.program).args(arguments).limit(LIMIT);
        let ran = self.root.tools().run(&call).map_err(|error| error.outcome())?;
        if !ran.status.is_some_and(|status| manager.statuses.contains(&status)) {
            return Err(Outcome::Failed { error: format!("{}: {}", manager.name, ran.complaint()) });
        }
        Ok((manager.parse)(&ran.text()))
    }

    fn pending(&mut self, manager: &Manager, facet: &mut Facet) -> Result<(), Outcome> {
        let files = [&[manager.installed], manager.lists].concat();
        let state: Vec<_> = files.iter().map(|file| modified(&self.root.path(file))).collect();
        if self.known.as_ref().is_none_or(|(known, _)| *known != state) {
            let mut packages = self.ask(manager, &[])?;
            if !manager.security.is_empty() {
                // One that does not know which they are says nothing of it.
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

    #[test]
    fn the_other_managers() {
        let pacman =
            packages::pacman("linux 6.12.1.arch1-1 -> 6.12.4.arch1-1\nheld 1-1 -> 2-1 [ignored]\nwarning: x\n");
        assert_eq!((pacman.len(), pacman[0].offered.as_str()), (1, "6.12.4.arch1-1"));
        let apk = packages::apk(
            "Installed:                                Available:\nbusybox-1.36.1-r5                       < 1.36.1-r7 \nca-certificates-bundle-20240226-r0      < 20240705-r0 \n",
        );
        assert_eq!(
            (apk.len(), apk[1].name.as_str(), apk[1].installed.as_str()),
            (2, "ca-certificates-bundle", "20240226-r0")
        );
        let dnf = packages::dnf(
            "\nkernel.x86_64     6.11.4-301.fc41     updates\npython3.11-libs.x86_64 3.11.9-1.el9 appstream\nObsoleting Packages\na.noarch 1 updates\n",
        );
        assert_eq!((dnf.len(), dnf[1].name.as_str()), (2, "python3.11-libs"));
        let call = "tools/dnf -C -q --setopt=cachedir=!var!cache!dnf check-update";
        let two = "a.x86_64 1-1 updates\nb.noarch 2-1 updates\n";
        let mut host = Host::new(&[
            ("var/lib/rpm/rpmdb.sqlite", ""),
            (call, two),
            (&format!("{call}.status"), "100"),
            (&format!("{call} --security"), "b.noarch 2-1 updates\n"),
            (&format!("{call} --security.status"), "100"),
        ]);
        let facet = host.facet();
        assert_eq!((facet.reading("pending"), facet.reading("security")), (Some(2.0), Some(1.0)));
        assert_eq!(facet.tables[0].rows[0][0], Some(Value::Text("b".into())), "security first");
        // One that does not know of security says so by failing.
        let mut host = Host::new(&[("var/lib/rpm/x", ""), (call, two), (&format!("{call}.status"), "100")]);
        let facet = host.facet();
        assert_eq!((facet.reading("pending"), facet.reading("security")), (Some(2.0), None));
        let mut host =
            Host::new(&[("var/lib/pacman/local/x", ""), ("tools/pacman -Qu", ""), ("tools/pacman -Qu.status", "1")]);
        let facet = host.facet();
        assert_eq!((facet.reading("pending"), facet.reading("security")), (Some(0.0), None), "it does not tell");
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
