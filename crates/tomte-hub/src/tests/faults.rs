//! What breaks: crashes, full disks, guessers, floods.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tomte_link::{CloseCode, Twin};
use tomte_model::{Catalogue, Event, EventId, EventKind, HostId, RangeSet, Report, ResourceKey, Severity, Timestamp};
use tomte_store::changes::{ChangeList, ChangeQuery, HostFacts, HostThen};
use tomte_store::history::{
    Checked, History, HistoryStats, Maintained, OnDurable, Progress, Query, Replayed, Row, Series, SeriesKey,
};
use tomte_store::{Arrival, HistoryStore, Receipt, StoreError};

use super::support::*;
use crate::config::Network;

fn with_event(mut report: Report, number: u128) -> Report {
    report.events.push(Event {
        id: EventId::from_parts(5, number),
        at: report.moment.wall,
        source: "agent".into(),
        kind: EventKind::STATUS_CHANGED,
        severity: Severity::Warning,
        subject: Some("disk:sda".into()),
        correlation_id: None,
        message: "something".into(),
        details: Default::default(),
    });
    report
}

fn shown(bench: &Bench, host: HostId) -> Option<f64> {
    bench.hub.with_latest(host, |_, latest| Some(latest.resources().next()?.1.readings().next()?.1))?
}

#[tokio::test]
async fn after_a_crash_everything_acknowledged_is_there_and_nothing_twice() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
    let mut reports = Vec::new();
    for number in 0..50_u32 {
        let report = with_event(agent.make(vec![disk("sda", f64::from(number))]), u128::from(number));
        agent.send(&report).await;
        agent.acked(report.position).await;
        if number == 20 {
            bench.hub.save_snapshots().unwrap();
        }
        reports.push(report);
    }
    // The hub's records are behind the reports when it dies.
    let image = bench.crash_image();
    let again = Bench::reopen(image, bench.clock.clone());
    assert_eq!(shown(&again, nas.host), Some(49.0));
    assert_eq!(again.events_of(&EventKind::STATUS_CHANGED).len(), 50);
    assert_eq!(again.hub.store.history.stats().unwrap().waiting, 50);
    // The agent sends again what it does not know to be stored.
    let mut agent = Agent::connect(&ByTwin, &again, &nas, 1).await;
    for report in &reports[40..] {
        agent.send(report).await;
        agent.acked(report.position).await;
    }
    assert_eq!(again.hub.store.history.stats().unwrap().waiting, 50);
    assert_eq!(again.events_of(&EventKind::STATUS_CHANGED).len(), 50);
    assert_eq!(shown(&again, nas.host), Some(49.0));
    // And from there once more, whole.
    let clock = again.clock.clone();
    let third = Bench::reopen(again.stop().await, clock);
    assert_eq!(shown(&third, nas.host), Some(49.0));
    assert_eq!(third.events_of(&EventKind::STATUS_CHANGED).len(), 50);
    bench.stop().await;
}

/// A history on a disk that can be full.
struct Full {
    real: Arc<dyn HistoryStore>,
    full: Arc<AtomicBool>,
}

const FULL: StoreError = StoreError::Full { database: "history.db" };

impl HistoryStore for Full {
    fn append(&self, arrival: Arrival, catalogue: Arc<Catalogue>, on_durable: OnDurable<Receipt>) {
        if self.full.load(Ordering::SeqCst) {
            on_durable(Err(FULL));
        } else {
            self.real.append(arrival, catalogue, on_durable);
        }
    }
    fn trouble(&self) -> Option<StoreError> {
        self.full.load(Ordering::SeqCst).then_some(FULL)
    }
    fn declare_gap(&self, outbox: HostId, epoch: u64, sequences: RangeInclusive<u64>, on_durable: OnDurable<()>) {
        self.real.declare_gap(outbox, epoch, sequences, on_durable);
    }
    fn received(&self, outbox: HostId, epoch: u64) -> RangeSet {
        self.real.received(outbox, epoch)
    }
    fn last_row(&self) -> Row {
        self.real.last_row()
    }
    fn replay(&self, after: Row, each: &mut dyn FnMut(Row, Arrival)) -> Result<Replayed, StoreError> {
        self.real.replay(after, each)
    }
    fn release(&self, row: Row) {
        self.real.release(row);
    }
    fn series(&self, host: HostId) -> Result<Vec<Series>, StoreError> {
        self.real.series(host)
    }
    fn find(&self, hosts: &[HostId], wanted: &dyn Fn(&str, &str, &str) -> bool) -> Result<Vec<SeriesKey>, StoreError> {
        self.real.find(hosts, wanted)
    }
    fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Checked, StoreError> {
        self.real.check(progress)
    }
    fn compact(&self, now: Timestamp, progress: &mut dyn FnMut(Progress)) -> Result<u64, StoreError> {
        self.real.compact(now, progress)
    }
    fn backup(&self, target: &std::path::Path, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        self.real.backup(target, progress)
    }
    fn query(&self, query: &Query) -> Result<History, StoreError> {
        self.real.query(query)
    }
    fn note_host(&self, host: HostId, at: Timestamp, facts: HostFacts, on_durable: OnDurable<()>) {
        self.real.note_host(host, at, facts, on_durable);
    }
    fn note_forgotten(&self, host: HostId, resource: ResourceKey, at: Timestamp, on_durable: OnDurable<()>) {
        self.real.note_forgotten(host, resource, at, on_durable);
    }
    fn state_at(&self, hosts: &[HostId], at: Timestamp) -> Result<Vec<HostThen>, StoreError> {
        self.real.state_at(hosts, at)
    }
    fn changes(&self, query: &ChangeQuery) -> Result<ChangeList, StoreError> {
        self.real.changes(query)
    }
    fn maintain(&self, now: Timestamp) -> Result<Maintained, StoreError> {
        self.real.maintain(now)
    }
    fn remove_host(&self, host: HostId) -> Result<(), StoreError> {
        self.real.remove_host(host)
    }
    fn limit_size(&self, bytes: Option<u64>) -> Result<(), StoreError> {
        self.real.limit_size(bytes)
    }
    fn stats(&self) -> Result<HistoryStats, StoreError> {
        self.real.stats()
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.real.flush()
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_shows_live_acknowledges_nothing_and_is_told_once() {
    let full = Arc::new(AtomicBool::new(false));
    let switch = full.clone();
    let bench = Bench::open_on(|real| Arc::new(Full { real, full: switch }));
    let nas = bench.enrol(1, "nas").await;
    full.store(true, Ordering::SeqCst);
    let mut agent = Agent::<Twin>::connect(&ByTwin, &bench, &nas, 1).await;
    let first = agent.make(vec![disk("sda", 1.0)]);
    agent.send(&first).await;
    let second = agent.make(vec![disk("sda", 2.0)]);
    agent.send(&second).await;
    // No ack comes; after a while the connection ends, so that it is sent again.
    let (code, reason) = agent.end().await;
    assert_eq!(code, CloseCode::Internal);
    assert!(reason.contains("disk is full"), "{reason}");
    assert_eq!(shown(&bench, nas.host), Some(2.0), "live is live");
    bench.hub.sweep();
    bench.hub.sweep();
    assert_eq!(bench.events_of(&EventKind::STORE_TROUBLE).len(), 1);
    // Space returns.
    tokio::time::resume();
    full.store(false, Ordering::SeqCst);
    let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
    for report in [first, second] {
        agent.send(&report).await;
        agent.acked(report.position).await;
    }
    bench.hub.sweep();
    let told = bench.events_of(&EventKind::STORE_TROUBLE);
    assert_eq!((told.len(), told[1].event.severity), (2, Severity::Info));
    assert_eq!(bench.hub.store.history.stats().unwrap().waiting, 2);
    bench.stop().await;
}

#[tokio::test]
async fn a_thousand_wrong_tokens_do_not_lock_out_the_good_agent() {
    let bench = Bench::open_with(|config| config.trusted_proxies = vec!["127.0.0.1".parse::<Network>().unwrap()]);
    let bench = bench.listen().await;
    let nas = bench.enrol(1, "nas").await;
    let mut held_back = 0;
    for number in 0..1_000_u32 {
        // Half of them guess at random, half try one wrong token over and over.
        let token = if number % 2 == 0 { format!("tomte_h_{number:043}") } else { format!("tomte_h_{:043}", 7) };
        match bench.socket(&token, Some("6.6.6.6")).await {
            Err(401) => {}
            Err(429) => held_back += 1,
            other => panic!("{:?}", other.map(|_| "let in")),
        }
        if number % 250 == 0 {
            // From the very same place, in between.
            assert!(bench.socket(&nas.token, Some("6.6.6.6")).await.is_ok());
        }
    }
    assert!(held_back > 100, "{held_back}");
    assert!(bench.socket(&nas.token, Some("6.6.6.6")).await.is_ok());
    assert!(bench.socket(&nas.token, None).await.is_ok());
    assert_eq!(bench.hub.counters()["link_tokens_refused"], 1_000);
    let audit = bench.audit("link.connect");
    assert!((1..20).contains(&audit.len()), "{} lines", audit.len());
    assert_eq!(audit[0].address.as_deref(), Some("6.6.6.6"));
    assert!(audit.iter().all(|line| !format!("{line:?}").contains(&format!("{:030}", 7))), "never the token itself");
    bench.stop().await;
}

#[tokio::test]
async fn a_flood_of_series_is_bounded_and_told_once() {
    let bench = Bench::open_with(|config| config.limits.series_per_host = 5);
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
    for _ in 0..3 {
        agent.report((0..20).map(|n| disk(&format!("sd{n}"), 1.0)).collect()).await;
    }
    assert_eq!(bench.hub.store.history.series(nas.host).unwrap().len(), 5);
    assert_eq!(bench.hub.counters()["readings_over_limit"], 45);
    assert_eq!(bench.events_of(&EventKind::SERIES_LIMIT).len(), 1);
    bench.stop().await;
}

async fn get(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_hubs_own_socket_is_private_and_makes_it_healthy() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::listening().await;
    let path = bench.folder.path().join(crate::SOCKET);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    until("the hub serves", || bench.hub.is_serving()).await;
    let local = get(UnixStream::connect(&path).await.unwrap(), "/healthz").await;
    assert!(local.starts_with("HTTP/1.1 200"), "{local}");
    let remote = get(TcpStream::connect(bench.address()).await.unwrap(), "/healthz").await;
    assert!(remote.starts_with("HTTP/1.1 200"), "{remote}");
    let refused = get(TcpStream::connect(bench.address()).await.unwrap(), tomte_link::PATH).await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let folder = bench.stop().await;
    assert!(!path.exists());
    drop(folder);
}

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_let_go() {
    let bench = Bench::listening().await;
    let mut idle = TcpStream::connect(bench.address()).await.unwrap();
    idle.write_all(b"GET / HT").await.unwrap();
    let mut rest = Vec::new();
    // Ends by itself, or this never does.
    let _ = idle.read_to_end(&mut rest).await;
    bench.stop().await;
}

#[tokio::test]
async fn tls_shows_a_leaf_that_the_hubs_own_key_signed() {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName};
    let first = Bench::open();
    let clock = first.clock.clone();
    let bench = Bench::reopen(first.stop().await, clock);
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let running = Arc::clone(&bench.hub).serve_on(vec![listener]).unwrap();
    assert!(bench.hub.public_url().starts_with("https://"));
    let mut roots = rustls::RootCertStore::empty();
    // From a file that an earlier start wrote: any certificate of the key will do.
    let authority = bench.folder.path().join(crate::identity::AUTHORITY_FILE);
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(crate::identity::LEAF_NAME).unwrap();
    until("the hub serves", || bench.hub.is_serving()).await;
    // Twice, with a renewal in between.
    for _ in 0..2 {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let stream = connector.connect(name.clone(), stream).await.unwrap();
        let answer = get(stream, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        bench.hub.renew_leaf().unwrap();
    }
    let plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut plain = plain;
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "no plain HTTP where TLS is");
    running.stop().await;
}
