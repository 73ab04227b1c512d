//! What the figures look like: aligned Markdown, and each budget met or not.

/// A table of texts; the first column is aligned left, all others right.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One with this head.
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or_default().max(3)
            })
            .collect();
        for (at, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let text = cell(row, column);
                if column == 0 { write!(f, "| {text:<width$} ")? } else { write!(f, "| {text:>width$} ")? }
            }
            writeln!(f, "|")?;
            if at == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let last = if column == 0 { '-' } else { ':' };
                    write!(f, "|-{}{last}", "-".repeat(*width))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A limit of the design and what was measured.
pub struct Budget {
    /// What is limited.
    pub what: String,
    /// The most that it may be.
    pub limit: f64,
    /// What it is.
    pub measured: f64,
    /// The unit of both, with a leading space where it needs one.
    pub unit: &'static str,
}

impl Budget {
    /// Whether it is met.
    pub fn met(&self) -> bool {
        self.measured <= self.limit
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Budget { what, limit, measured, unit } = self;
        let met = if self.met() { "met" } else { "NOT met" };
        write!(f, "{what}: {}{unit}, at most {limit}{unit}: {met}", digits(*measured))
    }
}

/// A number with about three digits that count.
pub fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Bytes in megabytes (10^6).
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
