//! One connection to a broker, without its socket: bytes in, bytes out.
//!
//! [`Session`] greets, subscribes, sends what it is given while no more than
//! the broker allows waits for an acknowledgement, and notices by pings when
//! nobody answers any more.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::protocol::{self, Connect, Decoder, Packet, ProtocolError, Publish, Qos, Subscription, Version};

/// Larger packets of others are skipped.
pub const MOST_BYTES: u32 = 128 * 1024;
/// So many messages wait for their acknowledgement at most.
const MOST_UNANSWERED: u16 = 32;
/// How long a broker may take to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Who connects.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// The id; one that another client uses too ends in a fight.
    pub id: String,
    /// The user, if any.
    pub username: Option<String>,
    /// The password, if any.
    pub password: Option<String>,
    /// The longest silence.
    pub keep_alive: Duration,
    /// What to listen to.
    pub subscriptions: Vec<Subscription>,
}

// The password must not reach a log.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The broker does not let us in.
    #[error("the broker refuses the connection: {reason}")]
    Refused {
        /// Whether it knows the protocol's version.
        version: bool,
        /// In words.
        reason: String,
    },
    /// The broker ended it.
    #[error("the broker ended the connection: {0}")]
    Ended(String),
    /// What it says is not MQTT.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// It says nothing any more.
    #[error("the broker does not answer any more")]
    Silent,
}

/// What came of bytes that were received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// The broker let us in.
    Connected,
    /// A message.
    Message(Publish),
    /// So large a message was not taken.
    TooLarge(usize),
    /// The broker does not let us listen to these.
    NotSubscribed(Vec<String>),
    /// The broker refused a message of ours.
    NotPublished(String),
}

/// The state machine. Times are milliseconds of any clock that does not jump.
#[derive(Debug)]
pub struct Session {
    version: Version,
    client: Client,
    decoder: Decoder,
    connected: bool,
    out: Vec<u8>,
    queue: VecDeque<Publish>,
    unanswered: BTreeSet<u16>,
    most_unanswered: usize,
    most_bytes: usize,
    last_id: u16,
    began: u64,
    pinged: u64,
    /// A ping waits for its answer since then.
    waiting: Option<u64>,
}

impl Session {
    /// A new session; its first bytes wait to be sent.
    #[must_use]
    pub fn new(version: Version, client: Client, will: Option<&Publish>, now: u64) -> Self {
        let mut out = Vec::new();
        let greeting = Connect {
            client_id: &client.id,
            username: client.username.as_deref(),
            password: client.password.as_deref().map(str::as_bytes),
            keep_alive: u16::try_from(client.keep_alive.as_secs()).unwrap_or(u16::MAX),
            will,
            most_bytes: MOST_BYTES,
        };
        protocol::connect(&mut out, version, &greeting);
        Self {
            version,
            client,
            decoder: Decoder::new(version, MOST_BYTES as usize),
            connected: false,
            out,
            queue: VecDeque::new(),
            unanswered: BTreeSet::new(),
            most_unanswered: usize::from(MOST_UNANSWERED),
            most_bytes: usize::MAX,
            last_id: 0,
            began: now,
            pinged: now,
            waiting: None,
        }
    }

    /// Whether the broker has let us in.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether everything given has been made bytes.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether everything given has arrived, as far as it is acknowledged.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.unanswered.is_empty() && self.out.is_empty()
    }

    /// Queues a message.
    pub fn publish(&mut self, message: Publish) {
        self.queue.push_back(message);
        self.send();
    }

    /// Says goodbye; the broker will not tell the will.
    pub fn close(&mut self) {
        protocol::disconnect(&mut self.out);
    }

    /// The bytes to send.
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes what was received.
    ///
    /// # Errors
    /// When the session is over.
    pub fn receive(&mut self, bytes: &[u8], now: u64) -> Result<Vec<Happened>, SessionError> {
        self.decoder.feed(bytes);
        let mut happened = Vec::new();
        while let Some(packet) = self.decoder.packet()? {
            self.take(packet, now, &mut happened)?;
        }
        self.send();
        Ok(happened)
    }

    fn take(&mut self, packet: Packet, now: u64, happened: &mut Vec<Happened>) -> Result<(), SessionError> {
        match packet {
            Packet::Connected { code: 0, receive_maximum, keep_alive, most_bytes, retains, .. } if !self.connected => {
                if !retains {
                    return Err(SessionError::Refused {
                        version: true,
                        reason: "it keeps no messages (retain is switched off there)".to_owned(),
                    });
                }
                self.connected = true;
                self.most_unanswered = usize::from(receive_maximum.clamp(1, MOST_UNANSWERED));
                self.most_bytes = most_bytes.map_or(usize::MAX, |most| most as usize);
                if let Some(seconds) = keep_alive {
                    self.client.keep_alive = Duration::from_secs(seconds.max(2).into());
                }
                (self.pinged, self.waiting) = (now, None);
                if !self.client.subscriptions.is_empty() {
                    let id = self.next_id();
                    protocol::subscribe(&mut self.out, self.version, id, &self.client.subscriptions);
                }
                happened.push(Happened::Connected);
            }
            Packet::Connected { code, reason, .. } => {
                let version = !matches!((self.version, code), (Version::V5, 0x84 | 0x01) | (Version::V311, 0x01));
                let reason = reason.filter(|reason| !reason.is_empty());
                let reason = reason.unwrap_or_else(|| self.not_let_in(code));
                return Err(SessionError::Refused { version, reason });
            }
            Packet::Publish(message, id) => {
                if let Some(id) = id {
                    protocol::puback(&mut self.out, id);
                }
                happened.push(Happened::Message(message));
            }
            Packet::Published { id, code } => {
                self.unanswered.remove(&id);
                if code >= 0x80 {
                    happened.push(Happened::NotPublished(reason_of(Version::V5, code)));
                }
            }
            Packet::Subscribed(codes) => {
                let refused = codes.iter().zip(&self.client.subscriptions).filter(|(code, _)| **code >= 0x80);
                let refused: Vec<_> = refused.map(|(_, subscription)| subscription.filter.clone()).collect();
                if !refused.is_empty() {
                    happened.push(Happened::NotSubscribed(refused));
                }
            }
            Packet::Pong => self.waiting = None,
            Packet::Disconnected { code, reason } => {
                let reason = reason.filter(|reason| !reason.is_empty());
                return Err(SessionError::Ended(reason.unwrap_or_else(|| reason_of(Version::V5, code))));
            }
            Packet::TooLarge(size) => happened.push(Happened::TooLarge(size)),
        }
        Ok(())
    }

    /// Why the broker does not let us in. Many say of a wrong password that it is
    /// not allowed, lest somebody guess.
    fn not_let_in(&self, code: u8) -> String {
        let may_be_password = matches!(code, 0x04 | 0x05 | 0x86 | 0x87);
        match (&self.client.username, may_be_password) {
            (None, true) => "it lets nobody in without a user; set mqtt.username and mqtt.password_file".to_owned(),
            (Some(user), true) => format!(
                "it does not let {user} in; see that mqtt.username and mqtt.password_file are right, and that this \
                 user may connect"
            ),
            (_, false) => reason_of(self.version, code),
        }
    }

    /// Does what is due by time alone.
    ///
    /// # Errors
    /// When the broker has not answered for too long.
    pub fn tick(&mut self, now: u64) -> Result<(), SessionError> {
        let late = |since: u64| now.saturating_sub(since) >= millis(ANSWER_WITHIN);
        if (!self.connected && late(self.began)) || self.waiting.is_some_and(late) {
            return Err(SessionError::Silent);
        }
        if self.connected && self.waiting.is_none() && now.saturating_sub(self.pinged) >= self.ping_every() {
            protocol::ping(&mut self.out);
            (self.pinged, self.waiting) = (now, Some(now));
        }
        Ok(())
    }

    /// When [`Self::tick`] has something to do next.
    #[must_use]
    pub fn wake_at(&self) -> u64 {
        match self.waiting {
            Some(since) => since + millis(ANSWER_WITHIN),
            None if self.connected => self.pinged + self.ping_every(),
            None => self.began + millis(ANSWER_WITHIN),
        }
    }

    /// Early enough for the broker's patience of one and a half times that.
    fn ping_every(&self) -> u64 {
        millis(self.client.keep_alive * 3 / 4).max(1)
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.unanswered.contains(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn send(&mut self) {
        while self.connected {
            let Some(message) = self.queue.front() else { return };
            if message.topic.len() + message.payload.len() + 16 > self.most_bytes {
                // The broker would end the connection.
                self.queue.pop_front();
                continue;
            }
            let acknowledged = message.qos == Qos::AtLeastOnce;
            if acknowledged && self.unanswered.len() >= self.most_unanswered {
                return;
            }
            let Some(message) = self.queue.pop_front() else { return };
            let id = if acknowledged { self.next_id() } else { 0 };
            if acknowledged {
                self.unanswered.insert(id);
            }
            protocol::publish(&mut self.out, self.version, &message, id);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The words for a code, from the standards' lists.
fn reason_of(version: Version, code: u8) -> String {
    let words = match (version, code) {
        (_, 0x01) => "it does not know this version of the protocol",
        (_, 0x02) | (_, 0x85) => "it does not take the client id; set mqtt.client_id",
        (_, 0x03) | (_, 0x88) => "it is not available",
        (_, 0x04) | (_, 0x86) => "user name or password are wrong; see mqtt.username and mqtt.password_file",
        (_, 0x05) | (_, 0x87) => "this user may not do that; see mqtt.username and the broker's access list",
        (_, 0x84) => "it does not know this version of the protocol",
        (_, 0x00) => "without a reason",
        (_, 0x89) => "it is busy",
        (_, 0x8B) => "it is shutting down",
        (_, 0x8D) => "it heard nothing for too long",
        (_, 0x8E) => "another client connected with the same client id",
        (_, 0x8A) => "this client is banned",
        (_, 0x90) => "it does not take the topic",
        (_, 0x93) => "too many messages at once",
        (_, 0x95) => "a message was too large for it",
        (_, 0x97) => "a quota is used up",
        (_, 0x9A) => "it keeps no messages (retain is switched off there)",
        _ => return format!("code {code:#04x}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn client() -> Client {
        Client {
            id: "tomte".into(),
            username: None,
            password: Some("secret".into()),
            keep_alive: Duration::from_secs(60),
            subscriptions: vec![Subscription::to("homeassistant/status".into())],
        }
    }

    fn message(text: &str) -> Publish {
        Publish::retained("t".into(), text, Qos::AtLeastOnce)
    }

    fn connected(answer: &[u8]) -> Session {
        let mut session = Session::new(Version::V5, client(), Some(&message("offline")), 0);
        session.take_out();
        assert_eq!(session.receive(answer, 0).unwrap(), [Happened::Connected]);
        session.take_out();
        session
    }

    #[test]
    fn no_more_waits_than_the_broker_allows() {
        let mut session = connected(b"\x20\x06\x00\x00\x03\x21\x00\x02");
        for text in ["a", "b", "c"] {
            session.publish(message(text));
        }
        let sent = session.take_out();
        assert!(sent.ends_with(b"b") && !session.is_idle());
        session.receive(b"\x40\x02\x00\x02", 1).unwrap();
        assert!(session.take_out().ends_with(b"c") && session.is_idle() && !session.is_settled());
        session.receive(b"\x40\x02\x00\x03\x40\x02\x00\x04", 1).unwrap();
        assert!(session.is_settled());
    }

    #[test]
    fn who_says_nothing_is_noticed() {
        let mut session = connected(b"\x20\x03\x00\x00\x00");
        assert_eq!(session.wake_at(), 45_000);
        session.tick(44_999).unwrap();
        assert!(session.take_out().is_empty());
        session.tick(45_000).unwrap();
        assert_eq!(session.take_out(), b"\xC0\x00");
        session.receive(b"\xD0\x00", 46_000).unwrap();
        session.tick(90_000).unwrap();
        assert_eq!(session.tick(105_000), Err(SessionError::Silent));
        let mut deaf = Session::new(Version::V5, client(), Some(&message("offline")), 0);
        assert_eq!(deaf.tick(15_000), Err(SessionError::Silent));
    }

    #[test]
    fn a_refusal_says_why_and_whether_another_version_may_help() {
        let refused = |version, answer: &[u8]| {
            let mut session = Session::new(version, client(), Some(&message("offline")), 0);
            session.receive(answer, 0).unwrap_err()
        };
        let error = refused(Version::V311, b"\x20\x02\x00\x04");
        assert!(error.to_string().contains("without a user"), "{error}");
        let named = Client { username: Some("nas".into()), ..client() };
        let mut session = Session::new(Version::V5, named, Some(&message("offline")), 0);
        // What mosquitto says of a wrong password: not authorised.
        let error = session.receive(b"\x20\x03\x00\x87\x00", 0).unwrap_err();
        assert!(error.to_string().contains("mqtt.password_file"), "{error}");
        for (version, answer) in [(Version::V5, b"\x20\x02\x00\x01"), (Version::V5, b"\x20\x02\x00\x84")] {
            assert!(matches!(refused(version, answer), SessionError::Refused { version: false, .. }));
        }
        assert!(!format!("{:?}", client()).contains("secret"));
    }

    #[test]
    fn larger_messages_than_the_broker_takes_are_left_out() {
        let mut session = connected(b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x40");
        session.publish(Publish { payload: vec![b'x'; 100].into(), ..message("") });
        assert!(session.take_out().is_empty());
        session.publish(message("b"));
        assert!(session.take_out().ends_with(b"b"));
    }

    #[test]
    fn what_may_not_be_heard_is_told() {
        let mut session = connected(b"\x20\x03\x00\x00\x00");
        let happened = session.receive(b"\x90\x04\x00\x01\x00\x87", 1).unwrap();
        assert_eq!(happened, [Happened::NotSubscribed(vec!["homeassistant/status".into()])]);
    }
}
