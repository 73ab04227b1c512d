//! The guard: every change to a host is one exec of one POSIX sh program that fences off deposed supervisors, takes the
//! host's lock, does one thing and notes it.

mod answer;
mod program;

use super::halt::{HaltFile, HaltLine, Kind};
use super::sample::{Fence, Run};

pub use answer::{Garbled, parse};
pub use program::{Program, program};

/// One call of the guard.
#[derive(Clone, Debug)]
pub struct Call {
    /// `factory_home`: absolute, or with `~/`.
    pub home: String,
    /// The id made with the ledger.
    pub fleet: String,
    /// The caller's epoch, 1 to 15 digits.
    pub epoch: u64,
    /// The caller's name in the inventory.
    pub holder: String,
    /// What to do.
    pub op: Op,
}

/// What the guard can do.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Raise the fence and list the runs.
    Seal,
    /// Add these lines to halt files, and rename these files away.
    Halt {
        /// Lines to be there; a line of the same kind and id is replaced.
        add: Vec<(HaltFile, HaltLine)>,
        /// `active_file`s to hide.
        hide: Vec<String>,
    },
    /// Take lines out of halt files, and rename back what was renamed away.
    Resume {
        /// What to take out of which file.
        drop: Vec<(HaltFile, Drop)>,
        /// `active_file`s to show again, each unless one of these halt files is there afterwards.
        show: Vec<(String, Vec<HaltFile>)>,
    },
    /// Become this fleet's host, whosever it was.
    Adopt,
    /// Write a new epoch over a corrupt or lost one: 1 + the highest of the host's journal and the caller's.
    Repair,
}

/// What to take out of a halt file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drop {
    /// The line of that kind and id.
    Line(Kind, String),
    /// All lines of another form, and the file when it is empty: what a person put there.
    Foreign,
}

/// What a host answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How it went.
    pub word: Word,
    /// What goes with it, for people; empty when there is nothing to say.
    pub detail: String,
    /// The content of `host-id`.
    pub host_id: Option<String>,
    /// Whose commands the host obeys now, as its files say it: the holder is encoded as by [`super::halt::encode`].
    pub fence: Option<Fence>,
    /// The runs, after [`Op::Seal`].
    pub runs: Vec<Run>,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// 0: done, now or before.
    Done,
    /// 0: done on a full disk, where only the empty file could be made and the fence not be raised.
    Degraded,
    /// 64: a caller that the guard does not understand.
    Usage,
    /// 65: the payload came short or wrong.
    Payload,
    /// 69: a tool is missing, or the home lies on a network file system.
    Unfit,
    /// 70: the epoch is corrupt or lost; `host repair`.
    Corrupt,
    /// 71: it could not be done; the detail says why.
    Failed,
    /// 75: another call holds the lock.
    Busy,
    /// 75: another call holds the lock for long and could not be ended.
    Stuck,
    /// 77: a higher epoch, or another holder of the same, was here.
    Fenced,
    /// 78: the host belongs to another fleet; `host adopt`.
    Foreign,
}

impl Word {
    /// All words.
    pub const ALL: [Word; 11] = [
        Word::Done,
        Word::Degraded,
        Word::Usage,
        Word::Payload,
        Word::Unfit,
        Word::Corrupt,
        Word::Failed,
        Word::Busy,
        Word::Stuck,
        Word::Fenced,
        Word::Foreign,
    ];

    /// The word as the guard says it.
    pub fn name(self) -> &'static str {
        match self {
            Word::Done => "done",
            Word::Degraded => "degraded",
            Word::Usage => "usage",
            Word::Payload => "payload",
            Word::Unfit => "unfit",
            Word::Corrupt => "corrupt",
            Word::Failed => "failed",
            Word::Busy => "busy",
            Word::Stuck => "stuck",
            Word::Fenced => "fenced",
            Word::Foreign => "foreign",
        }
    }

    /// The exit status that comes with it.
    pub fn status(self) -> i32 {
        match self {
            Word::Done | Word::Degraded => 0,
            Word::Usage => 64,
            Word::Payload => 65,
            Word::Unfit => 69,
            Word::Corrupt => 70,
            Word::Failed => 71,
            Word::Busy | Word::Stuck => 75,
            Word::Fenced => 77,
            Word::Foreign => 78,
        }
    }
}
