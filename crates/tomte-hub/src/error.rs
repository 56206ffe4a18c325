//! What can go wrong at the hub.

use std::net::SocketAddr;
use std::path::PathBuf;

use tomte_store::{OpenError, StoreError};

/// Why the hub did not do what it was asked. Each variant is one kind of
/// answer to whoever asked; the text is for them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// There is no such thing.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// Of what kind: `host`, `resource`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// It contradicts what is there already.
    #[error("{0}")]
    Conflict(String),
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The code or token is not valid (any more).
    #[error("{0}")]
    Refused(&'static str),
    /// The host's agent is not connected.
    #[error("the agent of {0} is not connected")]
    NotConnected(String),
    /// The store could not read or write.
    #[error("the store could not do it")]
    Store(#[from] StoreError),
    /// The hub stops.
    #[error("the hub is stopping")]
    Stopping,
}

/// Why the hub does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder's databases cannot be opened.
    #[error("the databases cannot be opened")]
    Open(#[from] OpenError),
    /// The databases can be opened, but not read.
    #[error("the databases cannot be read")]
    Read(#[from] StoreError),
    /// The hub's identity cannot be read or made.
    #[error("the hub's identity cannot be used")]
    Identity(#[from] crate::identity::IdentityError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The socket in the data folder cannot be made.
    #[error("cannot make the socket {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}
