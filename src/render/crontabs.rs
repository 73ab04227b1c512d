//! Crontabs, and what is to become of them, for people.

use serde_json::{Value, json};

use super::Ui;
use super::diagnostic::Style;
use super::table::{Field, Sheet};
use crate::cli::global::Form;
use crate::remote::crontab::read::Crontabs;
use crate::remote::crontab::{Line, Mark, What, percent, shown};
use crate::remote::guard::Table;
use crate::tick::hand::{Acted, Stopped};
use crate::tick::words::words;

/// What is to be done to a host.
#[derive(Debug)]
pub struct Todo {
    /// The host.
    pub host: String,
    /// What changes in its crontabs, as `diff -u` shows it.
    pub diff: Option<String>,
    /// What else is done, a line each.
    pub more: Vec<String>,
    /// What of the agents still runs there, a line each.
    pub still: Vec<String>,
    /// Why nothing can be done.
    pub stopped: Option<Stopped>,
}

impl Todo {
    /// One of which only this is known.
    pub fn of(host: &str) -> Todo {
        Todo { host: host.to_owned(), diff: None, more: Vec::new(), still: Vec::new(), stopped: None }
    }

    /// Whether nothing is to be done.
    pub fn is_nothing(&self) -> bool {
        self.diff.is_none() && self.more.is_empty()
    }
}

/// Shows what is to be done, before anybody is asked; `nothing` is said of a host where nothing is. As JSON it is part of
/// [`done`], so there a person who is asked sees it on stderr.
pub fn todo(todo: &[Todo], nothing: &str, ui: &Ui) {
    let mut text = String::new();
    for one in todo {
        let host = &one.host;
        if let Some(why) = &one.stopped {
            let advice = why.advice(host).map(|advice| format!("; {advice}")).unwrap_or_default();
            text.push_str(&format!("{host}: {why}{advice}\n"));
            continue;
        }
        if one.is_nothing() {
            text.push_str(&format!("{host}: {nothing}\n"));
        }
        one.diff.iter().for_each(|diff| text.push_str(&format!("{host}: {diff}")));
        one.more.iter().for_each(|line| text.push_str(&format!("{host}: {line}\n")));
    }
    match ui.form {
        Form::Text => ui.print_some(&text),
        _ if ui.can_ask() => ui.note(&text),
        _ => {}
    }
}

/// What was done to hosts, on stdout. `acted` is empty with `--check`.
pub fn done(kind: &str, word: &str, todo: &[Todo], acted: &[(String, Acted)], check: bool, ui: &Ui) {
    let of = |host: &str| acted.iter().find(|(name, _)| name == host).map(|(_, acted)| acted);
    let why = |one: &Todo| match of(&one.host) {
        Some(acted) => acted.stopped.as_ref().map(|why| (why.to_string(), why.advice(&one.host))),
        None => one.stopped.as_ref().map(|why| (why.to_string(), why.advice(&one.host))),
    };
    if ui.form != Form::Text {
        let row = |one: &Todo| {
            let did: Vec<String> =
                of(&one.host).into_iter().flat_map(|acted| &acted.done).map(|(op, _)| words(op)).collect();
            let (why, help) = why(one).unzip();
            json!({ "host": one.host, "diff": one.diff, "more": one.more, "still": one.still, "done": did, "why": why,
                    "help": help.flatten() })
        };
        return ui.object(kind, &json!({ "check": check, "hosts": todo.iter().map(row).collect::<Vec<_>>() }));
    }
    if !acted.is_empty() {
        let mut sheet = Sheet::new(ui.out, &["HOST", "STATE", "NOTE"]);
        for one in todo.iter().filter(|one| of(&one.host).is_some()) {
            let (state, level, note) = match why(one) {
                None => (word, 0, String::new()),
                Some((why, help)) => {
                    ("not changed", 4, format!("{why}{}", help.map(|help| format!("; {help}")).unwrap_or_default()))
                }
            };
            sheet.row([Field::text(&one.host), Field::text(state).level(level), Field::text(note)]);
        }
        ui.print(&sheet.to_string());
    }
    for one in todo {
        one.still
            .iter()
            .for_each(|line| ui.print(&format!("{}: still there: {}\n", one.host, super::table::plain(line))));
    }
}

/// The lines of a host's crontabs that are about agents or about us, its backups, and what is wrong.
pub struct Shown {
    host: String,
    lines: Vec<(Table, Line)>,
    seen: Crontabs,
    warnings: Vec<String>,
}

impl Shown {
    /// Of what was seen on a host.
    pub fn new(host: &str, seen: Crontabs, marks: &[Mark]) -> Shown {
        let lines = seen.tables.iter();
        let lines = lines.flat_map(|(table, bytes)| shown(bytes, marks).into_iter().map(|line| (table.clone(), line)));
        let all = seen
            .tables
            .iter()
            .flat_map(|(_, bytes)| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>());
        let mut warnings = percent(&all.collect::<Vec<_>>());
        warnings.extend(seen.refused.iter().map(|why| format!("the crontab cannot be read: {why}")));
        Shown { host: host.to_owned(), lines: lines.collect(), seen, warnings }
    }

    fn what(line: &Line) -> (&'static str, u8, String) {
        match &line.what {
            What::Live(keys) => {
                let (taken, held): (Vec<&String>, Vec<&String>) =
                    keys.iter().partition(|key| key.starts_with("takeover:"));
                let names = if held.is_empty() { taken } else { held };
                let names: Vec<&str> = names.iter().map(|key| key.strip_prefix("takeover:").unwrap_or(key)).collect();
                ("starts", 1, names.join(", "))
            }
            What::Held(key) => match key.strip_prefix("takeover:") {
                Some(agent) => ("taken over", 0, agent.to_owned()),
                None => ("held", 0, key.clone()),
            },
            What::Block(fleet) => ("ours", 0, fleet.clone()),
        }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let lines = self.lines.iter().map(|(table, line)| {
            let (what, _, of) = Shown::what(line);
            json!({ "table": table.word(), "line": line.number, "what": what, "of": of, "text": line.text })
        });
        let backups =
            self.seen.backups.iter().map(
                |one| json!({ "name": one.name, "table": one.table().word(), "at": one.time(), "size": one.size }),
            );
        json!({ "host": self.host, "lines": lines.collect::<Vec<_>>(), "backups": backups.collect::<Vec<_>>(),
                "warnings": self.warnings })
    }

    /// As text.
    pub fn text(&self, style: Style) -> String {
        let host = &self.host;
        let mut text = String::new();
        if self.lines.is_empty() && self.seen.refused.is_none() {
            text.push_str(&format!("{host}: no line of ours, and none that starts an agent\n"));
        }
        if !self.lines.is_empty() {
            let mut sheet = Sheet::new(style, &["HOST", "CRONTAB", "LINE", "WHAT", "OF", "TEXT"]);
            for (table, line) in &self.lines {
                let (what, level, of) = Shown::what(line);
                sheet.row([
                    Field::text(host),
                    Field::text(table.word()),
                    Field::number(line.number.to_string()),
                    Field::text(what).level(level),
                    Field::text(of),
                    Field::text(&line.text),
                ]);
            }
            text.push_str(&sheet.to_string());
        }
        if !self.seen.backups.is_empty() {
            let mut sheet = Sheet::new(style, &["HOST", "BACKUP", "OF", "MADE", "BYTES"]);
            for one in &self.seen.backups {
                sheet.row([
                    Field::text(host),
                    Field::text(&one.name),
                    Field::text(one.table().word()),
                    Field::text(one.time()),
                    Field::number(one.size.to_string()),
                ]);
            }
            text.push_str(&format!("\n{sheet}"));
        }
        text
    }

    /// What is wrong, a line each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|warning| format!("{}: {warning}", self.host))
    }
}
