//! How agent and helper speak: one request and one answer a connection. Both
//! are a head in JSON behind its length (four bytes, the highest first); an
//! answer's head says how many bytes of body follow it.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Answer, Refusal, Request};

/// What a message may take at most.
#[derive(Debug)]
pub struct Frame;

impl Frame {
    /// Bytes of a request.
    pub const REQUEST: usize = 4 * 1024;
    /// Bytes of an answer's head.
    pub const HEAD: usize = 64 * 1024;
    /// Bytes of an answer's body.
    pub const BODY: usize = 8 << 20;
}

/// Why a message was not understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side went away or is too slow.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// It announces more than may be.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// It is not what was agreed.
    #[error("a message is not understood")]
    NotUnderstood(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Head {
    Answer { status: Option<i32>, complaint: String, body: usize },
    Refusal(Refusal),
}

/// Asks.
///
/// # Errors
/// When the connection breaks.
pub fn write_request(mut to: impl Write, request: &Request) -> Result<(), FrameError> {
    write_head(&mut to, request)?;
    Ok(to.flush()?)
}

/// Reads what is asked.
///
/// # Errors
/// When the connection breaks or it makes no sense.
pub fn read_request(mut from: impl Read) -> Result<Request, FrameError> {
    read_head(&mut from, Frame::REQUEST)
}

/// Answers.
///
/// # Errors
/// When the connection breaks.
pub fn write_answer(mut to: impl Write, answer: &Result<Answer, Refusal>) -> Result<(), FrameError> {
    match answer {
        Ok(Answer { body, .. }) if body.len() > Frame::BODY => {
            write_head(&mut to, &Head::Refusal(Refusal::Failed("the answer is too long".to_owned())))?;
        }
        Ok(Answer { status, body, complaint }) => {
            let head = Head::Answer { status: *status, complaint: complaint.clone(), body: body.len() };
            write_head(&mut to, &head)?;
            to.write_all(body)?;
        }
        Err(refusal) => write_head(&mut to, &Head::Refusal(refusal.clone()))?,
    }
    Ok(to.flush()?)
}

/// Reads the answer.
pub(super) fn read_answer(mut from: impl Read) -> Result<Result<Answer, Refusal>, FrameError> {
    match read_head(&mut from, Frame::HEAD)? {
        Head::Refusal(refusal) => Ok(Err(refusal)),
        Head::Answer { body, .. } if body > Frame::BODY => Err(FrameError::TooLong(body)),
        Head::Answer { status, complaint, body: length } => {
            let mut body = Vec::new();
            // Memory is taken as bytes come, not as they are announced.
            from.take(length as u64).read_to_end(&mut body)?;
            if body.len() < length {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            Ok(Ok(Answer { status, body, complaint }))
        }
    }
}

fn write_head(to: &mut impl Write, head: &impl Serialize) -> Result<(), FrameError> {
    let text = serde_json::to_vec(head)?;
    let length = u32::try_from(text.len()).map_err(|_| FrameError::TooLong(text.len()))?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.extend(text);
    Ok(to.write_all(&whole)?)
}

fn read_head<T: for<'a> Deserialize<'a>>(from: &mut impl Read, most: usize) -> Result<T, FrameError> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(FrameError::TooLong(length));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn framed(text: &str) -> Vec<u8> {
        [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
    }

    #[test]
    fn requests_and_answers_travel() {
        let smart = |kind: Option<&str>| Request::Smart { device: "/dev/sda".into(), kind: kind.map(Into::into) };
        for request in [smart(None), smart(Some("megaraid,4")), Request::SmartScan] {
            let mut bytes = Vec::new();
            write_request(&mut bytes, &request).unwrap();
            assert_eq!(read_request(bytes.as_slice()).unwrap(), request);
        }
        let answer = Answer { status: Some(4), body: b"{}".repeat(9000), complaint: "x".into() };
        let denied = Refusal::Denied { error: "no".into(), cure: "do".into() };
        for answer in [Ok(answer), Err(denied), Err(Refusal::Invalid("sdz".into()))] {
            let mut bytes = Vec::new();
            write_answer(&mut bytes, &answer).unwrap();
            assert_eq!(read_answer(bytes.as_slice()).unwrap(), answer);
            bytes.pop();
            assert!(read_answer(bytes.as_slice()).is_err(), "cut short");
        }
    }

    #[test]
    fn what_was_not_agreed_is_refused() {
        for text in ["", "{}", "null", "\"shell\"", r#"{"smart":{"device":"/dev/sda","then":"rm"}}"#, r#"{"smart":{}}"#]
        {
            assert!(matches!(read_request(framed(text).as_slice()), Err(FrameError::NotUnderstood(_))), "{text}");
        }
        assert!(matches!(read_request(&[0xff; 9][..]), Err(FrameError::TooLong(_))));
        assert!(matches!(read_request(&[0, 0][..]), Err(FrameError::Io(_))));
        let huge = framed(r#"{"answer":{"status":0,"complaint":"","body":99999999}}"#);
        assert!(matches!(read_answer(huge.as_slice()), Err(FrameError::TooLong(99_999_999))));
        let mut bytes = Vec::new();
        write_answer(
            &mut bytes,
            &Ok(Answer { status: None, body: vec![0; Frame::BODY + 1], complaint: String::new() }),
        )
        .unwrap();
        assert!(matches!(read_answer(bytes.as_slice()), Ok(Err(Refusal::Failed(_)))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>, text: String) {
            let _ = read_request(bytes.as_slice());
            let _ = read_answer(bytes.as_slice());
            let _ = read_request(framed(&text).as_slice());
            let _ = read_answer(framed(&text).as_slice());
        }
    }
}
