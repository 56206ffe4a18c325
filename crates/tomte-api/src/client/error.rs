//! Why a request to a hub came to nothing.

use std::io;
use std::path::PathBuf;

use crate::Problem;

/// Why a request came to nothing. The message says where and what to look at;
/// the cause is its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Not an address of a hub.
    #[error("{text:?} is not the address of a hub: {why}")]
    BadUrl {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file that should hold the token.
    #[error("cannot read the token in {}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token holds characters that no token has.
    #[error("the token in {origin} is not a token: it holds characters that cannot be sent")]
    BadToken {
        /// Where it was found.
        origin: String,
    },
    /// What should be trusted cannot be read or makes no sense.
    #[error("cannot trust {what}")]
    Trust {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing answers there.
    #[error("{}", unreachable(endpoint, why))]
    Unreachable {
        /// Where.
        endpoint: String,
        /// Why. The message says it already, so it is not called `source`.
        why: io::Error,
    },
    /// Somebody answers, but TLS fails.
    #[error("no TLS with the hub at {endpoint}: {}", tls_in_words(why))]
    Tls {
        /// Where.
        endpoint: String,
        /// Why. The message says it already, so it is not called `source`.
        why: io::Error,
    },
    /// The connection broke, or something that does not speak HTTP answered.
    #[error("the connection to {endpoint} broke")]
    Broken {
        /// Where.
        endpoint: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The live stream broke.
    #[error("the live stream of {endpoint} broke")]
    Stream {
        /// Where.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<tokio_tungstenite::tungstenite::Error>,
    },
    /// Nobody answers on the live stream any more.
    #[error("no answer from {endpoint} any more")]
    Silent {
        /// Where.
        endpoint: String,
    },
    /// The hub went away in the middle of long work.
    #[error("{endpoint} went away before the work was done")]
    Unfinished {
        /// Where.
        endpoint: String,
    },
    /// No answer in time.
    #[error("no answer from {endpoint} in time")]
    Timeout {
        /// Where.
        endpoint: String,
    },
    /// The answer would not end.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// How large it may be.
        limit: usize,
    },
    /// The credentials are missing or wrong.
    #[error("{endpoint} refused access: {advice}")]
    Unauthorised {
        /// Where.
        endpoint: String,
        /// Which token to look at.
        advice: String,
        /// What the hub said. Not offered as the source: it says no more.
        problem: Box<Problem>,
    },
    /// The hub refused the request, and says why.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The answer is not what this version of the client knows.
    #[error("the answer from {endpoint} makes no sense: is it a Tomte hub, and as new as this program?")]
    Answer {
        /// Where.
        endpoint: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The question cannot be written as JSON.
    #[error("the request cannot be written as JSON")]
    Question(#[source] serde_json::Error),
    /// The question cannot be put into a request.
    #[error("the request cannot be sent")]
    Request(#[source] http::Error),
}

impl ClientError {
    /// What the hub said, when it was the hub that refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) | Self::Unauthorised { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether the same request may well succeed a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Stream { .. }
            | Self::Silent { .. }
            | Self::Timeout { .. } => true,
            Self::Refused(problem) => problem.status >= 500 || problem.status == 429,
            _ => false,
        }
    }
}

/// At a socket there may be an agent as well as a hub.
fn unreachable(endpoint: &str, why: &io::Error) -> String {
    let words = in_words(why);
    if endpoint.starts_with('/') {
        format!("nothing answers at {endpoint}: {words}")
    } else if why.kind() == io::ErrorKind::ConnectionRefused {
        format!("hub not reachable at {endpoint}: {words}; does the hub run there?")
    } else {
        format!("hub not reachable at {endpoint}: {words}")
    }
}

/// The system's words without its error number.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

fn tls_in_words(error: &io::Error) -> String {
    use rustls::{CertificateError as Certificate, Error};
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(_)) => "it does not speak TLS; is it http:// instead of https://?".to_owned(),
        Some(Error::InvalidCertificate(Certificate::UnknownIssuer)) => {
            "nobody here vouches for its certificate; name the key that the hub prints at its start (--fingerprint, \
             TOMTE_FINGERPRINT), or an authority (--ca-file, TOMTE_CA_FILE)"
                .to_owned()
        }
        Some(Error::InvalidCertificate(Certificate::ApplicationVerificationFailure)) => {
            "it has another key than the fingerprint says: it is another hub, or somebody stands in between".to_owned()
        }
        _ => error.to_string(),
    }
}
