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
use super::seen::{Seen, barred, ops, planned, record, twin, twins};
use crate::error::{Error, Result};
use crate::journal::Event;
use crate::ledger::{Document, Ledger};
use crate::policy::hold::{Hold, Model, Note, Plan};
use crate::remote::guard::Op;
use crate::remote::sample::Sample;

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
