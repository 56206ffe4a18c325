//! A port that passes everything on and counts the bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A proxy that runs until this is dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    traffic: Arc<Traffic>,
    task: JoinHandle<()>,
}

/// Bytes inside the TCP connections: TLS counts, the headers of IP and TCP do not.
#[derive(Debug, Default)]
struct Traffic {
    forth: AtomicU64,
    back: AtomicU64,
}

impl Proxy {
    /// Passes on to `target` what arrives at a port of its own.
    pub(crate) async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port for the counting proxy")?;
        let address = listener.local_addr().context("the proxy's port")?;
        let traffic = Arc::new(Traffic::default());
        let task = tokio::spawn(serve(listener, target, Arc::clone(&traffic)));
        Ok(Self { address, traffic, task })
    }

    /// Bytes so far, towards the target and back.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.traffic.forth.load(Ordering::Relaxed), self.traffic.back.load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, traffic: Arc<Traffic>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let traffic = Arc::clone(&traffic);
        connections.spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::join!(pass(near_read, far_write, &traffic.forth), pass(far_read, near_write, &traffic.back));
        });
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, count: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn bytes_are_passed_on_and_counted() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        client.write_all(b"question").await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut buffer = [0; 8];
        accepted.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"question");
        accepted.write_all(b"yes").await.unwrap();
        client.read_exact(&mut buffer[..3]).await.unwrap();
        assert_eq!(proxy.bytes(), (8, 3));
    }
}
