//! Each way in which a call to a forge or a CI server can fail.

use jiff::Timestamp;

use crate::error::Error;
use crate::exit::Exit;

/// A call that did not do what it was to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {why}")]
pub struct Failure {
    /// What was called: the method, scheme, host and the path of the API, such as
    /// `GET https://codeberg.org/api/v1/repos/johba/harb/issues`. Never a query, a token or what else stands in an address.
    pub at: String,
    /// What happened.
    pub why: Why,
}

/// What happened to a call. `said` is the server's own message, on one line, without control characters and without the
/// token; it is empty where there was none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// 404: it is not there, or not for this token.
    #[error("not found{}", said_of(.said))]
    NotFound {
        /// The server's message.
        said: String,
    },
    /// 401, 403: the token is missing, wrong, expired, or may not do this.
    #[error("refused with {status}{}", said_of(.said))]
    Refused {
        /// The status.
        status: u16,
        /// The server's message.
        said: String,
    },
    /// 405: it may not be done now, such as a merge that the branch's protection forbids. Nothing was done.
    #[error("blocked{}", said_of(.said))]
    Blocked {
        /// The server's message.
        said: String,
    },
    /// 409: something else has changed it, or it stands against what is there.
    #[error("in conflict{}", said_of(.said))]
    Conflict {
        /// The server's message.
        said: String,
    },
    /// 400, 413, 422, 423: the server understood and will not do it.
    #[error("not accepted with {status}{}", said_of(.said))]
    Invalid {
        /// The status.
        status: u16,
        /// The server's message.
        said: String,
    },
    /// It asks to be left alone (429, `Retry-After`, a used up rate limit), or our own budget of calls is used up.
    #[error("to be left alone until {until:.0}{}", said_of(.said))]
    Busy {
        /// When it may be asked again.
        until: Timestamp,
        /// Why.
        said: String,
    },
    /// No answer: what was asked is unknown. After a write it is not known whether it was done.
    #[error("no answer: {why}")]
    Down {
        /// How.
        why: Outage,
    },
    /// An answer that cannot be used: what was asked is unknown.
    #[error("not an answer: {why}")]
    Garbled {
        /// What is wrong with it.
        why: String,
    },
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// Its name has no address.
    #[error("its name has no address")]
    Name,
    /// No connection was made.
    #[error("no connection: {0}")]
    Connect(String),
    /// The encryption failed: a bad certificate, or a server that speaks no TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// It took too long, in milliseconds.
    #[error("nothing complete within {}", millis(.0))]
    TimedOut(u64),
    /// The connection ended in the middle.
    #[error("the connection was cut: {0}")]
    Cut(String),
    /// It sends us elsewhere, by scheme and host: a login page, or a forge that has moved.
    #[error("it sends us on to {0}: a login page, or it has moved")]
    SentOn(String),
    /// The forge sends calls for this repo to another name of it: it was renamed or given away.
    #[error("the repository is now called {0}")]
    Renamed(String),
    /// 5xx: the server, or a proxy before it, is broken or in maintenance.
    #[error("status {0}{said}", said = said_of(.1))]
    Status(u16, String),
    /// Our own calls to it took so long that this one was not made.
    #[error("not asked: earlier calls to it have not ended")]
    Queued,
}

fn said_of(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn millis(millis: &u64) -> String {
    crate::inventory::units::Span(std::time::Duration::from_millis(*millis)).to_string()
}

impl Failure {
    /// Whether nothing is known of what was asked: the last decision stands, and asking again later may help.
    pub fn unknown(&self) -> bool {
        matches!(self.why, Why::Busy { .. } | Why::Down { .. } | Why::Garbled { .. })
    }

    /// What to do about it: one sentence.
    pub fn help(&self) -> &'static str {
        match &self.why {
            Why::NotFound { .. } => {
                "check the name in repos.yml; a private one is also not found without a token that may read it"
            }
            Why::Refused { status: 401, .. } => {
                "make a new token and put it where repos.yml says: this one is missing, wrong or expired"
            }
            Why::Refused { said, .. } if said.contains("scope") => {
                "make a token with the scopes read:user, write:issue and write:repository"
            }
            Why::Refused { .. } => "give the token's account the right to do this in the repository's settings",
            Why::Blocked { .. } => {
                "look at the pull on the forge: approvals, checks, conflicts and the branch's protection; nothing was changed"
            }
            Why::Conflict { .. } => "look at it on the forge: it has changed meanwhile; the next tick reads it again",
            Why::Invalid { status: 423, .. } => "unarchive the repository, or take it out of repos.yml",
            Why::Invalid { .. } => {
                "check the value that the message names in repos.yml: accounts, labels and branches must exist"
            }
            Why::Busy { .. } => "nothing: it is asked again by then",
            Why::Down { why: Outage::Tls(_) } => {
                "check the address, the server's certificate, this machine's clock and its ca-certificates"
            }
            Why::Down { why: Outage::Renamed(_) } => {
                "write that name in repos.yml, if it is still the same repository: a redirect is not followed"
            }
            Why::Down { why: Outage::SentOn(_) } => "write the address where it answers itself as `url` in repos.yml",
            Why::Down { .. } => "look whether the server runs; the last decision stands until it answers",
            Why::Garbled { .. } => {
                "look whether the address is that of the server's front page and whether it is in maintenance"
            }
        }
    }

    /// What to do about it for a person who waits for it, as exactly as it is known.
    pub fn by_hand(&self) -> String {
        let said = match &self.why {
            Why::Refused { said, .. } => said.as_str(),
            _ => "",
        };
        let scope = said.split_once("scope(s): [").and_then(|(_, rest)| rest.split_once(']')).map(|(scope, _)| scope);
        match &self.why {
            Why::NotFound { .. } => {
                "check the name in repos.yml; a private one is also not found by an account that may not read it".into()
            }
            Why::Refused { status: 403, .. } if said.contains("already exist") => {
                "somebody else has made it meanwhile: look at it with `factory repo check`, then run this again".into()
            }
            Why::Refused { status: 403, .. } if said.contains("limited to public") => {
                "make a token for private repositories too, and put it where repos.yml says".into()
            }
            Why::Refused { status: 403, .. } if scope.is_some() => {
                let scope = scope.unwrap_or_default();
                format!("make a token that has the scope {scope} too, and put it where repos.yml says")
            }
            Why::Refused { status: 403, .. } if said.contains("owner or a collaborator with admin") => {
                "use the token of an administrator of the repository".into()
            }
            Why::Blocked { .. } if !self.at.ends_with("/merge") => {
                "look whether the address is that of a Forgejo of version 7 or newer; nothing was changed".into()
            }
            Why::Conflict { .. } => "it has changed meanwhile: look at it with `factory repo check`, then run this again".into(),
            Why::Invalid { status: 422, .. } => {
                "check the value that the message names in repos.yml: accounts must exist on the forge; nothing was changed".into()
            }
            Why::Busy { .. } => "run this again after that time".into(),
            Why::Down { why: Outage::Renamed(to) } => {
                format!("write `slug: {to}` in repos.yml, if it is still the same repository")
            }
            Why::Down { why: Outage::Status(..) } => {
                "the server, or a proxy before it, is broken or in maintenance: run this again later".into()
            }
            Why::Down { why: Outage::Name } => "check the address in repos.yml, and this machine's resolver".into(),
            Why::Down { why: Outage::Connect(_) | Outage::TimedOut(_) | Outage::Cut(_) | Outage::Queued } => {
                "look whether the server runs and answers this machine, then run this again".into()
            }
            _ => self.help().into(),
        }
    }

    /// As the error of a verb, with what to do.
    pub fn to_error(&self) -> Error {
        let exit = if self.unknown() { Exit::Unreachable } else { Exit::Failed };
        Error::new(exit, self.to_string()).help(self.help())
    }
}
