//! Virtual machines and system containers of this host, by their control
//! groups: LXC and its descendants, libvirt, systemd-nspawn, and Proxmox.
//!
//! Application containers are not here: see [`crate::container`]. A guest that
//! does not run has no control group and is not seen. On a node of Proxmox VE
//! its own guests, which are numbered, are left to what it tells of them.

use std::collections::HashMap;

use tomte_model::{Facet, Moment, Outcome, Scope};

use crate::Collector;
use crate::cgroup::{Group, GroupReader, Meter, Trees};
use crate::list::names;
use crate::root::Root;
use crate::settings::Settings;

/// More guests are not reported.
const MOST: usize = 1_000;

/// The collector `guest`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Guests {
        numbered: !root.path("etc/pve").is_dir(),
        trees: Trees::find(root),
        reader: GroupReader::default(),
        meters: HashMap::new(),
    })
}

struct Guests {
    /// Whether guests whose name is a number are looked at.
    numbered: bool,
    trees: Option<Trees>,
    reader: GroupReader,
    /// With whether it was seen in this run.
    meters: HashMap<String, (Meter, bool)>,
}

/// A guest and where its control group is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Guest {
    kind: &'static str,
    name: String,
    path: String,
}

impl Collector for Guests {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        match self.look(now) {
            Ok(facets) => vec![Scope::complete("guest", facets)],
            Err(outcome) => vec![Scope::failed("guest", outcome)],
        }
    }
}

impl Guests {
    fn look(&mut self, now: Moment) -> Result<Vec<Facet>, Outcome> {
        let none = || Outcome::Unavailable { error: "this host has no control groups".to_owned() };
        let trees = self.trees.as_ref().ok_or_else(none)?;
        let top = trees.listing().ok_or_else(none)?;
        let list = |folder: &str| names(&top.join(folder)).map_err(|error| error.outcome());
        let mut guests = Vec::new();
        for (folder, of) in PLACES {
            let found = list(folder)?.into_iter().filter_map(|entry| {
                let (kind, name) = of(&entry)?;
                if !self.numbered && name.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                let path = if folder.is_empty() { entry } else { format!("{folder}/{entry}") };
                Some(Guest { kind, name, path })
            });
            guests.extend(found.take(MOST));
        }
        let mut facets: Vec<Facet> = Vec::new();
        for guest in guests.into_iter().take(MOST) {
            let Some(group) = trees.group(&guest.path) else { continue };
            let is_group = match &group {
                Group::Two(path) => path.is_dir(),
                Group::One(paths) => paths.iter().flatten().any(|path| path.is_dir()),
            };
            if !is_group || facets.iter().any(|facet| facet.resource.name == guest.name) {
                continue;
            }
            let (meter, seen) = self.meters.entry(guest.path).or_default();
            *seen = true;
            let mut facet = Facet::owner("guest", &*guest.name, "runtime");
            facet.text("type", guest.kind);
            facet.text("name", &guest.name);
            facet.read("running", 1.0);
            meter.fill(&mut facet, now, &self.reader.read(&group));
            facets.push(facet);
        }
        self.meters.retain(|_, (_, seen)| std::mem::take(seen));
        Ok(facets)
    }
}

/// What a group of that name is, if it is a guest, and what that is called.
type Recognise = fn(&str) -> Option<(&'static str, String)>;

/// Where guests are, and how they are recognised there.
const PLACES: [(&str, Recognise); 4] = [
    // LXC 4 and later, Incus, LXD.
    ("", |entry| Some(("lxc", entry.strip_prefix("lxc.payload.")?.to_owned()))),
    // LXC before 4, and Proxmox, where the name is the vmid. What LXC keeps
    // there besides has a dot.
    ("lxc", |entry| (!entry.contains('.') && !entry.contains('_')).then(|| ("lxc", entry.to_owned()))),
    // Proxmox.
    ("qemu.slice", |entry| {
        let vmid = entry.strip_suffix(".scope").filter(|vmid| vmid.bytes().all(|byte| byte.is_ascii_digit()))?;
        (!vmid.is_empty()).then(|| ("qemu", vmid.to_owned()))
    }),
    ("machine.slice", machine),
];

/// What is registered with systemd-machined: `machine-qemu\x2d1\x2dweb.scope`
/// of libvirt, `machine-web.scope` and `systemd-nspawn@web.service` of nspawn.
fn machine(entry: &str) -> Option<(&'static str, String)> {
    if let Some(name) = entry.strip_prefix("systemd-nspawn@").and_then(|name| name.strip_suffix(".service")) {
        return Some(("nspawn", unescape(name)));
    }
    let name = unescape(entry.strip_prefix("machine-")?.strip_suffix(".scope")?);
    for (prefix, kind) in [("qemu-", "qemu"), ("lxc-", "lxc")] {
        // libvirt puts the number of the start between.
        let numbered = name.strip_prefix(prefix).and_then(|rest| rest.split_once('-'));
        if let Some((number, name)) = numbered
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Some((kind, name.to_owned()));
        }
    }
    Some(("nspawn", name))
}

/// Undoes systemd's `\x2d`: see systemd-escape(1).
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind.strip_prefix(b"x").and_then(|hex| str::from_utf8(hex.get(..2)?).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn guests_of_all_sorts_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let top = root.sys("fs/cgroup");
        let group = |path: &str, memory: &str| {
            std::fs::create_dir_all(top.join(path)).unwrap();
            std::fs::write(top.join(path).join("memory.current"), memory).unwrap();
        };
        group("lxc.payload.dns", "1000");
        group("lxc.monitor.dns", "1");
        group("lxc/101", "2000");
        group("qemu.slice/110.scope", "3000");
        group("machine.slice/machine-qemu\\x2d3\\x2dweb\\x2done.scope", "4000");
        group("machine.slice/systemd-nspawn@build.service", "5000");
        group("machine.slice/libpod-27b7140b1d93.scope", "6000");
        group("system.slice/nginx.service", "7000");
        std::fs::write(top.join("cgroup.controllers"), "memory").unwrap();
        std::fs::write(top.join("lxc/cgroup.procs"), "").unwrap();
        let scopes = make(&root, &Settings::default()).collect(Moment::default());
        let mut found: Vec<_> = scopes[0]
            .facets
            .iter()
            .map(|facet| {
                let memory = facet.reading("memory_bytes").unwrap();
                (facet.resource.name.as_str(), facet.attribute("type").unwrap().to_string(), memory)
            })
            .collect();
        found.sort_by(|a, b| a.2.total_cmp(&b.2));
        let expected = [
            ("dns", "lxc", 1000.0),
            ("101", "lxc", 2000.0),
            ("110", "qemu", 3000.0),
            ("web-one", "qemu", 4000.0),
            ("build", "nspawn", 5000.0),
        ];
        assert_eq!(found, expected.map(|(name, kind, memory)| (name, kind.to_owned(), memory)));
    }

    #[test]
    fn the_guests_of_proxmox_are_left_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for group in ["lxc/101", "qemu.slice/110.scope", "machine.slice/machine-build.scope"] {
            std::fs::create_dir_all(root.sys("fs/cgroup").join(group)).unwrap();
        }
        std::fs::write(root.sys("fs/cgroup/cgroup.controllers"), "").unwrap();
        std::fs::create_dir_all(root.path("etc/pve")).unwrap();
        let scopes = make(&root, &Settings::default()).collect(Moment::default());
        let names: Vec<_> = scopes[0].facets.iter().map(|facet| facet.resource.name.as_str()).collect();
        assert_eq!(names, ["build"]);
    }

    #[test]
    fn a_host_without_control_groups_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let scopes = make(&Root::new(dir.path()), &Settings::default()).collect(Moment::default());
        assert!(matches!(scopes[0].outcome, Outcome::Unavailable { .. }));
    }

    proptest! {
        #[test]
        fn any_name_is_safe(name in "(machine-|qemu|lxc.|\\\\x[0-9a-z]{0,3}|[0-9]|.){0,8}") {
            let _ = (machine(&name), unescape(&name));
            PLACES.iter().for_each(|(_, of)| drop(of(&name)));
        }
    }
}
