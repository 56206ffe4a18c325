//! The hub's end of a connection.

use bytes::Bytes;
use tomte_model::{BootId, Moment, RangeSet, Timestamp};

use crate::agent::{UNKNOWN_TOLD, head, pairs, ranges_to_wire, read_close, texts};
use crate::convert::{self, checked};
use crate::decode::{Decoded, LaneDecoder};
use crate::describe::{self, KIND_BYTES};
use crate::encode::limited;
use crate::error::LinkError;
use crate::limits::Limits;
use crate::message::{
    CloseCode, ClusterClaim, ClusterGrant, ClusterProblem, Decision, FromAgent, Gap, Heartbeat, Hello, Lane, Live,
    Resend, SettingsPush, SettingsResult, Welcome,
};
use crate::wire::{self, to_agent, to_hub};
use crate::{PROTOCOL_MAX, PROTOCOL_MIN};

/// No connection describes more kinds than this.
const KINDS: usize = 1_024;
/// No cluster has more nodes than this, and no longer names.
const CLUSTER_NODES: usize = 256;
const CLUSTER_TEXT: usize = 256;
/// No Action is longer than this.
const ACTION_BYTES: usize = 128 * 1024;
/// No hello is longer than this.
const HELLO_BYTES: usize = 64 * 1024;

/// The hub's end of one connection.
#[derive(Debug)]
pub struct HubLink {
    protocol: u32,
    limits: Limits,
    lanes: [LaneDecoder; 2],
    kinds: usize,
    unknown_frames: u64,
}

impl HubLink {
    /// Takes in an agent's first message and agrees on a version. Anything
    /// behind the hello in that message is ignored.
    ///
    /// # Errors
    /// When it is no hello, or there is no version in common: close the
    /// connection with the error's code and text.
    pub fn accept(message: &[u8], limits: Limits) -> Result<(Self, Hello), LinkError> {
        const MISSING: LinkError = LinkError::Unexpected { frame: "message", why: "the first one must be a hello" };
        let mut frames = wire::frames(message, limits.message_bytes.min(HELLO_BYTES))?;
        let frame = frames.next().transpose()?.ok_or(MISSING)?;
        if frame.frame_type != to_hub::HELLO {
            return Err(MISSING);
        }
        let hello = read_hello(frame.read("hello")?, limits.text_bytes)?;
        let protocol = hello.protocol_max.min(PROTOCOL_MAX);
        if protocol < hello.protocol_min.max(PROTOCOL_MIN) {
            return Err(LinkError::NoCommonVersion {
                agent_min: hello.protocol_min,
                agent_max: hello.protocol_max,
                hub_min: PROTOCOL_MIN,
                hub_max: PROTOCOL_MAX,
            });
        }
        let head = head(&hello);
        let lanes = Lane::ALL.map(|lane| LaneDecoder::new(lane, limits.clone(), hello.host, head));
        Ok((Self { protocol, limits, lanes, kinds: 0, unknown_frames: 0 }, hello))
    }

    /// The version agreed on.
    #[must_use]
    pub fn protocol(&self) -> u32 {
        self.protocol
    }

    /// The answer to the hello; the first message to send.
    #[must_use]
    pub fn welcome(&self, welcome: &Welcome) -> Bytes {
        let mut kinds: Vec<u64> = describe::SHIPPED.iter().copied().collect();
        kinds.sort_unstable();
        let wire = wire::Welcome {
            protocol: welcome.protocol,
            generation: welcome.generation,
            server_time: welcome.server_time.millis(),
            hub_version: welcome.hub_version.clone(),
            host_name: welcome.host_name.clone(),
            heartbeat_millis: welcome.heartbeat_millis,
            features: welcome.features.clone(),
            kinds,
        };
        wire::single(to_agent::WELCOME, &wire)
    }

    /// Takes in a message of the agent.
    ///
    /// # Errors
    /// When it makes no sense or is over a limit: close the connection with
    /// the error's code and text. What the message held before the error is
    /// lost with it; it was not acked and will come again.
    pub fn handle(&mut self, message: &[u8]) -> Result<Vec<FromAgent>, LinkError> {
        let mut heard = Vec::new();
        let mut unknown = 0;
        let mut budget = self.limits.unfolded_bytes;
        for frame in wire::frames(message, self.limits.message_bytes)? {
            let frame = frame?;
            match self.frame(&frame, &mut budget)? {
                Some(FromAgent::Unknown(_)) if unknown == UNKNOWN_TOLD => {}
                Some(said) => {
                    unknown += usize::from(matches!(said, FromAgent::Unknown(_)));
                    heard.push(said);
                }
                None => {}
            }
        }
        Ok(heard)
    }

    fn frame(&mut self, frame: &wire::Frame<'_>, budget: &mut usize) -> Result<Option<FromAgent>, LinkError> {
        let limit = self.limits.text_bytes;
        Ok(Some(match frame.frame_type {
            to_hub::REPORT => {
                let wire: wire::Report = frame.read("report")?;
                let lane = lane(wire.backlog);
                match self.lanes[lane as usize].report(wire, budget)? {
                    Decoded::Report(report) => FromAgent::Report { report, lane },
                    Decoded::BaseUnknown(resend) => FromAgent::BaseUnknown(resend),
                }
            }
            to_hub::PART => {
                let wire: wire::Part = frame.read("part")?;
                self.lanes[lane(wire.backlog) as usize].part(wire)?;
                return Ok(None);
            }
            to_hub::FORGET => {
                let wire: wire::Forget = frame.read("forget")?;
                self.lanes[lane(wire.backlog) as usize].forget();
                return Ok(None);
            }
            to_hub::DESCRIBE => {
                limited("bytes of a kind's description", frame.body.map_or(0, <[u8]>::len), KIND_BYTES)?;
                self.kinds += 1;
                limited("kinds described", self.kinds, KINDS)?;
                FromAgent::Described(describe::from_wire(frame.read("describe")?, &self.limits)?)
            }
            to_hub::HEARTBEAT => FromAgent::Heartbeat(read_heartbeat(&frame.read("heartbeat")?)),
            to_hub::GAP => {
                let wire::Gap { epoch, first, last, count } = frame.read("gap")?;
                if first > last || count > (last - first).saturating_add(1) {
                    return Err(LinkError::Malformed { frame: "gap", what: "not a range, or more than it holds" });
                }
                FromAgent::Gap(Gap { epoch, first, last, count })
            }
            to_hub::SETTINGS_RESULT => {
                let wire: wire::SettingsResult = frame.read("settings result")?;
                let refused = pairs(wire.refused, limit)?;
                FromAgent::SettingsResult(SettingsResult { revision: wire.revision, refused })
            }
            to_hub::CLUSTER => FromAgent::Cluster(read_claim(frame.read("cluster claim")?)?),
            to_hub::ACTION => {
                limited("bytes of an action", frame.body.map_or(0, <[u8]>::len), ACTION_BYTES)?;
                let wire: wire::Action = frame.read("action")?;
                // In states, or of risks, that are not known here yet.
                match serde_json::from_str(&wire.json) {
                    Ok(action) => FromAgent::Action(Box::new(action)),
                    Err(_) => {
                        self.unknown_frames += 1;
                        FromAgent::Unknown(to_hub::ACTION)
                    }
                }
            }
            to_hub::CLOSE => {
                let (code, reason) = read_close(frame, limit)?;
                FromAgent::Close { code, reason }
            }
            to_hub::HELLO => return Err(LinkError::Unexpected { frame: "hello", why: "the handshake is done" }),
            other => {
                self.unknown_frames += 1;
                FromAgent::Unknown(other)
            }
        }))
    }

    /// Tells that these sequences are stored for good. At most 16,384 ranges
    /// go out, the lowest; what is not acked comes again and can be acked then.
    #[must_use]
    pub fn ack(&self, epoch: u64, ranges: &RangeSet) -> Bytes {
        wire::single(to_agent::ACK, &wire::Ack { epoch, ranges: ranges_to_wire(ranges) })
    }

    /// Asks for a report whole.
    #[must_use]
    pub fn resend(&self, resend: &Resend) -> Bytes {
        let wire = wire::Resend {
            backlog: resend.lane == Lane::Backlog,
            stream: resend.stream,
            epoch: resend.position.epoch,
            sequence: resend.position.sequence,
        };
        wire::single(to_agent::RESEND, &wire)
    }

    /// Answers a heartbeat.
    #[must_use]
    pub fn heartbeat(&self, echo: u64, server_time: Timestamp) -> Bytes {
        wire::single(to_agent::HEARTBEAT, &wire::HeartbeatAnswer { echo, server_time: server_time.millis() })
    }

    /// Pushes settings.
    #[must_use]
    pub fn settings(&self, settings: &SettingsPush) -> Bytes {
        let values = settings.values.iter().map(|(key, value)| wire::Pair { key: key.clone(), value: value.clone() });
        wire::single(to_agent::SETTINGS, &wire::Settings { revision: settings.revision, values: values.collect() })
    }

    /// Tells of a decision; for an agent that has the feature [`crate::ACTIONS`].
    #[must_use]
    pub fn decide(&self, decision: &Decision) -> Bytes {
        let Decision { id, approve, plan_hash, by, reason } = decision.clone();
        let wire = wire::Decide { id: id.to_bytes().to_vec(), approve, plan_hash, by, reason };
        wire::single(to_agent::DECIDE, &wire)
    }

    /// Asks for a faster fast tier.
    #[must_use]
    pub fn live(&self, live: &Live) -> Bytes {
        let wire = wire::Live { interval_millis: live.interval_millis, lease_millis: live.lease_millis };
        wire::single(to_agent::LIVE, &wire)
    }

    /// Asks collectors to run now; all of them when the list is empty.
    #[must_use]
    pub fn refresh(&self, collectors: &[String]) -> Bytes {
        wire::single(to_agent::REFRESH, &wire::Refresh { collectors: collectors.to_vec() })
    }

    /// Tells who reports for the agent's cluster.
    #[must_use]
    pub fn cluster(&self, grant: &ClusterGrant) -> Bytes {
        let wire = wire::ClusterGrant {
            id: grant.id.clone(),
            host: grant.host.map(|host| host.to_bytes().to_vec()).unwrap_or_default(),
            holder: grant.holder,
            reason: grant.reason.clone(),
            problems: grant.problems.iter().map(problem).collect(),
        };
        wire::single(to_agent::CLUSTER, &wire)
    }

    /// Says why the connection ends; works before the handshake too. Send it
    /// before closing.
    #[must_use]
    pub fn close(code: CloseCode, reason: &str) -> Bytes {
        wire::single(to_agent::CLOSE, &wire::Close { code: code.code().into(), reason: reason.to_owned() })
    }

    /// How many frames of unknown types were ignored.
    #[must_use]
    pub fn unknown_frames(&self) -> u64 {
        self.unknown_frames
    }
}

fn lane(backlog: bool) -> Lane {
    if backlog { Lane::Backlog } else { Lane::Live }
}

fn read_hello(wire: wire::Hello, limit: usize) -> Result<Hello, LinkError> {
    Ok(Hello {
        protocol_min: wire.protocol_min,
        protocol_max: wire.protocol_max,
        agent_version: checked(wire.agent_version, limit)?,
        host: convert::host_id(&wire.host, "hello")?,
        name: checked(wire.name, limit)?,
        boot_id: BootId(convert::number_128(&wire.boot_id, "hello")?),
        outbox_epoch: wire.outbox_epoch,
        instance: convert::number_128(&wire.instance, "hello")?,
        features: texts(wire.features, limit)?,
        publishes_mqtt: wire.publishes_mqtt,
    })
}

fn read_claim(wire: wire::ClusterClaim) -> Result<ClusterClaim, LinkError> {
    limited("nodes of a cluster", wire.nodes.len(), CLUSTER_NODES)?;
    let name = |text| checked(text, CLUSTER_TEXT);
    Ok(ClusterClaim {
        id: name(wire.id)?,
        name: name(wire.name)?,
        node: name(wire.node)?,
        nodes: wire.nodes.into_iter().map(name).collect::<Result<_, _>>()?,
        quorate: wire.quorate,
        readable: wire.readable,
    })
}

fn problem(problem: &ClusterProblem) -> wire::ClusterProblem {
    wire::ClusterProblem {
        resource: problem.resource.clone(),
        facet: problem.facet.clone(),
        field: problem.field.clone(),
        status: convert::status_to_wire(problem.status),
        since: problem.since.millis(),
    }
}

fn read_heartbeat(wire: &wire::Heartbeat) -> Heartbeat {
    Heartbeat {
        moment: Moment { wall: Timestamp::from_millis(wire.wall), boot_millis: wire.boot_millis },
        clock_synchronised: wire.clock_synchronised,
        backlog_reports: wire.backlog_reports,
        backlog_bytes: wire.backlog_bytes,
        oldest: wire.oldest.map(Timestamp::from_millis),
    }
}
