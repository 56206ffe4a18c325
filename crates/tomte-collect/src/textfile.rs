//! Metrics of other programs, from files in Prometheus's text format: see
//! prometheus.io/docs/instrumenting/exposition_formats.
//!
//! They are read as they are: each sample is a reading by its own name, and
//! samples with the same labels are one resource.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use tomte_model::{Facet, Moment, Scope};

use crate::Collector;
use crate::error::{Malformed, ReadError};
use crate::list::names;
use crate::reader::read_file;
use crate::root::Root;
use crate::settings::Settings;

/// The collector's own scope; each file has a further one.
pub(crate) const SCOPES: &[&str] = &["textfile"];

/// More files are not read.
const FILES: usize = 100;
/// A larger file is refused.
const LARGEST: u64 = 1 << 20;
/// More samples of one file are refused.
const SAMPLES: usize = 2_000;

/// The collector `textfile`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Textfiles { root: root.clone(), directory: settings.textfile.directory.clone() })
}

struct Textfiles {
    root: Root,
    directory: std::path::PathBuf,
}

impl Collector for Textfiles {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let directory = self.root.path(&self.directory);
        if !directory.is_dir() {
            let missing = ReadError::new(&directory, rustix::io::Errno::NOENT.into());
            return vec![missing.scope(SCOPES[0])];
        }
        let files = match names(&directory) {
            Ok(files) => files,
            Err(error) => return vec![error.scope(SCOPES[0])],
        };
        let mut scopes = vec![Scope::complete(SCOPES[0], Vec::new())];
        for file in files.iter().filter(|file| file.ends_with(".prom") && !file.starts_with('.')).take(FILES) {
            let name = file.strip_suffix(".prom").unwrap_or(file);
            let scope = format!("textfile:{name}");
            scopes.push(match read(&directory.join(file), name, now) {
                Ok(facets) => Scope::complete(scope, facets),
                Err(error) => error.scope(scope),
            });
        }
        scopes
    }
}

fn read(path: &Path, name: &str, now: Moment) -> Result<Vec<Facet>, ReadError> {
    let told = std::fs::metadata(path).map_err(|source| ReadError::new(path, source))?;
    let too_large = || std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB");
    // A pipe would make us wait for whoever writes to it.
    if !told.is_file() || told.len() > LARGEST {
        return Err(ReadError::new(path, too_large()));
    }
    let samples = parse(&String::from_utf8_lossy(&read_file(path)?));
    let samples = samples.map_err(|source| ReadError::malformed(path, source))?;
    let mut facets: BTreeMap<&str, Facet> = BTreeMap::new();
    let mut file = Facet::owner("textfile", name, "main");
    let written = told.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let age = written.map(|at| (now.wall.millis() as f64 / 1e3 - at.as_secs_f64()).max(0.0));
    file.read("file_age_seconds", age);
    facets.insert("", file);
    for sample in &samples {
        let facet = facets
            .entry(&sample.labels)
            .or_insert_with(|| Facet::owner("textfile", format!("{name}{{{}}}", sample.labels), "main"));
        facet.read(sample.name.clone(), sample.value);
    }
    Ok(facets.into_values().collect())
}

/// One line's worth.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    /// As they are written, without the brackets.
    labels: String,
    value: f64,
}

/// Lines such as `backup_bytes{job="db"} 1e9 1767225600000`; comments are
/// skipped, and what is not a number (`NaN`, `+Inf`) is missing.
fn parse(text: &str) -> Result<Vec<Sample>, Malformed> {
    let mut samples = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = || Malformed::new(index + 1, "a metric and its value", line);
        let sample = parse_line(line).ok_or_else(bad)?;
        if samples.len() == SAMPLES {
            return Err(Malformed::new(index + 1, "no more than 2,000 samples", line));
        }
        if sample.value.is_finite() {
            samples.push(sample);
        }
    }
    Ok(samples)
}

fn parse_line(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || name.len() > 200 {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(behind) => {
            let close = end_of_labels(behind)?;
            (behind[..close].trim().trim_end_matches(','), &behind[close + 1..])
        }
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = match words.next()? {
        "NaN" | "Nan" => f64::NAN,
        "+Inf" | "Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    // A time may follow; the file's own is told instead.
    (words.count() <= 1 && labels.len() <= 500).then(|| Sample {
        name: name.to_owned(),
        labels: labels.to_owned(),
        value,
    })
}

/// Where the bracket closes that is not within a label's quotes.
fn end_of_labels(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Reads a file's text: what a fuzzer is let loose on.
pub fn fuzz_textfile(text: &[u8]) {
    let _ = parse(&String::from_utf8_lossy(text));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tomte_model::{Outcome, Timestamp};

    use super::*;

    #[test]
    fn files_are_read_as_they_are_and_each_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let put = |name: &str, text: &str| std::fs::write(dir.path().join("m").join(name), text).unwrap();
        std::fs::create_dir(dir.path().join("m")).unwrap();
        put(
            "backup.prom",
            "# HELP backup_bytes Size.\n# TYPE backup_bytes gauge\nbackup_bytes{job=\"d}b\\\"\",} 1.5e9 1767225600000\n\
             backup_age_seconds{job=\"d}b\\\"\"} 60\nbackup_ok 1\nbackup_ratio NaN\n\n",
        );
        put("broken.prom", "what is this\n");
        put("notes.txt", "what is this\n");
        let settings: Settings = toml::from_str("[textfile]\ndirectory = \"/m\"\n").unwrap();
        let scopes =
            make(&root, &settings).collect(Moment { wall: Timestamp::from_millis(i64::MAX / 2), boot_millis: 1 });
        assert_eq!(scopes.len(), 3, "{scopes:?}");
        let [plain, labelled] = &scopes[1].facets[..] else { panic!("{:?}", scopes[1]) };
        assert_eq!((plain.resource.name.as_str(), plain.reading("backup_ok")), ("backup", Some(1.0)));
        assert!(plain.reading("file_age_seconds").is_some() && plain.reading("backup_ratio").is_none());
        assert_eq!(labelled.resource.name, "backup{job=\"d}b\\\"\"}");
        assert_eq!(
            (labelled.reading("backup_bytes"), labelled.reading("backup_age_seconds")),
            (Some(1.5e9), Some(60.0))
        );
        assert!(matches!(&scopes[2].outcome, Outcome::Failed { error } if error.contains("line 1")), "{scopes:?}");
    }

    #[test]
    fn strange_lines_are_refused() {
        for bad in ["1x 2", "x", "x{ 1", "x{a=\"} 1", "x one", "x 1 2 3", "{} 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"x 1\n".repeat(SAMPLES + 1)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text in "(x(\\{(a=\"[^\n]{0,4}\",?)?\\})? ([0-9.e+-]{0,8}|NaN)\n?){0,4}.*") {
            fuzz_textfile(text.as_bytes());
        }
    }
}
