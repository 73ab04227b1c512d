//! `factory status` as text and JSON.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::diagnostic::Style;
use super::table::{Field, Sheet, ago, level_name, plain};
use crate::inventory::agents::Class;
use crate::inventory::units::Bytes;
use crate::journal::TickRecord;
use crate::ledger::Lease;
use crate::policy::ci_load::CiStanding;
use crate::policy::hold::Hold;
use crate::policy::ladder::{Held, Mode};
use crate::policy::severity::{Level, Severities};
use crate::tick::UNKNOWN;
use crate::tick::backlog::Silent;

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
    /// The hosts that were left: nothing is changed or launched there.
    pub left: Vec<String>,
    /// By host, why nothing may be changed there.
    pub barred: BTreeMap<String, String>,
    /// The repos whose CI has too much to do.
    pub ci: BTreeMap<String, CiStanding>,
    /// The repos of which there is something to say.
    pub repos: BTreeMap<String, RepoStatus>,
    /// Who leads; absent without a ledger.
    pub lease: Option<Lease>,
    /// Why the ledger cannot be read, if it cannot.
    pub ledger: Option<String>,
}

impl Status {
    /// Whether anything is changed on a host.
    pub fn changes(&self, host: &str) -> bool {
        !self.left.iter().any(|left| left == host) && !self.barred.contains_key(host)
    }
}

/// How a repo is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RepoStatus {
    /// When its forge last told all issues and pulls.
    pub seen: Option<Timestamp>,
    /// Why its forge tells nothing.
    pub silent: Option<Silent>,
    /// Why its CI tells nothing.
    pub ci_silent: Option<Silent>,
    /// The hosts whose crontab is held there, with the script that would merge approved pulls, while nobody else does.
    pub unmerged: Vec<String>,
}

impl RepoStatus {
    /// Whether there is nothing to say.
    pub fn is_well(&self) -> bool {
        self.silent.is_none() && self.ci_silent.is_none() && self.unmerged.is_empty()
    }
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
    /// What its agents may do: the stricter of what pressure and what people want.
    pub modes: Modes,
    /// Where it stands on the pressure ladder; absent for a host without a history.
    pub ladder: Option<LadderStatus>,
}

/// What the agents of a host may do; none where nobody knows, or where nothing was decided yet.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Modes {
    /// Dev agents.
    pub dev: Option<Mode>,
    /// Review agents.
    pub review: Option<Mode>,
}

/// Where a host stands on the pressure ladder.
#[derive(Clone, Debug, Serialize)]
pub struct LadderStatus {
    /// Dev agents.
    pub dev: Mode,
    /// Review agents.
    pub review: Mode,
    /// Nothing starts but probes and alerts.
    pub survive: bool,
    /// It has not answered for long: what runs there is unknown.
    pub unreachable: bool,
    /// No signal asked for it, the host has no history yet: files and crontabs are as they were.
    pub waiting: bool,
    /// By class, since when it is held and why.
    pub held: BTreeMap<Class, Held>,
    /// What must happen, and for how long, before the next step down.
    pub next: Option<String>,
    /// The agents that were told to stop and still live.
    pub stopping: Vec<String>,
    /// The halt files from which somebody keeps taking its line away.
    pub given_up: Vec<String>,
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
    let mut sheet = Sheet::new(style, &["HOST", "LEVEL", "FOR", "DEV", "REVIEW", "SEEN", "VERDICT"]);
    for host in &status.hosts {
        sheet.row([
            Field::text(&host.host),
            Field::text(level_name(host.level)).level(host.level),
            Field::text(ago(host.since, now)),
            mode(status, host, host.modes.dev),
            mode(status, host, host.modes.review),
            Field::text(host.seen.map_or("never".to_owned(), |seen| format!("{} ago", ago(seen, now)))),
            Field::text(format!("{}{}", reason(host), held(status, &host.host))),
        ]);
    }
    let _ = write!(text, "{sheet}");
    if !status.quarantined.is_empty() {
        let hosts = status.quarantined.join(", ");
        let _ = writeln!(text, "\nnot the machine that it was, by its host-id: {hosts}; nothing is launched there");
    }
    for host in &status.left {
        let _ = writeln!(
            text,
            "\n{host} was left: nothing is changed or launched there; `factory takeover {host}` takes it up again"
        );
    }
    for (host, why) in &status.barred {
        let _ = writeln!(text, "\nnothing is changed on {host}: {}", plain(why));
    }
    pressure(&mut text, status, now);
    newcomers(&mut text, status);
    ci(&mut text, status, now);
    repos(&mut text, status, now);
    holds(&mut text, status);
    silence(&mut text, &status.hosts);
    text
}

/// A mode, coloured as bad as it is: `?` where it is not known, `-` where nothing was decided yet.
fn mode(status: &Status, host: &HostStatus, mode: Option<Mode>) -> Field {
    let lost = status.ledger.is_some() || host.ladder.as_ref().is_some_and(|ladder| ladder.unreachable);
    match mode {
        None if lost => Field::text("?").level(UNKNOWN),
        None => Field::text("-"),
        Some(mode) => Field::text(mode.name()).level(match mode {
            Mode::Run => 0,
            Mode::Hold => 1,
            Mode::Stop => 2,
        }),
    }
}

/// Its verdict without the level, which has a column of its own.
fn reason(host: &HostStatus) -> &str {
    let rest = host.verdict.strip_prefix(level_name(host.level)).and_then(|rest| rest.strip_prefix(": "));
    rest.unwrap_or(&host.verdict)
}

/// What people hold on a host, for its line.
fn held(status: &Status, host: &str) -> String {
    let ids = ids(status, host);
    if ids.is_empty() { String::new() } else { format!("; held ({})", ids.join(", ")) }
}

/// The holds of people on a host.
fn ids<'a>(status: &'a Status, host: &str) -> Vec<&'a str> {
    let here = status.holds.iter().filter(|one| one.hold.scope.hosts.has(host));
    here.map(|one| one.hold.id.as_str()).collect()
}

/// What pressure does to each host, and what must happen before it lets go.
fn pressure(text: &mut String, status: &Status, now: Timestamp) {
    for HostStatus { host, ladder, .. } in &status.hosts {
        let Some(ladder) = ladder.as_ref().filter(|_| status.changes(host)) else { continue };
        if ladder.unreachable {
            let _ = writeln!(
                text,
                "\n{host} is out of reach: what runs there is unknown, not dead; dev is held once it is back"
            );
        }
        if !ladder.held.is_empty() {
            let _ = write!(text, "\n{host}: {}\n{}", headline(ladder), rungs(ladder, now));
            people(text, status, host);
        }
        if let Some(next) = ladder.next.as_ref().filter(|_| !ladder.unreachable && !ladder.waiting) {
            let _ = writeln!(text, "  next: {next}");
        }
        for (what, which) in
            [("told to stop:", &ladder.stopping), ("somebody keeps taking its line out of halt file", &ladder.given_up)]
        {
            if !which.is_empty() {
                let _ = writeln!(text, "  {what} {}", which.join(", "));
            }
        }
    }
}

/// The hosts that have not shown themselves well for long enough since they are known.
fn newcomers(text: &mut String, status: &Status) {
    let new = |host: &HostStatus| {
        let ladder = host.ladder.as_ref().filter(|ladder| ladder.waiting && !ladder.unreachable)?;
        Some((host.host.clone(), ladder.next.clone().unwrap_or_default()))
    };
    let hosts = status.hosts.iter().filter(|host| status.changes(&host.host));
    let new: Vec<(String, String)> = hosts.filter_map(new).collect();
    if new.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nno history yet: pressure changes nothing there, and no dev agent is launched by itself");
    let width = new.iter().map(|(host, _)| host.chars().count()).max().unwrap_or(0);
    for (host, next) in new {
        let _ = writeln!(text, "  {host:<width$}  next: {next}");
    }
}

/// Who is held, in a few words.
fn headline(ladder: &LadderStatus) -> &'static str {
    match (ladder.survive, ladder.held.contains_key(&Class::Review)) {
        (true, _) => "pressure lets nothing start, not even supervisors",
        (false, true) => "dev agents are held by pressure, review agents too",
        (false, false) => "dev agents are held by pressure",
    }
}

/// A line a class: its mode, for how long, and why.
fn rungs(ladder: &LadderStatus, now: Timestamp) -> String {
    let long = |(class, held): (&Class, &Held)| {
        let (name, mode) = match class {
            Class::Dev => ("dev", ladder.dev.name()),
            Class::Review => ("review", ladder.review.name()),
            Class::Supervisor => ("all", "SURVIVE"),
        };
        let whole = if held.at > held.since { format!(", held for {}", ago(held.since, now)) } else { String::new() };
        format!("{name:<6}  {mode} for {}{whole}", ago(held.at, now))
    };
    let lines: Vec<(String, String)> = ladder.held.iter().map(|held| (long(held), plain(&held.1.why))).collect();
    let width = lines.iter().map(|(long, _)| long.len()).max().unwrap_or(0);
    lines.iter().map(|(long, why)| format!("  {long:<width$}  {why}\n")).collect()
}

/// That people hold something there too: it outlives what pressure holds.
fn people(text: &mut String, status: &Status, host: &str) {
    let ids = ids(status, host);
    if !ids.is_empty() {
        let _ = writeln!(text, "  held by people too ({}): that stays when pressure lets go", ids.join(", "));
    }
}

/// What is held for the CI of a repo.
fn ci(text: &mut String, status: &Status, now: Timestamp) {
    for (repo, standing) in &status.ci {
        let too = if standing.state.level() > Level::Soft { ", review agents too" } else { "" };
        let since = standing.since.map(|since| format!(" for {}", ago(since, now))).unwrap_or_default();
        let _ = writeln!(text, "\n{repo}: dev agents are held for its CI{too}{since}: {}", plain(&standing.why));
    }
}

/// The repos whose forge or CI tells nothing, and those whose merges stand still.
fn repos(text: &mut String, status: &Status, now: Timestamp) {
    for (repo, RepoStatus { seen, silent, ci_silent, unmerged }) in &status.repos {
        if let Some(Silent { since, why, help, disabled, .. }) = silent {
            let what = match (disabled, seen) {
                (true, _) => format!("disabled for {}", ago(*since, now)),
                (false, None) => format!("nothing is known of it for {}", ago(*since, now)),
                (false, Some(seen)) => {
                    format!("its forge is silent for {}, what it said {} ago stands", ago(*since, now), ago(*seen, now))
                }
            };
            let _ = writeln!(text, "\n{repo}: {what}: {}\n  {}", plain(why), plain(help));
        }
        if let Some(Silent { since, why, help, .. }) = ci_silent {
            let since = ago(*since, now);
            let _ = writeln!(text, "\n{repo}: its CI is silent for {since}: {}\n  {}", plain(why), plain(help));
        }
        if !unmerged.is_empty() {
            let _ = writeln!(
                text,
                "\n{repo}: merges stand still, since the crontab is held on {} and its script merges too\n  \
                 `merge: factory` in repos.yml lets factory do it",
                unmerged.join(", ")
            );
        }
    }
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
