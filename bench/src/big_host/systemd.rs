//! Answers as the system bus and systemd behind it do, for the generated host:
//! as much of D-Bus as a client needs that asks for the list of units and for
//! the properties of one. See the D-Bus specification, "Message Protocol".

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use super::{NOW, UNITS, unit_name};

pub(super) fn serve(listener: &UnixListener) {
    for stream in listener.incoming().flatten() {
        // Who goes away while being answered is no loss.
        thread::spawn(move || drop(answer(stream)));
    }
}

fn answer(mut stream: UnixStream) -> std::io::Result<()> {
    let mut byte = [0];
    let mut said = Vec::new();
    while !said.ends_with(b"BEGIN\r\n") {
        stream.read_exact(&mut byte)?;
        said.push(byte[0]);
        if said.ends_with(b"\r\n") && !said.ends_with(b"BEGIN\r\n") {
            stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?;
        }
    }
    let mut serial = 0;
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (body, asked, fields) = (word(4) as usize, word(8), word(12) as usize);
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        stream.read_exact(&mut rest)?;
        // Everything asked for is a text somewhere in it.
        let text = String::from_utf8_lossy(&rest);
        serial += 1;
        let (signature, body) = if text.contains("ListUnits") {
            ("a(ssssssouso)", list())
        } else if text.contains("GetAll") {
            let unit = text.split("/unit/").nth(1).and_then(|rest| rest.split('\0').next()).unwrap_or_default();
            ("a{sv}", properties(unit))
        } else {
            let mut message = Message::default();
            message.variant_text(if text.contains("SystemState") { "running" } else { "257.9" });
            ("v", message.0)
        };
        stream.write_all(&reply(serial, asked, signature, &body))?;
    }
}

fn reply(serial: u32, to: u32, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Message(b"l\x02\x00\x01".to_vec());
    message.u32(body.len() as u32);
    message.u32(serial);
    message.u32(0);
    let fields = message.0.len();
    message.align(8);
    message.0.push(5);
    message.signature("u");
    message.u32(to);
    message.align(8);
    message.0.push(8);
    message.signature("g");
    message.signature(signature);
    let length = (message.0.len() - fields) as u32;
    message.0[fields - 4..fields].copy_from_slice(&length.to_le_bytes());
    message.align(8);
    message.0.extend_from_slice(body);
    message.0
}

/// The services, and the devices and mounts that every list holds besides.
fn list() -> Vec<u8> {
    let mut message = Message::default();
    message.u32(0);
    message.align(8);
    let start = message.0.len();
    let mut unit = |name: &str, sub: &str| {
        message.align(8);
        for text in [
            name,
            "What this unit is for, in a sentence",
            "loaded",
            "active",
            sub,
            "",
            "/org/freedesktop/systemd1/unit/x",
        ] {
            message.text(text);
        }
        message.u32(0);
        message.text("");
        message.text("/");
    };
    for number in 0..UNITS {
        unit(&unit_name(number), "running");
    }
    for number in 0..300 {
        unit(&format!("dev-disk-by\\x2did-{number}.device"), "plugged");
        unit(&format!("srv-{number}.mount"), "mounted");
    }
    for number in 0..30 {
        unit(&format!("job-{number}.timer"), "waiting");
    }
    let length = (message.0.len() - start) as u32;
    message.0[..4].copy_from_slice(&length.to_le_bytes());
    message.0
}

/// Some 200 properties, as many as a service has.
fn properties(escaped: &str) -> Vec<u8> {
    let name = escaped.replace("_2d", "-").replace("_2e", ".");
    let mut message = Message::default();
    message.u32(0);
    message.align(8);
    let start = message.0.len();
    for (key, value) in [
        ("Description", "What this unit is for, in a sentence"),
        ("LoadState", "loaded"),
        ("ActiveState", "active"),
        ("SubState", "running"),
        ("UnitFileState", "enabled"),
        ("Type", "simple"),
        ("Result", "success"),
        ("Unit", "job.service"),
    ] {
        message.key(key);
        message.variant_text(value);
    }
    message.key("ControlGroup");
    message.variant_text(&format!("/system.slice/{name}"));
    for key in ["StateChangeTimestamp", "ActiveExitTimestamp", "LastTriggerUSec"] {
        message.key(key);
        message.variant_u64((NOW as u64 - 3_600) * 1_000_000);
    }
    message.key("NextElapseUSecRealtime");
    message.variant_u64((NOW as u64 + 36_000) * 1_000_000);
    for other in 0..120 {
        message.key(&format!("SomethingElse{other}"));
        message.variant_text("a value of usual length");
        message.key(&format!("SomeNumber{other}"));
        message.variant_u64(u64::MAX);
    }
    let length = (message.0.len() - start) as u32;
    message.0[..4].copy_from_slice(&length.to_le_bytes());
    message.0
}

/// Values in the order and with the gaps that D-Bus wants.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }
    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }
    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }
    fn key(&mut self, key: &str) {
        self.align(8);
        self.text(key);
    }
    fn variant_text(&mut self, text: &str) {
        self.signature("s");
        self.text(text);
    }
    fn variant_u64(&mut self, value: u64) {
        self.signature("t");
        self.align(8);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}
