//! Why a ledger could not be read or written, and what a person does about it.

use super::document::VERSION;
use crate::error::Error;
use crate::exit::Exit;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The answer was lost, with the reason: it may have been written or not.
    #[error("nobody can tell whether it was written: {0}")]
    Unknown(String),
    /// What is there is no document of ours, with what is wrong with it.
    #[error("it is damaged: {0}")]
    Corrupt(String),
    /// The document is longer than any store would take.
    #[error("the document would have {bytes} bytes, and {max} are the most that it may have")]
    TooLarge {
        /// How long it would be, in bytes.
        bytes: usize,
        /// How long it may be, in bytes.
        max: usize,
    },
    /// No space or no inode is left.
    #[error("the disk is full")]
    Full,
    /// Another process has it open for writing and did not let go in time.
    #[error("another process is writing to it and does not end")]
    Busy,
    /// A newer version of this program wrote it; the number is that of the form.
    #[error("it was written by a newer factory: its form is version {0}, this one knows {VERSION}")]
    Newer(u64),
    /// It cannot be reached or opened, with the reason.
    #[error("{0}")]
    Unavailable(String),
}

impl Problem {
    /// The error that ends a verb: what could not be done (`read` or `write`) with the ledger at `place`. Exit 5 for
    /// [`Problem::Busy`], else 1.
    pub fn error(self, verb: &str, place: &str) -> Error {
        let exit = if self == Problem::Busy { Exit::Locked } else { Exit::Failed };
        let help = match &self {
            Problem::Unknown(_) => "look with `factory status` whether it came through, then try again".to_owned(),
            Problem::Corrupt(_) => format!(
                "nothing was changed, and `factory halt` still writes to the hosts; put a copy in the place of {place}, \
                 or move it away and run `factory host adopt --all`, which takes fleet and epoch from the hosts"
            ),
            Problem::TooLarge { .. } => {
                "end holds that are no longer needed with `factory resume`, and drop hosts that \
                                         are gone with `factory host forget`"
                    .to_owned()
            }
            Problem::Full => "make room; what was recorded before is whole and can be read".to_owned(),
            Problem::Busy => "try again; `factory status` says what is running".to_owned(),
            Problem::Newer(_) => "use the newer factory, or another state directory with --state".to_owned(),
            Problem::Unavailable(_) => format!("this user must be able to read and write {place} and its directory"),
        };
        Error::new(exit, format!("cannot {verb} the ledger {place}")).because(self).help(help)
    }
}
