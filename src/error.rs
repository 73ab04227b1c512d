//! What can go wrong, as values: an [`Error`] ends a verb, a [`Diagnostic`] is one problem in a file.

mod diagnostic;

use crate::exit::Exit;
pub use diagnostic::{Diagnostic, Diagnostics, Level, Place, SourceFile, Span};

/// Why a verb could not do its work.
///
/// The message is lower case without a full stop; causes follow, then a `help:` line that says what to do.
/// No secret value is ever put into one.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    help: Option<String>,
    diagnostics: Vec<Diagnostic>,
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that ends the process with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Error {
        Error { exit, message: message.into(), causes: Vec::new(), help: None, diagnostics: Vec::new() }
    }

    /// An action failed (exit 1).
    pub fn failed(message: impl Into<String>) -> Error {
        Error::new(Exit::Failed, message)
    }

    /// The command line is wrong (exit 2).
    pub fn usage(message: impl Into<String>) -> Error {
        Error::new(Exit::Usage, message)
    }

    /// The inventory is wrong or a pattern matches nothing (exit 3).
    pub fn inventory(message: impl Into<String>) -> Error {
        Error::new(Exit::Inventory, message)
    }

    /// Adds what to do about it: one sentence, the command to type where there is one.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.help = Some(help.into());
        self
    }

    /// Adds why: the error underneath and everything underneath that.
    #[must_use]
    pub fn because(mut self, cause: impl std::error::Error) -> Error {
        self.causes.push(cause.to_string());
        let mut next = cause.source();
        while let Some(source) = next {
            self.causes.push(source.to_string());
            next = source.source();
        }
        self
    }

    /// Adds the problems found in files, shown before the message.
    #[must_use]
    pub fn with(mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) -> Error {
        self.diagnostics.extend(diagnostics);
        self
    }

    /// The exit code that this error ends the process with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The causes, nearest first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// The message and the causes on one line.
    pub fn with_causes(&self) -> String {
        std::iter::once(&self.message).chain(&self.causes).map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The problems in files that led to it.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}
