//! The local lock: one tick at a time on one state directory. It is an `flock`, so the kernel frees it with its holder
//! and a stale lock cannot exist.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::exit::Exit;

/// The held lock; dropping it frees it.
#[derive(Debug)]
pub struct Lock {
    file: File,
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

/// What trying gave.
#[derive(Debug)]
pub enum Tried {
    /// It is ours.
    Held(Lock),
    /// Another process has it.
    Busy(Option<Holder>),
}

impl Lock {
    /// Takes the lock in the directory `state` or says at once who has it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn try_take(state: &Path) -> Result<Tried> {
        let path = state.join("lock");
        let cannot = |error| {
            Error::failed(format!("cannot open the lock {}", path.display()))
                .because(error)
                .help("this user must be able to write the state directory; `--state DIR` uses another one")
        };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut file = options.open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Tried::Busy(read(&mut file))),
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        let mut lock = Lock { file };
        lock.progress();
        Ok(Tried::Held(lock))
    }

    /// Takes the lock in `state`.
    ///
    /// # Errors
    /// Exit 5 when another process has it.
    pub fn take(state: &Path) -> Result<Lock> {
        match Lock::try_take(state)? {
            Tried::Held(lock) => Ok(lock),
            Tried::Busy(holder) => {
                let who = holder.map_or("another process".to_owned(), |holder| format!("process {}", holder.pid));
                Err(Error::new(Exit::Locked, format!("{who} is running a tick with this state directory"))
                    .help("wait for it, or look at it with `factory status`"))
            }
        }
    }

    /// Notes that the holder is alive and getting on. Best effort: on a full disk the lock still holds.
    pub fn progress(&mut self) {
        let pid = std::process::id();
        let line = format!("{pid} {} {}\n", starttime(pid).unwrap_or(0), boot_seconds());
        let _ = self.file.rewind().and_then(|()| self.file.write_all(line.as_bytes()));
        let _ = self.file.set_len(line.len() as u64);
    }
}

/// Who runs a tick with the state directory `state` now, if anybody does. Takes nothing.
pub fn holder(state: &Path) -> Option<Holder> {
    let mut file = File::open(state.join("lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read(&mut file),
        _ => None,
    }
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(100).read_to_string(&mut text).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let pid = fields.next()?.parse().ok()?;
    Some(Holder { pid, starttime: fields.next()?.parse().ok()?, progress: fields.next()?.parse().ok()? })
}

/// When process `pid` began, in clock ticks since boot; absent when it is gone or there is no /proc.
fn starttime(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets and may itself hold spaces and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Seconds since boot, suspended time included.
fn boot_seconds() -> u64 {
    u64::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_the_second_learns_who() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(holder(state.path()), None);
        let lock = Lock::take(state.path()).unwrap();
        let error = Lock::take(state.path()).unwrap_err();
        assert_eq!(error.exit(), Exit::Locked);
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        let who = holder(state.path()).unwrap();
        assert_eq!(who.pid, std::process::id());
        assert!(who.starttime > 0 && who.progress > 0);
        drop(lock);
        assert_eq!(holder(state.path()), None);
        assert!(Lock::take(state.path()).is_ok());
    }

    #[test]
    fn rubbish_in_the_file_harms_nobody() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("lock"), b"\xff\xfe not a pid").unwrap();
        let lock = Lock::take(state.path()).unwrap();
        assert_eq!(holder(state.path()).unwrap().pid, std::process::id());
        drop(lock);
    }
}
