//! Logs that were fetched from hosts: how far, and their bytes, each once and in the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Journal, cannot, micros, schema, timestamp};
use crate::error::Result;
use crate::remote::logs::{Book, Cursor, Piece};

/// How long it is remembered how far a log was fetched that is not kept any more: longer than hosts keep runs, so that
/// none is fetched twice.
const KEEP_CURSORS: Duration = Duration::from_secs(60 * 86_400);

/// So many generations of a log file are remembered, whether they are kept or not.
const GENERATIONS: u32 = 10;

/// Freed at once at most, in chunks: a writer must not hold up the next tick.
const MAX_FREED: u32 = 20_000;

/// What is new of one host's logs.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// The inventory name.
    pub host: String,
    /// When it was fetched.
    pub at: Timestamp,
    /// The bytes, with how far each log has been fetched.
    pub pieces: Vec<Piece>,
    /// Runs that the host does not have any more.
    pub gone: Vec<String>,
}

/// Bytes of a log as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The inventory name.
    pub host: String,
    /// The log; its cursor stands behind these bytes.
    pub log: Cursor,
    /// Where they begin in it.
    pub offset: u64,
    /// When they were fetched.
    pub at: Timestamp,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Which logs are wanted.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// This run alone.
    pub token: Option<String>,
    /// Only these hosts.
    pub hosts: Option<Vec<String>>,
    /// Only of this agent.
    pub agent: Option<String>,
    /// Only of this repo.
    pub repo: Option<String>,
    /// Only what was fetched from then on.
    pub since: Option<Timestamp>,
}

impl Journal {
    /// How far the logs of each host have been fetched, of all runs that it still has.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn books(&self) -> Result<HashMap<String, Book>> {
        books(&self.db).map_err(|error| cannot("read", &self.path, error))
    }

    /// `(token, bytes of out, bytes of err)` that have been fetched of each run of a host: what it need not keep.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn fetched(&self, host: &str) -> Result<Vec<(String, u64, u64)>> {
        let read = || -> rusqlite::Result<Vec<(String, u64, u64)>> {
            let sql = "SELECT token, stream, next FROM log WHERE host = ?1 AND token <> '' AND gone = 0 ORDER BY token";
            let mut statement = self.db.prepare(sql)?;
            let mut rows = statement.query([host])?;
            let mut fetched: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let (token, stream, next): (String, String, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let run = fetched.entry(token).or_default();
                *(if stream == "out" { &mut run.0 } else { &mut run.1 }) = next;
            }
            Ok(fetched.into_iter().map(|(token, (out, err))| (token, out, err)).collect())
        };
        read().map_err(|error| cannot("read", &self.path, error))
    }

    /// Writes what is new, in one transaction with how far that is: a crash neither loses nor repeats a byte.
    ///
    /// # Errors
    /// When it cannot be written: then nothing of it is.
    pub fn store(&mut self, news: &[News]) -> Result<()> {
        let mut write = || -> rusqlite::Result<()> {
            let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            insert(&tx, news)?;
            tx.commit()
        };
        write().map_err(|error| cannot("write", &self.path, error))
    }

    /// Deletes what is older than `keep`, and of the rest the oldest until at most `size` bytes are left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prune_logs(&mut self, now: Timestamp, keep: Duration, size: u64) -> Result<()> {
        let mut prune = || -> rusqlite::Result<()> {
            let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let before = |span: Duration| micros(now.checked_sub(span).unwrap_or(Timestamp::MIN));
            tx.execute(
                "DELETE FROM log_chunk WHERE id IN (SELECT id FROM log_chunk WHERE at < ?1 ORDER BY at LIMIT ?2)",
                params![before(keep), MAX_FREED],
            )?;
            let total: i64 = tx.query_row("SELECT bytes FROM log_total", [], |row| row.get(0))?;
            let mut over = total.saturating_sub(i64::try_from(size).unwrap_or(i64::MAX));
            if over > 0 {
                let mut oldest = tx.prepare("SELECT id, length(bytes) FROM log_chunk ORDER BY id LIMIT ?1")?;
                let mut delete = tx.prepare("DELETE FROM log_chunk WHERE id = ?1")?;
                let mut rows = oldest.query([MAX_FREED])?;
                let mut doomed = Vec::new();
                while let Some(row) = rows.next()?
                    && over > 0
                {
                    doomed.push(row.get::<_, i64>(0)?);
                    over -= row.get::<_, i64>(1)?;
                }
                drop(rows);
                for id in doomed {
                    delete.execute([id])?;
                }
            }
            tx.execute(
                "DELETE FROM log WHERE NOT EXISTS (SELECT 1 FROM log_chunk WHERE log_chunk.log = log.id) AND (gone OR at < ?1
                 OR token = '' AND generation + ?2 < (SELECT max(generation) FROM log last
                 WHERE last.host = log.host AND last.token = '' AND last.stream = log.stream))",
                params![before(KEEP_CURSORS), GENERATIONS],
            )?;
            tx.commit()
        };
        prune().map_err(|error| cannot("write", &self.path, error))
    }

    /// Hands over the bytes that are kept of some logs, in the order in which they came, until it is told to break; and
    /// gives how far each host's logs had been fetched at that very time.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn logs(&self, which: &Which, mut each: impl FnMut(Chunk) -> ControlFlow<()>) -> Result<HashMap<String, Book>> {
        let mut read = || -> Result<HashMap<String, Book>, super::Problem> {
            // A journal that an older version wrote has no logs.
            if schema::check(&self.db)? < schema::WITH_LOGS {
                return Ok(HashMap::new());
            }
            let tx = self.db.unchecked_transaction()?;
            let hosts = which.hosts.as_ref().map(|hosts| serde_json::json!(hosts).to_string());
            let sql = format!(
                "SELECT {COLUMNS}, chunk.offset, chunk.at, chunk.bytes FROM log_chunk chunk JOIN log ON log.id = chunk.log
                 WHERE chunk.at >= ?1 AND (?2 IS NULL OR log.token = ?2)
                 AND (?3 IS NULL OR log.host IN (SELECT value FROM json_each(?3)))
                 AND (?4 IS NULL OR log.agent = ?4) AND (?5 IS NULL OR log.repo = ?5) ORDER BY chunk.id"
            );
            let mut statement = tx.prepare(&sql)?;
            let since = which.since.map_or(i64::MIN, micros);
            let mut rows = statement.query(params![since, which.token, hosts, which.agent, which.repo])?;
            while let Some(row) = rows.next()? {
                let (offset, bytes): (u64, Vec<u8>) = (row.get(11)?, row.get(13)?);
                let log = Cursor { next: offset + bytes.len() as u64, ..cursor(row)? };
                let chunk = Chunk { host: row.get(0)?, log, offset, at: timestamp(row.get(12)?), bytes };
                if each(chunk).is_break() {
                    break;
                }
            }
            Ok(books(&tx)?)
        };
        read().map_err(|error| cannot("read", &self.path, error))
    }
}

/// The columns of a log that [`cursor`] reads, the host first.
const COLUMNS: &str = "log.host, log.token, log.stream, log.generation, log.agent, log.repo, log.next, log.inode, log.head, \
                       log.until, log.done";

fn cursor(row: &Row<'_>) -> rusqlite::Result<Cursor> {
    Ok(Cursor {
        token: row.get(1)?,
        stream: row.get(2)?,
        generation: row.get(3)?,
        agent: row.get(4)?,
        repo: row.get(5)?,
        next: row.get(6)?,
        inode: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
        head: row.get(8)?,
        until: row.get::<_, Option<i64>>(9)?.map(timestamp),
        done: row.get(10)?,
    })
}

fn books(db: &Connection) -> rusqlite::Result<HashMap<String, Book>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM log WHERE gone = 0 AND (token <> '' OR generation + ?1 >= (SELECT max(generation) FROM log last
         WHERE last.host = log.host AND last.token = '' AND last.stream = log.stream)) ORDER BY log.id"
    );
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query([GENERATIONS])?;
    let mut cursors: HashMap<String, Vec<Cursor>> = HashMap::new();
    while let Some(row) = rows.next()? {
        cursors.entry(row.get(0)?).or_default().push(cursor(row)?);
    }
    Ok(cursors.into_iter().map(|(host, cursors)| (host, Book::new(cursors))).collect())
}

/// Writes news. Of a piece that another writer has written already only what is new is taken, and one that leaves a hole
/// is not: it will be asked for again.
pub(super) fn insert(db: &Connection, news: &[News]) -> rusqlite::Result<()> {
    let mut known = db.prepare(
        "SELECT id, next, inode FROM log WHERE host = ?1 AND token = ?2 AND stream = ?3 AND generation = ?4",
    )?;
    let mut add = db.prepare(
        "INSERT INTO log (host, token, stream, generation, next, inode, done, gone, at) VALUES (?1,?2,?3,?4,?5,?6,0,0,?7)",
    )?;
    let mut move_on = db.prepare(
        "UPDATE log SET agent = coalesce(agent, ?2), repo = coalesce(repo, ?3), next = ?4, head = ?5, until = ?6,
         done = max(done, ?7), gone = 0, at = ?8 WHERE id = ?1",
    )?;
    let mut chunk = db.prepare("INSERT INTO log_chunk (log, offset, at, bytes) VALUES (?1,?2,?3,?4)")?;
    let mut gone = db.prepare("UPDATE log SET gone = 1 WHERE host = ?1 AND token = ?2")?;
    for News { host, at, pieces, gone: lost } in news {
        let at = micros(*at);
        for Piece { cursor, offset, bytes } in pieces {
            let Cursor { token, stream, generation, agent, repo, inode, head, until, done, .. } = cursor;
            let inode = inode.map(u64::cast_signed);
            let row = known
                .query_row(params![host, token, stream, generation], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?, row.get::<_, Option<i64>>(2)?))
                })
                .optional()?;
            let (id, next, is) = match row {
                Some(row) => row,
                None => {
                    add.execute(params![host, token, stream, generation, offset, inode, at])?;
                    (db.last_insert_rowid(), *offset, inode)
                }
            };
            if *offset > next || is != inode {
                continue;
            }
            let new = usize::try_from(next - offset).ok().and_then(|there| bytes.get(there..)).unwrap_or_default();
            if !new.is_empty() {
                chunk.execute(params![id, next, at, new])?;
            }
            let next = next + new.len() as u64;
            let until = until.map(micros);
            move_on.execute(params![id, agent, repo, next, head, until, *done && next >= cursor.next, at])?;
        }
        for token in lost {
            gone.execute([host, token])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
