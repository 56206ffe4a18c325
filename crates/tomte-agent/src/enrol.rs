//! `tomte-agent enroll`: from a pasted line to a host that its hub knows.
//!
//! The code makes both sides sure of each other: it holds a secret that works
//! once, and the hash of the hub's key. What comes back, the token, goes to
//! the state folder; the configuration gets the hub's address and nothing else.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;
use tomte_api::host::{EnrolRequest, Enrolled};
use tomte_model::{Clock, HostName, Timestamp};

use crate::config::{BadHubUrl, ConfigError, Found, HubUrl, Layers, SAMPLE, Sources, places};
use crate::connect::{ConnectError, Endpoint};
use crate::http::{HttpError, ask};
use crate::state::{Enrolment, StateDir, StateError};
use crate::tls::{Pin, TlsError};

/// Before this a clock was certainly never set: 2024.
const CLOCK_IS_WRONG: Timestamp = Timestamp::from_millis(1_704_067_200_000);

/// Why a host was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The address makes no sense.
    #[error(transparent)]
    Url(#[from] BadHubUrl),
    /// The code makes no sense.
    #[error("this is not an enrolment code{}; paste the whole line that `tomte host add NAME` prints", why(.0))]
    Code(&'static str),
    /// The configuration that is there makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The hub cannot be asked.
    #[error("{}", hint(.0))]
    Http(#[source] HttpError),
    /// The hub says no.
    #[error(
        "the hub refuses: {detail}; a code works once and for 10 minutes, so make a new one on the hub with \
         `tomte host add NAME`"
    )]
    Refused {
        /// What it says.
        detail: String,
    },
    /// The hub answers with something that is no answer.
    #[error("{url} answers with something that is not Tomte's (HTTP status {status}); check the address")]
    NoHub {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Enrolled, and the configuration could not be written.
    #[error("this host is enrolled, but {} could not be written; put `hub = \"{url}\"` into it", path.display())]
    Write {
        /// The configuration.
        path: PathBuf,
        /// What should stand in it.
        url: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn why(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

fn hint(error: &HttpError) -> String {
    match error {
        HttpError::Connect(ConnectError::Tls { authority, .. }) => format!(
            "{authority} is not the hub that made this code, or something in between speaks for it; if a proxy with a \
             certificate of its own stands before the hub, start the hub with --public-url"
        ),
        HttpError::Protocol { authority, .. } => format!(
            "{authority} does not answer as a hub does; check port and scheme (a hub speaks plain HTTP on loopback, \
             and https elsewhere)"
        ),
        other => other.to_string(),
    }
}

/// An enrolment code, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    secret: [u8; 16],
    pin: Pin,
    /// Whether the hub is known by a public certificate instead of its key.
    public: bool,
}

impl Code {
    /// The secret, as the API takes it.
    #[must_use]
    pub fn secret(&self) -> String {
        BASE64.encode(self.secret)
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("public", &self.public).finish_non_exhaustive()
    }
}

impl std::str::FromStr for Code {
    type Err = EnrolError;
    fn from_str(text: &str) -> Result<Self, EnrolError> {
        let bytes = BASE64.decode(text.trim()).map_err(|_| EnrolError::Code("letters that no code has"))?;
        match bytes.split_first() {
            Some((1, _)) => {}
            Some(_) => return Err(EnrolError::Code("a newer hub made it; update this agent")),
            None => return Err(EnrolError::Code("it is empty")),
        }
        let parts = bytes.get(1..).and_then(|rest| rest.split_first()).and_then(|(flags, rest)| {
            let (secret, pin) = rest.split_at_checked(16)?;
            Some(Self { secret: secret.try_into().ok()?, pin: Pin(pin.try_into().ok()?), public: flags & 1 != 0 })
        });
        parts.ok_or(EnrolError::Code("a part of it is missing"))
    }
}

/// What came of an enrolment.
#[derive(Debug)]
pub struct Outcome {
    /// What the hub calls this host.
    pub name: String,
    /// The configuration that names the hub.
    pub config: PathBuf,
    /// Whether it was written anew.
    pub new: bool,
    /// The state folder.
    pub state: PathBuf,
}

/// Enrols this host.
///
/// # Errors
/// With what to do about it.
pub async fn enrol(url: &str, code: &str, config: &Path, clock: &dyn Clock) -> Result<Outcome, EnrolError> {
    let url: HubUrl = url.parse()?;
    let code: Code = code.parse()?;
    let path = std::path::absolute(config).map_err(|source| ConfigError::Io { path: config.to_owned(), source })?;
    let sources = Sources::here(Some(path.clone()), Vec::new());
    let (own, state) = match Layers::read(&sources)? {
        Found::Layers(layers) => {
            let config = layers.resolve(&[])?;
            (Some(config.name), config.state_dir)
        }
        Found::Nothing(_) => (None, places(&path).0),
    };
    let dir = StateDir::open(state)?;
    let now = clock.now().wall;
    let mut identity = dir.identity_or_new(now)?;
    let pin = (!code.public).then_some(code.pin);
    let endpoint = Endpoint::new(url.clone(), pin, tomte_collect::clock_synchronised)?;
    let machine = tomte_collect::hostname(&tomte_collect::Root::system());
    let hostname = own.clone().flatten().map_or(machine, String::from);
    let request = EnrolRequest {
        secret: code.secret(),
        host_id: identity.host,
        hostname: HostName::normalised(&hostname).map_or(hostname, String::from),
        public_key: BASE64.encode(identity.public_key()?),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let body = serde_json::to_vec(&request).expect("the request is plain text");
    let answer = ask(&endpoint, "/api/v1/enroll", Some(body)).await.map_err(EnrolError::Http)?;
    let enrolled = understand(&answer.body, answer.status, &url, now)?;
    identity.host = enrolled.host_id;
    identity.enrolment = Some(Enrolment {
        url: url.to_string(),
        name: enrolled.name.clone(),
        token: enrolled.token,
        pin: pin.map(Pin::to_text),
    });
    dir.save_identity(&identity)?;
    let new = own.is_none();
    write_config(&path, &url, new).map_err(|source| EnrolError::Write {
        path: path.clone(),
        url: url.to_string(),
        source,
    })?;
    Ok(Outcome { name: enrolled.name, config: path, new, state: dir.path().to_owned() })
}

fn understand(body: &[u8], status: u16, url: &HubUrl, now: Timestamp) -> Result<Enrolled, EnrolError> {
    if (200..300).contains(&status) {
        return serde_json::from_slice(body).map_err(|_| EnrolError::NoHub { url: url.to_string(), status });
    }
    let Ok(problem) = serde_json::from_slice::<tomte_api::Problem>(body) else {
        return Err(EnrolError::NoHub { url: url.to_string(), status });
    };
    let mut detail = problem.detail.unwrap_or(problem.title);
    if now < CLOCK_IS_WRONG {
        detail.push_str(&format!(" (this host's clock says {now}, which cannot be right)"));
    }
    Err(EnrolError::Refused { detail })
}

/// Writes a new file from the sample, or changes only the hub's address.
fn write_config(path: &Path, url: &HubUrl, new: bool) -> io::Result<()> {
    let text = if new { SAMPLE.to_owned() } else { fs::read_to_string(path)? };
    let text = with_hub(&text, url);
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    // A link is kept: what it points to is replaced.
    let target = if new { path.to_owned() } else { fs::canonicalize(path)? };
    let mode = if new { 0o644 } else { fs::metadata(&target)?.mode() & 0o777 };
    let mut staged = target.clone().into_os_string();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&staged)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&staged, &target));
    if renamed.is_err() {
        let _ = fs::remove_file(&staged);
    }
    renamed
}

/// The text with that hub, everything else as it was.
fn with_hub(text: &str, url: &HubUrl) -> String {
    #[derive(Deserialize)]
    struct OnlyHub {
        hub: Option<toml::Spanned<String>>,
    }
    let value = format!("\"{url}\"");
    // The file has been read before, so that it is valid.
    if let Ok(OnlyHub { hub: Some(hub) }) = toml::from_str::<OnlyHub>(text) {
        let mut text = text.to_owned();
        text.replace_range(hub.span(), &value);
        return text;
    }
    // Where the sample mentions it; else before everything, where a plain key
    // belongs to no section.
    let line = format!("hub = {value}\n");
    let mut offset = 0;
    for mentioned in text.split_inclusive('\n') {
        if mentioned.trim_start().starts_with('[') {
            break;
        }
        offset += mentioned.len();
        if mentioned.starts_with("# hub = ") || mentioned.starts_with("#hub = ") {
            let (before, after) = text.split_at(offset);
            let newline = if before.ends_with('\n') { "" } else { "\n" };
            return format!("{before}{newline}{line}{after}");
        }
    }
    format!("{line}{text}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tomte_collect::SystemClock;

    use super::*;
    use crate::tls::tests::shown;

    fn url() -> HubUrl {
        "https://hub:8443".parse().unwrap()
    }

    fn code(flags: u8, pin: [u8; 32]) -> String {
        let mut bytes = vec![1, flags];
        bytes.extend([7; 16]);
        bytes.extend(pin);
        BASE64.encode(bytes)
    }

    #[test]
    fn codes_are_taken_apart() {
        let parsed: Code = format!(" {}\n", code(1, [9; 32])).parse().unwrap();
        assert_eq!((parsed.secret, parsed.pin.0, parsed.public), ([7; 16], [9; 32], true));
        assert!(!format!("{parsed:?}").contains('7'));
        for (bad, said) in [("", "empty"), ("!", "letters"), ("Ag", "update this agent"), ("AQAA", "missing")] {
            let error = bad.parse::<Code>().unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("tomte host add"), "{bad}: {error}");
        }
    }

    #[test]
    fn only_the_hubs_address_changes_in_a_file() {
        let mine = "# mine\nname = \"nas\" # keep\nhub   =  'https://old' # here\n[intervals]\nfast = \"5s\"\n";
        let changed = with_hub(mine, &url());
        assert_eq!(changed, mine.replace("'https://old'", "\"https://hub:8443\""));
        assert_eq!(
            with_hub("[log]\nlevel = \"warn\"\n", &url()),
            "hub = \"https://hub:8443\"\n[log]\nlevel = \"warn\"\n"
        );
        assert_eq!(with_hub("# hub = \"x\"", &url()), "# hub = \"x\"\nhub = \"https://hub:8443\"\n");
        let sample = with_hub(SAMPLE, &url());
        let file: crate::config::schema::FileConfig = toml::from_str(&sample).unwrap();
        assert_eq!(file.hub, Some(url()));
        assert_eq!(
            sample.replace("hub = \"https://hub:8443\"\n#", "#").lines().count() + 1,
            sample.lines().count() + 1
        );
    }

    /// A hub that answers one request.
    async fn hub(listener: TcpListener, status: &str, body: String) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        loop {
            let mut chunk = [0; 1024];
            let length = stream.read(&mut chunk).await.unwrap();
            request.extend_from_slice(&chunk[..length]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if text.ends_with('}') {
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
                return text;
            }
        }
    }

    async fn enrol_at(status: &str, body: &str, config: &Path) -> (Result<Outcome, EnrolError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let code = code(0, [1; 32]);
        tokio::join!(enrol(&url, &code, config, &SystemClock), hub(listener, status, body.to_owned()))
    }

    #[tokio::test]
    async fn a_host_is_enrolled_and_the_token_kept_apart_from_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("sub/agent.toml");
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let body = format!(r#"{{"host_id":"{id}","name":"nas","token":"geheim"}}"#);
        let (outcome, request) = enrol_at("200 OK", &body, &config).await;
        let outcome = outcome.unwrap();
        assert!(outcome.new && outcome.name == "nas");
        assert!(request.starts_with("POST /api/v1/enroll HTTP/1.1\r\n") && request.contains("\"public_key\""));
        let text = fs::read_to_string(&config).unwrap();
        assert!(text.contains("\nhub = \"http://127.0.0.1:") && !text.contains("geheim"));
        let identity = StateDir::open(&outcome.state).unwrap().identity().unwrap().unwrap();
        assert_eq!(identity.host.to_string(), id);
        assert_eq!(identity.enrolment.unwrap().token, "geheim");
        assert_eq!(outcome.state, folder.path().join("sub/agent.toml.d"));
        // Again, at another hub: the file is the user's now, and only the
        // address in it changes.
        fs::write(&config, format!("# mine\n{text}")).unwrap();
        let (outcome, _) = enrol_at("200 OK", &body, &config).await;
        assert!(!outcome.unwrap().new);
        let again = fs::read_to_string(&config).unwrap();
        let differs = |(a, b): &(&str, &str)| a != b;
        let before = format!("# mine\n{text}");
        let changed: Vec<_> = before.lines().zip(again.lines()).filter(differs).collect();
        assert!(changed.len() == 1 && changed[0].1.starts_with("hub = "), "{changed:?}");
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("agent.toml");
        let body = r#"{"type":"urn:tomte:problem:refused","title":"the code has expired","status":403}"#;
        let (outcome, _) = enrol_at("403 Forbidden", body, &config).await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("the code has expired") && error.contains("tomte host add"), "{error}");
        let (outcome, _) = enrol_at("404 Not Found", "<html>", &config).await;
        assert!(outcome.unwrap_err().to_string().contains("check the address"));
        assert!(!config.exists());
    }

    #[tokio::test]
    async fn another_hub_than_the_one_that_made_the_code_is_not_told_the_secret() {
        let real = shown(crate::tls::HUB_NAME, 2020, 2090);
        let other = shown(crate::tls::HUB_NAME, 2020, 2090);
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(other.leaf_key.clone()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![other.leaf.clone(), other.identity.clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("agent.toml");
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.err()
        };
        let wrong = code(0, real.pin.0);
        let (outcome, handshake) = tokio::join!(enrol(&url, &wrong, &config, &SystemClock), accept);
        assert!(handshake.is_some(), "the handshake must fail before anything is said");
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("not the hub that made this code") && error.contains("--public-url"), "{error}");
        // The right one is let in, by its key alone, at whatever address.
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut chunk = [0; 4096];
            let _ = stream.read(&mut chunk).await.unwrap();
            let body = r#"{"host_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","name":"nas","token":"t"}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let right = code(0, other.pin.0);
        let (outcome, ()) = tokio::join!(enrol(&url, &right, &config, &SystemClock), accept);
        assert_eq!(outcome.unwrap().name, "nas");
    }
}
