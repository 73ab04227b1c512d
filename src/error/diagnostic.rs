//! One problem in one place of a file: `file:line:column`, the offending text and what to do about it.

use std::path::PathBuf;
use std::sync::Arc;

/// A file that was read, kept so that a message can show the line.
#[derive(PartialEq, Eq)]
pub struct SourceFile {
    /// The path as the user would write it.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

impl std::fmt::Debug for SourceFile {
    /// The path alone: the text may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Where something stands in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// First byte in the file's text.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// A [`Span`] with its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<SourceFile>,
    /// Where in it.
    pub span: Span,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.source.path.display(), self.span.line, self.span.column)
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing; nothing is wrong.
    Note,
    /// It will work, perhaps not as meant.
    Warning,
    /// The file cannot be used as it is.
    Error,
}

/// One problem in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// What is wrong, lower case, naming the offending text.
    pub message: String,
    /// Where; absent for a file that is not there.
    pub place: Option<Place>,
    /// A few words put under the offending text.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// The text at the place is a secret: it is shown as asterisks.
    pub secret: bool,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Diagnostic {
        Diagnostic { level: Level::Error, message: message.into(), place: None, label: None, help: None, secret: false }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic { level: Level::Warning, ..Diagnostic::error(message) }
    }

    /// A note without a place.
    pub fn note(message: impl Into<String>) -> Diagnostic {
        Diagnostic { level: Level::Note, ..Diagnostic::error(message) }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, source: &Arc<SourceFile>, span: Span) -> Diagnostic {
        self.place = Some(Place { source: Arc::clone(source), span });
        self
    }

    /// Puts a few words under the offending text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Marks the text at the place as a secret: it is never shown.
    #[must_use]
    pub fn secret(mut self) -> Diagnostic {
        self.secret = true;
        self
    }
}

/// The problems found so far, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, iter: T) {
        self.0.extend(iter);
    }
}
