//! Replayed samples, for people.

use std::collections::BTreeMap;

use super::diagnostic::Style;
use super::table::{Field, Sheet, length, plain};
use crate::policy::replay::{Line, Totals};

/// One line for a sample that changed something, nothing for one that did not.
pub fn line(line: &Line, _: Style) -> String {
    if line.actions.is_empty() {
        return String::new();
    }
    let at = line.at.strftime("%F %TZ");
    let survive = if line.survive { ", SURVIVE" } else { "" };
    let what = line.actions.join(", ");
    format!(
        "{at}  {}  {what}: now dev {}, review {}{survive}: {}\n",
        plain(&line.host),
        line.dev,
        line.review,
        plain(&line.reason)
    )
}

/// A row a host: how often it changed, and how long it stood on each rung.
pub fn summary(hosts: &BTreeMap<String, Totals>, style: Style) -> String {
    let headings = [
        "HOST",
        "SAMPLES",
        "MISSED",
        "CHANGES",
        "STOPS",
        "DEV HOLD",
        "DEV STOP",
        "REVIEW HOLD",
        "REVIEW STOP",
        "SURVIVE",
    ];
    let mut sheet = Sheet::new(style, &headings);
    for (host, totals) in hosts {
        let time = |rung: &str| {
            let seconds = totals.seconds.get(rung).copied().unwrap_or_default();
            Field::number(length(seconds.round().max(0.0) as u64))
        };
        let number = |count: u64| Field::number(count.to_string());
        sheet.row([
            Field::text(host),
            number(totals.samples),
            number(totals.missed),
            number(totals.transitions),
            number(totals.stops),
            time("dev HOLD"),
            time("dev STOP"),
            time("review HOLD"),
            time("review STOP"),
            time("survive"),
        ]);
    }
    sheet.to_string()
}
