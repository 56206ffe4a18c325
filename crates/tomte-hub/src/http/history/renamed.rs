//! Fields that were once called otherwise: the history under their old names
//! continues under the new one.

use std::collections::HashMap;

use tomte_model::{Catalogue, Name};
use tomte_store::history::{Bucket, Points, SeriesHistory, SeriesKey};

/// The names of each renamed field, the present one first; by kind. Mostly
/// there are none.
pub(super) struct Renamed(HashMap<Name, Vec<Vec<Name>>>);

impl Renamed {
    pub(super) fn of(catalogue: &Catalogue) -> Self {
        let mut kinds: HashMap<Name, Vec<Vec<Name>>> = HashMap::new();
        for kind in catalogue.kinds() {
            for field in kind.fields.iter().filter(|field| !field.renamed_from.is_empty()) {
                let names = std::iter::once(&field.name).chain(field.renamed_from.iter()).cloned().collect();
                kinds.entry(kind.name.clone()).or_default().push(names);
            }
        }
        Self(kinds)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All names of a field, the present one first; empty when it has only one.
    pub(super) fn names(&self, kind: &str, field: &str) -> &[Name] {
        let fields = self.0.get(kind).map(Vec::as_slice).unwrap_or_default();
        fields.iter().find(|names| names.iter().any(|name| name == field)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The series under all names of its field, the present one first.
    pub(super) fn keys(&self, key: SeriesKey) -> Vec<SeriesKey> {
        let names = self.names(&key.resource.kind, &key.field);
        if names.is_empty() {
            return vec![key];
        }
        names.iter().map(|name| SeriesKey { field: name.clone(), ..key.clone() }).collect()
    }
}

/// Puts the parts of a series together, the one under the present name first.
pub(super) fn joined(parts: impl IntoIterator<Item = SeriesHistory>) -> Option<SeriesHistory> {
    parts.into_iter().reduce(|mut new, old| {
        new.tier = new.tier.max(old.tier);
        if new.interval_millis == 0 {
            new.interval_millis = old.interval_millis;
        }
        new.points = match (new.points, old.points) {
            (Points::Raw(new), Points::Raw(mut old)) => {
                old.extend(new);
                old.sort_by_key(|(t, _)| *t);
                Points::Raw(old)
            }
            (Points::Stepped(mut new), Points::Stepped(old)) => {
                for (new, old) in new.iter_mut().zip(old) {
                    *new = both(*new, old);
                }
                Points::Stepped(new)
            }
            (new, _) => new,
        };
        new
    })
}

fn both(new: Option<Bucket>, old: Option<Bucket>) -> Option<Bucket> {
    let (Some(new), Some(old)) = (new, old) else { return new.or(old) };
    Some(Bucket {
        count: new.count + old.count,
        min: new.min.min(old.min),
        max: new.max.max(old.max),
        sum: new.sum + old.sum,
        last: new.last,
    })
}
