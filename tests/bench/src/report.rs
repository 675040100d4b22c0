//! Tables on standard output, and the same as a Markdown file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::machine;
use crate::plan::Plan;

/// A table in Markdown, its columns padded so that it reads as plain text too.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(title: &str, head: &[&str]) -> Self {
        let head = head.iter().map(|&cell| cell.to_owned()).collect();
        Self { title: title.to_owned(), head, rows: Vec::new(), notes: Vec::new() }
    }

    /// One more row; cells that it does not have are empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.head.len(), String::new());
        self.rows.push(row);
    }

    /// One more remark under it.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
        // A column that says nothing in any row is left out.
        let says = |&column: &usize| self.rows.iter().any(|row| !row[column].is_empty());
        let columns: Vec<(usize, usize)> =
            (0..self.head.len()).filter(says).map(|column| (column, width(column))).collect();
        writeln!(out, "### {}\n", self.title)?;
        for (index, row) in all().enumerate() {
            let cells = columns.iter().map(|&(column, width)| format!(" {:width$} ", row[column]));
            writeln!(out, "|{}|", cells.collect::<Vec<_>>().join("|"))?;
            if index == 0 {
                let rules: Vec<String> = columns.iter().map(|(_, width)| "-".repeat(width + 2)).collect();
                writeln!(out, "|{}|", rules.join("|"))?;
            }
        }
        if !self.notes.is_empty() {
            writeln!(out)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(out, "- {note}"))
    }
}

/// Everything that one run measured.
#[derive(Debug)]
pub(crate) struct Report {
    preface: String,
    tables: Vec<Table>,
}

impl Report {
    /// With the machine and the plan, before anything is measured.
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut preface: String =
            machine::description().iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
        preface += &format!("- rounds: {} of {:?} a contender, taking turns\n", plan.rounds, plan.turn);
        Self { preface, tables: Vec::new() }
    }

    /// The machine and the plan.
    pub(crate) fn preface(&self) -> &str {
        &self.preface
    }

    /// One more table.
    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Writes `tests/bench/results/<date>.md`.
    pub(crate) fn save(&self) -> Result<PathBuf> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let date = now.get(..10).context("a date has ten characters")?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{date}.md"));
        fs::write(&file, self.markdown(date)).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }

    fn markdown(&self, date: &str) -> String {
        let tables: String = self.tables.iter().map(|table| format!("\n{table}")).collect();
        format!("# Benchmarks of {date}\n\n{}{tables}", self.preface)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_empty_ones_are_left_out() {
        let mut table = Table::new("T", &["what", "empty", "x"]);
        table.row(["a", "", "0.9–1"]);
        table.note("n");
        let expected = "### T\n\n| what | x     |\n|------|-------|\n| a    | 0.9–1 |\n\n- n\n";
        assert_eq!(table.to_string(), expected);
    }
}
