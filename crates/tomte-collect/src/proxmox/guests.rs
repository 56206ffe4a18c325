//! Guests: what they do now (`runtime`) and what they are set up for (`detail`).

use std::collections::HashMap;

use tomte_model::report::Table;
use tomte_model::{Facet, Moment, Name, Value};

use super::get::GuestKind;
use super::wire::{GuestConfig, Interface, Row};
use crate::counter::Counter;

/// The counters of one guest.
#[derive(Debug, Default)]
struct Meter {
    read: Counter,
    write: Counter,
    receive: Counter,
    transmit: Counter,
}

/// The counters of all guests, by number.
#[derive(Debug, Default)]
pub(super) struct Meters(HashMap<u32, Meter>);

impl Meters {
    /// Forgets those that are gone.
    pub(super) fn keep(&mut self, there: impl Fn(u32) -> bool) {
        self.0.retain(|vmid, _| there(*vmid));
    }

    /// What a guest does now. `own` is its row of the node's own list, which
    /// tells of pressure, where that was asked for.
    pub(super) fn runtime(&mut self, row: &Row, own: Option<&Row>, now: Moment) -> Option<Facet> {
        let vmid = vmid(row)?;
        let kind = kind(row)?;
        let running = row.status.as_str() == "running";
        let mut facet = Facet::owner("guest", vmid.to_string(), "runtime");
        facet.text("type", kind.as_str());
        facet.text("name", row.name.as_str());
        facet.text("state", row.status.as_str());
        facet.text("node", row.node.as_str());
        facet.flag("template", row.template.flag());
        facet.text("lock", row.lock.as_str());
        facet.read("running", f64::from(u8::from(running)));
        facet.read("cores", row.maxcpu.0);
        facet.read("memory_limit_bytes", row.maxmem.0);
        facet.read("disk_total_bytes", row.maxdisk.0.filter(|size| *size > 0.0));
        let meter = self.0.entry(vmid).or_default();
        let counted = |value: super::wire::Num| value.count().filter(|_| running);
        let rates = [
            ("read_bytes_per_second", meter.read.rate(now, counted(row.diskread))),
            ("write_bytes_per_second", meter.write.rate(now, counted(row.diskwrite))),
            ("receive_bytes_per_second", meter.receive.rate(now, counted(row.netin))),
            ("transmit_bytes_per_second", meter.transmit.rate(now, counted(row.netout))),
        ];
        if !running {
            return Some(facet);
        }
        for (field, rate) in rates {
            facet.read(field, rate);
        }
        facet.read("uptime_seconds", row.uptime.0);
        facet.read("cpu_ratio", row.cpu.0.zip(row.maxcpu.0).map(|(part, cores)| part * cores));
        facet.read("memory_bytes", row.mem.0);
        facet.read("memory_host_bytes", row.memhost.0.filter(|bytes| *bytes > 0.0));
        if kind == GuestKind::Lxc {
            // Of a machine, what the host has given is told where the guest
            // does not help: it says nothing of how full its memory is.
            let part = |used: Option<f64>, all: Option<f64>| {
                used.zip(all.filter(|all| *all > 0.0)).map(|(used, all)| (used / all).min(1.0))
            };
            facet.read("memory_used_ratio", part(row.mem.0, row.maxmem.0));
            facet.read("disk_used_bytes", row.disk.0);
            facet.read("disk_used_ratio", part(row.disk.0, row.maxdisk.0));
        }
        if let Some(own) = own {
            // Per cent of the last ten seconds, as the kernel tells.
            for (field, value) in [
                ("pressure_cpu_some_ratio", own.pressurecpusome),
                ("pressure_cpu_full_ratio", own.pressurecpufull),
                ("pressure_memory_some_ratio", own.pressurememorysome),
                ("pressure_memory_full_ratio", own.pressurememoryfull),
                ("pressure_io_some_ratio", own.pressureiosome),
                ("pressure_io_full_ratio", own.pressureiofull),
            ] {
                facet.read(field, value.0.map(|percent| percent / 100.0));
            }
        }
        facet.readings.retain(|(_, value)| *value >= 0.0);
        Some(facet)
    }
}

/// A guest's number; those below 100 are Proxmox's own.
pub(super) fn vmid(row: &Row) -> Option<u32> {
    row.vmid.as_str().parse::<u32>().ok().filter(|vmid| *vmid >= 100)
}

/// A guest's type.
pub(super) fn kind(row: &Row) -> Option<GuestKind> {
    match row.r#type.as_str() {
        "qemu" => Some(GuestKind::Qemu),
        "lxc" => Some(GuestKind::Lxc),
        _ => None,
    }
}

/// Tags stand between semicolons; older versions took commas and blanks too.
pub(super) fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', ',', ' ']).map(str::trim).filter(|tag| !tag.is_empty())
}

/// What is asked of the network within a guest.
pub(super) enum Network {
    /// Nobody in it can be asked.
    NotAsked,
    /// It was asked in vain.
    Failed(String),
    /// It told.
    Told(Vec<Interface>),
}

/// Whether a guest agent is expected: `1`, `enabled=1,…`.
pub(super) fn expects_agent(config: &GuestConfig) -> bool {
    let first = config.get("agent").split(',').next().unwrap_or_default();
    matches!(first.strip_prefix("enabled=").unwrap_or(first), "1" | "yes" | "on" | "true")
}

/// What a guest is set up for.
pub(super) fn detail(
    row: &Row,
    config: &GuestConfig,
    network: Network,
    archived_tags: &[String],
    backup_job: Option<bool>,
) -> Option<Facet> {
    let mut facet = Facet::extra("guest", vmid(row)?.to_string(), "detail");
    let all: Vec<&str> = tags(row.tags.as_str()).chain(tags(config.get("tags"))).collect();
    let mut unique: Vec<&str> = Vec::new();
    for tag in all {
        if !unique.contains(&tag) {
            unique.push(tag);
        }
    }
    let archived = unique.iter().any(|tag| archived_tags.iter().any(|archived| archived == tag));
    let on_boot = config.get("onboot") == "1";
    let template = row.template.flag() || config.get("template") == "1";
    let ha_state = row.hastate.as_str();
    facet.text("tags", unique.join(", "));
    facet.text("os_type", config.get("ostype"));
    facet.text("description", first_line(config.get("description")));
    facet.flag("on_boot", on_boot);
    facet.flag("archived", archived);
    if kind(row) == Some(GuestKind::Qemu) {
        facet.flag("agent", expects_agent(config));
    }
    if let Some(taken) = backup_job {
        facet.flag("backup_job", taken);
    }
    facet.text("ha_state", ha_state);
    facet.text("pool", row.pool.as_str());
    facet.text("disks", disks(config).join(", "));
    const MIB: f64 = 1024.0 * 1024.0;
    let mebibytes = |key: &str| config.get(key).parse::<f64>().ok().filter(|size| *size > 0.0).map(|size| size * MIB);
    facet.read("memory_minimum_bytes", mebibytes("balloon"));
    facet.read("swap_limit_bytes", mebibytes("swap"));
    if !template && !archived {
        let ought_to = match ha_state {
            "" | "ignored" => on_boot,
            state => matches!(state, "started" | "enabled"),
        };
        // While it is backed up, moved or rolled back it may stand still.
        let busy = !row.lock.as_str().is_empty();
        let down = ought_to && !busy && row.status.as_str() == "stopped";
        facet.read("down", f64::from(u8::from(down)));
    }
    let configured: Vec<_> = config.numbered("net").map(|(key, value)| Nic::parse(key, value)).collect();
    let (interfaces, error) = match network {
        Network::NotAsked => (Vec::new(), None),
        Network::Failed(error) => (Vec::new(), Some(error)),
        Network::Told(told) => (told, None),
    };
    facet.text("address_error", error.unwrap_or_default());
    let rows = merge(&configured, &interfaces);
    let addresses: Vec<String> = rows.iter().flat_map(|row| row.addresses.iter().cloned()).take(16).collect();
    facet.text("addresses", addresses.join(", "));
    if !rows.is_empty() {
        facet.tables.push(table(&rows));
    }
    Some(facet)
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().chars().take(200).collect()
}

/// A network card as it is configured.
#[derive(Debug, Clone, Default, PartialEq)]
struct Nic {
    name: String,
    mac: String,
    bridge: String,
    addresses: Vec<String>,
}

impl Nic {
    /// `virtio=BC:24:…,bridge=vmbr0` of a machine,
    /// `name=eth0,bridge=vmbr0,hwaddr=BC:24:…,ip=192.0.2.7/24` of a container.
    fn parse(key: &str, value: &str) -> Self {
        let mut nic = Self { name: key.to_owned(), ..Self::default() };
        for (key, value) in value.split(',').filter_map(|part| part.split_once('=')) {
            match key {
                "name" => nic.name = value.to_owned(),
                "bridge" => nic.bridge = value.to_owned(),
                "hwaddr" => nic.mac = value.to_lowercase(),
                "ip" | "ip6" if !matches!(value, "dhcp" | "manual" | "auto" | "") => {
                    nic.addresses.push(value.split('/').next().unwrap_or(value).to_owned());
                }
                _ if value.len() == 17 && value.matches(':').count() == 5 => nic.mac = value.to_lowercase(),
                _ => {}
            }
        }
        nic
    }
}

/// What was told of the network, with the bridges from the configuration; the
/// configuration alone, where nothing was told.
fn merge(configured: &[Nic], told: &[Interface]) -> Vec<Nic> {
    if told.is_empty() {
        return configured.to_vec();
    }
    let outside = |address: &str| {
        let address = address.split('/').next().unwrap_or_default();
        let inside =
            address.is_empty() || address.starts_with("127.") || address == "::1" || address.starts_with("fe80:");
        (!inside).then(|| address.to_owned())
    };
    let nic = |interface: &Interface| {
        let mac = interface.mac.as_str().to_lowercase();
        let known = configured.iter().find(|nic| !mac.is_empty() && nic.mac == mac);
        let plain = [interface.inet.as_str(), interface.inet6.as_str()];
        let listed = interface.addresses.0.iter().map(|address| address.address.as_str());
        Nic {
            name: interface.name.as_str().to_owned(),
            bridge: known.map(|nic| nic.bridge.clone()).unwrap_or_default(),
            addresses: plain.into_iter().chain(listed).filter_map(outside).collect(),
            mac,
        }
    };
    told.iter().filter(|interface| interface.name.as_str() != "lo").take(32).map(nic).collect()
}

fn table(rows: &[Nic]) -> Table {
    let text = |text: &str| (!text.is_empty()).then(|| Value::Text(text.to_owned()));
    let row = |nic: &Nic| vec![text(&nic.name), text(&nic.mac), text(&nic.addresses.join(", ")), text(&nic.bridge)];
    Table {
        name: "interfaces".into(),
        columns: ["name", "mac", "addresses", "bridge"].map(Name::from).to_vec(),
        rows: rows.iter().map(row).collect(),
    }
}

/// The disks of a guest: `local-zfs:vm-101-disk-0 (8G)`; no discs that are put
/// in, nothing that is unused.
fn disks(config: &GuestConfig) -> Vec<String> {
    let buses = ["ide", "sata", "scsi", "virtio", "mp"];
    let numbered = buses.iter().flat_map(|bus| config.numbered(bus));
    let root = std::iter::once(("rootfs", config.get("rootfs"))).filter(|(_, value)| !value.is_empty());
    root.chain(numbered)
        .filter(|(_, value)| !value.contains("media=cdrom"))
        .filter_map(|(_, value)| {
            let (volume, options) = value.split_once(',').unwrap_or((value, ""));
            let size = options.split(',').find_map(|option| option.strip_prefix("size="));
            volume.contains(':').then(|| match size {
                Some(size) => format!("{volume} ({size})"),
                None => volume.to_owned(),
            })
        })
        .take(32)
        .collect()
}
