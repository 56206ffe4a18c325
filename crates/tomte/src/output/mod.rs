//! What the command line prints: tables for people, JSON and CSV for programs.
//!
//! Colour and width follow the terminal; in a pipe there is plain text, one
//! line a row, nothing cut off. A reader that goes away (`| head`) is no error.

mod sparkline;

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tomte_model::Status;

pub(crate) use sparkline::sparkline;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// JSON as the API gives it.
    Json,
    /// Comma-separated values with a header line.
    Csv,
}

/// Whether to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColourChoice {
    /// In a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) format: Format,
    colour: bool,
    /// Columns of the terminal; `None` in a pipe.
    width: Option<u16>,
}

impl Output {
    /// By the terminal that standard output is, if it is one.
    pub(crate) fn detect(format: Format, colour: ColourChoice) -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = match colour {
            ColourChoice::Always => true,
            ColourChoice::Never => false,
            ColourChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        let width = terminal.then(|| terminal_size::terminal_size().map_or(80, |(width, _)| width.0));
        Self { format, colour, width }
    }

    /// Whether to use colour.
    pub(crate) fn colour(&self) -> bool {
        self.colour
    }

    /// Whether a person is looking.
    pub(crate) fn terminal(&self) -> bool {
        self.width.is_some()
    }

    /// One line of text.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> anyhow::Result<()> {
        tolerate_closed_pipe(writeln!(io::stdout().lock(), "{}", text.as_ref()))
    }

    /// A line that is no result: to standard error, where it spoils no table
    /// and no program's input.
    pub(crate) fn aside(&self, text: &str) {
        // Who closed standard error does not want to know.
        let _ = writeln!(io::stderr().lock(), "tomte: {}", printable(text));
    }

    /// A value as indented JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(text)
    }

    /// A list in the format that was asked for. `items` is what JSON shows;
    /// `rows` is the same as cells, for the table and for CSV.
    pub(crate) fn list(&self, items: &impl Serialize, header: &[&str], rows: Vec<Vec<Text>>) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.json(items),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(Vec::new());
                writer.write_record(header)?;
                for row in &rows {
                    writer.write_record(row.iter().map(|cell| cell.raw.as_deref().unwrap_or(&cell.shown)))?;
                }
                tolerate_closed_pipe(io::stdout().lock().write_all(&writer.into_inner()?))
            }
            Format::Table => self.line(self.table(header, rows)),
        }
    }

    /// A table in place of the one that was drawn before, in a terminal; below
    /// it in a pipe. `drawn` is how many lines there are to replace. `note`
    /// stands beneath the table, and stays in sight when not all of it does.
    pub(crate) fn redraw(
        &self,
        drawn: &mut usize,
        header: &[&str],
        rows: Vec<Vec<Text>>,
        note: Option<&str>,
    ) -> anyhow::Result<()> {
        let table = self.table(header, rows);
        if !self.terminal() {
            return self.line(table);
        }
        let up = if *drawn > 0 { format!("\u{1b}[{drawn}A\u{1b}[J") } else { String::new() };
        // What has scrolled out of sight cannot be drawn over.
        let height = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
        let mut lines: Vec<&str> = table.lines().collect();
        let note = note.map(|note| self.line_of(note));
        let room = height.saturating_sub(1 + usize::from(note.is_some())).max(1);
        lines.truncate(room);
        lines.extend(note.as_deref());
        *drawn = lines.len();
        self.line(format!("{up}{}", lines.join("\n")))
    }

    /// A text as one line of the terminal: one that wraps would be two to
    /// draw over.
    fn line_of(&self, text: &str) -> String {
        let width = usize::from(self.width.unwrap_or(u16::MAX));
        let text = printable(text);
        if text.chars().count() <= width {
            return text;
        }
        text.chars().take(width.saturating_sub(1)).chain(['\u{2026}']).collect()
    }

    /// Columns aligned with spaces, no lines drawn, trailing blanks removed.
    fn table(&self, header: &[&str], rows: Vec<Vec<Text>>) -> String {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        match self.width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic);
                table.set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.iter().map(|title| Cell::new(title.to_uppercase()).add_attribute(Attribute::Bold)));
        for row in rows {
            table.add_row(row.into_iter().map(|text| text.cell(self.colour)));
        }
        if let Some(column) = table.column_mut(0) {
            // The first column names the row; cutting it would make the rest useless.
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// One cell: what people see, and what programs get where that differs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    shown: String,
    raw: Option<String>,
    colour: Option<Color>,
    dim: bool,
}

impl Text {
    /// The same for people and programs.
    pub(crate) fn new(shown: impl Into<String>) -> Self {
        Self { shown: shown.into(), ..Self::default() }
    }
    /// Something else for programs: a number instead of "1.2 GiB".
    pub(crate) fn with_raw(shown: impl Into<String>, raw: impl Into<String>) -> Self {
        Self { shown: shown.into(), raw: Some(raw.into()), ..Self::default() }
    }
    /// Nothing to show.
    pub(crate) fn none() -> Self {
        Self { shown: "-".into(), raw: Some(String::new()), dim: true, colour: None }
    }
    /// A status in its colour.
    pub(crate) fn status(status: Option<Status>) -> Self {
        let Some(status) = status else { return Self::none() };
        let colour = match status {
            Status::Ok => Color::Green,
            Status::Unknown => Color::Magenta,
            Status::Warning => Color::Yellow,
            Status::Critical => Color::Red,
        };
        Self { colour: Some(colour), ..Self::new(status.as_str()) }
    }
    /// A number of some unit, scaled for people.
    pub(crate) fn reading(unit: &tomte_model::Unit, value: f64) -> Self {
        Self::with_raw(unit.format(value), value.to_string())
    }
    /// In a colour.
    pub(crate) fn coloured(mut self, colour: Color) -> Self {
        self.colour = Some(colour);
        self
    }
    /// Held back: stale, or of little weight.
    pub(crate) fn dimmed(mut self) -> Self {
        self.dim = true;
        self
    }

    fn cell(self, colour: bool) -> Cell {
        let mut cell = Cell::new(printable(&self.shown));
        if colour {
            if let Some(colour) = self.colour {
                cell = cell.fg(colour);
            }
            if self.dim {
                cell = cell.add_attribute(Attribute::Dim);
            }
        }
        cell
    }
}

/// What hosts report is untrusted: control characters could drive the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A bar for long work; shown on a terminal only, a pipe or a log gets nothing.
pub(crate) fn progress(length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} % {elapsed} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// A reader that went away has seen all it wanted.
pub(crate) fn tolerate_closed_pipe(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Text>> {
        vec![
            vec![Text::new("nas"), Text::status(Some(Status::Critical)), Text::with_raw("1.2 GiB", "1288490188")],
            vec![Text::new("a-much-longer-name"), Text::none(), Text::new("x\u{1b}[31m")],
        ]
    }

    #[test]
    fn a_pipe_gets_plain_aligned_text() {
        let output = Output { format: Format::Table, colour: false, width: None };
        insta::assert_snapshot!(output.table(&["name", "status", "size"], rows()), @r"
        NAME                STATUS    SIZE
        nas                 critical  1.2 GiB
        a-much-longer-name  -         x [31m
        ");
    }

    #[test]
    fn a_note_takes_one_line_however_long_it_is() {
        let output = Output { format: Format::Table, colour: false, width: Some(10) };
        assert_eq!(output.line_of("short\u{7}"), "short ");
        assert_eq!(output.line_of("no connection to the hub"), "no connec\u{2026}");
    }

    #[test]
    fn a_narrow_terminal_wraps_but_keeps_the_first_column() {
        let output = Output { format: Format::Table, colour: false, width: Some(34) };
        let table = output.table(&["name", "status", "size"], rows());
        assert!(table.contains("a-much-longer-name"), "{table}");
    }
}
