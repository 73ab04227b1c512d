//! One line for people.

use super::{Level, Severities, Severity};

/// How a host is, in one line: `ok: 19.2GiB of 31.3GiB free, load 0.5`, or the worst level and what it comes from, the
/// worst first: `hard: memory 1.1GiB free, below 2GiB; disk / 9GiB free, below 10GiB`.
pub fn verdict(severities: &Severities) -> String {
    if !severities.whole {
        let why = severities.missing.as_deref().unwrap_or("no answer");
        return format!("unknown: {why}");
    }
    let mut bad: Vec<&Severity> = severities.signals.iter().filter(|severity| severity.level > Level::Ok).collect();
    bad.sort_by_key(|severity| std::cmp::Reverse(severity.level));
    let Some(worst) = bad.first() else { return format!("ok: {}", state(severities)) };
    let texts: Vec<&str> = bad.iter().map(|severity| severity.text.as_str()).collect();
    format!("{}: {}", worst.level, texts.join("; "))
}

/// Memory and load, as far as they are known.
fn state(severities: &Severities) -> String {
    use crate::inventory::units::Bytes;
    let memory = severities.mem.and_then(|mem| Some((Bytes(mem.available?), mem.total)));
    let memory = memory.map(|(free, total)| match total {
        Some(total) => format!("{free} of {} free", Bytes(total)),
        None => format!("{free} free"),
    });
    let load = severities.load1.map(|load| format!("load {load}"));
    memory.into_iter().chain(load).collect::<Vec<_>>().join(", ")
}
