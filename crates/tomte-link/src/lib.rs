//! The protocol between agent and hub, without sockets
