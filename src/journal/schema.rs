//! The journal's tables and how an older file becomes a newer one.

use rusqlite::{Connection, ErrorCode};

/// What each version adds to the one before; the file's `user_version` says how many were done.
const STEPS: [&str; 3] = [
    "
    CREATE TABLE tick (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, seconds REAL NOT NULL, by TEXT NOT NULL, inventory TEXT NOT NULL,
        hosts INTEGER NOT NULL, missed INTEGER NOT NULL, pid INTEGER NOT NULL, rss INTEGER NOT NULL, cpu_s REAL NOT NULL);
    CREATE TABLE host (
        host TEXT PRIMARY KEY, at INTEGER NOT NULL, seen INTEGER, latches TEXT NOT NULL, severities TEXT NOT NULL,
        verdict TEXT NOT NULL, level INTEGER NOT NULL, since INTEGER NOT NULL, sample TEXT NOT NULL);
    CREATE TABLE sample (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, host TEXT NOT NULL, json TEXT NOT NULL);
    CREATE INDEX sample_at ON sample (at);
    CREATE TABLE event (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, host TEXT, what TEXT NOT NULL, severity INTEGER NOT NULL,
        message TEXT NOT NULL);
    CREATE INDEX event_at ON event (at);
    CREATE TABLE refusal (host TEXT PRIMARY KEY, login TEXT NOT NULL, times INTEGER NOT NULL, until INTEGER NOT NULL);
",
    // Logs by run and stream, or by no token and path and generation; `next` is how far they have been fetched. Their
    // bytes lie in chunks, as they came; `log_total` sums these up.
    "
    CREATE TABLE log (
        id INTEGER PRIMARY KEY, host TEXT NOT NULL, token TEXT NOT NULL, stream TEXT NOT NULL, generation INTEGER NOT NULL,
        agent TEXT, repo TEXT, next INTEGER NOT NULL, inode INTEGER, head TEXT, until INTEGER, done INTEGER NOT NULL,
        gone INTEGER NOT NULL, at INTEGER NOT NULL, UNIQUE (host, token, stream, generation));
    CREATE TABLE log_chunk (
        id INTEGER PRIMARY KEY, log INTEGER NOT NULL REFERENCES log (id) ON DELETE CASCADE, offset INTEGER NOT NULL,
        at INTEGER NOT NULL, bytes BLOB NOT NULL, UNIQUE (log, offset));
    CREATE INDEX log_chunk_at ON log_chunk (at);
    CREATE TABLE log_total (bytes INTEGER NOT NULL);
    INSERT INTO log_total VALUES (0);
    CREATE TRIGGER log_chunk_in AFTER INSERT ON log_chunk
        BEGIN UPDATE log_total SET bytes = bytes + length(new.bytes); END;
    CREATE TRIGGER log_chunk_out AFTER DELETE ON log_chunk
        BEGIN UPDATE log_total SET bytes = bytes - length(old.bytes); END;
",
    "
    CREATE TABLE repo (repo TEXT PRIMARY KEY, at INTEGER NOT NULL, book TEXT NOT NULL);
",
];

/// The version from which on there are logs.
pub(super) const WITH_LOGS: usize = 2;

/// The version from which on there are repos.
pub(super) const WITH_REPOS: usize = 3;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// SQLite refused.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// A newer version of this program has been here.
    #[error("written by a newer factory: its tables are version {0}, this one knows {known}", known = STEPS.len())]
    Newer(usize),
}

impl Problem {
    /// SQLite's own code, where it was SQLite.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            Problem::Sql(error) => error.sqlite_error_code(),
            Problem::Newer(_) => None,
        }
    }
}

/// Brings the file to this version.
///
/// # Errors
/// When it was written by a newer version, or cannot be written.
pub(super) fn migrate(db: &Connection) -> Result<(), Problem> {
    let done = check(db)?;
    for (index, step) in STEPS.iter().enumerate().skip(done) {
        // One transaction a step: a crash in between leaves the older or the newer file.
        let tx = rusqlite::Transaction::new_unchecked(db, rusqlite::TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        if check(&tx)? == index {
            tx.execute_batch(&format!("{step} PRAGMA user_version = {};", index + 1))?;
        }
        tx.commit()?;
    }
    Ok(())
}

/// How many steps were done to the file.
///
/// # Errors
/// When it was written by a newer version.
pub(super) fn check(db: &Connection) -> Result<usize, Problem> {
    let version = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > STEPS.len() { Err(Problem::Newer(version)) } else { Ok(version) }
}
