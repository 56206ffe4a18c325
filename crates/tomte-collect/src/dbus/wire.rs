//! How D-Bus writes values: aligned, in the byte order that the sender likes.
//!
//! Everything comes from outside: lengths are checked against what is there,
//! nesting is limited, and nothing is reserved that was only promised.

use std::collections::HashMap;

/// How deep containers may be nested; the specification allows 64.
const DEEPEST: u8 = 32;
/// More than this no message of systemd has, and none is taken.
pub(super) const MOST: usize = 16 << 20;

/// What cannot be understood of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer of D-Bus is not understood: {0}")]
pub(crate) struct BadMessage(pub(crate) &'static str);

type Result<T> = std::result::Result<T, BadMessage>;

/// The value of a property, as far as anybody here wants to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `b`
    Bool(bool),
    /// `y n q i u x t`, whichever; those without a sign, beyond 63 bits, are
    /// cut there by nobody: see [`Value::unsigned`].
    Unsigned(u64),
    /// `n i x`
    Signed(i64),
    /// `s o g`
    Text(String),
    /// `as`; of `a(sst)`, which is how systemd writes the times of a timer, the
    /// second of each.
    Texts(Vec<String>),
    /// Anything else, skipped.
    Other,
}

impl Value {
    /// The number, where it is one and means one: systemd writes
    /// 18446744073709551615 for "not available" and "no limit".
    pub(crate) fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value).filter(|value| *value != u64::MAX),
            Self::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads values one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Reader<'a> {
    /// Of a body, or a message from its start (alignment counts from there).
    pub(crate) fn new(data: &'a [u8], little: bool) -> Self {
        Self { data, at: 0, little }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn align(&mut self, to: usize) -> Result<()> {
        let at = self.at.next_multiple_of(to);
        if at > self.data.len() {
            return Err(BadMessage("it ends too early"));
        }
        self.at = at;
        Ok(())
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.data.len());
        let end = end.ok_or(BadMessage("it ends too early"))?;
        let bytes = &self.data[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let mut bytes: [u8; N] = self.bytes(N)?.try_into().map_err(|_| BadMessage("it ends too early"))?;
        if !self.little {
            bytes.reverse();
        }
        Ok(bytes)
    }

    /// `u`
    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// `s` or `o`
    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let length = self.u32()? as usize;
        let bytes = self.bytes(length)?;
        self.bytes(1)?;
        str::from_utf8(bytes).map_err(|_| BadMessage("a text is not UTF-8"))
    }

    /// `g`
    pub(super) fn signature(&mut self) -> Result<&'a str> {
        let length = usize::from(self.u8()?);
        let bytes = self.bytes(length)?;
        self.bytes(1)?;
        str::from_utf8(bytes).map_err(|_| BadMessage("a signature is not ASCII"))
    }

    /// The beginning of an array: where it ends.
    pub(crate) fn array(&mut self, alignment: usize) -> Result<usize> {
        let length = self.u32()? as usize;
        self.align(alignment)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.data.len());
        end.ok_or(BadMessage("it ends too early"))
    }

    /// Whether there is more of an array that ends there.
    pub(crate) fn more(&self, end: usize) -> bool {
        self.at < end
    }

    /// The beginning of a struct or of an entry of a dictionary.
    pub(crate) fn structure(&mut self) -> Result<()> {
        self.align(8)
    }

    /// `v`
    pub(crate) fn variant(&mut self) -> Result<Value> {
        let signature = self.signature()?;
        self.value(signature)
    }

    /// A value of that one complete type.
    fn value(&mut self, signature: &str) -> Result<Value> {
        Ok(match signature {
            "b" => Value::Bool(self.u32()? != 0),
            "y" => Value::Unsigned(self.u8()?.into()),
            "q" => Value::Unsigned(u16::from_le_bytes(self.fixed()?).into()),
            "u" => Value::Unsigned(self.u32()?.into()),
            "t" => Value::Unsigned(self.u64()?),
            "n" => Value::Signed(i16::from_le_bytes(self.fixed()?).into()),
            "i" => Value::Signed(i32::from_le_bytes(self.fixed()?).into()),
            "x" => Value::Signed(i64::from_le_bytes(self.fixed()?)),
            "s" | "o" => Value::Text(self.text()?.to_owned()),
            "g" => Value::Text(self.signature()?.to_owned()),
            "as" => {
                let end = self.array(4)?;
                let mut texts = Vec::new();
                while self.more(end) {
                    texts.push(self.text()?.to_owned());
                }
                Value::Texts(texts)
            }
            "a(sst)" => {
                let end = self.array(8)?;
                let mut texts = Vec::new();
                while self.more(end) {
                    self.structure()?;
                    self.text()?;
                    texts.push(self.text()?.to_owned());
                    self.u64()?;
                }
                Value::Texts(texts)
            }
            other => {
                let rest = self.skip(other.as_bytes(), 0)?;
                if !rest.is_empty() {
                    return Err(BadMessage("a variant of several types"));
                }
                Value::Other
            }
        })
    }

    /// Skips the first complete type of a signature; returns the others.
    pub(crate) fn skip<'s>(&mut self, signature: &'s [u8], depth: u8) -> Result<&'s [u8]> {
        if depth > DEEPEST {
            return Err(BadMessage("it is nested too deep"));
        }
        let (&first, rest) = signature.split_first().ok_or(BadMessage("a type is missing"))?;
        match first {
            b'y' => drop(self.u8()?),
            b'n' | b'q' => drop(self.fixed::<2>()?),
            b'b' | b'i' | b'u' | b'h' => drop(self.fixed::<4>()?),
            b'x' | b't' | b'd' => drop(self.fixed::<8>()?),
            b's' | b'o' => drop(self.text()?),
            b'g' => drop(self.signature()?),
            b'v' => {
                let inner = self.signature()?;
                if !self.skip(inner.as_bytes(), depth + 1)?.is_empty() {
                    return Err(BadMessage("a variant of several types"));
                }
            }
            b'a' => {
                // An array says how long it is, so that its items need no look.
                let (item, behind) = complete(rest, 0)?;
                let end = self.array(alignment(item[0])?)?;
                self.at = end;
                return Ok(behind);
            }
            b'(' | b'{' => {
                self.structure()?;
                let close = if first == b'(' { b')' } else { b'}' };
                let mut inner = rest;
                while inner.first().is_some_and(|byte| *byte != close) {
                    inner = self.skip(inner, depth + 1)?;
                }
                return inner.split_first().map(|(_, rest)| rest).ok_or(BadMessage("a bracket is missing"));
            }
            _ => return Err(BadMessage("an unknown type")),
        }
        Ok(rest)
    }

    /// `a{sv}`: those entries whose names are wanted.
    pub(crate) fn properties(&mut self, wanted: &[&'static str]) -> Result<Properties> {
        let mut found = HashMap::with_capacity(wanted.len());
        let end = self.array(8)?;
        while self.more(end) {
            self.structure()?;
            let name = self.text()?;
            match wanted.iter().find(|wanted| **wanted == name) {
                Some(name) => drop(found.insert(*name, self.variant()?)),
                None => drop(self.skip(b"v", 0)?),
            }
        }
        Ok(Properties(found))
    }
}

/// Some properties of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Properties(HashMap<&'static str, Value>);

impl Properties {
    /// The number; see [`Value::unsigned`].
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.unsigned()
    }

    /// The number, which may be below zero.
    pub(crate) fn signed(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::Signed(value) => Some(*value),
            other => i64::try_from(other.unsigned()?).ok(),
        }
    }

    /// The text, empty where there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::text).unwrap_or_default()
    }

    /// Whether it is true; false where it is missing.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Bool(true)))
    }

    /// These properties.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(properties: [(&'static str, Value); N]) -> Self {
        Self(properties.into())
    }

    /// The list of texts.
    pub(crate) fn texts(&self, name: &str) -> &[String] {
        match self.0.get(name) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }
}

/// Splits off the first complete type of a signature.
fn complete(signature: &[u8], depth: u8) -> Result<(&[u8], &[u8])> {
    if depth > DEEPEST {
        return Err(BadMessage("it is nested too deep"));
    }
    let length = match signature.first() {
        None => return Err(BadMessage("a type is missing")),
        Some(b'a') => 1 + complete(&signature[1..], depth + 1)?.0.len(),
        Some(open @ (b'(' | b'{')) => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut length = 1;
            loop {
                match signature.get(length) {
                    None => return Err(BadMessage("a bracket is missing")),
                    Some(byte) if *byte == close => break length + 1,
                    Some(_) => length += complete(&signature[length..], depth + 1)?.0.len(),
                }
            }
        }
        Some(_) => 1,
    };
    Ok(signature.split_at(length))
}

fn alignment(first: u8) -> Result<usize> {
    Ok(match first {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b'h' | b's' | b'o' | b'a' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => return Err(BadMessage("an unknown type")),
    })
}

/// Writes values, little-endian.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(super) data: Vec<u8>,
}

impl Writer {
    pub(crate) fn align(&mut self, to: usize) {
        self.data.resize(self.data.len().next_multiple_of(to), 0);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.data.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.align(4);
        self.data.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(0));
        self.data.extend_from_slice(text.as_bytes());
        self.data.push(0);
    }

    pub(crate) fn signature(&mut self, text: &str) {
        self.data.push(u8::try_from(text.len()).unwrap_or(0));
        self.data.extend_from_slice(text.as_bytes());
        self.data.push(0);
    }
}

/// What only a service of the bus writes.
#[cfg(test)]
impl Writer {
    pub(crate) fn u64(&mut self, value: u64) {
        self.align(8);
        self.data.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.align(2);
        self.data.extend_from_slice(&value.to_le_bytes());
    }

    /// Begins an array; [`Self::end_array`] wants what this returns.
    pub(crate) fn begin_array(&mut self, alignment: usize) -> (usize, usize) {
        self.u32(0);
        let length = self.data.len() - 4;
        self.align(alignment);
        (length, self.data.len())
    }

    pub(crate) fn end_array(&mut self, (length, start): (usize, usize)) {
        let bytes = u32::try_from(self.data.len() - start).unwrap_or(0);
        self.data[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.data
    }
}

/// What stands before the body of a message that came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// 2 an answer, 3 an error; others are not for us.
    pub(super) kind: u8,
    pub(super) little: bool,
    pub(super) reply_to: Option<u32>,
    pub(super) error: Option<String>,
    pub(super) signature: String,
    /// Where the body begins, counted from the message's start.
    pub(super) body: usize,
    pub(super) length: usize,
}

/// The length of a whole message, from its first 16 bytes.
pub(super) fn message_length(start: &[u8; 16]) -> Result<usize> {
    let little = match start[0] {
        b'l' => true,
        b'B' => false,
        _ => return Err(BadMessage("a byte order that nobody knows")),
    };
    let mut reader = Reader::new(start, little);
    reader.bytes(4)?;
    let (body, _serial, fields) = (reader.u32()? as usize, reader.u32()?, reader.u32()? as usize);
    let length = 16 + fields.min(MOST).next_multiple_of(8) + body.min(MOST);
    if body > MOST || fields > MOST || length > MOST {
        return Err(BadMessage("it is longer than 16 MiB"));
    }
    Ok(length)
}

impl Header {
    /// Of a whole message.
    pub(super) fn parse(message: &[u8]) -> Result<Self> {
        let start = message.first_chunk::<16>().ok_or(BadMessage("it ends too early"))?;
        let length = message_length(start)?;
        let little = start[0] == b'l';
        let mut reader = Reader::new(message, little);
        let mut header = Self { kind: start[1], little, length, ..Self::default() };
        reader.bytes(12)?;
        let end = reader.array(8)?;
        while reader.more(end) {
            reader.structure()?;
            let field = reader.u8()?;
            let value = reader.variant()?;
            match (field, value) {
                (4, Value::Text(name)) => header.error = Some(name),
                (5, Value::Unsigned(serial)) => header.reply_to = u32::try_from(serial).ok(),
                (8, Value::Text(signature)) => header.signature = signature,
                _ => {}
            }
        }
        reader.align(8)?;
        header.body = reader.position();
        Ok(header)
    }
}

/// Reads a message as the bus sends them, and its body as far as its signature
/// goes: what a fuzzer is let loose on.
pub fn fuzz_message(message: &[u8]) {
    let Ok(header) = Header::parse(message) else { return };
    let Some(body) = message.get(header.body..) else { return };
    let mut signature = header.signature.as_bytes();
    let mut reader = Reader::new(body, header.little);
    while !signature.is_empty() {
        match reader.skip(signature, 0) {
            Ok(rest) => signature = rest,
            Err(_) => return,
        }
    }
    let _ = Reader::new(body, header.little).properties(&["Id", "NRestarts", "StateDirectory"]);
    let _ = crate::systemd::fuzz_units(body);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wanted_properties_are_picked_among_all_kinds() {
        let mut writer = Writer::default();
        let all = writer.begin_array(8);
        let entry = |writer: &mut Writer, name: &str, signature: &str| {
            writer.align(8);
            writer.text(name);
            writer.signature(signature);
        };
        entry(&mut writer, "NRestarts", "u");
        writer.u32(7);
        entry(&mut writer, "Nested", "a(sasb)");
        let nested = writer.begin_array(8);
        writer.text("x");
        writer.u32(0);
        writer.u32(1);
        writer.end_array(nested);
        entry(&mut writer, "MemoryMax", "t");
        writer.u64(u64::MAX);
        entry(&mut writer, "StateDirectory", "as");
        let texts = writer.begin_array(4);
        writer.text("nginx");
        writer.end_array(texts);
        entry(&mut writer, "Result", "s");
        writer.text("exit-code");
        writer.end_array(all);
        let wanted = ["NRestarts", "MemoryMax", "StateDirectory", "Result"];
        let found = Reader::new(&writer.data, true).properties(&wanted).unwrap();
        assert_eq!((found.number("NRestarts"), found.number("MemoryMax")), (Some(7), None));
        assert_eq!((found.texts("StateDirectory"), found.text("Result")), (&["nginx".to_owned()][..], "exit-code"));
        for end in 0..writer.data.len() {
            assert!(Reader::new(&writer.data[..end], true).properties(&wanted).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn nesting_and_lengths_are_limited() {
        let deep = vec![b'('; 200];
        assert!(Reader::new(&[0; 64], true).skip(&deep, 0).is_err());
        let deep = vec![b'a'; 200];
        assert!(Reader::new(&[0; 64], true).skip(&deep, 0).is_err());
        let mut start = [0; 16];
        start[0] = b'l';
        start[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(message_length(&start), Err(BadMessage("it is longer than 16 MiB")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(data: Vec<u8>, little: bool, signature in "[ybnqiuxtdsogvah(){}]{0,12}") {
            let _ = Reader::new(&data, little).properties(&["A"]);
            let _ = Reader::new(&data, little).skip(signature.as_bytes(), 0);
            fuzz_message(&data);
        }
    }
}
