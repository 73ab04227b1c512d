//! Problems in files and errors of verbs, as text for people.

use std::fmt::Write as _;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError, MietteSpanContents, Severity,
    SourceCode, SourceSpan, SpanContents,
};
use owo_colors::OwoColorize;

use crate::error::{Diagnostic, Error, Level, Place};

/// How the text may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub color: bool,
    /// Lines and arrows beyond ASCII.
    pub unicode: bool,
    /// Columns to wrap at.
    pub width: usize,
    /// There is an edge at `width`: rows of a table that go over it are cut.
    pub terminal: bool,
}

impl Style {
    /// ASCII, no colour: for pipes, logs and snapshots.
    pub const PLAIN: Style = Style { color: false, unicode: false, width: 120, terminal: false };
}

/// How many problems are shown at once: whoever mends these sees the next.
const MAX_PROBLEMS: usize = 20;

/// How much of one line of a file is shown, in characters.
const MAX_LINE: usize = 200;

/// `diagnostic` as several lines: what, `file:line:column` with the line itself, and what to do.
pub fn diagnostic(diagnostic: &Diagnostic, style: Style) -> String {
    let severity = match diagnostic.level {
        Level::Error => Severity::Error,
        Level::Warning => Severity::Warning,
        Level::Note => Severity::Advice,
    };
    let mut shown = MietteDiagnostic::new(&diagnostic.message).with_severity(severity);
    if let Some(help) = &diagnostic.help {
        shown = shown.with_help(help);
    }
    let handler = GraphicalReportHandler::new_themed(theme(style)).with_width(style.width).with_links(false);
    let mut text = String::new();
    let written = match &diagnostic.place {
        None => handler.render_report(&mut text, &shown),
        Some(place) => {
            let (snippet, start, length) = snippet(place, diagnostic.secret);
            let label = LabeledSpan::new(diagnostic.label.clone(), start, length);
            let report = miette::Report::new(shown.with_label(label)).with_source_code(snippet);
            handler.with_context_lines(1).render_report(&mut text, report.as_ref())
        }
    };
    if written.is_err() {
        text = format!("{}\n", diagnostic.message);
    }
    text
}

/// The first [`MAX_PROBLEMS`] of `problems`, and how many more there are.
pub fn diagnostics<'a>(mut problems: impl Iterator<Item = &'a Diagnostic>, style: Style) -> String {
    let mut text: String = problems.by_ref().take(MAX_PROBLEMS).map(|problem| diagnostic(problem, style)).collect();
    match problems.count() {
        0 => {}
        more => text.push_str(&format!("and {more} more problems\n")),
    }
    text
}

/// `error` as lines: its diagnostics, `error: message`, its causes, and a `help:` line.
pub fn error(error: &Error, style: Style) -> String {
    let mut text = diagnostics(error.diagnostics().iter(), style);
    let head = if style.color { "error:".red().bold().to_string() } else { "error:".to_owned() };
    let _ = writeln!(text, "{head} {error}");
    for cause in error.causes() {
        let _ = writeln!(text, "  because: {cause}");
    }
    if let Some(advice) = error.advice() {
        let head = if style.color { "help:".cyan().to_string() } else { "help:".to_owned() };
        let _ = writeln!(text, "  {head} {advice}");
    }
    text
}

fn theme(style: Style) -> GraphicalTheme {
    match (style.unicode, style.color) {
        (true, true) => GraphicalTheme::unicode(),
        (true, false) => GraphicalTheme::unicode_nocolor(),
        (false, true) => GraphicalTheme::ascii(),
        (false, false) => GraphicalTheme::none(),
    }
}

/// A few lines of a file, of which the marked one may lack its beginning.
#[derive(Debug)]
struct Snippet {
    name: String,
    /// The lines, behind as many line breaks as it takes to give them their own numbers.
    text: String,
    /// How many characters of the marked line are left out in front.
    skipped: usize,
}

impl SourceCode for Snippet {
    /// The text round `span`; the column is that in the file, not that in the snippet.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, before, after)?;
        // With lines in front the contents begin at one of those, in its first column.
        let column = inner.column() + if before == 0 { self.skipped } else { 0 };
        let (data, span, line, count) = (inner.data(), *inner.span(), inner.line(), inner.line_count());
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), data, span, line, column, count)))
    }
}

/// The lines round `place`, cut at [`MAX_LINE`], with the offset and length of the marked text. A secret is asterisks,
/// and its neighbours are left out, since it may go on there.
fn snippet(place: &Place, secret: bool) -> (Snippet, usize, usize) {
    let line = place.span.line.max(1);
    let first = if secret { line } else { line.saturating_sub(1).max(1) };
    let last = if secret { line } else { line + 1 };
    let mut text = "\n".repeat(first - 1);
    let (mut start, mut length) = (text.len(), 0);
    let mut skipped = 0;
    for (index, full) in place.source.text.split('\n').enumerate().skip(first - 1).take(last + 1 - first) {
        let full = full.trim_end_matches('\r');
        if index + 1 != line {
            text.extend(full.chars().take(MAX_LINE));
            text.push('\n');
            continue;
        }
        // A long line is shown from a little before the marked text.
        let column = place.span.column.saturating_sub(1);
        let skip = if column < MAX_LINE / 2 { 0 } else { column - MAX_LINE / 4 };
        skipped = skip;
        let marked = place.source.text.get(place.span.start..place.span.end).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default().trim_end().chars().count();
        let here = text.len();
        for (at, c) in full.chars().enumerate().skip(skip).take(MAX_LINE) {
            if at == column {
                start = text.len();
            }
            let hidden = secret && at >= column;
            text.push(if hidden { '*' } else { c });
            if at >= column && at < column + marked {
                length = text.len() - start;
            }
            if hidden && at >= column + 7 {
                length = text.len() - start;
                break;
            }
        }
        if column >= full.chars().count() {
            start = text.len().max(here);
        }
        text.push('\n');
    }
    (Snippet { name: place.source.path.display().to_string(), text, skipped }, start, length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::{SourceFile, Span};

    fn source(text: &str) -> Arc<SourceFile> {
        Arc::new(SourceFile { path: "inventory/repos.yml".into(), text: text.to_owned() })
    }

    #[test]
    fn a_problem_shows_its_line_and_a_hint() {
        let source = source("repos:\n  harb:\n    brnch: master\n    slug: x\n");
        let problem = Diagnostic::error("unknown key `brnch`")
            .at(&source, Span { line: 3, column: 5, start: 20, end: 25 })
            .label("not a key of a repo")
            .help("did you mean `branch`?");
        insta::assert_snapshot!(diagnostic(&problem, Style::PLAIN));
    }

    #[test]
    fn the_place_is_that_in_the_file_however_long_its_line() {
        let text = format!("# one\n{}oops: 1\n", "x".repeat(100_000));
        let span = Span { line: 2, column: 100_001, start: 100_006, end: 100_010 };
        let shown = diagnostic(&Diagnostic::error("bad").at(&source(&text), span), Style::PLAIN);
        assert!(shown.contains("repos.yml:2:100001]"), "{shown}");
        assert!(shown.contains("oops: 1") && shown.len() < 1000, "{shown}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let source = source("token: hunter2-and-more\n  more: hunter3\n");
        let problem =
            Diagnostic::error("a literal token").at(&source, Span { line: 1, column: 8, start: 7, end: 23 }).secret();
        let text = diagnostic(&problem, Style::PLAIN);
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.contains("repos.yml:1:8"), "{text}");
    }
}
