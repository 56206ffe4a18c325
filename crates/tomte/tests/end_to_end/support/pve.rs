//! A cluster of Proxmox VE, as far as its web API tells of it: two nodes, each
//! with an HTTPS server on loopback, and guests that can be moved.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::process::agent_command;

/// The one token that is let in.
const TOKEN: &str = "tomte@pve!agent=secret";

/// The cluster.
#[derive(Clone)]
pub(crate) struct Pve(Arc<Mutex<State>>);

struct State {
    name: String,
    /// The nodes, and whether they are there.
    nodes: BTreeMap<String, bool>,
    /// Where each guest is.
    guests: BTreeMap<u32, String>,
    asked: u64,
}

impl Pve {
    /// Of these nodes, all of which are there, with these guests on them.
    pub(crate) fn new(nodes: &[&str], guests: &[(u32, &str)]) -> Self {
        let nodes = nodes.iter().map(|node| ((*node).to_owned(), true)).collect();
        let guests = guests.iter().map(|(number, node)| (*number, (*node).to_owned())).collect();
        Self(Arc::new(Mutex::new(State { name: "homelab".to_owned(), nodes, guests, asked: 0 })))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node dies, and its guests are started on another one.
    pub(crate) fn dies(&self, node: &str, other: &str) {
        let mut state = self.state();
        state.nodes.insert(node.to_owned(), false);
        state.guests.values_mut().filter(|on| *on == node).for_each(|on| other.clone_into(on));
    }

    /// A guest is deleted.
    pub(crate) fn deletes(&self, guest: u32) {
        self.state().guests.remove(&guest);
    }

    /// Serves the API of a node until the test ends. Returns what an agent's
    /// file says of it; what it needs beside lies in the folder.
    pub(crate) fn serve(&self, node: &str, folder: &Path) -> String {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (pve, local) = (self.clone(), node.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (pve, local, config) = (pve.clone(), local.clone(), config.clone());
                thread::spawn(move || {
                    let Ok(stream) = stream else { return };
                    let Ok(connection) = ServerConnection::new(config) else { return };
                    let mut tls = StreamOwned::new(connection, stream);
                    let Some(request) = read_request(&mut tls) else { return };
                    let (status, body) = pve.answer(&request, &local);
                    let head =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                    let _ = tls.write_all(head.as_bytes()).and_then(|()| tls.write_all(body.as_bytes()));
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                });
            }
        });
        let (token, ca) = (folder.join(format!("{node}.token")), folder.join(format!("{node}.pem")));
        std::fs::write(&token, TOKEN).expect("a file");
        std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
        std::fs::write(&ca, made.cert.pem()).expect("a file");
        format!("[proxmox]\nurl = \"https://{address}\"\ntoken_file = {token:?}\nca_file = {ca:?}\n")
    }

    fn answer(&self, request: &str, local: &str) -> (u16, String) {
        if !request.to_lowercase().contains(&format!("authorization: pveapitoken={TOKEN}\r\n")) {
            return (401, String::new());
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let path = path.strip_prefix("/api2/json").unwrap_or(path);
        let path = path.split('?').next().unwrap_or_default();
        let mut state = self.state();
        state.asked += 1;
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let data = match parts.as_slice() {
            ["cluster", "status"] => {
                let nodes = state.nodes.iter().map(|(node, there)| {
                    let (there, is_local) = (u8::from(*there), u8::from(node == local));
                    format!(r#"{{"type":"node","name":"{node}","online":{there},"local":{is_local},"ip":"192.0.2.1"}}"#)
                });
                let nodes: Vec<_> = nodes.collect();
                let (name, count) = (&state.name, nodes.len());
                let cluster = format!(r#"{{"type":"cluster","name":"{name}","quorate":1,"nodes":{count}}}"#);
                format!("[{cluster},{}]", nodes.join(","))
            }
            ["cluster", "resources"] => {
                let asked = state.asked;
                let guests = state.guests.iter().map(|(number, node)| {
                    format!(
                        r#"{{"type":"lxc","vmid":{number},"name":"guest-{number}","node":"{node}","status":"running",
                        "template":0,"cpu":0.5,"maxcpu":2,"mem":{},"maxmem":100000000,"uptime":{asked}}}"#,
                        1_000_000 + asked
                    )
                });
                let nodes = state.nodes.iter().map(|(node, there)| {
                    let status = if *there { "online" } else { "offline" };
                    format!(r#"{{"type":"node","node":"{node}","status":"{status}","cpu":0.25,"maxcpu":8}}"#)
                });
                format!("[{}]", guests.chain(nodes).collect::<Vec<_>>().join(","))
            }
            ["nodes", _, "certificates", "info"] => {
                format!(r#"[{{"filename":"pve-root-ca.pem","fingerprint":"{}"}}]"#, ["AB"; 32].join(":"))
            }
            ["nodes", _, "status"] => r#"{"pveversion":"pve-manager/9.1.1/42db4a6cf33dac83"}"#.to_owned(),
            ["nodes", _, "lxc", _, "config"] => r#"{"onboot":1,"hostname":"guest"}"#.to_owned(),
            ["cluster", "backup"]
            | ["nodes", _, "lxc" | "qemu" | "tasks" | "replication"]
            | ["nodes", _, "lxc", _, "interfaces"] => "[]".to_owned(),
            _ => return (501, String::new()),
        };
        (200, format!(r#"{{"data":{data}}}"#))
    }
}

fn read_request(stream: &mut impl Read) -> Option<String> {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
    String::from_utf8(request).ok()
}

/// The command of an agent that finds itself on a node: it has an `/etc/pve`, in
/// a mount namespace of its own.
pub(crate) fn agent_on_node(config: &Path, node: &str) -> Command {
    let agent = agent_command(config);
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs tmpfs /etc && mkdir -p \"/etc/pve/nodes/$0\" && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, node]).arg(agent.get_program()).args(agent.get_args());
    for (name, value) in agent.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Whether such a namespace can be had here, or why not.
pub(crate) fn can_be_a_node() -> Result<(), String> {
    let tried = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/etc"]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
