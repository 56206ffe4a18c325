//! Names that many reports have in common, so that what arrives as text can be
//! held without a copy for each use.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{LazyLock, PoisonError, RwLock};

use tomte_model::Name;
use tomte_model::catalogue::KINDS;

/// Names that described kinds brought are kept for good, up to so many of up
/// to so many bytes: nobody fills the memory with them.
const LEARNT: usize = 8_192;
const LEARNT_BYTES: usize = 64;

static KNOWN: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let mut known = HashSet::new();
    let mut add = |name: &'static Name| {
        known.insert(name.as_ref());
    };
    for kind in KINDS {
        add(&kind.name);
        kind.facets.iter().for_each(|facet| add(&facet.name));
        kind.fields.iter().for_each(|field| add(&field.name));
        kind.attributes.iter().for_each(|attribute| add(&attribute.name));
        for table in kind.tables.iter() {
            add(&table.name);
            table.columns.iter().for_each(|(column, _)| add(column));
        }
    }
    known
});

static DESCRIBED: LazyLock<RwLock<HashSet<&'static str>>> = LazyLock::new(RwLock::default);

/// The text as a name: the catalogue's own where it has it, or one of a kind
/// that was described.
pub(crate) fn name(text: String) -> Name {
    match known(&text) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text),
    }
}

/// The same for a name within the description of a kind: every report with
/// that kind will repeat it, so it is worth keeping.
pub(crate) fn described(text: String) -> Name {
    if let Some(known) = known(&text) {
        return Cow::Borrowed(known);
    }
    let mut described = DESCRIBED.write().unwrap_or_else(PoisonError::into_inner);
    if described.len() >= LEARNT || text.len() > LEARNT_BYTES {
        return Cow::Owned(text);
    }
    if let Some(known) = described.get(text.as_str()) {
        return Cow::Borrowed(known);
    }
    let kept: &'static str = Box::leak(text.into_boxed_str());
    described.insert(kept);
    Cow::Borrowed(kept)
}

fn known(text: &str) -> Option<&'static str> {
    let described = || DESCRIBED.read().unwrap_or_else(PoisonError::into_inner).get(text).copied();
    KNOWN.get(text).copied().or_else(described)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_described_kinds_are_kept_and_bounded() {
        assert!(matches!(name("cpu".into()), Cow::Borrowed("cpu")));
        assert!(matches!(name("never described".into()), Cow::Owned(_)));
        assert!(matches!(described("brewing".into()), Cow::Borrowed(_)));
        assert!(matches!(name("brewing".into()), Cow::Borrowed("brewing")));
        assert!(matches!(described("x".repeat(LEARNT_BYTES + 1)), Cow::Owned(_)));
        (0..2 * LEARNT).for_each(|number| drop(described(format!("field {number}"))));
        assert!(matches!(described("one too many".into()), Cow::Owned(_)));
        assert_eq!(DESCRIBED.read().unwrap_or_else(PoisonError::into_inner).len(), LEARNT);
    }
}
