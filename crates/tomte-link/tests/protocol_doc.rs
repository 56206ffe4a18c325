//! docs/protocol.md says what the code does: its example is made here, and its
//! tables are compared with the constants.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use support::raw::frames;
use tomte_link::{CloseCode, Lane, Limits};
use tomte_model::catalogue::{FacetDef, FieldDef, KindDef, Resolution, Unit};
use tomte_model::{Assessment, Catalogue, Facet, Report, Scope};

#[allow(unreachable_pub)]
mod support;

const BEGIN: &str = "<!-- begin example: TOMTE_WRITE_DOCS=1 cargo test -p tomte-link --test protocol_doc -->\n";
const END: &str = "<!-- end example -->\n";

fn page() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn the_example_is_what_the_code_sends() {
    let (path, text) = page();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let fresh = format!("{before}{BEGIN}{}{END}{after}", example());
    if std::env::var_os("TOMTE_WRITE_DOCS").is_some() {
        // At once, since the other test reads the page at the same time.
        let fresh_path = path.with_extension("md.new");
        std::fs::write(&fresh_path, fresh).unwrap();
        std::fs::rename(fresh_path, path).unwrap();
        return;
    }
    assert!(
        text == fresh,
        "docs/protocol.md is out of date; refresh it by: TOMTE_WRITE_DOCS=1 cargo test -p tomte-link --test protocol_doc"
    );
}

#[test]
fn the_tables_hold_the_constants() {
    let (_, text) = page();
    for code in CloseCode::KNOWN {
        assert!(text.contains(&format!("\n| {} |", code.code())), "close code {}", code.code());
    }
    let limits = Limits::default();
    let line =
        |what: &str| text.lines().find(|line| line.starts_with(&format!("| {what} |"))).unwrap().replace(',', "");
    for (what, limit) in [
        ("a message, either way", limits.message_bytes),
        ("a text or a name", limits.text_bytes),
        ("streams in a lane", limits.streams),
        ("a report", limits.scopes),
        ("a report", limits.facets),
        ("a report", limits.readings),
        ("a facet, a kind", limits.fields),
        ("what one lane makes the hub remember", limits.memory_bytes),
        ("what one message unfolds to", limits.unfolded_bytes),
    ] {
        assert!(line(what).contains(&limit.to_string()), "{what}: {limit}");
    }
}

fn aquarium(sequence: u64, celsius: f64) -> Report {
    let mut facet = Facet::owner("aquarium", "reef", "main");
    facet.read("water_celsius", celsius);
    facet.text("fish", "3 clownfish");
    facet.assessment = Some(Assessment::ok());
    support::report("aquarium", sequence, vec![Scope::complete("aquarium", vec![facet])])
}

fn example() -> String {
    let mut catalogue = Catalogue::builtin();
    let field = FieldDef::new("main", "water_celsius", Unit::Celsius, Resolution::TENTH, "How warm the water is.");
    catalogue.describe(KindDef {
        name: "aquarium".into(),
        help: "An aquarium.".into(),
        key: "By its label.".into(),
        facets: vec![FacetDef { name: "main".into(), owner: true }].into(),
        fields: vec![field].into(),
        attributes: Cow::Borrowed(&[]),
        tables: Cow::Borrowed(&[]),
    });
    let (mut agent, mut hub) = support::connected(catalogue, Limits::default());
    let mut text = String::new();
    show(&mut text, "hello", "the agent introduces itself", &agent.hello(), "FromAgent");
    let first = agent.report(&aquarium(41, 24.5), Lane::Live).unwrap();
    let title = "the kind, then the first report: 24.5 °C is 245 tenths, 490 zigzagged, which is coded with k = 10";
    show(&mut text, "describe, part and report", title, &first[0], "FromAgent");
    let delta = agent.report(&aquarium(42, 24.7), Lane::Live).unwrap();
    let title = "ten seconds later: 24.7 °C is 2 more, 4 zigzagged, which is coded with k = 256 / 32";
    show(&mut text, "a delta", title, &delta[0], "FromAgent");
    let heard: Vec<_> = first.iter().chain(&delta).flat_map(|message| hub.handle(message).unwrap()).collect();
    assert_eq!(heard.len(), 3);
    let ranges = [1..=37, 41..=42].into_iter().collect();
    let ack = hub.ack(support::hello().outbox_epoch, &ranges);
    show(&mut text, "ack", "the hub has stored 1 to 37, and 41 and 42", &ack, "FromHub");
    text
}

fn show(text: &mut String, name: &str, title: &str, message: &[u8], schema: &str) {
    assert!(!frames(message).is_empty());
    writeln!(text, "\n**{name}** ({} bytes): {title}\n\n```text", message.len()).unwrap();
    message.chunks(32).for_each(|bytes| writeln!(text, "{}", hex(bytes)).unwrap());
    writeln!(text).unwrap();
    annotate(text, message, 0, schema, 0);
    writeln!(text, "```").unwrap();
}

/// What a field is called and how its contents are shown.
enum Shown {
    Number,
    Signed,
    Text,
    Bytes,
    Bits,
    Numbers,
    Message(&'static str),
}

fn field(schema: &str, number: u64) -> (&'static str, Shown) {
    use Shown::*;
    match (schema, number) {
        ("FromAgent", 1) => ("hello", Message("Hello")),
        ("FromAgent", 2) => ("describe", Message("Kind")),
        ("FromAgent", 3) => ("part", Message("Part")),
        ("FromAgent", 4) => ("report", Message("Report")),
        ("FromHub", 2) => ("ack", Message("Ack")),
        ("Hello", 1) => ("protocol_min", Number),
        ("Hello", 2) => ("protocol_max", Number),
        ("Hello", 3) => ("agent_version", Text),
        ("Hello", 4) => ("host", Bytes),
        ("Hello", 5) => ("name", Text),
        ("Hello", 6) => ("boot_id", Bytes),
        ("Hello", 7) => ("outbox_epoch", Number),
        ("Hello", 8) => ("instance", Bytes),
        ("Kind", 1) => ("name", Text),
        ("Kind", 2) => ("help", Text),
        ("Kind", 3) => ("key", Text),
        ("Kind", 4) => ("facets", Message("KindFacet")),
        ("Kind", 5) => ("fields", Message("KindField")),
        ("KindFacet", 1) => ("name", Text),
        ("KindFacet", 2) => ("owner", Number),
        ("KindField", 1) => ("name", Text),
        ("KindField", 2) => ("facet", Text),
        ("KindField", 3) => ("unit", Text),
        ("KindField", 4) => ("resolution", Signed),
        ("KindField", 5) => ("help", Text),
        ("KindField", 9) => ("state_class", Text),
        ("KindField", 10) => ("diagnostic", Number),
        ("Part", 4) => ("open", Message("Open")),
        ("Part", 5) => ("symbols", Text),
        ("Part", 6) => ("shapes", Message("Shape")),
        ("Part", 7) => ("facets", Message("Facet")),
        ("Part", 8) => ("scopes", Message("Scope")),
        ("Open", 1) => ("collector", Text),
        ("Shape", 1) => ("kind", Number),
        ("Shape", 2) => ("facet", Number),
        ("Shape", 4) => ("fields", Numbers),
        ("Shape", 5) => ("scales", Bytes),
        ("Facet", 2) => ("shape", Number),
        ("Facet", 3) => ("name", Text),
        ("Facet", 4) => ("attributes", Message("Attributes")),
        ("Facet", 6) => ("judgement", Message("Judgement")),
        ("Attributes", 1) => ("list", Message("Value")),
        ("Value", 1) => ("name", Number),
        ("Value", 2) => ("text", Text),
        ("Judgement", 1) => ("status", Number),
        ("Scope", 2) => ("name", Text),
        ("Scope", 4) => ("members", Message("Ids")),
        ("Ids", 1) => ("ids", Numbers),
        ("Report", 2) => ("sequence", Number),
        ("Report", 3) => ("back", Signed),
        ("Report", 5) => ("parts", Number),
        ("Report", 6) => ("wall", Signed),
        ("Report", 7) => ("boot", Signed),
        ("Report", 8) => ("values", Bits),
        ("Report", 10) => ("order", Message("Ids")),
        ("Report", 11) => ("interval_millis", Number),
        ("Ack", 1) => ("epoch", Number),
        ("Ack", 2) => ("ranges", Numbers),
        other => panic!("the example has a field that this test cannot name: {other:?}"),
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Writes a line for each field, nested ones further in.
fn annotate(text: &mut String, bytes: &[u8], offset: usize, schema: &str, depth: usize) {
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let key = varint(bytes, &mut at);
        let (name, shown) = field(schema, key >> 3);
        let number = varint(bytes, &mut at);
        let head = hex(&bytes[start..at]);
        let place = format!("{:04x} {:depth$}", offset + start, "", depth = 2 * depth);
        let mut line = |what: String| writeln!(text, "{:<42} {what}", format!("{place} {head}")).unwrap();
        if key & 7 == 0 {
            match shown {
                Shown::Signed => line(format!("{name} = {}", (number >> 1) as i64 ^ -((number & 1) as i64))),
                _ => line(format!("{name} = {number}")),
            }
            continue;
        }
        let body = &bytes[at..at + number as usize];
        match shown {
            Shown::Message(inner) => {
                line(format!("{name}, {} bytes", body.len()));
                annotate(text, body, offset + at, inner, depth + 1);
            }
            Shown::Text => line(format!("{name} = {:?}", std::str::from_utf8(body).unwrap())),
            Shown::Numbers => {
                let (mut from, mut numbers) = (0, Vec::new());
                while from < body.len() {
                    numbers.push(varint(body, &mut from));
                }
                line(format!("{name} = {numbers:?}  ({})", hex(body)));
            }
            Shown::Bits => {
                let bits: String = body
                    .iter()
                    .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1))
                    .map(|bit| char::from(b'0' + bit))
                    .collect();
                line(format!("{name} = {}  (bits in order: {bits})", hex(body)));
            }
            _ => line(format!("{name} = {}", hex(body))),
        }
        at += body.len();
    }
}
