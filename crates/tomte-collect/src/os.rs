//! The operating system, its kernel, and what they run on.

use std::path::PathBuf;

use tomte_model::{Facet, Moment, Scope, Timestamp};

use crate::error::{Malformed, ReadError};
use crate::reader::{FileReader, read_file, read_trimmed};
use crate::root::Root;
use crate::settings::Settings;
use crate::{Collector, virtualisation};

/// The collector `os`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Os { root: root.clone(), stat: FileReader::new(root.proc("stat")), boot: None })
}

struct Os {
    root: Root,
    stat: FileReader,
    /// When the host was booted, in seconds since 1970, as last reported.
    boot: Option<i64>,
}

/// The kernel works the boot time out anew from its two clocks each time; what
/// differs by no more than this is the same boot time, rounded otherwise.
const JITTER: u64 = 2;

impl Collector for Os {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        vec![match self.read() {
            Ok(facet) => Scope::complete("os", vec![facet]),
            Err(error) => error.scope("os"),
        }]
    }
}

impl Os {
    fn read(&mut self) -> Result<Facet, ReadError> {
        let root = &self.root;
        let mut facet = Facet::owner("os", "os", "main");
        let kernel = read_trimmed(&root.proc("sys/kernel/osrelease"))?;
        let release = os_release(root)?;
        let kin = format!("{} {}", release.id, release.like);
        facet.text("name", release.name);
        facet.text("id", release.id);
        facet.text("version", release.version);
        facet.text("kernel", kernel.as_str());
        facet.text("architecture", architecture(root));
        facet.text("virtualisation", virtualisation::detect(root, &kernel));
        for (name, file) in [("vendor", "sys_vendor"), ("product", "product_name")] {
            if let Ok(text) = read_trimmed(&root.sys("class/dmi/id").join(file)) {
                facet.text(name, text);
            }
        }
        if let Ok(boot) = self.stat.parse(parse_boot_time) {
            let reported = *self.boot.get_or_insert(boot);
            if reported.abs_diff(boot) > JITTER {
                self.boot = Some(boot);
            }
            let boot = self.boot.unwrap_or(boot);
            // Whole seconds: the milliseconds would be a false promise.
            let text = Timestamp::from_millis(boot.saturating_mul(1000)).to_string();
            facet.text("boot_time", text.replace(".000Z", "Z"));
        }
        // The file is a custom of Debian's; elsewhere its absence says nothing.
        if kin.split_ascii_whitespace().any(|id| id == "debian" || id == "ubuntu") {
            facet.flag("reboot_required", root.path("run/reboot-required").exists());
        }
        Ok(facet)
    }
}

/// As the kernel says, or else (before Linux 6.1) as we were built.
fn architecture(root: &Root) -> String {
    read_trimmed(&root.proc("sys/kernel/arch")).unwrap_or_else(|_| std::env::consts::ARCH.to_owned())
}

/// What os-release(5) says.
#[derive(Debug, Default, PartialEq)]
struct Release {
    name: String,
    id: String,
    like: String,
    version: String,
}

/// From the first of its two places that exists; all empty where none does, as
/// in containers built from nothing.
fn os_release(root: &Root) -> Result<Release, ReadError> {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        let path: PathBuf = root.path(path);
        match read_file(&path) {
            Ok(bytes) => return Ok(parse_release(&String::from_utf8_lossy(&bytes))),
            Err(ReadError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Release::default())
}

/// Lines `KEY=value`, quoted as in a shell.
fn parse_release(text: &str) -> Release {
    let value = |key: &str| {
        let raw = text.lines().rev().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        unquote(raw.unwrap_or_default())
    };
    let name = Some(value("PRETTY_NAME")).filter(|name| !name.is_empty()).unwrap_or_else(|| value("NAME"));
    Release { name, id: value("ID"), like: value("ID_LIKE"), version: value("VERSION_ID") }
}

/// Takes off quotes, and backslashes within them.
fn unquote(raw: &str) -> String {
    let raw = raw.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = raw.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            let mut text = String::with_capacity(inner.len());
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                text.extend(if c == '\\' && quote == '"' { chars.next() } else { Some(c) });
            }
            return text;
        }
    }
    raw.to_owned()
}

/// The line `btime 1767225600` of /proc/stat.
fn parse_boot_time(text: &str) -> Result<i64, Malformed> {
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "));
    let seconds = seconds.and_then(|seconds| seconds.trim().parse::<i64>().ok());
    // A machine without a clock boots in 1970, and even that is an answer.
    seconds.filter(|s| *s >= 0).ok_or_else(|| Malformed::new(1, "a line of btime", text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use proptest::prelude::*;

    use super::*;

    fn attribute(facet: &Facet, name: &str) -> Option<String> {
        facet.attribute(name).map(ToString::to_string)
    }

    #[test]
    fn a_debian() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for folder in ["proc/sys/kernel", "etc", "run", "sys/class/dmi/id"] {
            create_dir_all(root.path(folder)).unwrap();
        }
        write(root.proc("sys/kernel/osrelease"), "6.12.48+deb13-amd64\n").unwrap();
        write(root.proc("sys/kernel/arch"), "x86_64\n").unwrap();
        let stat = |boot: u32| write(root.proc("stat"), format!("cpu 1 2 3 4\nbtime {boot}\n")).unwrap();
        stat(1_767_225_600);
        write(
            root.path("etc/os-release"),
            "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n",
        )
        .unwrap();
        write(root.sys("class/dmi/id/product_name"), "ThinkCentre\n").unwrap();
        let mut collector = make(&root, &Settings::default());
        let mut collect = || collector.collect(Moment::default()).remove(0).facets.remove(0);
        let facet = collect();
        for (name, value) in [
            ("name", "Debian GNU/Linux 13 (trixie)"),
            ("id", "debian"),
            ("version", "13"),
            ("kernel", "6.12.48+deb13-amd64"),
            ("architecture", "x86_64"),
            ("virtualisation", "none"),
            ("product", "ThinkCentre"),
            ("boot_time", "2026-01-01T00:00:00Z"),
            ("reboot_required", "no"),
        ] {
            assert_eq!(attribute(&facet, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(attribute(&facet, "vendor"), None);
        // A second of jitter is no new boot; a corrected clock is.
        write(root.path("run/reboot-required"), "").unwrap();
        stat(1_767_225_601);
        let facet = collect();
        assert_eq!(attribute(&facet, "boot_time").unwrap(), "2026-01-01T00:00:00Z");
        assert_eq!(attribute(&facet, "reboot_required").unwrap(), "yes");
        stat(1_767_225_660);
        assert_eq!(attribute(&collect(), "boot_time").unwrap(), "2026-01-01T00:01:00Z");
    }

    #[test]
    fn a_host_that_says_little() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        create_dir_all(root.proc("sys/kernel")).unwrap();
        let mut collector = make(&root, &Settings::default());
        assert!(matches!(collector.collect(Moment::default())[0].outcome, tomte_model::Outcome::Unavailable { .. }));
        write(root.proc("sys/kernel/osrelease"), "6.1\n").unwrap();
        let facet = collector.collect(Moment::default()).remove(0).facets.remove(0);
        assert_eq!(attribute(&facet, "kernel").unwrap(), "6.1");
        assert_eq!((attribute(&facet, "name"), attribute(&facet, "reboot_required")), (None, None));
    }

    #[test]
    fn quotes_as_in_a_shell() {
        let text = "NAME=Plain\nPRETTY_NAME=''\nID='arch'\nVERSION_ID=\"a \\\"b\\\" \\$c\"\n";
        let release = parse_release(text);
        assert_eq!((release.name.as_str(), release.id.as_str()), ("Plain", "arch"));
        assert_eq!(release.version, "a \"b\" $c");
        assert_eq!(unquote("\""), "\"");
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String, value in "(NAME|ID)=[\"'\\\\a]{0,6}\n") {
            let _ = (parse_release(&text), parse_release(&value), parse_boot_time(&text));
        }
    }
}
