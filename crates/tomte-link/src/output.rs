//! Frames on their way into messages.

use bytes::Bytes;

use crate::encode::{Encoded, FRAME_SLACK};
use crate::limits::Limits;
use crate::wire::{self, to_hub};

/// Packs frames into as few messages as the limits allow.
pub(crate) struct Output {
    messages: Vec<Bytes>,
    current: Vec<u8>,
    frames: usize,
    unfolded: usize,
    limits: Limits,
}

impl Output {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { messages: Vec::new(), current: Vec::new(), frames: 0, unfolded: 0, limits: limits.clone() }
    }

    /// Adds a frame that unfolds to so many bytes.
    pub(crate) fn push(&mut self, frame_type: u32, body: &[u8], unfolded: usize) {
        if self.current.len() + body.len() + FRAME_SLACK > self.limits.message_bytes
            || self.frames == wire::MAX_FRAMES
            || self.unfolded + unfolded > self.limits.unfolded_bytes
        {
            self.flush();
        }
        wire::put_bytes(&mut self.current, frame_type, body);
        self.frames += 1;
        self.unfolded += unfolded;
    }

    /// Adds a report.
    pub(crate) fn push_report(&mut self, encoded: &Encoded) {
        for (frame_type, body) in &encoded.frames {
            let unfolded = if *frame_type == to_hub::REPORT { encoded.unfolded } else { 0 };
            self.push(*frame_type, body, unfolded);
        }
    }

    fn flush(&mut self) {
        if !self.current.is_empty() {
            self.messages.push(std::mem::take(&mut self.current).into());
        }
        (self.frames, self.unfolded) = (0, 0);
    }

    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.flush();
        self.messages
    }
}
