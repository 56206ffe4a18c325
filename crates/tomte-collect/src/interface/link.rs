//! What /sys/class/net tells of an interface: its hardware, its link.

use tomte_model::Facet;

use crate::reader::{FileReader, read_number, read_trimmed};
use crate::root::Root;

/// What an interface is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// Hardware with a socket.
    Wired,
    /// Hardware with an aerial.
    Wireless,
    /// Made by the kernel or a program.
    #[default]
    Virtual,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Wired => "wired",
            Self::Wireless => "wireless",
            Self::Virtual => "virtual",
        }
    }
}

/// What an interface is made of; one that nothing is known of is virtual.
pub(super) fn kind(root: &Root, name: &str) -> Kind {
    // A name from outside must not lead elsewhere; the kernel allows no slash.
    if name.starts_with('.') || name.contains('/') {
        return Kind::Virtual;
    }
    let directory = root.sys("class/net").join(name);
    if !directory.join("device").exists() {
        Kind::Virtual
    } else if directory.join("wireless").exists() || directory.join("phy80211").exists() {
        Kind::Wireless
    } else {
        Kind::Wired
    }
}

/// Whether the machine is carried about, by its kind of case: see the System
/// Management BIOS specification, 7.4.1.
pub(super) fn is_portable(root: &Root) -> bool {
    matches!(read_number(&root.sys("class/dmi/id/chassis_type")), Ok(8..=11 | 14 | 30..=32))
}

/// `IFF_UP`: somebody has switched it on.
const UP: u64 = 1;

/// One interface that is shown.
pub(super) struct Link {
    state: FileReader,
    kind: Kind,
    /// Whether a missing link would be a loss.
    ought_to_stand: bool,
    mac: String,
    duplex: String,
    mtu: Option<f64>,
    /// Bytes per second each way.
    speed: Option<f64>,
    pub(super) addresses: String,
    /// The router to the outside, empty where none is needed; `None` when the
    /// outside is not reached this way.
    pub(super) gateway: Option<String>,
}

impl Link {
    /// One that nothing is known of yet.
    pub(super) fn new(root: &Root, name: &str) -> Self {
        Self {
            state: FileReader::new(root.sys("class/net").join(name).join("operstate")),
            kind: Kind::Virtual,
            ought_to_stand: false,
            mac: String::new(),
            duplex: String::new(),
            mtu: None,
            speed: None,
            addresses: String::new(),
            gateway: None,
        }
    }

    /// Looks at what changes seldom.
    pub(super) fn look(&mut self, root: &Root, name: &str, kind: Kind, portable: bool) {
        let directory = root.sys("class/net").join(name);
        let text = |file: &str| read_trimmed(&directory.join(file)).unwrap_or_default();
        let number = |file: &str| read_number(&directory.join(file)).ok().filter(|&number| number > 0);
        self.kind = kind;
        // Loopback and tunnels have none, or zeros.
        self.mac = text("address");
        if self.mac.bytes().all(|byte| matches!(byte, b'0' | b':' | b'.')) {
            self.mac.clear();
        }
        self.mtu = number("mtu").map(|mtu| mtu as f64);
        // Asked of the driver; -1 and the like where there is no link.
        let has_speed = kind != Kind::Virtual;
        self.speed =
            number("speed").filter(|&megabits| has_speed && megabits < 10_000_000).map(|n| n as f64 * 125_000.0);
        self.duplex = Some(text("duplex")).filter(|duplex| has_speed && duplex != "unknown").unwrap_or_default();
        let up = flags(&text("flags")).is_some_and(|flags| flags & UP != 0);
        // Both count within this boot; older kernels tell neither.
        let had_a_link = number("carrier_up_count").is_some();
        self.ought_to_stand = kind == Kind::Wired && !portable && up && had_a_link;
    }

    /// Reads the state of the link, and writes all that is known.
    pub(super) fn write(&mut self, facet: &mut Facet) {
        let state = self.state.read().map(|state| String::from_utf8_lossy(state).trim().to_owned()).unwrap_or_default();
        if self.kind == Kind::Wired && !state.is_empty() {
            let lost = self.ought_to_stand && matches!(state.as_str(), "down" | "lowerlayerdown");
            facet.read("link_lost", f64::from(u8::from(lost)));
        }
        facet.read("speed_bytes_per_second", self.speed);
        facet.read("mtu", self.mtu);
        facet.text("type", self.kind.as_str());
        facet.text("state", state);
        facet.text("mac", self.mac.clone());
        facet.text("duplex", self.duplex.clone());
        facet.text("addresses", self.addresses.clone());
        facet.text("gateway", self.gateway.clone().unwrap_or_default());
        facet.flag("default_route", self.gateway.is_some());
    }
}

/// `0x1003`.
fn flags(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}
