//! Names that are known at compile time, so that what arrives as text can be
//! held without a copy for each use.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use tomte_model::Name;
use tomte_model::catalogue::KINDS;

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

/// The text as a name: the catalogue's own where it has it.
pub(crate) fn name(text: String) -> Name {
    match KNOWN.get(text.as_str()) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text),
    }
}
