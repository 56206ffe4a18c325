//! The state machine, with time and presence as the tests want them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;

const PATIENCE: Duration = Duration::from_secs(90);

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + second * 1000)
}

fn host(number: u128) -> HostId {
    HostId::from_parts(1, number)
}

/// The cluster's own host.
const HOME: u128 = 99;

fn who(number: u128, name: &str, has_role: bool) -> Claimant {
    Claimant { host: host(number), name: name.parse().unwrap(), has_role }
}

fn says(id: &str, node: &str) -> ClusterClaim {
    let nodes = ["pve1", "pve2", "pve3"].map(str::to_owned).to_vec();
    ClusterClaim { id: id.into(), name: "home".into(), node: node.into(), nodes, quorate: true, readable: true }
}

fn waits(verdict: &Verdict) -> &str {
    let Verdict::Waits(why) = verdict else { panic!("{verdict:?}") };
    why
}

/// Who is there, for [`Table::step`].
struct World {
    table: Table,
    presence: BTreeMap<HostId, Presence>,
    second: i64,
}

impl World {
    /// pve1 made the cluster and holds it, pve2 and pve3 stand by.
    fn new() -> Self {
        let mut table = Table::default();
        assert_eq!(table.claim(&who(1, "pve1", true), says("AB", "pve1"), at(0)), Verdict::Make);
        table.made(host(HOME), host(1), at(0));
        for number in [2, 3] {
            let name = format!("pve{number}");
            let verdict = table.claim(&who(number, &name, false), says("AB", &name), at(0));
            assert_eq!(verdict, Verdict::Member { cluster: host(HOME), new: true, renamed: None });
        }
        let presence = (1..=3).map(|number| (host(number), Presence::Online)).collect();
        let mut world = Self { table, presence, second: 0 };
        assert_eq!(world.step(0), ["nobody->1"]);
        world
    }

    fn is(&mut self, number: u128, presence: Presence) {
        self.presence.insert(host(number), presence);
    }

    fn claim(&mut self, number: u128, change: impl FnOnce(&mut ClusterClaim)) {
        let name = format!("pve{number}");
        let mut claim = says("AB", &name);
        change(&mut claim);
        self.table.claim(&who(number, &name, number == 1), claim, at(self.second));
    }

    fn step(&mut self, second: i64) -> Vec<String> {
        self.second = second;
        let presence = |host: HostId| self.presence.get(&host).copied().unwrap_or(Presence::Never);
        let connected = |host: HostId| presence(host) == Presence::Online;
        let boot = second.unsigned_abs() * 1000;
        let number = |id: Option<HostId>| {
            let found = id.and_then(|id| (1..=9).find(|number| host(*number) == id));
            found.map_or_else(|| "nobody".to_owned(), |number| number.to_string())
        };
        let moved = self.table.step(at(second), boot, PATIENCE, presence, connected);
        moved.iter().map(|moved| format!("{}->{}", number(moved.from), number(moved.to))).collect()
    }

    fn holder(&self) -> Option<HostId> {
        self.table.cluster(host(HOME)).unwrap().holder()
    }

    fn share(&self, agent: u128, second: i64) -> Share {
        self.table.share(host(HOME), host(agent), at(second), at(self.second))
    }
}

#[test]
fn a_cluster_is_made_for_whom_an_administrator_gave_the_role() {
    let mut table = Table::default();
    let verdict = table.claim(&who(1, "pve1", false), says("AB", "pve1"), at(0));
    assert!(waits(&verdict).contains("tomte host role pve1 proxmox"), "{verdict:?}");
    assert_eq!(table.waiting(), [host(1)]);
    assert_eq!(table.claim(&who(1, "pve1", true), says("AB", "pve1"), at(1)), Verdict::Make);
    assert!(table.waiting().is_empty());
    // It cannot fill the hub with them.
    for number in 0..4_u128 {
        let id = format!("{number}");
        let claim = ClusterClaim { name: id.clone(), ..says(&id, "pve1") };
        assert_eq!(table.claim(&who(1, "pve1", true), claim, at(2)), Verdict::Make);
        table.made(host(50 + number), host(1), at(2));
    }
    let one_more = ClusterClaim { name: "more".into(), ..says("more", "pve1") };
    assert!(waits(&table.claim(&who(1, "pve1", true), one_more, at(3))).contains("remove those that are gone"));
}

#[test]
fn a_node_is_believed_when_others_know_it_and_an_administrator_named_it() {
    let mut world = World::new();
    let mut claim = |who: &Claimant, node: &str| world.table.claim(who, says("AB", node), at(5));
    // The token of another host says that it is a node that nobody enrolled yet.
    assert!(waits(&claim(&who(7, "web-1", false), "pve9")).contains("no node of the cluster home knows"));
    // One that is a node already.
    assert!(waits(&claim(&who(7, "web-1", true), "pve2")).contains("another host is the node pve2"));
    // From elsewhere, nobody vouches, whatever the role.
    assert!(waits(&claim(&who(7, "web-1", true), "")).contains("tomte host grant web-1"));
    assert_eq!(world.share(7, 5), Share::Stranger);
    // A node that the others know, under another name than its own.
    world.table.forget(host(3), at(6));
    let mut claim = |who: &Claimant, node: &str| world.table.claim(who, says("AB", node), at(6));
    assert!(waits(&claim(&who(8, "hyper", false), "pve3")).contains("is called hyper"));
    assert!(matches!(claim(&who(8, "hyper", true), "pve3"), Verdict::Member { new: true, .. }));
    // Nor may a member become another node.
    assert!(waits(&claim(&who(8, "hyper", true), "pve1")).contains("it was the node pve3"));
    world.table.forget(host(8), at(7));
    let verdict = world.table.claim(&who(9, "pve3.lan", false), says("AB", "pve3"), at(7));
    assert!(matches!(verdict, Verdict::Member { new: true, .. }), "{verdict:?}");
}

#[test]
fn who_is_offline_loses_its_turn_and_does_not_get_it_back_by_coming_back() {
    let mut world = World::new();
    assert!(world.step(10).is_empty(), "both are there, nothing moves");
    world.is(1, Presence::Late);
    assert!(world.step(60).is_empty(), "away for a moment");
    world.is(1, Presence::Offline);
    assert_eq!(world.step(100), ["1->2"]);
    world.is(1, Presence::Online);
    assert!(world.step(200).is_empty());
    assert_eq!(world.holder(), Some(host(2)));
    world.is(2, Presence::Offline);
    assert_eq!(world.step(300), ["2->1"]);
    // With nobody to take over, the turn waits for its holder.
    for number in [1, 2, 3] {
        world.is(number, Presence::Offline);
    }
    assert!(world.step(400).is_empty());
    assert_eq!(world.holder(), Some(host(1)));
    world.is(3, Presence::Online);
    assert_eq!(world.step(500), ["1->3"]);
}

#[test]
fn a_node_without_a_quorum_does_not_win_over_one_with() {
    let mut world = World::new();
    // The cluster is split: pve1 is alone, the others are two.
    world.claim(1, |claim| claim.quorate = false);
    assert_eq!(world.step(10), ["1->2"]);
    world.claim(1, |claim| claim.quorate = true);
    assert!(world.step(20).is_empty(), "and none comes back by that alone");
    // Of those that could take over, one without a quorum comes last.
    world.claim(1, |claim| claim.quorate = false);
    world.is(2, Presence::Offline);
    assert_eq!(world.step(30), ["2->3"]);
    // Where nobody has one, everything stays as it is.
    world.claim(3, |claim| claim.quorate = false);
    assert!(world.step(40).is_empty());
    world.is(3, Presence::Offline);
    assert_eq!(world.step(50), ["3->1"], "better than nobody");
}

#[test]
fn who_cannot_read_the_cluster_gives_way() {
    let mut world = World::new();
    world.claim(1, |claim| claim.readable = false);
    assert_eq!(world.step(10), ["1->2"]);
    world.claim(2, |claim| claim.readable = false);
    assert_eq!(world.step(20), ["2->3"]);
    world.claim(3, |claim| claim.readable = false);
    assert!(world.step(30).is_empty(), "nobody can");
}

#[test]
fn a_holder_that_says_nothing_of_its_cluster_has_a_while() {
    let mut world = World::new();
    // Connected again, perhaps as an older version that knows no clusters.
    world.table.connected(host(1));
    assert!(world.step(10).is_empty());
    assert!(world.step(99).is_empty());
    assert_eq!(world.step(100), ["1->2"]);
    let mut world = World::new();
    world.table.connected(host(1));
    assert!(world.step(10).is_empty());
    world.claim(1, |_| {});
    assert!(world.step(50).is_empty());
    world.table.connected(host(1));
    assert!(world.step(110).is_empty(), "it waits anew each time");
}

#[test]
fn what_was_read_in_ones_own_turn_counts_whenever_it_comes() {
    let mut world = World::new();
    world.is(1, Presence::Offline);
    world.step(1000);
    world.is(1, Presence::Online);
    world.is(2, Presence::Offline);
    world.step(2000);
    world.step(3000);
    // 1 until 1000, 2 until 2000, then 1 again.
    for (agent, second, share) in [
        (1, 500, Share::Turn(1)),
        (1, 1500, Share::OutOfTurn),
        (1, 2500, Share::Turn(3)),
        (2, 500, Share::OutOfTurn),
        (2, 1500, Share::Turn(2)),
        (2, 2500, Share::OutOfTurn),
        (3, 500, Share::OutOfTurn),
        (7, 500, Share::Stranger),
        // Its clock is a little behind: the turn had begun.
        (2, 970, Share::Turn(2)),
    ] {
        assert_eq!(world.share(agent, second), share, "{agent} at {second}");
    }
    // Should the hub's clock have gone back, what the holder reads now counts.
    assert_eq!(world.table.share(host(HOME), host(1), at(1500), at(1500)), Share::Turn(3));
    assert_eq!(world.table.share(host(HOME), host(2), at(2500), at(2500)), Share::OutOfTurn);
    assert_eq!(world.table.share(host(5), host(1), at(0), at(0)), Share::NoCluster);
}

#[test]
fn a_renamed_cluster_stays_the_same() {
    let mut world = World::new();
    let renamed = ClusterClaim { name: "lab".into(), ..says("AB", "pve2") };
    let verdict = world.table.claim(&who(2, "pve2", false), renamed, at(5));
    assert_eq!(verdict, Verdict::Member { cluster: host(HOME), new: false, renamed: Some("home".into()) });
    assert_eq!(world.table.clusters().len(), 1);
    assert_eq!(world.table.cluster(host(HOME)).unwrap().name, "lab");
}

#[test]
fn another_cluster_of_the_same_name_is_another_one() {
    let mut world = World::new();
    let other = says("CD", "pve1");
    assert_eq!(world.table.claim(&who(5, "office-1", true), other.clone(), at(5)), Verdict::Make);
    world.table.made(host(98), host(5), at(5));
    assert_eq!(world.table.clusters().len(), 2);
    // But for a member, the same name with another authority is a question.
    let verdict = world.table.claim(&who(2, "pve2", true), says("EF", "pve2"), at(6));
    assert!(waits(&verdict).contains("another certificate authority"), "{verdict:?}");
    world.table.admit(host(2), host(HOME), at(7)).unwrap();
    let verdict = world.table.claim(&who(1, "pve1", true), says("EF", "pve1"), at(8));
    assert!(matches!(verdict, Verdict::Member { new: false, .. }), "the others follow: {verdict:?}");
    // What is another cluster's is not taken in by a grant.
    assert!(world.table.admit(host(5), host(HOME), at(9)).is_err());
}

#[test]
fn a_node_may_change_its_cluster_and_leave_it() {
    let mut world = World::new();
    let moved = ClusterClaim { name: "office".into(), ..says("CD", "pve1") };
    assert_eq!(world.table.claim(&who(1, "pve1", true), moved, at(5)), Verdict::Make);
    world.table.made(host(98), host(1), at(5));
    assert_eq!(world.step(6), ["nobody->2", "nobody->1"]);
    assert_eq!(world.table.claim(&who(2, "pve2", false), ClusterClaim::default(), at(7)), Verdict::Nothing);
    assert_eq!(world.step(8), ["nobody->3"]);
    assert_eq!(world.table.cluster_of(host(2)), None);
}

#[test]
fn whom_an_administrator_took_out_stays_out() {
    let mut world = World::new();
    assert!(world.table.bar(host(1), host(HOME)));
    assert!(!world.table.bar(host(1), host(HOME)));
    assert_eq!(world.step(1), ["1->2"]);
    world.claim(1, |_| {});
    assert!(world.table.waits(host(1)).unwrap().contains("taken out"));
    // What it read before is not thrown away, and it is not shut out.
    assert_eq!(world.share(1, 0), Share::Turn(1));
    assert_eq!(world.share(1, 100), Share::OutOfTurn);
    world.table.admit(host(1), host(HOME), at(5)).unwrap();
    world.claim(1, |_| {});
    assert_eq!(world.table.waits(host(1)), None);
}

#[test]
fn what_is_removed_leaves_nothing() {
    let mut world = World::new();
    world.table.forget(host(1), at(5));
    assert_eq!(world.step(6), ["nobody->2"]);
    world.table.forget(host(HOME), at(7));
    assert!(world.table.clusters().is_empty());
    assert_eq!(world.share(2, 8), Share::OutOfTurn, "an agent may still bring something for it");
    // Its nodes are still there: it is made again.
    assert!(waits(&world.table.claim(&who(2, "pve2", false), says("AB", "pve2"), at(9))).contains("role"));
    assert_eq!(world.table.claim(&who(2, "pve2", true), says("AB", "pve2"), at(9)), Verdict::Make);
}

#[test]
fn what_is_kept_is_what_was_decided() {
    let mut world = World::new();
    world.is(1, Presence::Offline);
    world.step(100);
    let kept = serde_json::to_string(&world.table).unwrap();
    let mut read: Table = serde_json::from_str(&kept).unwrap();
    assert_eq!(read.clusters(), world.table.clusters());
    assert!(read.waiting().is_empty() && read.claim_of(host(2)).is_none());
    // After a start, whoever held it goes on, though it has not said anything yet.
    let quiet = read.step(at(101), 0, PATIENCE, |_| Presence::Late, |_| false);
    assert!(quiet.is_empty() && read.clusters()[0].holder() == Some(host(2)));
}
