//! What a host showed of holds: whether it may be changed, what is to be done there, and what of it the ledger keeps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::hand::{Acted, Place};
use super::lead::boot_clock;
use crate::error::Result;
use crate::journal::Event;
use crate::ledger::{Change, Document, HostEntry, Ledger, random_id};
use crate::policy::ci_load::CiStanding;
use crate::policy::claim;
use crate::policy::hold::{self, BootClock, Hold, Model, Person, Plan, Sighting};
use crate::policy::ladder::Standing;
use crate::remote::crontab::Edit;
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
    /// Where it stands on the ladder since it was seen; none where only the ledger says so.
    pub(super) standing: Option<Standing>,
    /// Before this nobody had looked; by the wall clock, as the ends of holds are.
    began: Timestamp,
}

impl Seen {
    pub(super) fn new(place: Place, sample: &Sample, found: &[Found], began: Timestamp) -> Seen {
        let epoch = sample.fence.as_ref().and_then(|fence| fence.epoch);
        Seen {
            host_id: sample.host_id.clone(),
            epoch,
            sighting: Sighting::of(found),
            at: boot_clock(),
            standing: None,
            began,
            place,
        }
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

/// Why nothing is changed or launched on a host that a person gave up.
pub fn left(document: &Document, name: &str) -> Option<String> {
    let left = document.hosts.get(name)?.left.as_ref()?;
    let at = left.at.strftime("%Y-%m-%d %H:%M UTC");
    Some(format!("it was left by {} on {at}; `factory takeover {name}` takes it up again", left.by))
}

/// Why nothing is concluded from a host that shows another id than it had, or none.
pub(super) fn replaced(document: &Document, sample: &Sample) -> Option<String> {
    let known = document.hosts.get(&sample.host).filter(|entry| !entry.doubted)?.id.as_ref()?;
    let host = &sample.host;
    (sample.host_id.as_ref() != Some(known))
        .then(|| format!("{host} is not the machine that it was: its host-id is another one, or gone"))
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
    if left(document, name).is_some() {
        let mut plan = Plan::default();
        plan.shown.clone_from(shown);
        return plan;
    }
    let auto = automatic(document, model, name, seen.standing.as_ref());
    let (epoch, decided) = (document.lease.epoch, seen.standing.is_some());
    if auto.is_empty() {
        return hold::plan(name, &document.holds, model, shown, &seen.sighting, epoch, decided);
    }
    let holds: Vec<Hold> = document.holds.iter().cloned().chain(auto).collect();
    hold::plan(name, &holds, model, shown, &seen.sighting, epoch, decided)
}

/// What pressure holds on a host: that of the host itself, where it stands now or as the document has it, and that of the
/// CI of each repo.
pub(super) fn automatic(document: &Document, model: &Model, host: &str, standing: Option<&Standing>) -> Vec<Hold> {
    let by = &document.lease.holder;
    let standing = standing.or_else(|| document.hosts.get(host)?.ladder.as_ref());
    let own = standing.map(|standing| hold::auto(host, standing, model, by)).unwrap_or_default();
    own.into_iter().chain(hold::by_ci(host, &document.ci, model, by)).collect()
}

/// A hold, a person's or one for pressure, that holds `agent` at `repo` on `host`: the stricter of the two counts, so any is
/// enough.
pub(super) fn held(document: &Document, model: &Model, host: &str, agent: &str, repo: &str) -> Option<Hold> {
    let auto = automatic(document, model, host, None);
    let by = |holds: &[Hold]| claim::held(holds, model, host, agent, repo).cloned();
    by(&document.holds).or_else(|| by(&auto))
}

/// Of these calls, or of parts of them, what only tightens: it waits for no ledger.
pub(super) fn tightening(ops: Vec<Op>) -> Vec<Op> {
    let tightens = |op| match op {
        Op::Halt { .. } => Some(op),
        Op::Cron(Edit::Hold { wanted, .. }) if !wanted.is_empty() => {
            Some(Op::Cron(Edit::Hold { wanted, ours: Vec::new() }))
        }
        _ => None,
    };
    ops.into_iter().filter_map(tightens).collect()
}

/// The calls of the guard that do it. A host that obeyed whoever led before is sealed, so that it refuses them from now
/// on, also when there is nothing else to do there; every other call does the same by the way.
pub(super) fn ops(document: &Document, plan: &Plan, seen: &Seen) -> Vec<Op> {
    let ops = plan.ops();
    if left(document, &seen.place.name).is_some() {
        return Vec::new();
    }
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

/// What a look at the hosts leaves to be written.
#[derive(Default)]
pub(super) struct Noted<'a> {
    /// What the hosts showed.
    pub(super) seen: &'a [Seen],
    /// By host, what was done there.
    pub(super) acted: BTreeMap<String, Acted>,
    /// By host, why nothing is changed there.
    pub(super) barred: BTreeMap<String, String>,
    /// Those of which it is not certain who they are.
    pub(super) doubted: BTreeSet<String>,
    /// By host, its host-id.
    pub(super) ids: BTreeMap<String, String>,
    /// By host, where it stands on the ladder now.
    pub(super) standings: BTreeMap<String, Standing>,
    /// By repo, where its CI stands now; none where nobody asked.
    pub(super) ci: Option<BTreeMap<String, CiStanding>>,
    /// How often running something was gone is counted.
    pub(super) counts: bool,
}

/// Writes into the ledger what was seen and done; gives what is worth telling of it.
pub(super) async fn record(
    ledger: &Ledger,
    model: &Model,
    noted: &Noted<'_>,
) -> Result<(Option<Document>, Vec<Event>)> {
    let Noted { seen, acted, barred, doubted, ids, standings, ci, counts } = noted;
    let (now, clock) = (Timestamp::now(), boot_clock());
    let nothing = Acted::default();
    ledger
        .change(|old| {
            let Some(old) = old else { return Ok(Change::Nothing(Vec::new())) };
            let mut document = old.clone();
            let mut events = Vec::new();
            for one in *seen {
                let name = &one.place.name;
                let acted = acted.get(name).unwrap_or(&nothing);
                let plan = planned(old, model, one);
                let mut shown = plan.shown.clone();
                // What was planned on an older document is left to the next look.
                let still = |op: &Op| plan.ops().contains(op);
                acted.done.iter().filter(|(op, _)| still(op)).for_each(|(op, word)| plan.done(op, *word, &mut shown));
                if !*counts {
                    let before = old.hosts.get(name).map(|entry| &entry.shown);
                    let before =
                        |key: &String| before.and_then(|shown| shown.get(key)).map_or(0, |showing| showing.gone);
                    shown.iter_mut().for_each(|(key, showing)| showing.gone = before(key).min(showing.gone));
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
                entry.id = entry.id.take().filter(|_| !entry.doubted).or_else(|| Some(id.clone()));
            }
            for one in *seen {
                let entry = document.hosts.entry(one.place.name.clone()).or_default();
                (entry.barred, entry.doubted) = (None, false);
            }
            document.ci.clone_from(ci.as_ref().unwrap_or(&old.ci));
            for (name, standing) in standings {
                let entry = document.hosts.entry(name.clone()).or_default();
                if entry.ladder.as_ref() != Some(standing) {
                    entry.ladder = Some(standing.clone());
                }
            }
            for (name, why) in barred {
                let entry = document.hosts.entry(name.clone()).or_default();
                (entry.barred, entry.doubted) = (Some(why.clone()), doubted.contains(name));
            }
            Ok(if document == *old { Change::Nothing(events) } else { Change::To(document, events) })
        })
        .await
}

/// What a host shows in place of the id that it had; none when it is the same, or was never known for certain.
fn another(entry: &HostEntry, shows: Option<&str>) -> Option<String> {
    let known = entry.id.as_deref().filter(|_| !entry.doubted)?;
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
