//! `tomte demo`: a hub with simulated hosts. Only what the hosts' collectors
//! would see is made up ([`host`]); they enrol, judge, queue, connect and
//! report by the agent's own code, over the same link.

mod devices;
mod guests;
mod host;
mod services;
mod station;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tomte_agent::enrol::Code;
use tomte_api::client::Client;
use tomte_api::host::{AddHost, EnrolRequest};
use tomte_model::{Clock, HostId};

use host::SimulatedHost;

/// How many hosts enrol at once.
const AT_ONCE: usize = 16;

/// Enrols `count` hosts at the hub that listens on `address` (loopback, plain
/// HTTP), and keeps them reporting until cancelled. `local` speaks to the same
/// hub as an admin.
pub(crate) async fn run(
    count: u32,
    address: &str,
    local: &Client,
    interval: Duration,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let open: Client = Client::new(address.parse()?, None, &tomte_api::client::Trust::System)?;
    let bar = crate::output::progress(u64::from(count));
    bar.set_message("enrolling simulated hosts");
    let hosts: Vec<_> = (0..count).map(|number| SimulatedHost::new(number, count)).collect();
    let enrolled: Vec<(SimulatedHost, String)> =
        stream::iter(hosts).map(|host| enrol(host, local, &open, &bar)).buffer_unordered(AT_ONCE).try_collect().await?;
    bar.finish_and_clear();
    // An hour of past to look at, less where hosts are so many that it would
    // take long to arrive.
    let past = Duration::from_secs(60 * u64::from((6_000 / count.max(1)).min(60)));
    let mut tasks = JoinSet::new();
    for (host, token) in enrolled {
        tasks.spawn(station::run(host, address.parse()?, token, interval, past, clock.clone(), cancel.child_token()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a simulated host crashed")??;
    }
    Ok(())
}

/// The id of a simulated host: always the same, so that a demo on an old folder
/// goes on with the same hosts. The time in it is an arbitrary one in 2026.
fn host_id(host: &SimulatedHost) -> HostId {
    HostId::from_parts(1_790_000_000_000, 0x70_6d_74_65_00 + u128::from(host.number))
}

async fn enrol(
    host: SimulatedHost,
    local: &Client,
    open: &Client,
    bar: &ProgressBar,
) -> anyhow::Result<(SimulatedHost, String)> {
    let name = host.name();
    let id = host_id(&host);
    let known = local.host(&id.to_string()).await;
    let invitation = match known {
        Ok(known) => local.invite_again(&known.name).await,
        Err(_) => local.add_host(&AddHost { name: name.clone(), roles: host.roles() }).await,
    };
    let invitation = invitation.with_context(|| format!("adding {name}"))?;
    let code: Code = invitation.code.parse()?;
    let request = EnrolRequest {
        secret: code.secret(),
        host_id: id,
        hostname: format!("{name}.demo"),
        // Always the same for a host, as a key would be; 24 characters are whole bytes.
        public_key: id.to_string()[2..].to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let enrolled = open.enroll(&request).await.with_context(|| format!("enrolling {name}"))?;
    bar.inc(1);
    Ok((host, enrolled.token))
}
