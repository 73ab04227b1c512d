//! Tables without lines, as `kubectl` and `ps` print them: easy to read, easy to cut.

use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table};
use jiff::{SignedDuration, Timestamp};

use super::diagnostic::Style;

/// The fewest columns that the last one is cut to.
const LEAST: u16 = 16;

/// A table that is being filled.
pub struct Sheet {
    table: Table,
    style: Style,
}

/// One cell: its text, and the level that colours it.
pub struct Field {
    text: String,
    level: Option<u8>,
    right: bool,
}

impl Field {
    /// Plain text.
    pub fn text(text: impl AsRef<str>) -> Field {
        Field { text: plain(text.as_ref()), level: None, right: false }
    }

    /// A number, set to the right.
    pub fn number(text: impl AsRef<str>) -> Field {
        Field { right: true, ..Field::text(text) }
    }

    /// What is not known is a dash, never 0.
    pub fn maybe(text: Option<String>) -> Field {
        Field::number(text.unwrap_or_else(|| "-".to_owned()))
    }

    /// The colour of a severity: 0 green, 1 yellow, 2 and 3 red, 4 (unknown) magenta.
    #[must_use]
    pub fn level(mut self, level: u8) -> Field {
        self.level = Some(level);
        self
    }
}

impl Sheet {
    /// A table with these headings.
    pub fn new(style: Style, headings: &[&str]) -> Sheet {
        let mut table = Table::new();
        if style.color {
            table.enforce_styling();
        }
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(headings.iter().map(Cell::new));
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        Sheet { table, style }
    }

    /// Adds a row.
    pub fn row(&mut self, fields: impl IntoIterator<Item = Field>) {
        let color = self.style.color;
        self.table.add_row(fields.into_iter().map(|field| {
            let mut cell = Cell::new(field.text);
            if field.right {
                cell = cell.set_alignment(CellAlignment::Right);
            }
            match field.level {
                Some(level) if color => cell.fg(level_color(level)),
                _ => cell,
            }
        }));
    }

    /// Keeps every row on one line of a terminal: the last column is cut at its edge. In a pipe nothing is.
    pub fn cut(&mut self) {
        let Ok(width) = u16::try_from(self.style.width) else { return };
        if !self.style.terminal {
            return;
        }
        // Where the others leave no room to speak of, a row goes over the edge.
        let others = self.table.column_max_content_widths();
        let others: u16 = others.iter().rev().skip(1).map(|width| width.saturating_add(2)).fold(0, u16::saturating_add);
        let width = width.max(others.saturating_add(LEAST));
        self.table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        self.table.set_truncation_indicator(if self.style.unicode { "…" } else { "..." });
        let last = self.table.column_count().saturating_sub(1);
        for (at, column) in self.table.column_iter_mut().enumerate() {
            if at < last {
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else {
                column.set_padding((0, 0));
            }
        }
        self.table.row_iter_mut().for_each(|row| {
            row.max_height(1);
        });
    }
}

impl std::fmt::Display for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in self.table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text` without control characters: what a host says must not move the cursor or forge a line.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn level_color(level: u8) -> Color {
    match level {
        0 => Color::Green,
        1 => Color::Yellow,
        2 | 3 => Color::Red,
        _ => Color::Magenta,
    }
}

/// The word for a severity: `ok`, `soft`, `hard`, `crit`, and `unknown` for 4.
pub fn level_name(level: u8) -> &'static str {
    match level {
        0 => "ok",
        1 => "soft",
        2 => "hard",
        3 => "crit",
        _ => "unknown",
    }
}

/// A verdict for a terminal: the level's word, with which it begins, has its colour, and control characters are gone.
pub fn verdict(verdict: &str, level: u8, style: Style) -> String {
    use owo_colors::OwoColorize;
    let verdict = plain(verdict);
    let name = level_name(level);
    let rest = match verdict.strip_prefix(name) {
        Some(rest) if style.color => rest,
        _ => return verdict,
    };
    let word = match level {
        0 => name.green().to_string(),
        1 => name.yellow().to_string(),
        2 | 3 => name.red().to_string(),
        _ => name.magenta().to_string(),
    };
    format!("{word}{rest}")
}

/// `1 host`, `3 hosts`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// How long ago `then` was, in the two largest units: `3m 20s`, `2d 4h`. The future is `0s`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    length(now.duration_since(then).max(SignedDuration::ZERO).as_secs().unsigned_abs())
}

/// Seconds in their two largest units.
pub fn length(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units {
        if rest >= size || !parts.is_empty() {
            parts.push((rest / size, unit));
            rest %= size;
        }
    }
    let shown: Vec<String> =
        parts.iter().take(2).filter(|(n, _)| *n > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let mut sheet = Sheet::new(Style::PLAIN, &["HOST", "FREE", "NOTE"]);
        sheet.row([Field::text("vps-1"), Field::number("1.5GiB"), Field::text("")]);
        sheet.row([Field::text("b"), Field::maybe(None), Field::text("x").level(3)]);
        insta::assert_snapshot!(sheet.to_string(), @r"
        HOST   FREE    NOTE
        vps-1  1.5GiB
        b           -  x
        ");
        assert!(sheet.to_string().lines().all(|line| line == line.trim_end()));
    }

    #[test]
    fn what_a_host_says_cannot_write_on_the_terminal() {
        let mut sheet = Sheet::new(Style::PLAIN, &["HOST"]);
        sheet.row([Field::text("a\u{1b}[2Jb\nc\r")]);
        assert_eq!(sheet.to_string().lines().nth(1), Some("a [2Jb c"));
    }

    #[test]
    fn lengths_of_time_have_two_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (200, "3m 20s"), (3600, "1h"), (90_061, "1d 1h"), (172_830, "2d")]
        {
            assert_eq!(length(seconds), text);
        }
    }
}
