//! Manual holds and what was done about them, for people.

use jiff::Timestamp;

use serde_json::{Value, json};

use super::Ui;
use super::diagnostic::Style;
use super::table::{Field, Sheet, plain};
use crate::cli::global::Form;
use crate::error::Error;
use crate::exit::Exit;
use crate::journal::Event;
use crate::policy::hold::{Held, Hold, Pick, Scope, Wish};
use crate::tick::Action;
use crate::tick::hand::{Acted, Stopped};
use crate::tick::manual::{Halted, Lifted};
use crate::tick::stop::Ended;
use crate::tick::words::{files, words};

/// What is held on a host: `held: agent dev, by anna until 14:03 UTC (upgrade)`.
pub fn on_host(holds: &[Hold], host: &str) -> Option<String> {
    let here = holds.iter().filter(|hold| hold.scope.hosts.has(host));
    let texts: Vec<String> = here
        .map(|hold| {
            let scope = Scope { hosts: Pick::one(host), ..hold.scope.clone() }.to_string();
            let what = scope.strip_suffix(&format!(" on {host}")).unwrap_or(&scope);
            format!("{}, {}", what.trim_end_matches(','), by(hold))
        })
        .collect();
    (!texts.is_empty()).then(|| format!("held: {}", texts.join("; ")))
}

/// `by anna until 14:03 UTC (upgrade)`.
fn by(hold: &Hold) -> String {
    format!("by {}{}", plain(&hold.by), rest(hold))
}

/// ` until 14:03 UTC (upgrade)`, or less.
fn rest(hold: &Hold) -> String {
    let until = hold.until.as_ref().map(|until| format!(" until {}", time(until.at))).unwrap_or_default();
    let reason = hold.reason.as_ref().map(|reason| format!(" ({})", plain(reason))).unwrap_or_default();
    format!("{until}{reason}")
}

/// `agent dev on beefy-2, by anna since 2026-11-22 12:03 UTC until 14:03 UTC (upgrade)`.
pub fn sentence(hold: &Hold) -> String {
    let since = format!(" since {}", time(hold.since));
    format!("{}, by {}{since}{}", hold.scope, plain(&hold.by), rest(hold))
}

/// A moment, to the minute.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The holds as a table.
pub fn table(holds: &[Hold], style: Style) -> String {
    let mut sheet = Sheet::new(style, &["HOLD", "WHAT", "BY", "SINCE", "UNTIL", "REASON"]);
    for hold in holds {
        sheet.row([
            Field::text(&hold.id),
            Field::text(hold.scope.to_string()),
            Field::text(&hold.by),
            Field::text(time(hold.since)),
            Field::text(hold.until.as_ref().map_or("resumed".to_owned(), |until| time(until.at))),
            Field::text(hold.reason.as_deref().unwrap_or("-")),
        ]);
    }
    sheet.to_string()
}

/// A line for each thing that was done, or that would be.
pub fn actions(actions: &[Action], check: bool) -> String {
    let line = |action: &Action| match (&action.failed, check) {
        (Some(why), _) => format!("{}: {}: {}\n", action.host, action.what, plain(why)),
        (None, true) => format!("{}: would {}\n", action.host, action.what),
        (None, false) => format!("{}: done: {}\n", action.host, action.what),
    };
    actions.iter().map(line).collect()
}

/// What a halt would hold, on stdout.
pub fn show_would_hold(wish: &Wish, ui: &Ui) {
    if ui.form != Form::Text {
        let value = json!({ "check": true, "scope": wish.scope, "by": wish.by, "reason": wish.reason });
        return ui.object("halt", &value);
    }
    ui.print(&format!("would hold {}\n", wish.scope));
}

/// The holds that a resume would lift, on stdout.
pub fn show_would_lift(inside: &[Hold], ui: &Ui) {
    if ui.form != Form::Text {
        return ui.object("resume", &json!({ "check": true, "ended": inside }));
    }
    match inside {
        [] => ui.print("would lift nothing: no hold is inside that\n"),
        _ => ui.print(&format!("would lift\n{}", table(inside, ui.out))),
    }
}

/// What became of a hold, on stdout: its line, then a row a host, then a row for each run that was told to stop.
pub fn show_halted(halted: &Halted, stopped: &[(String, String, Ended)], ui: &Ui) {
    let Halted { hold, held, hosts, .. } = halted;
    if ui.form != Form::Text {
        let value = json!({ "hold": hold, "became": became(*held), "hosts": rows_json(hosts),
            "stopped": super::runs::stopped_json(stopped) });
        return ui.object("halt", &value);
    }
    let word = match held {
        Held::New => "held",
        Held::Updated => "held already, now changed",
        Held::Already => "held already",
    };
    ui.print(&format!("{word}: {}, {} (hold {})\n{}", hold.scope, by(hold), hold.id, rows(hosts, "held", ui.out)));
    super::runs::show_stopped("stop", stopped, ui);
    ui.note(&format!("lift it with `factory resume {}`", hold.scope.flags()));
}

/// What was lifted, on stdout: a line a hold, then a row a host, then what still covers it.
pub fn show_lifted(lifted: &Lifted, scope: &Scope, ui: &Ui) {
    let Lifted { resumed, hosts, .. } = lifted;
    if ui.form != Form::Text {
        let value = json!({ "ended": resumed.ended, "wider": resumed.wider, "hosts": rows_json(hosts) });
        return ui.object("resume", &value);
    }
    if resumed.ended.is_empty() && resumed.wider.is_empty() {
        ui.print(&format!("nothing was held by people: {scope}\n"));
    }
    for hold in &resumed.ended {
        ui.print(&format!("lifted: {}, {} (hold {})\n", hold.scope, by(hold), hold.id));
    }
    let busy: Vec<_> = hosts.iter().filter(|(_, acted)| !acted.done.is_empty() || acted.stopped.is_some()).collect();
    if !busy.is_empty() {
        let done = if resumed.wider.is_empty() { "released" } else { "changed" };
        ui.print(&rows(busy, done, ui.out));
    }
    for hold in &resumed.wider {
        ui.warn(&format!("still held: {}, {}; `factory resume {}` lifts it", hold.scope, by(hold), hold.scope.flags()));
    }
}

/// What was written to hosts without the ledger; `stop` says that runs should have been told to stop too.
pub fn show_by_hand(told: &[(String, Option<Error>)], wish: &Wish, stop: bool, why: &str, ui: &Ui) {
    if ui.form == Form::Text {
        let mut sheet = Sheet::new(ui.out, &["HOST", "STATE", "NOTE"]);
        for (host, failed) in told {
            let (state, level, note) = match failed {
                None => ("held by hand", 1, "whoever leads finds it and records it".to_owned()),
                Some(error) => ("not held", 4, error.with_causes()),
            };
            sheet.row([Field::text(host), Field::text(state).level(level), Field::text(note)]);
        }
        ui.print(&sheet.to_string());
    } else {
        let rows = |(host, failed): &(String, Option<Error>)| json!({"host": host, "held": failed.is_none(), "why": failed.as_ref().map(Error::with_causes)});
        let hosts: Vec<_> = told.iter().map(rows).collect();
        ui.object("halt", &json!({ "recorded": false, "why": why, "hosts": hosts }));
    }
    let time = if wish.seconds.is_some() { "; it does not end by itself" } else { "" };
    ui.warn(&format!("{why}: the halt files were written straight to the hosts, as a person's{time}"));
    if stop {
        ui.warn(
            "runs were not told to stop, and go on: `factory ps` shows them; end them on their hosts, or give the same \
             order again once whoever leads can carry it out",
        );
    }
}

/// What a verb did to hosts: a line that says what with, and a row a host.
pub fn show_hosts(kind: &str, what: &str, done: &str, hosts: &[(String, Acted)], ui: &Ui) {
    match ui.form {
        Form::Text => ui.print(&format!("{kind}: {what}\n{}", rows(hosts, done, ui.out))),
        _ => ui.object(kind, &json!({ "what": what, "hosts": rows_json(hosts) })),
    }
}

fn became(held: Held) -> &'static str {
    match held {
        Held::New => "new",
        Held::Updated => "updated",
        Held::Already => "already",
    }
}

/// A row a host: what was done, or why not and what to do.
fn rows<'a>(hosts: impl IntoIterator<Item = &'a (String, Acted)>, done: &str, style: Style) -> String {
    let mut sheet = Sheet::new(style, &["HOST", "STATE", "NOTE"]);
    for (host, acted) in hosts {
        let what: Vec<String> = acted.done.iter().map(|(op, _)| files(op)).collect();
        let (state, level, note) = match &acted.stopped {
            None if acted.degraded => {
                (done, 1, format!("{}; its disk is full, empty files stand for it", what.join(", ")))
            }
            None => (done, 0, what.join(", ")),
            Some(stopped) => {
                let state = if stopped.exit() == Exit::Unreachable { "not reached" } else { "refused" };
                let advice = stopped.advice(host).map(|advice| format!("; {advice}")).unwrap_or_default();
                (state, 4, format!("{stopped}{advice}"))
            }
        };
        sheet.row([Field::text(host), Field::text(state).level(level), Field::text(note)]);
    }
    sheet.to_string()
}

fn rows_json(hosts: &[(String, Acted)]) -> Vec<Value> {
    let row = |(host, acted): &(String, Acted)| {
        let done: Vec<String> = acted.done.iter().map(|(op, _)| words(op)).collect();
        let why = acted.stopped.as_ref().map(Stopped::to_string);
        json!({ "host": host, "done": done, "degraded": acted.degraded, "why": why,
                "help": acted.stopped.as_ref().and_then(|stopped| stopped.advice(host)) })
    };
    hosts.iter().map(row).collect()
}

/// A hold, for the journal.
pub fn halted_events(halted: &Halted) -> Vec<Event> {
    let Halted { hold, held, hosts, .. } = halted;
    let word = match held {
        Held::New => "held",
        Held::Updated => "held anew",
        Held::Already => "held again, as it was",
    };
    let first = format!("{word}: {}, {} (hold {})", hold.scope, by(hold), hold.id);
    [event(None, 0, first)].into_iter().chain(host_events(hosts)).collect()
}

/// A resume, for the journal.
pub fn lifted_events(lifted: &Lifted, who: &str) -> Vec<Event> {
    let ended = lifted.resumed.ended.iter();
    let ended =
        ended.map(|hold| event(None, 0, format!("lifted by {}: {} (hold {})", plain(who), hold.scope, hold.id)));
    lifted.events.iter().cloned().chain(ended).chain(host_events(&lifted.hosts)).collect()
}

/// What was done on each host, for the journal.
pub fn host_events(hosts: &[(String, Acted)]) -> Vec<Event> {
    let of = |(host, acted): &(String, Acted)| {
        let done = acted.done.iter().map(|(op, _)| event(Some(host), 0, words(op)));
        let stopped =
            acted.stopped.iter().map(|stopped| event(Some(host), 1, format!("{host} not changed: {stopped}")));
        done.chain(stopped).collect::<Vec<_>>()
    };
    hosts.iter().flat_map(of).collect()
}

fn event(host: Option<&str>, severity: u8, message: String) -> Event {
    Event { at: Timestamp::now(), host: host.map(str::to_owned), what: "hold".to_owned(), severity, message }
}
