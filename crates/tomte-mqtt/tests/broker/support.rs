//! A broker of the test's own, and a client with little to say.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_util::sync::CancellationToken;
use tomte_model::{BootId, Catalogue, Facet, HostId, Latest, Moment, Position, Report, Scope};
use tomte_mqtt::client::{Connector, Driver, Settings, State, TlsFiles, run};
use tomte_mqtt::discovery::Style;
use tomte_mqtt::protocol::{Publish, Qos, Subscription};
use tomte_mqtt::session::Client;
use tomte_mqtt::{Discovery, Kept, Options, Pace, Publisher};

/// Nothing here takes that long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(120);

fn program(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("there is no {name}; run scripts/test-setup.sh"))
}

/// A mosquitto, ended with its test.
pub(crate) struct Mosquitto {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Mosquitto {
    pub(crate) fn plain() -> Self {
        Self::start_with(|port, _| format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
    }

    /// With that configuration, made for a port and a folder.
    pub(crate) fn start_with(config: impl Fn(u16, &Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // mosquitto can not be asked which port it was given.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Started as root it would give that up, and could not read the folder.
        let config = format!("user root\npersistence false\n{}", config(port, folder.path()));
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { child: None, port, folder };
        broker.spawn();
        broker
    }

    fn spawn(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(program("mosquitto"))
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begin = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "mosquitto: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) async fn start(&mut self) {
        self.spawn();
    }

    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Its sockets stay open, and nobody is behind them.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &child]).status().unwrap().success());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// What the broker keeps, or will keep, on a topic, by another client.
    pub(crate) async fn retained(&self, topic: &str) -> String {
        let port = self.port.to_string();
        let output = tokio::process::Command::new(program("mosquitto_sub"))
            .args(["-h", "127.0.0.1", "-p", &port, "-t", topic, "-C", "1", "-W", "20"])
            .output()
            .await
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Waits until a topic says something.
    pub(crate) async fn retained_is(&self, topic: &str, wanted: &str) {
        let port = self.port.to_string();
        let mut child = tokio::process::Command::new(program("mosquitto_sub"))
            .args(["-h", "127.0.0.1", "-p", &port, "-t", topic])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut text = String::new();
        let found = async {
            let mut buffer = [0; 256];
            while !text.lines().any(|line| line == wanted) {
                let count = out.read(&mut buffer).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{topic} is never {wanted}"));
    }

    /// Says something as another client.
    pub(crate) async fn publish(&self, topic: &str, payload: &[u8]) {
        let port = self.port.to_string();
        let mut child = tokio::process::Command::new(program("mosquitto_pub"))
            .args(["-h", "127.0.0.1", "-p", &port, "-t", topic, "-q", "1", "-s"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(payload).await.unwrap();
        assert!(child.wait().await.unwrap().success());
    }
}

/// A file with the user `nas` and the password `secret`.
pub(crate) fn password_file(folder: &Path) -> String {
    let path = folder.join("passwords");
    let made = Command::new(program("mosquitto_passwd")).args(["-b", "-c"]).arg(&path).args(["nas", "secret"]).status();
    assert!(made.unwrap().success());
    path.display().to_string()
}

/// Says one value, and what it is told.
struct Little {
    due: VecDeque<Publish>,
    heard: mpsc::UnboundedSender<Vec<u8>>,
}

fn availability(text: &str) -> Publish {
    Publish::retained("tomte/test/availability".into(), text, Qos::AtLeastOnce)
}

impl Driver for Little {
    fn will(&self) -> Publish {
        availability("offline")
    }
    fn connected(&mut self) {
        let value = Publish::retained("tomte/test/value".into(), "1", Qos::AtMostOnce);
        self.due = [availability("online"), value].into();
    }
    fn due(&mut self) -> Vec<Publish> {
        self.due.drain(..).collect()
    }
    fn heard(&mut self, message: Publish) {
        let _ = self.heard.send(message.payload.to_vec());
    }
    fn goodbye(&mut self) -> Vec<Publish> {
        vec![self.will()]
    }
    async fn wake(&mut self) {
        std::future::pending().await
    }
}

/// A host with resources of these names, as a driver: what a publisher makes
/// of them goes to the broker as it is.
pub(crate) struct House {
    latest: Latest,
    publisher: Publisher,
    /// How many messages were handed over, once nothing more is due.
    done: mpsc::UnboundedSender<Vec<String>>,
    topics: Vec<String>,
}

impl House {
    pub(crate) fn of(host: &str, names: &[&str], done: mpsc::UnboundedSender<Vec<String>>) -> Self {
        let facet = |name: &&str| {
            let mut facet = Facet::owner("filesystem", *name, "main");
            facet.read("used_ratio", 0.5);
            facet
        };
        let report = Report {
            host: HostId::from_parts(1, 2),
            collector: "filesystem".into(),
            position: Position { epoch: 1, sequence: 1 },
            boot_id: BootId(1),
            moment: Moment::default(),
            clock_synchronised: true,
            interval_millis: 0,
            scopes: vec![Scope::complete("filesystem", names.iter().map(facet).collect())],
            events: Vec::new(),
        };
        let mut latest = Latest::default();
        latest.apply(&report, report.moment.wall);
        let seconds = Duration::from_secs;
        let options = Options {
            host: report.host,
            name: host.to_owned(),
            prefix: "tomte".to_owned(),
            pace: Pace {
                interval: seconds(10),
                keep_alive: seconds(300),
                state: Qos::AtLeastOnce,
                discovery: Qos::AtLeastOnce,
                event: Qos::AtLeastOnce,
            },
            discovery: Some(Discovery { style: Style::Entity, prefix: "homeassistant".to_owned(), sub_devices: true }),
            shows: Box::new(|_| true),
            version: "1".to_owned(),
            values_at: 0,
            hub_availability: None,
        };
        Self { latest, publisher: Publisher::new(options, Kept::default()), done, topics: Vec::new() }
    }
}

impl Driver for House {
    fn will(&self) -> Publish {
        self.publisher.will()
    }
    fn connected(&mut self) {
        self.publisher.connected();
    }
    fn due(&mut self) -> Vec<Publish> {
        let due = self.publisher.look(&self.latest, &Catalogue::builtin(), Moment::default());
        if due.is_empty() && !self.topics.is_empty() {
            let _ = self.done.send(std::mem::take(&mut self.topics));
        }
        self.topics.extend(due.iter().map(|message| message.topic.clone()));
        due
    }
    fn heard(&mut self, _: Publish) {}
    fn goodbye(&mut self) -> Vec<Publish> {
        self.publisher.goodbye()
    }
    async fn wake(&mut self) {
        std::future::pending().await
    }
}

/// A client that runs.
pub(crate) struct Station {
    state: watch::Receiver<State>,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Station {
    pub(crate) fn start(address: &str, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_tls(address, &TlsFiles::default(), change)
    }

    pub(crate) fn start_tls(address: &str, files: &TlsFiles, change: impl FnOnce(&mut Settings)) -> Self {
        let (heard_sender, heard) = mpsc::unbounded_channel();
        let driver = Little { due: VecDeque::new(), heard: heard_sender };
        Self { heard, ..Self::drive(address, files, change, driver) }
    }

    pub(crate) fn drive<D: Driver + 'static>(
        address: &str,
        files: &TlsFiles,
        change: impl FnOnce(&mut Settings),
        mut driver: D,
    ) -> Self {
        let client = Client {
            id: "tomte-test".into(),
            username: None,
            password: None,
            keep_alive: Duration::from_secs(60),
            subscriptions: vec![Subscription::to("homeassistant/status".into())],
        };
        let connector = Connector::new(address.parse().unwrap(), files).unwrap();
        let mut settings = Settings { connector, client, version: None };
        change(&mut settings);
        let (_, heard) = mpsc::unbounded_channel();
        let (state_sender, state) = watch::channel(State::Never(String::new()));
        let cancel = CancellationToken::new();
        let cancelled = cancel.clone();
        let task = tokio::spawn(async move {
            run(settings, &mut driver, state_sender, cancelled).await;
        });
        Self { state, heard, cancel, task }
    }

    pub(crate) async fn until(&mut self, wanted: impl FnMut(&State) -> bool) {
        let reached = tokio::time::timeout(PATIENCE, self.state.wait_for(wanted)).await.is_ok();
        if !reached {
            panic!("still {:?}", *self.state.borrow());
        }
    }

    pub(crate) fn now(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) async fn heard(&mut self) -> Vec<u8> {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("something is heard").unwrap()
    }

    /// A clean end.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }

    /// The end of a process that is killed: the socket closes, and that is all.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Who vouches for certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a leaf of the same name for one that signed itself.
    params.distinguished_name.push(DnType::CommonName, "Authority of a test");
    Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
}

impl Authority {
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for that name, and its key.
    pub(crate) fn leaf(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (leaf.pem(), key.serialize_pem())
    }
}

/// A broker that knows 3.1.1 alone, and tells which versions it is greeted in.
pub(crate) async fn listen_once() -> (String, mpsc::UnboundedReceiver<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("mqtt://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut open: Vec<TcpStream> = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // Type, length, "MQTT" behind its length, the version.
            let mut greeting = [0; 9];
            stream.read_exact(&mut greeting).await.unwrap();
            let version = greeting[8];
            let _ = sender.send(version);
            stream.write_all(&[0x20, 2, 0, u8::from(version != 4)]).await.unwrap();
            if version == 4 {
                open.push(stream);
            }
        }
    });
    (address, receiver)
}

/// A WebSocket at `/mqtt` in front of a broker.
pub(crate) async fn web_proxy(broker: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}/mqtt", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(proxied(stream, broker));
        }
    });
    address
}

#[expect(clippy::result_large_err, reason = "the library's own signature")]
async fn proxied(stream: TcpStream, broker: u16) {
    let agreed = |request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), "/mqtt");
        assert_eq!(request.headers()["sec-websocket-protocol"], "mqtt");
        response.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
        Ok(response)
    };
    let mut web = tokio_tungstenite::accept_hdr_async(stream, agreed).await.unwrap();
    let mut plain = TcpStream::connect(("127.0.0.1", broker)).await.unwrap();
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            message = web.next() => match message {
                Some(Ok(Message::Binary(bytes))) => plain.write_all(&bytes).await.unwrap(),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            count = plain.read(&mut buffer) => match count {
                Ok(count) if count > 0 => {
                    web.send(Message::Binary(buffer[..count].to_vec().into())).await.unwrap();
                }
                _ => return,
            },
        }
    }
}
