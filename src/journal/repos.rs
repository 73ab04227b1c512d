//! What is known of each repo, from look to look.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Event, Journal, cannot, insert_events, micros, schema, timestamp};
use crate::error::Result;

/// What is known of a repo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoRecord {
    /// Its name in the inventory.
    pub repo: String,
    /// When it was last asked about.
    pub at: Timestamp,
    /// What is known of it, as `tick` wrote it: JSON.
    pub book: String,
}

impl Journal {
    /// What is known of every repo that was ever asked about, by name.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn repos(&self) -> Result<Vec<RepoRecord>> {
        let read = || -> std::result::Result<Vec<RepoRecord>, schema::Problem> {
            // A reader makes no tables.
            if schema::check(&self.db)? < schema::WITH_REPOS {
                return Ok(Vec::new());
            }
            let mut statement = self.db.prepare("SELECT repo, at, book FROM repo ORDER BY repo")?;
            let rows = statement.query_map([], |row| {
                Ok(RepoRecord { repo: row.get(0)?, at: timestamp(row.get(1)?), book: row.get(2)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        read().map_err(|error| cannot("read", &self.path, error))
    }

    /// Writes what is known of these repos now, with what happened, in one transaction. With `read`, what was known before,
    /// only if nobody has written since.
    ///
    /// # Errors
    /// When it cannot be written: then nothing of it is.
    pub fn keep_repos(&mut self, records: &[RepoRecord], events: &[Event], read: Option<&[RepoRecord]>) -> Result<()> {
        let mut write = || -> rusqlite::Result<()> {
            let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            if let Some(read) = read {
                let mut at = tx.prepare("SELECT at FROM repo WHERE repo = ?1")?;
                for record in records {
                    let now = at.query_row([&record.repo], |row| row.get::<_, i64>(0)).optional()?;
                    let before = read.iter().find(|before| before.repo == record.repo);
                    if now != before.map(|before| micros(before.at)) {
                        return Ok(());
                    }
                }
            }
            {
                let mut repo = tx.prepare("INSERT OR REPLACE INTO repo (repo, at, book) VALUES (?1, ?2, ?3)")?;
                for record in records {
                    repo.execute(params![record.repo, micros(record.at), record.book])?;
                }
            }
            insert_events(&tx, events)?;
            tx.commit()
        };
        write().map_err(|error| cannot("write", &self.path, error))
    }
}
