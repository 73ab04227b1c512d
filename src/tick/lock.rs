//! The local lock: one tick at a time on one state directory. It is an `flock`, so the kernel frees it with its holder
//! and a stale lock cannot exist; a holder that is stopped, or hangs past all bounds, is killed for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, geteuid, kill_process, pidfd_open, pidfd_send_signal};

use super::process::{self, Child, since_boot};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::units::Span;
use crate::journal::Event;

/// How long a killed holder may take to go: one that hangs in the kernel, on a dead disk say, does not.
const GONE: Duration = Duration::from_secs(5);
/// How long it may take until whoever has just got the lock has written who it is.
const NAMED: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);

/// The held lock; dropping it frees it.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// When progress was last noted, in seconds since boot.
    noted: AtomicU64,
}

/// Who holds a lock, as it wrote into the file: `pid starttime progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// When that process began, in clock ticks since boot (field 22 of /proc/PID/stat), so that a reused pid is known.
    pub starttime: u64,
    /// When it last made progress, in seconds since boot.
    pub progress: u64,
}

/// A tick that had the lock before and did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It was killed for its lock.
    Stuck {
        /// Its process.
        pid: u32,
        /// How long it had made no progress.
        idle: Duration,
    },
    /// Something else ended it.
    Cut {
        /// Its process.
        pid: u32,
        /// When it last made progress, by the clock of the file system.
        last: Option<Timestamp>,
    },
}

impl Unfinished {
    /// The same for the record.
    pub fn event(&self) -> Event {
        let (what, message) = match self {
            Unfinished::Stuck { pid, idle } => (
                "takeover",
                format!("the tick of process {pid} had made no progress for {}: it was killed", Span(*idle)),
            ),
            Unfinished::Cut { pid, last } => {
                let last =
                    last.map(|last| format!(" after {}", last.strftime("%Y-%m-%d %H:%M:%SZ"))).unwrap_or_default();
                let why = "killed, or aborted at its deadline, or the machine went down";
                ("cut", format!("the tick of process {pid} was cut short{last}: {why}"))
            }
        };
        Event { at: Timestamp::now(), host: None, what: what.to_owned(), severity: 2, message }
    }
}

impl Lock {
    /// Takes the lock in the directory `state`, and tells of the tick that had it before and did not come to its end. A
    /// holder that has made no progress for `stuck` is killed, as long as there is no doubt that it is the holder.
    ///
    /// # Errors
    /// Exit 5 when another process has it and keeps it, exit 1 when the file cannot be opened.
    pub fn take(state: &Path, stuck: Duration) -> Result<(Lock, Option<Unfinished>)> {
        let path = state.join("lock");
        let cannot = |error| {
            Error::failed(format!("cannot open the lock {}", path.display()))
                .because(error)
                .help("this user must be able to write the state directory; `--state DIR` uses another one")
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(cannot)?;
        let (mut found, mut killed) = (None, None);
        let mut until = Instant::now() + NAMED;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock::begin(file, found)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
            }
            let error = match (read(&mut file), killed) {
                (Some(holder), Some((victim, idle))) if holder == victim => immortal(holder.pid, idle),
                // Another tick was quicker.
                (Some(holder), Some(_)) => return Err(busy(&holder)),
                (Some(holder), None) => match judge(&holder, since_boot(), stuck, &Seen::look(holder.pid, &file)) {
                    Judged::Working => return Err(busy(&holder)),
                    Judged::Stuck(idle) => {
                        found = Some((holder, idle));
                        if kill(&holder, idle, &mut file)? {
                            killed = found;
                            until = Instant::now() + GONE;
                        }
                        immortal(holder.pid, idle)
                    }
                    Judged::Doubtful(why) => doubtful(&path, &holder, why),
                },
                (None, _) => nameless(&path),
            };
            if Instant::now() >= until {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The lock is ours: who had it before, and left its name in it? Perhaps whom we `found` stuck; then it was killed, by
    /// us or by another tick that also did.
    fn begin(mut file: File, found: Option<(Holder, Duration)>) -> (Lock, Option<Unfinished>) {
        let last = file.metadata().and_then(|file| file.modified()).ok().and_then(|at| Timestamp::try_from(at).ok());
        let unfinished = read(&mut file).map(|left| match found {
            Some((holder, idle)) if holder == left => Unfinished::Stuck { pid: left.pid, idle },
            _ => Unfinished::Cut { pid: left.pid, last },
        });
        let lock = Lock { file, noted: AtomicU64::new(0) };
        lock.progress();
        (lock, unfinished)
    }

    /// Notes that the holder is alive and getting on, at most once a second. Best effort: on a full disk the lock still
    /// holds.
    pub fn progress(&self) {
        let now = since_boot().as_secs();
        if self.noted.swap(now, Ordering::Relaxed) == now {
            return;
        }
        let pid = std::process::id();
        let starttime = process::stat(pid).map_or(0, |stat| stat.starttime);
        let line = format!("{pid} {starttime} {now}\n");
        // In one write, so that no reader sees half of it; what is left of a longer line comes after its end.
        let _ = self.file.write_all_at(line.as_bytes(), 0).and_then(|()| self.file.set_len(line.len() as u64));
    }
}

impl Drop for Lock {
    /// A name that is left in the file is that of a tick that did not get here.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

/// Who runs a tick with the state directory `state` now, if anybody does. Takes nothing, not even for a moment: a tick
/// that begins just then would find the lock taken.
pub fn holder(state: &Path) -> Option<Holder> {
    let mut file = File::open(state.join("lock")).ok()?;
    let holder = read(&mut file)?;
    let seen = Seen::look(holder.pid, &file);
    (seen.starttime == Some(holder.starttime) && seen.holds).then_some(holder)
}

/// What /proc says of the process that is named in a lock.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When it began; absent when it is gone.
    starttime: Option<u64>,
    /// Whether it is this user's.
    ours: bool,
    /// Whether it has the lock.
    holds: bool,
    /// Whether it is this very process.
    itself: bool,
}

impl Seen {
    fn look(pid: u32, lock: &File) -> Seen {
        Seen {
            starttime: process::stat(pid).map(|stat| stat.starttime),
            ours: process::owner(pid) == Some(geteuid().as_raw()),
            holds: lock.metadata().is_ok_and(|lock| process::holds(pid, &lock)),
            itself: pid == std::process::id(),
        }
    }
}

/// What is to be done about a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// It gets on.
    Working,
    /// It has not got on for so long and may be killed.
    Stuck(Duration),
    /// It must be left alone, for this reason.
    Doubtful(&'static str),
}

/// Judges `holder`, which was read from a lock that is held, at `now` since boot. Only what is certain is killed.
fn judge(holder: &Holder, now: Duration, stuck: Duration, seen: &Seen) -> Judged {
    let Some(idle) = now.as_secs().checked_sub(holder.progress).map(Duration::from_secs) else {
        return Judged::Doubtful("its progress lies in the future");
    };
    if seen.starttime != Some(holder.starttime) {
        return Judged::Doubtful("there is no such process any more");
    }
    match seen {
        _ if idle < stuck => Judged::Working,
        Seen { itself: true, .. } => Judged::Working,
        Seen { ours: false, .. } => Judged::Doubtful("that process is another user's"),
        Seen { holds: false, .. } => Judged::Doubtful("that process does not hold it"),
        _ => Judged::Stuck(idle),
    }
}

/// Kills `holder`, also when it is stopped, and what it was running on this machine. False when it went by itself or got
/// on in the meantime.
fn kill(holder: &Holder, idle: Duration, lock: &mut File) -> Result<bool> {
    let Some(pid) = process::number(holder.pid) else { return Ok(false) };
    let started = Child::of(holder.pid);
    let target = match pidfd_open(pid, PidfdFlags::empty()) {
        // Linux before 5.3 has only the number.
        Err(Errno::NOSYS) => Ok(None),
        target => target.map(Some),
    };
    // The descriptor names the process that is there now, whatever becomes of its number. Is it still the holder?
    let seen = Seen::look(holder.pid, lock);
    if seen.starttime != Some(holder.starttime) || !seen.holds || read(lock) != Some(*holder) {
        return Ok(false);
    }
    let killed = target.and_then(|target| match target {
        Some(target) => pidfd_send_signal(target, Signal::KILL),
        None => kill_process(pid, Signal::KILL),
    });
    match killed {
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(stands_still(holder.pid, idle, "cannot be killed")
            .because(error)
            .help(format!("`kill -9 {pid}` as a user who may, then run this again", pid = holder.pid))),
        Ok(()) => {
            started.iter().filter(|child| child.is_there()).for_each(Child::kill);
            Ok(true)
        }
    }
}

fn busy(holder: &Holder) -> Error {
    Error::new(Exit::Locked, format!("process {} is running a tick with this state directory", holder.pid))
        .help("wait for it, or look at it with `factory status`")
}

fn stands_still(pid: u32, idle: Duration, but: &str) -> Error {
    let message = format!("process {pid} holds the lock of this state directory without progress for {}", Span(idle));
    Error::new(Exit::Locked, format!("{message}, and {but}"))
}

fn immortal(pid: u32, idle: Duration) -> Error {
    stands_still(pid, idle, "killing it does not end it").help(format!(
        "it hangs in the kernel, on a dead disk or network mount say: `cat /proc/{pid}/stack` tells where"
    ))
}

fn doubtful(path: &Path, holder: &Holder, why: &str) -> Error {
    let message = format!("the lock {} is held, and it names process {}, but {why}", path.display(), holder.pid);
    Error::new(Exit::Locked, message).help(by_hand(path))
}

fn nameless(path: &Path) -> Error {
    let message = format!("another process holds the lock {} and has not written which it is", path.display());
    Error::new(Exit::Locked, message).help(by_hand(path))
}

fn by_hand(path: &Path) -> String {
    format!("`fuser -v {}` shows who has it: end that process if it should not be there", path.display())
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(100).read_to_string(&mut text).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let pid = fields.next()?.parse().ok()?;
    Some(Holder { pid, starttime: fields.next()?.parse().ok()?, progress: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STUCK: Duration = Duration::from_secs(900);

    fn take(state: &Path) -> Result<Lock> {
        Lock::take(state, STUCK).map(|(lock, _)| lock)
    }

    #[test]
    fn one_holder_at_a_time_and_the_second_learns_who() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(holder(state.path()), None);
        let lock = take(state.path()).unwrap();
        let error = take(state.path()).unwrap_err();
        assert_eq!(error.exit(), Exit::Locked);
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        let who = holder(state.path()).unwrap();
        assert_eq!(who.pid, std::process::id());
        assert!(who.starttime > 0 && who.progress > 0);
        drop(lock);
        assert_eq!(holder(state.path()), None);
        assert_eq!(Lock::take(state.path(), STUCK).unwrap().1, None, "it had come to its end");
    }

    #[test]
    fn who_did_not_come_to_its_end_is_told_of_once() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("lock"), "42 7000 1000\n").unwrap();
        let (lock, left) = Lock::take(state.path(), STUCK).unwrap();
        assert!(matches!(left, Some(Unfinished::Cut { pid: 42, last: Some(_) })), "{left:?}");
        let event = left.unwrap().event();
        assert!(event.message.starts_with("the tick of process 42 was cut short after 2"), "{}", event.message);
        drop(lock);
        assert_eq!(Lock::take(state.path(), STUCK).unwrap().1, None);
    }

    #[test]
    fn rubbish_in_the_file_harms_nobody() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("lock");
        std::fs::write(&path, b"\xff\xfe not a pid, and longer than any line that a holder writes into it").unwrap();
        let lock = take(state.path()).unwrap();
        assert_eq!(holder(state.path()).unwrap().pid, std::process::id());
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        std::fs::write(&path, "").unwrap();
        let error = take(state.path()).unwrap_err();
        assert_eq!(error.exit(), Exit::Locked);
        assert!(error.to_string().contains("has not written which it is"), "{error}");
        drop(lock);
    }

    const HOLDER: Holder = Holder { pid: 42, starttime: 7000, progress: 1000 };
    const SURE: Seen = Seen { starttime: Some(7000), ours: true, holds: true, itself: false };

    fn at(seconds: u64, seen: Seen) -> Judged {
        judge(&HOLDER, Duration::from_secs(seconds), STUCK, &seen)
    }

    #[test]
    fn only_who_has_not_got_on_for_so_long_is_stuck() {
        assert_eq!(at(1000, SURE), Judged::Working);
        assert_eq!(at(1899, SURE), Judged::Working);
        assert_eq!(at(1900, SURE), Judged::Stuck(STUCK));
        assert!(matches!(at(999, SURE), Judged::Doubtful(why) if why.contains("future")));
    }

    proptest! {
        #[test]
        fn nobody_is_killed_in_doubt(
            now in 0..4000u64,
            starttime in prop_oneof![Just(None), Just(Some(7000)), Just(Some(7001))],
            ours: bool,
            holds: bool,
            itself: bool,
        ) {
            let sure = starttime == Some(7000) && ours && holds && !itself;
            let stuck = at(now, Seen { starttime, ours, holds, itself });
            prop_assert_eq!(matches!(stuck, Judged::Stuck(_)), sure && now >= 1900);
        }
    }
}
