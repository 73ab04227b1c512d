//! Crontabs as text in and text out: lines that are held, our own block. All other bytes stay as they were, or nothing
//! changes.
//!
//! ```text
//! #factory:dev# */6 * * * * cd ~/x && bash dev/dev-poll.sh       a line that is held, for `dev`
//! # BEGIN factory home                                          the block of fleet `home`
//! * * * * * factory run --if-due
//! # END factory home
//! ```

mod diff;
mod edit;
mod fence;
pub mod key;
mod line;
mod look;
pub mod read;
mod shown;
#[cfg(test)]
mod tests;

pub use diff::diff;
pub use edit::{edit, edit_within};
pub use fence::block;
pub use look::{Look, look, percent};
pub use shown::{Line, What, shown};

/// The longest crontab that cron takes, in lines.
pub const MAX_LINES: usize = 10_000;

/// What is to become of crontabs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The lines that these marks stand for are held, those of all other marks of which `ours` names the keys are
    /// released. In every table.
    Hold {
        /// What is to be held.
        wanted: Vec<Mark>,
        /// The keys that we decide about; lines held under another key stay as they are.
        ours: Vec<String>,
    },
    /// Our block in the login's own table has these lines; none removes it.
    Block {
        /// Whose: the fleet's name, as in `# BEGIN factory FLEET`.
        fleet: String,
        /// The lines inside.
        lines: Vec<String>,
    },
    /// Everything that is ours goes: all held lines are released, every block is removed. In every table.
    Leave,
    /// The login's own table has these bytes; none removes it.
    Restore(Vec<u8>),
}

impl Edit {
    /// Whether it is about every table; else about the login's own alone.
    pub fn everywhere(&self) -> bool {
        matches!(self, Edit::Hold { .. } | Edit::Leave)
    }
}

/// Lines of an agent's in crontabs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// What stands in `#factory:KEY# ` before a held line: `dev`, `dev@harb`, `takeover:dev`.
    pub key: String,
    /// The text that the lines contain.
    pub text: String,
}

/// Why a crontab is not edited: for people. Nothing of it is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub(crate) String);

/// For people.
impl std::fmt::Display for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Edit::Hold { wanted, .. } if wanted.is_empty() => f.write_str("release crontab lines"),
            Edit::Hold { wanted, .. } => {
                let keys: Vec<&str> = wanted.iter().map(|mark| mark.key.as_str()).collect();
                write!(f, "hold crontab lines of {}", keys.join(", "))
            }
            Edit::Block { lines, .. } if lines.is_empty() => f.write_str("remove our crontab block"),
            Edit::Block { .. } => f.write_str("write our crontab block"),
            Edit::Leave => f.write_str("restore the crontab"),
            Edit::Restore(_) => f.write_str("put a crontab back"),
        }
    }
}
