//! What a person orders by hand: a hold and its end. First the ledger, then the hosts at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::unbounded_channel;

use super::hand::{Acted, Hand, Place, Stopped};
use super::lead::{boot_clock, lead};
use super::observe::{Answer, Bounds, Target};
use super::seen::{Noted, Seen, automatic, barred, found_event, hold_id, left, planned, record};
use super::{Progress, UNKNOWN, probe};
use crate::error::{Error, Result};
use crate::journal::Event;
use crate::ledger::{Change, Document, Ledger};
use crate::policy::hold::{self, Held, Hold, Model, Resumed, Scope, Showing, Wanted, Wish};
use crate::remote::crontab::Edit;
use crate::remote::guard::{Op, Word};
use crate::remote::sample::Sample;
use crate::ssh::{Fleet, each};

/// Who orders, and whom it concerns.
pub struct Order<'a> {
    /// The state directory of who leads.
    pub state: PathBuf,
    /// The way to the hosts.
    pub fleet: &'a Fleet,
    /// The hand on them.
    pub hand: Hand,
    /// The agents.
    pub model: Arc<Model>,
    /// All hosts of the inventory.
    pub targets: Vec<Target>,
    /// The bounds of a sweep.
    pub bounds: Bounds,
    /// The name under which this machine leads.
    pub me: String,
}

/// A hold, and what came of it on each host that it is about.
#[derive(Debug)]
pub struct Halted {
    /// The hold.
    pub hold: Hold,
    /// Whether it is new.
    pub held: Held,
    /// By host, in the order of the inventory.
    pub hosts: Vec<(String, Acted)>,
    /// Why the ledger does not say which hosts show it, if it does not.
    pub noted: Option<Error>,
}

/// What was lifted, and what came of it on each host.
#[derive(Debug)]
pub struct Lifted {
    /// The holds that ended, and those that still cover some of it.
    pub resumed: Resumed,
    /// What pressure goes on holding there: no person's to lift, it ends by itself.
    pub pressure: Vec<Hold>,
    /// By host, in the order of the inventory.
    pub hosts: Vec<(String, Acted)>,
    /// What people had done on the hosts themselves, which is ended too.
    pub events: Vec<Event>,
    /// Why the ledger does not say what the hosts show now, if it does not.
    pub noted: Option<Error>,
}

/// What a look at the hosts gave.
struct Looked {
    /// Those that may be changed.
    seen: Vec<Seen>,
    /// Who each that answered is, by its name.
    ids: BTreeMap<String, String>,
    /// Those that may not be changed, or did not answer.
    stopped: BTreeMap<String, Acted>,
}

impl Order<'_> {
    fn places(&self, scope: &Scope) -> Vec<Place> {
        let concerned = self.targets.iter().filter(|target| scope.hosts.has(&target.name));
        concerned.map(super::place).collect()
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.targets.iter().map(|target| target.name.clone()).collect()
    }

    /// Holds what `wish` says: a swap on the ledger, then each host at once. Waits for no tick.
    ///
    /// # Errors
    /// When the ledger cannot be written: then nothing was done anywhere.
    pub async fn halt(&self, wish: &Wish) -> Result<Halted> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?;
        let id = hold_id()?;
        let (document, (id, held)) = ledger
            .change(|old| {
                let mut document = old.cloned().ok_or_else(gone)?;
                let said = hold::hold(&mut document.holds, wish, &id, Timestamp::now(), &boot_clock());
                // Asked for anew, it is written again where somebody kept taking it away.
                let concerned = document.hosts.iter_mut().filter(|(name, _)| wish.scope.hosts.has(name));
                concerned.for_each(|(_, entry)| hold::insist(&mut entry.shown, &said.0));
                Ok(if old == Some(&document) { Change::Nothing(said) } else { Change::To(document, said) })
            })
            .await?;
        let document = document.ok_or_else(gone)?;
        let hold = document.holds.iter().find(|hold| hold.id == id).cloned().ok_or_else(gone)?;
        let model = Arc::clone(&self.model);
        let ops = move |document: &Document, host: &str| lines(document, host, &id, &model);
        let places = self.places(&hold.scope);
        let order: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
        let barred = order.iter().filter_map(|name| Some((name.clone(), left(&document, name)?)));
        let mut acted: BTreeMap<String, Acted> = barred.map(|(name, why)| (name, Acted::barred(why))).collect();
        let places = places.into_iter().filter(|place| !acted.contains_key(&place.name)).collect();
        acted.extend(self.act(&ledger, &document, places, ops).await);
        let hosts = order.into_iter().filter_map(|name| acted.remove(&name).map(|done| (name, done)));
        let hosts: Vec<(String, Acted)> = hosts.collect();
        // What is done is done: if it cannot be noted, the next tick looks itself.
        let noted = note(&ledger, &hosts).await.err();
        Ok(Halted { hold, held, hosts, noted })
    }

    /// Ends every hold inside `scope`: looks at the hosts, so that what people did there counts too, swaps the ledger,
    /// then puts each host right at once.
    ///
    /// # Errors
    /// When the ledger cannot be written: then nothing was done anywhere.
    pub async fn resume(&self, scope: &Scope, by: &str, report: &dyn Fn(&Progress)) -> Result<Lifted> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        let document = lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?.document;
        let Looked { seen, ids, mut stopped } = self.look(&document, scope, report).await;
        let (document, (resumed, events)) = ledger
            .change(|old| {
                let mut document = old.cloned().ok_or_else(gone)?;
                let (now, clock) = (Timestamp::now(), boot_clock());
                let mut events = Vec::new();
                for one in &seen {
                    let name = &one.place.name;
                    let plan = planned(&document, &self.model, one);
                    let shown = &mut document.hosts.entry(name.clone()).or_default().shown;
                    // From now on it is known that this host shows them, so that what is lifted is taken out.
                    plan.shown.iter().for_each(|(key, showing)| _ = shown.entry(key.clone()).or_insert(*showing));
                    for person in &plan.found {
                        events.push(found_event(name, person, now));
                        person.record(&mut document.holds, shown, &hold_id()?, now, &clock);
                    }
                }
                let resumed =
                    hold::resume(&mut document.holds, scope, by, now, |agent| self.model.is_supervisor(agent));
                let same = old == Some(&document);
                let said = (resumed, events);
                Ok(if same { Change::Nothing(said) } else { Change::To(document, said) })
            })
            .await?;
        let document = document.ok_or_else(gone)?;
        let sighted: Arc<BTreeMap<String, Seen>> =
            Arc::new(seen.iter().map(|one| (one.place.name.clone(), one.clone())).collect());
        let places = seen.iter().map(|one| one.place.clone()).collect();
        let (model, sights) = (Arc::clone(&self.model), Arc::clone(&sighted));
        let ops = move |document: &Document, host: &str| {
            sights.get(host).map(|seen| planned(document, &model, seen).ops()).unwrap_or_default()
        };
        let acted: BTreeMap<String, Acted> = self.act(&ledger, &document, places, ops).await.into_iter().collect();
        // What is done is done, as with a halt.
        let noted = Noted { seen: &seen, acted, ids, ..Noted::default() };
        let written = record(&ledger, &self.model, &noted).await.err();
        stopped.extend(noted.acted);
        let auto = |place: &Place| automatic(&document, &self.model, &place.name, None);
        let mut pressure: Vec<Hold> = self.places(scope).iter().flat_map(auto).collect();
        pressure.retain(|hold| hold.scope.meets(scope, |agent| self.model.is_supervisor(agent)));
        let hosts = self.places(scope).into_iter();
        let hosts = hosts.filter_map(|place| stopped.remove(&place.name).map(|acted| (place.name, acted))).collect();
        Ok(Lifted { resumed, pressure, hosts, events, noted: written })
    }

    /// One sample of each of the hosts of that name, in the order of the inventory. Connections to those that show a
    /// hold are kept.
    pub(super) async fn samples(&self, concerned: impl Fn(&str) -> bool, report: &dyn Fn(&Progress)) -> Vec<Sample> {
        let targets: Vec<Target> = self.targets.iter().filter(|target| concerned(&target.name)).cloned().collect();
        let order: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
        let mut samples = Vec::new();
        let tell = |answer: Answer| {
            let Answer { sample, seconds, .. } = answer;
            let needed = sample.found.as_ref().is_some_and(|found| !found.is_empty());
            let (level, verdict) = match &sample.missing {
                Some(why) => (UNKNOWN, format!("unknown: {why}")),
                None => (0, "ok: seen".to_owned()),
            };
            report(&Progress::Answered { host: sample.host.clone(), level, seconds, verdict });
            samples.push(sample);
            needed
        };
        probe(targets, self.fleet, self.bounds, tell, report).await;
        samples.sort_by_key(|sample: &Sample| order.iter().position(|name| *name == sample.host));
        samples
    }

    /// What the hosts of `scope` show; those that do not, and why.
    async fn look(&self, document: &Document, scope: &Scope, report: &dyn Fn(&Progress)) -> Looked {
        let began = Timestamp::now();
        let places: BTreeMap<String, Place> =
            self.places(scope).into_iter().map(|place| (place.name.clone(), place)).collect();
        let samples = self.samples(|name| scope.hosts.has(name), report).await;
        let ids: BTreeMap<String, String> =
            samples.iter().filter_map(|sample| Some((sample.host.clone(), sample.host_id.clone()?))).collect();
        let (mut seen, mut stopped) = (Vec::new(), BTreeMap::new());
        for sample in samples {
            // On a host that was left there is nothing of ours to lift.
            let Some(place) = places.get(&sample.host).filter(|place| left(document, &place.name).is_none()) else {
                continue;
            };
            let why = match &sample.found {
                None => Stopped::Silent(sample.missing.unwrap_or_else(|| "it does not tell what is held".to_owned())),
                Some(found) => match barred(document, &self.names(), &ids, &sample.host, &sample) {
                    Some(why) => Stopped::Barred(why),
                    None => {
                        seen.push(Seen::new(place.clone(), &sample, found, began));
                        continue;
                    }
                },
            };
            stopped.insert(sample.host, Acted { stopped: Some(why), ..Acted::default() });
        }
        Looked { seen, ids, stopped }
    }

    /// Calls the guard on all `places`, some at a time, with what `ops` makes of the newest document.
    pub async fn act(
        &self,
        ledger: &Arc<Ledger>,
        document: &Document,
        places: Vec<Place>,
        ops: impl Fn(&Document, &str) -> Vec<Op> + Send + Sync + 'static,
    ) -> Vec<(String, Acted)> {
        let order: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
        let (send, mut receive) = unbounded_channel();
        let (hand, ledger, ops) = (self.hand.clone(), Arc::clone(ledger), Arc::new(ops));
        let twins = twins(document, &self.names());
        let tasks = each(places, self.bounds.forks, move |place: Place| {
            let (hand, ledger, ops, send) = (hand.clone(), Arc::clone(&ledger), Arc::clone(&ops), send.clone());
            let twin = twins.get(&place.name).cloned();
            async move {
                let acted = match twin {
                    Some(why) => Acted::barred(why),
                    None => hand.act(&ledger, &place, |document| ops(document, &place.name)).await,
                };
                let _ = send.send((place.name, acted));
            }
        });
        let mut acted = BTreeMap::new();
        while let Some((name, done)) = receive.recv().await {
            acted.insert(name, done);
        }
        drop(tasks);
        order.into_iter().filter_map(|name| acted.remove(&name).map(|done| (name, done))).collect()
    }
}

/// What stands for one hold on a host; nothing once it is over, or the host was left.
fn lines(document: &Document, host: &str, id: &str, model: &Model) -> Vec<Op> {
    if left(document, host).is_some() {
        return Vec::new();
    }
    let own: Vec<Hold> = document.holds.iter().filter(|hold| hold.id == id).cloned().collect();
    let wanted = Wanted::on(host, &own, model);
    let epoch = document.lease.epoch;
    let add: Vec<_> = wanted
        .files
        .into_iter()
        .flat_map(|(file, holds)| holds.into_iter().map(move |one| (file.clone(), hold::line(one, epoch))))
        .collect();
    let hide: Vec<String> = wanted.hidden.into_iter().collect();
    let mut ops = Vec::new();
    if !add.is_empty() || !hide.is_empty() {
        ops.push(Op::Halt { add, hide });
    }
    // Nobody has looked, so no other line is decided about.
    if !wanted.lines.is_empty() {
        ops.push(Op::Cron(Edit::Hold { wanted: wanted.lines.into_iter().collect(), ours: Vec::new() }));
    }
    ops
}

/// Writes into the ledger what hosts show now, and who they are: an empty file, all that a full disk took, is then known
/// for ours whenever it is seen again, and two names of one machine give themselves away.
async fn note(ledger: &Ledger, hosts: &[(String, Acted)]) -> Result<()> {
    let noted = ledger.change(|old| {
        let old = old.ok_or_else(gone)?;
        let mut document = old.clone();
        for (name, acted) in hosts {
            for (op, word) in &acted.done {
                let Op::Halt { add, .. } = op else { continue };
                let entry = document.hosts.entry(name.clone()).or_default();
                // One that was lifted meanwhile was taken out there as well.
                let going_on = |id: &str| old.holds.iter().any(|hold| hold.id == id && hold.ended.is_none());
                let add = add.iter().filter(|(_, line)| going_on(&line.id));
                let showing = Showing { gone: 0, bare: *word == Word::Degraded };
                entry.shown.extend(add.map(|(file, line)| (hold::key(&line.id, file), showing)));
                entry.id = entry.id.take().or_else(|| acted.host_id.clone());
            }
        }
        Ok(if document == *old { Change::Nothing(()) } else { Change::To(document, ()) })
    });
    noted.await.map(drop)
}

/// The hosts that are one machine with another of the inventory, as far as the ledger knows.
fn twins(document: &Document, names: &BTreeSet<String>) -> BTreeMap<String, String> {
    let known = || document.hosts.iter().filter(|(name, entry)| names.contains(*name) && entry.id.is_some());
    let other = |name: &String, id: &Option<String>| {
        known().find(|(twin, entry)| *twin != name && entry.id == *id).map(|(twin, _)| super::seen::twins(twin))
    };
    known().filter_map(|(name, entry)| Some((name.clone(), other(name, &entry.id)?))).collect()
}

fn gone() -> Error {
    Error::failed("the ledger is empty").help("`factory run` makes it anew; look first who removed it")
}
