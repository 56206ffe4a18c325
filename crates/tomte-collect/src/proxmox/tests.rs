//! The collectors over `pvesh`, with recorded answers, and the parsers with
//! what others have captured, where that lies beside the repository.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;
use tomte_model::Timestamp;

use super::*;

/// Real answers of other people's machines; not ours to copy.
fn public(name: &str) -> Option<Vec<u8>> {
    crate::published::published(&format!("pvesh/{name}"))
}

const NOW: Moment = Moment { wall: Timestamp::from_millis(1_800_000_000_000), boot_millis: 100_000 };

/// A node whose `pvesh` answers what is written down.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(node.path("etc/pve/nodes/pve1/lxc")).unwrap();
        fs::create_dir_all(node.path("tools")).unwrap();
        fs::write(node.path("etc/pve/nodes/pve1/lxc/101.conf"), "").unwrap();
        node.says(
            "/cluster/status",
            r#"[{"type":"node","name":"pve1","online":1,"local":1,"ip":"192.0.2.1","id":"node/pve1"}]"#,
        );
        node.says(
            "/cluster/resources",
            r#"[{"type":"lxc","vmid":101,"name":"dns","node":"pve1","status":"running","maxcpu":1,"mem":5,"maxmem":10},
                {"type":"lxc","vmid":201,"name":"other","node":"pve2","status":"running","maxcpu":1}]"#,
        );
        node
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn says(&self, path: &str, answer: &str) {
        let call = format!("pvesh get {path} --output-format json").replace('/', "!");
        fs::write(self.path("tools").join(call), answer).unwrap();
    }
    fn fails(&self, path: &str, complaint: &str) {
        self.says(path, "");
        let call = format!("pvesh get {path} --output-format json").replace('/', "!");
        fs::write(self.path("tools").join(format!("{call}.status")), "255").unwrap();
        fs::write(self.path("tools").join(format!("{call}.stderr")), complaint).unwrap();
    }
    fn collect(&self, make: fn(&Root, &Settings) -> Box<dyn Collector>) -> Vec<Scope> {
        make(&Root::new(self.0.path()), &Settings::default()).collect(NOW)
    }
}

fn named<'a>(scopes: &'a [Scope], name: &str) -> &'a Scope {
    scopes.iter().find(|scope| scope.name == name).unwrap()
}

#[test]
fn a_lone_node_by_pvesh_tells_of_its_own_guests() {
    let node = Node::new();
    let scopes = node.collect(make);
    assert!(scopes.iter().all(|scope| scope.outcome.is_complete()), "{scopes:#?}");
    assert!(named(&scopes, "proxmox/cluster").facets.is_empty(), "it belongs to no cluster");
    let guests: Vec<_> = named(&scopes, "guest/lxc").facets.iter().map(|f| f.resource.name.as_str()).collect();
    assert_eq!(guests, ["101"]);
    assert_eq!(named(&scopes, "guest/lxc").facets[0].reading("memory_used_ratio"), Some(0.5));
}

/// Two nodes; this one is pve1.
fn two_nodes(quorate: u8) -> Node {
    let node = Node::new();
    fs::create_dir_all(node.path("etc/pve/nodes/pve2/lxc")).unwrap();
    node.says(
        "/cluster/status",
        &format!(
            r#"[{{"type":"cluster","name":"home","quorate":{quorate},"nodes":2}},
            {{"type":"node","name":"pve1","online":1,"local":1}},{{"type":"node","name":"pve2","online":1,"local":0}}]"#
        ),
    );
    node.says(
        "/cluster/resources",
        r#"[{"type":"lxc","vmid":101,"name":"dns","node":"pve1","status":"running","maxcpu":1,"mem":5,"maxmem":10},
            {"type":"lxc","vmid":201,"name":"other","node":"pve2","status":"running","maxcpu":1},
            {"type":"storage","storage":"local","node":"pve1","status":"available","shared":0,"disk":1,"maxdisk":2},
            {"type":"storage","storage":"nas","node":"pve1","status":"unknown","shared":1},
            {"type":"storage","storage":"nas","node":"pve2","status":"available","shared":1,"disk":1,"maxdisk":2},
            {"type":"storage","storage":"pbs","node":"pve1","status":"available","shared":1,"disk":1,"maxdisk":2}]"#,
    );
    let authority = format!(r#"[{{"filename":"pve-root-ca.pem","fingerprint":"{}"}}]"#, ["ab"; 32].join(":"));
    node.says("/nodes/pve1/certificates/info", &authority);
    node
}

fn keys(scopes: &[Scope]) -> Vec<String> {
    let mut keys: Vec<_> = scopes.iter().flat_map(|scope| &scope.facets).map(|f| f.resource.to_string()).collect();
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn a_node_says_which_cluster_it_is_in_and_tells_of_it_where_it_is_let() {
    let node = two_nodes(1);
    let root = Root::new(node.0.path());
    let seat = root.seat().clone();
    let mut collector = make(&root, &Settings::default());
    let own = ["cluster:home", "guest:101", "node:pve1", "storage:local", "storage:nas", "storage:pbs"];
    assert_eq!(keys(&collector.collect(NOW)), own);
    assert!(collector.shared().is_none(), "nothing is decided");
    let membership = seat.membership().unwrap();
    assert_eq!((membership.name.as_str(), membership.node.as_str(), membership.quorate), ("home", "pve1", true));
    assert_eq!(membership.nodes, ["pve1", "pve2"]);
    assert_eq!(membership.id, ["AB"; 32].join(":"));

    // Another node tells of the cluster: what ails this one alone stays its own.
    seat.decide(&membership.id, Standing::Elsewhere);
    assert_eq!(keys(&collector.collect(NOW)), own, "on the node itself, nothing changes");
    let shared = collector.shared().unwrap();
    assert!(shared.cluster.is_none());
    let mut elsewhere: Vec<_> = shared.elsewhere.iter().map(ToString::to_string).collect();
    elsewhere.sort();
    assert_eq!(elsewhere, ["cluster:home", "guest:101", "storage:pbs"], "the share that it does not reach is its own");

    // This one does.
    let host = tomte_model::HostId::from_parts(1, 1);
    seat.decide(&membership.id, Standing::Ours(host));
    assert_eq!(keys(&collector.collect(NOW)), own);
    let (of, told) = collector.shared().unwrap().cluster.unwrap();
    assert_eq!(of, host);
    let all = ["cluster:home", "guest:101", "guest:201", "node:pve1", "node:pve2", "storage:nas", "storage:pbs"];
    assert_eq!(keys(&told), all);
    let nas = told.iter().flat_map(|scope| &scope.facets).find(|facet| facet.resource.name == "nas").unwrap();
    assert_eq!(nas.attribute("node").unwrap().to_string(), "pve2", "asked where it is reached");

    // The details and backups of all guests, too.
    for path in ["/nodes/pve1/lxc/101/config", "/nodes/pve2/lxc/201/config"] {
        node.says(path, r#"{"hostname":"x"}"#);
    }
    fs::write(node.path("etc/pve/nodes/pve2/lxc/201.conf"), "").unwrap();
    for of in ["pve1", "pve2"] {
        node.says(&format!("/nodes/{of}/replication"), &format!(r#"[{{"id":"10{}-0"}}]"#, &of[3..]));
        let since = NOW.wall.millis() / 1000 - 86_400;
        let call = format!("pvesh get !nodes!{of}!tasks --output-format json --limit 500 --since {since} --source all");
        fs::write(node.path("tools").join(call), "[]").unwrap();
    }
    node.says("/cluster/backup", r#"[{"id":"b","enabled":1,"all":1,"schedule":"21:00"}]"#);
    let mut slow = make_slow(&root, &Settings::default());
    let seen = slow.collect(NOW);
    assert_eq!(keys(&seen), ["backup:guest/101", "guest:101", "node:pve1", "replication:101-0"], "{seen:#?}");
    let (_, told) = slow.shared().unwrap().cluster.unwrap();
    let all =
        ["backup:guest/101", "backup:guest/201", "guest:101", "guest:201", "replication:101-0", "replication:102-0"];
    assert_eq!(keys(&told), all);

    // Nothing can be read: neither is what is told of the cluster.
    node.fails("/cluster/resources", "no quorum\n");
    collector.collect(NOW);
    let (_, told) = collector.shared().unwrap().cluster.unwrap();
    assert!(told.iter().all(|scope| !scope.outcome.is_complete()));
    collector.collect(NOW);
    assert!(!seat.membership().unwrap().readable);
}

#[test]
fn a_node_without_a_quorum_says_so_itself() {
    let node = two_nodes(0);
    let root = Root::new(node.0.path());
    let mut collector = make(&root, &Settings::default());
    collector.collect(NOW);
    let membership = root.seat().membership().unwrap();
    assert!(!membership.quorate);
    root.seat().decide(&membership.id, Standing::Elsewhere);
    collector.collect(NOW);
    let shared = collector.shared().unwrap();
    assert!(!shared.elsewhere.iter().any(|key| key.kind == "cluster"), "{shared:?}");
}

#[test]
fn without_the_authority_there_is_no_cluster_to_speak_of() {
    let node = two_nodes(1);
    node.fails("/nodes/pve1/certificates/info", "403\n");
    let root = Root::new(node.0.path());
    let scopes = make(&root, &Settings::default()).collect(NOW);
    assert!(scopes.iter().all(|scope| scope.outcome.is_complete()));
    assert_eq!(root.seat().membership(), None);
}

#[test]
fn backups_on_each_nodes_own_storage_are_all_looked_for() {
    let rows: Rows = wire::parse(
        br#"[{"type":"storage","storage":"local","node":"pve1","status":"available","shared":0,"content":"backup"},
            {"type":"storage","storage":"local","node":"pve2","status":"available","shared":0,"content":"backup"},
            {"type":"storage","storage":"nas","node":"pve1","status":"available","shared":1,"content":"backup"},
            {"type":"storage","storage":"nas","node":"pve2","status":"available","shared":1,"content":"backup"}]"#,
        false,
    )
    .unwrap();
    let found = backups::storages(&rows.0, &["pve1".to_owned(), "pve2".to_owned()]);
    let places: Vec<_> = found.values().map(|row| format!("{}@{}", row.storage.as_str(), row.node.as_str())).collect();
    assert_eq!(places, ["local@pve1", "local@pve2", "nas@pve1"]);
}

#[test]
fn one_question_that_fails_costs_its_own_scope() {
    let node = Node::new();
    node.says("/nodes/pve1/lxc/101/config", r#"{"hostname":"dns","net0":"name=eth0,bridge=vmbr0,ip=192.0.2.53/24"}"#);
    node.fails("/nodes/pve1/lxc/101/interfaces", "CT 101 is locked\n");
    node.says("/nodes/pve1/replication", "[]");
    node.says("/cluster/backup", "{");
    let since = NOW.wall.millis() / 1000 - 86_400;
    node.says("/nodes/pve1/tasks", "[]");
    let call = format!("pvesh get !nodes!pve1!tasks --output-format json --limit 500 --since {since} --source all");
    fs::write(node.path("tools").join(call), "[]").unwrap();
    let scopes = node.collect(make_slow);
    let detail = &named(&scopes, "guest/detail").facets[0];
    assert_eq!(detail.attribute("addresses").unwrap().to_string(), "192.0.2.53", "from the configuration");
    assert!(detail.attribute("address_error").unwrap().to_string().contains("CT 101 is locked"));
    assert!(named(&scopes, "proxmox/task").outcome.is_complete());
    assert!(named(&scopes, "proxmox/replication").outcome.is_complete());
    let backup = named(&scopes, "backup/guest");
    assert!(matches!(&backup.outcome, Outcome::Failed { error } if error.contains("/cluster/backup")), "{backup:?}");
    node.fails("/cluster/resources", "cluster not ready - no quorum?\n");
    let scopes = node.collect(make);
    assert!(
        matches!(&scopes[0].outcome, Outcome::Failed { error } if error.ends_with("cluster not ready - no quorum?")),
        "{scopes:?}"
    );
}

#[test]
fn of_very_many_guests_some_are_read_in_each_run_and_none_is_forgotten() {
    let node = Node::new();
    let count = DETAILS + 3;
    let guest = |vmid: usize| format!(r#"{{"type":"lxc","vmid":{vmid},"node":"pve1","status":"stopped"}}"#);
    let guests: Vec<String> = (1000..1000 + count).map(guest).collect();
    node.says("/cluster/resources", &format!("[{}]", guests.join(",")));
    for vmid in 1000..1000 + count {
        fs::write(node.path(&format!("etc/pve/nodes/pve1/lxc/{vmid}.conf")), "").unwrap();
        node.says(&format!("/nodes/pve1/lxc/{vmid}/config"), r#"{"hostname":"one"}"#);
    }
    let mut collector = make_slow(&Root::new(node.0.path()), &Settings::default());
    let mut told = || named(&collector.collect(NOW), "guest/detail").facets.len();
    assert_eq!([told(), told(), told()], [DETAILS, count, count], "the rest in the second run, and all stay");
    let left = &guests[..count - 1];
    node.says("/cluster/resources", &format!("[{}]", left.join(",")));
    assert_eq!(told(), count - 1, "one that is gone goes");
}

#[test]
fn a_host_without_proxmox_has_none() {
    let tree = tempfile::tempdir().unwrap();
    let scopes = make(&Root::new(tree.path()), &Settings::default()).collect(NOW);
    assert!(scopes.iter().all(|scope| matches!(scope.outcome, Outcome::Unavailable { .. })));
}

#[test]
fn real_resources_of_version_9() {
    let Some(bytes) = public("real_pve9_cluster_resources_type_vm.json") else { return };
    let rows: Rows = wire::parse(&bytes, false).unwrap();
    let mut meters = Meters::default();
    let facets: Vec<_> = rows.0.iter().map(|row| meters.runtime(row, None, NOW).unwrap()).collect();
    assert_eq!(facets.len(), 8);
    let jumper = facets.iter().find(|facet| facet.resource.name == "100").unwrap();
    assert_eq!(jumper.reading("memory_host_bytes"), Some(5_179_975_680.0));
    assert!((jumper.reading("cpu_ratio").unwrap() - 0.161_649_652).abs() < 1e-6);
    assert!(facets.iter().all(|facet| facet.reading("memory_used_ratio").is_none_or(|ratio| ratio <= 1.0)));
    let template = facets.iter().find(|facet| facet.resource.name == "101").unwrap();
    assert_eq!(template.attribute("template").unwrap().to_string(), "yes");
}

#[test]
fn a_real_guest_agent_tells_its_addresses() {
    let Some(bytes) = public("real_agent_network-get-interfaces.a.json") else { return };
    let told = wire::parse::<Interfaces>(&bytes, false).unwrap().list();
    let row: Row = serde_json::from_str(r#"{"type":"qemu","vmid":100,"status":"running"}"#).unwrap();
    let config: GuestConfig =
        serde_json::from_str(r#"{"net0":"virtio=02:0C:21:FC:C7:9B,bridge=vmbr7","agent":"enabled=1"}"#).unwrap();
    assert!(guests::expects_agent(&config));
    let facet = guests::detail(&row, &config, Network::Told(told), &[], None).unwrap();
    assert_eq!(facet.attribute("addresses").unwrap().to_string(), "192.168.0.123");
    assert_eq!(facet.tables[0].rows[0][3].as_ref().unwrap().to_string(), "vmbr7", "the bridge, by its address");
}

#[test]
fn rates_begin_with_the_second_look() {
    let row = |bytes: u64| -> Row {
        serde_json::from_str(&format!(r#"{{"type":"lxc","vmid":101,"status":"running","netin":{bytes}}}"#)).unwrap()
    };
    let mut meters = Meters::default();
    let later = Moment { boot_millis: 110_000, ..NOW };
    assert_eq!(meters.runtime(&row(1_000), None, NOW).unwrap().reading("receive_bytes_per_second"), None);
    assert_eq!(meters.runtime(&row(6_000), None, later).unwrap().reading("receive_bytes_per_second"), Some(500.0));
}

proptest! {
    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_anything(&bytes);
    }

    /// Whatever a key holds: a number, a text, a list.
    #[test]
    fn any_value_of_any_key_is_safe(
        key in "vmid|type|cpu|mem|tags|ctime|schedule|endtime|net0|agent|id|verification|maxcpu|netin|next-run|pid",
        value in "-?[0-9]{1,30}|\"[ -!#-\\[\\]-~]{0,20}\"|\\[\\]|\\{\\}|null|true|1e400|\"1e400\"",
    ) {
        let row = format!(r#"{{"type":"lxc","vmid":101,"status":"running","ctime":5,"{key}":{value}}}"#);
        parse_anything(format!("[{row}]").as_bytes());
        parse_anything(format!(r#"{{"data":[{row}]}}"#).as_bytes());
        parse_anything(row.as_bytes());
    }
}
