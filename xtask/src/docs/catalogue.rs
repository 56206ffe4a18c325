//! `docs/reference/catalogue.md`: every kind and field, from the catalogue.

use tomte_model::catalogue::{FieldDef, KINDS, KindDef};
use tomte_model::{Direction, Resolution, Threshold, Unit};

use super::markdown::{code, head, table};

/// The page.
pub(super) fn page() -> String {
    let mut page = head("Catalogue");
    page.push_str(
        "Every kind of resource, and what it tells. A *reading* is a number and has a history; an *attribute* is a text\n\
         or a flag; a *table* is a list of which only the latest is kept. Readings are rounded to their *step* before\n\
         they are judged, sent or kept. *Judged* is when a reading is a problem unless you say otherwise with\n\
         `[[thresholds]]` in the agent's configuration. `tomte catalogue` prints the same for your hub, with what its\n\
         agents described besides.\n\n",
    );
    let rows: Vec<_> =
        KINDS.iter().map(|kind| vec![format!("[{0}](#{0})", kind.name), kind.help.clone().into_owned()]).collect();
    page.push_str(&table(&["kind", "what it is"], &rows));
    for kind in KINDS {
        page.push_str(&section(kind));
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn section(kind: &KindDef) -> String {
    let mut text = format!("## {}\n\n{}\n\nNames: {}\n\n", kind.name, kind.help, kind.key);
    let several = kind.facets.len() > 1;
    if several {
        let facets: Vec<_> = kind
            .facets
            .iter()
            .map(|facet| match facet.owner {
                true => format!("{} (while it is seen, the resource exists)", code(&facet.name)),
                false => code(&facet.name),
            })
            .collect();
        text.push_str(&format!("Its facets, each with its own collector and its own age: {}.\n\n", facets.join(", ")));
    }
    // The facet is worth a column only where there is a choice.
    let first = |facet: &str, name: &str| match several {
        true => vec![code(facet), code(name)],
        false => vec![code(name)],
    };
    let columns = |rest: &[&'static str]| -> Vec<&'static str> {
        several.then_some("facet").into_iter().chain(rest.iter().copied()).collect()
    };

    let rows: Vec<_> = kind
        .fields
        .iter()
        .map(|field| {
            let mut row = first(&field.facet, &field.name);
            row.extend([field.unit.as_str().to_owned(), step(field.resolution), judged(field), meaning(field)]);
            row
        })
        .collect();
    text.push_str(&table(&columns(&["reading", "unit", "step", "judged", "meaning"]), &rows));

    let rows: Vec<_> = kind
        .attributes
        .iter()
        .map(|attribute| {
            let mut row = first(&attribute.facet, &attribute.name);
            row.push(attribute.help.clone().into_owned());
            row
        })
        .collect();
    text.push_str(&table(&columns(&["attribute", "meaning"]), &rows));

    let rows: Vec<_> = kind
        .tables
        .iter()
        .map(|table| {
            let columns: Vec<_> =
                table.columns.iter().map(|(name, meaning)| format!("{}: {meaning}", code(name))).collect();
            let mut row = first(&table.facet, &table.name);
            row.extend([table.help.clone().into_owned(), columns.join("<br>")]);
            row
        })
        .collect();
    text.push_str(&table(&columns(&["table", "what it lists", "columns"]), &rows));
    text
}

fn meaning(field: &FieldDef) -> String {
    if field.renamed_from.is_empty() {
        return field.help.clone().into_owned();
    }
    let old: Vec<_> = field.renamed_from.iter().map(|name| code(name)).collect();
    format!("{} Was called {}.", field.help, old.join(", "))
}

/// The step as a decimal.
fn step(resolution: Resolution) -> String {
    let exponent = resolution.exponent();
    let places = usize::from(exponent.unsigned_abs());
    if exponent < 0 { format!("{:.places$}", resolution.from_steps(1)) } else { format!("1{}", "0".repeat(places)) }
}

fn judged(field: &FieldDef) -> String {
    field.threshold.as_ref().map_or_else(String::new, |threshold| words(threshold, &field.unit))
}

/// A threshold in words: `warning from 90 %, critical from 96 %, after 5 min; clears 3 % back`.
fn words(threshold: &Threshold, unit: &Unit) -> String {
    let side = match threshold.direction {
        Direction::Above => "from",
        Direction::Below => "at or below",
    };
    let mut parts: Vec<String> = [("warning", threshold.warning), ("critical", threshold.critical)]
        .into_iter()
        .filter_map(|(word, level)| Some(format!("{word} {side} {}", unit.format(level?))))
        .collect();
    if !threshold.hold.is_zero() {
        parts.push(format!("after {}", Unit::Seconds.format(threshold.hold.as_secs_f64())));
    }
    let mut text = parts.join(", ");
    if threshold.clear_gap > 0.0 {
        text.push_str(&format!("; clears {} back", unit.format(threshold.clear_gap)));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn thresholds_read_as_people_say_them() {
        let mut threshold = Threshold {
            direction: Direction::Above,
            warning: Some(0.9),
            critical: Some(0.96),
            clear_gap: 0.03,
            hold: Duration::from_secs(300),
        };
        assert_eq!(
            words(&threshold, &Unit::Ratio),
            "warning from 90 %, critical from 96 %, after 5 min; clears 3.0 % back"
        );
        threshold.direction = Direction::Below;
        threshold.critical = None;
        threshold.hold = Duration::ZERO;
        threshold.clear_gap = 0.0;
        assert_eq!(words(&threshold, &Unit::Ratio), "warning at or below 90 %");
    }

    #[test]
    fn steps_are_decimals() {
        for (resolution, text) in [
            (Resolution::BASIS_POINT, "0.0001"),
            (Resolution::ONE, "1"),
            (Resolution::MILLION, "1000000"),
            (Resolution::MICRO, "0.000001"),
        ] {
            assert_eq!(step(resolution), text);
        }
    }
}
