//! What the tests share: processes, agents inside this process, a network that
//! can be broken, and ways to ask a hub.

mod agents;
mod ask;
mod http;
mod process;
mod proxy;
mod pve;
mod raw;
mod space;
mod terminal;

pub(crate) use agents::{SimulatedAgent, enrol, numbers};
pub(crate) use ask::{Watcher, counter, event_of, event_where, events};
pub(crate) use http::Http;
pub(crate) use process::{Hub, LIMIT, Process, agent, agent_command, run_agent, run_hub, tomte, try_enrol};
pub(crate) use proxy::Proxy;
pub(crate) use pve::{Pve, agent_on_node, can_be_a_node};
pub(crate) use raw::{Said, Stranger};
pub(crate) use space::SmallDisk;
pub(crate) use terminal::{Terminal, quoted};

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// One runtime for all tests: they share two cores.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

/// Runs what is asynchronous.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work)
}

/// Runs it beside the test.
pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    runtime().spawn(work)
}

/// As [`block_on`], but fails when it takes longer than anything should.
pub(crate) fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    block_on(async {
        match tokio::time::timeout(LIMIT, work).await {
            Ok(done) => done,
            Err(_) => panic!("{what} did not happen in time"),
        }
    })
}
