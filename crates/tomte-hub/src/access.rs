//! Who is asking, and what they may do, as types: a change can only be asked
//! for with the value that proves the right to it.
//!
//! How somebody proves who they are (cookie, token, the hub's own socket) is
//! not known here; see `http`.

use std::fmt;
use std::net::SocketAddr;

use tomte_api::account::Role;

/// Who does something, as the audit names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `account:ada`, `token:ci`, `host:nas`, `hub.sock`, `hub`.
    pub name: String,
    /// From which address, if any.
    pub address: Option<String>,
}

impl Actor {
    /// An actor from its parts.
    pub fn new(name: impl Into<String>, address: Option<String>) -> Self {
        Self { name: name.into(), address }
    }
    /// The hub itself.
    #[must_use]
    pub fn hub() -> Self {
        Self::new("hub", None)
    }
}

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// What they may do at most.
    pub role: Role,
}

/// The role does not allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this needs the role {needed}")]
pub struct Forbidden {
    /// The least role that would do.
    pub needed: Role,
}

macro_rules! rights {
    ($($(#[$doc:meta])* $right:ident by $method:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $right(Actor);
            impl $right {
                /// Who holds it.
                #[must_use]
                pub fn actor(&self) -> &Actor {
                    &self.0
                }
            }
        )*
        impl Caller {
            $(
                #[doc = concat!("The right of [`", stringify!($right), "`], if the role allows it.")]
                ///
                /// # Errors
                /// When the role is too low.
                pub fn $method(&self) -> Result<$right, Forbidden> {
                    if self.role >= Role::$right {
                        Ok($right(self.actor.clone()))
                    } else {
                        Err(Forbidden { needed: Role::$right })
                    }
                }
            )*
        }
    };
}

rights! {
    /// The right to look.
    Viewer by viewer;
    /// The right to act on what is watched.
    Operator by operator;
    /// The right to manage hosts, accounts and the hub.
    Admin by admin;
}

impl Admin {
    /// The right of the program itself: `tomte demo`, tests.
    #[must_use]
    pub fn of_the_program(name: &str) -> Self {
        Self(Actor::new(name, None))
    }
}

/// Who is at the other end of a connection; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Root or the hub's own user, on `hub.sock`: admin.
    Local {
        /// The user's number.
        uid: u32,
    },
    /// Somebody on the network.
    Remote {
        /// Where the connection comes from: perhaps a trusted proxy.
        address: SocketAddr,
        /// Whether the hub itself did TLS on it.
        tls: bool,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "local user {uid}"),
            Self::Remote { address, .. } => address.ip().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        let caller = |role| Caller { actor: Actor::hub(), role };
        assert!(caller(Role::Viewer).viewer().is_ok());
        assert_eq!(caller(Role::Viewer).operator(), Err(Forbidden { needed: Role::Operator }));
        assert!(caller(Role::Operator).viewer().is_ok());
        assert_eq!(caller(Role::Operator).admin().map(|_| ()), Err(Forbidden { needed: Role::Admin }));
        assert!(caller(Role::Admin).operator().is_ok());
    }
}
