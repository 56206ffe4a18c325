//! Addresses and routes, from the files of /proc/net.
//!
//! For IPv4 the kernel has no file that says which interface an address
//! belongs to. So it is worked out: the address is of the interface whose
//! directly reached network holds it.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crate::root::Root;

/// A router of the whole internet has a million routes; the default route and
/// the networks of its own come early enough.
const MOST: u64 = 1 << 20;

/// A file of /proc/net: of the host's first process in a tree that stands for
/// a host, where our own network may be another.
pub(super) fn net(root: &Root, file: &str) -> PathBuf {
    let first = root.proc("1/net").join(file);
    if !root.is_system() && first.exists() { first } else { root.proc("net").join(file) }
}

/// The beginning of such a file; nothing where it cannot be read.
fn beginning(root: &Root, file: &str) -> String {
    let mut bytes = Vec::new();
    let read = File::open(net(root, file)).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    if read.is_err() {
        bytes.clear();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `RTF_UP`, `RTF_GATEWAY`, `RTF_REJECT` of linux/route.h.
const UP: u32 = 1;
const GATEWAY: u32 = 2;
const REJECT: u32 = 0x200;

/// The routes of this host.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Routes {
    /// By interface: the router to the outside, empty where none is needed.
    outside: HashMap<String, String>,
    /// The interface that IPv4 goes to the outside by.
    outside_ipv4: Option<String>,
    /// Networks that are reached directly: interface, network, mask.
    networks: Vec<(String, u32, u32)>,
}

impl Routes {
    pub(super) fn read(root: &Root) -> Self {
        Self::parse(&beginning(root, "route"), &beginning(root, "ipv6_route"))
    }

    /// The router that this interface reaches the outside by, empty where none
    /// is needed; `None` when another interface leads there.
    pub(super) fn outside(&self, interface: &str) -> Option<&str> {
        self.outside.get(interface).map(String::as_str)
    }

    /// Lines that make no sense are passed over, as is a last one that was cut.
    fn parse(ipv4: &str, ipv6: &str) -> Self {
        let mut routes = Self::default();
        let (mut ipv4_ways, mut ipv6_ways) = (Vec::new(), Vec::new());
        for route in ipv4.lines().skip(1).filter_map(parse_ipv4).filter(|r| r.flags & UP != 0 && r.flags & REJECT == 0)
        {
            if route.mask == 0 && route.network == 0 {
                let gateway = (route.flags & GATEWAY != 0).then(|| Ipv4Addr::from(route.gateway).to_string());
                ipv4_ways.push(Way {
                    metric: route.metric,
                    interface: route.interface,
                    gateway: gateway.unwrap_or_default(),
                });
            } else if route.flags & GATEWAY == 0 {
                routes.networks.push((route.interface, route.network, route.mask));
            }
        }
        ipv6_ways.extend(ipv6.lines().filter_map(parse_ipv6));
        // The first of equals, as the kernel takes it.
        if let Some(way) = ipv6_ways.into_iter().min_by_key(|way| way.metric) {
            routes.outside.insert(way.interface, way.gateway);
        }
        if let Some(way) = ipv4_ways.into_iter().min_by_key(|way| way.metric) {
            routes.outside_ipv4 = Some(way.interface.clone());
            routes.outside.insert(way.interface, way.gateway);
        }
        routes
    }

    /// The interface whose network holds that address, by the narrowest.
    fn holder(&self, address: Ipv4Addr) -> Option<&str> {
        let address = u32::from(address);
        let holding = self.networks.iter().filter(|(_, network, mask)| address & mask == *network);
        holding.max_by_key(|(_, _, mask)| mask.count_ones()).map(|(interface, ..)| interface.as_str())
    }
}

/// A way to the outside.
struct Way {
    /// The least is taken.
    metric: u32,
    interface: String,
    /// The router; empty where none is needed.
    gateway: String,
}

struct Ipv4Route {
    interface: String,
    network: u32,
    gateway: u32,
    flags: u32,
    metric: u32,
    mask: u32,
}

/// `eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0`; the addresses are as
/// they lie in memory.
fn parse_ipv4(line: &str) -> Option<Ipv4Route> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [interface, network, gateway, flags, _, _, metric, mask, ..] = words.as_slice() else { return None };
    let hex = |word: &str| u32::from_str_radix(word, 16).ok();
    let address = |word: &str| hex(word).map(|number| u32::from_be_bytes(number.to_ne_bytes()));
    Some(Ipv4Route {
        interface: (*interface).to_owned(),
        network: address(network)?,
        gateway: address(gateway)?,
        flags: hex(flags)?,
        metric: metric.parse().ok()?,
        mask: address(mask)?,
    })
}

/// A default route. Network, its length, source, its length, next hop, metric,
/// two counters, flags, interface.
fn parse_ipv6(line: &str) -> Option<Way> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [network, length, _, _, next_hop, metric, _, _, flags, interface] = words.as_slice() else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let everything = *length == "00" && network.bytes().all(|digit| digit == b'0');
    if !everything || flags & UP == 0 || flags & REJECT != 0 || *interface == "lo" {
        return None;
    }
    let next_hop = Ipv6Addr::from(u128::from_str_radix(next_hop, 16).ok()?);
    let gateway = if next_hop.is_unspecified() { String::new() } else { next_hop.to_string() };
    Some(Way { metric: u32::from_str_radix(metric, 16).ok()?, interface: (*interface).to_owned(), gateway })
}

/// The lasting addresses of this host, by interface.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Addresses {
    ipv4: HashMap<String, BTreeSet<Ipv4Addr>>,
    ipv6: HashMap<String, BTreeSet<Ipv6Addr>>,
}

impl Addresses {
    pub(super) fn read(root: &Root, routes: &Routes) -> Self {
        Self::parse(&beginning(root, "fib_trie"), &beginning(root, "if_inet6"), routes)
    }

    /// The addresses of an interface, with commas between them.
    pub(super) fn of(&self, interface: &str) -> String {
        let ipv4 = self.ipv4.get(interface).into_iter().flatten().map(ToString::to_string);
        let ipv6 = self.ipv6.get(interface).into_iter().flatten().map(ToString::to_string);
        ipv4.chain(ipv6).collect::<Vec<_>>().join(", ")
    }

    fn parse(fib_trie: &str, if_inet6: &str, routes: &Routes) -> Self {
        let mut addresses = Self::default();
        let mut homeless = BTreeSet::new();
        for address in local_ipv4(fib_trie) {
            match routes.holder(address) {
                Some(interface) => {
                    addresses.ipv4.entry(interface.to_owned()).or_default().insert(address);
                }
                None => {
                    homeless.insert(address);
                }
            }
        }
        // Providers give machines an address without a network; then it is of
        // the interface to the outside, if that has no other.
        if let Some(interface) = routes.outside_ipv4.as_ref().filter(|_| homeless.len() == 1) {
            addresses.ipv4.entry(interface.clone()).or_insert(homeless);
        }
        for (interface, address) in if_inet6.lines().filter_map(parse_if_inet6) {
            addresses.ipv6.entry(interface).or_default().insert(address);
        }
        addresses
    }
}

/// The host's own addresses, other than loopback. They stand in two lines,
/// `|-- 192.0.2.2` and `/32 host LOCAL`.
fn local_ipv4(fib_trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut leaf = None;
    let mut found = BTreeSet::new();
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(leaf.filter(|address| !address.is_loopback()));
        }
    }
    found
}

/// `IFA_F_TEMPORARY`, `IFA_F_DEPRECATED` and `IFA_F_TENTATIVE` of
/// linux/if_addr.h: made up for privacy each day, on the way out, not in use yet.
const PASSING: u32 = 0x01 | 0x20 | 0x40;

/// Address, number of the interface, length of the prefix, scope, flags, name.
/// Only those that hold beyond the link (scope 0), and for long.
fn parse_if_inet6(line: &str) -> Option<(String, Ipv6Addr)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [address, _, _, scope, flags, interface] = words.as_slice() else { return None };
    let lasting = u32::from_str_radix(flags, 16).ok()? & PASSING == 0;
    let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
    (*scope == "00" && lasting).then(|| ((*interface).to_owned(), address))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// A line as a kernel of this byte order writes it.
    fn route(interface: &str, network: [u8; 4], gateway: [u8; 4], flags: u32, metric: u32, mask: [u8; 4]) -> String {
        let word = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        format!(
            "{interface}\t{}\t{}\t{flags:04X}\t0\t0\t{metric}\t{}\t0\t0\t0\n",
            word(network),
            word(gateway),
            word(mask)
        )
    }

    fn ipv4_routes() -> String {
        let none = [0; 4];
        [
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n".to_owned(),
            route("wlan0", none, [192, 0, 2, 254], 3, 600, none),
            route("eth0", none, [192, 0, 2, 1], 3, 100, none),
            route("*", none, none, 0x201, 50, none),
            route("eth0", [192, 0, 2, 0], none, 1, 100, [255, 255, 255, 0]),
            route("wg0", [10, 8, 0, 0], none, 1, 0, [255, 255, 0, 0]),
            route("br0", [10, 8, 7, 0], none, 1, 0, [255, 255, 255, 0]),
            route("eth0", [10, 9, 0, 0], [192, 0, 2, 9], 3, 0, [255, 255, 0, 0]),
        ]
        .concat()
    }

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
           |-- 192.0.2.0
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
           |-- 10.8.7.1
              /32 host LOCAL
           |-- 10.8.0.2
              /32 host LOCAL
           |-- 203.0.113.9
              /32 host LOCAL
Local:
           |-- 192.0.2.2
              /32 host LOCAL
";

    const INET6: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000002 04 40 00 82     eth0
fd00000000000000aaaabbbbccccdddd 04 40 00 01     eth0
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
";

    const ROUTE6: &str = "\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth1
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

    #[test]
    fn the_least_metric_leads_to_the_outside() {
        let routes = Routes::parse(&ipv4_routes(), ROUTE6);
        assert_eq!(routes.outside("eth0"), Some("192.0.2.1"));
        assert_eq!(routes.outside("eth1"), Some("fd00::1"));
        assert_eq!((routes.outside("wlan0"), routes.outside("lo"), routes.outside("*")), (None, None, None));
        let point_to_point = format!("header\n{}", route("ppp0", [0; 4], [0; 4], 1, 0, [0; 4]));
        assert_eq!(Routes::parse(&point_to_point, "").outside("ppp0"), Some(""));
        assert_eq!(Routes::parse("", ""), Routes::default());
    }

    #[test]
    fn an_address_is_of_the_interface_whose_network_holds_it() {
        let addresses = Addresses::parse(TRIE, INET6, &Routes::parse(&ipv4_routes(), ROUTE6));
        assert_eq!(addresses.of("eth0"), "192.0.2.2, fd00::2");
        assert_eq!(addresses.of("wg0"), "10.8.0.2");
        assert_eq!(addresses.of("br0"), "10.8.7.1", "the narrower network");
        assert_eq!(addresses.of("wlan0"), "");
    }

    #[test]
    fn an_address_without_a_network_is_of_the_way_out() {
        let routes = format!("header\n{}", route("ens3", [0; 4], [203, 0, 113, 1], 3, 0, [0; 4]));
        let trie = "|-- 203.0.113.9\n/32 host LOCAL\n";
        let routes = Routes::parse(&routes, "");
        assert_eq!(Addresses::parse(trie, "", &routes).of("ens3"), "203.0.113.9");
        let two = format!("{trie}|-- 203.0.113.10\n/32 host LOCAL\n");
        assert_eq!(Addresses::parse(&two, "", &routes).of("ens3"), "", "which one is not known");
    }

    proptest! {
        #[test]
        fn any_text_is_safe(route: String, trie: String, words in "([0-9a-f]{0,33} ){0,11}[a-z]{0,3}") {
            let routes = Routes::parse(&format!("\n{route}\n{words}"), &words);
            let _ = (Addresses::parse(&trie, &words, &routes), Routes::parse(&words, &route));
        }
    }
}
