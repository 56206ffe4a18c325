//! Commands from a broker: what a request and its answer look like, and which
//! requests are looked at.
//!
//! Everything here is from outside. [`Intake`] counts a message before anything
//! is made of it, so that a flood costs next to nothing; what it lets through
//! is bounded and understood, and still allowed by nobody: that is for who owns
//! the list of commands to say.

use ring::hmac;
use serde::Deserialize;
use serde_json::json;

/// Longer requests are not read.
pub const MOST_BYTES: usize = 16 * 1024;
/// No request has more parameters.
const MOST_PARAMETERS: usize = 16;
/// No parameter is longer.
const LONGEST_PARAMETER: usize = 1024;
/// No id is longer.
const LONGEST_ID: usize = 100;
/// A signature's time may be off by so much, in seconds.
pub const SKEW: i64 = 60;
/// So many requests may come at once, where they come seldom.
const BURST: f64 = 10.0;
/// Requests over the limit are summed up this often, in milliseconds.
const SUM_UP_EVERY: u64 = 60_000;

/// A request that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The command's trigger.
    pub command: String,
    /// Its parameters.
    pub params: Vec<String>,
    /// The request's own id; where a signed one has none, its nonce.
    pub request_id: Option<String>,
    /// What is needed to check who it is from.
    pub signature: Option<Signature>,
}

/// Who a request is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// When it was made, in seconds since 1970.
    pub time: i64,
    /// What makes it unlike any other.
    pub nonce: String,
    /// HMAC-SHA256 of [`signed_text`], in hexadecimal digits.
    pub signature: String,
    /// The id that was signed with it.
    request_id: String,
}

/// Why a request is not looked at further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In words; nothing of the request is repeated.
    pub reason: &'static str,
    /// Its id, as far as it could be read.
    pub request_id: Option<String>,
}

/// What is made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A request.
    Request(Request),
    /// It is refused, and told so.
    Refused(Refusal),
    /// It is over the limit, or empty: nothing is said.
    Dropped,
}

/// Lets a bounded number of requests through. Times are milliseconds of any
/// clock that does not jump.
#[derive(Debug)]
pub struct Intake {
    per_minute: u32,
    left: f64,
    at: u64,
    dropped: u64,
    told_at: Option<u64>,
}

impl Intake {
    /// For so many requests a minute.
    #[must_use]
    pub fn new(per_minute: u32, now: u64) -> Self {
        let left = BURST.min(f64::from(per_minute));
        Self { per_minute, left, at: now, dropped: 0, told_at: None }
    }

    /// Another limit from now on.
    pub fn set_limit(&mut self, per_minute: u32) {
        self.per_minute = per_minute;
    }

    /// Takes a message.
    pub fn take(&mut self, payload: &[u8], retained: bool, now: u64) -> Taken {
        if payload.is_empty() {
            // A retained request was taken back.
            return Taken::Dropped;
        }
        let passed = now.saturating_sub(self.at) as f64 / 60_000.0;
        self.at = now;
        self.left = (self.left + passed * f64::from(self.per_minute)).min(BURST.min(f64::from(self.per_minute)));
        if self.left < 1.0 {
            self.dropped += 1;
            self.told_at.get_or_insert(now);
            return Taken::Dropped;
        }
        self.left -= 1.0;
        let refused = |reason| Taken::Refused(Refusal { reason, request_id: None });
        if retained {
            return refused("a command must not be retained");
        }
        match understood(payload) {
            Ok(request) => Taken::Request(request),
            Err(refusal) => Taken::Refused(refusal),
        }
    }

    /// How many were over the limit, now and then.
    pub fn dropped(&mut self, now: u64) -> Option<u64> {
        let since = self.told_at?;
        if now.saturating_sub(since) < SUM_UP_EVERY {
            return None;
        }
        self.told_at = None;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[derive(Deserialize)]
struct Wire {
    command: String,
    #[serde(default)]
    params: Vec<Parameter>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    time: Option<i64>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    signature: Option<String>,
}

/// A parameter as people write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Parameter {
    Text(String),
    Number(i64),
}

fn understood(payload: &[u8]) -> Result<Request, Refusal> {
    let refused = |reason| Refusal { reason, request_id: None };
    if payload.len() > MOST_BYTES {
        return Err(refused("the request is too long"));
    }
    let text = std::str::from_utf8(payload).map_err(|_| refused("the request is not UTF-8"))?;
    let not_understood = "the request is not {\"command\":\"…\",\"params\":[…],\"request_id\":\"…\"}";
    let wire: Wire = serde_json::from_str(text).map_err(|_| refused(not_understood))?;
    let plain = |text: &str, longest: usize| text.len() <= longest && !text.chars().any(char::is_control);
    if wire.request_id.as_ref().is_some_and(|id| id.is_empty() || !plain(id, LONGEST_ID)) {
        return Err(refused("the request_id is empty, too long, or not plain text"));
    }
    let request_id = wire.request_id;
    let refused = |reason| Refusal { reason, request_id: request_id.clone() };
    let params: Vec<String> = wire
        .params
        .into_iter()
        .map(|parameter| match parameter {
            Parameter::Text(text) => text,
            Parameter::Number(number) => number.to_string(),
        })
        .collect();
    if !plain(&wire.command, LONGEST_ID) || params.len() > MOST_PARAMETERS {
        return Err(refused("there is no such command, or it has too many parameters"));
    }
    if !params.iter().all(|parameter| plain(parameter, LONGEST_PARAMETER)) {
        return Err(refused("a parameter is too long, or holds control characters"));
    }
    let signature = match (wire.time, wire.nonce, wire.signature) {
        (Some(time), Some(nonce), Some(signature)) => {
            if nonce.len() < 8 || !plain(&nonce, LONGEST_ID) {
                return Err(refused("a nonce has 8 to 100 characters"));
            }
            let request_id = request_id.clone().unwrap_or_default();
            Some(Signature { time, nonce, signature, request_id })
        }
        (None, None, None) => None,
        _ => return Err(refused("a signature has a time, a nonce and the signature itself")),
    };
    let made_of_nonce = signature.as_ref().map(|signature| format!("nonce-{}", signature.nonce));
    Ok(Request { command: wire.command, params, request_id: request_id.or(made_of_nonce), signature })
}

/// The text that a signature signs: these lines, each with a newline, none of
/// which can hold one.
#[must_use]
pub fn signed_text(host: &str, request: &Request, signature: &Signature) -> String {
    let Signature { time, nonce, request_id, .. } = signature;
    let mut text = format!(
        "tomte-command-1\n{host}\n{}\n{request_id}\n{time}\n{nonce}\n{}\n",
        request.command,
        request.params.len()
    );
    for parameter in &request.params {
        text.push_str(parameter);
        text.push('\n');
    }
    text
}

/// Whether a request was signed with that key, for that host, just now. That
/// it is not made twice its id says, which is signed too, or is the nonce.
///
/// # Errors
/// In words, when it was not.
pub fn verify(request: &Request, host: &str, key: &[u8], now_seconds: i64) -> Result<(), &'static str> {
    let signature = request.signature.as_ref().ok_or("the request is not signed")?;
    if now_seconds.abs_diff(signature.time) > SKEW.unsigned_abs() {
        return Err("the signature's time is not now");
    }
    let bytes = unhex(&signature.signature).ok_or("the signature is not written in hexadecimal digits")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::verify(&key, signed_text(host, request, signature).as_bytes(), &bytes).map_err(|_| "the signature is wrong")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// What an answer says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer<'a> {
    /// The request's id.
    pub request_id: &'a str,
    /// The command.
    pub command: &'a str,
    /// `refused`, `pending`, `approved`, `running`, `completed`, `failed`, …
    pub status: &'a str,
    /// The Action's id, where there is one.
    pub action: Option<String>,
    /// Until when somebody has to decide.
    pub expires_at: Option<String>,
    /// The exit status.
    pub exit_code: Option<i32>,
    /// What it printed.
    pub output: &'a str,
    /// Whether it printed more.
    pub truncated: bool,
    /// How long it ran.
    pub duration_seconds: Option<f64>,
    /// What went wrong.
    pub error: &'a str,
}

impl Answer<'_> {
    /// As it goes to the topic.
    #[must_use]
    pub fn text(&self, host: &str, at: &str) -> String {
        json!({
            "request_id": self.request_id, "command": self.command, "status": self.status,
            "exit_code": self.exit_code, "output": self.output, "truncated": self.truncated,
            "duration_seconds": self.duration_seconds, "error": self.error,
            "action": self.action, "expires_at": self.expires_at, "hostname": host, "timestamp": at,
        })
        .to_string()
    }
}

/// What a button or a switch sends: no id, so that two presses are two requests.
#[must_use]
pub fn payload(command: &str, params: &[String]) -> String {
    match params {
        [] => json!({ "command": command }).to_string(),
        params => json!({ "command": command, "params": params }).to_string(),
    }
}

/// For the fuzzer.
pub fn fuzz_request(bytes: &[u8]) {
    let mut intake = Intake::new(6000, 0);
    if let Taken::Request(request) = intake.take(bytes, false, 0) {
        assert!(request.params.len() <= MOST_PARAMETERS);
        let _ = verify(&request, "nas", b"0123456789abcdef", 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn taken(payload: &[u8]) -> Taken {
        Intake::new(30, 0).take(payload, false, 0)
    }

    fn request(text: &str) -> Request {
        match taken(text.as_bytes()) {
            Taken::Request(request) => request,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refused(payload: &[u8]) -> Refusal {
        match taken(payload) {
            Taken::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_are_understood() {
        let df = request(r#"{"command":"df","params":["/home",3],"request_id":"r1","more":{"x":1}}"#);
        assert_eq!(
            (df.command.as_str(), df.params, df.request_id),
            ("df", vec!["/home".into(), "3".into()], Some("r1".into()))
        );
        assert_eq!(request(&payload("list", &[])).request_id, None);
        assert_eq!(request(&payload("a", &["b\"c".to_owned()])).params, ["b\"c"]);
    }

    #[test]
    fn rubbish_is_refused_without_being_repeated() {
        assert!(refused(b"{").reason.contains("is not {"));
        assert!(refused(b"\xff\xfe").reason.contains("UTF-8"));
        assert!(refused(&vec![b'x'; 1 << 20]).reason.contains("too long"));
        assert!(refused(br#"{"command":"a","params":["x\ny"]}"#).reason.contains("control"));
        assert!(refused(br#"{"command":"a","params":"x"}"#).reason.contains("is not {"));
        let many = format!(r#"{{"command":"a","params":[{}"x"],"request_id":"r"}}"#, "\"x\",".repeat(16));
        assert_eq!(refused(many.as_bytes()).request_id.as_deref(), Some("r"));
        assert!(refused(br#"{"command":"a","request_id":""}"#).reason.contains("request_id"));
        assert!(refused(br#"{"command":"a","time":3}"#).reason.contains("nonce"));
        let mut intake = Intake::new(30, 0);
        let Taken::Refused(retained) = intake.take(br#"{"command":"a"}"#, true, 0) else { panic!("taken") };
        assert!(retained.reason.contains("retained"));
        assert_eq!(intake.take(b"", true, 0), Taken::Dropped);
    }

    #[test]
    fn a_flood_is_counted_and_summed_up() {
        let mut intake = Intake::new(30, 0);
        let mut let_through = 0;
        for _ in 0..10_000 {
            let_through += usize::from(intake.take(br#"{"command":"a"}"#, false, 0) != Taken::Dropped);
        }
        assert_eq!(let_through, 10);
        assert_eq!(intake.dropped(59_999), None);
        assert_eq!(intake.dropped(60_000), Some(9_990));
        assert_eq!(intake.dropped(120_000), None);
        assert!(matches!(intake.take(br#"{"command":"a"}"#, false, 2_000), Taken::Request(_)), "one every two seconds");
        assert_eq!(intake.take(br#"{"command":"a"}"#, false, 2_000), Taken::Dropped);
    }

    #[test]
    fn a_signature_is_for_one_request_of_one_host_at_one_time() {
        const KEY: &[u8] = b"0123456789abcdef";
        let signed = |text: &str| {
            let mut request = request(text);
            let signature = request.signature.clone().unwrap();
            let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
            let tag = hmac::sign(&key, signed_text("nas", &request, &signature).as_bytes());
            let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            request.signature = Some(Signature { signature: hex, ..signature });
            request
        };
        let good = signed(r#"{"command":"df","params":["/"],"time":1000,"nonce":"abcdefgh","signature":""}"#);
        assert_eq!(verify(&good, "nas", KEY, 1060), Ok(()));
        assert_eq!(good.request_id.as_deref(), Some("nonce-abcdefgh"));
        for (request, host, key, now) in [
            (good.clone(), "nas", KEY, 1061),
            (good.clone(), "nas", KEY, 939),
            (good.clone(), "attic", KEY, 1000),
            (good.clone(), "nas", &b"0123456789abcdeX"[..], 1000),
            (Request { command: "rm".into(), ..good.clone() }, "nas", KEY, 1000),
            (Request { params: vec!["/".into(), String::new()], ..good.clone() }, "nas", KEY, 1000),
            (Request { signature: None, ..good.clone() }, "nas", KEY, 1000),
        ] {
            assert!(verify(&request, host, key, now).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>, text in "\\{\"command\":\"[a-z]{0,9}\",\"params\":\\[[\"a1,]{0,9}\\].{0,9}") {
            fuzz_request(&bytes);
            fuzz_request(text.as_bytes());
        }
    }
}
