//! A network between agents and hub that can be broken. It passes bytes on,
//! reads along what the hub acknowledges, and does one bad thing when told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::LIMIT;
use super::agents::{Acked, listener};

/// The proxy. It ends with the test's runtime.
pub(crate) struct Proxy {
    /// Where agents find it.
    pub(crate) url: String,
    shared: Arc<Shared>,
    acked: watch::Receiver<Acked>,
}

struct Shared {
    hub: watch::Receiver<String>,
    acked: watch::Sender<Acked>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections made from now on get these.
    line: Line,
    /// So many bytes towards the hub are passed on, then all is cut.
    budget: Option<usize>,
}

/// What can happen to the connections that exist at one time.
#[derive(Clone, Default)]
struct Line {
    /// What the hub says is read and goes nowhere.
    swallowed: CancellationToken,
    /// Nothing is read or passed on any more, and nobody is told.
    frozen: CancellationToken,
    /// Both sides are hung up on.
    cut: CancellationToken,
}

/// Connections that were frozen, and are still open at both ends.
pub(crate) struct Frozen(CancellationToken);

impl Frozen {
    /// Hangs up on both ends at last.
    pub(crate) fn hang_up(self) {
        self.0.cancel();
    }
}

impl Proxy {
    /// Listens, and connects to wherever the hub is by then.
    pub(crate) async fn start(hub: watch::Receiver<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let (told, acked) = watch::channel(Acked::default());
        let shared = Arc::new(Shared { hub, acked: told, state: Mutex::default() });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().carry(client));
            }
        });
        Self { url: format!("http://{address}"), shared, acked }
    }

    /// Where agents find it, as they like to be told.
    pub(crate) fn address(&self) -> watch::Receiver<String> {
        watch::channel(self.url.clone()).1
    }

    /// What the hub acknowledged, whether it was passed on or swallowed.
    pub(crate) fn acked(&self) -> Acked {
        self.acked.borrow().clone()
    }

    /// Waits until what the hub acknowledged is as it should be.
    pub(crate) async fn until(&self, what: &str, enough: impl FnMut(&Acked) -> bool) {
        let mut acked = self.acked.clone();
        let waited = tokio::time::timeout(LIMIT, acked.wait_for(enough)).await;
        waited.unwrap_or_else(|_| panic!("no {what} in time")).expect("the proxy runs");
    }

    /// From now on nothing that the hub says on the present connections
    /// arrives.
    pub(crate) fn swallow(&self) {
        self.shared.lock().line.swallowed.cancel();
    }

    /// Hangs up on the present connections.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut self.shared.lock().line).cut.cancel();
    }

    /// Hangs up after so many more bytes towards the hub.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.shared.lock().budget = Some(bytes);
    }

    /// Lets the present connections hang: open, and dead.
    pub(crate) fn freeze(&self) -> Frozen {
        let line = std::mem::take(&mut self.shared.lock().line);
        line.frozen.cancel();
        Frozen(line.cut)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    async fn carry(self: Arc<Self>, client: TcpStream) {
        let line = self.lock().line.clone();
        let hub = self.hub.borrow().rsplit_once("//").expect("a URL").1.to_owned();
        // While the hub is away its port answers nothing, and so do we.
        let Ok(server) = TcpStream::connect(hub).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_hub, to_hub) = server.into_split();
        tokio::select! {
            () = self.up(&line, from_client, to_hub) => {}
            () = self.down(&line, from_hub, to_client) => {}
            () = line.cut.cancelled() => {}
        }
    }

    /// From the agent to the hub.
    async fn up(&self, line: &Line, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = tokio::select! {
                biased;
                () = line.frozen.cancelled() => return std::future::pending().await,
                read = from.read(&mut buffer) => read.unwrap_or(0),
            };
            if length == 0 {
                return;
            }
            let (allowed, last) = {
                let mut state = self.lock();
                match &mut state.budget {
                    Some(left) if *left <= length => (state.budget.take().unwrap_or_default(), true),
                    Some(left) => {
                        *left -= length;
                        (length, false)
                    }
                    None => (length, false),
                }
            };
            if to.write_all(&buffer[..allowed]).await.is_err() || last {
                return;
            }
        }
    }

    /// From the hub to the agent.
    async fn down(&self, line: &Line, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 16 * 1024];
        let mut reader = Reader::default();
        loop {
            let length = tokio::select! {
                biased;
                () = line.frozen.cancelled() => return std::future::pending().await,
                read = from.read(&mut buffer) => read.unwrap_or(0),
            };
            if length == 0 {
                return;
            }
            let swallowed = line.swallowed.is_cancelled();
            if !swallowed && to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            reader.read(&buffer[..length], &self.acked);
        }
    }
}

/// Understands what a hub sends: an HTTP answer, and if it changes to a
/// WebSocket, frames without a mask (RFC 6455, section 5.2).
#[derive(Default)]
struct Reader {
    waiting: Vec<u8>,
    link: Option<tomte_link::AgentLink>,
    /// Nothing that concerns us.
    other: bool,
}

impl Reader {
    fn read(&mut self, bytes: &[u8], acked: &watch::Sender<Acked>) {
        if self.other {
            return;
        }
        self.waiting.extend_from_slice(bytes);
        let Some(link) = &mut self.link else {
            let Some(end) = self.waiting.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            if self.waiting.starts_with(b"HTTP/1.1 101") {
                self.link = Some(listener());
            } else {
                self.other = true;
            }
            self.waiting.drain(..end + 4);
            return self.read(&[], acked);
        };
        while let Some((header, length)) = frame(&self.waiting) {
            if self.waiting.len() < header + length {
                return;
            }
            if self.waiting[0] & 0x0f == 2 {
                Acked::hear(acked, link, &self.waiting[header..header + length]);
            }
            self.waiting.drain(..header + length);
        }
    }
}

/// How long a frame's header and its contents are, once that can be told.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    match bytes.get(1)? & 0x7f {
        126 => Some((4, number(bytes.get(2..4)?))),
        127 => Some((10, number(bytes.get(2..10)?))),
        short => Some((2, usize::from(short))),
    }
}
