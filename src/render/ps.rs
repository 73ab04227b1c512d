//! What runs on the hosts, as a table and as JSON.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::diagnostic::Style;
use super::table::{Field, Sheet, ago, count, length, verdict};
use crate::inventory::units::Bytes;
use crate::remote::sample::{Matched, Run, Sample};
use crate::tick::UNKNOWN;

/// How long a run that is over is shown without being asked for.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// What the hosts showed.
pub struct Shown<'a> {
    /// What lives first, host by host and the oldest first, then what is over, the latest first.
    pub rows: Vec<Row<'a>>,
    /// Of whom it is not known what runs there, or not wholly, and why.
    pub unknown: Vec<(&'a str, String)>,
    /// Runs that are over for longer and not in `rows`.
    pub older: usize,
}

/// One run on one host.
pub struct Row<'a> {
    /// The host's name in the inventory.
    host: &'a str,
    /// The time there.
    now: Timestamp,
    what: What<'a>,
}

enum What<'a> {
    /// Factory started it.
    Run(&'a Run),
    /// It did not.
    Matched(&'a Matched),
}

/// What to show of `samples`, one a host in the order of the inventory; with `all` also what has been over for more than
/// a day. `looked` says that processes were looked for which factory did not start.
pub fn shown(samples: &[Sample], all: bool, looked: bool) -> Shown<'_> {
    let (mut living, mut over, mut unknown, mut older) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for sample in samples {
        let (host, now) = (sample.host.as_str(), there(sample));
        let mut here = Vec::new();
        for run in sample.runs.iter().flatten() {
            let row = Row { host, now, what: What::Run(run) };
            match run.over() {
                false => here.push(row),
                true if all || row.ended().is_none_or(|at| now.duration_since(at) <= RECENT) => over.push(row),
                true => older += 1,
            }
        }
        here.extend(sample.matched.iter().flatten().map(|one| Row { host, now, what: What::Matched(one) }));
        here.sort_by_key(|row| row.started().unwrap_or(Timestamp::MAX));
        living.append(&mut here);
        unknown.extend(lacks(sample, looked).map(|why| (host, why)));
    }
    over.sort_by_key(|row| std::cmp::Reverse(row.ended()));
    living.append(&mut over);
    Shown { rows: living, unknown, older }
}

/// The time on the host when it answered.
fn there(sample: &Sample) -> Timestamp {
    let skew = sample.clock_skew_s.and_then(|skew| SignedDuration::try_from_secs_f64(skew).ok()).unwrap_or_default();
    sample.at.checked_add(skew).unwrap_or(sample.at)
}

/// Why it is not known what runs on a host; none when it is.
fn lacks(sample: &Sample, looked: bool) -> Option<String> {
    let listed = sample.matched.as_ref().map(|matched| matched.len() as u64);
    let counted = sample.running.as_ref().map(|running| running.values().sum::<u64>());
    match (listed, counted) {
        _ if sample.missing.is_some() => sample.missing.clone(),
        _ if sample.runs.is_none() => Some("the probe could not tell the states of the runs there".to_owned()),
        (None, _) if looked => {
            Some("the probe could not look at all processes: what cron started is not shown".to_owned())
        }
        (Some(listed), Some(counted)) if counted > listed => {
            Some(format!("{counted} processes match, of which {listed} are shown"))
        }
        _ => None,
    }
}

impl Row<'_> {
    fn started(&self) -> Option<Timestamp> {
        match self.what {
            What::Run(run) => run.started,
            What::Matched(one) => one.started,
        }
    }

    /// When it was over; of one that crashed nobody knows more than when it began, and of one of which only the state
    /// was told, on which day it was given its token.
    fn ended(&self) -> Option<Timestamp> {
        match self.what {
            What::Run(run) => run.ended.or(run.started).or_else(|| day_of(&run.token)),
            What::Matched(_) => None,
        }
    }

    fn fields(&self) -> [Field; 9] {
        let started = self.started().map(|at| ago(at, self.now));
        let text = |text: Option<&str>| Field::text(text.unwrap_or("-"));
        let (token, agent, repo, state, memory, time, last) = match self.what {
            What::Run(run) => {
                let alive = run.procs.is_some_and(|procs| procs > 0);
                let (rss, cpu) = if alive { (run.rss, run.cpu_ms) } else { (None, None) };
                let (agent, repo) = (text(run.agent.as_deref()), text(run.repo.as_deref()));
                (run.token.clone(), agent, repo, self.state(run), rss, cpu, run.last.clone().unwrap_or_default())
            }
            What::Matched(one) => {
                let state = Field::text("running").level(0);
                let command = if one.command.is_empty() { String::new() } else { format!("$ {}", one.command) };
                (one.token(), Field::text(&one.agent), text(None), state, Some(one.rss), Some(one.cpu_ms), command)
            }
        };
        [
            Field::text(self.host),
            Field::text(token),
            agent,
            repo,
            state,
            Field::maybe(started),
            Field::maybe(memory.map(|rss| Bytes(rss).to_string())),
            Field::maybe(time.map(|ms| length(ms / 1000))),
            Field::text(last),
        ]
    }

    /// The state in words, and its colour.
    fn state(&self, run: &Run) -> Field {
        let mut state = run.state.to_lowercase().replace(" leftover", ", leftover");
        if let (true, Some(by)) = (!run.over(), &run.stopping) {
            state += &if by.is_empty() { ", stopping".to_owned() } else { format!(", stopping ({by})") };
        }
        if run.critical == Some(true) && !run.over() {
            state += ", critical";
        }
        if let (true, Some(at)) = (run.over(), run.ended) {
            state += &format!(", {} ago", ago(at, self.now));
        }
        let level = match run.state.as_str() {
            "RUNNING" => 0,
            "UNKNOWN" => UNKNOWN,
            "DONE 0" | "CANCELLED" | "CREATED" => return Field::text(state),
            "REBOOTED" => 1,
            state if state.starts_with("DONE") && run.over() => 1,
            _ => 2,
        };
        Field::text(state).level(level)
    }

    fn json(&self) -> Value {
        let (mut value, token) = match self.what {
            What::Run(run) => (json!(run), run.token.clone()),
            What::Matched(one) => (json!(one), one.token()),
        };
        if let Value::Object(keys) = &mut value {
            keys.insert("host".to_owned(), json!(self.host));
            keys.insert("token".to_owned(), json!(token));
            keys.insert("matched".to_owned(), json!(matches!(self.what, What::Matched(_))));
            keys.entry("state").or_insert_with(|| json!("RUNNING"));
        }
        value
    }
}

/// The end of the UTC day that a token begins with.
fn day_of(token: &str) -> Option<Timestamp> {
    let day = jiff::civil::Date::strptime("%Y%m%d", token.get(..8)?).ok()?;
    Some(day.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// A row a run, then a line for each host of which it is not known what runs there.
pub fn table(shown: &Shown<'_>, style: Style) -> String {
    let headings = ["HOST", "TOKEN", "AGENT", "REPO", "STATE", "AGE", "RSS", "CPU", "LAST"];
    let mut sheet = Sheet::new(style, &headings);
    shown.rows.iter().for_each(|row| sheet.row(row.fields()));
    sheet.cut();
    let mut text = if shown.rows.is_empty() { String::new() } else { sheet.to_string() };
    for (host, why) in &shown.unknown {
        text += &format!("{host}: {}\n", verdict(&format!("unknown: {why}"), UNKNOWN, style));
    }
    text
}

/// What is not in the table, in words; empty when all is.
pub fn notes(shown: &Shown<'_>, hosts: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if shown.rows.is_empty() && shown.unknown.is_empty() {
        notes.push(format!("nothing runs on {}, and nothing ended there in the last 24 h", count(hosts, "host")));
    }
    if shown.older > 0 {
        notes.push(format!("{} not shown: --all shows those too", count(shown.older, "older run")));
    }
    notes
}

/// The rows, and the hosts of which it is not known what runs there.
pub fn json(shown: &Shown<'_>) -> (Vec<Value>, Vec<Value>) {
    let unknown = shown.unknown.iter().map(|(host, why)| json!({ "host": host, "why": why }));
    (shown.rows.iter().map(Row::json).collect(), unknown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn run(token: &str, state: &str, started: &str, ended: Option<&str>) -> Run {
        Run {
            token: token.into(),
            state: state.into(),
            agent: Some("dev".into()),
            repo: Some("harb".into()),
            started: Some(at(started)),
            ended: ended.map(at),
            ..Run::default()
        }
    }

    fn samples() -> Vec<Sample> {
        let now = at("2026-11-26T12:00:00Z");
        let mut one = Sample::unknown("one", now);
        // Its clock is ten minutes ahead.
        one.clock_skew_s = Some(600.0);
        let live = Run {
            procs: Some(3),
            rss: Some(3 << 30),
            cpu_ms: Some(725_000),
            last: Some("test 12 of 30: it takes a while, and says so at length".into()),
            ..run("20261126-a", "RUNNING", "2026-11-26T11:10:00Z", None)
        };
        let stopped = Run {
            stopping: Some("anna".into()),
            critical: Some(true),
            ..run("20261126-b", "RUNNING", "2026-11-26T12:09:00Z", None)
        };
        let left = Run {
            procs: Some(1),
            rss: Some(1 << 20),
            cpu_ms: Some(0),
            ..run("20261126-c", "CRASHED LEFTOVER", "2026-11-26T10:10:00Z", None)
        };
        let created = Run { token: "20261126-d".into(), state: "CREATED".into(), ..Run::default() };
        one.runs = Some(vec![
            run("20261125-e", "DONE 0", "2026-11-25T12:00:00Z", Some("2026-11-25T12:10:00Z")),
            run("20261125-f", "DONE 0", "2026-11-25T12:00:00Z", Some("2026-11-25T12:09:59Z")),
            run("20261126-g", "DONE 3", "2026-11-26T11:00:00Z", Some("2026-11-26T12:05:00Z")),
            run("20261126-h", "REBOOTED", "2026-11-26T09:00:00Z", None),
            Run { token: "20261101-j".into(), state: "DONE 0".into(), ..Run::default() },
            Run {
                token: "20261101-i".into(),
                state: "CANCELLED".into(),
                ended: Some(at("2026-11-01T00:00:00Z")),
                ..Run::default()
            },
            live,
            stopped,
            left,
            created,
        ]);
        one.running = Some([("review".to_owned(), 1)].into());
        one.matched = Some(vec![Matched {
            agent: "review".into(),
            pid: 77,
            start: 12345,
            started: Some(at("2026-11-26T11:40:00Z")),
            sid: 77,
            uid: 0,
            procs: 2,
            rss: 5 << 20,
            cpu_ms: 1500,
            command: "bash review/review-pr.sh 9".into(),
        }]);
        vec![one, Sample::missing("two", now, "connect timed out after 10 s")]
    }

    #[test]
    fn what_lives_comes_first_and_what_is_over_after_it_and_who_is_silent_last() {
        let samples = samples();
        insta::assert_snapshot!(table(&shown(&samples, false, true), Style::PLAIN), @r"
        HOST  TOKEN         AGENT   REPO  STATE                               AGE     RSS   CPU     LAST
        one   20261126-c    dev     harb  crashed, leftover                       2h  1MiB      0s
        one   20261126-a    dev     harb  running                                 1h  3GiB  12m 5s  test 12 of 30: it takes a while, and says so at length
        one   pid:77:12345  review  -     running                                30m  5MiB      1s  $ bash review/review-pr.sh 9
        one   20261126-b    dev     harb  running, stopping (anna), critical      1m     -       -
        one   20261126-d    -       -     created                                  -     -       -
        one   20261126-g    dev     harb  done 3, 5m ago                      1h 10m     -       -
        one   20261126-h    dev     harb  rebooted                            3h 10m     -       -
        one   20261125-e    dev     harb  done 0, 1d ago                          1d     -       -
        two: unknown: connect timed out after 10 s
        ");
        let shown = shown(&samples, false, true);
        assert_eq!(notes(&shown, 2), ["3 older runs not shown: --all shows those too"]);
        assert_eq!(super::shown(&samples, true, true).rows.len(), shown.rows.len() + 3);
    }

    #[test]
    fn a_terminal_shows_a_row_on_a_line() {
        let samples = samples();
        let shown = shown(&samples, false, true);
        for (width, color) in [(115, false), (115, true), (20, false)] {
            let text = table(&shown, Style { width, terminal: true, color, unicode: false });
            let first = text.lines().find(|line| line.contains("20261126-a")).unwrap();
            assert!(first.contains("test") && first.ends_with("...") && !text.contains("at length"), "{text}");
            assert_eq!(text.lines().count(), table(&shown, Style::PLAIN).lines().count());
            let widest = text.lines().filter(|line| line.starts_with("one")).map(str::len).max().unwrap();
            assert!(color || widest <= width.max(110), "{widest}: {text}");
        }
    }

    #[test]
    fn what_could_not_be_looked_at_is_unknown() {
        let mut samples = samples();
        samples[0].matched = None;
        let unknown = |samples: &[Sample], looked| -> Vec<String> {
            shown(samples, false, looked).unknown.into_iter().map(|(host, why)| format!("{host} {why}")).collect()
        };
        assert_eq!(unknown(&samples, false), ["two connect timed out after 10 s"]);
        assert!(unknown(&samples, true)[0].contains("not shown"));
        samples[0].runs = None;
        assert!(unknown(&samples, false)[0].contains("states"));
        samples[0].runs = Some(vec![]);
        samples[0].running = Some([("dev".to_owned(), 2881)].into());
        samples[0].matched = Some(vec![]);
        assert_eq!(unknown(&samples, true)[0], "one 2881 processes match, of which 0 are shown");
    }
}
