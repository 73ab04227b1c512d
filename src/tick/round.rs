//! One look at some hosts, start to end: each is decided and acted on as soon as its own answer is in, then all is recorded.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use jiff::Timestamp;
use tokio::time::timeout_at;
use tracing::{debug, info};

use super::capacity::Looked;
use super::ci::{CiLoads, loads};
use super::claims::{Look, Settling};
use super::hand::{Hand, Place};
use super::holds::{Holds, Kept, Setup};
use super::lead::boot_clock;
use super::lock::Lock;
use super::logs::Incoming;
use super::observe::{Answer, Barred, Seen, Sweep, Target};
use super::pending::Pending;
use super::pressure::Ladder;
use super::reserve::Reserve;
use super::{Decided, Outcome, Progress, UNKNOWN, Wake, controller, decide, gc, place, refusals};
use crate::error::Result;
use crate::inventory::settings;
use crate::journal::{Batch, Event, HostRecord, Journal, Refusal, TickRecord};
use crate::remote::logs::Book;
use crate::ssh::Reach;

/// How old an answer may be when a look takes it in, in seconds: the end of the look before may have taken long.
const FRESH: f64 = 20.0;

/// One look at some hosts, start to end.
pub(super) struct Round<'a> {
    pub(super) wake: &'a Wake<'a>,
    /// Whom to ask.
    pub(super) fresh: Vec<Target>,
    /// Who was asked by an earlier look and has not answered yet.
    pub(super) late: Vec<Target>,
    /// Every host of the inventory is asked by this tick.
    pub(super) asked_all: bool,
    /// When the next look at hosts under hard pressure is due, and until when one may begin; none for one look.
    pub(super) due: Option<Range<Instant>>,
    pub(super) lock: Option<&'a Lock>,
    pub(super) reserve: &'a Reserve,
    /// Who knows what the CI of each repo has to do.
    pub(super) ci: &'a dyn CiLoads,
}

impl Round<'_> {
    /// `pending` is what earlier looks could not write; gives what waits after this one. Who has not answered when the next
    /// look is due is still out in `sweep`.
    pub(super) async fn run(
        self,
        sweep: &mut Sweep,
        mut events: Vec<Event>,
        pending: Pending,
        report: &dyn Fn(&Progress),
    ) -> (Outcome, Pending) {
        let Round { wake, fresh, late, asked_all, due, lock, reserve, ci } = self;
        let news: BTreeSet<String> = fresh.iter().map(|target| target.name.clone()).collect();
        let mut targets: Vec<Target> = fresh.into_iter().chain(late).collect();
        let (began, clock) = (Timestamp::now(), Instant::now());
        let mut memory = Memory::open(wake, reserve);
        events.extend(memory.aside.take().map(moved_aside));
        events.extend(memory.freed.then(|| reserve.event()));

        let hand = Hand::new(wake.fleet, wake.guard, wake.bounds.command, &wake.by);
        let ladder = Ladder::new(wake.policy, wake.jobs.roster().clone(), wake.guard.kill_after.0);
        let setup = Setup {
            state: wake.state,
            model: wake.model.clone(),
            ladder: ladder.clone(),
            names: wake.names.clone(),
            max_age: wake.policy.sample_age.0,
            me: &wake.by,
            check: wake.check,
            pending: &pending,
            reserve,
        };
        let mut holds = Holds::open(setup, hand.clone()).await;

        info!(hosts = targets.len(), by = wake.by, check = wake.check, "looking at the hosts");
        let order: HashMap<String, usize> =
            targets.iter().enumerate().map(|(index, target)| (target.name.clone(), index)).collect();
        let keep = wake.logs.keep.clone();
        let mut incoming = memory.books.take().map(|books| Incoming::new(wake.logs.clone(), books));
        for target in &mut targets {
            target.request.logs = incoming.as_ref().map(|logs| logs.question(&target.name, order.len()));
            let refusal = memory.refusals.get(&target.name);
            target.barred = refusal.map(|refusal| Barred { id: refusal.login.clone(), until: refusal.until });
        }
        let known: HashMap<String, Target> =
            targets.iter().map(|target| (target.name.clone(), target.clone())).collect();
        let places: HashMap<String, Place> =
            targets.iter().map(|target| (target.name.clone(), place(target))).collect();
        // By host, when it was asked, by the boot clock.
        let mut asked_at: HashMap<String, f64> = HashMap::new();
        let mut refusals = Vec::new();
        let mut hosts: Vec<Decided> = Vec::with_capacity(order.len());
        let mut asked: HashMap<String, Instant> = HashMap::new();
        targets.retain(|target| news.contains(&target.name));
        let looking = async {
            report(&Progress::Begun { hosts: order.len() });
            sweep.ask(targets);
            let mut waits = due.is_some();
            loop {
                let seen = match &due {
                    Some(due) if waits => match timeout_at(due.start.into(), sweep.next()).await {
                        Ok(seen) => seen,
                        Err(_) => {
                            waits = false;
                            None
                        }
                    },
                    _ => sweep.next().await,
                };
                match seen {
                    Some(Seen::Asked(host)) => report(&Progress::Asked { host }),
                    // What came while nobody listened is no fresh sample any more.
                    Some(Seen::Answer(answer)) if answer.is_sample() && boot_clock().seconds - answer.heard > FRESH => {
                        sweep.ask(known.get(&answer.sample.host).cloned().into_iter().collect());
                    }
                    Some(Seen::Answer(answer)) => {
                        let Answer { sample, logs, seconds, login, reach, asked: since, heard } = *answer;
                        if let (Some(incoming), Some(logs)) = (&mut incoming, logs) {
                            incoming.take(&sample, logs);
                        }
                        lock.iter().for_each(|lock| lock.progress());
                        asked_at.insert(sample.host.clone(), heard - sample.rtt_s.unwrap_or(0.0));
                        debug!(host = sample.host, seconds, missing = sample.missing, "answered");
                        let refusal = memory.refusals.get(&sample.host);
                        refusals.extend(refusals::next(refusal, &sample.host, &login, sample.at, wake.waits));
                        let previous = memory.known.get(&sample.host);
                        let standing = holds.standing(&sample.host);
                        let latches = || ladder.latches(standing, decide::latches(previous));
                        let decided = decide::decide(previous, latches(), wake.policy, sample);
                        let (host, level) = (decided.record.host.clone(), decided.record.level);
                        // A miss is one only if others answer: that is known at the end of the sweep.
                        let step = (level != UNKNOWN && !holds.foreign(&decided.record.sample)).then(|| {
                            ladder.look(standing, &decided, &holds.shown(&host), boot_clock().seconds, holds.firm())
                        });
                        let before = step.as_ref().and_then(|step| step.stop).map(|_| latches());
                        let needed = match (places.get(&host), known.get(&host)) {
                            (Some(place), Some(target)) => {
                                holds.saw(place.clone(), target.clone(), &decided, step, before)
                            }
                            _ => false,
                        };
                        report(&Progress::Answered {
                            host: host.clone(),
                            level,
                            seconds,
                            verdict: decided.record.verdict.clone(),
                        });
                        asked.insert(host, since);
                        hosts.push(decided);
                        if !needed {
                            wake.fleet.release(&reach);
                        }
                    }
                    None if waits || sweep.out().next().is_none() => break,
                    // The next look is due.
                    None => {}
                }
                let late = due.as_ref().is_some_and(|due| due.contains(&Instant::now()));
                if late && !holds.waits() && hosts.iter().any(Decided::is_urgent) {
                    break;
                }
            }
            report(&Progress::Ended);
        };
        let repos: Vec<String> = wake.repos.repos.iter().map(|repo| repo.name.clone()).collect();
        // Hosts in trouble are looked at again soon, whatever a CI takes.
        let bound = wake.watch.map_or(wake.bounds.sweep, |watch| watch.every).min(wake.bounds.sweep);
        let ((), loads) = tokio::join!(looking, loads(ci, &repos, bound));
        holds.loads(&loads);
        hosts.sort_by_key(|decided| order.get(&decided.record.sample.host));
        let all = asked_all && sweep.out().next().is_none();
        let silent = Silent { targets: &known, asked: &asked, heard: sweep.heard, all };
        missed(&mut hosts, &silent, &mut holds, &ladder, &memory.known);
        let mut kept = holds.close(reserve).await;
        let mut leading = None;
        if let Some((ledger, before)) = kept.book.take() {
            leading.clone_from(&ledger);
            let jobs = wake.jobs.clone();
            let (model, capacity, state) = (&wake.model, &wake.capacity, wake.state);
            let told =
                hosts.iter().filter(|decided| decided.record.level != UNKNOWN && decided.record.sample.runs.is_some());
            let told = told.map(|decided| decided.record.sample.host.clone());
            let heard = told.filter(|host| !kept.barred.contains(host)).collect();
            let settling = Settling { ledger, before, hand: hand.clone(), jobs, model, capacity, state, heard };
            let looks = hosts.iter().filter(|decided| decided.record.level != UNKNOWN);
            let looks = looks.filter_map(|decided| {
                let place =
                    places.get(&decided.record.sample.host).filter(|place| !kept.barred.contains(&place.name))?;
                let concerned = decided.record.sample.runs.as_ref().is_some_and(|runs| !runs.is_empty())
                    || settling.before.claims.values().any(|claim| claim.host == place.name);
                let asked = *asked_at.get(&decided.record.sample.host)?;
                let looked = Looked { sample: decided.record.sample.clone(), asked };
                concerned.then(|| Look { place: place.clone(), looked })
            });
            let looks = looks.collect();
            let settled = settling.settle(looks).await;
            kept.actions.extend(settled.actions);
            kept.events.extend(settled.events);
            kept.failed = kept.failed.or(settled.failed);
        }

        events.extend(hosts.iter().flat_map(|decided| decided.events.iter().cloned()));
        events.extend(kept.events);
        events.sort_by_key(|event| event.at);
        let tick = TickRecord {
            began,
            seconds: clock.elapsed().as_secs_f64(),
            by: wake.by.clone(),
            inventory: wake.inventory.clone(),
            hosts: hosts.len() as u64,
            missed: hosts.iter().filter(|decided| decided.record.level == UNKNOWN).count() as u64,
            controller: controller::usage(),
        };
        lock.iter().for_each(|lock| lock.progress());
        let unrecorded = match memory.journal {
            Ok(Some(mut journal)) => {
                let (logs, told) = match incoming {
                    Some(incoming) => incoming.news(&journal).await,
                    None => Default::default(),
                };
                events.extend(told);
                lock.iter().for_each(|lock| lock.progress());
                let whole = logs.iter().filter(|news| news.pieces.iter().any(|piece| piece.cursor.done));
                let whole: BTreeSet<String> = whole.map(|news| news.host.clone()).collect();
                let records = hosts.iter().map(|decided| decided.record.clone()).collect();
                let told = pending.events.iter().chain(&events).cloned().collect();
                let mut batch = Batch { tick: tick.clone(), hosts: records, events: told, refusals, logs };
                let mut unrecorded = record(&mut journal, &batch, &keep).err();
                if unrecorded.is_some() && reserve.free() {
                    events.push(reserve.event());
                    batch.events.push(reserve.event());
                    unrecorded = record(&mut journal, &batch, &keep).err();
                }
                // Only what is written down may go from the hosts.
                if let (None, Some(ledger)) = (&unrecorded, &leading) {
                    let due = hosts.iter().filter_map(|Decided { record: HostRecord { sample, .. }, .. }| {
                        let place = places.get(&sample.host).filter(|place| !kept.barred.contains(&place.name))?;
                        gc::due(place, sample, memory.known.get(&sample.host), &whole, &journal).ok()?
                    });
                    let told = gc::clean(due.collect(), &hand, ledger).await;
                    if !told.is_empty() {
                        let _ = journal.tell(&told);
                        events.extend(told);
                    }
                }
                unrecorded
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let mut waits = pending;
        if !wake.check {
            let before = waits.clone();
            waits.standings = kept.pending;
            match &unrecorded {
                Some(_) => waits.events.extend(events.iter().cloned()),
                None => waits.events.clear(),
            }
            if waits != before
                && let Err(error) = waits.write(wake.state)
            {
                info!(%error, "what could not be recorded cannot be kept in a file either");
            }
            reserve.keep();
        }
        info!(events = events.len(), missed = tick.missed, "the look is over");
        let Kept { holds, standings, actions, failed, .. } = kept;
        let work = Default::default();
        (Outcome { tick, hosts, events, holds, standings, actions, work, unled: failed, unrecorded }, waits)
    }
}

/// What is needed to judge a host that gave no sample.
struct Silent<'a> {
    targets: &'a HashMap<String, Target>,
    /// When each host was asked.
    asked: &'a HashMap<String, Instant>,
    /// When a remote host last gave a sample.
    heard: Option<Instant>,
    /// All hosts of the inventory were asked by this tick, and have answered or were given up.
    all: bool,
}

impl Silent<'_> {
    fn is_remote(&self, host: &str) -> bool {
        self.targets.get(host).is_some_and(|target| !matches!(target.reach, Reach::Local))
    }

    /// Since it was asked no remote host has answered: it may be this machine that is cut off.
    fn is_cut_off(&self, host: &str) -> bool {
        let asked = self.asked.get(host);
        self.is_remote(host) && self.heard.is_none_or(|heard| asked.is_some_and(|asked| heard < *asked))
    }
}

/// Judges the hosts that gave no sample, now that it is known who did. Where no remote host answered it may be this machine
/// that is cut off: nothing is concluded about any of them. That is told once, and only when all of them were asked.
fn missed(
    hosts: &mut [Decided],
    silent: &Silent<'_>,
    holds: &mut Holds,
    ladder: &Ladder,
    before: &HashMap<String, HostRecord>,
) {
    let asked = || hosts.iter().filter(|decided| silent.is_remote(&decided.record.sample.host));
    let cut_off = silent.all && silent.heard.is_none();
    if cut_off {
        let names: Vec<&str> = asked().map(|decided| decided.record.sample.host.as_str()).collect();
        let why = asked().next().and_then(|decided| decided.record.sample.missing.as_deref()).unwrap_or_default();
        if names.iter().any(|host| before.get(*host).is_none_or(|known| known.level != UNKNOWN)) {
            let message = format!(
                "no remote host answers: this machine seems to be cut off, so nothing is concluded about {} ({why})",
                names.join(", "),
            );
            holds.tell(None, "cut off", 3, message);
        }
    }
    for decided in hosts.iter_mut().filter(|decided| decided.record.level == UNKNOWN) {
        let host = decided.record.sample.host.clone();
        if silent.is_cut_off(&host) {
            decided.record.sample.cut_off = true;
            decided.events.retain(|event| !cut_off || event.what != "missed");
            if let Some(standing) = ladder.unseen(holds.standing(&host)) {
                holds.stands(&host, standing, Vec::new());
            }
            continue;
        }
        let step = ladder.miss(holds.standing(&host), decided, boot_clock().seconds);
        holds.stands(&host, step.standing, step.events);
    }
}

/// What earlier ticks left, and where this one will be written. A journal that cannot be opened, on a full disk say,
/// must not keep the supervisor from looking: then the tick is told but not recorded.
struct Memory {
    /// The journal to write to; none for `--check`.
    journal: Result<Option<Journal>>,
    /// Where a damaged journal was moved to.
    aside: Option<PathBuf>,
    /// The disk was full, and the reserve was let go of.
    freed: bool,
    /// What is known of each host.
    known: HashMap<String, HostRecord>,
    /// The logins that were refused.
    refusals: HashMap<String, Refusal>,
    /// How far logs have been fetched; none where nothing could be kept of them.
    books: Option<HashMap<String, Book>>,
}

impl Memory {
    fn open(wake: &Wake<'_>, reserve: &Reserve) -> Memory {
        let mut freed = false;
        let open = || Journal::open(wake.state).map(|(journal, aside)| (Some(journal), aside));
        let opened = match wake.check {
            true => Ok((None, None)),
            false => open().or_else(|error| {
                freed = reserve.free();
                if freed { open() } else { Err(error) }
            }),
        };
        let (journal, aside) = match opened {
            Ok((journal, aside)) => (Ok(journal), aside),
            Err(error) => (Err(error), None),
        };
        let read = |journal: &Journal| Ok((journal.hosts()?, journal.refusals()?));
        let known = match &journal {
            Ok(Some(journal)) => read(journal),
            _ => Journal::open_to_read(wake.state).and_then(|old| old.as_ref().map_or(Ok(Default::default()), read)),
        };
        let books = journal.as_ref().ok().and_then(Option::as_ref).and_then(|journal| journal.books().ok());
        match known {
            Ok((known, refusals)) => Memory {
                journal,
                aside,
                freed,
                books,
                known: known.into_iter().map(|record| (record.host.clone(), record)).collect(),
                refusals: refusals.into_iter().map(|refusal| (refusal.host.clone(), refusal)).collect(),
            },
            // What cannot be read cannot be gone on from; judging starts anew and says so.
            Err(error) => Memory {
                journal: journal.and(Err(error)),
                aside,
                freed,
                books: None,
                known: HashMap::new(),
                refusals: HashMap::new(),
            },
        }
    }
}

fn moved_aside(aside: PathBuf) -> Event {
    Event {
        at: Timestamp::now(),
        host: None,
        what: "journal".to_owned(),
        severity: 2,
        message: format!("the journal was damaged and starts anew; the old one lies in {}", aside.display()),
    }
}

fn record(journal: &mut Journal, batch: &Batch, keep: &settings::Logs) -> Result<()> {
    journal.record(batch)?;
    journal.prune(batch.tick.began)?;
    journal.prune_logs(batch.tick.began, keep.keep.0, keep.size.0)
}
