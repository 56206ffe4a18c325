//! A hub of its own for each measurement: the real program, on a fresh folder.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::{Instant, sleep};
use tomte_api::account::{AddToken, Role};
use tomte_api::client::{Client, Credentials, Trust};
use tomte_api::host::{AddHost, EnrolRequest};
use tomte_api::store::StoreInfo;
use tomte_model::HostId;

use crate::process::{Figures, Running};

/// How long a hub may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a hub speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// On loopback only, where that is the default.
    Plain,
    /// On every interface, where TLS is the default; it is asked on loopback.
    Tls,
}

/// A hub that runs until this is dropped.
pub(crate) struct Hub {
    process: Running,
    address: SocketAddr,
    transport: Transport,
    /// Asks it as an admin, over its local socket.
    pub(crate) admin: Client,
}

/// A host that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Enrolled {
    pub(crate) id: HostId,
    pub(crate) name: String,
    pub(crate) token: String,
}

impl Hub {
    /// Starts a hub on a folder inside `work`.
    pub(crate) async fn start(program: &Path, work: &Path, transport: Transport) -> Result<Self> {
        let data = work.join("hub");
        let port = free_port()?;
        let listen = match transport {
            Transport::Plain => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            Transport::Tls => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        };
        let mut command = Command::new(program);
        command.arg("hub").arg("--data").arg(&data).arg("--listen").arg(listen.to_string());
        let mut process = Running::start(command, work.join("hub.log"))?;
        let admin = Client::unix(data.join("hub.sock"));
        let begun = Instant::now();
        while admin.health().await.is_err() {
            process.check()?;
            if begun.elapsed() > PATIENCE {
                bail!("the hub does not answer; it said:\n{}", process.said());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { process, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), transport, admin })
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address to enrol at, by way of another port if there is a proxy.
    pub(crate) fn url(&self, by_way_of: SocketAddr) -> String {
        let scheme = if self.transport == Transport::Tls { "https" } else { "http" };
        format!("{scheme}://{by_way_of}")
    }

    /// What /proc says of it.
    pub(crate) fn figures(&self) -> Result<Figures> {
        self.process.figures().with_context(|| format!("the hub said:\n{}", self.process.said()))
    }

    /// Makes an enrolment code.
    pub(crate) async fn code(&self, name: &str) -> Result<String> {
        let asked = AddHost { name: name.to_owned(), roles: Vec::new() };
        Ok(self.admin.add_host(&asked).await.with_context(|| format!("adding {name}"))?.code)
    }

    /// Lets a simulated host in.
    pub(crate) async fn enrol(&self, name: &str) -> Result<Enrolled> {
        let code = URL_SAFE_NO_PAD.decode(self.code(name).await?).context("the code")?;
        // A version, flags, 16 bytes of secret, the hub's pin.
        let secret = code.get(2..18).context("the code is too short")?;
        let now = u64::try_from(tomte_model::Clock::now(&tomte_collect::SystemClock).wall.millis()).unwrap_or(0);
        let id = HostId::from_parts(now, fastrand::u128(..));
        let key: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
        let request = EnrolRequest {
            secret: URL_SAFE_NO_PAD.encode(secret),
            host_id: id,
            hostname: name.to_owned(),
            public_key: URL_SAFE_NO_PAD.encode(key),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let enrolled = self.admin.enroll(&request).await.with_context(|| format!("enrolling {name}"))?;
        Ok(Enrolled { id, name: enrolled.name, token: enrolled.token })
    }

    /// Has it put all history into its final place; says what is where then.
    pub(crate) async fn seal(&self) -> Result<StoreInfo> {
        self.admin.compact_store(|_| {}).await.context("compacting")?;
        self.admin.store().await.context("asking for the store's figures")
    }

    /// The token of somebody who may look.
    pub(crate) async fn viewer_token(&self) -> Result<String> {
        let name = format!("viewer-{}", fastrand::u32(..));
        let asked = AddToken { name, role: Role::Viewer, expires_at: None };
        Ok(self.admin.add_token(&asked).await.context("a viewer's token")?.token)
    }

    /// A client over TCP that may look, as a user's would be.
    pub(crate) async fn viewer(&self) -> Result<Client> {
        let token = self.viewer_token().await?;
        let endpoint = self.url(self.address).parse().context("the hub's address")?;
        let credentials = Credentials::new(token, "the benchmark");
        Client::new(endpoint, Some(credentials), &Trust::System).context("a client")
    }
}

/// A port of loopback that nobody uses now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("a port")?.port())
}

/// A fresh folder for one measurement, removed with what is returned.
pub(crate) fn folder(work: &Path, name: &str) -> Result<tempfile::TempDir> {
    std::fs::create_dir_all(work).with_context(|| format!("making {}", work.display()))?;
    tempfile::Builder::new().prefix(name).tempdir_in(work).with_context(|| format!("a folder in {}", work.display()))
}

/// The programs that are measured.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) hub: PathBuf,
    pub(crate) agent: PathBuf,
    pub(crate) static_agent: PathBuf,
    pub(crate) node_exporter: PathBuf,
}
