//! Manual holds and what was done about them, for people.

use jiff::Timestamp;

use super::diagnostic::Style;
use super::table::{Field, Sheet, plain};
use crate::policy::hold::{Hold, Pick, Scope};
use crate::tick::Action;

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
    let until = hold.until.as_ref().map(|until| format!(" until {}", time(until.at))).unwrap_or_default();
    let reason = hold.reason.as_ref().map(|reason| format!(" ({})", plain(reason))).unwrap_or_default();
    format!("by {}{until}{reason}", plain(&hold.by))
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
