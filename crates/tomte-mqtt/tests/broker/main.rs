//! The client against Debian's mosquitto: every way to reach it, and every way
//! in which it lets us down.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::{House, Mosquitto, Station, authority, listen_once, password_file, web_proxy};
use tomte_mqtt::client::{ConnectError, Connector, State, TlsFiles};
use tomte_mqtt::protocol::Version;

#[tokio::test]
async fn both_versions_publish_and_say_goodbye_before_a_clean_end() {
    let broker = Mosquitto::plain();
    for version in [Version::V5, Version::V311] {
        let mut station = Station::start(&broker.address("mqtt"), |settings| settings.version = Some(version));
        station.until(|state| *state == State::Connected).await;
        assert_eq!(broker.retained("tomte/test/value").await, "1");
        assert_eq!(broker.retained("tomte/test/availability").await, "online");
        station.stop().await;
        assert_eq!(broker.retained("tomte/test/availability").await, "offline");
    }
}

#[tokio::test]
async fn the_will_is_told_when_the_host_is_cut_off() {
    let broker = Mosquitto::plain();
    let mut station = Station::start(&broker.address("mqtt"), |_| {});
    station.until(|state| *state == State::Connected).await;
    assert_eq!(broker.retained("tomte/test/availability").await, "online");
    station.kill().await;
    broker.retained_is("tomte/test/availability", "offline").await;
}

#[tokio::test]
async fn what_others_say_is_heard_also_rubbish() {
    let broker = Mosquitto::plain();
    let mut station = Station::start(&broker.address("mqtt"), |_| {});
    station.until(|state| *state == State::Connected).await;
    broker.retained_is("tomte/test/availability", "online").await;
    broker.publish("homeassistant/status", &vec![b'x'; 1_000_000]).await;
    broker.publish("homeassistant/status", &[0xFF, 0xFE, 0]).await;
    broker.publish("homeassistant/status", b"online").await;
    assert_eq!(station.heard().await, [0xFF, 0xFE, 0], "a megabyte is not taken");
    assert_eq!(station.heard().await, *b"online");
    station.stop().await;
}

#[tokio::test]
async fn a_broker_that_restarts_is_told_everything_again() {
    let mut broker = Mosquitto::plain();
    let mut station = Station::start(&broker.address("mqtt"), |_| {});
    station.until(|state| *state == State::Connected).await;
    broker.stop().await;
    station.until(|state| matches!(state, State::Lost(_))).await;
    broker.start().await;
    station.until(|state| *state == State::Connected).await;
    broker.retained_is("tomte/test/value", "1").await;
    station.stop().await;
}

#[tokio::test]
async fn who_does_not_know_the_password_is_told_so() {
    let broker = Mosquitto::start_with(|port, folder| {
        format!("listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\n", password_file(folder))
    });
    let mut stranger = Station::start(&broker.address("mqtt"), |settings| {
        settings.client.username = Some("nas".into());
        settings.client.password = Some("wrong".into());
    });
    stranger.until(|state| matches!(state, State::Never(why) if why.contains("mqtt.password_file") || why.contains("mqtt.username"))).await;
    stranger.kill().await;
    let mut known = Station::start(&broker.address("mqtt"), |settings| {
        settings.client.username = Some("nas".into());
        settings.client.password = Some("secret".into());
    });
    known.until(|state| *state == State::Connected).await;
    known.stop().await;
}

#[tokio::test]
async fn an_access_list_that_forbids_listening_stops_no_publishing() {
    let broker = Mosquitto::start_with(|port, folder| {
        let list = folder.join("acl");
        std::fs::write(&list, "topic write tomte/#\ntopic read tomte/#\n").unwrap();
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {}\n", list.display())
    });
    let mut station = Station::start(&broker.address("mqtt"), |_| {});
    station.until(|state| *state == State::Connected).await;
    broker.retained_is("tomte/test/value", "1").await;
    station.stop().await;
}

#[tokio::test]
async fn a_client_id_that_is_taken_over_is_told() {
    let broker = Mosquitto::plain();
    let mut first = Station::start(&broker.address("mqtt"), |_| {});
    first.until(|state| *state == State::Connected).await;
    let mut second = Station::start(&broker.address("mqtt"), |_| {});
    second.until(|state| *state == State::Connected).await;
    first.until(|state| matches!(state, State::Lost(why) if why.contains("client id"))).await;
    first.kill().await;
    second.kill().await;
}

#[tokio::test]
async fn tls_trusts_the_own_authority_alone_and_shows_a_certificate() {
    let mine = authority();
    let other = authority();
    let broker = Mosquitto::start_with(|port, folder| {
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (certificate, key) = mine.leaf("localhost");
        format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
            file("ca.pem", &mine.pem()),
            file("server.pem", &certificate),
            file("server.key", &key),
        )
    });
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = mine.leaf("nas");
    let client = Some((path("client.pem", &certificate), path("client.key", &key)));
    let address = format!("mqtts://localhost:{}", broker.port());
    let files = TlsFiles { ca: Some(path("mine.pem", &mine.pem())), client: client.clone() };
    let mut station = Station::start_tls(&address, &files, |_| {});
    station.until(|state| *state == State::Connected).await;
    station.stop().await;

    let files = TlsFiles { ca: Some(path("other.pem", &other.pem())), client };
    let mut station = Station::start_tls(&address, &files, |_| {});
    station.until(|state| matches!(state, State::Never(why) if why.contains("is not trusted"))).await;
    station.kill().await;

    let files = TlsFiles { ca: Some(folder.path().join("mine.pem")), client: None };
    let mut station = Station::start_tls(&address, &files, |_| {});
    station.until(|state| matches!(state, State::Never(why) if why.contains("mqtt.client_certificate"))).await;
    station.kill().await;

    let files = TlsFiles { ca: Some(folder.path().join("missing.pem")), client: None };
    let error = Connector::new(address.parse().unwrap(), &files).unwrap_err();
    assert!(matches!(error, ConnectError::File { .. }) && error.to_string().starts_with("mqtt.ca_file: "), "{error}");
    let files = TlsFiles { ca: Some(path("empty.pem", "nothing")), client: None };
    let error = Connector::new(address.parse().unwrap(), &files).unwrap_err().to_string();
    assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
}

/// Through a proxy, as brokers are reached from outside: not every mosquitto is
/// built with WebSockets.
#[tokio::test]
async fn a_websocket_carries_it_too() {
    let broker = Mosquitto::plain();
    let mut station = Station::start(&web_proxy(broker.port()).await, |_| {});
    station.until(|state| *state == State::Connected).await;
    broker.retained_is("tomte/test/value", "1").await;
    station.stop().await;
    broker.retained_is("tomte/test/availability", "offline").await;
}

#[tokio::test]
async fn a_broker_of_3_1_1_alone_is_spoken_to_in_its_version() {
    let (address, mut greetings) = listen_once().await;
    let mut station = Station::start(&address, |_| {});
    assert_eq!(greetings.recv().await.unwrap(), 5, "the newer one first");
    assert_eq!(greetings.recv().await.unwrap(), 4);
    station.until(|state| *state == State::Connected).await;
    station.kill().await;
}

/// The cable is pulled, in effect: nothing is closed, and nothing answers.
#[tokio::test]
async fn a_half_open_connection_is_noticed_and_made_anew() {
    let broker = Mosquitto::plain();
    let mut station = Station::start(&broker.address("mqtt"), |settings| {
        settings.client.keep_alive = Duration::from_secs(2);
    });
    station.until(|state| *state == State::Connected).await;
    broker.freeze();
    station.until(|state| matches!(state, State::Lost(why) if why.contains("does not answer"))).await;
    broker.thaw();
    station.until(|state| *state == State::Connected).await;
    broker.retained_is("tomte/test/value", "1").await;
    station.stop().await;
}

#[tokio::test]
async fn names_that_mean_something_to_brokers_arrive_as_names() {
    let broker = Mosquitto::plain();
    let names = ["#", "+", "/", "$SYS/broker", "a+b/c#d", "", "\u{0}\u{7f}\n", "Küche", "%2F", &"long/".repeat(200)];
    let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let house = House::of("$host+1", &names, done);
    let mut station = Station::drive(&broker.address("mqtt"), &TlsFiles::default(), |_| {}, house);
    station.until(|state| *state == State::Connected).await;
    let topics = finished.recv().await.unwrap();
    let values: Vec<_> = topics.iter().filter(|topic| topic.ends_with("/used_ratio")).collect();
    assert_eq!(values.len(), names.len());
    for topic in values {
        assert!(topic.starts_with("tomte/%24host%2B1/filesystem/"), "{topic}");
        assert_eq!(broker.retained(topic).await, "0.5", "{topic}");
    }
    assert!(matches!(station.now(), State::Connected), "the broker had no reason to close");
    station.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_away_stops_nothing() {
    let mut broker = Mosquitto::plain();
    broker.stop().await;
    let mut station = Station::start(&broker.address("mqtt"), |_| {});
    station.until(|state| matches!(state, State::Never(why) if why.contains("cannot reach"))).await;
    tokio::time::timeout(Duration::from_secs(60), station.stop()).await.expect("it stops while it waits");
}
