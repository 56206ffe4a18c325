//! Compressed block devices in memory.

use std::path::{Path, PathBuf};

use tomte_model::{Facet, Moment, Scope};

use crate::error::{Malformed, ReadError};
use crate::reader::{read_number, read_trimmed};
use crate::root::Root;
use crate::settings::Settings;
use crate::{Collector, list};

/// The collector `zram`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Zram { block: root.sys("block") })
}

struct Zram {
    block: PathBuf,
}

impl Collector for Zram {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        vec![match read(&self.block) {
            Ok(facets) => Scope::complete("zram", facets),
            Err(error) => error.scope("zram"),
        }]
    }
}

fn read(block: &Path) -> Result<Vec<Facet>, ReadError> {
    let mut facets = Vec::new();
    for name in list::names(block)? {
        if !name.starts_with("zram") {
            continue;
        }
        match read_device(&block.join(&name), &name) {
            Ok(facet) => facets.extend(facet),
            // Removed since it was listed.
            Err(ReadError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(facets)
}

/// `None` for a device that nobody has given a size yet.
fn read_device(device: &Path, name: &str) -> Result<Option<Facet>, ReadError> {
    let size = read_number(&device.join("disksize"))?;
    if size <= 0 {
        return Ok(None);
    }
    let path = device.join("mm_stat");
    let stat = parse(&read_trimmed(&path)?).map_err(|source| ReadError::malformed(&path, source))?;
    let mut facet = Facet::owner("zram", name, "main");
    facet.read("size_bytes", size as f64);
    facet.read("original_bytes", stat.original);
    facet.read("compressed_bytes", stat.compressed);
    facet.read("memory_used_bytes", stat.memory_used);
    facet.read("used_ratio", stat.original / size as f64);
    // Pages of one repeated word are not stored at all; an empty device has no
    // such ratio.
    facet.read("compression_ratio", (stat.compressed > 0.0).then(|| stat.original / stat.compressed));
    if let Ok(algorithms) = read_trimmed(&device.join("comp_algorithm")) {
        facet.text("algorithm", chosen(&algorithms));
    }
    Ok(Some(facet))
}

/// The first numbers of `mm_stat`, in bytes.
#[derive(Debug, PartialEq)]
struct Stat {
    original: f64,
    compressed: f64,
    memory_used: f64,
}

/// `orig_data_size compr_data_size mem_used_total …`: see the kernel's
/// Documentation/admin-guide/blockdev/zram.rst.
fn parse(text: &str) -> Result<Stat, Malformed> {
    let bad = || Malformed::new(1, "three sizes", text);
    let mut words = text.split_ascii_whitespace();
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).map(|n| n as f64).ok_or_else(bad);
    Ok(Stat { original: number()?, compressed: number()?, memory_used: number()? })
}

/// The one in brackets of `lzo [zstd] lz4`.
fn chosen(algorithms: &str) -> &str {
    let bracketed = |word: &str| word.starts_with('[') && word.ends_with(']');
    let found = algorithms.split_ascii_whitespace().find(|word| bracketed(word));
    found.map_or(algorithms, |word| word.trim_matches(['[', ']']))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn devices_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for (name, size, stat) in [
            ("zram0", "1000\n", "     300     100      150        0 0 0 0 0 0\n"),
            ("zram1", "0\n", "0 0 0\n"),
            ("sda", "", ""),
        ] {
            let device = root.sys("block").join(name);
            create_dir_all(&device).unwrap();
            write(device.join("disksize"), size).unwrap();
            write(device.join("mm_stat"), stat).unwrap();
            write(device.join("comp_algorithm"), "lzo-rle [zstd] lz4\n").unwrap();
        }
        create_dir_all(root.sys("block/zram2")).unwrap();
        let scope = make(&root, &Settings::default()).collect(Moment::default()).remove(0);
        assert!(scope.outcome.is_complete(), "{scope:?}");
        assert_eq!(scope.facets.len(), 1, "one has no size, one vanished");
        let facet = &scope.facets[0];
        assert_eq!((facet.reading("compression_ratio"), facet.reading("used_ratio")), (Some(3.0), Some(0.3)));
        assert_eq!(facet.attribute("algorithm").unwrap().to_string(), "zstd");
        write(root.sys("block/zram0/mm_stat"), "1 2\n").unwrap();
        let scope = make(&root, &Settings::default()).collect(Moment::default()).remove(0);
        assert!(scope.outcome.error().unwrap().contains("block/zram0/mm_stat is not understood: line 1: three sizes"));
    }

    #[test]
    fn a_host_without_any_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let scope = make(&Root::new(dir.path()), &Settings::default()).collect(Moment::default()).remove(0);
        assert_eq!(scope, Scope::complete("zram", Vec::new()));
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = (parse(&text), chosen(&text));
        }
    }
}
