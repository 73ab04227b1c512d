//! Holds in a tick: what each host shows is compared with the ledger, put right, and what people did on the hosts
//! themselves is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::task::JoinSet;
use tracing::info;

use super::hand::{Acted, Hand, Place, Stopped};
use super::lead::{Led, boot_clock, lead};
use crate::error::{Error, Result};
use crate::journal::Event;
use crate::ledger::{Change, Document, HostEntry, Ledger, random_id};
use crate::policy::hold::{self, BootClock, Hold, Model, Note, Person, Plan, Sighting};
use crate::remote::guard::Op;
use crate::remote::sample::{Found, Sample};

/// The holds of one tick.
pub struct Holds {
    /// The ledger, and the document as it was when the tick began; why there is none.
    ledger: Result<Book>,
    hand: Hand,
    model: Arc<Model>,
    names: BTreeSet<String>,
    max_age: Duration,
    seen: Vec<Seen>,
    waiting: Vec<Seen>,
    tasks: JoinSet<(Seen, Acted)>,
    barred: BTreeMap<String, String>,
    /// The host-id of each that answered, also of those where nothing may be changed.
    ids: BTreeMap<String, String>,
    began: Timestamp,
    events: Vec<Event>,
    actions: Vec<Action>,
}

struct Book {
    /// None for `--check`, which writes nothing.
    ledger: Option<Arc<Ledger>>,
    document: Document,
}

/// What one host showed.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) place: Place,
    host_id: Option<String>,
    /// The epoch that the host obeys.
    epoch: Option<u64>,
    sighting: Sighting,
    at: BootClock,
    /// Before this nobody had looked; by the wall clock, as the ends of holds are.
    began: Timestamp,
}

impl Seen {
    pub(super) fn new(place: Place, sample: &Sample, found: &[Found], began: Timestamp) -> Seen {
        let epoch = sample.fence.as_ref().and_then(|fence| fence.epoch);
        Seen { host_id: sample.host_id.clone(), epoch, sighting: Sighting::of(found), at: boot_clock(), began, place }
    }
}

/// Something done to a host, or, with `--check`, to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Action {
    /// The host.
    pub host: String,
    /// What, for people: `hold dev, review`.
    pub what: String,
    /// Why it was not done; absent when it was, or is only to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What a tick's holds came to.
#[derive(Debug, Default)]
pub struct Kept {
    /// The holds after the tick, those over not among them.
    pub holds: Vec<Hold>,
    /// What was done.
    pub actions: Vec<Action>,
    /// What is worth telling.
    pub events: Vec<Event>,
    /// Why the ledger could not be used.
    pub failed: Option<Error>,
}

impl Holds {
    /// Takes the lead and reads what is held. `names` are all hosts of the inventory; what was seen
    /// longer ago than `max_age` is not acted on. With `check` nothing is written.
    pub async fn open(
        state: &Path,
        hand: Hand,
        model: Model,
        names: BTreeSet<String>,
        max_age: Duration,
        me: &str,
        check: bool,
    ) -> Holds {
        let mut holds = Holds {
            ledger: Err(Error::failed("the ledger was not opened")),
            hand,
            model: Arc::new(model),
            names,
            max_age,
            seen: Vec::new(),
            waiting: Vec::new(),
            tasks: JoinSet::new(),
            barred: BTreeMap::new(),
            ids: BTreeMap::new(),
            began: Timestamp::now(),
            events: Vec::new(),
            actions: Vec::new(),
        };
        holds.ledger = if check { holds.look(state, me).await } else { holds.take_lead(state, me).await };
        holds
    }

    async fn look(&self, state: &Path, me: &str) -> Result<Book> {
        let old = match Ledger::open_to_read(state)? {
            Some(ledger) => ledger.read().await?.map(|(_, document)| document),
            None => None,
        };
        Ok(Book { ledger: None, document: old.map_or_else(|| Document::new(me, 1), Ok)? })
    }

    async fn take_lead(&mut self, state: &Path, me: &str) -> Result<Book> {
        let ledger = Arc::new(Ledger::open(state)?);
        let Led { document, before, expired } = lead(&ledger, me, Timestamp::now(), &boot_clock()).await?;
        if let Some(before) = before {
            self.tell(None, "lease", 1, format!("{me} leads now, {before} did before"));
        }
        for hold in expired {
            self.tell(None, "hold", 0, format!("the time is up for hold {}: {}", hold.id, hold.scope));
        }
        Ok(Book { ledger: Some(ledger), document })
    }

    fn tell(&mut self, host: Option<&str>, what: &str, severity: u8, message: String) {
        let host = host.map(str::to_owned);
        self.events.push(Event { at: Timestamp::now(), host, what: what.to_owned(), severity, message });
    }

    /// Takes in what a host showed, and begins to put it right. Nothing is done from silence, nor on a host whose id
    /// was never seen before the whole sweep is over: it may be another name of one that is still to answer. Says whether
    /// there is something to do there.
    pub fn saw(&mut self, place: Place, sample: &Sample) -> bool {
        let (Ok(book), Some(found)) = (&self.ledger, &sample.found) else { return false };
        let seen = Seen::new(place, sample, found, self.began);
        let name = seen.place.name.clone();
        self.ids.extend(sample.host_id.clone().map(|id| (name.clone(), id)));
        if let Some(why) = barred(&book.document, &self.names, &self.ids, &name, sample) {
            self.bar(&name, why);
            return false;
        }
        let known = book.document.hosts.get(&name).is_some_and(|entry| entry.id.is_some());
        let plan = planned(&book.document, &self.model, &seen);
        self.seen.push(seen.clone());
        let busy = !ops(&book.document, &plan, &seen).is_empty();
        match known {
            _ if !busy => self.tell_notes(&plan, &name),
            true => self.begin(seen),
            false => self.waiting.push(seen),
        }
        busy
    }

    /// Says that nothing is changed on a host, as an event only when that is new.
    fn bar(&mut self, host: &str, why: String) {
        let Ok(book) = &self.ledger else { return };
        let before = book.document.hosts.get(host).and_then(|entry| entry.barred.clone());
        if before.as_ref() != Some(&why) {
            self.tell(Some(host), "refused", 2, format!("{host} is not changed: {why}"));
        }
        self.actions.push(Action {
            host: host.to_owned(),
            what: "nothing is changed".to_owned(),
            failed: Some(why.clone()),
        });
        self.barred.insert(host.to_owned(), why);
    }

    fn tell_notes(&mut self, plan: &Plan, host: &str) {
        for note in &plan.notes {
            let (severity, message) = describe(note, host);
            self.tell(Some(host), "hold", severity, message);
        }
    }

    fn begin(&mut self, seen: Seen) {
        let Ok(book) = &self.ledger else { return };
        let plan = planned(&book.document, &self.model, &seen);
        let host = seen.place.name.clone();
        let Some(ledger) = book.ledger.clone() else {
            let ops = ops(&book.document, &plan, &seen);
            self.actions.extend(ops.iter().map(|op| Action { host: host.clone(), what: words(op), failed: None }));
            return;
        };
        self.tell_notes(&plan, &host);
        let (hand, model, max_age) = (self.hand.clone(), Arc::clone(&self.model), self.max_age);
        self.tasks.spawn(async move {
            let now = boot_clock();
            let age = Duration::from_secs_f64((now.seconds - seen.at.seconds).max(0.0));
            if age > max_age {
                return (seen, Acted { stopped: Some(Stopped::Stale(age)), ..Acted::default() });
            }
            let decide = |document: &Document| ops(document, &planned(document, &model, &seen), &seen);
            let acted = hand.act(&ledger, &seen.place, decide).await;
            (seen, acted)
        });
    }

    /// Waits for what was begun, records it, and says what is held now.
    pub async fn close(mut self) -> Kept {
        for seen in std::mem::take(&mut self.waiting) {
            // With all answers in, two names of one machine are known.
            match seen.host_id.as_ref().and_then(|id| twin(&self.ids, &seen.place.name, id)).map(twins) {
                Some(why) => self.bar(&seen.place.name, why),
                None => self.begin(seen),
            }
        }
        let mut acted: BTreeMap<String, Acted> = BTreeMap::new();
        while let Some(ended) = self.tasks.join_next().await {
            let Ok((seen, done)) = ended else { continue };
            self.note(&seen.place.name, &done);
            acted.insert(seen.place.name, done);
        }
        let Holds { ledger, model, seen, barred, ids, mut events, actions, .. } = self;
        let book = match ledger {
            Ok(book) => book,
            Err(error) => return Kept { events, actions, failed: Some(error), ..Kept::default() },
        };
        let recorded = match book.ledger {
            None => Ok((Some(book.document), Vec::new())),
            Some(ledger) => record(&ledger, &model, &seen, &acted, &barred, &ids, true).await,
        };
        let (document, found, failed) = match recorded {
            Ok((document, found)) => (document, found, None),
            Err(error) => (None, Vec::new(), Some(error)),
        };
        events.extend(found);
        let holds = document.map(|document| document.holds).unwrap_or_default();
        let holds = holds.into_iter().filter(|hold| hold.ended.is_none()).collect();
        Kept { holds, actions, events, failed }
    }

    fn note(&mut self, host: &str, acted: &Acted) {
        for (op, _) in &acted.done {
            let what = words(op);
            info!(host, what, degraded = acted.degraded, "done");
            let full = if acted.degraded { " (its disk is full: empty files stand for it)" } else { "" };
            self.tell(Some(host), "hold", 0, format!("{what}{full}"));
            self.actions.push(Action { host: host.to_owned(), what, failed: None });
        }
        if let Some(stopped) = &acted.stopped {
            let advice = stopped.advice(host).map(|advice| format!("; {advice}")).unwrap_or_default();
            self.bar(host, format!("{stopped}{advice}"));
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

/// Another name that showed this id.
fn twin<'a>(ids: &'a BTreeMap<String, String>, name: &str, id: &str) -> Option<&'a str> {
    ids.iter().find(|(other, theirs)| *other != name && *theirs == id).map(|(other, _)| other.as_str())
}

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
fn ops(document: &Document, plan: &Plan, seen: &Seen) -> Vec<Op> {
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

fn describe(note: &Note, host: &str) -> (u8, String) {
    match note {
        Note::PutBack { id, file } => (1, format!("hold {id} was gone from {file} on {host}: it is put back")),
        Note::GivenUp { id, file } => {
            (2, format!("hold {id} is gone again from {file} on {host}: it is left so; hold it anew or resume it"))
        }
    }
}

/// What an op does, for people.
pub fn words(op: &Op) -> String {
    let files = files(op);
    match op {
        Op::Seal => "seal".to_owned(),
        Op::Adopt => "adopt".to_owned(),
        Op::Repair => "repair".to_owned(),
        Op::Halt { .. } => format!("hold {files}"),
        Op::Resume { .. } => format!("release {files}"),
    }
}

/// The halt files that an op is about, and the files that it hides or shows.
pub fn files(op: &Op) -> String {
    let mut names: Vec<String> = match op {
        Op::Seal | Op::Adopt | Op::Repair => Vec::new(),
        Op::Halt { add, .. } => add.iter().map(|(file, _)| file.to_string()).collect(),
        Op::Resume { drop, .. } => drop.iter().map(|(file, _)| file.to_string()).collect(),
    };
    match op {
        Op::Halt { hide, .. } => names.extend(hide.iter().cloned()),
        Op::Resume { show, .. } => names.extend(show.iter().map(|(path, _)| path.clone())),
        _ => {}
    }
    names.sort();
    names.dedup();
    names.join(", ")
}
