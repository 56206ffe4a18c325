//! What carries the messages: a WebSocket in production, a pair of channels in
//! tests. Whoever is generic over [`Transport`] runs on both.

use std::future::Future;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::message::CloseCode;

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The other side is gone.
    #[error("connection closed")]
    Closed,
    /// The other side closed the connection and said why.
    #[error("closed by the other side ({}): {reason}", .code.code())]
    ClosedBecause {
        /// Why, for programs.
        code: CloseCode,
        /// Why, for people.
        reason: String,
    },
    /// The connection broke.
    #[error("connection broken")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A connection, which can be used from two tasks once it is split: sending
/// may wait without holding up receiving.
pub trait Transport: Send + 'static {
    /// The half that sends.
    type Sender: Sender;
    /// The half that receives.
    type Receiver: Receiver;
    /// The two halves.
    fn split(self) -> (Self::Sender, Self::Receiver);
}

/// The half of a connection that sends.
pub trait Sender: Send + 'static {
    /// Sends one message; waits while the other side is slow.
    fn send(&mut self, message: Bytes) -> impl Future<Output = Result<(), TransportError>> + Send;
    /// Ends the connection and says why.
    fn close(&mut self, code: CloseCode, reason: &str) -> impl Future<Output = Result<(), TransportError>> + Send;
}

/// The half of a connection that receives.
pub trait Receiver: Send + 'static {
    /// The next message; `None` when the other side closed in good order.
    /// Dropping the future loses no message.
    fn recv(&mut self) -> impl Future<Output = Option<Result<Bytes, TransportError>>> + Send;
}

/// One end of a connection inside the process.
#[derive(Debug)]
pub struct Twin {
    sender: TwinSender,
    receiver: TwinReceiver,
}

/// The sending half of a [`Twin`].
#[derive(Debug)]
pub struct TwinSender(Option<mpsc::Sender<TwinItem>>);

/// The receiving half of a [`Twin`].
#[derive(Debug)]
pub struct TwinReceiver(mpsc::Receiver<TwinItem>);

#[derive(Debug)]
enum TwinItem {
    Message(Bytes),
    Close(CloseCode, String),
}

/// Two ends that are connected to each other; each direction holds `capacity`
/// messages before sending waits. Dropping an end breaks the connection, as
/// pulling a cable would.
#[must_use]
pub fn twin(capacity: usize) -> (Twin, Twin) {
    let (to_right, from_left) = mpsc::channel(capacity.max(1));
    let (to_left, from_right) = mpsc::channel(capacity.max(1));
    let end = |sender, receiver| Twin { sender: TwinSender(Some(sender)), receiver: TwinReceiver(receiver) };
    (end(to_right, from_right), end(to_left, from_left))
}

impl Transport for Twin {
    type Sender = TwinSender;
    type Receiver = TwinReceiver;
    fn split(self) -> (TwinSender, TwinReceiver) {
        (self.sender, self.receiver)
    }
}

impl Sender for TwinSender {
    async fn send(&mut self, message: Bytes) -> Result<(), TransportError> {
        let sender = self.0.as_ref().ok_or(TransportError::Closed)?;
        sender.send(TwinItem::Message(message)).await.map_err(|_| TransportError::Closed)
    }
    async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), TransportError> {
        let sender = self.0.take().ok_or(TransportError::Closed)?;
        sender.send(TwinItem::Close(code, reason.to_owned())).await.map_err(|_| TransportError::Closed)
    }
}

impl Receiver for TwinReceiver {
    async fn recv(&mut self) -> Option<Result<Bytes, TransportError>> {
        match self.0.recv().await {
            Some(TwinItem::Message(message)) => Some(Ok(message)),
            Some(TwinItem::Close(CloseCode::Normal, _)) => None,
            Some(TwinItem::Close(code, reason)) => Some(Err(TransportError::ClosedBecause { code, reason })),
            None => Some(Err(TransportError::Closed)),
        }
    }
}

impl Twin {
    /// Sends one message.
    ///
    /// # Errors
    /// When the other end is gone.
    pub async fn send(&mut self, message: Bytes) -> Result<(), TransportError> {
        self.sender.send(message).await
    }
    /// The next message; see [`Receiver::recv`].
    pub async fn recv(&mut self) -> Option<Result<Bytes, TransportError>> {
        self.receiver.recv().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn messages_arrive_in_order_and_a_full_direction_waits() {
        let (left, right) = twin(2);
        let ((mut to_right, _), (_, mut from_left)) = (left.split(), right.split());
        to_right.send("a".into()).await.unwrap();
        to_right.send("b".into()).await.unwrap();
        {
            let mut third = std::pin::pin!(to_right.send("c".into()));
            tokio::select! {
                biased;
                _ = &mut third => panic!("there was room for two"),
                first = from_left.recv() => assert_eq!(first.unwrap().unwrap(), "a"),
            }
            third.await.unwrap();
        }
        for expected in ["b", "c"] {
            assert_eq!(from_left.recv().await.unwrap().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_close_says_why_and_a_cut_does_not() {
        let (left, mut right) = twin(2);
        let (mut sender, _receiver) = left.split();
        sender.send("last".into()).await.unwrap();
        sender.close(CloseCode::Displaced, "a newer connection").await.unwrap();
        assert!(sender.send("late".into()).await.is_err());
        assert_eq!(right.recv().await.unwrap().unwrap(), "last");
        let error = right.recv().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "closed by the other side (4409): a newer connection");
        let (mut left, right) = twin(2);
        drop(right);
        assert!(matches!(left.send("x".into()).await, Err(TransportError::Closed)));
        assert!(matches!(left.recv().await, Some(Err(TransportError::Closed))));
        let (left, mut right) = twin(2);
        let (mut sender, _receiver) = left.split();
        sender.close(CloseCode::Normal, "").await.unwrap();
        assert!(right.recv().await.is_none());
    }
}
