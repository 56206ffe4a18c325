//! The kind `interface`.

use super::prelude::*;

/// A network interface.
pub(super) static INTERFACE: KindDef = KindDef {
    name: Cow::Borrowed("interface"),
    help: Cow::Borrowed(
        "A network interface; those without hardware (of containers, guests, bridges, loopback) are summed unless asked for or in the way to the outside.",
    ),
    key: Cow::Borrowed("The interface's name; virtual for the sum of those without hardware."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "type", "What it is: wired, wireless, or virtual."),
        AttributeDef::new("main", "state", "Its state as the kernel tells, up or down."),
        AttributeDef::new("main", "mac", "Its hardware address."),
        AttributeDef::new("main", "addresses", "Its lasting addresses, without those that hold for the link alone."),
        AttributeDef::new("main", "default_route", "Whether what goes to the outside goes through it."),
        AttributeDef::new("main", "gateway", "The router that it reaches the outside by."),
        AttributeDef::new("main", "duplex", "Whether it sends and receives at once."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn rate(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::BytesPerSecond, Resolution::ONE, help)
        .in_home_assistant(HomeAssistant::class("data_rate"))
}

const fn per_second(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::PerSecond, Resolution::TENTH, help)
}

/// Errors are rare on a sound link, so that one a second for minutes means a
/// bad cable, port or driver. Drops are not: frames of protocols that nobody
/// listens to count as such, a few each second on any large network.
static FIELDS: [FieldDef; 12] = [
    rate("receive_bytes_per_second", "Received."),
    rate("transmit_bytes_per_second", "Sent."),
    per_second("receive_packets_per_second", "Packets received."),
    per_second("transmit_packets_per_second", "Packets sent."),
    per_second("receive_errors_per_second", "Packets that arrived broken.")
        .judged(above(1.0, 100.0, 0.5, 300), "{name} receives {value} broken packets"),
    per_second("transmit_errors_per_second", "Packets that could not be sent.")
        .judged(above(1.0, 100.0, 0.5, 300), "{name} fails to send {value} packets"),
    per_second("receive_drops_per_second", "Sound packets that were thrown away, for want of room or of a taker.")
        .judged(warning_above(100.0, 20.0, 600), "{name} drops {value} received packets"),
    per_second("transmit_drops_per_second", "Packets that were thrown away instead of being sent.")
        .judged(warning_above(100.0, 20.0, 600), "{name} drops {value} packets that should be sent"),
    FieldDef::new(
        "main",
        "speed_bytes_per_second",
        Unit::BytesPerSecond,
        Resolution::ONE,
        "What the link can carry each way.",
    ),
    FieldDef::new("main", "mtu", Unit::Number, Resolution::ONE, "The largest packet it takes, in bytes."),
    FieldDef::new(
        "main",
        "link_lost",
        Unit::Number,
        Resolution::ONE,
        "1 when a wired interface is switched on, had a link since boot, and has none now, else 0. Not told of portable computers, whose cables are pulled on purpose.",
    )
    .judged(warning_above(1.0, 0.5, 30), "{name} has lost its link"),
    FieldDef::new("main", "interfaces", Unit::Number, Resolution::ONE, "How many interfaces the sum is made of."),
];
