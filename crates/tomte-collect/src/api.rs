//! Asking a web API in a collector's place. Nothing here touches the network:
//! who runs collectors brings an [`Api`], and [`crate::Root::api`] hands it on.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::privileged::Refusal;

/// Asks web APIs.
pub trait Api: fmt::Debug + Send + Sync {
    /// Asks once; a refusal of the server is an answer.
    ///
    /// # Errors
    /// When there is no answer.
    fn get(&self, call: &ApiCall) -> Result<ApiAnswer, Refusal>;
}

/// What is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiCall {
    /// `https://host:8006`, without a path.
    pub base: String,
    /// The path with its query.
    pub path: String,
    /// The `Authorization` header. A secret.
    pub authorization: String,
    /// Whom to take for the server.
    pub trust: ApiTrust,
    /// How long it may take.
    pub limit: Duration,
    /// How many bytes the answer may have.
    pub most: usize,
}

impl fmt::Debug for ApiCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiCall").field("base", &self.base).field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whom to take for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiTrust {
    /// Whom the system's roots vouch for.
    System,
    /// Whom the authorities in that file (PEM) vouch for.
    Authority(PathBuf),
    /// Who shows the certificate of that SHA-256.
    Fingerprint([u8; 32]),
}

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// For who brings none.
#[derive(Debug)]
pub(crate) struct NoApi;

impl Api for NoApi {
    fn get(&self, _: &ApiCall) -> Result<ApiAnswer, Refusal> {
        Err(Refusal::Unavailable("web APIs are asked by the agent only".to_owned()))
    }
}
