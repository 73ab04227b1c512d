//! The ledger of one machine: `ledger.db` in the state directory, one row in one table.
//!
//! A rollback journal and not a write-ahead log: that one needs space and a second and third file even to read, so on
//! a full or read-only disk nobody could see what is held. Each read and each swap opens the file anew, so a copy put
//! in its place counts at once, and nobody writes to a file that was moved away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use rustix::io::Errno;

use super::{Answer, Problem, Revision, Store, Stored, Swapped};

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// The version of the table, as the file's `user_version` has it.
const TABLE: i64 = 1;

/// A ledger in a file of SQLite's.
#[derive(Clone, Debug)]
pub struct Sqlite {
    state: PathBuf,
    path: PathBuf,
}

impl Sqlite {
    /// The ledger in the state directory `state`; looks at nothing yet.
    pub fn new(state: &Path) -> Sqlite {
        Sqlite { state: state.to_path_buf(), path: state.join("ledger.db") }
    }

    /// Whether there is one.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn exists(&self) -> Result<bool, Problem> {
        // A link that leads nowhere is no absence: whoever made it meant something.
        match self.path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(disk(&error)),
        }
    }

    /// Opens the file; `None` when there is none.
    fn open(&self) -> Result<Option<Connection>, Problem> {
        // Looked for before it is opened: what was not there then and is there afterwards was made in between, and to
        // open it failed for no fault of its own.
        if !self.exists()? {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        match Connection::open_with_flags(&self.path, flags) {
            Ok(db) => {
                self.set_up(&db)?;
                Ok(Some(db))
            }
            Err(_) if !self.exists()? => Ok(None),
            Err(error) => Err(self.problem(&error)),
        }
    }

    fn set_up(&self, db: &Connection) -> Result<(), Problem> {
        // EXTRA: a commit is the end of the journal file, so the directory must be on the disk too before it counts.
        let set = || db.busy_timeout(BUSY).and_then(|()| db.pragma_update(None, "synchronous", "extra"));
        set().map_err(|error| self.problem(&error))
    }

    fn read_now(&self) -> Result<Option<Stored>, Problem> {
        let Some(db) = self.open()? else { return Ok(None) };
        self.row(&db).map(Some)
    }

    /// The one row of a file that is there: without it the file is damaged, since it is made together with it.
    fn row(&self, db: &Connection) -> Result<Stored, Problem> {
        let version: i64 =
            db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|error| self.problem(&error))?;
        match version {
            TABLE => {}
            0 => return Err(Problem::Corrupt("it holds no ledger".to_owned())),
            newer => return Err(Problem::Newer(u64::try_from(newer).unwrap_or(0))),
        }
        let sql = "SELECT sha256, document FROM ledger WHERE only = 1";
        let read = db
            .query_row(sql, [], |row| Ok((row.get_ref(0)?.as_bytes()?.to_vec(), row.get_ref(1)?.as_bytes()?.to_vec())));
        let (sum, document) = read.map_err(|error| self.problem(&error))?;
        let revision = checksum(&document);
        if sum != revision.as_bytes() {
            return Err(Problem::Corrupt("its checksum does not fit its document".to_owned()));
        }
        Ok(Stored { revision: Revision::new(revision), document })
    }

    fn swap_now(&self, expected: Option<&Revision>, document: &str) -> Result<Swapped, Problem> {
        match (self.open()?, expected) {
            (Some(db), expected) => self.replace(db, expected, document),
            (None, None) => self.create(document),
            (None, Some(_)) => Ok(Swapped::Conflict),
        }
    }

    fn replace(&self, mut db: Connection, expected: Option<&Revision>, document: &str) -> Result<Swapped, Problem> {
        let sql = |error: rusqlite::Error| self.problem(&error);
        // Immediate: from here to the commit nobody else writes. What returns early writes nothing.
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        if expected != Some(&self.row(&tx)?.revision) {
            return Ok(Swapped::Conflict);
        }
        // The document may be whole in a file that is not; writing would damage it further.
        let check: String = tx.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sql)?;
        if check != "ok" {
            return Err(Problem::Corrupt(check));
        }
        let sum = checksum(document.as_bytes());
        tx.execute("UPDATE ledger SET sha256 = ?1, document = ?2 WHERE only = 1", params![sum, document])
            .map_err(sql)?;
        tx.commit().map_err(|error| match self.problem(&error) {
            // SQLite undoes these itself before it answers; after anything else only a look can tell.
            certain @ (Problem::Full | Problem::Busy) => certain,
            other => Problem::Unknown(other.to_string()),
        })?;
        Ok(Swapped::Done(Revision::new(sum)))
    }

    /// Makes the file with its first document in it, whole under its name or not at all.
    fn create(&self, document: &str) -> Result<Swapped, Problem> {
        let dir = File::open(&self.state).map_err(|error| disk(&error))?;
        lock(&dir)?;
        if self.exists()? {
            return Ok(Swapped::Conflict);
        }
        // Of somebody who was killed here; and the journal of a file that was moved away belongs to no new one.
        let draft = self.path.with_extension("db.new");
        let sweep = || remove(&draft).and_then(|()| remove(&self.path.with_extension("db.new-journal")));
        sweep()?;
        remove(&self.path.with_extension("db-journal"))?;
        let made = self.draft(&draft, document).and_then(|sum| {
            match renameat_with(CWD, &draft, CWD, &self.path, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(Swapped::Done(Revision::new(sum))),
                Err(Errno::EXIST) => Ok(Swapped::Conflict),
                Err(error) => Err(disk(&error.into())),
            }
        });
        if !matches!(made, Ok(Swapped::Done(_))) {
            // Best effort: the next one who gets here sweeps too.
            let _ = sweep();
            return made;
        }
        dir.sync_all().map_err(|error| Problem::Unknown(error.to_string()))?;
        made
    }

    /// Writes a whole ledger under another name; gives its checksum.
    fn draft(&self, draft: &Path, document: &str) -> Result<String, Problem> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft).map_err(|error| disk(&error))?;
        let sum = checksum(document.as_bytes());
        let write = || -> rusqlite::Result<()> {
            let db = Connection::open_with_flags(draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            db.pragma_update(None, "synchronous", "extra")?;
            db.execute_batch(&format!(
                "BEGIN;
                 CREATE TABLE ledger (only INTEGER PRIMARY KEY CHECK (only = 1), sha256 TEXT NOT NULL, document TEXT NOT NULL);
                 PRAGMA user_version = {TABLE};"
            ))?;
            db.execute("INSERT INTO ledger VALUES (1, ?1, ?2)", params![sum, document])?;
            db.execute_batch("COMMIT")?;
            db.close().map_err(|(_, error)| error)
        };
        write().map_err(|error| self.problem(&error))?;
        Ok(sum)
    }

    fn problem(&self, error: &rusqlite::Error) -> Problem {
        match error.sqlite_error_code() {
            // The file ends in the middle of a page.
            _ if error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHORT_READ) => {
                Problem::Corrupt("it is cut off".to_owned())
            }
            Some(ErrorCode::DiskFull) => Problem::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Problem::Busy,
            Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) if !self.has_room() => Problem::Full,
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed,
            ) => Problem::Unavailable(error.to_string()),
            // What is left is what only a file that is not as we made it can cause: no such table, a wrong type.
            _ => Problem::Corrupt(error.to_string()),
        }
    }

    /// Whether the disk has a block and an inode left: SQLite does not say why it could not make its journal.
    fn has_room(&self) -> bool {
        statvfs(&self.state).map_or(true, |disk| disk.f_bavail > 0 && (disk.f_favail > 0 || disk.f_files == 0))
    }
}

impl Store for Sqlite {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> Answer<'_, Option<Stored>> {
        let store = self.clone();
        Box::pin(async move {
            // Aside: a disk that hangs or a writer to wait for must not stand in the way of connections.
            let work = tokio::task::spawn_blocking(move || store.read_now());
            work.await.map_err(|error| Problem::Unavailable(error.to_string()))?
        })
    }

    fn swap<'a>(&'a self, expected: Option<&'a Revision>, document: &'a str) -> Answer<'a, Swapped> {
        let (store, expected, document) = (self.clone(), expected.cloned(), document.to_owned());
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || store.swap_now(expected.as_ref(), &document));
            work.await.map_err(|error| Problem::Unknown(error.to_string()))?
        })
    }
}

/// Locks the directory, so that only one process at a time makes the file. The kernel frees it with its holder.
fn lock(dir: &File) -> Result<(), Problem> {
    let began = Instant::now();
    loop {
        match dir.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if began.elapsed() < BUSY => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::WouldBlock) => return Err(Problem::Busy),
            Err(TryLockError::Error(error)) => return Err(disk(&error)),
        }
    }
}

fn remove(path: &Path) -> Result<(), Problem> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(&error)),
        _ => Ok(()),
    }
}

fn disk(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::Full,
        _ => Problem::Unavailable(error.to_string()),
    }
}

/// SHA-256 as 64 hexadecimal digits: it tells damage, and since no two documents have the same nonce it is the
/// revision too.
fn checksum(document: &[u8]) -> String {
    digest(&SHA256, document).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
