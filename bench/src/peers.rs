//! The peers of the history: Debian's Prometheus and VictoriaMetrics, filled by
//! remote write as their agents fill them, and asked over HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use prost::Message;
use tokio::time::{Instant, sleep};

use crate::http::Connection;
use crate::hub::free_port;
use crate::process::{Figures, Running};

const PATIENCE: Duration = Duration::from_secs(60);

/// A store that people run today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Prometheus,
    VictoriaMetrics,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Prometheus, Self::VictoriaMetrics];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "Prometheus",
            Self::VictoriaMetrics => "VictoriaMetrics",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }
}

/// One of them, running until this is dropped.
pub(crate) struct Store {
    kind: Kind,
    process: Running,
    data: PathBuf,
    pub(crate) connection: Connection,
    address: SocketAddr,
    compressed: Vec<u8>,
}

impl Store {
    /// Starts one on a fresh folder inside `work`.
    pub(crate) async fn start(kind: Kind, work: &Path) -> Result<Self> {
        let data = work.join(kind.program());
        std::fs::create_dir_all(&data).context("a folder for the peer")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = Command::new(kind.program());
        match kind {
            Kind::Prometheus => {
                let config = work.join("prometheus.yml");
                std::fs::write(&config, "global: {scrape_interval: 30s}\n").context("the peer's configuration")?;
                command
                    .arg(format!("--config.file={}", config.display()))
                    .arg(format!("--storage.tsdb.path={}", data.display()))
                    .arg(format!("--web.listen-address={address}"))
                    .arg("--web.enable-remote-write-receiver");
            }
            Kind::VictoriaMetrics => {
                command
                    .arg(format!("-storageDataPath={}", data.display()))
                    .arg(format!("-httpListenAddr={address}"))
                    .arg("-retentionPeriod=12")
                    // Answers are computed, not remembered.
                    .arg("-search.disableCache");
            }
        }
        let mut process = Running::start(command, work.join(format!("{}.log", kind.program())))
            .with_context(|| format!("{} is needed: scripts/test-setup.sh bench", kind.program()))?;
        let begun = Instant::now();
        let connection = loop {
            if let Ok(mut connection) = Connection::open(address, None).await
                && connection.get("/-/ready").await.is_ok()
            {
                break connection;
            }
            process.check()?;
            if begun.elapsed() > PATIENCE {
                bail!("{} does not answer; it said:\n{}", kind.name(), process.said());
            }
            sleep(Duration::from_millis(100)).await;
        };
        Ok(Self { kind, process, data, connection, address, compressed: Vec::new() })
    }

    /// What /proc says of it.
    pub(crate) fn figures(&self) -> Result<Figures> {
        self.process.figures().with_context(|| format!("of {}", self.kind.name()))
    }

    /// Writes samples.
    pub(crate) async fn write(&mut self, samples: &Samples) -> Result<()> {
        let mut encoder = snap::raw::Encoder::new();
        self.compressed.resize(snap::raw::max_compress_len(samples.encoded.len()), 0);
        let length = encoder.compress(&samples.encoded, &mut self.compressed).context("compressing")?;
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        let body = Bytes::copy_from_slice(&self.compressed[..length]);
        self.connection.post("/api/v1/write", &headers, body).await.map(drop)
    }

    /// Has it put what it took in into its final place as far as it can be asked to,
    /// and returns the bytes on disk: of what is in that place alone, and in all.
    pub(crate) async fn settle(&mut self) -> Result<(u64, u64)> {
        match self.kind {
            // What is older than about an hour and a half is put into blocks
            // of two hours, one after the other, as fast as it comes.
            Kind::Prometheus => {
                let (mut before, mut same) = (0, 0);
                for _ in 0..60 {
                    sleep(Duration::from_secs(2)).await;
                    let blocks = size(&self.data, &|path| is_block(&self.data, path));
                    same = if blocks == before { same + 1 } else { 0 };
                    before = blocks;
                    if same >= 5 && blocks > 0 {
                        break;
                    }
                }
                Ok((before, size(&self.data, &|_| true)))
            }
            Kind::VictoriaMetrics => {
                self.connection.get("/internal/force_flush").await?;
                // It answers once it has merged everything.
                self.connection.get("/internal/force_merge").await?;
                sleep(Duration::from_secs(3)).await;
                let all = size(&self.data, &|_| true);
                Ok((all, all))
            }
        }
    }

    /// How many samples are in blocks; all of them where there are none.
    pub(crate) async fn sealed(&mut self, written: u64) -> Result<u64> {
        if self.kind == Kind::VictoriaMetrics {
            return Ok(written);
        }
        let mut sealed = 0;
        for entry in std::fs::read_dir(&self.data).context("the peer's folder")?.flatten() {
            let Ok(meta) = std::fs::read(entry.path().join("meta.json")) else { continue };
            let meta: serde_json::Value = serde_json::from_slice(&meta).context("a block's description")?;
            sealed += meta["stats"]["numSamples"].as_u64().unwrap_or(0);
        }
        Ok(sealed)
    }

    /// A second connection, as a user's.
    pub(crate) async fn user(&self) -> Result<Connection> {
        Connection::open(self.address, None).await
    }
}

fn is_block(data: &Path, path: &Path) -> bool {
    let first = path.strip_prefix(data).ok().and_then(|rest| rest.components().next());
    first.is_some_and(|first| first.as_os_str().len() == 26)
}

/// Bytes of the files below a folder.
pub(crate) fn size(folder: &Path, counts: &dyn Fn(&Path) -> bool) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size(&entry.path(), counts),
        Ok(found) if found.is_file() && counts(&entry.path()) => found.len(),
        _ => 0,
    });
    sizes.sum()
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// Samples on their way to a peer.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    encoded: Vec<u8>,
    /// How many.
    pub(crate) count: usize,
}

impl Samples {
    /// Adds one.
    pub(crate) fn add(&mut self, metric: &str, host: &str, name: &str, at: i64, value: f64) {
        let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
        // In the order of their names, as the protocol wants it.
        let series = TimeSeries {
            labels: vec![label("__name__", metric), label("host", host), label("name", name)],
            samples: vec![Sample { value, timestamp: at }],
        };
        // Messages that follow each other are one message.
        let one = WriteRequest { timeseries: vec![series] };
        one.encode(&mut self.encoded).expect("a vector has room");
        self.count += 1;
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.encoded.clear();
        self.count = 0;
    }
}
