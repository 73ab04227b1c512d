//! Why a command was not begun on a host.

use std::sync::Arc;

use super::login::Refused;
use super::target::Target;
use super::unreached::Unreached;
use crate::error::Error;

/// Why a command was not begun. In each case it is certain that it has not; cheap to clone, as all who wait for a
/// connection get the same one.
#[derive(Clone, Debug)]
pub enum Failed {
    /// The host, or a jump host on the way, was not reached.
    Unreached(Arc<Unreachable>),
    /// Its key is unknown, has changed or is revoked.
    Unverified(Arc<Error>),
    /// It was reached and verified, and refused the login: not to be tried again before something has changed.
    Refused(Arc<Refused>),
    /// The ssh configuration, a file or the command is wrong on this side; nothing was sent.
    Config(Arc<Error>),
}

/// A host that was not reached.
#[derive(Debug)]
pub struct Unreachable {
    /// Whom it was about: the host itself or a jump host.
    pub target: Arc<Target>,
    /// Why.
    pub why: Unreached,
    /// The host that was to be reached through it, if it is a jump host.
    pub towards: Option<String>,
}

impl Failed {
    pub(crate) fn unreached(target: &Arc<Target>, why: Unreached) -> Failed {
        Failed::Unreached(Arc::new(Unreachable { target: Arc::clone(target), why, towards: None }))
    }

    pub(crate) fn unverified(error: Error) -> Failed {
        Failed::Unverified(Arc::new(error))
    }

    pub(crate) fn config(error: Error) -> Failed {
        Failed::Config(Arc::new(error))
    }

    /// The same as a failure on the way to `name`, for one of a jump host; the last one said counts, it is what the
    /// person asked for.
    pub(crate) fn towards(self, name: &str) -> Failed {
        match self {
            Failed::Unreached(at) => Failed::Unreached(Arc::new(Unreachable {
                target: Arc::clone(&at.target),
                why: at.why.clone(),
                towards: Some(name.to_owned()),
            })),
            Failed::Refused(refused) => {
                Failed::Refused(Arc::new(Refused { towards: Some(name.to_owned()), ..(*refused).clone() }))
            }
            Failed::Unverified(error) => Failed::unverified(on_the_way(&error, name)),
            Failed::Config(error) => Failed::config(on_the_way(&error, name)),
        }
    }

    /// Whether another attempt may help at once.
    pub(crate) fn transient(&self) -> bool {
        matches!(self, Failed::Unreached(at) if at.why.transient())
    }

    /// As the error of a verb, with what to do; ends with [`crate::exit::Exit::Unreachable`], but for a command that
    /// cannot be sent at all.
    pub fn to_error(&self) -> Error {
        match self {
            Failed::Unreached(at) => {
                let error = at.why.to_error(&at.target);
                match &at.towards {
                    Some(name) => on_the_way(&error, name),
                    None => error,
                }
            }
            Failed::Refused(refused) => refused.to_error(),
            Failed::Unverified(error) | Failed::Config(error) => rebuilt(error, error.to_string()),
        }
    }
}

/// One line for a table: without the host's name where that is plain.
impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Unreached(at) => match &at.towards {
                Some(_) => write!(f, "jump host `{}`: {}", at.target.name, at.why),
                None => write!(f, "{}", at.why),
            },
            Failed::Refused(refused) => write!(f, "{refused}"),
            Failed::Unverified(error) | Failed::Config(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Failed {}

fn on_the_way(error: &Error, name: &str) -> Error {
    const WAY: &str = ", on the way to `";
    let message = error.to_string();
    let bare = message.rsplit_once(WAY).map_or(message.as_str(), |(bare, _)| bare);
    rebuilt(error, format!("{bare}{WAY}{name}`"))
}

/// `error` once more, with this message.
fn rebuilt(error: &Error, message: String) -> Error {
    let mut new = Error::new(error.exit(), message).with(error.diagnostics().to_vec());
    for cause in error.causes() {
        new = new.because(Line(cause.clone()));
    }
    match error.advice() {
        Some(advice) => new.help(advice),
        None => new,
    }
}

/// A cause that is only words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Line(String);
