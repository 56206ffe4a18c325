//! A connection to the system bus.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tomte_model::Outcome;

use super::wire::{BadMessage, Header, Reader, Writer, message_length};

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// There is no bus.
    #[error("{} is not there", .path.display())]
    Missing { path: PathBuf },
    /// The bus does not let us.
    #[error("{what} is not allowed: {why}")]
    Denied { what: String, why: String },
    /// The connection broke, or nothing came in time.
    #[error("the system bus does not answer")]
    Io(#[from] io::Error),
    /// What came is not D-Bus.
    #[error(transparent)]
    Bad(#[from] BadMessage),
    /// The other side answered with an error.
    #[error("{name}: {text}")]
    Refused { name: String, text: String },
}

impl BusError {
    /// What it means for a scope.
    pub(crate) fn outcome(&self) -> Outcome {
        let error = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        match self {
            Self::Missing { .. } => Outcome::Unavailable { error },
            Self::Denied { .. } => Outcome::Denied {
                error,
                cure: "Let the agent's user speak to org.freedesktop.systemd1 on the system bus, as every user may \
                       unless a rule in /etc/dbus-1/system.d forbids it."
                    .to_owned(),
            },
            Self::Io(_) | Self::Bad(_) | Self::Refused { .. } => Outcome::Failed { error },
        }
    }

    /// Whether only this call failed, and the connection is still good.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Denied { .. })
    }
}

/// A method to call; its arguments are texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    pub(crate) arguments: &'a [&'a str],
}

/// An answer's body.
#[derive(Debug)]
pub(crate) struct Answer {
    message: Vec<u8>,
    body: usize,
    little: bool,
    signature: String,
}

impl Answer {
    /// The body, which must be of that signature.
    pub(crate) fn body(&self, signature: &str) -> Result<Reader<'_>, BusError> {
        if self.signature != signature {
            return Err(BadMessage("an answer of another type than expected").into());
        }
        Ok(Reader::new(&self.message[self.body..], self.little))
    }
}

/// Where the system bus listens.
const SOCKET: &str = "run/dbus/system_bus_socket";

/// An open connection. Calls are made one after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    serial: u32,
    /// All of one round must be over by then.
    until: Instant,
}

impl Connection {
    /// Connects and says hello.
    pub(crate) fn open(root: &crate::root::Root, within: Duration) -> Result<Self, BusError> {
        let path = root.path(SOCKET);
        let stream = connect(&path)?;
        let mut connection = Self { stream, serial: 0, until: Instant::now() + within };
        connection.authenticate()?;
        connection.call(&Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        })?;
        Ok(connection)
    }

    /// How long everything from now on may take.
    pub(crate) fn within(&mut self, time: Duration) {
        self.until = Instant::now() + time;
    }

    /// `EXTERNAL`: we are who the kernel says we are.
    fn authenticate(&mut self) -> Result<(), BusError> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let hex: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.patience()?;
        self.stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
            if line.len() > 512 {
                return Err(BadMessage("a greeting without an end").into());
            }
        }
        if !line.starts_with(b"OK ") {
            let why = String::from_utf8_lossy(&line).trim().to_owned();
            return Err(BusError::Denied { what: "signing in at the system bus".to_owned(), why });
        }
        self.stream.write_all(b"BEGIN\r\n")?;
        Ok(())
    }

    /// Calls and waits for the answer.
    pub(crate) fn call(&mut self, call: &Call<'_>) -> Result<Answer, BusError> {
        self.serial = self.serial.wrapping_add(1).max(1);
        let message = encode(call, self.serial);
        self.patience()?;
        self.stream.write_all(&message)?;
        loop {
            let (header, message) = self.message()?;
            // Signals and what else the bus says are not for us.
            if header.reply_to != Some(self.serial) || !matches!(header.kind, 2 | 3) {
                continue;
            }
            if header.kind == 2 {
                let Header { body, little, signature, .. } = header;
                return Ok(Answer { message, body, little, signature });
            }
            let name = header.error.unwrap_or_default();
            let mut body = Reader::new(message.get(header.body..).unwrap_or_default(), header.little);
            let text = if header.signature.starts_with('s') { body.text().unwrap_or_default() } else { "" };
            let text = text.chars().take(200).collect();
            return Err(if name.ends_with(".AccessDenied") {
                BusError::Denied { what: format!("{}.{}", call.interface, call.member), why: text }
            } else {
                BusError::Refused { name, text }
            });
        }
    }

    fn message(&mut self) -> Result<(Header, Vec<u8>), BusError> {
        let mut start = [0; 16];
        self.read(&mut start)?;
        let length = message_length(&start)?;
        let mut message = start.to_vec();
        while message.len() < length {
            // Grows with what has come, not with what was promised.
            let have = message.len();
            message.resize(length.min(have + 64 * 1024), 0);
            self.read(&mut message[have..])?;
        }
        let header = Header::parse(&message)?;
        Ok((header, message))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), BusError> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.patience()?;
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Lets the socket wait for what is left of the time.
    fn patience(&self) -> Result<(), BusError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.set_write_timeout(Some(left))?;
        Ok(())
    }
}

fn connect(path: &Path) -> Result<UnixStream, BusError> {
    UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BusError::Missing { path: path.to_owned() },
        io::ErrorKind::PermissionDenied => {
            BusError::Denied { what: format!("connecting to {}", path.display()), why: error.to_string() }
        }
        _ => error.into(),
    })
}

fn encode(call: &Call<'_>, serial: u32) -> Vec<u8> {
    let mut body = Writer::default();
    for argument in call.arguments {
        body.text(argument);
    }
    let mut message = Writer::default();
    // Little-endian, a method call, no flags, version 1.
    message.data.extend_from_slice(b"l\x01\x00\x01");
    message.u32(u32::try_from(body.data.len()).unwrap_or(0));
    message.u32(serial);
    message.u32(0);
    let fields = message.data.len();
    for (code, signature, text) in
        [(1, "o", call.path), (2, "s", call.interface), (3, "s", call.member), (6, "s", call.destination)]
    {
        message.align(8);
        message.u8(code);
        message.signature(signature);
        message.text(text);
    }
    if !call.arguments.is_empty() {
        message.align(8);
        message.u8(8);
        message.signature("g");
        message.signature(&"s".repeat(call.arguments.len()));
    }
    let length = u32::try_from(message.data.len() - fields).unwrap_or(0);
    message.data[fields - 4..fields].copy_from_slice(&length.to_le_bytes());
    message.align(8);
    message.data.extend_from_slice(&body.data);
    message.data
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use crate::root::Root;

    fn bus(answer: impl FnOnce(UnixStream) + Send + 'static) -> (tempfile::TempDir, thread::JoinHandle<()>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("run/dbus")).unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let serving = thread::spawn(move || answer(listener.accept().unwrap().0));
        (dir, serving)
    }

    #[test]
    fn what_we_send_can_be_read() {
        let call = Call {
            destination: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: &["org.freedesktop.systemd1.Manager", "Version"],
        };
        let message = encode(&call, 9);
        let header = Header::parse(&message).unwrap();
        assert_eq!((header.kind, header.signature.as_str(), header.length), (1, "ss", message.len()));
        let mut body = Reader::new(&message[header.body..], true);
        assert_eq!((body.text(), body.text()), (Ok("org.freedesktop.systemd1.Manager"), Ok("Version")));
    }

    #[test]
    fn no_bus_is_unavailable_and_a_refusal_is_denied() {
        let dir = tempfile::tempdir().unwrap();
        let none = Connection::open(&Root::new(dir.path()), Duration::from_secs(5)).unwrap_err();
        assert!(matches!(none.outcome(), Outcome::Unavailable { .. }), "{none:?}");
        let (dir, serving) = bus(|mut stream| {
            let mut said = [0; 64];
            let _ = stream.read(&mut said).unwrap();
            stream.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        });
        let refused = Connection::open(&Root::new(dir.path()), Duration::from_secs(60)).unwrap_err();
        assert!(matches!(refused.outcome(), Outcome::Denied { .. }), "{refused:?}");
        serving.join().unwrap();
    }

    #[test]
    fn a_bus_that_hangs_or_talks_nonsense_fails_and_does_not_hang() {
        // Silence: the time is over at once, since there is none.
        let (dir, serving) = bus(drop);
        let error = Connection::open(&Root::new(dir.path()), Duration::ZERO).unwrap_err();
        assert!(matches!(error.outcome(), Outcome::Failed { .. }), "{error:?}");
        serving.join().unwrap();
        let (dir, serving) = bus(|mut stream| {
            let mut said = [0; 256];
            let _ = stream.read(&mut said).unwrap();
            stream.write_all(b"OK 1234\r\n").unwrap();
            stream.write_all(&[b'x'; 64]).unwrap();
        });
        let error = Connection::open(&Root::new(dir.path()), Duration::from_secs(60)).unwrap_err();
        assert!(matches!(error, BusError::Bad(_) | BusError::Io(_)), "{error:?}");
        serving.join().unwrap();
    }
}
