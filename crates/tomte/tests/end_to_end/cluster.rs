//! A cluster of Proxmox VE with an agent on each of its two nodes: one of them
//! dies, and the guests go on, on the cluster's own host, with one history.

use std::collections::BTreeMap;

use tomte_api::client::Client;
use tomte_api::host::{Host, MemberState};

use super::support::*;

const PRESENCE: &str = "[presence]\nheartbeat = \"1s\"\nlate = \"5s\"\noffline = \"15s\"\ngrace = \"15s\"\n";
const INTERVALS: &str = "[intervals]\nmedium = \"1s\"\nslow = \"2s\"\n";

/// The guests of a host, and the node that each is on.
async fn guests(client: &Client, host: &str) -> BTreeMap<String, String> {
    let found = client.host_resources(host, Some("guest")).await.unwrap_or_default();
    let node = |attributes: &BTreeMap<_, tomte_model::Value>| attributes.get("node").map(ToString::to_string);
    found.into_iter().map(|guest| (guest.name, node(&guest.attributes).unwrap_or_default())).collect()
}

fn on(guests: &[(&str, &str)]) -> BTreeMap<String, String> {
    guests.iter().map(|(number, node)| ((*number).to_owned(), (*node).to_owned())).collect()
}

/// Waits until the guests of a host are these; the live stream tells when to look.
async fn until_guests(client: &Client, watcher: &mut Watcher, host: &str, wanted: &[(&str, &str)]) {
    let wanted = on(wanted);
    while guests(client, host).await != wanted {
        watcher.until("news", |_| Some(())).await;
    }
}

fn holder(host: &Host) -> Option<String> {
    let members = &host.cluster.as_ref()?.members;
    members.iter().find(|member| member.state == MemberState::Holder).map(|member| member.name.clone())
}

#[test]
fn a_node_dies_and_its_guests_go_on_with_their_history() {
    if let Err(why) = can_be_a_node() {
        println!("SKIPPED: agents cannot be put on nodes here: {why}");
        return;
    }
    let hub = Hub::configured(PRESENCE);
    let pve = Pve::new(&["pve1", "pve2"], &[(101, "pve1"), (102, "pve2"), (103, "pve1")]);
    let mut agents = BTreeMap::new();
    for node in ["pve1", "pve2"] {
        let settings = format!("{INTERVALS}{}", pve.serve(node, hub.spare_folder()));
        let config = hub.enrol(node, &hub.url, &settings);
        if node == "pve1" {
            hub.tomte(&["host", "role", "pve1", "proxmox"]);
        }
        agents.insert(node, (Process::start(agent_on_node(&config, node)), config));
    }
    in_time("the cluster", async {
        let client = hub.client();
        let mut watcher = Watcher::all(&client).await;
        // All of them are on the cluster's own host, and none on a node's.
        until_guests(&client, &mut watcher, "homelab", &[("101", "pve1"), ("102", "pve2"), ("103", "pve1")]).await;
        for node in ["pve1", "pve2"] {
            until_guests(&client, &mut watcher, node, &[]).await;
        }
        let both = |host: &Host| host.cluster.as_ref().is_some_and(|cluster| cluster.members.len() == 2);
        while !both(&client.host("homelab").await.unwrap()) {
            watcher.until("news", |_| Some(())).await;
        }
        let host = client.host("homelab").await.unwrap();
        let first = holder(&host).expect("a holder");
        assert_eq!(first, "pve1", "it made the cluster's host");
        assert!(hub.tomte(&["host", "show", "homelab"]).contains("told by    pve1"));
        let name = |key: &str| format!("homelab/guest:{key}/memory_bytes");
        let before = more_points(&hub, &mut watcher, &name("101"), 0).await;

        // The node dies; what ran on it is started on the other one.
        agents.get_mut("pve1").unwrap().0.kill();
        pve.dies("pve1", "pve2");
        pve.deletes(103);
        let moved = event_of(&client, "cluster_moved").await;
        assert_eq!((moved.details["agent"].as_str(), moved.details["before"].as_str()), ("pve2", "pve1"));
        until_guests(&client, &mut watcher, "homelab", &[("101", "pve2"), ("102", "pve2")]).await;
        assert_eq!(holder(&client.host("homelab").await.unwrap()).as_deref(), Some("pve2"));
        let after = more_points(&hub, &mut watcher, &name("101"), before.len()).await;
        assert_eq!(after[..before.len()], before[..]);
        assert!(after.windows(2).all(|pair| pair[0].0 < pair[1].0), "one point at a time: {after:?}");

        // It comes back, and takes nothing away.
        let (process, config) = agents.get_mut("pve1").unwrap();
        *process = Process::start(agent_on_node(config, "pve1"));
        watcher
            .until("the return of pve1", |body| match body {
                tomte_api::live::Body::Event(told) if told.event.kind == "host_online" => Some(()),
                _ => None,
            })
            .await;
        assert_eq!(holder(&client.host("homelab").await.unwrap()).as_deref(), Some("pve2"));
        let offline = events(&client, "host_offline").await;
        assert!(offline.iter().all(|event| event.host.as_deref() == Some("pve1")), "{offline:?}");
        assert_eq!(events(&client, "cluster_moved").await.len(), 1);
    });
    // The hub starts again: the grant is where it was.
    let mut hub = hub;
    hub.kill_and_restart();
    let host: Host = serde_json::from_value(hub.json(&["host", "show", "homelab"])["host"].clone()).unwrap();
    assert_eq!(holder(&host).as_deref(), Some("pve2"));
}

/// The points of a series, once there are more than so many: what is known
/// now is told before it is history.
async fn more_points(hub: &Hub, watcher: &mut Watcher, series: &str, than: usize) -> Vec<(String, String)> {
    loop {
        let points = points(hub, series);
        if points.len() > than {
            return points;
        }
        watcher.until("news", |_| Some(())).await;
    }
}

/// Every point of a series: time and value.
fn points(hub: &Hub, series: &str) -> Vec<(String, String)> {
    let (host, rest) = series.split_once('/').unwrap();
    let (resource, field) = rest.rsplit_once('/').unwrap();
    let kind = resource.split(':').next().unwrap();
    let past = hub.tomte(&["query", kind, field, "--host", host, "--from", "-1h", "--step", "raw", "--format", "csv"]);
    let of = |line: &str| {
        let mut cells = line.split(',');
        let (time, name, value) = (cells.next()?, cells.next()?, cells.next()?);
        (name == series).then(|| (time.to_owned(), value.to_owned()))
    };
    past.lines().filter_map(of).collect()
}

#[test]
fn a_cluster_is_read_from_elsewhere_with_no_agent_on_it() {
    let hub = Hub::configured(PRESENCE);
    let pve = Pve::new(&["pve1", "pve2"], &[(101, "pve1"), (102, "pve2")]);
    let settings = format!("{INTERVALS}{}", pve.serve("pve1", hub.spare_folder()));
    let config = hub.enrol("nas", &hub.url, &settings);
    let _agent = run_agent(&config);
    in_time("the cluster", async {
        let client = hub.client();
        let mut watcher = Watcher::all(&client).await;
        let wanted = [("101", "pve1"), ("102", "pve2")];
        // Nobody said that the cluster may have a host of its own: it is seen
        // on the host that looks.
        until_guests(&client, &mut watcher, "nas", &wanted).await;
        let waits = event_of(&client, "cluster_waits").await;
        assert!(waits.message.contains("tomte host role nas proxmox"), "{}", waits.message);
        assert!(hub.tomte(&["host", "show", "nas"]).contains("tomte host role nas proxmox"));
        hub.tomte(&["host", "role", "nas", "proxmox"]);
        until_guests(&client, &mut watcher, "homelab", &wanted).await;
        until_guests(&client, &mut watcher, "nas", &[]).await;
        let nodes = client.host_resources("homelab", Some("node")).await.unwrap();
        assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["pve1", "pve2"]);
        assert!(client.host_resources("nas", Some("node")).await.unwrap().is_empty());
    });
}
