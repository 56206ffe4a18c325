//! `tomte catalogue`: what every kind and field means. Needs no hub; with one,
//! what its agents described is there too.

use anyhow::bail;
use tomte_api::catalogue::{Kind, Threshold};
use tomte_model::{Catalogue, Unit};

use crate::output::{Format, Output, Text};

/// Prints kinds: all of them a line each, or one with its fields.
pub(crate) fn run(wanted: Option<&str>, kinds: Option<Vec<Kind>>, output: Output) -> anyhow::Result<()> {
    let kinds = kinds.unwrap_or_else(|| Catalogue::builtin().kinds().map(Kind::from).collect());
    let Some(wanted) = wanted else {
        let rows = kinds
            .iter()
            .map(|kind| {
                let fields = kind.fields.len().to_string();
                vec![Text::new(kind.name.clone()), Text::new(fields), Text::new(kind.help.clone())]
            })
            .collect();
        return output.list(&kinds, &["kind", "fields", "what it is"], rows);
    };
    let Some(kind) = kinds.iter().find(|kind| kind.name == wanted) else {
        let known: Vec<_> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        bail!("no kind is called {wanted:?}; there are {}", known.join(", "));
    };
    if output.format == Format::Table {
        output.line(format!("{}: {} Named {}\n", kind.name, kind.help, kind.key))?;
    }
    let rows = kind
        .fields
        .iter()
        .map(|field| {
            let unit = Unit::from_name(&field.unit);
            vec![
                Text::new(field.name.clone()),
                Text::new(field.unit.clone()),
                Text::new(field.threshold.as_ref().map_or_else(String::new, |t| words(t, &unit))),
                Text::new(field.help.clone()),
            ]
        })
        .collect();
    output.list(kind, &["field", "unit", "judged", "meaning"], rows)
}

fn words(threshold: &Threshold, unit: &Unit) -> String {
    let level = |word: &str, level: Option<f64>| level.map(|level| format!("{word} {}", unit.format(level)));
    let levels: Vec<_> =
        [level("warning", threshold.warning), level("critical", threshold.critical)].into_iter().flatten().collect();
    levels.join(", ")
}
