//! `tomte demo`: a hub full of hosts from one command, and nothing left of it
//! afterwards.

use std::path::Path;

use rustix::process::Signal;
use tomte_api::client::{Client, ResourceFilter};
use tomte_api::live::Body;
use tomte_model::Status;

use super::support::*;

#[test]
fn a_demo_shows_all_its_hosts_and_leaves_nothing_behind() {
    let mut command = tomte();
    command.args(["demo", "--hosts", "6", "--listen", "127.0.0.1:0", "--interval", "1s"]);
    let mut demo = Process::start(command);
    let folder = demo.wait_for("folder", |line| line.split_once(", data in ").map(|(_, folder)| folder.to_owned()));
    let url = demo.wait_for("address", |line| line.strip_prefix("Listening on ").map(str::to_owned));
    let link = demo.wait_for("link", |line| line.split_once("works once: ").map(|(_, link)| link.to_owned()));
    assert!(link.starts_with(&url), "{link}");
    in_time("the demo's hosts", async {
        let client = Client::unix(Path::new(&folder).join("hub.sock"));
        let mut watcher = Watcher::all(&client).await;
        let mut hosts = std::collections::BTreeMap::new();
        let failing = watcher
            .until("six hosts, one of them in a critical state", |body| {
                let told = match body {
                    Body::Snapshot(snapshot) => &snapshot.hosts,
                    Body::Delta(delta) => &delta.hosts,
                    _ => return None,
                };
                hosts.extend(told.iter().map(|host| (host.name.clone(), host.clone())));
                let judged = hosts.values().filter(|host| host.status.is_some()).count();
                let critical = hosts.values().find(|host| host.status == Some(Status::Critical));
                critical.filter(|_| judged >= 6).cloned()
            })
            .await;
        assert!(!failing.reason.is_empty() && !failing.problems.is_empty(), "{failing:?}");
        let resources = client.resources(&ResourceFilter::default()).await.unwrap();
        assert!(resources.len() > 6 * 8, "{} resources", resources.len());
        let changed = watcher
            .until("changing data", |body| match body {
                Body::Delta(delta) => delta.resources.iter().find(|change| change.resource.kind == "cpu").cloned(),
                _ => None,
            })
            .await;
        assert!(changed.readings.contains_key("usage_ratio"), "{changed:?}");
    });
    demo.signal(Signal::INT);
    let (status, said) = demo.ended();
    assert!(status.success(), "{status}: {said}");
    assert!(!said.contains("panicked") && !said.contains("ERROR"), "{said}");
    assert!(!Path::new(&folder).exists(), "{folder} was left behind");
}

#[test]
fn a_demo_is_for_this_machine_alone() {
    let output = tomte().args(["demo", "--listen", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("loopback only"), "{said}");
}
