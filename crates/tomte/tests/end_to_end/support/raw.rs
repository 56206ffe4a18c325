//! A connection to `/link` on which anything can be said.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tomte_agent::connect::{ConnectError, Connector, Endpoint, HubConnector, Stream};
use tomte_link::{AgentLink, FromHub, Hello, PROTOCOL_MAX, PROTOCOL_MIN};
use tomte_model::{BootId, Catalogue, HostId};

use super::LIMIT;

/// Somebody with a token and with manners of their own.
pub(crate) struct Stranger {
    pub(crate) socket: WebSocketStream<Stream>,
    pub(crate) link: AgentLink,
}

/// What the hub said in the end.
#[derive(Debug)]
pub(crate) enum Said {
    /// It closed, with a code and a reason.
    Closed(u16, String),
    /// It only hung up.
    HungUp,
}

impl Stranger {
    /// Connects, without a word.
    pub(crate) async fn connect(url: &str, token: &str, host: HostId) -> Result<Self, ConnectError> {
        let endpoint = Endpoint::new(url.parse().expect("an address"), None, || true)?;
        let socket = HubConnector::new(endpoint, token).connect().await?.0;
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX + 7,
            agent_version: "9.9.9".into(),
            host,
            name: "stranger".into(),
            boot_id: BootId(1),
            outbox_epoch: 1,
            instance: fastrand::u128(..),
            features: Vec::new(),
            publishes_mqtt: false,
        };
        Ok(Self { socket, link: AgentLink::new(hello, Arc::new(Catalogue::builtin())) })
    }

    /// Connects and is let in.
    pub(crate) async fn welcomed(url: &str, token: &str, host: HostId) -> Self {
        let mut stranger = Self::connect(url, token, host).await.expect("a connection");
        stranger.say(stranger.link.hello()).await;
        stranger.until("welcome", |said| matches!(said, FromHub::Welcome(_)).then_some(())).await;
        stranger
    }

    /// Sends a message of the link. Whether it arrives is not looked at.
    pub(crate) async fn say(&mut self, message: impl Into<Bytes>) {
        let _ = self.socket.send(Message::Binary(message.into())).await;
    }

    /// What `find` finds in what the hub says.
    pub(crate) async fn until<T>(&mut self, what: &str, mut find: impl FnMut(&FromHub) -> Option<T>) -> T {
        let found = timeout(LIMIT, async {
            loop {
                let message = self.socket.next().await.expect("no end").expect("no error");
                let Message::Binary(message) = message else { continue };
                if let Some(found) = self.link.handle(&message).expect("the protocol").iter().find_map(&mut find) {
                    return found;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("no {what} in time"))
    }

    /// Reads until the hub ends the connection, and returns what it said: in
    /// the link's own words or in the WebSocket's, whichever came first.
    pub(crate) async fn end(&mut self) -> Said {
        let end = timeout(LIMIT, async {
            while let Some(Ok(message)) = self.socket.next().await {
                match message {
                    Message::Binary(message) => {
                        for said in self.link.handle(&message).expect("the protocol") {
                            if let FromHub::Close { code, reason } = said {
                                return Said::Closed(code.code(), reason);
                            }
                        }
                    }
                    Message::Close(Some(frame)) => {
                        return Said::Closed(frame.code.into(), frame.reason.as_str().to_owned());
                    }
                    _ => {}
                }
            }
            Said::HungUp
        });
        end.await.expect("the hub ends the connection")
    }
}
