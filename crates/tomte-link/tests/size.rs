//! How many bytes a report takes on the wire.
#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub)]
mod support;

use support::generated::Host;
use tomte_link::{Lane, Limits};

/// The mean size of a report of 150 readings, and that of the first one.
fn sizes(steady: bool) -> (f64, usize) {
    let mut host = Host::new(42, steady);
    let (mut agent, mut hub) = support::connected(host.catalogue(), Limits::default());
    let mut sizes = Vec::new();
    for sequence in 1..=300 {
        let report = host.next(sequence);
        let messages = agent.report(&report, Lane::Live).unwrap();
        sizes.push(messages.iter().map(|message| message.len()).sum::<usize>());
        let heard = messages.iter().flat_map(|message| hub.handle(message).unwrap()).collect();
        assert_eq!(support::only_report(heard).0, report);
    }
    (sizes[50..].iter().sum::<usize>() as f64 / (sizes.len() - 50) as f64, sizes[0])
}

#[test]
fn a_report_of_150_readings_fits_the_budget() {
    let (mean, _) = sizes(false);
    assert!(mean <= 250.0, "{mean} bytes");
}

#[test]
fn so_it_does_when_every_rate_changes_all_the_time() {
    let (mean, _) = sizes(true);
    assert!(mean <= 250.0, "{mean} bytes");
}
