//! Hosts and their samples as tables and JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::diagnostic::Style;
use super::table::{Field, Sheet, count, verdict};
use crate::inventory::agents::Class;
use crate::inventory::units::Bytes;
use crate::policy::hold::Hold;
use crate::policy::ladder::Standing;
use crate::remote::sample::{Disk, Sample};
use crate::tick::decide::why_not;
use crate::tick::{Decided, Outcome, UNKNOWN};

/// A row a host: its level and the figures that matter most.
pub fn table(hosts: &[Decided], style: Style) -> String {
    let mut sheet =
        Sheet::new(style, &["HOST", "LEVEL", "MEM FREE", "SWAP FREE", "LOAD", "CORES", "DISK FREE", "AGENTS"]);
    for decided in hosts {
        let level = decided.record.level;
        let head = [Field::text(&decided.record.host), Field::text(super::table::level_name(level)).level(level)];
        sheet.row(head.into_iter().chain(figures(&decided.record.sample)));
    }
    sheet.to_string()
}

/// The same without levels, for samples that nobody has judged.
pub fn samples(samples: &[Sample], style: Style) -> String {
    let mut sheet =
        Sheet::new(style, &["HOST", "MEM FREE", "SWAP FREE", "LOAD", "CORES", "DISK FREE", "AGENTS", "NOTE"]);
    for sample in samples {
        let note = why_not(sample).map_or_else(|| Field::text(""), |why| Field::text(why).level(UNKNOWN));
        sheet.row([Field::text(&sample.host)].into_iter().chain(figures(sample)).chain([note]));
    }
    sheet.to_string()
}

/// Whom hosts obey, as a table.
pub fn fences(samples: &[Sample], style: Style) -> String {
    let mut sheet = Sheet::new(style, &["HOST", "FLEET", "EPOCH", "HOLDER", "NOTE"]);
    for sample in samples {
        let fence = sample.fence.clone().unwrap_or_default();
        let note = sample.missing.clone().unwrap_or_default();
        let fields = [fence.fleet, fence.epoch.map(|epoch| epoch.to_string()), fence.holder];
        let head = [Field::text(&sample.host)].into_iter();
        sheet.row(head.chain(fields.map(Field::maybe)).chain([Field::text(note)]));
    }
    sheet.to_string()
}

/// A line a host: its one-line verdict, and what is held there.
pub fn verdicts(hosts: &[Decided], holds: &[Hold], standings: &BTreeMap<String, Standing>, style: Style) -> String {
    let line = |decided: &Decided| {
        let record = &decided.record;
        let rung = standings.get(&record.host).map(rung).unwrap_or_default();
        let held = super::holds::on_host(holds, &record.host).map(|held| format!("; {held}")).unwrap_or_default();
        format!("{}: {}{rung}{held}\n", record.host, verdict(&record.verdict, record.level, style))
    };
    hosts.iter().map(line).collect()
}

/// What pressure holds: `; dev STOP, review HOLD`, and whether anybody knows.
fn rung(standing: &Standing) -> String {
    let held = |class: &Class| match class {
        Class::Supervisor => "nothing starts".to_owned(),
        class => format!("{class} {}", standing.shown(*class)),
    };
    let away = standing.rung().unreachable.then(|| "out of reach".to_owned());
    let held: Vec<String> = away.into_iter().chain(standing.held.keys().map(held)).collect();
    if held.is_empty() { String::new() } else { format!("; {}", held.join(", ")) }
}

/// `3 hosts, 1 of them unknown`.
pub fn summary(hosts: &[Decided]) -> String {
    let unknown = hosts.iter().filter(|decided| decided.record.level == UNKNOWN).count();
    let unknown = if unknown > 0 { format!(", {unknown} of them unknown") } else { String::new() };
    format!("{}{unknown}", count(hosts.len(), "host"))
}

/// A tick as one object.
pub fn run_json(outcome: &Outcome) -> Value {
    json!({
        "tick": outcome.tick,
        "hosts": outcome.hosts.iter().map(|decided| host_json(decided, &outcome.standings)).collect::<Vec<_>>(),
        "events": outcome.events,
        // Without a ledger nobody knows: null, and not an empty list.
        "holds": outcome.unled.is_none().then_some(&outcome.holds),
        "actions": outcome.actions,
        "recorded": outcome.unrecorded.is_none(),
    })
}

/// A host as one object.
pub fn host_json(decided: &Decided, standings: &BTreeMap<String, Standing>) -> Value {
    let ladder = standings.get(&decided.record.host).map(|standing| {
        let rung = standing.rung();
        json!({ "dev": rung.dev, "review": rung.review, "survive": rung.survive, "unreachable": rung.unreachable,
            "held": standing.held })
    });
    json!({
        "ladder": ladder,
        "host": decided.record.host,
        "level": decided.record.level,
        "since": decided.record.since,
        "seen": decided.record.seen,
        "verdict": decided.record.verdict,
        "severities": decided.record.severities,
        "sample": decided.record.sample,
    })
}

fn figures(sample: &Sample) -> [Field; 6] {
    let of = |free: Option<u64>, total: Option<u64>| match (free, total) {
        (Some(free), Some(total)) => Some(format!("{} of {}", Bytes(free), Bytes(total))),
        (Some(free), None) => Some(Bytes(free).to_string()),
        _ => None,
    };
    let swap = match sample.swap {
        Some(swap) if swap.total == Some(0) => Some("none".to_owned()),
        Some(swap) => of(swap.free, swap.total),
        None => None,
    };
    let disk = sample.disks.as_ref().and_then(|disks| tightest(disks));
    let agents = sample.running.as_ref().map(|running| {
        let some = running.iter().filter(|(_, count)| **count > 0);
        let some: Vec<String> = some.map(|(agent, count)| format!("{count} {agent}")).collect();
        if some.is_empty() { "0".to_owned() } else { some.join(", ") }
    });
    [
        Field::maybe(sample.mem.and_then(|mem| of(mem.available, mem.total))),
        Field::maybe(swap),
        Field::maybe(sample.load.map(|[one, _, _]| one.to_string())),
        Field::maybe(sample.cores.map(|cores| cores.to_string())),
        Field::maybe(disk.map(|disk| format!("{} on {}", Bytes(disk.free.unwrap_or_default()), disk.path))),
        Field::maybe(agents),
    ]
}

/// The watched path with the smallest share of free space: the one that will fill up first.
fn tightest(disks: &[Disk]) -> Option<&Disk> {
    let share = |disk: &&Disk| match (disk.free, disk.total) {
        (Some(free), Some(total)) if total > 0 => Some(free as f64 / total as f64),
        _ => None,
    };
    let known = disks.iter().filter_map(|disk| Some((share(&disk)?, disk)));
    known.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, disk)| disk)
}
