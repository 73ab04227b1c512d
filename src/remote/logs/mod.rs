//! What is new in the logs of a host: the output of runs, by offset, and the log files of agents, through renaming and
//! truncation.
//!
//! [`Question`] is asked as a part of the probe, so that a tick costs no round trip more, or by a small program of its
//! own ([`Question::program`]). The answer's bytes come as they are, behind the line `end`: [`Fetched`]. [`Book`] knows what
//! has been fetched and makes of one the other; [`Mask`] hides secrets.

mod book;
mod fetched;
mod mask;
mod veil;

use crate::error::{Error, Result};

use super::probe::Program;
pub use book::{Book, Cursor, External, Piece, is_over};
pub(super) use fetched::Raw;
pub use fetched::{Fetched, FilePart, How, RunPart, Stream};
pub use mask::{LONGEST, Mask};
pub use veil::{Veil, Veiled};

/// The functions that look at logs, for the probe.
pub(super) const SOURCE: &str = include_str!("logs.sh");

/// The program of its own, with what it shares with the probe.
const FOLLOW: &str = concat!(
    include_str!("tail.sh"),
    include_str!("../expand.sh"),
    include_str!("../state.sh"),
    include_str!("logs.sh")
);

/// No smaller part of a log is sent unless it is the rest of it: more than the longest secret, since of a part that might
/// be the beginning of a secret nothing is taken.
const LEAST: u64 = LONGEST as u64 + 1;

/// What to ask of a host about logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// How many bytes of one run are sent at most (`ssh.log_run`); at least 128 KiB.
    pub run_cap: u64,
    /// How many bytes of all logs are sent at most (`ssh.log_host`); at least twice as much.
    pub host_cap: u64,
    /// Any number, another one each time: with which log to begin where there is more than may be sent.
    pub turn: u32,
    /// This run alone.
    pub only: Option<String>,
    /// What is there of runs; all of any other is asked for.
    pub runs: Vec<RunAt>,
    /// The log files of agents.
    pub files: Vec<FileAt>,
}

/// What is there of a run's logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAt {
    /// The run.
    pub token: String,
    /// Bytes of its standard output.
    pub out: u64,
    /// Bytes of its standard error.
    pub err: u64,
    /// It has ended and all is there: nothing is asked.
    pub done: bool,
}

/// What is there of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAt {
    /// A number by which the answer names it.
    pub id: u64,
    /// Asks for what the path was before it was renamed, in case somebody still writes to that.
    pub was: bool,
    /// Absolute, or with `~/`.
    pub path: String,
    /// Which file it was; none before the first look.
    pub inode: Option<u64>,
    /// Bytes of it.
    pub offset: u64,
    /// `LENGTH:CHECKSUM` of its first bytes, from the last answer.
    pub head: Option<String>,
    /// The same of what the path was before.
    pub seen: Vec<String>,
}

impl Question {
    /// How many bytes the answer's raw part has at most.
    pub fn most(&self) -> usize {
        usize::try_from(self.caps().1).unwrap_or(usize::MAX)
    }

    fn caps(&self) -> (u64, u64) {
        let run = self.run_cap.max(2 * LEAST);
        (run, self.host_cap.max(2 * run))
    }

    /// The lines of the question.
    pub(super) fn lines(&self) -> Vec<String> {
        let (run, host) = self.caps();
        let mut lines = vec![format!("caps {run} {host} {}", self.turn)];
        lines.extend(self.only.iter().map(|token| format!("only {token}")));
        lines.extend(self.runs.iter().map(|at| match at.done {
            true => format!("log {} done", at.token),
            false => format!("log {} {} {}", at.token, at.out, at.err),
        }));
        lines.extend(self.files.iter().map(|at| {
            let FileAt { id, was, path, inode, offset, head, seen } = at;
            let seen = if seen.is_empty() { "-".to_owned() } else { seen.join(",") };
            let inode = inode.map_or_else(|| "-".to_owned(), |inode| inode.to_string());
            let head = head.as_deref().unwrap_or("-");
            format!("{} {id} {inode} {offset} {head} {seen} {path}", if *was { "was" } else { "follow" })
        }));
        lines
    }

    /// The paths in it.
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        self.files.iter().map(|file| &file.path)
    }

    /// The program that asks this alone; [`super::probe::parse`] reads its answer, in which only runs and logs are known.
    ///
    /// # Errors
    /// A path that holds a newline or a NUL, or is relative.
    pub fn program(&self, home: &str) -> Result<Program> {
        use super::probe::{check_lines, check_path, program, reduce};
        use std::sync::LazyLock;
        static BODY: LazyLock<String> = LazyLock::new(|| reduce(FOLLOW));
        let mut lines = vec![format!("home {home}")];
        lines.extend(self.lines());
        lines.push("end".into());
        check_lines(&lines)?;
        std::iter::once(&home.to_owned()).chain(self.paths()).try_for_each(|path| check_path(path))?;
        if self.only.as_ref().is_some_and(|token| !super::form::is_token(token)) {
            return Err(Error::usage("no run has such a token").help("`factory ps` shows the runs"));
        }
        lines.push(String::new());
        Ok(program(&BODY, "follow", &lines.join("\n")))
    }
}
