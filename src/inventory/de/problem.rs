//! What serde's derived code says went wrong, kept as data until it is known where.

use std::fmt;

use serde::de;

use super::document::Document;
use super::hint;
use crate::error::{Diagnostic, Span};

/// Separates the parts of a message that has to travel through serde's one string.
const SEPARATOR: char = '\u{1f}';

/// One problem on its way up.
#[derive(Debug)]
pub struct Problem {
    /// Boxed, since serde carries a problem by value through every call.
    pub(super) kind: Box<Kind>,
    /// The place, once a deserializer has said it.
    pub(super) span: Option<Span>,
    /// The dotted path of the value or of the mapping, once known.
    pub(super) path: Option<String>,
    /// The address of the key or list item to leave out on the next round.
    pub(super) prune: Option<usize>,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Kind {
    /// A key that the mapping does not have.
    UnknownKey { key: String, expected: &'static [&'static str] },
    /// A word that is none of the words.
    UnknownWord { word: String, expected: &'static [&'static str] },
    /// A key that must be there.
    Missing { key: &'static str },
    /// Something else than what is wanted.
    Wrong { wanted: String, found: String, help: Option<String> },
    /// A message made by a type of ours.
    Told(Told),
    /// Follows from a problem that was told.
    Silent,
}

/// A message with what to do about it, made where a type checks its own text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    message: String,
    help: String,
    secret: bool,
}

/// A message for the value at hand: lower case, to follow `KEY: `.
pub(crate) fn told(message: impl Into<String>) -> Told {
    Told { message: message.into(), ..Told::default() }
}

impl Told {
    /// Says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Told {
        self.help = help.into();
        self
    }

    /// The text is a secret: it is never shown.
    pub(crate) fn secret(mut self) -> Told {
        self.secret = true;
        self
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.secret { "secret" } else { "" };
        write!(f, "{}{SEPARATOR}{}{SEPARATOR}{secret}", self.message, self.help)
    }
}

impl Problem {
    pub(super) fn new(kind: Kind) -> Problem {
        Problem { kind: Box::new(kind), span: None, path: None, prune: None }
    }

    pub(super) fn wrong(wanted: impl Into<String>, found: impl Into<String>) -> Problem {
        Problem::new(Kind::Wrong { wanted: wanted.into(), found: found.into(), help: None })
    }

    pub(super) fn wrong_help(wanted: &str, found: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem::new(Kind::Wrong { wanted: wanted.into(), found: found.into(), help: Some(help.into()) })
    }

    pub(super) fn told(told: Told) -> Problem {
        Problem::new(Kind::Told(told))
    }

    /// Says where, unless that was said nearer to the problem.
    pub(super) fn at(mut self, span: Span, path: &str) -> Problem {
        self.span.get_or_insert(span);
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// Says what to leave out, unless that was said nearer to the problem.
    pub(super) fn prune(mut self, address: usize) -> Problem {
        self.prune.get_or_insert(address);
        self
    }

    /// The message for people.
    pub(super) fn diagnostic(self, document: &Document) -> Diagnostic {
        let path = self.path.unwrap_or_default();
        let subject = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
        let mut secret = false;
        let diagnostic = match *self.kind {
            Kind::UnknownKey { key, expected } => {
                let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
                let label = if path.is_empty() {
                    "not a key of this file".to_owned()
                } else {
                    format!("not a key of `{path}`")
                };
                Diagnostic::error(format!("unknown key `{}`{place}", hint::short(&key)))
                    .label(label)
                    .help(hint::instead(&key, expected, "the keys here are"))
            }
            Kind::UnknownWord { word, expected } => {
                let all = format!("it may be {}", hint::list(expected, "or"));
                let help = match hint::near(&word, expected.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`? {all}"),
                    None => all,
                };
                Diagnostic::error(format!("{subject} cannot be `{}`", hint::short(&word))).help(help)
            }
            Kind::Missing { key } => {
                Diagnostic::error(format!("{subject} lacks the key `{key}`")).help(hint::missing(key))
            }
            Kind::Wrong { wanted, found, help } => {
                let diagnostic = Diagnostic::error(format!("{subject} must be {wanted}, and this is {found}"));
                match help {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }
            }
            Kind::Told(told) => {
                secret = told.secret;
                let diagnostic = Diagnostic::error(sentence(&subject, &told.message));
                if told.help.is_empty() { diagnostic } else { diagnostic.help(told.help) }
            }
            Kind::Silent => Diagnostic::error(format!("{subject} cannot be read")),
        };
        let diagnostic = match self.span {
            Some(span) => diagnostic.at(&document.source, span),
            None => diagnostic,
        };
        if secret { diagnostic.secret() } else { diagnostic }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Problem {
        let text = message.to_string();
        let mut parts = text.split(SEPARATOR);
        let message = parts.next().unwrap_or_default().to_owned();
        let help = parts.next().unwrap_or_default().to_owned();
        let secret = parts.next() == Some("secret");
        Problem::told(Told { message, help, secret })
    }

    fn invalid_type(found: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Problem {
        Problem::wrong(plain(&wanted.to_string()), unexpected(found))
    }

    fn invalid_value(found: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Problem {
        Problem::wrong(plain(&wanted.to_string()), unexpected(found))
    }

    fn invalid_length(length: usize, wanted: &dyn de::Expected) -> Problem {
        Problem::wrong(plain(&wanted.to_string()), format!("a list of {length}"))
    }

    fn unknown_variant(word: &str, expected: &'static [&'static str]) -> Problem {
        Problem::new(Kind::UnknownWord { word: word.to_owned(), expected })
    }

    fn unknown_field(key: &str, expected: &'static [&'static str]) -> Problem {
        Problem::new(Kind::UnknownKey { key: key.to_owned(), expected })
    }

    fn missing_field(key: &'static str) -> Problem {
        Problem::new(Kind::Missing { key })
    }

    fn duplicate_field(key: &'static str) -> Problem {
        Problem::told(told(format!("the key `{key}` stands twice")))
    }
}

/// `subject` and what is said of it: "`x` must be y", "`x`: not a y".
pub(crate) fn sentence(subject: &str, message: &str) -> String {
    let verb = ["lacks ", "must ", "is ", "names ", "cannot "].iter().any(|verb| message.starts_with(verb));
    if verb { format!("{subject} {message}") } else { format!("{subject}: {message}") }
}

/// serde's words for what it wants, in ours.
fn plain(wanted: &str) -> String {
    match wanted {
        "a string" | "a borrowed string" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}

/// serde's words for what it found, in ours. Text is left out: the place shows it.
fn unexpected(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(value) => format!("`{value}`"),
        de::Unexpected::Unsigned(number) => format!("`{number}`"),
        de::Unexpected::Signed(number) => format!("`{number}`"),
        de::Unexpected::Float(number) => format!("`{number}`"),
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a mapping".to_owned(),
        de::Unexpected::Str(_) => "text".to_owned(),
        other => other.to_string(),
    }
}
