//! What a host showed of holds: whether it may be changed, what is to be done there, and what of it the ledger keeps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::hand::{Acted, Place};
use super::lead::boot_clock;
use crate::error::Result;
use crate::journal::Event;
use crate::ledger::{Change, Document, HostEntry, Ledger, random_id};
use crate::policy::hold::{self, BootClock, Hold, Model, Person, Plan, Sighting};
use crate::remote::guard::Op;
use crate::remote::sample::{Found, Sample};

/// What one host showed.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) place: Place,
    pub(super) host_id: Option<String>,
    /// The epoch that the host obeys.
    epoch: Option<u64>,
    sighting: Sighting,
    /// When it was seen.
    pub(super) at: BootClock,
    /// Before this nobody had looked; by the wall clock, as the ends of holds are.
    began: Timestamp,
}

impl Seen {
    pub(super) fn new(place: Place, sample: &Sample, found: &[Found], began: Timestamp) -> Seen {
        let epoch = sample.fence.as_ref().and_then(|fence| fence.epoch);
        Seen { host_id: sample.host_id.clone(), epoch, sighting: Sighting::of(found), at: boot_clock(), began, place }
    }
}

/// Why nothing may be changed on a host that says this of itself.
pub(super) fn barred(
    document: &Document,
    names: &BTreeSet<String>,
    ids: &BTreeMap<String, String>,
    name: &str,
    sample: &Sample,
) -> Option<String> {
    let theirs = sample.fence.as_ref().and_then(|fence| fence.fleet.as_ref());
    if theirs.is_some_and(|fleet| *fleet != document.fleet) {
        return Some(format!(
            "it belongs to another fleet; if it is yours now: `factory host adopt {name}`; if this machine lost its state: `factory host adopt --all`"
        ));
    }
    let id = sample.host_id.as_ref()?;
    let other = |(other, entry): &(&String, &HostEntry)| {
        *other != name && entry.id.as_ref() == Some(id) && names.contains(*other)
    };
    let known = document.hosts.iter().find(other).map(|(other, _)| other);
    known.map(String::as_str).or_else(|| twin(ids, name, id)).map(twins)
}

/// Another name that showed this id.
pub(super) fn twin<'a>(ids: &'a BTreeMap<String, String>, name: &str, id: &str) -> Option<&'a str> {
    ids.iter().find(|(other, theirs)| *other != name && *theirs == id).map(|(other, _)| other.as_str())
}

/// Why nothing is changed on a machine that has another name too.
pub(super) fn twins(other: &str) -> String {
    format!("it is the same machine as `{other}`: take one of the two names out of the inventory")
}

/// What is to be done on a host that showed this.
pub(super) fn planned(document: &Document, model: &Model, seen: &Seen) -> Plan {
    let nothing = BTreeMap::new();
    let name = &seen.place.name;
    let shown = document.hosts.get(name).map_or(&nothing, |entry| &entry.shown);
    hold::plan(name, &document.holds, model, shown, &seen.sighting, document.lease.epoch)
}

/// The calls of the guard that do it. A host that obeyed whoever led before is sealed, so that it refuses them from now
/// on, also when there is nothing else to do there; every other call does the same by the way.
pub(super) fn ops(document: &Document, plan: &Plan, seen: &Seen) -> Vec<Op> {
    let ops = plan.ops();
    let behind = seen.epoch.is_some_and(|epoch| epoch < document.lease.epoch);
    if ops.is_empty() && behind { vec![Op::Seal] } else { ops }
}

/// The id of a new hold: 8 hexadecimal digits, short enough to be typed.
///
/// # Errors
/// When the system gives no random bytes.
pub fn hold_id() -> Result<String> {
    Ok(random_id()?.chars().take(8).collect())
}

/// Writes into the ledger what was seen and done; gives what is worth telling of it. With `counts` it is noted how often
/// running something was gone.
pub(super) async fn record(
    ledger: &Ledger,
    model: &Model,
    seen: &[Seen],
    acted: &BTreeMap<String, Acted>,
    barred: &BTreeMap<String, String>,
    ids: &BTreeMap<String, String>,
    counts: bool,
) -> Result<(Option<Document>, Vec<Event>)> {
    let (now, clock) = (Timestamp::now(), boot_clock());
    let nothing = Acted::default();
    ledger
        .change(|old| {
            let Some(old) = old else { return Ok(Change::Nothing(Vec::new())) };
            let mut document = old.clone();
            let mut events = Vec::new();
            for one in seen {
                let name = &one.place.name;
                let acted = acted.get(name).unwrap_or(&nothing);
                let plan = planned(old, model, one);
                let mut shown = plan.shown.clone();
                // What was planned on an older document is left to the next look.
                let still = |op: &Op| plan.ops().contains(op);
                acted.done.iter().filter(|(op, _)| still(op)).for_each(|(op, word)| plan.done(op, *word, &mut shown));
                if !counts {
                    let before = old.hosts.get(name).map(|entry| &entry.shown);
                    let before = |key: &String| before.and_then(|shown| shown.get(key)).copied().unwrap_or(0);
                    shown.iter_mut().for_each(|(key, times)| *times = before(key).min(*times));
                }
                for person in &plan.found {
                    // Seen before it was lifted, perhaps: if it is there still, the next look finds it.
                    let lifted = |hold: &Hold| hold.ended.as_ref().is_some_and(|ended| ended.at >= one.began);
                    if old.holds.iter().any(|hold| hold.scope == person.scope && lifted(hold)) {
                        continue;
                    }
                    events.push(found_event(name, person, now));
                    person.record(&mut document.holds, &mut shown, &hold_id()?, now, &clock);
                }
                let entry = document.hosts.entry(name.clone()).or_default();
                entry.shown = shown;
                let other = another(entry, one.host_id.as_deref());
                if other.is_some() && entry.quarantined.is_none() {
                    events.push(quarantine_event(name, now));
                }
                entry.quarantined = other;
                entry.id = entry.id.take().or_else(|| acted.host_id.clone());
            }
            for (name, id) in ids {
                let entry = document.hosts.entry(name.clone()).or_default();
                // A second name of a machine may have become that of another one since.
                entry.id = entry.id.take().filter(|_| entry.barred.is_none()).or_else(|| Some(id.clone()));
            }
            for one in seen {
                document.hosts.entry(one.place.name.clone()).or_default().barred = None;
            }
            for (name, why) in barred {
                document.hosts.entry(name.clone()).or_default().barred = Some(why.clone());
            }
            Ok(if document == *old { Change::Nothing(events) } else { Change::To(document, events) })
        })
        .await
}

/// What a host shows in place of the id that it had; none when it is the same, or was never known for certain.
fn another(entry: &HostEntry, shows: Option<&str>) -> Option<String> {
    let known = entry.id.as_deref().filter(|_| entry.barred.is_none())?;
    (shows != Some(known)).then(|| shows.unwrap_or("none").to_owned())
}

fn quarantine_event(host: &str, at: Timestamp) -> Event {
    let message = format!(
        "{host} is not the machine that it was: its host-id is another one, or gone. Holds go on there, nothing is launched"
    );
    Event { at, host: Some(host.to_owned()), what: "quarantine".to_owned(), severity: 2, message }
}

pub(super) fn found_event(host: &str, person: &Person, at: Timestamp) -> Event {
    let by = person.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let why = person.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let message = format!(
        "found held by hand{by}: {}{why}; lift it with `factory resume {}`",
        person.scope,
        person.scope.flags()
    );
    Event { at, host: Some(host.to_owned()), what: "hold".to_owned(), severity: 1, message }
}
