//! `tomte host`: who there is, how they stand, and managing them.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use anyhow::{Context, bail};
use comfy_table::Color;
use tomte_api::client::Client;
use tomte_api::host::{AddHost, Host, MemberState, Presence, SetHostSettings};
use tomte_api::resource::Resource;
use tomte_model::{Catalogue, Timestamp, Unit};

use super::{ago, now};
use crate::cli::HostCommand;
use crate::output::{Format, Output, Text, printable};

pub(crate) async fn run(command: HostCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        HostCommand::List { at } => list(at.as_deref(), client, output).await,
        HostCommand::Show { host, at } => show(&host, at.as_deref(), client, output).await,
        HostCommand::Add { name, code_only, role } => {
            let added = client.add_host(&AddHost { name, roles: role }).await?;
            match (output.format, code_only) {
                (_, true) => output.line(&added.code),
                (Format::Json, _) => output.json(&added),
                _ => output.line(&added.line),
            }
        }
        HostCommand::Rename { host, name } => {
            let renamed = client.rename_host(&host, &name).await?;
            done(&output, &renamed, format!("{host} is now {}; the old name still works", renamed.name))
        }
        HostCommand::Alias { host, alias, remove } => {
            let changed = if remove {
                client.remove_alias(&host, &alias).await?
            } else {
                client.add_alias(&host, &alias).await?
            };
            done(&output, &changed, format!("{} has the aliases {}", changed.name, listed(&changed.aliases)))
        }
        HostCommand::Role { host, role, remove } => {
            let mut roles = client.host(&host).await?.roles;
            roles.retain(|r| *r != role);
            if !remove {
                roles.push(role);
            }
            let changed = client.set_roles(&host, roles).await?;
            done(&output, &changed, format!("{} has the roles {}", changed.name, listed(&changed.roles)))
        }
        HostCommand::Grant { host, via, remove } => {
            if remove {
                client.remove_grant(&host, &via).await?;
                output.line(format!("{host} may no longer report for {via}"))
            } else {
                let grant = client.add_grant(&host, &via).await?;
                done(&output, &grant, format!("{host} may report for {}", grant.name))
            }
        }
        HostCommand::Rotate { host, revoke: true, .. } => {
            client.revoke_token(&host).await?;
            output.line(format!("{host} is shut out until it is enrolled again: tomte host rotate {host}"))
        }
        HostCommand::Rotate { host, token: false, .. } => {
            let again = client.invite_again(&host).await?;
            if output.format == Format::Json { output.json(&again) } else { output.line(again.line) }
        }
        HostCommand::Rotate { host, .. } => {
            let token = client.rotate_token(&host).await?;
            if output.format == Format::Json { output.json(&token) } else { output.line(token.token) }
        }
        HostCommand::Refresh { host, collectors } => {
            client.refresh(&host, collectors).await?;
            output.line(format!("{host} was asked to read now"))
        }
        HostCommand::Settings { host, set, unset } => settings(&host, &set, &unset, client, output).await,
        HostCommand::Rm { host, yes } => remove(&host, yes, client, output).await,
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "(none)".to_owned() } else { names.join(", ") }
}

fn done(output: &Output, value: &impl serde::Serialize, words: String) -> anyhow::Result<()> {
    if output.format == Format::Json { output.json(value) } else { output.line(words) }
}

/// The moment that a list is of. It is fixed here once, so that all its pages
/// and all ages in it are of the same one.
fn moment(at: Option<&str>) -> anyhow::Result<Option<Timestamp>> {
    at.map(|text| tomte_api::time::time(text, now()).map_err(anyhow::Error::msg)).transpose()
}

async fn list(at: Option<&str>, client: &Client, output: Output) -> anyhow::Result<()> {
    let at = moment(at)?;
    let hosts = match at {
        Some(at) => client.hosts_at(&at.to_string()).await?,
        None => client.hosts().await?,
    };
    let as_of = at.unwrap_or_else(now);
    let rows = hosts.iter().map(|host| row(host, as_of)).collect();
    output.list(&hosts, &["host", "presence", "status", "seen", "roles", "reason"], rows)?;
    if hosts.is_empty() && output.terminal() && output.format == Format::Table {
        output.line(match at {
            Some(at) => format!("No hosts were known at {at}."),
            None => "No hosts yet. Add one: tomte host add NAME".to_owned(),
        })?;
    }
    Ok(())
}

fn row(host: &Host, as_of: Timestamp) -> Vec<Text> {
    vec![
        Text::new(host.name.clone()),
        presence(host.presence),
        Text::status(host.status),
        ago(host.last_seen_at, as_of),
        Text::new(host.roles.join(",")),
        Text::new(host.reason.clone()),
    ]
}

fn presence(presence: Presence) -> Text {
    let text = Text::new(presence.as_str());
    match presence {
        Presence::Online => text.coloured(Color::Green),
        Presence::Late => text.coloured(Color::Yellow),
        Presence::Offline => text.coloured(Color::Red),
        Presence::Never => text.dimmed(),
    }
}

async fn show(name: &str, at: Option<&str>, client: &Client, output: Output) -> anyhow::Result<()> {
    let at = moment(at)?;
    let (host, resources) = match at {
        Some(at) => {
            let at = at.to_string();
            (client.host_at(name, &at).await?, client.host_resources_at(name, None, &at).await?)
        }
        None => (client.host(name).await?, client.host_resources(name, None).await?),
    };
    let as_of = at.unwrap_or_else(now);
    if output.format == Format::Json {
        return output.json(&serde_json::json!({ "host": host, "resources": resources }));
    }
    if output.format == Format::Table {
        for (label, value) in facts(&host, as_of) {
            output.line(format!("{label:<10} {}", printable(&value)))?;
        }
        for problem in &host.problems {
            output.line(format!("{:<10} {}: {}", "", problem.status, printable(&problem.reason)))?;
        }
        output.line("")?;
    }
    let catalogue = Catalogue::builtin();
    let rows = resources.iter().map(|resource| resource_row(resource, &catalogue, as_of)).collect();
    output.list(&resources, &["resource", "status", "age", "readings"], rows)
}

fn facts(host: &Host, as_of: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("host", host.name.clone()),
        ("id", host.id.to_string()),
        ("presence", host.presence.to_string()),
        ("status", host.status.map_or_else(|| "not judged".to_owned(), |s| s.to_string())),
    ];
    if let Some(seen) = host.last_seen_at {
        let age = as_of.since(seen).as_secs_f64().round();
        let words = if age < 1.0 { "now".to_owned() } else { format!("{} ago", Unit::Seconds.format(age)) };
        facts.push(("seen", words));
    }
    if !host.aliases.is_empty() {
        facts.push(("aliases", host.aliases.join(", ")));
    }
    if !host.roles.is_empty() {
        facts.push(("roles", host.roles.join(", ")));
    }
    facts.extend(cluster_facts(host, as_of));
    if let Some(version) = &host.agent_version {
        facts.push(("agent", version.clone()));
    }
    if let Some(skew) = host.skew_seconds.filter(|skew| skew.abs() >= 1.0) {
        let side = if skew > 0.0 { "ahead" } else { "behind" };
        facts.push(("clock", format!("{} {side}", Unit::Seconds.format(skew.abs()))));
    }
    facts
}

/// A cluster's host: who tells of it, who could. A node: to which it belongs.
fn cluster_facts(host: &Host, as_of: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(cluster) = &host.cluster {
        facts.push(("cluster", cluster.name.clone()));
        let holder = cluster.members.iter().find(|member| member.state == MemberState::Holder);
        facts.push(match (holder, cluster.since) {
            (Some(holder), Some(since)) => {
                let age = Unit::Seconds.format(as_of.since(since).as_secs_f64().round());
                ("told by", format!("{}, for {age}", holder.name))
            }
            _ => ("told by", "nobody".to_owned()),
        });
        for member in &cluster.members {
            let node = if member.node.is_empty() { "from elsewhere" } else { &member.node };
            let quorum = if member.quorate == Some(false) { ", without a quorum" } else { "" };
            facts.push(("node", format!("{} ({node}): {}{quorum}", member.name, member.state.as_str())));
        }
    }
    if let Some(of) = &host.cluster_of {
        let waits = if of.waits.is_empty() { String::new() } else { format!("; {}", of.waits) };
        facts.push(("cluster", format!("{}{waits}", of.name)));
    }
    facts
}

/// A resource in one line: the readings that people ask for first come first
/// in the catalogue, and so do they here.
pub(super) fn resource_row(resource: &Resource, catalogue: &Catalogue, as_of: Timestamp) -> Vec<Text> {
    let age = ago(Some(resource.at), as_of);
    vec![
        Text::new(format!("{}:{}", resource.kind, resource.name)),
        Text::status(resource.status),
        if resource.stale { age.coloured(Color::Yellow) } else { age },
        Text::new(summary(resource, catalogue)),
    ]
}

/// The first few readings, or the attributes where there are none.
pub(super) fn summary(resource: &Resource, catalogue: &Catalogue) -> String {
    const MOST: usize = 4;
    let kind = catalogue.kind(&resource.kind);
    let known: Vec<String> = kind
        .into_iter()
        .flat_map(|kind| kind.fields.iter())
        .filter_map(|field| Some((field, *resource.readings.get(field.name.as_ref())?)))
        .map(|(field, value)| format!("{} {}", label(&field.name, &field.unit), field.unit.format(value)))
        .take(MOST)
        .collect();
    let shown: Vec<String> = if !known.is_empty() {
        known
    } else if !resource.readings.is_empty() {
        resource.readings.iter().map(|(field, value)| format!("{field} {value}")).take(MOST).collect()
    } else {
        let attributes: &BTreeMap<_, _> = &resource.attributes;
        attributes.iter().map(|(name, value)| format!("{name} {value}")).take(MOST).collect()
    };
    let text = shown.join(", ");
    if resource.reason.is_empty() { text } else { format!("{} — {text}", resource.reason) }
}

/// A field's name without the unit, which the value shows.
fn label(field: &str, unit: &Unit) -> String {
    unit.suffix().and_then(|suffix| field.strip_suffix(suffix)).unwrap_or(field).replace('_', " ")
}

async fn settings(host: &str, set: &[String], unset: &[String], client: &Client, output: Output) -> anyhow::Result<()> {
    let mut settings = client.settings(host).await?;
    if !set.is_empty() || !unset.is_empty() {
        let mut values = settings.values;
        for key in unset {
            if values.remove(key).is_none() {
                bail!("the hub does not set {key} on {host}");
            }
        }
        for assignment in set {
            let Some((key, value)) = assignment.split_once('=') else {
                bail!("{assignment:?} is not KEY=VALUE, such as intervals.fast=\"5s\"");
            };
            values.insert(key.trim().to_owned(), toml_or_text(value.trim())?);
        }
        settings = client.set_settings(host, &SetHostSettings { values }).await?;
    }
    if output.format == Format::Json {
        return output.json(&settings);
    }
    let rows = settings
        .values
        .iter()
        .map(|(key, value)| {
            let refused = settings.refused.get(key).cloned();
            let verdict = match (refused, settings.applied_revision == Some(settings.revision)) {
                (Some(why), _) => Text::new(format!("refused: {why}")).coloured(Color::Red),
                (None, true) => Text::new("in force").coloured(Color::Green),
                (None, false) => Text::new("not answered yet").dimmed(),
            };
            vec![Text::new(key.clone()), Text::new(value.to_string()), verdict]
        })
        .collect();
    output.list(&settings, &["setting", "value", "host says"], rows)
}

/// A value as TOML has it; what is no TOML is text, so that `5s` needs no
/// quotes inside quotes.
fn toml_or_text(text: &str) -> anyhow::Result<serde_json::Value> {
    let parsed = text.parse::<toml::Value>().unwrap_or_else(|_| toml::Value::String(text.to_owned()));
    Ok(serde_json::to_value(parsed)?)
}

async fn remove(name: &str, yes: bool, client: &Client, output: Output) -> anyhow::Result<()> {
    let host = client.host(name).await?;
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("removing {} deletes all its history; say --yes to do it without being asked", host.name);
        }
        let mut terminal = std::io::stderr().lock();
        write!(terminal, "Remove {} and all its history? Type its name to go on: ", host.name)?;
        terminal.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("reading the answer")?;
        if answer.trim() != host.name {
            bail!("not removed");
        }
    }
    client.delete_host(&host.id.to_string()).await?;
    output.line(format!("{} and its history are removed", host.name))
}
