//! The journal's tables and how an older file becomes a newer one.

use rusqlite::{Connection, ErrorCode};

/// What each version adds to the one before; the file's `user_version` says how many were done.
const STEPS: [&str; 1] = ["
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
"];

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
        db.execute_batch(&format!("BEGIN IMMEDIATE; {step} PRAGMA user_version = {}; COMMIT;", index + 1))?;
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
