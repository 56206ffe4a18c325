//! Finding things in the whole fleet: hosts at once, from what is known here;
//! services, guests, containers, addresses and tags from what the hub answers.

use tomte_api::resource::Resource;
use tomte_model::{HostId, Status};

use crate::list::{Cursor, Input, matches};
use crate::world::{Key, World};

/// How many results are shown at most.
pub(crate) const RESULTS: usize = 200;

/// Something that was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    pub(crate) host: HostId,
    pub(crate) host_name: String,
    /// The resource; `None`: the host itself.
    pub(crate) key: Option<Key>,
    pub(crate) status: Option<Status>,
    /// Where the text occurs, when not in the name.
    pub(crate) because: String,
}

/// The search, as it lies over the page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Search {
    pub(crate) input: Input,
    pub(crate) hits: Vec<Hit>,
    pub(crate) cursor: Cursor,
    pub(crate) waiting: Option<u64>,
    /// Enter was pressed before there was anything to open: the first that is
    /// found is.
    pub(crate) opening: bool,
    pub(crate) trouble: Option<String>,
}

impl Search {
    /// The hosts that match; what the hub finds comes behind them.
    pub(crate) fn begin(&mut self, world: &World) {
        let text = &self.input.text;
        self.cursor = Cursor::default();
        self.trouble = None;
        self.hits.clear();
        if text.trim().is_empty() {
            return;
        }
        for known in world.hosts.values() {
            let host = &known.host;
            let others = host.aliases.iter().chain(&host.roles).chain(host.external_ids.values());
            let texts = [host.name.as_str()].into_iter().chain(others.clone().map(String::as_str));
            if matches(text, texts) {
                let because = if matches(text, [host.name.as_str()].into_iter()) {
                    host.roles.join(" ")
                } else {
                    others.cloned().collect::<Vec<_>>().join(" ")
                };
                self.hits.push(Hit {
                    host: host.id,
                    host_name: host.name.clone(),
                    key: None,
                    status: host.status,
                    because,
                });
            }
        }
        self.hits.sort_by(|a, b| a.host_name.cmp(&b.host_name));
        self.hits.truncate(RESULTS);
    }

    /// What the hub found.
    pub(crate) fn found(&mut self, resources: Vec<Resource>) {
        self.waiting = None;
        let lower = self.input.text.to_lowercase();
        let mut found: Vec<Hit> = resources
            .into_iter()
            .map(|resource| {
                let named = format!("{} {}", resource.name, resource.kind).to_lowercase().contains(&lower);
                let tells = |(name, value): (&String, &tomte_model::Value)| {
                    let value = value.to_string();
                    value.to_lowercase().contains(&lower).then(|| format!("{name}: {value}"))
                };
                let because = if named { None } else { resource.attributes.iter().find_map(tells) };
                Hit {
                    host: resource.host_id,
                    host_name: resource.host,
                    because: because.unwrap_or(resource.reason),
                    key: Some((resource.kind, resource.name)),
                    status: resource.status,
                }
            })
            .collect();
        // Those that are called so before those that merely mention it.
        found.sort_by_key(|hit| {
            let name = hit.key.as_ref().map_or("", |(_, name)| name).to_lowercase();
            (!name.starts_with(&lower), !name.contains(&lower))
        });
        self.hits.retain(|hit| hit.key.is_none());
        self.hits.extend(found);
        self.hits.truncate(RESULTS);
    }
}
