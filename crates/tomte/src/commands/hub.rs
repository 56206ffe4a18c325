//! `tomte hub` and `tomte demo`: run a hub until asked to stop.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tomte_api::client::Client;
use tomte_collect::SystemClock;
use tomte_hub::config::{HubConfig, Resolved};
use tomte_hub::{Hub, RunningHub, http};
use tomte_model::Clock;

use super::check;
use crate::cli::{DemoArgs, HubArgs};
use crate::demo;
use crate::output::Output;

/// Runs a hub.
pub(crate) async fn hub(args: HubArgs, data: Option<&Path>, output: Output) -> anyhow::Result<()> {
    let resolved = check::of_hub(&args, data)?;
    let running = Hub::start(resolved, Arc::new(SystemClock)).await?;
    announce(&running, output).await?;
    // Without systemd there is nobody to tell, and that is no error.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let stop = until_asked()?;
    let data = data.map(Path::to_owned);
    let reread = move || {
        check::of_hub(&args, data.as_deref())
            .map_err(|error| error.downcast().expect("resolving fails with a ConfigError alone"))
    };
    running.run_until(stop, reread).await.context("waiting for signals")
}

/// Runs a hub with simulated hosts, in a folder that goes with it unless one is
/// named.
pub(crate) async fn demo(args: DemoArgs, data: Option<&Path>, output: Output) -> anyhow::Result<()> {
    let temporary = match data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("tomte-demo-").tempdir().context("making a folder for the demo")?),
    };
    let folder = data.or(temporary.as_ref().map(tempfile::TempDir::path)).context("a folder for the demo")?;
    let config = HubConfig { data: folder.to_owned(), listen: vec![args.listen], ..HubConfig::default() };
    let plain = !config.tls_on(&args.listen);
    anyhow::ensure!(plain, "--listen {}: the demo listens on loopback only", args.listen);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let running = Hub::start(Resolved::of(config.clone()), clock.clone()).await?;
    announce(&running, output).await?;
    let address = running.hub().addresses().first().copied().context("the hub listens nowhere")?;
    let stop = until_asked()?;
    let local = Client::unix(folder.join(tomte_hub::SOCKET));
    let url = format!("http://{address}");
    let hosts = demo::run(args.hosts, &url, &local, args.interval, clock, stop.clone());
    let hosts = async {
        let ended = hosts.await;
        // A demo without hosts is none: whatever ended them ends the hub.
        stop.cancel();
        ended
    };
    let served = running.run_until(stop.clone(), move || Ok(Resolved::of(config.clone())));
    let (ended, served) = tokio::join!(hosts, served);
    served.context("waiting for signals")?;
    ended
}

/// Says where the hub is and how to get in. Scripts read these lines.
async fn announce(running: &RunningHub, output: Output) -> anyhow::Result<()> {
    let hub = running.hub();
    output.line(format!("Tomte {}, data in {}", env!("CARGO_PKG_VERSION"), hub.data().display()))?;
    let config = hub.config();
    for address in hub.addresses() {
        let scheme = if config.tls_on(&address) { "https" } else { "http" };
        output.line(format!("Listening on {scheme}://{address}"))?;
    }
    if !config.public_url.is_empty() {
        output.line(format!("Reached at {}", hub.public_url()))?;
    }
    if hub.addresses().iter().any(|address| config.tls_on(address)) && config.own_certificate().is_none() {
        let fingerprint: String = hub.pin().iter().map(|byte| format!("{byte:02x}")).collect();
        output.line(format!("Fingerprint {fingerprint}"))?;
    }
    if let Some(link) = http::sign_in_link(hub).await? {
        output.line(format!("Sign in, works once: {link}"))?;
    }
    Ok(())
}

/// Ends on Ctrl-C and on SIGTERM. A second one ends the process at once, for
/// those who cannot wait.
fn until_asked() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(stop)
}

/// A hub without any door but the socket in its folder, for a command that
/// needs a hub while none runs there.
pub(crate) async fn brief(data: &Path) -> anyhow::Result<RunningHub> {
    let resolved = check::of_hub(&HubArgs::default(), Some(data))?;
    let opened = tokio::task::spawn_blocking(move || Hub::open(resolved, Arc::new(SystemClock))).await;
    let hub = opened.context("opening the hub's folder")??;
    Ok(hub.serve_on(Vec::new())?)
}
