//! Why the reader leaves a configuration to `ssh -G`.

use std::fmt;

/// Why nothing is said about a host: to guess could reach or trust another host than `ssh` would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsure {
    /// The file and line (from 1), as `FILE:LINE`; where arguments are meant, their name.
    pub place: String,
    /// What stands there, in words.
    pub reason: String,
}

impl Unsure {
    /// What stands at `place`.
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Unsure {
        Unsure { place: place.into(), reason: reason.into() }
    }
}

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl std::error::Error for Unsure {}
