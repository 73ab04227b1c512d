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

use super::decide::Decided;
use super::hand::{Acted, Hand, Lead, Place};
use super::lead::{Led, boot_clock, lead};
use super::observe::Target;
use super::pending::Pending;
use super::pressure::{Ladder, Step};
use super::reserve::Reserve;
use super::seen::{Noted, Seen, barred, left, ops, planned, record, twin, twins};
use super::turn::{Outcome, Turn, take};
use super::words::{describe, words};
use crate::error::{Error, Result};
use crate::journal::Event;
use crate::ledger::{Document, Lease, Ledger};
use crate::policy::ci_load::{CiStanding, Load};
use crate::policy::hold::{Hold, Model, Plan, Showing};
use crate::policy::ladder::Standing;
use crate::policy::severity::Latches;
use crate::remote::halt::encode;
use crate::remote::sample::Sample;

/// The holds of one tick.
pub struct Holds {
    book: Book,
    hand: Hand,
    model: Arc<Model>,
    ladder: Arc<Ladder>,
    names: BTreeSet<String>,
    max_age: Duration,
    check: bool,
    seen: Vec<Seen>,
    waiting: Vec<Turn>,
    tasks: JoinSet<(Seen, Outcome)>,
    barred: BTreeMap<String, String>,
    /// Those of them that are another fleet's, or another name's too.
    doubted: BTreeSet<String>,
    /// The host-id of each that answered, also of those where nothing may be changed.
    ids: BTreeMap<String, String>,
    /// Where each host stands on the ladder now.
    standings: BTreeMap<String, Standing>,
    /// Where the CI of each repo stands now; none where nobody asked.
    ci: Option<BTreeMap<String, CiStanding>>,
    /// By host, a rung that goes down, which is not certain before the ledger says so.
    loosening: BTreeMap<String, Moved>,
    began: Timestamp,
    events: Vec<Event>,
    actions: Vec<Action>,
}

/// What is to be told of a rung that moves.
#[derive(Default)]
struct Moved {
    events: Vec<Event>,
    change: Option<String>,
}

/// What decisions rest on.
struct Book {
    /// None for `--check`, which writes nothing, and where it cannot be used at all.
    ledger: Option<Arc<Ledger>>,
    /// The document as it was when the tick began.
    document: Arc<Document>,
    /// Why the ledger cannot be written: then nothing is loosened.
    failed: Option<Error>,
    /// It cannot be read either: the document says nothing, and each host says itself whom it obeys.
    blind: bool,
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

/// What is done to a host that must not be changed.
const NOTHING: &str = "nothing is changed";

/// What a tick's holds came to.
#[derive(Default)]
pub struct Kept {
    /// The holds after the tick, those over not among them.
    pub holds: Vec<Hold>,
    /// What was done.
    pub actions: Vec<Action>,
    /// What is worth telling.
    pub events: Vec<Event>,
    /// Where each host stands on the ladder.
    pub standings: BTreeMap<String, Standing>,
    /// The same, with the epoch in which it was decided, where the ledger does not say so.
    pub pending: BTreeMap<String, (u64, Standing)>,
    /// Why the ledger could not be used: then nothing was loosened or launched.
    pub failed: Option<Error>,
    /// The ledger, none for `--check`, and the document as it was before any host was asked.
    pub book: Option<(Option<Arc<Ledger>>, Document)>,
    /// The hosts where nothing may be changed.
    pub barred: BTreeSet<String>,
}

/// What a tick's holds begin with.
pub struct Setup<'a> {
    /// The state directory.
    pub state: &'a Path,
    /// The agents, as holds see them.
    pub model: Model,
    /// The ladder.
    pub ladder: Ladder,
    /// All hosts of the inventory.
    pub names: BTreeSet<String>,
    /// What was seen longer ago is not acted on.
    pub max_age: Duration,
    /// Who leads.
    pub me: &'a str,
    /// Nothing is written.
    pub check: bool,
    /// What earlier ticks could not write.
    pub pending: &'a Pending,
    /// What to free on a full disk.
    pub reserve: &'a Reserve,
}

impl Holds {
    /// Takes the lead and reads what is held. Where the ledger cannot be written, what tightens goes on all the same.
    pub async fn open(setup: Setup<'_>, hand: Hand) -> Holds {
        let Setup { state, model, ladder, names, max_age, me, check, pending, reserve } = setup;
        let mut holds = Holds {
            book: Book { ledger: None, document: Arc::new(blind(me)), failed: None, blind: true },
            hand,
            model: Arc::new(model),
            ladder: Arc::new(ladder),
            names,
            max_age,
            check,
            seen: Vec::new(),
            waiting: Vec::new(),
            tasks: JoinSet::new(),
            barred: BTreeMap::new(),
            doubted: BTreeSet::new(),
            ids: BTreeMap::new(),
            standings: BTreeMap::new(),
            ci: None,
            loosening: BTreeMap::new(),
            began: Timestamp::now(),
            events: Vec::new(),
            actions: Vec::new(),
        };
        let opened = match check {
            true => holds.look(state, me).await,
            false => match holds.take_lead(state, me).await {
                // A disk that is full has room once the reserve is let go of.
                Err(error) if reserve.free() => {
                    info!(why = %error.with_causes(), "the reserve is let go of");
                    holds.events.push(reserve.event());
                    holds.take_lead(state, me).await
                }
                opened => opened,
            },
        };
        let mut document = match opened {
            Ok((ledger, document)) => {
                (holds.book.ledger, holds.book.blind) = (ledger, false);
                document
            }
            Err(error) => {
                holds.book.failed = Some(error);
                match last(state, me, check).await {
                    Ok((ledger, document)) => {
                        (holds.book.ledger, holds.book.blind) = (ledger, false);
                        document
                    }
                    Err(_) => blind(me),
                }
            }
        };
        // What an earlier tick decided and could not write down. Another supervisor, who led since, knows better.
        for (host, (epoch, standing)) in &pending.standings {
            if holds.book.blind || *epoch == document.lease.epoch {
                document.hosts.entry(host.clone()).or_default().ladder = Some(standing.clone());
                holds.standings.insert(host.clone(), standing.clone());
            }
        }
        holds.book.document = Arc::new(document);
        holds
    }

    async fn look(&self, state: &Path, me: &str) -> Result<(Option<Arc<Ledger>>, Document)> {
        let old = match Ledger::open_to_read(state)? {
            Some(ledger) => ledger.read().await?.map(|(_, document)| document),
            None => None,
        };
        Ok((None, old.map_or_else(|| Document::new(me, 1), Ok)?))
    }

    async fn take_lead(&mut self, state: &Path, me: &str) -> Result<(Option<Arc<Ledger>>, Document)> {
        let ledger = Arc::new(Ledger::open(state)?);
        let Led { document, before, expired } = lead(&ledger, me, Timestamp::now(), &boot_clock()).await?;
        if let Some(before) = before {
            self.tell(None, "lease", 1, format!("{me} leads now, {before} did before"));
        }
        for hold in expired {
            self.tell(None, "hold", 0, format!("the time is up for hold {}: {}", hold.id, hold.scope));
        }
        Ok((Some(ledger), document))
    }

    /// Where a host stands, as far as anybody knows.
    pub fn standing(&self, host: &str) -> Option<&Standing> {
        self.book.document.hosts.get(host)?.ladder.as_ref()
    }

    /// What a host is known to show of holds.
    pub fn shown(&self, host: &str) -> BTreeMap<String, Showing> {
        self.book.document.hosts.get(host).map(|entry| entry.shown.clone()).unwrap_or_default()
    }

    /// Whether a host obeys another fleet: nothing is decided about it.
    pub fn foreign(&self, sample: &Sample) -> bool {
        let theirs = sample.fence.as_ref().and_then(|fence| fence.fleet.as_ref());
        !self.book.blind && theirs.is_some_and(|fleet| *fleet != self.book.document.fleet)
    }

    /// Whether something may be loosened: there is a ledger that can be written.
    pub fn firm(&self) -> bool {
        self.book.failed.is_none()
    }

    /// Notes where a host stands of which there is nothing to be done.
    pub fn stands(&mut self, host: &str, standing: Standing, events: Vec<Event>) {
        self.standings.insert(host.to_owned(), standing);
        self.events.extend(events);
    }

    /// Takes in what the CI of each repo has to do. It counts from the next look on.
    pub fn loads(&mut self, loads: &BTreeMap<String, Option<Load>>) {
        let mut ci = self.book.document.ci.clone();
        let events = self.ladder.ci(&mut ci, loads, boot_clock().seconds);
        self.events.extend(events);
        self.ci = Some(ci);
    }

    /// The document in whose name a host is changed.
    fn document(&self, sample: &Sample) -> Option<Arc<Document>> {
        if !self.book.blind {
            return Some(Arc::clone(&self.book.document));
        }
        let fence = sample.fence.as_ref()?;
        let mut document = Document::clone(&self.book.document);
        (document.fleet, document.lease.epoch) = (fence.fleet.clone()?, fence.epoch?);
        let ours = fence.holder.as_deref() == Some(encode(&document.lease.holder).as_str());
        ours.then(|| Arc::new(document))
    }

    /// Tells of something at the end of the tick.
    pub fn tell(&mut self, host: Option<&str>, what: &str, severity: u8, message: String) {
        let host = host.map(str::to_owned);
        self.events.push(Event { at: Timestamp::now(), host, what: what.to_owned(), severity, message });
    }

    /// Takes in what a host showed and what the ladder makes of it, and begins to put it right. Nothing is done from
    /// silence, nor on a host whose id was never seen before the whole sweep is over: it may be another name of one that is
    /// still to answer. `before` is what was latched before this sample, where an agent must stop. Says whether there is
    /// something to do there.
    pub fn saw(
        &mut self,
        place: Place,
        target: Target,
        decided: &Decided,
        step: Option<Step>,
        before: Option<Latches>,
    ) -> bool {
        let sample = &decided.record.sample;
        let name = place.name.clone();
        let would_stop = step.as_ref().filter(|_| self.check).and_then(|step| self.ladder.would_stop(decided, step));
        let (mut stop, mut loosens, mut standing, mut moved) = (None, false, None, Moved::default());
        if let Some(step) = step {
            // A look just before the stop is no sample of its own: it counts what has happened since the last but one.
            let latches = before.map(|before| decided.record.latches.clone().counting_from(&before));
            (stop, loosens, standing) = (step.stop.zip(latches), step.loosens, Some(step.standing.clone()));
            self.stands(&name, step.standing, Vec::new());
            moved = Moved { events: step.events, change: step.change };
        }
        let (Some(found), Some(document)) = (&sample.found, self.document(sample)) else {
            self.moved(&name, moved);
            return false;
        };
        let mut seen = Seen::new(place, sample, found, self.began);
        seen.standing = standing;
        self.ids.extend(sample.host_id.clone().map(|id| (name.clone(), id)));
        if let Some(why) = left(&document, &name) {
            self.actions.push(Action { host: name, what: NOTHING.to_owned(), failed: Some(why) });
            return false;
        }
        if let Some(why) = barred(&document, &self.names, &self.ids, &name, sample) {
            self.doubt(&name, why);
            return false;
        }
        match loosens && !self.check {
            // It is so once the ledger says it.
            true => drop(self.loosening.insert(name.clone(), moved)),
            false => self.moved(&name, moved),
        }
        let known = self.book.blind || document.hosts.get(&name).is_some_and(|entry| entry.id.is_some());
        let plan = planned(&document, &self.model, &seen);
        self.seen.push(seen.clone());
        let busy = !ops(&document, &plan, &seen).is_empty() || stop.is_some();
        let turn = Turn { seen, target, stop, loosens, would_stop };
        match known {
            _ if !busy => self.tell_notes(&plan, &name),
            true => self.begin(turn, document),
            false => self.waiting.push(turn),
        }
        busy
    }

    /// Tells that a rung has moved; of a host that must not be changed nobody says that its agents are held.
    fn moved(&mut self, host: &str, moved: Moved) {
        self.events.extend(moved.events);
        self.actions.extend(moved.change.map(|what| Action { host: host.to_owned(), what, failed: None }));
    }

    /// Whether something is to be done once every host has answered.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Says that nothing is changed on a host, as an event only when that is new.
    fn bar(&mut self, host: &str, why: String) {
        let before = self.book.document.hosts.get(host).and_then(|entry| entry.barred.clone());
        if before.as_ref() != Some(&why) {
            self.tell(Some(host), "refused", 2, format!("{host} is not changed: {why}"));
        }
        self.actions.push(Action { host: host.to_owned(), what: NOTHING.to_owned(), failed: Some(why.clone()) });
        self.barred.insert(host.to_owned(), why);
    }

    /// The same of a host that another fleet, or another name, may call its own.
    fn doubt(&mut self, host: &str, why: String) {
        self.doubted.insert(host.to_owned());
        self.bar(host, why);
    }

    fn tell_notes(&mut self, plan: &Plan, host: &str) {
        for note in &plan.notes {
            let (severity, message) = describe(note, host);
            self.tell(Some(host), "hold", severity, message);
        }
    }

    fn begin(&mut self, turn: Turn, document: Arc<Document>) {
        let host = turn.seen.place.name.clone();
        let plan = planned(&document, &self.model, &turn.seen);
        if self.check {
            let ops = ops(&document, &plan, &turn.seen);
            let what = ops.iter().map(words).chain(turn.would_stop);
            self.actions.extend(what.map(|what| Action { host: host.clone(), what, failed: None }));
            return;
        }
        self.tell_notes(&plan, &host);
        let lead = match &self.book {
            Book { ledger: Some(ledger), failed: None, .. } => Lead::Ledger(Arc::clone(ledger)),
            _ => Lead::Last(document),
        };
        let (hand, model, max_age) = (self.hand.clone(), Arc::clone(&self.model), self.max_age);
        let ladder = Arc::clone(&self.ladder);
        self.tasks.spawn(async move {
            let outcome = take(&turn, &lead, &hand, &model, &ladder, max_age).await;
            hand.release(&turn.seen.place);
            (turn.seen, outcome)
        });
    }

    /// Waits for what was begun, records it, and says what is held now.
    pub async fn close(mut self, reserve: &Reserve) -> Kept {
        for turn in std::mem::take(&mut self.waiting) {
            let name = &turn.seen.place.name;
            // With all answers in, two names of one machine are known.
            match turn.seen.host_id.as_ref().and_then(|id| twin(&self.ids, name, id)).map(twins) {
                Some(why) => self.doubt(&name.clone(), why),
                None => self.begin(turn, Arc::clone(&self.book.document)),
            }
        }
        let mut acted: BTreeMap<String, Acted> = BTreeMap::new();
        while let Some(ended) = self.tasks.join_next().await {
            let Ok((seen, Outcome { acted: done, relieved, stays })) = ended else { continue };
            let name = seen.place.name.clone();
            self.note(&name, &done);
            self.events.extend(relieved.events);
            self.actions.extend(relieved.actions);
            if stays {
                self.standings.remove(&name);
                self.loosening.remove(&name);
            } else if let Some(standing) = self.standings.get_mut(&name) {
                relieved.told.into_iter().for_each(|token| standing.told(token));
                relieved.refused.into_iter().for_each(|token| standing.refused(token));
                if relieved.not_begun {
                    standing.not_stopped(self.book.document.hosts.get(&name).and_then(|entry| entry.ladder.as_ref()));
                }
            }
            acted.insert(name, done);
        }
        for (host, moved) in std::mem::take(&mut self.loosening) {
            self.moved(&host, moved);
        }
        let Holds { book, model, seen, barred, doubted, ids, standings, ci, mut events, actions, check, .. } = self;
        let epoch = book.document.lease.epoch;
        let seen = if book.blind { Vec::new() } else { seen };
        let noted = Noted { seen: &seen, acted, barred, doubted, ids, standings, ci, counts: true };
        let recorded = match &book.ledger {
            _ if check => Ok((Some(Document::clone(&book.document)), Vec::new())),
            None => Ok((None, Vec::new())),
            Some(ledger) => {
                let write = || record(ledger, &model, &noted);
                match write().await {
                    Err(_) if reserve.free() => {
                        events.push(reserve.event());
                        write().await
                    }
                    recorded => recorded,
                }
            }
        };
        let unwritten = book.blind && !check || recorded.is_err();
        let (document, found, failed) = match recorded {
            Ok((document, found)) => (document, found, book.failed),
            Err(error) => (None, Vec::new(), Some(error)),
        };
        events.extend(found);
        let holds = document.map(|document| document.holds).unwrap_or_default();
        let holds = holds.into_iter().filter(|hold| hold.ended.is_none()).collect();
        let Noted { barred, standings, .. } = noted;
        let barred = barred.into_keys().collect();
        let whole = failed.is_none() && !book.blind;
        let pending: BTreeMap<_, _> =
            standings.iter().map(|(host, standing)| (host.clone(), (epoch, standing.clone()))).collect();
        let before = book.document.hosts.iter().filter_map(|(host, entry)| Some((host.clone(), entry.ladder.clone()?)));
        let standings = before.chain(standings).collect();
        Kept {
            holds,
            actions,
            events,
            pending: if unwritten { pending } else { BTreeMap::new() },
            standings,
            failed,
            book: whole.then(|| (book.ledger, Arc::unwrap_or_clone(book.document))),
            barred,
        }
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

/// What is known without a ledger: nothing. Each host says whom it obeys.
fn blind(me: &str) -> Document {
    let lease = Lease { epoch: 0, holder: me.to_owned(), nonce: String::new(), seq: 0 };
    Document {
        v: 1,
        fleet: String::new(),
        lease,
        recent: Vec::new(),
        hosts: BTreeMap::new(),
        holds: Vec::new(),
        claims: BTreeMap::new(),
        young: true,
        ci: BTreeMap::new(),
    }
}

/// The last that the ledger said, where it can still be read and we led.
async fn last(state: &Path, me: &str, check: bool) -> Result<(Option<Arc<Ledger>>, Document)> {
    let gone = || Error::failed("the ledger is empty");
    let ledger = Ledger::open_to_read(state)?.ok_or_else(gone)?;
    let (_, document) = ledger.read().await?.ok_or_else(gone)?;
    if document.lease.holder != me {
        return Err(Error::failed(format!("`{}` led last", document.lease.holder)));
    }
    Ok(((!check).then(|| Arc::new(ledger)), document))
}
