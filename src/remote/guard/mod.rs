//! The guard: every change to a host is one exec of one POSIX sh program that fences off deposed supervisors, takes the
//! host's lock, does one thing and notes it.

mod answer;
mod job;
mod program;

use std::time::Duration;

use super::crontab::Edit;
use super::halt::{HaltFile, HaltLine, Kind};
use super::sample::{Fence, Run};

pub use answer::{Garbled, parse};
pub use job::{Job, Secrets};
pub use program::{Program, program, sha256};

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
    /// Start a run, once at most for its token.
    Launch(Box<Job>),
    /// Take a token's one slot, so that it can never be launched.
    Cancel {
        /// The run's token.
        token: String,
    },
    /// Stop a run, or the processes of one that we did not start.
    Stop(Stop),
    /// Remove what is not needed any more of runs that are over.
    Gc {
        /// Of which run how many bytes of `out.log` and `err.log` have been fetched.
        fetched: Vec<(String, u64, u64)>,
    },
    /// Edit crontabs: sent as [`Op::CronRead`]; the hand makes the new tables of what was read and puts each in place by
    /// an [`Op::CronWrite`].
    Cron(Edit),
    /// Say what is in every crontab that we may edit.
    CronRead,
    /// Put a whole crontab in the place of one that is still as it was.
    CronWrite(CronWrite),
}

/// What to stop, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What.
    pub what: Stopped,
    /// Who asks, for the file `stop`.
    pub by: String,
    /// How long it may go on before it is told to end (TERM); for `--drain`.
    pub drain: Duration,
    /// How long it then has until it is killed (KILL).
    pub kill_after: Duration,
    /// A fresh `critical` file puts TERM off.
    pub critical: bool,
}

/// What is to be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// A run of ours, by its token.
    Run(String),
    /// A process that we did not start, with its session and tree: by its id and its start in clock ticks since boot, if
    /// its command line still holds this text and it has no terminal.
    Process {
        /// The process id.
        pid: u32,
        /// The 22nd field of `/proc/PID/stat`.
        start: u64,
        /// The agent's `match`.
        text: String,
    },
}

/// A crontab on a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The login's own, edited by `crontab`.
    User,
    /// `/etc/cron.d/NAME`, NAME beginning with `factory-`; only where the login is root.
    System(String),
}

impl Table {
    /// As the guard is told of it, and as people read it: `user`, or the path.
    pub fn word(&self) -> String {
        match self {
            Table::User => "user".to_owned(),
            Table::System(name) => format!("/etc/cron.d/{name}"),
        }
    }
}

/// A crontab to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronWrite {
    /// Which.
    pub table: Table,
    /// The SHA-256, in hexadecimal digits, of what is there now; `-` where there is none. Anything else there: nothing is
    /// done, [`Word::Conflict`].
    pub before: String,
    /// What is to be there; empty removes the table.
    pub content: Vec<u8>,
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
    /// The runs, after [`Op::Seal`]; the one that it is about, after [`Op::Launch`], [`Op::Cancel`] and [`Op::Stop`].
    pub runs: Vec<Run>,
    /// The crontabs with their bytes, after [`Op::CronRead`]: also after [`Word::Conflict`], what is there now.
    pub tables: Vec<(Table, Vec<u8>)>,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// 0: done, now or before.
    Done,
    /// 0: done on a full disk, where only the empty file could be made and the fence not be raised.
    Degraded,
    /// 0: a run was told to end, and is killed if it does not.
    Stopping,
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
    /// 73: the token's slot is taken: launched, cancelled or both before; the run's state says which.
    Exists,
    /// 74: the run was started and has not shown itself within [`crate::inventory::settings::Guard::started`]: ask again.
    Unsure,
    /// 75: another call holds the lock.
    Busy,
    /// 75: another call holds the lock for long and could not be ended.
    Stuck,
    /// 76: the agent is held there.
    Held,
    /// 77: a higher epoch, or another holder of the same, was here.
    Fenced,
    /// 78: the host belongs to another fleet; `host adopt`.
    Foreign,
    /// 79: the token is too old to be launched.
    Stale,
    /// 80: the crontab is another than the one that was read.
    Conflict,
}

impl Word {
    /// All words.
    pub const ALL: [Word; 17] = [
        Word::Done,
        Word::Degraded,
        Word::Stopping,
        Word::Usage,
        Word::Payload,
        Word::Unfit,
        Word::Corrupt,
        Word::Failed,
        Word::Exists,
        Word::Unsure,
        Word::Busy,
        Word::Stuck,
        Word::Held,
        Word::Fenced,
        Word::Foreign,
        Word::Stale,
        Word::Conflict,
    ];

    /// The word as the guard says it.
    pub fn name(self) -> &'static str {
        match self {
            Word::Done => "done",
            Word::Degraded => "degraded",
            Word::Stopping => "stopping",
            Word::Usage => "usage",
            Word::Payload => "payload",
            Word::Unfit => "unfit",
            Word::Corrupt => "corrupt",
            Word::Failed => "failed",
            Word::Exists => "exists",
            Word::Unsure => "unsure",
            Word::Busy => "busy",
            Word::Stuck => "stuck",
            Word::Held => "held",
            Word::Fenced => "fenced",
            Word::Foreign => "foreign",
            Word::Stale => "stale",
            Word::Conflict => "conflict",
        }
    }

    /// The exit status that comes with it.
    pub fn status(self) -> i32 {
        match self {
            Word::Done | Word::Degraded | Word::Stopping => 0,
            Word::Usage => 64,
            Word::Payload => 65,
            Word::Unfit => 69,
            Word::Corrupt => 70,
            Word::Failed => 71,
            Word::Exists => 73,
            Word::Unsure => 74,
            Word::Busy | Word::Stuck => 75,
            Word::Held => 76,
            Word::Fenced => 77,
            Word::Foreign => 78,
            Word::Stale => 79,
            Word::Conflict => 80,
        }
    }
}
