//! Collectors against the real thing: a systemd that booted, an engine that
//! runs containers. `scripts/test-setup.sh` installs what this needs; where a
//! machine cannot run them (no root, no control groups), the test says so.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod docker;
mod machine;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tomte_collect::{COLLECTORS, Collector, Root, Settings, SystemClock};
use tomte_model::{Clock, Facet, Outcome, Scope};

/// Real things take their time; more than this they do not.
const PATIENCE: Duration = Duration::from_secs(180);

/// Why these tests cannot run here, if they cannot.
fn missing(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let found = |program: &&&str| {
        let path = std::env::var("PATH").unwrap_or_default();
        let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
        folders.map(|folder| std::path::Path::new(folder).join(program)).any(|path| path.exists())
    };
    let absent: Vec<_> = programs.iter().filter(|program| !found(program)).copied().collect();
    (!absent.is_empty()).then(|| format!("{} not installed", absent.join(", ")))
}

/// Says aloud that a test did not run.
fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}; scripts/test-setup.sh test installs what is needed");
}

/// A process that ends with the test, however that ends.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it guards has been asked to stop by now.
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until && self.0.try_wait().is_ok_and(|status| status.is_none()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn collector(name: &str, root: &Root, settings: &Settings) -> Box<dyn Collector> {
    let def = COLLECTORS.iter().find(|def| def.name == name).unwrap();
    (def.make)(root, settings)
}

/// Looks until what is seen is what was waited for.
fn until<T>(what: &str, collector: &mut dyn Collector, mut seen: impl FnMut(&[Scope]) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let scopes = collector.collect(SystemClock.now());
        if let Some(found) = seen(&scopes) {
            return found;
        }
        assert!(Instant::now() < end, "no {what} within a minute: {scopes:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The facet of that resource, if it is there.
fn find(scopes: &[Scope], resource: &str) -> Option<Facet> {
    let failed = scopes.iter().find(|scope| matches!(scope.outcome, Outcome::Failed { .. } | Outcome::Denied { .. }));
    assert!(failed.is_none(), "{failed:?}");
    scopes.iter().flat_map(|scope| &scope.facets).find(|facet| facet.resource.to_string() == resource).cloned()
}

fn text(facet: &Facet, attribute: &str) -> String {
    facet.attribute(attribute).map(ToString::to_string).unwrap_or_default()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
