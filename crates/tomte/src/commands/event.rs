//! `tomte event`: what happened.

use anyhow::Context;
use comfy_table::Color;
use tomte_api::client::{Client, EventFilter};
use tomte_model::Severity;

use crate::cli::EventCommand;
use crate::output::{Output, Text};

pub(crate) async fn run(command: EventCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    let EventCommand::List { host, kind, severity, from, limit } = command;
    let severity = severity.as_deref().map(parse_severity).transpose()?;
    let filter = EventFilter {
        hosts: host.into_iter().collect(),
        kinds: kind.into_iter().collect(),
        severity,
        from,
        limit: Some(limit as usize),
        ..EventFilter::default()
    };
    // The hub gives the newest first; people read downwards.
    let mut events = client.events(&filter).await?.items;
    events.reverse();
    let rows = events
        .iter()
        .map(|event| {
            let colour = match event.severity {
                Severity::Info => None,
                Severity::Warning => Some(Color::Yellow),
                Severity::Error | Severity::Critical => Some(Color::Red),
            };
            let severity = Text::new(event.severity.as_str());
            vec![
                Text::new(event.at.to_string()),
                colour.map_or(severity.clone(), |colour| severity.coloured(colour)),
                Text::new(event.host.clone().unwrap_or_else(|| "-".into())),
                Text::new(event.kind.clone()),
                Text::new(event.message.clone()),
            ]
        })
        .collect();
    output.list(&events, &["time", "severity", "host", "type", "message"], rows)
}

fn parse_severity(text: &str) -> anyhow::Result<Severity> {
    [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]
        .into_iter()
        .find(|severity| severity.as_str() == text)
        .with_context(|| format!("{text:?} is no severity: info, warning, error or critical"))
}
