//! What the engines keep on disk: images, containers, volumes, build cache.
//!
//! To know this an engine walks its volumes, so it is asked in the slow tier
//! only, and given time.

use std::time::{Duration, Instant};

use tomte_model::{Facet, Moment, Outcome, Scope};

use super::ask::Ask;
use super::{Socket, engine, sockets};
use crate::Collector;
use crate::root::Root;
use crate::settings::Settings;

/// The scopes of the engines that are looked for without being told.
pub(crate) const SCOPES: &[&str] = &["container_disk:docker", "container_disk:podman"];

/// One engine has this long; the collector's deadline is later.
const WITHIN: Duration = Duration::from_secs(120);

/// The collector `container_disk`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Disks { engines: sockets(root, &settings.container) })
}

struct Disks {
    engines: Vec<Socket>,
}

impl Collector for Disks {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        self.engines
            .iter()
            .map(|socket| {
                let scope = format!("container_disk:{}", socket.label);
                match look(socket) {
                    Ok(facet) => Scope::complete(scope, vec![facet]),
                    Err(outcome) => Scope::failed(scope, outcome),
                }
            })
            .collect()
    }
}

fn look(socket: &Socket) -> Result<Facet, Outcome> {
    let answer = socket.ask(&Ask::DiskUsage, Instant::now() + WITHIN);
    let usage = answer.and_then(|answer| engine::disk_usage(&answer)).map_err(|error| error.outcome())?;
    let mut facet = Facet::extra("container_engine", &*socket.label, "disk");
    facet.read("images_bytes", usage.images_bytes.map(|bytes| bytes as f64));
    facet.read("images_unused_bytes", usage.images_unused_bytes as f64);
    facet.read("images", usage.images as f64);
    facet.read("containers_bytes", usage.containers_bytes as f64);
    facet.read("volumes_bytes", usage.volumes_bytes as f64);
    facet.read("volumes_unused_bytes", usage.volumes_unused_bytes as f64);
    facet.read("volumes", usage.volumes as f64);
    facet.read("build_cache_bytes", usage.build_cache_bytes as f64);
    Ok(facet)
}
