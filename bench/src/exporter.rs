//! The peer of the agent: Debian's `prometheus-node-exporter`, scraped as
//! Prometheus scrapes it, over one connection and compressed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::process::{Figures, Running};
use crate::proxy::Proxy;

const PATIENCE: Duration = Duration::from_secs(20);

/// A node_exporter that runs until this is dropped.
pub(crate) struct Exporter {
    process: Running,
    proxy: Proxy,
    sender: SendRequest<Empty<Bytes>>,
}

impl Exporter {
    /// Starts one on a free port of loopback.
    pub(crate) async fn start(program: &Path, work: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("--web.listen-address=127.0.0.1:0");
        let mut process = Running::start(command, work.join("node_exporter.log"))?;
        let begun = Instant::now();
        let address = loop {
            if let Some(address) = listening_on(&process.said()) {
                break address;
            }
            process.check()?;
            if begun.elapsed() > PATIENCE {
                bail!("node_exporter does not say where it listens; it said:\n{}", process.said());
            }
            sleep(Duration::from_millis(50)).await;
        };
        let proxy = Proxy::start(address).await?;
        let stream = TcpStream::connect(proxy.address).await.context("connecting to node_exporter")?;
        stream.set_nodelay(true).context("a socket's option")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("HTTP with node_exporter")?;
        tokio::spawn(connection);
        Ok(Self { process, proxy, sender })
    }

    /// Scrapes once, compressed.
    pub(crate) async fn scrape(&mut self) -> Result<()> {
        self.get("gzip").await.map(drop)
    }

    /// How many samples a scrape has.
    pub(crate) async fn samples(&mut self) -> Result<usize> {
        let text = self.get("identity").await?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count())
    }

    /// Bytes asked and answered so far.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.proxy.bytes()
    }

    /// What /proc says of it.
    pub(crate) fn figures(&self) -> Result<Figures> {
        self.process.figures().context("of node_exporter")
    }

    async fn get(&mut self, encoding: &str) -> Result<Bytes> {
        let request = Request::get("/metrics")
            .header("host", "localhost")
            .header("accept", "text/plain;version=0.0.4")
            .header("accept-encoding", encoding)
            .header("user-agent", "Prometheus/2.42.0")
            .body(Empty::new())
            .context("a request")?;
        let response = self.sender.send_request(request).await.context("scraping node_exporter")?;
        if !response.status().is_success() {
            bail!("node_exporter answers {}", response.status());
        }
        Ok(response.into_body().collect().await.context("reading a scrape")?.to_bytes())
    }
}

/// The address in its log: `msg="Listening on" address=127.0.0.1:34567`.
fn listening_on(said: &str) -> Option<SocketAddr> {
    let line = said.lines().find(|line| line.contains("Listening on"))?;
    line.split(['=', ' ', '"']).find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_address_is_found_in_its_log() {
        let said = "ts=2026-01-01T00:00:00.000Z caller=tls_config.go:232 level=info msg=\"Listening on\" address=127.0.0.1:34567\n";
        assert_eq!(listening_on(said), "127.0.0.1:34567".parse().ok());
        assert_eq!(listening_on("level=info msg=\"Starting node_exporter\"\n"), None);
    }
}
