//! Protobuf by hand, for messages that no version of ours writes.

/// A message under construction.
#[derive(Default, Clone)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    pub fn new() -> Self {
        Self::default()
    }
    fn push(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
    pub fn varint(mut self, field: u32, value: u64) -> Self {
        self.push(u64::from(field) << 3);
        self.push(value);
        self
    }
    /// A signed number, as `sint64` has it.
    pub fn signed(self, field: u32, value: i64) -> Self {
        self.varint(field, ((value << 1) ^ (value >> 63)) as u64)
    }
    pub fn bytes(mut self, field: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.push(u64::from(field) << 3 | 2);
        self.push(bytes.as_ref().len() as u64);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }
    pub fn message(self, field: u32, message: Self) -> Self {
        self.bytes(field, message.0)
    }
    pub fn fixed64(mut self, field: u32, value: u64) -> Self {
        self.push(u64::from(field) << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub fn fixed32(mut self, field: u32, value: u32) -> Self {
        self.push(u64::from(field) << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// Numbers in one field, as `repeated uint32` has them.
    pub fn packed(self, field: u32, numbers: &[u64]) -> Self {
        let mut packed = Self::new();
        numbers.iter().for_each(|&number| packed.push(number));
        self.bytes(field, packed.0)
    }
}

/// The frames of a message: type and contents.
pub fn frames(mut message: &[u8]) -> Vec<(u32, Vec<u8>)> {
    fn varint(input: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = input[0];
            *input = &input[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut frames = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        assert_eq!(key & 7, 2);
        let length = varint(&mut message) as usize;
        frames.push(((key >> 3) as u32, message[..length].to_vec()));
        message = &message[length..];
    }
    frames
}

/// The message as a newer version might write it: every frame has fields that
/// ours does not know, and there are frames of unknown types between.
pub fn from_the_future(message: &[u8]) -> Vec<u8> {
    let mut newer = Raw::new();
    for (frame_type, body) in frames(message) {
        let body = Raw(body).varint(900, 7).bytes(901, b"new").fixed64(902, 1).fixed32(903, 2);
        newer = newer.message(frame_type, body).bytes(77, b"a frame of version 2").varint(78, 1).fixed64(79, 1);
    }
    newer.0
}
