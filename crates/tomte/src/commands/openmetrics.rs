//! History as OpenMetrics text: ours and that of others.
//!
//! The format is <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
//! A sample is `name{label="text",...} value time`, the time in seconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The last line of a text.
pub(super) const END: &str = "# EOF\n";

/// The name of a field's family.
fn family(kind: &str, field: &str) -> String {
    let valid = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    format!("tomte_{kind}_{field}").chars().map(valid).collect()
}

/// What stands before a family's samples.
pub(super) fn head(kind: &str, field: &str, help: &str) -> String {
    let name = family(kind, field);
    let help = escaped(help);
    match name.strip_suffix("_total") {
        Some(name) => format!("# TYPE {name} counter\n# HELP {name} {help}\n"),
        None => format!("# TYPE {name} gauge\n# HELP {name} {help}\n"),
    }
}

/// The samples of one series.
pub(super) fn samples(kind: &str, field: &str, host: &str, resource: &str, readings: &[(i64, f64)]) -> String {
    let labels = format!("{{host=\"{}\",kind=\"{}\",name=\"{}\"}}", escaped(host), escaped(kind), escaped(resource));
    let name = family(kind, field);
    let mut text = String::new();
    for (t, value) in readings {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name}{labels} {value} {}.{:03}", t.div_euclid(1000), t.rem_euclid(1000));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// A line that is a sample.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
    /// Milliseconds since 1970.
    pub(super) at: i64,
}

/// Reads a line; `None` for those that are no samples.
pub(super) fn parse(line: &str) -> Result<Option<Sample>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|c: char| c == '{' || c.is_whitespace()).ok_or("a sample has a name and a value")?;
    let name = &line[..end];
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
        return Err(format!("{name:?} is no name of a metric"));
    }
    let (labels, rest) = match line[end..].strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), &line[end..]),
    };
    // What follows a # is an exemplar.
    let mut words = rest.split('#').next().unwrap_or_default().split_whitespace();
    let value = words.next().ok_or("a sample has a value")?;
    let value: f64 = value.parse().map_err(|_| format!("{value:?} is no number"))?;
    let at = words.next().ok_or("a sample needs its time: this is no history")?;
    let at = time(at).ok_or_else(|| format!("{at:?} is no time in seconds"))?;
    if let Some(more) = words.next() {
        return Err(format!("{more:?} is too much"));
    }
    Ok(Some(Sample { name: name.to_owned(), labels, value, at }))
}

/// Seconds since 1970, or milliseconds as Prometheus' own format has them.
fn time(text: &str) -> Option<i64> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite() && number.abs() < 1e15)?;
    let millis = if number.abs() >= 1e11 { number } else { number * 1000.0 };
    Some(millis.round() as i64)
}

/// The labels, and what follows them.
fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once('=').ok_or("the labels do not end")?;
        let mut value = String::new();
        let mut chars = after.trim_start().strip_prefix('"').ok_or("a label's text stands in quotes")?.char_indices();
        let quoted = &after.trim_start()[1..];
        let end = loop {
            match chars.next().ok_or("a label's text does not end")? {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next().ok_or("a label's text does not end")?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.trim().to_owned(), value);
        rest = quoted[end..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let name = "/mnt/a \"b\" \\c\nd}";
        let text = samples("filesystem", "used_ratio", "nas", name, &[(1_767_225_600_042, 0.25), (-1, 1e300)]);
        let read: Vec<Sample> = text.lines().map(|line| parse(line).expect("well-formed").expect("a sample")).collect();
        assert_eq!(read[0].name, "tomte_filesystem_used_ratio");
        assert_eq!((read[0].value, read[0].at, read[1].value), (0.25, 1_767_225_600_042, 1e300));
        let label = |key: &str| read[0].labels[key].as_str();
        assert_eq!((label("host"), label("kind"), label("name")), ("nas", "filesystem", name));
        assert!(head("cpu", "things_total", "Many\nthings.").starts_with("# TYPE tomte_cpu_things counter\n"));
    }

    #[test]
    fn what_others_write_is_read() {
        let sample = |text: &str| parse(text).expect("well-formed");
        assert_eq!(sample("# HELP x y"), None);
        assert_eq!(sample("# EOF"), None);
        let plain = sample("up 1 1767225600").expect("a sample");
        assert_eq!((plain.name.as_str(), plain.labels.len(), plain.at), ("up", 0, 1_767_225_600_000));
        let other = sample("a_total{b=\"c\", d=\"\",} 5e3 1767225600123 # {trace=\"x\"} 1").expect("a sample");
        assert_eq!((other.value, other.at, other.labels.len()), (5000.0, 1_767_225_600_123, 2));
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (line, what) in [
            ("lonely", "a name and a value"),
            ("1x 2 3", "no name"),
            ("x{a=\"b} 1 2", "does not end"),
            ("x{a=b} 1 2", "quotes"),
            ("x{a", "do not end"),
            ("x one 2", "no number"),
            ("x 1", "needs its time"),
            ("x 1 soon", "no time"),
            ("x 1 2 3", "too much"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(what), "{line}: {error}");
        }
    }
}
