//! Peers of this host in WireGuard and Tailscale networks.
//!
//! WireGuard tells of its peers to root alone, so the helper asks: a few calls
//! of wg(8) that show nothing secret. Tailscale tells everybody.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;
use tomte_model::{Facet, Moment, Outcome, Scope, Timestamp};

use crate::Collector;
use crate::counter::Counter;
use crate::error::ReadError;
use crate::list::names;
use crate::privileged::{Answer, Refusal, Request};
use crate::reader::read_trimmed;
use crate::root::Root;
use crate::settings::Settings;
use crate::tool::{ToolCall, ToolError};

/// The names of the scopes.
pub(crate) const SCOPES: &[&str] = &["peer:wireguard", "peer:tailscale"];

/// A tool has this long.
const WITHIN: Duration = Duration::from_secs(8);
/// WireGuard exchanges keys every two minutes while anything is sent.
const ONLINE: f64 = 180.0;
/// More peers are not reported.
const MOST: usize = 1_000;
/// What wg(8) is asked, each a list by interface and public key.
const LISTS: [&str; 5] = ["public-key", "endpoints", "allowed-ips", "latest-handshakes", "transfer"];

/// The collector `peer`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Peers { root: root.clone(), names: settings.peer.names.clone(), counters: HashMap::new() })
}

struct Peers {
    root: Root,
    names: BTreeMap<String, String>,
    /// Received and sent, by the resource's name.
    counters: HashMap<String, [Counter; 2]>,
}

impl Collector for Peers {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let wireguard = self.wireguard(now).map(|facets| Scope::complete(SCOPES[0], facets));
        let tailscale = self.tailscale(now).map(|facets| Scope::complete(SCOPES[1], facets));
        let scope = |name: &'static str, scope: Result<Scope, Outcome>| {
            scope.unwrap_or_else(|outcome| Scope::failed(name, outcome))
        };
        vec![scope(SCOPES[0], wireguard), scope(SCOPES[1], tailscale)]
    }
}

impl Peers {
    fn wireguard(&mut self, now: Moment) -> Result<Vec<Facet>, Outcome> {
        // Whether there is any can be seen without root.
        let interfaces = wireguard_interfaces(&self.root).map_err(|error| error.outcome())?;
        if interfaces.is_empty() {
            return Err(Outcome::Unavailable { error: "this host has no WireGuard interface".to_owned() });
        }
        let answer = self.root.ask(&Request::WireguardPeers).map_err(|refusal| refusal.outcome())?;
        let text = String::from_utf8_lossy(&answer.body);
        // An interface has a key of its own, so that it is told of even when
        // it has no peers; unless whoever asked sees another network.
        if !interfaces.iter().any(|name| text.lines().any(|line| line.split('\t').next() == Some(name.as_str()))) {
            return Err(Outcome::Denied {
                error: "the helper does not see this host's WireGuard interfaces".to_owned(),
                cure: "Let the helper run in this host's network and with CAP_NET_ADMIN, as the unit \
                       tomte-agent-helper.service that comes with the agent has it: systemctl cat it for an older \
                       copy, or for PrivateNetwork=yes."
                    .to_owned(),
            });
        }
        let peers = wireguard(&text);
        let facet = |(interface, key, peer): (String, String, WireguardPeer)| {
            let name = self.names.get(&key).cloned().unwrap_or_else(|| key.chars().take(8).collect());
            let name = format!("{interface}/{name}");
            let mut facet = Facet::owner("peer", &*name, "main");
            facet.text("type", "wireguard");
            facet.text("endpoint", peer.endpoint);
            facet.text("addresses", peer.addresses);
            let heard = peer.handshake.filter(|seconds| *seconds > 0);
            let age = heard.map(|seconds| (now.wall.millis() as f64 / 1e3 - seconds as f64).max(0.0));
            facet.read("online", f64::from(u8::from(age.is_some_and(|age| age < ONLINE))));
            facet.read("handshake_age_seconds", age);
            let moment = heard.and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1000));
            facet.text("last_seen", moment.map_or_else(String::new, |at| Timestamp::from_millis(at).to_string()));
            self.moved(&mut facet, &name, now, peer.received, peer.sent);
            facet
        };
        let mut facet = facet;
        Ok(peers.into_iter().take(MOST).map(&mut facet).collect())
    }

    fn moved(&mut self, facet: &mut Facet, name: &str, now: Moment, received: Option<u64>, sent: Option<u64>) {
        let [receive, transmit] = self.counters.entry(name.to_owned()).or_default();
        facet.read("receive_bytes_per_second", receive.rate(now, received));
        facet.read("transmit_bytes_per_second", transmit.rate(now, sent));
        // Peers are few; those that were removed are forgotten all at once.
        if self.counters.len() > 4 * MOST {
            self.counters.clear();
        }
    }

    fn tailscale(&mut self, now: Moment) -> Result<Vec<Facet>, Outcome> {
        let call = ToolCall::new("tailscale").args(["status", "--json"]).limit(WITHIN);
        let ran = self.root.tools().run(&call).map_err(|error| error.outcome())?;
        if !ran.success() {
            return Err(Outcome::Failed { error: format!("tailscale: {}", ran.complaint()) });
        }
        let peers = tailscale(&ran.stdout).map_err(|error| Outcome::Failed { error })?;
        let mut facets: Vec<Facet> = Vec::new();
        for peer in peers.into_iter().take(MOST) {
            let name = format!("tailscale0/{}", peer.name());
            let mut facet = Facet::owner("peer", &*name, "main");
            facet.text("type", "tailscale");
            facet.text("endpoint", &peer.cur_addr);
            if peer.cur_addr.is_empty() && peer.online {
                facet.text("relay", &peer.relay);
            }
            facet.text("addresses", peer.tailscale_ips.unwrap_or_default().join(" "));
            facet.text("os", &peer.os);
            let known = |time: &str| time.parse::<Timestamp>().ok().filter(|time| time.millis() > 0);
            facet.text("last_seen", known(&peer.last_seen).map_or_else(String::new, |at| at.to_string()));
            facet.read("online", f64::from(u8::from(peer.online)));
            let age = known(&peer.last_handshake).map(|at| now.wall.since(at).as_secs() as f64);
            facet.read("handshake_age_seconds", age);
            let left = known(&peer.key_expiry).map(|at| at.since(now.wall).as_secs() as f64);
            facet.read("key_remaining_seconds", left);
            self.moved(&mut facet, &name, now, Some(peer.rx_bytes), Some(peer.tx_bytes));
            if !facets.iter().any(|other| other.resource == facet.resource) {
                facets.push(facet);
            }
        }
        Ok(facets)
    }
}

/// The interfaces of WireGuard, as the kernel names them.
fn wireguard_interfaces(root: &Root) -> Result<Vec<String>, ReadError> {
    let net = root.sys("class/net");
    let mut interfaces = names(&net)?;
    interfaces.retain(|name| {
        let about = read_trimmed(&net.join(name).join("uevent")).unwrap_or_default();
        about.lines().any(|line| line == "DEVTYPE=wireguard")
    });
    Ok(interfaces)
}

/// Asks wg(8), each list under its name: the helper's part.
///
/// # Errors
/// When this host has no wg, or it fails.
pub(crate) fn execute(root: &Root) -> Result<Answer, Refusal> {
    let mut body = Vec::new();
    for list in LISTS {
        let ran = root.tools().run(&ToolCall::new("wg").args(["show", "all", list]).limit(WITHIN).most(1 << 20));
        let ran = ran.map_err(|error| match error {
            ToolError::Missing { .. } => Refusal::Unavailable(error.to_string()),
            error => Refusal::Failed(error.outcome().error().unwrap_or_default().to_owned()),
        })?;
        if !ran.success() {
            return Err(Refusal::Failed(format!("wg: {}", ran.complaint())));
        }
        body.extend_from_slice(format!("# {list}\n").as_bytes());
        body.extend_from_slice(&ran.stdout);
        body.push(b'\n');
    }
    Ok(Answer { status: Some(0), body, complaint: String::new() })
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct WireguardPeer {
    endpoint: String,
    addresses: String,
    handshake: Option<u64>,
    received: Option<u64>,
    sent: Option<u64>,
}

/// Lines such as `wg0 KEY= 198.51.100.7:51820` below the name of each list.
fn wireguard(text: &str) -> Vec<(String, String, WireguardPeer)> {
    let mut peers: BTreeMap<(String, String), WireguardPeer> = BTreeMap::new();
    let mut list = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            list = name;
            continue;
        }
        let mut words = line.splitn(3, '\t');
        // The interfaces' own keys have two words.
        let (Some(interface), Some(key), Some(rest)) = (words.next(), words.next(), words.next()) else { continue };
        if peers.len() > 4 * MOST {
            break;
        }
        let peer = peers.entry((interface.to_owned(), key.to_owned())).or_default();
        let said = if rest == "(none)" { "" } else { rest };
        match list {
            "endpoints" => peer.endpoint = said.to_owned(),
            "allowed-ips" => peer.addresses = said.to_owned(),
            "latest-handshakes" => peer.handshake = said.parse().ok(),
            "transfer" => {
                let moved = said.split_once('\t');
                peer.received = moved.and_then(|(received, _)| received.parse().ok());
                peer.sent = moved.and_then(|(_, sent)| sent.parse().ok());
            }
            _ => {}
        }
    }
    peers.into_iter().map(|((interface, key), peer)| (interface, key, peer)).collect()
}

/// A peer in the answer of `tailscale status --json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TailscalePeer {
    host_name: String,
    #[serde(rename = "DNSName")]
    dns_name: String,
    #[serde(rename = "OS")]
    os: String,
    #[serde(rename = "TailscaleIPs")]
    tailscale_ips: Option<Vec<String>>,
    cur_addr: String,
    relay: String,
    rx_bytes: u64,
    tx_bytes: u64,
    last_seen: String,
    last_handshake: String,
    online: bool,
    key_expiry: String,
}

impl TailscalePeer {
    /// The first part of its name in the network, which is its alone.
    fn name(&self) -> &str {
        let first = self.dns_name.split('.').next().unwrap_or_default();
        if first.is_empty() { &self.host_name } else { first }
    }
}

fn tailscale(answer: &[u8]) -> Result<Vec<TailscalePeer>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Status {
        #[serde(default)]
        backend_state: String,
        #[serde(default)]
        peer: Option<BTreeMap<String, TailscalePeer>>,
    }
    let status: Status =
        serde_json::from_slice(answer).map_err(|error| format!("tailscale's answer is not understood: {error}"))?;
    if !matches!(status.backend_state.as_str(), "Running" | "") {
        return Err(format!("Tailscale is not connected: {}", status.backend_state));
    }
    Ok(status.peer.unwrap_or_default().into_values().collect())
}

/// Reads what wg and tailscale say: what a fuzzer is let loose on.
pub fn fuzz_peers(answer: &[u8]) {
    let _ = (wireguard(&String::from_utf8_lossy(answer)), tailscale(answer).is_ok());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    fn host() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("tools")).unwrap();
        std::fs::create_dir_all(dir.path().join("sys/class/net/wg0")).unwrap();
        std::fs::write(dir.path().join("sys/class/net/wg0/uevent"), "DEVTYPE=wireguard\nINTERFACE=wg0\n").unwrap();
        let tool = |name: &str, text: String| std::fs::write(dir.path().join("tools").join(name), text).unwrap();
        tool("wg show all public-key", "wg0\tBBBBBBBBown=\n".to_owned());
        tool("wg show all endpoints", format!("wg0\t{KEY}\t198.51.100.7:51820\nwg0\tAAAAAAAAother=\t(none)\n"));
        tool("wg show all allowed-ips", format!("wg0\t{KEY}\t10.8.0.2/32 fd00::2/128\nwg0\tAAAAAAAAother=\t(none)\n"));
        tool("wg show all latest-handshakes", format!("wg0\t{KEY}\t1767225540\nwg0\tAAAAAAAAother=\t0\n"));
        tool("wg show all transfer", format!("wg0\t{KEY}\t1000\t2000\nwg0\tAAAAAAAAother=\t0\t0\n"));
        tool(
            "tailscale status --json",
            r#"{"Version":"1.80.2","BackendState":"Running","Self":{"HostName":"me"},"Peer":{"nodekey:a":{
                "HostName":"NAS","DNSName":"nas.tail1234.ts.net.","OS":"linux","TailscaleIPs":["100.64.0.2"],
                "CurAddr":"","Relay":"fra","RxBytes":5,"TxBytes":6,"LastSeen":"0001-01-01T00:00:00Z",
                "LastHandshake":"2025-12-31T23:59:00Z","Online":true,"KeyExpiry":"2026-01-03T00:00:00Z"}}}"#
                .to_owned(),
        );
        let root = Root::new(dir.path());
        (dir, root)
    }

    #[test]
    fn peers_of_both_networks_are_told() {
        let (_dir, root) = host();
        let mut settings = Settings::default();
        settings.peer.names.insert(KEY.to_owned(), "phone".to_owned());
        let wall: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let scopes = make(&root, &settings).collect(Moment { wall, boot_millis: 1 });
        let [phone, other] = &scopes[0].facets[..] else { panic!("{scopes:?}") };
        let (phone, other) = if phone.resource.name == "wg0/phone" { (phone, other) } else { (other, phone) };
        assert_eq!((phone.reading("online"), phone.reading("handshake_age_seconds")), (Some(1.0), Some(60.0)));
        assert_eq!(phone.attribute("addresses").unwrap().to_string(), "10.8.0.2/32 fd00::2/128");
        assert_eq!((other.resource.name.as_str(), other.reading("online")), ("wg0/AAAAAAAA", Some(0.0)));
        assert!(other.reading("handshake_age_seconds").is_none() && other.attribute("endpoint").is_none());
        let nas = &scopes[1].facets[0];
        assert_eq!((nas.resource.name.as_str(), nas.reading("online")), ("tailscale0/nas", Some(1.0)));
        assert_eq!(nas.attribute("relay").unwrap().to_string(), "fra");
        assert_eq!(nas.reading("key_remaining_seconds"), Some(2.0 * 86_400.0));
    }

    #[test]
    fn a_helper_that_sees_another_network_is_no_host_without_peers() {
        let (dir, root) = host();
        for list in LISTS {
            std::fs::write(dir.path().join(format!("tools/wg show all {list}")), "").unwrap();
        }
        let scopes = make(&root, &Settings::default()).collect(Moment::default());
        assert!(matches!(&scopes[0].outcome, Outcome::Denied { cure, .. } if cure.contains("PrivateNetwork")));
    }

    #[test]
    fn a_host_with_neither_has_none_and_one_that_is_off_has_failed() {
        let dir = tempfile::tempdir().unwrap();
        let scopes = make(&Root::new(dir.path()), &Settings::default()).collect(Moment::default());
        assert!(scopes.iter().all(|scope| matches!(scope.outcome, Outcome::Unavailable { .. })), "{scopes:?}");
        assert!(tailscale(br#"{"BackendState":"NeedsLogin"}"#).unwrap_err().contains("NeedsLogin"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text in "(# (transfer|endpoints)\n)?((wg0|x)\t[a-z]{0,3}\t?[0-9]{0,25}\t?[0-9]{0,3}\n?){0,4}.*") {
            fuzz_peers(text.as_bytes());
        }
    }
}
