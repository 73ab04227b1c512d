//! What a tick fetches of logs with its probes, and what it keeps of that.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::secrets::Secrets;
use crate::inventory::Inventory;
use crate::inventory::settings;
use crate::journal::{Event, Journal, News, Query};
use crate::remote::logs::{Book, External, Fetched, Question};
use crate::remote::sample::{Run, Sample};

/// How many bytes of logs one tick takes in, over all hosts, before they are written: memory has a bound. Who comes later
/// is asked again next time.
const MAX_HELD: usize = 32 << 20;

/// How long the same trouble with logs is told once.
const QUIET: SignedDuration = SignedDuration::from_hours(24);

/// How logs are fetched and kept.
#[derive(Clone, Debug)]
pub struct Logs {
    /// How many bytes of one run at a tick.
    pub run_cap: u64,
    /// How many bytes of all logs of a host.
    pub host_cap: u64,
    /// What is kept, and for how long.
    pub keep: settings::Logs,
    /// The log files of agents.
    pub files: Vec<External>,
    /// What is hidden in them.
    pub secrets: Secrets,
}

impl Logs {
    /// As `inventory` has it; `commands` says whether it may run commands.
    pub fn of(inventory: &Inventory, commands: bool) -> Logs {
        let settings = &inventory.settings;
        Logs {
            run_cap: settings.ssh.log_run.0,
            host_cap: settings.ssh.log_host.0,
            keep: settings.logs.clone(),
            files: files(inventory),
            secrets: Secrets::of(inventory, commands),
        }
    }

    /// `question` with the caps, for one of so many hosts, and with another log the first each time.
    pub fn bounded(&self, question: Question, hosts: usize) -> Question {
        let share = MAX_HELD as u64 / hosts.max(1) as u64;
        let turn = Timestamp::now().subsec_nanosecond().unsigned_abs();
        Question { run_cap: self.run_cap, host_cap: self.host_cap.min(share), turn, ..question }
    }
}

/// The log files of the agents of an inventory, each path once.
fn files(inventory: &Inventory) -> Vec<External> {
    let mut files: Vec<External> = Vec::new();
    let everywhere = inventory.settings.agents.values().map(|agent| ("*", agent));
    let repos =
        inventory.repos.repos.iter().flat_map(|repo| repo.agents.values().map(|agent| (repo.name.as_str(), agent)));
    for (repo, agent) in everywhere.chain(repos) {
        for log in &agent.logs {
            let path = absolute(agent.dir.as_deref(), log);
            // The question has a line for each.
            let line = !path.contains(['\n', '\0']);
            if line && !files.iter().any(|file| file.path == path) {
                files.push(External { agent: agent.name.clone(), repo: repo.to_owned(), path });
            }
        }
    }
    files
}

/// A log's path from the root or the home directory; a relative one is below `dir`, and that below the home directory.
fn absolute(dir: Option<&str>, log: &str) -> String {
    let rooted = |path: &str| path.starts_with('/') || path.starts_with("~/");
    match dir {
        _ if rooted(log) => log.to_owned(),
        None | Some("~") => format!("~/{log}"),
        Some(dir) if rooted(dir) => format!("{}/{log}", dir.trim_end_matches('/')),
        Some(dir) => format!("~/{}/{log}", dir.trim_end_matches('/')),
    }
}

/// The logs that come in during one tick.
pub(super) struct Incoming {
    logs: Logs,
    books: HashMap<String, Book>,
    held: Vec<(String, Timestamp, Fetched, Option<Vec<Run>>)>,
    bytes: usize,
}

impl Incoming {
    pub(super) fn new(logs: Logs, books: HashMap<String, Book>) -> Incoming {
        Incoming { logs, books, held: Vec::new(), bytes: 0 }
    }

    /// What to ask of a host, one of so many.
    pub(super) fn question(&self, host: &str, hosts: usize) -> Question {
        let nothing = Book::default();
        let book = self.books.get(host).unwrap_or(&nothing);
        self.logs.bounded(book.question(&self.logs.files, None, Timestamp::now()), hosts)
    }

    /// Keeps what a host has sent until the tick is written down.
    pub(super) fn take(&mut self, sample: &Sample, fetched: Fetched) {
        let bytes = fetched.bytes();
        if self.bytes + bytes <= MAX_HELD {
            self.bytes += bytes;
            self.held.push((sample.host.clone(), sample.at, fetched, sample.runs.clone()));
        }
    }

    /// What is new, secrets hidden, and what there is to tell of it, unless that was told lately. Secrets are read only
    /// when there are bytes in which they could be; what could hold one that cannot be read stays on its host.
    pub(super) async fn news(mut self, journal: &Journal) -> (Vec<News>, Vec<Event>) {
        let (mask, problems) = match self.bytes {
            0 => Default::default(),
            _ => self.logs.secrets.mask().await,
        };
        let now = Timestamp::now();
        let event =
            |host: Option<String>, message| Event { at: now, host, what: "logs".to_owned(), severity: 1, message };
        let mut events: Vec<Event> = problems.iter().map(|unread| event(None, unread.to_string())).collect();
        let mut news = Vec::new();
        for (host, at, fetched, runs) in self.held {
            if fetched.terminal {
                let why = "its logs cannot be fetched: its login runs commands on a terminal, which changes bytes";
                events.push(event(Some(host.clone()), why.to_owned()));
            }
            let book = self.books.entry(host.clone()).or_default();
            let pieces = book.take(fetched, &self.logs.files, runs.as_deref().unwrap_or_default(), &mask, now);
            let gone = runs.map(|runs| book.strike(&runs)).unwrap_or_default();
            if !pieces.is_empty() || !gone.is_empty() {
                news.push(News { host, at, pieces, gone });
            }
        }
        if !events.is_empty() {
            let since = now.checked_sub(QUIET).ok();
            let told = journal.events(&Query { since, limit: 10_000, ..Query::default() }).unwrap_or_default();
            let told: BTreeSet<(Option<String>, String)> =
                told.into_iter().map(|event| (event.host, event.message)).collect();
            events.retain(|event| !told.contains(&(event.host.clone(), event.message.clone())));
        }
        (news, events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_log_lies_below_its_agents_directory() {
        for (dir, log, want) in [
            (Some("~/dark-factory"), "dev/dev-agent.log", "~/dark-factory/dev/dev-agent.log"),
            (Some("/srv/x/"), "a.log", "/srv/x/a.log"),
            (Some("x"), "a.log", "~/x/a.log"),
            (Some("~"), "a.log", "~/a.log"),
            (None, "a.log", "~/a.log"),
            (Some("~/x"), "/var/log/a", "/var/log/a"),
            (Some("~/x"), "~/a", "~/a"),
        ] {
            assert_eq!(absolute(dir, log), want);
        }
    }
}
