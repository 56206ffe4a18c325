//! `tomte change`: what came, went, was judged or described otherwise.

use comfy_table::Color;
use tomte_api::change::{Change, ChangeFilter};
use tomte_api::client::Client;
use tomte_model::Value;

use crate::cli::ChangeCommand;
use crate::output::{Output, Text};

/// How many one request asks for.
const PART: usize = 1_000;

pub(crate) async fn run(command: ChangeCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    let ChangeCommand::List { host, kind, what, from, to, limit } = command;
    let limit = limit as usize;
    let mut filter = ChangeFilter {
        hosts: host,
        kinds: kind,
        what,
        from: Some(from),
        to,
        newest_first: true,
        ..ChangeFilter::default()
    };
    let mut changes = Vec::new();
    loop {
        filter.limit = Some((limit - changes.len()).min(PART));
        let page = client.changes(&filter).await?;
        changes.extend(page.items);
        filter.cursor = page.next;
        if filter.cursor.is_none() || changes.len() >= limit {
            break;
        }
    }
    // The newest are asked for; people read downwards.
    changes.reverse();
    let rows = changes.iter().map(row).collect();
    output.list(&changes, &["time", "host", "what", "of", "change"], rows)
}

fn row(change: &Change) -> Vec<Text> {
    let of = match (&change.kind, &change.name) {
        (Some(kind), Some(name)) => format!("{kind}:{name}"),
        _ => String::new(),
    };
    let what = Text::new(change.what.clone());
    let what = match (change.what.as_str(), &change.to) {
        ("unreadable" | "gone", _) => what.coloured(Color::Yellow),
        ("status", Some(Value::Text(to))) if to == "critical" => what.coloured(Color::Red),
        ("status", Some(Value::Text(to))) if to == "warning" => what.coloured(Color::Yellow),
        ("status", Some(Value::Text(to))) if to == "ok" => what.coloured(Color::Green),
        _ => what,
    };
    vec![
        Text::new(change.at.to_string()),
        Text::new(change.host.clone()),
        what,
        Text::new(of),
        Text::new(words(change)),
    ]
}

/// What changed, in words: `model: a -> b`.
fn words(change: &Change) -> String {
    let field = change.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
    let side = |value: &Option<Value>| value.as_ref().map_or("(none)".to_owned(), ToString::to_string);
    let reason = &change.reason;
    match change.what.as_str() {
        "appeared" | "gone" => match &change.to {
            Some(to) if reason.is_empty() => to.to_string(),
            Some(to) => format!("{to}: {reason}"),
            None => reason.clone(),
        },
        "unreadable" | "readable" => format!("{field}{reason}").trim_end_matches(": ").to_owned(),
        "status" if !reason.is_empty() => format!("{} -> {}: {reason}", side(&change.from), side(&change.to)),
        _ => format!("{field}{} -> {}", side(&change.from), side(&change.to)),
    }
}
