//! The kinds `check` and `peer`: what this host reaches over the network.

use super::prelude::*;

/// Something that must answer.
pub(super) static CHECK: KindDef = KindDef {
    name: Cow::Borrowed("check"),
    help: Cow::Borrowed(
        "Something that this host must be able to reach: a port, a web page, a name, a machine, a broker.",
    ),
    key: Cow::Borrowed("The name that the configuration gives it."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "type", "tcp, http, dns, ping or mqtt."),
        AttributeDef::new("main", "target", "What is asked, without what may be secret in it."),
        AttributeDef::new("main", "error", "What went wrong."),
        AttributeDef::new("main", "addresses", "What the name leads to."),
        AttributeDef::new("main", "certificate_expires", "When the server's certificate ends."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn field(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, unit, resolution, help)
}

const DAY: f64 = 86_400.0;

/// One failure may be a lost packet: what does not answer must do so twice.
static FIELDS: [FieldDef; 6] = [
    field("up", Unit::Number, Resolution::ONE, "1 when it answers as it should, else 0.")
        .in_home_assistant(HomeAssistant::class("connectivity")),
    field("down", Unit::Number, Resolution::ONE, "1 when it does not answer as it should, else 0.")
        .judged(critical_above(1.0, 0.5, 50), "{name} does not answer as it should[: {error}]"),
    field("latency_seconds", Unit::Seconds, Resolution::MICRO, "How long the answer took, all together.")
        .in_home_assistant(HomeAssistant::class("duration")),
    field("http_status", Unit::Number, Resolution::ONE, "The status a web server answered with."),
    field(
        "certificate_remaining_seconds",
        Unit::Seconds,
        Resolution::ONE,
        "How long the server's certificate is still good.",
    )
    .judged(below(14.0 * DAY, 3.0 * DAY, DAY, 0), "{name}: the certificate ends in {value}"),
    field(
        "packet_loss_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "The part of the echo requests without an answer.",
    )
    .judged(warning_above(0.34, 0.1, 120), "{name} loses {value} of the packets"),
];

/// Another machine of a private network.
pub(super) static PEER: KindDef = KindDef {
    name: Cow::Borrowed("peer"),
    help: Cow::Borrowed("A peer of this host in a WireGuard or Tailscale network."),
    key: Cow::Borrowed(
        "The network's interface and the peer's name, tailscale0/nas; without one, the beginning of its public key.",
    ),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&PEER_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "type", "wireguard or tailscale."),
        AttributeDef::new("main", "endpoint", "Where its packets come from."),
        AttributeDef::new("main", "addresses", "Its addresses in the private network."),
        AttributeDef::new("main", "relay", "The relay through which it is reached, where there is no direct way."),
        AttributeDef::new("main", "os", "Its operating system."),
        AttributeDef::new("main", "last_seen", "When it was last heard of."),
    ]),
    tables: Cow::Borrowed(&[]),
};

/// A phone is away more often than not, so that nothing here is judged unless
/// a threshold is set for the peers that matter.
static PEER_FIELDS: [FieldDef; 5] = [
    field("online", Unit::Number, Resolution::ONE, "1 when it was heard of lately, else 0.")
        .in_home_assistant(HomeAssistant::class("connectivity")),
    field("handshake_age_seconds", Unit::Seconds, Resolution::ONE, "How long ago keys were last exchanged with it."),
    field("receive_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Received from it."),
    field("transmit_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Sent to it."),
    field("key_remaining_seconds", Unit::Seconds, Resolution::ONE, "How long its key is still good, where keys end.")
        .judged(below(7.0 * DAY, DAY, DAY, 0), "{name}: the key ends in {value}"),
];
