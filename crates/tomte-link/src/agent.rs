//! The agent's end of a connection.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tomte_model::{Action, ActionId, Catalogue, HostId, Name, RangeSet, Report, Timestamp};

use crate::convert::{self, checked};
use crate::describe;
use crate::dictionary::Head;
use crate::encode::LaneEncoder;
use crate::error::LinkError;
use crate::limits::Limits;
use crate::message::{
    CloseCode, ClusterClaim, ClusterGrant, ClusterProblem, Decision, FromHub, Gap, Heartbeat, Hello, Lane, Live,
    Resend, SettingsPush, SettingsResult, Welcome,
};
use crate::output::Output;
use crate::wire::{self, to_agent, to_hub};

/// No message of a hub yields more than so many reports of unknown frames.
pub(crate) const UNKNOWN_TOLD: usize = 16;
/// No acknowledgement holds more ranges than this.
pub(crate) const ACK_RANGES: usize = 16_384;

/// The agent's end of one connection. A new connection needs a new one.
#[derive(Debug)]
pub struct AgentLink {
    hello: Hello,
    catalogue: Arc<Catalogue>,
    limits: Limits,
    welcomed: bool,
    lanes: [LaneEncoder; 2],
    /// Fingerprints of the kinds that the hub knows, or has been told of.
    told: HashSet<u64>,
    /// The kinds that have been used on this connection.
    used: BTreeSet<Name>,
    /// Those of them that may have to be described with the next report.
    undescribed: BTreeSet<Name>,
    unknown_frames: u64,
}

impl AgentLink {
    /// For a connection that has just been opened. The catalogue gives the
    /// fields' resolutions, and the descriptions of kinds that the hub lacks.
    #[must_use]
    pub fn new(hello: Hello, catalogue: Arc<Catalogue>) -> Self {
        let limits = Limits::default();
        let head = head(&hello);
        let lanes = Lane::ALL.map(|lane| LaneEncoder::new(lane, limits.clone(), hello.host, head));
        Self {
            hello,
            catalogue,
            limits,
            welcomed: false,
            lanes,
            told: HashSet::new(),
            used: BTreeSet::new(),
            undescribed: BTreeSet::new(),
            unknown_frames: 0,
        }
    }

    /// The first message to send.
    #[must_use]
    pub fn hello(&self) -> Bytes {
        let hello = &self.hello;
        let wire = wire::Hello {
            protocol_min: hello.protocol_min,
            protocol_max: hello.protocol_max,
            agent_version: hello.agent_version.clone(),
            host: hello.host.to_bytes().to_vec(),
            name: hello.name.clone(),
            boot_id: convert::bytes_128(hello.boot_id.0),
            outbox_epoch: hello.outbox_epoch,
            instance: convert::bytes_128(hello.instance),
            features: hello.features.clone(),
            publishes_mqtt: hello.publishes_mqtt,
        };
        wire::single(to_hub::HELLO, &wire)
    }

    /// Replaces the catalogue, when a probe brought a kind of its own. What
    /// changed in it is described with the next report.
    pub fn set_catalogue(&mut self, catalogue: Arc<Catalogue>) {
        self.catalogue = catalogue;
        self.undescribed.clone_from(&self.used);
        // The resolutions may be others now.
        self.lanes.iter_mut().for_each(LaneEncoder::restart);
    }

    /// Whether the hub's welcome has arrived; nothing but the hello may be
    /// sent before.
    #[must_use]
    pub fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// Takes in a message of the hub.
    ///
    /// # Errors
    /// When it makes no sense or is over a limit: close the connection with
    /// the error's code and text.
    pub fn handle(&mut self, message: &[u8]) -> Result<Vec<FromHub>, LinkError> {
        let mut heard = Vec::new();
        let mut unknown = 0;
        for frame in wire::frames(message, self.limits.message_bytes)? {
            let frame = frame?;
            match self.frame(&frame)? {
                FromHub::Unknown(_) if unknown == UNKNOWN_TOLD => {}
                said => {
                    unknown += usize::from(matches!(said, FromHub::Unknown(_)));
                    heard.push(said);
                }
            }
        }
        Ok(heard)
    }

    fn frame(&mut self, frame: &wire::Frame<'_>) -> Result<FromHub, LinkError> {
        let limit = self.limits.text_bytes;
        let early = |frame| LinkError::Unexpected { frame, why: "the handshake is not done" };
        Ok(match frame.frame_type {
            to_agent::WELCOME => self.welcome(frame.read("welcome")?)?,
            to_agent::CLOSE => {
                let (code, reason) = read_close(frame, limit)?;
                FromHub::Close { code, reason }
            }
            to_agent::ACK if self.welcomed => {
                let ack: wire::Ack = frame.read("ack")?;
                FromHub::Ack { epoch: ack.epoch, ranges: ranges_from_wire(&ack.ranges)? }
            }
            to_agent::RESEND if self.welcomed => FromHub::Resend(self.resend(&frame.read("resend")?)),
            to_agent::SETTINGS if self.welcomed => {
                let wire: wire::Settings = frame.read("settings")?;
                FromHub::Settings(SettingsPush { revision: wire.revision, values: pairs(wire.values, limit)? })
            }
            to_agent::LIVE if self.welcomed => {
                let wire: wire::Live = frame.read("live")?;
                FromHub::Live(Live { interval_millis: wire.interval_millis, lease_millis: wire.lease_millis })
            }
            to_agent::REFRESH if self.welcomed => {
                let wire: wire::Refresh = frame.read("refresh")?;
                FromHub::Refresh { collectors: texts(wire.collectors, limit)? }
            }
            to_agent::DECIDE if self.welcomed => {
                let wire: wire::Decide = frame.read("decide")?;
                let malformed = |_| LinkError::Malformed { frame: "decide", what: "not an id" };
                FromHub::Decide(Decision {
                    id: ActionId::from_bytes(wire.id.as_slice().try_into().map_err(malformed)?),
                    approve: wire.approve,
                    plan_hash: checked(wire.plan_hash, limit)?,
                    by: checked(wire.by, limit)?,
                    reason: checked(wire.reason, limit)?,
                })
            }
            to_agent::HEARTBEAT if self.welcomed => {
                let wire: wire::HeartbeatAnswer = frame.read("heartbeat")?;
                FromHub::Heartbeat { echo: wire.echo, server_time: Timestamp::from_millis(wire.server_time) }
            }
            to_agent::CLUSTER if self.welcomed => {
                let wire: wire::ClusterGrant = frame.read("cluster grant")?;
                let host = match wire.host.is_empty() {
                    true => None,
                    false => Some(convert::host_id(&wire.host, "cluster grant")?),
                };
                let (id, reason) = (checked(wire.id, limit)?, checked(wire.reason, limit)?);
                let problem = |problem: wire::ClusterProblem| {
                    Ok(ClusterProblem {
                        resource: checked(problem.resource, limit)?,
                        facet: checked(problem.facet, limit)?,
                        field: checked(problem.field, limit)?,
                        status: convert::status_from_wire(problem.status),
                        since: Timestamp::from_millis(problem.since),
                    })
                };
                let problems = wire.problems.into_iter().map(problem).collect::<Result<_, LinkError>>()?;
                FromHub::Cluster(ClusterGrant { id, host, holder: wire.holder, reason, problems })
            }
            to_agent::ACK => return Err(early("ack")),
            to_agent::RESEND => return Err(early("resend")),
            to_agent::SETTINGS => return Err(early("settings")),
            to_agent::LIVE => return Err(early("live")),
            to_agent::REFRESH => return Err(early("refresh")),
            to_agent::HEARTBEAT => return Err(early("heartbeat")),
            to_agent::CLUSTER => return Err(early("cluster grant")),
            to_agent::DECIDE => return Err(early("decide")),
            other => {
                self.unknown_frames += 1;
                FromHub::Unknown(other)
            }
        })
    }

    fn welcome(&mut self, wire: wire::Welcome) -> Result<FromHub, LinkError> {
        if self.welcomed {
            return Err(LinkError::Unexpected { frame: "welcome", why: "the handshake is done" });
        }
        if !(self.hello.protocol_min..=self.hello.protocol_max).contains(&wire.protocol) {
            return Err(LinkError::NoCommonVersion {
                agent_min: self.hello.protocol_min,
                agent_max: self.hello.protocol_max,
                hub_min: wire.protocol,
                hub_max: wire.protocol,
            });
        }
        let limit = self.limits.text_bytes;
        self.told = wire.kinds.into_iter().collect();
        self.welcomed = true;
        Ok(FromHub::Welcome(Welcome {
            protocol: wire.protocol,
            generation: wire.generation,
            server_time: Timestamp::from_millis(wire.server_time),
            hub_version: checked(wire.hub_version, limit)?,
            host_name: checked(wire.host_name, limit)?,
            heartbeat_millis: wire.heartbeat_millis,
            features: texts(wire.features, limit)?,
        }))
    }

    fn resend(&mut self, wire: &wire::Resend) -> Resend {
        let lane = if wire.backlog { Lane::Backlog } else { Lane::Live };
        // A stream that has been forgotten in the meantime begins anew anyway.
        let stream = self.lanes[lane as usize].restart_stream(wire.stream);
        let (host, collector): (HostId, String) =
            stream.map_or((self.hello.host, String::new()), |(host, name)| (host, name.clone().into_owned()));
        let position = tomte_model::Position { epoch: wire.epoch, sequence: wire.sequence };
        Resend { host, collector, lane, stream: wire.stream, position }
    }

    /// The messages that carry a report, nearly always one. All of them must
    /// be sent, in this order, before the next ones of the same lane; a
    /// message that is left out costs a [`FromHub::Resend`].
    ///
    /// # Errors
    /// When the report is over the limits that hubs set; nothing was encoded.
    pub fn report(&mut self, report: &Report, lane: Lane) -> Result<Vec<Bytes>, LinkError> {
        let (messages, refused) = self.reports([report], lane);
        match refused.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(messages),
        }
    }

    /// Like [`Self::report`] for many at once, packed into as few messages as
    /// the limits allow. A report that is over the limits by itself is left
    /// out, and its place in the list returned with the reason.
    pub fn reports<'a>(
        &mut self,
        reports: impl IntoIterator<Item = &'a Report>,
        lane: Lane,
    ) -> (Vec<Bytes>, Vec<(usize, LinkError)>) {
        let mut output = Output::new(&self.limits);
        let mut refused = Vec::new();
        for (place, report) in reports.into_iter().enumerate() {
            match self.lanes[lane as usize].encode(report, Some(&self.catalogue)) {
                Ok(encoded) => {
                    self.describe(&encoded.kinds, &mut output);
                    output.push_report(&encoded);
                }
                Err(error) => refused.push((place, error)),
            }
        }
        (output.finish(), refused)
    }

    /// Frees what a lane takes, here and at the hub: for a backlog that has
    /// been sent. The lane can be used again at any time.
    #[must_use]
    pub fn forget(&mut self, lane: Lane) -> Bytes {
        wire::single(to_hub::FORGET, &self.lanes[lane as usize].forget())
    }

    /// Describes the kinds among these, and those that wait, which the hub
    /// does not know.
    fn describe(&mut self, kinds: &[Name], output: &mut Output) {
        if kinds.is_empty() && self.undescribed.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.undescribed);
        for kind in kinds {
            if self.used.insert(kind.clone()) {
                waiting.insert(kind.clone());
            }
        }
        for kind in waiting {
            let Some(definition) = self.catalogue.kind(&kind) else { continue };
            let encoded = describe::to_wire(definition).encode_to_vec();
            // What is too long for a hub is shown there by its name alone.
            if encoded.len() <= describe::KIND_BYTES && self.told.insert(describe::fingerprint(&encoded)) {
                output.push(to_hub::DESCRIBE, &encoded, 0);
            }
        }
    }

    /// A sign of life.
    #[must_use]
    pub fn heartbeat(&self, heartbeat: &Heartbeat) -> Bytes {
        let wire = wire::Heartbeat {
            wall: heartbeat.moment.wall.millis(),
            boot_millis: heartbeat.moment.boot_millis,
            clock_synchronised: heartbeat.clock_synchronised,
            backlog_reports: heartbeat.backlog_reports,
            backlog_bytes: heartbeat.backlog_bytes,
            oldest: heartbeat.oldest.map(Timestamp::millis),
        };
        wire::single(to_hub::HEARTBEAT, &wire)
    }

    /// Declares reports that will never come.
    #[must_use]
    pub fn gap(&self, gap: &Gap) -> Bytes {
        let Gap { epoch, first, last, count } = *gap;
        wire::single(to_hub::GAP, &wire::Gap { epoch, first, last, count })
    }

    /// Answers pushed settings.
    #[must_use]
    pub fn settings_result(&self, result: &SettingsResult) -> Bytes {
        let refused = result.refused.iter().map(|(key, value)| wire::Pair { key: key.clone(), value: value.clone() });
        let wire = wire::SettingsResult { revision: result.revision, refused: refused.collect() };
        wire::single(to_hub::SETTINGS_RESULT, &wire)
    }

    /// Tells which cluster the host belongs to.
    #[must_use]
    pub fn cluster(&self, claim: &ClusterClaim) -> Bytes {
        let wire = wire::ClusterClaim {
            id: claim.id.clone(),
            name: claim.name.clone(),
            node: claim.node.clone(),
            nodes: claim.nodes.clone(),
            quorate: claim.quorate,
            readable: claim.readable,
        };
        wire::single(to_hub::CLUSTER, &wire)
    }

    /// Tells of an Action as it is now; for a hub that has the feature
    /// [`crate::ACTIONS`].
    #[must_use]
    pub fn action(&self, action: &Action) -> Bytes {
        let json = serde_json::to_string(action).expect("an Action is JSON");
        wire::single(to_hub::ACTION, &wire::Action { json })
    }

    /// Says goodbye; send it before closing.
    #[must_use]
    pub fn close(&self, code: CloseCode, reason: &str) -> Bytes {
        wire::single(to_hub::CLOSE, &wire::Close { code: code.code().into(), reason: reason.to_owned() })
    }

    /// How many frames of unknown types were ignored.
    #[must_use]
    pub fn unknown_frames(&self) -> u64 {
        self.unknown_frames
    }
}

/// What both ends start every stream with.
pub(crate) fn head(hello: &Hello) -> Head {
    Head { epoch: hello.outbox_epoch, boot_id: hello.boot_id, interval_millis: 0, clock_synchronised: true }
}

pub(crate) fn read_close(frame: &wire::Frame<'_>, limit: usize) -> Result<(CloseCode, String), LinkError> {
    let wire: wire::Close = frame.read("close")?;
    let code = u16::try_from(wire.code).map_or(CloseCode::Normal, CloseCode::from_code);
    Ok((code, checked(wire.reason, limit)?))
}

pub(crate) fn pairs(pairs: Vec<wire::Pair>, limit: usize) -> Result<Vec<(String, String)>, LinkError> {
    pairs.into_iter().map(|pair| Ok((checked(pair.key, limit)?, checked(pair.value, limit)?))).collect()
}

pub(crate) fn texts(texts: Vec<String>, limit: usize) -> Result<Vec<String>, LinkError> {
    texts.into_iter().map(|text| checked(text, limit)).collect()
}

/// Ranges as pairs: the distance from the end of the last one, the length less one.
pub(crate) fn ranges_to_wire(ranges: &RangeSet) -> Vec<u64> {
    let mut end = 0_u64;
    let mut wire = Vec::new();
    for range in ranges.iter().take(ACK_RANGES) {
        wire.push(range.start() - end);
        wire.push(range.end() - range.start());
        end = *range.end();
    }
    wire
}

fn ranges_from_wire(wire: &[u64]) -> Result<RangeSet, LinkError> {
    const ERROR: LinkError = LinkError::Malformed { frame: "ack", what: "not ascending ranges" };
    if wire.len() > 2 * ACK_RANGES {
        return Err(LinkError::Limit {
            what: "ranges of an ack",
            found: (wire.len() / 2) as u64,
            limit: ACK_RANGES as u64,
        });
    }
    let mut ranges = RangeSet::new();
    let mut end = 0_u64;
    for pair in wire.chunks(2) {
        let &[distance, length] = pair else { return Err(ERROR) };
        let first = end.checked_add(distance).ok_or(ERROR)?;
        end = first.checked_add(length).ok_or(ERROR)?;
        ranges.insert_range(first..=end);
    }
    Ok(ranges)
}
