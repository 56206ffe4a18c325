//! Clusters through the hub: who is given what, and what becomes of reports.

use std::collections::BTreeMap;

use tomte_api::host::{MemberState, Presence};
use tomte_link::{CloseCode, ClusterClaim, ClusterGrant, FromHub, Twin};
use tomte_model::{BootId, EventKind, Facet, HostId, Report, ResourceKey, Scope};
use tomte_store::history::{Budget, Points, Query, SeriesKey};

use super::support::*;
use crate::view::Enrolled;

fn claim(node: &str) -> ClusterClaim {
    ClusterClaim {
        id: "AB:CD".into(),
        name: "homelab".into(),
        node: node.into(),
        nodes: vec!["pve1".into(), "pve2".into()],
        quorate: true,
        readable: true,
    }
}

fn guest(number: &str, node: &str, cpu: f64) -> Facet {
    let mut facet = Facet::owner("guest", number.to_owned(), "runtime");
    facet.text("node", node);
    facet.read("cpu_ratio", cpu);
    facet
}

impl Agent<Twin> {
    async fn claims(&mut self, claim: &ClusterClaim) -> ClusterGrant {
        let message = self.link.cluster(claim);
        tomte_link::Sender::send(&mut self.sender, message).await.unwrap();
        self.granted().await
    }

    async fn granted(&mut self) -> ClusterGrant {
        loop {
            if let FromHub::Cluster(grant) = self.next().await.unwrap() {
                return grant;
            }
        }
    }

    /// Until the answer is as it should be: it may have been on its way before.
    async fn granted_as(&mut self, holder: bool) -> ClusterGrant {
        loop {
            let grant = self.granted().await;
            if grant.holder == holder {
                return grant;
            }
        }
    }

    fn of_cluster(&mut self, cluster: HostId, guests: Vec<Facet>) -> Report {
        let report = self.make(Vec::new());
        let scopes = vec![Scope::complete("guest/lxc", guests)];
        // Of a boot that the hub knows nothing of: its wall clock counts.
        Report { host: cluster, collector: "proxmox".into(), scopes, boot_id: BootId(5), ..report }
    }

    async fn tells(&mut self, cluster: HostId, guests: Vec<Facet>) -> Report {
        let report = self.of_cluster(cluster, guests);
        self.send(&report).await;
        self.acked(report.position).await;
        report
    }
}

/// Two nodes, enrolled as an administrator would, and both connected.
struct Nodes {
    bench: Bench,
    hosts: [Enrolled; 2],
    agents: Vec<Agent<Twin>>,
}

impl Nodes {
    async fn new() -> Self {
        let bench = Bench::open();
        let hosts = [bench.enrol(1, "pve1").await, bench.enrol(2, "pve2").await];
        bench.hub.set_roles(&Bench::admin(), hosts[0].host, vec!["proxmox".into()]).await.unwrap();
        let mut agents = Vec::new();
        for (host, instance) in hosts.iter().zip(1..) {
            agents.push(Agent::connect(&ByTwin, &bench, host, instance).await);
        }
        Self { bench, hosts, agents }
    }

    /// What runs beside a hub that is not merely opened: claims are taken in
    /// elsewhere, and what was decided is told once it is written.
    async fn settle(&self, what: &str, mut so: impl FnMut() -> bool) {
        until(what, || {
            self.bench.hub.write_records().unwrap();
            so()
        })
        .await;
        // It may have become so just after the records were written.
        self.bench.hub.write_records().unwrap();
    }

    async fn claims(&mut self, agent: usize, claim: &ClusterClaim) -> ClusterGrant {
        let hub = self.bench.hub.clone();
        let writing = tokio::spawn(async move {
            loop {
                hub.write_records().unwrap();
                tokio::task::yield_now().await;
            }
        });
        let grant = self.agents[agent].claims(claim).await;
        writing.abort();
        grant
    }

    async fn cluster(&mut self) -> HostId {
        let grant = self.claims(0, &claim("pve1")).await;
        assert!(grant.holder, "{grant:?}");
        let grant_2 = self.claims(1, &claim("pve2")).await;
        assert_eq!((grant_2.host, grant_2.holder), (grant.host, false), "{grant_2:?}");
        grant.host.unwrap()
    }

    /// Time passes; of the agents, those say something.
    async fn seconds(&mut self, seconds: u64, alive: &[usize]) {
        for _ in 0..seconds / 10 {
            self.bench.clock.seconds(10);
            for agent in alive {
                self.agents[*agent].heartbeat().await;
            }
            self.bench.hub.sweep();
        }
        self.bench.hub.write_records().unwrap();
    }

    fn guests(&self, host: HostId) -> BTreeMap<String, String> {
        let guests = |_: &_, latest: &tomte_model::Latest| {
            let of = latest.of_kind("guest");
            of.map(|(key, state)| {
                let node = state.attributes().find(|(name, _)| **name == *"node").map(|(_, node)| node.to_string());
                (key.name.clone(), node.unwrap_or_default())
            })
            .collect()
        };
        self.bench.hub.with_latest(host, guests).unwrap()
    }

    async fn points(&self, host: HostId, guest: &str) -> Vec<f64> {
        let series =
            SeriesKey { host, resource: ResourceKey::new("guest", guest.to_owned()), field: "cpu_ratio".into() };
        let after_now = self.bench.hub.now().plus(std::time::Duration::from_secs(1));
        let (from, to) = (tomte_model::Timestamp::from_millis(EPOCH), after_now);
        let query = Query { series: vec![series], from, to, step: None, budget: Budget::points(100) };
        self.bench.hub.store.history.flush().unwrap();
        let history = self.bench.hub.read(move |store| store.history.query(&query)).await.unwrap();
        let Points::Raw(points) = &history.series[0].points else { panic!("{history:?}") };
        points.iter().map(|(_, value)| *value).collect()
    }
}

#[tokio::test]
async fn the_hub_makes_the_host_once_and_one_node_reports_for_it() {
    let mut nodes = Nodes::new().await;
    let cluster = nodes.cluster().await;
    let view = nodes.bench.hub.host(cluster).unwrap();
    assert_eq!((view.name.as_str(), view.via.as_slice()), ("homelab", [nodes.hosts[0].host].as_slice()));
    let states: Vec<_> =
        view.cluster.unwrap().members.iter().map(|member| (member.called.clone(), member.state)).collect();
    assert_eq!(states, [("pve1".to_owned(), MemberState::Holder), ("pve2".to_owned(), MemberState::StandBy)]);
    let node = nodes.bench.hub.host(nodes.hosts[1].host).unwrap().node_of.unwrap();
    assert_eq!((node.name.as_str(), node.host), ("homelab", Some(cluster)));
    nodes.agents[0].tells(cluster, vec![guest("101", "pve1", 0.25)]).await;
    assert_eq!(nodes.guests(cluster), [("101".to_owned(), "pve1".to_owned())].into());
    // The other one may not, and is not shut out for it.
    nodes.agents[1].tells(cluster, vec![guest("999", "pve2", 0.5)]).await;
    assert_eq!(nodes.guests(cluster).len(), 1);
    assert_eq!(nodes.bench.hub.counters()["reports_out_of_turn"], 1);
    assert_eq!(nodes.bench.events_of(&EventKind::CLUSTER_MADE).len(), 1);
    assert_eq!(nodes.bench.events_of(&EventKind::CLUSTER_GRANTED).len(), 1);
    let audit: Vec<_> =
        ["cluster.make", "cluster.join", "cluster.grant"].map(|action| nodes.bench.audit(action).len()).into();
    assert_eq!(audit, [1, 1, 1]);
    assert_eq!(nodes.bench.audit("cluster.make")[0].actor, "host:pve1");
    nodes.bench.stop().await;
}

#[tokio::test]
async fn the_guests_go_on_when_the_holder_dies_and_nothing_is_counted_twice() {
    let mut nodes = Nodes::new().await;
    let cluster = nodes.cluster().await;
    let both = |node| vec![guest("101", node, 0.1), guest("102", "pve2", 0.7)];
    nodes.agents[0].tells(cluster, both("pve1")).await;
    nodes.seconds(60, &[0, 1]).await;
    nodes.agents[0].tells(cluster, vec![guest("101", "pve1", 0.2), guest("102", "pve2", 0.7)]).await;
    // The node is cut off: what its agent reads, it keeps for later.
    nodes.seconds(30, &[1]).await;
    let before = nodes.agents[0].of_cluster(cluster, both("pve1"));
    nodes.seconds(90, &[1]).await;
    let moved = nodes.bench.events_of(&EventKind::CLUSTER_MOVED);
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert!(moved[0].event.message.contains("pve2 reports for the cluster homelab instead of pve1"), "{moved:?}");
    let grant = nodes.agents[1].granted_as(true).await;
    assert_eq!(grant.host, Some(cluster));
    // The cluster itself was never away.
    let offline = nodes.bench.events_of(&EventKind::HOST_OFFLINE);
    assert!(offline.iter().all(|stored| stored.host == Some(nodes.hosts[0].host)), "{offline:?}");
    assert_ne!(nodes.bench.hub.host(cluster).unwrap().presence, Presence::Offline);
    // The guest runs on the other node now; another one was deleted meanwhile.
    nodes.agents[1].tells(cluster, vec![guest("101", "pve2", 0.4)]).await;
    assert_eq!(nodes.guests(cluster), [("101".to_owned(), "pve2".to_owned())].into());
    // The one before comes back, with what it read while it was alone.
    let after = nodes.agents[0].of_cluster(cluster, both("pve1"));
    for report in [&before, &after] {
        nodes.agents[0].send(report).await;
        nodes.agents[0].acked(report.position).await;
    }
    assert_eq!(nodes.guests(cluster), [("101".to_owned(), "pve2".to_owned())].into(), "it overwrites nothing");
    assert_eq!(nodes.points(cluster, "101").await, [0.1, 0.2, 0.1, 0.4], "what it read in its own turn is not lost");
    assert_eq!(nodes.bench.hub.counters()["reports_out_of_turn"], 1);
    // Nor is the past any other than it was.
    let state = nodes.bench.hub.store.history.state_at(&[cluster], nodes.bench.hub.now()).unwrap();
    assert_eq!(state[0].resources.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["101"]);
    // A start reads it all back as it was.
    let (folder, clock) = (nodes.bench.crash_image(), nodes.bench.clock.clone());
    nodes.bench.stop().await;
    let bench = Bench::reopen(folder, clock);
    let holder = bench.hub.host(cluster).unwrap().cluster.unwrap().members;
    let holder = holder.iter().find(|member| member.state == MemberState::Holder).unwrap();
    assert_eq!(holder.called, "pve2", "grants survive");
    let guests = bench.hub.with_latest(cluster, |_, latest| latest.of_kind("guest").count());
    assert_eq!(guests, Some(1));
    bench.stop().await;
}

#[tokio::test]
async fn a_split_cluster_is_told_of_by_the_part_with_a_quorum() {
    let mut nodes = Nodes::new().await;
    let cluster = nodes.cluster().await;
    nodes.agents[0].tells(cluster, vec![guest("101", "pve1", 0.1)]).await;
    let message = nodes.agents[0].link.cluster(&ClusterClaim { quorate: false, ..claim("pve1") });
    tomte_link::Sender::send(&mut nodes.agents[0].sender, message).await.unwrap();
    let hub = nodes.bench.hub.clone();
    let moved = || hub.host(cluster).unwrap().via == [nodes.hosts[1].host];
    nodes.settle("another holder", moved).await;
    assert!(!nodes.agents[0].granted_as(false).await.holder);
    assert!(nodes.agents[1].granted_as(true).await.holder);
    let moved = nodes.bench.events_of(&EventKind::CLUSTER_MOVED);
    assert_eq!(moved[0].event.details["reason"], "the one before has no quorum");
    nodes.bench.stop().await;
}

#[tokio::test]
async fn a_foreign_token_gets_nothing() {
    let mut nodes = Nodes::new().await;
    let cluster = nodes.cluster().await;
    let web = nodes.bench.enrol(3, "web").await;
    nodes.agents.push(Agent::connect(&ByTwin, &nodes.bench, &web, 1).await);
    for _ in 0..2 {
        let grant = nodes.claims(2, &claim("pve9")).await;
        assert_eq!((grant.host, grant.holder), (None, false));
        assert!(grant.reason.contains("tomte host grant web"), "{grant:?}");
    }
    let waits = nodes.bench.events_of(&EventKind::CLUSTER_WAITS);
    assert_eq!((waits.len(), waits[0].host), (1, Some(web.host)), "told once");
    let node = nodes.bench.hub.host(web.host).unwrap().node_of.unwrap();
    assert_eq!((node.host, node.waits.contains("tomte host grant")), (None, true));
    // An administrator may let it in all the same, and take it out again.
    nodes.bench.hub.grant(&Bench::admin(), web.host, cluster).await.unwrap();
    nodes.bench.hub.write_records().unwrap();
    assert_eq!(nodes.agents[2].granted().await.host, Some(cluster));
    nodes.bench.hub.ungrant(&Bench::admin(), web.host, cluster).await.unwrap();
    nodes.bench.hub.write_records().unwrap();
    assert_eq!(nodes.agents[2].granted().await.host, None);
    // One that never had to do with it is shut out.
    let other = nodes.bench.enrol(4, "other").await;
    let mut stranger = Agent::connect(&ByTwin, &nodes.bench, &other, 1).await;
    let report = stranger.of_cluster(cluster, vec![guest("101", "x", 1.0)]);
    stranger.send(&report).await;
    assert_eq!(stranger.end().await.0, CloseCode::Forbidden);
    nodes.bench.stop().await;
}

#[tokio::test]
async fn without_the_role_everything_stays_as_it_is_until_it_is_given() {
    let bench = Bench::open();
    let hosts = [bench.enrol(1, "pve1").await, bench.enrol(2, "pve2").await];
    let agents = vec![Agent::connect(&ByTwin, &bench, &hosts[0], 1).await];
    let mut nodes = Nodes { bench, hosts, agents };
    let grant = nodes.claims(0, &claim("pve1")).await;
    assert_eq!(grant.host, None);
    assert!(grant.reason.contains("tomte host role pve1 proxmox"), "{grant:?}");
    nodes.bench.hub.set_roles(&Bench::admin(), nodes.hosts[0].host, vec!["proxmox".into()]).await.unwrap();
    nodes.bench.hub.write_records().unwrap();
    assert!(nodes.agents[0].granted_as(true).await.host.is_some());
    nodes.bench.stop().await;
}

#[tokio::test]
async fn names_that_are_taken_and_clusters_of_one_name() {
    let mut nodes = Nodes::new().await;
    nodes.bench.enrol(5, "homelab").await;
    let cluster = nodes.cluster().await;
    assert_eq!(nodes.bench.hub.host(cluster).unwrap().name.as_str(), "homelab-2");
    // Removed by hand, it comes back as long as its nodes are there; what they
    // still bring for the old one shuts nobody out.
    nodes.bench.hub.remove_host(&Bench::admin(), cluster).await.unwrap();
    nodes.settle("a new host", || nodes.bench.hub.find_host("homelab-2").is_some_and(|new| new != cluster)).await;
    nodes.agents[0].tells(cluster, vec![guest("101", "pve1", 0.1)]).await;
    assert!(nodes.bench.events_of(&EventKind::TOKEN_REFUSED).is_empty());
    nodes.bench.stop().await;
}

#[tokio::test]
async fn a_renamed_cluster_keeps_its_host() {
    let mut nodes = Nodes::new().await;
    let cluster = nodes.cluster().await;
    let renamed = ClusterClaim { name: "lab".into(), ..claim("pve1") };
    assert_eq!(nodes.claims(0, &renamed).await.host, Some(cluster));
    let hub = nodes.bench.hub.clone();
    let called = || hub.host(cluster).unwrap().external_ids["pve_cluster"].clone();
    nodes.settle("the other name", || called() == "lab").await;
    assert_eq!(hub.host(cluster).unwrap().name.as_str(), "homelab");
    assert_eq!(nodes.bench.events_of(&EventKind::CLUSTER_RENAMED).len(), 1);
    nodes.bench.stop().await;
}

#[tokio::test]
async fn a_new_holder_learns_what_is_wrong() {
    let mut nodes = Nodes::new().await;
    let cluster = nodes.cluster().await;
    let mut full = guest("101", "pve1", 0.1);
    let problem = tomte_model::Problem {
        field: "memory_used_ratio".into(),
        status: tomte_model::Status::Critical,
        reason: "101 uses 99 % of its memory".into(),
        since: nodes.bench.hub.now(),
    };
    full.assessment = Some(tomte_model::Assessment::of(vec![problem.clone()]));
    nodes.agents[0].tells(cluster, vec![full]).await;
    nodes.seconds(120, &[1]).await;
    let grant = nodes.agents[1].granted_as(true).await;
    let told: Vec<_> = grant.problems.iter().map(|told| (told.resource.as_str(), told.status, told.since)).collect();
    assert_eq!(told, [("guest:101", problem.status, problem.since)]);
    nodes.bench.stop().await;
}
