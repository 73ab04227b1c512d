//! `factory status` as text and JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::diagnostic::Style;
use super::table::{Field, Sheet, ago, level_name, plain};
use crate::inventory::units::Bytes;
use crate::journal::TickRecord;
use crate::ledger::Lease;
use crate::policy::hold::Hold;
use crate::policy::severity::{Level, Severities};
use crate::tick::UNKNOWN;

/// After so many seconds without a tick something is wrong with whoever starts them: the slowest wake is 15 minutes.
const STALE_S: i64 = 20 * 60;

/// What is known, from local state alone.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The last finished tick.
    pub tick: TickRecord,
    /// The process that runs a tick now.
    pub running: Option<u32>,
    /// Every host that was ever looked at.
    pub hosts: Vec<HostStatus>,
    /// What people hold on these hosts.
    pub holds: Vec<HoldStatus>,
    /// The hosts that are not the machines that they were.
    pub quarantined: Vec<String>,
    /// Who leads; absent without a ledger.
    pub lease: Option<Lease>,
    /// Why the ledger cannot be read, if it cannot.
    pub ledger: Option<String>,
}

/// A manual hold.
#[derive(Clone, Debug, Serialize)]
pub struct HoldStatus {
    /// The hold.
    #[serde(flatten)]
    pub hold: Hold,
    /// The hosts that have not shown it yet.
    pub pending: Vec<String>,
    /// The hosts where somebody keeps taking it away.
    pub given_up: Vec<String>,
}

/// What is known of a host.
#[derive(Clone, Debug, Serialize)]
pub struct HostStatus {
    /// Its inventory name.
    pub host: String,
    /// 0 to 3, and 4 when nothing is known.
    pub level: u8,
    /// Since when.
    pub since: Timestamp,
    /// When it was last looked at.
    pub at: Timestamp,
    /// When it last answered.
    pub seen: Option<Timestamp>,
    /// Its one-line verdict.
    pub verdict: String,
    /// Each signal, from its last answer.
    pub severities: Option<Severities>,
}

/// For people: a table with the reasons, then what is to be known of the silent ones.
pub fn text(status: &Status, now: Timestamp, style: Style) -> String {
    let mut text = String::new();
    let tick = &status.tick;
    let age = now.duration_since(tick.began).as_secs();
    let _ = write!(text, "last tick {} ago by {}, took {:.1}s", ago(tick.began, now), tick.by, tick.seconds);
    let _ =
        writeln!(text, ", the controller used {} and {:.2}s of CPU", Bytes(tick.controller.rss), tick.controller.cpu_s);
    if let Some(pid) = status.running {
        let _ = writeln!(text, "a tick is running now, as process {pid}");
    } else if age > STALE_S {
        let _ = writeln!(text, "no tick for {}: does cron still start `factory run`?", ago(tick.began, now));
    }
    text.push('\n');
    let mut sheet = Sheet::new(style, &["HOST", "LEVEL", "FOR", "SEEN", "VERDICT"]);
    for host in &status.hosts {
        sheet.row([
            Field::text(&host.host),
            Field::text(level_name(host.level)).level(host.level),
            Field::text(ago(host.since, now)),
            Field::text(host.seen.map_or("never".to_owned(), |seen| format!("{} ago", ago(seen, now)))),
            Field::text(format!("{}{}", host.verdict, held(status, &host.host))),
        ]);
    }
    let _ = write!(text, "{sheet}");
    if !status.quarantined.is_empty() {
        let hosts = status.quarantined.join(", ");
        let _ = writeln!(text, "\nnot the machine that it was, by its host-id: {hosts}; nothing is launched there");
    }
    holds(&mut text, status);
    silence(&mut text, &status.hosts);
    text
}

/// What is held on a host, for its line.
fn held(status: &Status, host: &str) -> String {
    let here = status.holds.iter().filter(|one| one.hold.scope.hosts.has(host)).map(|one| one.hold.id.as_str());
    let ids: Vec<&str> = here.collect();
    if ids.is_empty() { String::new() } else { format!("; held ({})", ids.join(", ")) }
}

/// What people hold, why, and what lifts it.
fn holds(text: &mut String, status: &Status) {
    if let Some(why) = &status.ledger {
        let _ = writeln!(text, "\nwhat is held is not known: {}", plain(why));
    }
    for HoldStatus { hold, pending, given_up } in &status.holds {
        let _ = writeln!(text, "\nheld: {} (hold {})", super::holds::sentence(hold), hold.id);
        for (hosts, what) in [(pending, "not yet on"), (given_up, "somebody keeps taking it away on")] {
            if !hosts.is_empty() {
                let _ = writeln!(text, "  {what} {}", hosts.join(", "));
            }
        }
        let _ = writeln!(text, "  `factory resume {}` lifts it", hold.scope.flags());
    }
}

/// What silence means, and what was known last of those who are silent.
fn silence(text: &mut String, hosts: &[HostStatus]) {
    let silent: Vec<&HostStatus> = hosts.iter().filter(|host| host.level == UNKNOWN).collect();
    if silent.is_empty() {
        return;
    }
    let _ =
        writeln!(text, "\nunknown: nothing is decided from silence; what was known stays until the host answers again");
    for host in silent {
        let signals = host.severities.iter().flat_map(|severities| &severities.signals);
        let bad: Vec<String> =
            signals.filter(|signal| signal.level > Level::Ok).map(|signal| plain(&signal.text)).collect();
        if !bad.is_empty() {
            let _ = writeln!(text, "  {} was last seen with {}", host.host, bad.join("; "));
        }
    }
}
