//! From `[[thresholds]]` entries to the rules that judge: what an entry leaves
//! out is filled in from the catalogue, and what makes no sense is refused.

use tomte_model::{Catalogue, Direction, Threshold, ThresholdRule};

use super::schema::ThresholdEntry;

/// A part of the level, so that a rule that says nothing about clearing does
/// not flap.
const DEFAULT_GAP: f64 = 0.05;

/// Turns an entry into a rule.
///
/// # Errors
/// In words, with what to write instead.
pub(super) fn rule(entry: &ThresholdEntry, catalogue: &Catalogue) -> Result<ThresholdRule, String> {
    let mut field_name = entry.field.as_str();
    let mut base = None;
    // A kind that is not in the catalogue may come from a probe.
    if let Some(kind) = catalogue.kind(&entry.kind) {
        let Some(field) = kind.field(&entry.field) else {
            let known: Vec<_> = kind.fields.iter().map(|field| format!("`{}`", field.name)).collect();
            return Err(format!(
                "unknown field `{}` of kind `{}`, expected one of {}",
                entry.field,
                entry.kind,
                known.join(", ")
            ));
        };
        field_name = &field.name;
        base = field.threshold;
    }
    let threshold = if entry.enabled { Some(threshold(entry, base)?) } else { None };
    ThresholdRule::new(entry.kind.as_str(), &entry.name, field_name, threshold)
        .map_err(|error| format!("`{}` is not a glob: {error}", entry.name))
}

fn threshold(entry: &ThresholdEntry, base: Option<Threshold>) -> Result<Threshold, String> {
    let warning = entry.warning.map_or(base.and_then(|base| base.warning), |level| level.0);
    let critical = entry.critical.map_or(base.and_then(|base| base.critical), |level| level.0);
    let direction = entry.direction.or(base.map(|base| base.direction)).unwrap_or(Direction::Above);
    let Some(nearest) = warning.or(critical) else {
        return Err("a threshold needs `warning` or `critical`; to switch it off, write `enabled = false`".to_owned());
    };
    if let (Some(warning), Some(critical)) = (warning, critical) {
        let (wrong, side) = match direction {
            Direction::Above => (critical < warning, "below"),
            Direction::Below => (critical > warning, "above"),
        };
        if wrong {
            return Err(format!(
                "critical {critical} lies {side} warning {warning}, though the direction is `{}`; \
                 give both levels, or turn `direction` round",
                if direction == Direction::Above { "above" } else { "below" }
            ));
        }
    }
    let clear_gap = entry.clear_gap.or(base.map(|base| base.clear_gap)).unwrap_or(nearest.abs() * DEFAULT_GAP);
    if !clear_gap.is_finite() || clear_gap < 0.0 {
        return Err(format!("clear_gap {clear_gap} makes no sense; write zero or more"));
    }
    let hold = entry.hold.map(|span| span.0).or(base.map(|base| base.hold)).unwrap_or_default();
    Ok(Threshold { direction, warning, critical, clear_gap, hold })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::borrow::Cow;
    use std::time::Duration;

    use tomte_model::catalogue::FacetDef;
    use tomte_model::{FieldDef, KindDef, Resolution, Unit};

    use super::*;

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::builtin();
        let judged = Threshold {
            direction: Direction::Above,
            warning: Some(0.8),
            critical: Some(0.9),
            clear_gap: 0.02,
            hold: Duration::from_secs(60),
        };
        let field = |name| FieldDef::new("main", name, Unit::Ratio, Resolution::BASIS_POINT, "Water.");
        catalogue.describe(KindDef {
            name: "aquarium".into(),
            help: "".into(),
            key: "".into(),
            facets: vec![FacetDef { name: "main".into(), owner: true }].into(),
            fields: vec![field("full_ratio").judged(judged, "{value}"), field("empty_ratio")].into(),
            attributes: Cow::Borrowed(&[]),
            tables: Cow::Borrowed(&[]),
        });
        catalogue
    }

    fn made(text: &str) -> Result<ThresholdRule, String> {
        rule(&toml::from_str(text).unwrap(), &catalogue())
    }

    #[test]
    fn what_is_left_out_comes_from_the_catalogue() {
        let rule = made("kind='aquarium'\nfield='full_ratio'\ncritical=0.95").unwrap();
        let threshold = rule.threshold.unwrap();
        assert_eq!((threshold.warning, threshold.critical), (Some(0.8), Some(0.95)));
        assert_eq!((threshold.clear_gap, threshold.hold), (0.02, Duration::from_secs(60)));
        assert!(rule.name.matches("any/name"));
        let off = made("kind='aquarium'\nfield='full_ratio'\nenabled=false").unwrap();
        assert!(off.threshold.is_none());
        let one = made("kind='aquarium'\nfield='full_ratio'\nwarning='off'").unwrap().threshold.unwrap();
        assert_eq!((one.warning, one.critical), (None, Some(0.9)));
        let foreign = made("kind='reef'\nfield='x'\nwarning=10").unwrap().threshold.unwrap();
        assert_eq!(foreign.clear_gap, 0.5);
    }

    #[test]
    fn what_makes_no_sense_says_what_to_write() {
        for (text, said) in [
            ("kind='aquarium'\nfield='fulness'\nwarning=1", "expected one of `full_ratio`, `empty_ratio`"),
            ("kind='aquarium'\nfield='empty_ratio'", "enabled = false"),
            ("kind='aquarium'\nfield='full_ratio'\nwarning=0.95", "critical 0.9 lies below warning 0.95"),
            ("kind='aquarium'\nfield='full_ratio'\nname='['", "is not a glob"),
            ("kind='aquarium'\nfield='full_ratio'\nclear_gap=-1", "zero or more"),
        ] {
            let error = made(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
