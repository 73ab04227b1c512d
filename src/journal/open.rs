//! How the file is opened: by several at once, while it is made, and when it is damaged.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::schema::{self, Problem};
use super::{Journal, cannot};
use crate::error::{Error, Result};

/// How long a writer waits for another one, and a reader for a checkpoint.
const BUSY: Duration = Duration::from_secs(5);

/// How long between two tries of what SQLite does not wait for itself.
const PAUSE: Duration = Duration::from_millis(10);

/// How many damaged journals of one second are told apart.
const ASIDE: u32 = 100;

/// See [`Journal::open`].
pub(super) fn to_write(state: &Path) -> Result<(Journal, Option<PathBuf>)> {
    let path = state.join("journal.db");
    let cannot_open = |error| cannot("open", &path, error);
    let opened = {
        // Shared: nobody moves the file and its log aside between the opening of the one and of the other.
        let _lock = lock(state, File::try_lock_shared)?;
        patiently(|| open(&path))
    };
    if !opened.as_ref().is_err_and(is_damaged) {
        return Ok((opened.map_err(cannot_open)?, None));
    }
    let _lock = lock(state, File::try_lock)?;
    match patiently(|| open(&path)) {
        Err(error) if is_damaged(&error) => {
            let aside = set_aside(&path, Timestamp::now())?;
            Ok((patiently(|| open(&path)).map_err(cannot_open)?, Some(aside)))
        }
        // Somebody else has moved the damaged one aside meanwhile.
        opened => Ok((opened.map_err(cannot_open)?, None)),
    }
}

fn open(path: &Path) -> Result<Journal, Problem> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)?;
    schema::migrate(&db)?;
    Ok(Journal { db, path: path.to_path_buf() })
}

/// See [`Journal::open_to_read`].
pub(super) fn to_read(state: &Path) -> Result<Option<Journal>> {
    let path = state.join("journal.db");
    if !path.exists() {
        return Ok(None);
    }
    // A reader of a write-ahead log must be able to make the shared index, so it opens for writing and promises not to.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |alone: bool| -> Result<Option<Journal>, Problem> {
        let db = Connection::open_with_flags(&path, flags)?;
        db.busy_timeout(BUSY)?;
        if alone {
            db.pragma_update(None, "locking_mode", "exclusive")?;
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        db.pragma_update(None, "query_only", true)?;
        // Without a single step there are no tables: it is being made, or whoever made it died.
        let begun = schema::check(&db)? > 0;
        Ok(begun.then(|| Journal { db, path: path.clone() }))
    };
    let opened = patiently(|| open(false)).or_else(|error| match is_unwritable(&error) {
        // No room even for the index: whoever is alone with the file keeps it in memory.
        true => patiently(|| open(true)).map_err(|_| error),
        false => Err(error),
    });
    opened.map_err(|error| cannot("read", &path, error))
}

/// Tries `open` until nobody is in its way: SQLite does not wait where a file becomes one with a write-ahead log.
fn patiently<T>(open: impl Fn() -> Result<T, Problem>) -> Result<T, Problem> {
    let began = Instant::now();
    loop {
        match open() {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY => std::thread::sleep(PAUSE),
            opened => return opened,
        }
    }
}

fn is_busy(problem: &Problem) -> bool {
    let busy = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked, ErrorCode::FileLockingProtocolFailed];
    problem.code().is_some_and(|code| busy.contains(&code))
}

fn is_unwritable(problem: &Problem) -> bool {
    let unwritable = [ErrorCode::DiskFull, ErrorCode::SystemIoFailure, ErrorCode::CannotOpen];
    problem.code().is_some_and(|code| unwritable.contains(&code))
}

fn is_damaged(problem: &Problem) -> bool {
    matches!(problem.code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Locks the state directory, as who makes a ledger does too. The kernel frees it with its holder.
fn lock(state: &Path, how: impl Fn(&File) -> Result<(), TryLockError>) -> Result<File> {
    let began = Instant::now();
    let cannot = || Error::failed(format!("cannot lock the state directory {}", state.display()));
    let help = "this user must be able to read and write it; `--state DIR` uses another one";
    let dir = File::open(state).map_err(|error| cannot().because(error).help(help))?;
    loop {
        match how(&dir) {
            Ok(()) => return Ok(dir),
            Err(TryLockError::WouldBlock) if began.elapsed() < BUSY => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(cannot().help("another process holds it; try again")),
            Err(TryLockError::Error(error)) => return Err(cannot().because(error).help(help)),
        }
    }
}

/// Moves a damaged journal and its log out of the way, over nothing that is there, and says where to.
fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf> {
    let second = now.as_second();
    let names = (0..ASIDE).map(|nth| match nth {
        0 => path.with_extension(format!("damaged-{second}.db")),
        nth => path.with_extension(format!("damaged-{second}-{nth}.db")),
    });
    for aside in names {
        match renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE) {
            Ok(()) => {
                for log in ["db-wal", "db-shm"] {
                    // Kept beside it for whoever wants to repair it; often they are not there.
                    let _ = std::fs::rename(path.with_extension(log), aside.with_extension(log));
                }
                return Ok(aside);
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(cannot_move(path).because(error)),
        }
    }
    Err(cannot_move(path).help("too many lie there already: move them away"))
}

fn cannot_move(path: &Path) -> Error {
    Error::failed(format!("cannot move the damaged {} aside", path.display()))
}
