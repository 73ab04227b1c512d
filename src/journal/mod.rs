//! Local history in SQLite: what `status`, `events` and `logs` read, also while a `run` is writing.

mod logs;
mod open;
mod repos;
mod schema;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::logs::{Chunk, News, Which};
pub use self::repos::RepoRecord;
use self::schema::Problem;
use crate::error::{Error, Result};
use crate::policy::severity::{Latches, Severities};
use crate::remote::sample::Sample;

/// How long samples are kept: two weeks show the same weekday twice.
const KEEP_SAMPLES: Duration = Duration::from_secs(14 * 86_400);

/// How long events are kept.
const KEEP_EVENTS: Duration = Duration::from_secs(90 * 86_400);

/// An open journal.
pub struct Journal {
    db: Connection,
    path: PathBuf,
}

/// Something that happened, told once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The host that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What kind of thing: `pressure` (a level changed), `ladder` (a rung did), `stop`, `hold`, `missed`, `back`,
    /// `unreachable`, `cut off`, `disk`, `journal`, `takeover`, `cut`, `logs`, `run`, `repo`, `merge` and others.
    pub what: String,
    /// How bad it is: 0 fine, 1 soft, 2 hard, 3 critical.
    pub severity: u8,
    /// One sentence for people.
    pub message: String,
}

/// One finished tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TickRecord {
    /// When it began.
    pub began: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Who ran it: `--as`, else the inventory's name of this machine, else `solo`.
    pub by: String,
    /// The inventory that it read.
    pub inventory: String,
    /// How many hosts it looked at.
    pub hosts: u64,
    /// How many of them gave no whole sample.
    pub missed: u64,
    /// What the controller itself used.
    pub controller: Controller,
}

/// The controller's own footprint: it has no guard in front of it, so it must be seen to be small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    /// Its process.
    pub pid: u32,
    /// Resident memory at the end of the tick, in bytes.
    pub rss: u64,
    /// CPU time of the process, in seconds.
    pub cpu_s: f64,
}

/// What is known of a host after its last tick.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRecord {
    /// The inventory name.
    pub host: String,
    /// When it was last looked at.
    pub at: Timestamp,
    /// When it last gave a whole sample.
    pub seen: Option<Timestamp>,
    /// What is latched.
    pub latches: Latches,
    /// The severities after the last whole sample; none before the first one.
    pub severities: Option<Severities>,
    /// Its one-line verdict.
    pub verdict: String,
    /// Its severity, 0 to 3, and 4 when nothing is known.
    pub level: u8,
    /// Since when it has had that level.
    pub since: Timestamp,
    /// The last sample.
    pub sample: Sample,
}

/// A login that a host refused, one for each host whose last login was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The inventory name.
    pub host: String,
    /// What was tried: user, address and keys, as one name.
    pub login: String,
    /// How many times running.
    pub times: u32,
    /// When it may be tried again.
    pub until: Timestamp,
}

/// Which events or samples are wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only these hosts.
    pub hosts: Option<Vec<String>>,
    /// At most so many, the newest.
    pub limit: u32,
}

/// Everything that one tick writes, in one transaction: either all of it is there or nothing.
#[derive(Debug)]
pub struct Batch {
    /// The tick.
    pub tick: TickRecord,
    /// What is known of each host now.
    pub hosts: Vec<HostRecord>,
    /// What happened.
    pub events: Vec<Event>,
    /// The refused logins of the hosts of this tick; a host without one has none any more.
    pub refusals: Vec<Refusal>,
    /// What is new in logs.
    pub logs: Vec<News>,
}

impl Journal {
    /// Opens the journal in `state` for writing; makes it when it is not there. A damaged one is moved aside, since a
    /// supervisor without its history is better than none: the second value is where it lies then.
    ///
    /// # Errors
    /// When it cannot be opened, or was written by a newer version.
    pub fn open(state: &Path) -> Result<(Journal, Option<PathBuf>)> {
        open::to_write(state)
    }

    /// Opens the journal in `state` for reading, also while a `run` writes; `None` when there is none yet, or it is just
    /// being made.
    ///
    /// # Errors
    /// When it cannot be read or was written by a newer version.
    pub fn open_to_read(state: &Path) -> Result<Option<Journal>> {
        open::to_read(state)
    }

    /// Writes what a tick found.
    ///
    /// # Errors
    /// When it cannot be written, on a full disk say: then nothing of it is.
    pub fn record(&mut self, batch: &Batch) -> Result<()> {
        record(&mut self.db, batch).map_err(|error| cannot("write", &self.path, error))
    }

    /// Writes what happened outside a tick.
    ///
    /// # Errors
    /// When it cannot be written: then nothing of it is.
    pub fn tell(&mut self, events: &[Event]) -> Result<()> {
        let mut write = || -> rusqlite::Result<()> {
            let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            insert_events(&tx, events)?;
            tx.commit()
        };
        write().map_err(|error| cannot("write", &self.path, error))
    }

    /// Deletes samples and events past their time.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prune(&mut self, now: Timestamp) -> Result<()> {
        let prune = || -> rusqlite::Result<()> {
            for (table, keep) in [("sample", KEEP_SAMPLES), ("tick", KEEP_SAMPLES), ("event", KEEP_EVENTS)] {
                let oldest = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
                self.db.execute(&format!("DELETE FROM {table} WHERE at < ?1"), [micros(oldest)])?;
            }
            Ok(())
        };
        prune().map_err(|error| cannot("write", &self.path, error))
    }

    /// What is known of every host that was ever looked at, by name.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn hosts(&self) -> Result<Vec<HostRecord>> {
        let read = || -> rusqlite::Result<Vec<HostRecord>> {
            let sql =
                "SELECT host, at, seen, latches, severities, verdict, level, since, sample FROM host ORDER BY host";
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                let (host, at): (String, _) = (row.get(0)?, timestamp(row.get(1)?));
                let unreadable = |_| Sample::missing(&host, at, "its last sample in the journal cannot be read");
                let sample = from_json(row, 8)?.unwrap_or_else(unreadable);
                Ok(HostRecord {
                    host,
                    at,
                    seen: row.get::<_, Option<i64>>(2)?.map(timestamp),
                    latches: from_json(row, 3)?.unwrap_or_default(),
                    severities: from_json(row, 4)?.unwrap_or_default(),
                    verdict: row.get(5)?,
                    level: row.get(6)?,
                    since: timestamp(row.get(7)?),
                    sample,
                })
            })?;
            rows.collect()
        };
        read().map_err(|error| cannot("read", &self.path, error))
    }

    /// The logins that were refused when they were last tried.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn refusals(&self) -> Result<Vec<Refusal>> {
        let read = || -> rusqlite::Result<Vec<Refusal>> {
            let mut statement = self.db.prepare("SELECT host, login, times, until FROM refusal ORDER BY host")?;
            let rows = statement.query_map([], |row| {
                let until = timestamp(row.get(3)?);
                Ok(Refusal { host: row.get(0)?, login: row.get(1)?, times: row.get(2)?, until })
            })?;
            rows.collect()
        };
        read().map_err(|error| cannot("read", &self.path, error))
    }

    /// The last tick, if there was one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn last_tick(&self) -> Result<Option<TickRecord>> {
        let sql =
            "SELECT at, seconds, by, inventory, hosts, missed, pid, rss, cpu_s FROM tick ORDER BY id DESC LIMIT 1";
        let read = self.db.query_row(sql, [], |row| {
            Ok(TickRecord {
                began: timestamp(row.get(0)?),
                seconds: row.get(1)?,
                by: row.get(2)?,
                inventory: row.get(3)?,
                hosts: row.get(4)?,
                missed: row.get(5)?,
                controller: Controller { pid: row.get(6)?, rss: row.get(7)?, cpu_s: row.get(8)? },
            })
        });
        read.optional().map_err(|error| cannot("read", &self.path, error))
    }

    /// Events, oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn events(&self, query: &Query) -> Result<Vec<Event>> {
        self.newest("event", "at, host, what, severity, message", query, |row| {
            Ok(Event {
                at: timestamp(row.get(0)?),
                host: row.get(1)?,
                what: row.get(2)?,
                severity: row.get(3)?,
                message: row.get(4)?,
            })
        })
    }

    /// Samples as they were written, each one JSON object, oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn samples(&self, query: &Query) -> Result<Vec<String>> {
        self.newest("sample", "json", query, |row| row.get(0))
    }

    fn newest<T>(
        &self,
        table: &str,
        columns: &str,
        query: &Query,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let read = || -> rusqlite::Result<Vec<T>> {
            let hosts = query.hosts.as_ref().map(|hosts| serde_json::json!(hosts).to_string());
            let sql = format!(
                "SELECT {columns} FROM {table} WHERE at >= ?1 AND (?2 IS NULL OR host IN (SELECT value FROM json_each(?2)))
                 ORDER BY id DESC LIMIT ?3"
            );
            let mut statement = self.db.prepare(&sql)?;
            let since = query.since.map_or(i64::MIN, micros);
            let rows = statement.query_map(params![since, hosts, query.limit], row)?;
            let mut rows: Vec<T> = rows.collect::<rusqlite::Result<_>>()?;
            rows.reverse();
            Ok(rows)
        };
        read().map_err(|error| cannot("read", &self.path, error))
    }
}

fn record(db: &mut Connection, batch: &Batch) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let tick = &batch.tick;
        tx.execute(
            "INSERT INTO tick (at, seconds, by, inventory, hosts, missed, pid, rss, cpu_s) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)",
            params![
                micros(tick.began),
                tick.seconds,
                tick.by,
                tick.inventory,
                tick.hosts,
                tick.missed,
                tick.controller.pid,
                tick.controller.rss,
                tick.controller.cpu_s
            ],
        )?;
        let mut host = tx.prepare(
            "INSERT OR REPLACE INTO host (host, at, seen, latches, severities, verdict, level, since, sample)
             VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)",
        )?;
        let mut sample = tx.prepare("INSERT INTO sample (at, host, json) VALUES (?1,?2,?3)")?;
        for known in &batch.hosts {
            let text = json(&known.sample);
            host.execute(params![
                known.host,
                micros(known.at),
                known.seen.map(micros),
                json(&known.latches),
                json(&known.severities),
                known.verdict,
                known.level,
                micros(known.since),
                text
            ])?;
            sample.execute(params![micros(known.at), known.host, text])?;
        }
        let mut forget = tx.prepare("DELETE FROM refusal WHERE host = ?1")?;
        for known in &batch.hosts {
            forget.execute([&known.host])?;
        }
        let mut refusal = tx.prepare("INSERT INTO refusal (host, login, times, until) VALUES (?1,?2,?3,?4)")?;
        for refused in &batch.refusals {
            refusal.execute(params![refused.host, refused.login, refused.times, micros(refused.until)])?;
        }
        insert_events(&tx, &batch.events)?;
        logs::insert(&tx, &batch.logs)?;
    }
    tx.commit()
}

fn insert_events(db: &Connection, events: &[Event]) -> rusqlite::Result<()> {
    let mut event = db.prepare("INSERT INTO event (at, host, what, severity, message) VALUES (?1,?2,?3,?4,?5)")?;
    for happened in events {
        let Event { at, host, what, severity, message } = happened;
        event.execute(params![micros(*at), host, what, severity, message])?;
    }
    Ok(())
}

/// `value` as the tables hold it. These types cannot fail to serialize; were one to, it is as unreadable as one of an older
/// version.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What a column holds, as far as this version can read it.
fn from_json<T: DeserializeOwned>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<serde_json::Result<T>> {
    Ok(serde_json::from_str(row.get_ref(column)?.as_str()?))
}

/// Microseconds since 1970: what the tables hold, so that they sort and compare.
fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn cannot(verb: &str, path: &Path, problem: impl Into<Problem>) -> Error {
    let shown = path.display();
    let problem = problem.into();
    let help = match problem.code() {
        Some(ErrorCode::DiskFull) => "the disk is full: make room, nothing else is wrong with it".to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another process holds it; try again".to_owned(),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            format!("this user must be able to write {shown} and its directory")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "it is damaged: the next `factory run` moves it aside and starts a new one".to_owned()
        }
        None if matches!(problem, Problem::Newer(_)) => {
            "use the newer factory, or another state directory with --state".to_owned()
        }
        _ => format!("look at {shown}; `--state DIR` uses another state directory"),
    };
    Error::failed(format!("cannot {verb} the journal {shown}")).because(problem).help(help)
}

#[cfg(test)]
mod tests;
