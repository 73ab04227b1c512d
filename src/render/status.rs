//! `factory status` as text and JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::diagnostic::Style;
use super::table::{Field, Sheet, ago, level_name, plain};
use crate::inventory::units::Bytes;
use crate::journal::TickRecord;
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
            Field::text(&host.verdict),
        ]);
    }
    let _ = write!(text, "{sheet}");
    silence(&mut text, &status.hosts);
    text
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
