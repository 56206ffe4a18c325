//! Finding the hub: by address and token, or by its data folder.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

use anyhow::{Context, bail};
use tomte_api::client::{Client, Credentials, Endpoint, Trust};
use tomte_hub::RunningHub;

use crate::cli::Global;

/// The environment variable that holds a token.
const TOKEN_VARIABLE: &str = "TOMTE_TOKEN";

/// A way to the hub, and the hub itself where it had to be started for it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    brief: Option<RunningHub>,
}

impl Connection {
    /// The same, for work that keeps the client to itself.
    pub(crate) async fn with_owned<T>(self, work: impl AsyncFnOnce(Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let Self { client, brief } = self;
        let done = work(client).await;
        if let Some(hub) = brief {
            hub.stop().await;
        }
        done
    }

    /// Does something with the client, then lets go of the hub.
    pub(crate) async fn with<T>(self, work: impl AsyncFnOnce(&Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let done = work(&self.client).await;
        if let Some(hub) = self.brief {
            hub.stop().await;
        }
        done
    }
}

/// Whether a folder without a hub's data may become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    /// It must be one already; a slip of the finger makes no new hub.
    Existing,
    /// It may be made: accounts, tokens and hosts can be added before the hub
    /// runs for the first time.
    New,
}

/// The hub that the options name. `--data` goes before an address, since it
/// is never set by the environment. Where no hub runs on the folder, one is
/// started for the moment, without any door to the network: the command line
/// never writes the databases itself.
pub(crate) async fn open(global: &Global, folder: Folder) -> anyhow::Result<Connection> {
    let Some(data) = &global.data else { return Ok(Connection { client: client(global)?, brief: None }) };
    let socket = data.join(tomte_hub::SOCKET);
    let brief = match UnixStream::connect(&socket) {
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            if folder == Folder::Existing && !data.join("state.db").exists() {
                bail!("{} holds no hub's data; start one with `tomte hub --data {0}`", data.display());
            }
            Some(crate::commands::hub::brief(data).await?)
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("connecting to {}: only root and the hub's user may", socket.display()));
        }
    };
    Ok(Connection { client: Client::unix(socket), brief })
}

fn client(global: &Global) -> anyhow::Result<Client> {
    let Some(hub) = &global.hub else {
        bail!(
            "which hub? Say --hub URL (or set TOMTE_URL) with --token-file FILE (or TOMTE_TOKEN),\n\
             or, on the hub's own machine, --data DIR"
        );
    };
    let endpoint: Endpoint = hub.parse()?;
    let credentials = match &global.token_file {
        Some(path) => Some(Credentials::from_file(path)?),
        None => std::env::var(TOKEN_VARIABLE)
            .ok()
            .filter(|token| !token.is_empty())
            .map(|token| Credentials::new(token, format!("the environment variable {TOKEN_VARIABLE}"))),
    };
    let trust = match (&global.fingerprint, &global.ca_file) {
        (Some(fingerprint), _) => Trust::Identity(parse_fingerprint(fingerprint)?),
        (None, Some(file)) => Trust::File(file.clone()),
        (None, None) => Trust::System,
    };
    Ok(Client::new(endpoint, credentials, &trust)?)
}

/// 64 hexadecimal digits, colons allowed.
fn parse_fingerprint(text: &str) -> anyhow::Result<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        bail!("a fingerprint has 64 hexadecimal digits, {text:?} has {}", digits.len());
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).context("the fingerprint is not hexadecimal")?;
        *byte = u8::from_str_radix(pair, 16).context("the fingerprint is not hexadecimal")?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let plain = "0f".repeat(32);
        assert_eq!(parse_fingerprint(&plain).expect("hexadecimal"), [15; 32]);
        let colons = vec!["0F"; 32].join(":");
        assert_eq!(parse_fingerprint(&colons).expect("hexadecimal"), [15; 32]);
        for bad in ["", "0f", &"zz".repeat(32), &"é".repeat(32)] {
            assert!(parse_fingerprint(bad).is_err(), "{bad}");
        }
    }
}
