//! Prints what reports of 150 readings cost on the wire, and what encoding and
//! decoding them costs in time: `cargo run --release -p tomte-link --example wire_size`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::{Duration, Instant};

#[path = "../tests/support/mod.rs"]
#[allow(unreachable_pub)]
mod support;

use support::generated::Host;
use tomte_link::{Lane, Limits};

const REPORTS: u64 = 2_000;
/// A client's WebSocket header for messages of 126 bytes to 64 KiB.
const WEBSOCKET: usize = 8;

fn main() {
    println!(
        "{:<34} {:>6} {:>6} {:>6} {:>6} {:>9} {:>10} {:>10}",
        "150 readings", "first", "mean", "p95", "max", "+ws", "encode", "decode"
    );
    for (name, steady) in [("as a host shows them", false), ("every rate changing all the time", true)] {
        let mut host = Host::new(42, steady);
        let (mut agent, mut hub) = support::connected(host.catalogue(), Limits::default());
        let (mut encoding, mut decoding) = (Duration::ZERO, Duration::ZERO);
        let mut sizes = Vec::new();
        for sequence in 1..=REPORTS {
            let report = host.next(sequence);
            let start = Instant::now();
            let messages = agent.report(&report, Lane::Live).unwrap();
            encoding += start.elapsed();
            sizes.push(messages.iter().map(|message| message.len()).sum::<usize>());
            let start = Instant::now();
            let heard = messages.iter().flat_map(|message| hub.handle(message).unwrap()).collect();
            decoding += start.elapsed();
            assert_eq!(support::only_report(heard).0, report);
        }
        let first = sizes.remove(0);
        let mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
        sizes.sort_unstable();
        println!(
            "{name:<34} {first:>6} {mean:>6.1} {:>6} {:>6} {:>9.1} {:>7.2} µs {:>7.2} µs",
            sizes[sizes.len() * 95 / 100],
            sizes[sizes.len() - 1],
            mean + WEBSOCKET as f64,
            encoding.as_secs_f64() * 1e6 / REPORTS as f64,
            decoding.as_secs_f64() * 1e6 / REPORTS as f64,
        );
    }
    println!("whole, as an agent spools it: {} bytes", tomte_link::encode_report(&Host::new(42, false).next(1)).len());
}
