//! Simulated agents: simulated readings behind the real protocol, each with a
//! WebSocket of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};
use tomte_collect::SystemClock;
use tomte_link::{AgentLink, FromHub, Heartbeat, Hello, Lane, PATH, PROTOCOL_MAX, PROTOCOL_MIN, SUBPROTOCOL};
use tomte_model::{BootId, Catalogue, Clock, HostId, Moment, Position, RangeSet, Report, Scope};

use crate::hub::{Enrolled, Hub};

const HEARTBEAT: Duration = Duration::from_secs(15);
/// Simulated hosts were booted so long before this machine, so that their past
/// is long enough.
const BOOTED_BEFORE: u64 = 400 * 86_400_000;
/// How long the hub may take to answer anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent without a machine, connected to a hub.
pub(crate) struct Agent {
    host: HostId,
    boot: BootId,
    epoch: u64,
    link: AgentLink,
    socket: WebSocketStream<TcpStream>,
    sequence: u64,
    acked: RangeSet,
    alive_at: Instant,
    /// Bytes of all messages with reports, with the headers of their frames.
    pub(crate) sent_bytes: u64,
}

impl Agent {
    /// Connects as an enrolled host, and waits for the hub's welcome.
    pub(crate) async fn connect(hub: &Hub, enrolled: &Enrolled, catalogue: Arc<Catalogue>) -> Result<Self> {
        let stream = TcpStream::connect(hub.address()).await.context("connecting to the hub")?;
        stream.set_nodelay(true).context("a socket's option")?;
        let mut request = format!("ws://{}{PATH}", hub.address()).into_client_request().context("the hub's address")?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", enrolled.token)).context("the token as a header")?;
        request.headers_mut().insert("authorization", bearer);
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        let (socket, _) = client_async(request, stream).await.context("opening the link")?;
        let boot = BootId(u128::from_be_bytes(enrolled.id.to_bytes()));
        let epoch = u64::try_from(SystemClock.now().wall.millis()).context("a clock before 1970")?;
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: enrolled.id,
            name: enrolled.name.clone(),
            boot_id: boot,
            outbox_epoch: epoch,
            instance: fastrand::u128(..),
            features: Vec::new(),
            publishes_mqtt: false,
        };
        let mut agent = Self {
            host: enrolled.id,
            boot,
            epoch,
            link: AgentLink::new(hello, catalogue),
            socket,
            sequence: 0,
            acked: RangeSet::new(),
            alive_at: Instant::now(),
            sent_bytes: 0,
        };
        agent.write(agent.link.hello()).await?;
        while !agent.link.is_welcomed() {
            agent.hear().await?;
        }
        agent.heartbeat().await?;
        Ok(agent)
    }

    /// The host's clocks now.
    pub(crate) fn now() -> Moment {
        let now = SystemClock.now();
        Moment { boot_millis: now.boot_millis + BOOTED_BEFORE, ..now }
    }

    /// Queues a report and returns its sequence; [`Self::flush`] sends it.
    pub(crate) async fn report(
        &mut self,
        collector: &'static str,
        moment: Moment,
        interval: Duration,
        scope: Scope,
    ) -> Result<u64> {
        self.sequence += 1;
        let report = Report {
            host: self.host,
            collector: collector.into(),
            position: Position { epoch: self.epoch, sequence: self.sequence },
            boot_id: self.boot,
            moment,
            clock_synchronised: true,
            interval_millis: u32::try_from(interval.as_millis()).unwrap_or(u32::MAX),
            scopes: vec![scope],
            events: Vec::new(),
        };
        for message in self.link.report(&report, Lane::Live)? {
            self.sent_bytes += (message.len() + header(message.len())) as u64;
            self.socket.feed(Message::Binary(message)).await.context("sending a report")?;
        }
        Ok(self.sequence)
    }

    /// Sends what is queued.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.socket.flush().await.context("sending reports")
    }

    /// How many reports are neither stored nor refused.
    pub(crate) fn waiting(&self) -> u64 {
        self.sequence - self.acked.iter().map(|range| range.end() - range.start() + 1).sum::<u64>()
    }

    /// Waits until every report is stored.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        while self.waiting() > 0 {
            self.hear().await?;
        }
        Ok(())
    }

    /// Lives on until then, without reporting.
    pub(crate) async fn idle_until(&mut self, then: Instant) -> Result<()> {
        loop {
            let beat = self.alive_at + HEARTBEAT;
            tokio::select! {
                () = sleep_until(then) => return Ok(()),
                () = sleep_until(beat) => self.heartbeat().await?,
                message = self.socket.next() => self.take(message)?,
            }
        }
    }

    /// Takes in one message of the hub.
    pub(crate) async fn hear(&mut self) -> Result<()> {
        if self.link.is_welcomed() && self.alive_at.elapsed() >= HEARTBEAT {
            self.heartbeat().await?;
        }
        let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.context("the hub is silent")?;
        self.take(message)
    }

    fn take(&mut self, message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>) -> Result<()> {
        let Some(message) = message else { bail!("the hub closed the link") };
        let Message::Binary(message) = message.context("the link broke")? else { return Ok(()) };
        for said in self.link.handle(&message)? {
            match said {
                FromHub::Ack { epoch, ranges } if epoch == self.epoch => {
                    ranges.iter().for_each(|range| self.acked.insert_range(range));
                }
                FromHub::Resend(resend) => bail!("the hub asks for a report again: {resend:?}"),
                FromHub::Close { reason, .. } => bail!("the hub ends the link: {reason}"),
                _ => {}
            }
        }
        Ok(())
    }

    async fn heartbeat(&mut self) -> Result<()> {
        self.alive_at = Instant::now();
        let heartbeat = Heartbeat { moment: Self::now(), clock_synchronised: true, ..Heartbeat::default() };
        self.write(self.link.heartbeat(&heartbeat)).await
    }

    async fn write(&mut self, message: Bytes) -> Result<()> {
        self.socket.send(Message::Binary(message)).await.context("speaking to the hub")
    }
}

/// Bytes of a WebSocket frame's header, as a client sends it (RFC 6455, 5.2).
fn header(length: usize) -> usize {
    4 + match length {
        ..126 => 2,
        126..65_536 => 4,
        _ => 10,
    }
}
