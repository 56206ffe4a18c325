//! What a person may set about the collectors. The agent's configuration
//! embeds these types; every key has a default, and unknown keys are errors.

mod own;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
pub use tomte_model::BadGlob;
use tomte_model::Glob;

use crate::privileged::HELPER_SOCKET;
use crate::{BackupSettings, ProxmoxSettings};
pub use own::{
    CheckKind, CheckSettings, Place, ProbeSettings, ProbeValue, TextfileSettings, checks as read_checks,
    probes as read_probes,
};

/// Settings of all collectors, one section each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `[cpu]`
    pub cpu: CpuSettings,
    /// `[tmpfs]`
    pub tmpfs: TmpfsSettings,
    /// `[filesystem]`
    pub filesystem: FilesystemSettings,
    /// `[disk]`
    pub disk: DiskSettings,
    /// `[interface]`
    pub interface: InterfaceSettings,
    /// `[process]`
    pub process: ProcessSettings,
    /// `[service]`
    pub service: ServiceSettings,
    /// `[container]`
    pub container: ContainerSettings,
    /// `[smart]`
    pub smart: SmartSettings,
    /// `[zfs]`
    pub zfs: ZfsSettings,
    /// `[helper]`
    pub helper: HelperSettings,
    /// `[proxmox]`
    pub proxmox: ProxmoxSettings,
    /// `[backup]`
    pub backup: BackupSettings,
    /// `[peer]`
    pub peer: PeerSettings,
    /// `[[check]]`
    #[serde(deserialize_with = "own::checks")]
    pub check: Vec<CheckSettings>,
    /// `[[probe]]`
    #[serde(deserialize_with = "own::probes")]
    pub probe: Vec<ProbeSettings>,
    /// `[textfile]`
    pub textfile: TextfileSettings,
}

/// Settings of the collectors `cpu` and `cpu_frequency`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpuSettings {
    /// Whether each core is reported too, not only all together.
    pub cores: bool,
}

impl Default for CpuSettings {
    fn default() -> Self {
        Self { cores: true }
    }
}

/// Settings of the collector `tmpfs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TmpfsSettings {
    /// Which mount points.
    pub mounts: Filter,
}

impl Default for TmpfsSettings {
    /// Without those that systemd makes for each service and engines for each
    /// container: they are many and never fill.
    fn default() -> Self {
        let exclude = ["/run/credentials/*", "/var/lib/docker/*", "/var/lib/containers/*", "/run/containerd/*"];
        Self { mounts: Filter::new([], exclude).expect("the default globs are globs") }
    }
}

/// Settings of the collector `filesystem`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesystemSettings {
    /// Which mount points. A file system that is mounted in several places is
    /// named by one that an `include` glob names, if there is any.
    pub mounts: Filter,
    /// Which file system types. What is left out otherwise (`overlay`,
    /// `squashfs`, …) counts when an `include` glob names it.
    pub types: Filter,
    /// Whether network mounts are looked at.
    pub network: bool,
}

impl Default for FilesystemSettings {
    /// Without what engines mount for each container.
    fn default() -> Self {
        let exclude = [
            "/var/lib/docker/*",
            "/var/lib/containers/*",
            "/var/lib/containerd/*",
            "/var/lib/kubelet/*",
            "/run/docker/*",
        ];
        let mounts = Filter::new([], exclude).expect("the default globs are globs");
        Self { mounts, types: Filter::default(), network: true }
    }
}

/// Settings of the collector `disk`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskSettings {
    /// Which devices, by their kernel names. What is not hardware (`dm-*`,
    /// `md*`, `loop*`) counts when an `include` glob names it.
    pub devices: Filter,
}

/// Settings of the collector `interface`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InterfaceSettings {
    /// Which interfaces, by name. A virtual one that an `include` glob names is
    /// reported by itself.
    pub names: Filter,
    /// Whether each virtual interface (of containers and guests) is reported,
    /// not only their sum.
    pub each_virtual: bool,
    /// Interfaces that have carried fewer bytes than this since they appeared,
    /// both ways together, are left out, unless they lead to the outside.
    pub minimum_bytes: u64,
}

/// Settings of the collector `process`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessSettings {
    /// How many processes each table lists, at most 100.
    pub top: u8,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self { top: 10 }
    }
}

/// Settings of the collectors `systemd` and `service_disk`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// Which services, by name, with or without `.service`. What is named in
    /// `include` is always shown; a plain name also when systemd does not know
    /// it.
    pub names: Filter,
    /// Which timers, by name without `.timer`.
    pub timers: Filter,
    /// Directories that belong to a service and that systemd does not know as
    /// its own, by the service's name without `.service`.
    pub data: BTreeMap<String, Vec<PathBuf>>,
}

/// Settings of the collectors `container` and `container_disk`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerSettings {
    /// Which containers, by the name they are shown by or their own.
    pub names: Filter,
    /// The engines' sockets. That of a Podman that the agent's own user runs
    /// is found without being named.
    pub sockets: Vec<PathBuf>,
}

impl Default for ContainerSettings {
    fn default() -> Self {
        let sockets = ["/run/docker.sock", "/run/podman/podman.sock"];
        Self { names: Filter::default(), sockets: sockets.map(PathBuf::from).to_vec() }
    }
}

/// Settings of the collector `smart`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmartSettings {
    /// Which disks are asked, by the kernel's names.
    pub devices: Filter,
}

/// Settings of the collector `zfs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZfsSettings {
    /// Which pools.
    pub pools: Filter,
    /// Which datasets, by their full names.
    pub datasets: Filter,
    /// Whether snapshots are counted.
    pub snapshots: bool,
}

impl Default for ZfsSettings {
    fn default() -> Self {
        Self { pools: Filter::default(), datasets: Filter::default(), snapshots: true }
    }
}

/// Where the helper is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HelperSettings {
    /// The socket it listens on.
    pub socket: PathBuf,
}

impl Default for HelperSettings {
    fn default() -> Self {
        Self { socket: HELPER_SOCKET.into() }
    }
}

/// Settings of the collector `peer`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeerSettings {
    /// What peers of WireGuard are called, by their public keys.
    pub names: BTreeMap<String, String>,
}

/// Which names count: those that an `include` glob matches (all, where there
/// is none) and no `exclude` glob does. `*` also crosses `/`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "FilterText", into = "FilterText")]
pub struct Filter {
    text: FilterText,
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

/// A filter as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FilterText {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Filter {
    /// A filter from its globs.
    ///
    /// # Errors
    /// When one of them is not a glob.
    pub fn new<S: Into<String>>(
        include: impl IntoIterator<Item = S>,
        exclude: impl IntoIterator<Item = S>,
    ) -> Result<Self, BadGlob> {
        let text = |globs: &mut dyn Iterator<Item = S>| globs.map(Into::into).collect();
        FilterText { include: text(&mut include.into_iter()), exclude: text(&mut exclude.into_iter()) }.try_into()
    }

    /// Whether that name counts.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        (self.include.is_empty() || any(&self.include, name)) && !any(&self.exclude, name)
    }

    /// The names among the `include` globs that are no patterns.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.text.include.iter().map(String::as_str).filter(|name| Glob::is_plain(name))
    }

    /// Whether an `include` glob names it, so that it was asked for by a person.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        any(&self.include, name) && !any(&self.exclude, name)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TryFrom<FilterText> for Filter {
    type Error = BadGlob;
    fn try_from(text: FilterText) -> Result<Self, BadGlob> {
        Ok(Self { include: compile(&text.include)?, exclude: compile(&text.exclude)?, text })
    }
}

impl From<Filter> for FilterText {
    fn from(filter: Filter) -> Self {
        filter.text
    }
}

fn compile(globs: &[String]) -> Result<Vec<Glob>, BadGlob> {
    globs.iter().map(|glob| Glob::new(glob)).collect()
}

fn any(globs: &[Glob], name: &str) -> bool {
    globs.iter().any(|glob| glob.matches(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_included_unless_excluded() {
        let all = Filter::default();
        assert!(all.matches("/") && !all.includes("/"));
        let some = Filter::new(["/mnt/*"], ["/mnt/*/tmp"]).unwrap();
        assert!(some.matches("/mnt/a/b") && some.includes("/mnt/a/b"));
        assert!(!some.matches("/mnt/a/tmp") && !some.matches("/srv"));
        assert!(!Filter::new([], ["snap*"]).unwrap().matches("snapd"));
    }

    #[test]
    fn settings_travel_as_toml() {
        let text = "[filesystem]\nmounts = { exclude = [\"/snap/*\"] }\n[process]\ntop = 5\n";
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(settings.process.top, 5);
        assert!(!settings.filesystem.mounts.matches("/snap/x"));
        let again: Settings = toml::from_str(&toml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(again, settings);
        assert_ne!(again, Settings::default());
    }

    #[test]
    fn strange_keys_and_globs_are_refused() {
        assert!(toml::from_str::<Settings>("[process]\ntopp = 5\n").is_err());
        let error = toml::from_str::<Settings>("[disk]\ndevices = { include = [\"[\"] }\n").unwrap_err();
        assert!(error.to_string().contains("is not a glob"), "{error}");
    }
}
