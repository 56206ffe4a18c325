//! No space left, at the hub and at an agent: it is said, nothing that was
//! acknowledged is lost, and all goes on when there is space again.

use std::fs;

use tomte_store::{Options, Store};

use super::agent_killed::{FAST, epoch, spooled};
use super::killed::assert_whole;
use super::support::*;

/// A small disk, or aloud that there is none.
fn small_disk(kilobytes: u32) -> Option<SmallDisk> {
    SmallDisk::new(kilobytes).inspect_err(|why| eprintln!("SKIPPED: nothing was filled up: {why}")).ok()
}

#[test]
fn a_hub_without_space_says_so_and_goes_on_when_there_is_some() {
    let Some(disk) = small_disk(32_000) else { return };
    let mut hub = Hub::on_disk(&disk);
    let agent = block_on(async {
        let agent = std::sync::Arc::new(SimulatedAgent::new(&hub, "reef").await);
        agent.flood(300).await;
        agent.until_all_acked().await;
        agent
    });
    disk.fill();
    let flood = spawn({
        let agent = agent.clone();
        async move { agent.flood(2_000).await }
    });
    let told = hub.process.wait_for_text("the store is in trouble");
    assert!(told.contains("the disk is full") && told.contains("history.db"), "{told}");
    // What writes is refused and told why; what reads, and what is live, goes on.
    let output = hub.try_tomte(&["host", "add", "pond"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("disk is full"), "{said}");
    assert!(hub.tomte(&["host", "list"]).contains("online"));
    assert!(hub.tomte(&["query", "disk", "read_bytes_per_second"]).contains("reef"));
    let acked = agent.acked().count();
    assert!(acked < agent.submitted(), "nothing is acknowledged that is not on disk");

    disk.empty();
    in_time("the rest", async {
        flood.await.unwrap();
        agent.until_all_acked().await;
        let client = hub.client();
        let mut watcher = Watcher::all(&client).await;
        // The first was told while it could not be written down.
        let mut told: Vec<_> = events(&client, "store_trouble").await;
        while told.len() < 2 {
            watcher.event("store_trouble").await;
            told = events(&client, "store_trouble").await;
        }
        assert!(told[0].message.contains("writes again"), "{told:?}");
        assert!(told[1].message.contains("full"), "{told:?}");
    });
    hub.tomte(&["host", "add", "pond"]);
    hub.process.kill();
    // SQLite follows links, and would leave the small disk again: so a copy.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&hub.folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    assert_whole(copy.path(), &[&agent]);
}

/// An agent whose disk is full, and whose hub is away: it keeps in memory what
/// it may, says what it had to drop, and spools the rest once it can.
#[test]
fn an_agent_without_space_declares_what_it_drops_and_loses_nothing_else() {
    let Some(disk) = small_disk(1_024) else { return };
    let mut hub = Hub::start();
    let proxy = block_on(Proxy::start(hub.address()));
    let config = disk.path().join("reef.toml");
    let outside = disk.seen_from_outside(&config);
    fs::write(&outside, format!("{FAST}[outbox]\nmemory_limit = \"12kB\"\n")).unwrap();
    let mut enroll = agent();
    enroll.args(["enroll", &proxy.url, "--code", &hub.code("reef"), "--config"]).arg(&config);
    assert!(disk.on_it(&enroll).status().unwrap().success());
    let run = || Process::start(disk.on_it(&agent_command(&config)));

    // It starts and reports on a full disk, too; and its next outbox is new.
    disk.fill();
    let mut agent = run();
    agent.wait_for_text("No space left");
    agent.wait_for_text("connected to the hub");
    block_on(proxy.until("acks", |acked| acked.count() > 5));
    agent.kill();
    let mut agent = run();
    block_on(proxy.until("acks of another outbox", |acked| acked.by_epoch.len() == 2));
    agent.kill();
    disk.empty();

    let mut agent = run();
    agent.wait_for_text("connected to the hub");
    let of = epoch(&outside);
    block_on(proxy.until("acks", |acked| acked.by_epoch.contains_key(&of)));
    let host = block_on(hub.client().host("reef")).unwrap().id;
    disk.fill();
    hub.process.kill();
    // Whether what is oldest makes room on the disk, or nothing can be written
    // at all, is a matter of bytes; either way reports are lost, and said to be.
    agent.wait_for_text(&format!("had to be dropped before they could be sent epoch={of} "));
    disk.empty();
    assert!(agent.stop().success());
    let spooled = spooled(&outside.with_extension("toml.d"));
    assert!(!spooled.is_empty() && spooled.iter().all(|position| position.epoch == of), "{spooled:?}");

    hub.restart();
    let mut agent = run();
    let arrived = |ranges: &tomte_model::RangeSet| spooled.iter().all(|position| ranges.contains(position.sequence));
    in_time("what was kept", async {
        proxy.until("the spool", |acked| acked.by_epoch.get(&of).is_some_and(arrived)).await;
        // On the full disk before, its other outboxes may have lost some too.
        let gap = event_where(&hub.client(), "gap", |gap| gap.details["epoch"] == of.to_string()).await;
        assert!(gap.message.contains("dropped"), "{gap:?}");
    });
    assert!(agent.stop().success());
    hub.process.kill();
    let store = Store::open(&hub.folder, Options::default()).unwrap();
    let last = spooled.iter().map(|position| position.sequence).max().unwrap();
    let received = store.history.received(host, of);
    assert_eq!(received.iter().collect::<Vec<_>>(), [1..=last], "received or declared lost, nothing in between");
}
