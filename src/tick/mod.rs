//! One wake, start to end: lead -> observe -> decide -> act -> record. Each host is decided and acted on as soon as its
//! own answer is in.

pub mod adopt;
mod controller;
pub mod deadline;
pub mod decide;
pub mod hand;
pub mod holds;
pub mod lead;
pub mod lock;
pub mod manual;
pub mod observe;
mod process;
mod progress;
mod refusals;
mod seen;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info};

pub use self::decide::{Decided, UNKNOWN};
use self::hand::{Hand, Place};
pub use self::holds::Action;
use self::holds::Holds;
use self::lock::Lock;
use self::observe::{Answer, Barred, Bounds, Seen, Target, sweep};
pub use self::progress::Progress;
pub use self::refusals::Waits;
use crate::error::{Error, Result};
use crate::inventory::policy::Policy;
use crate::inventory::settings::Guard;
use crate::journal::{Batch, Event, HostRecord, Journal, Refusal, TickRecord};
use crate::policy::hold::{Hold, Model};
use crate::ssh::Fleet;

/// Everything that a tick needs to know.
pub struct Wake<'a> {
    /// The hosts to look at, in the order of the inventory.
    pub targets: Vec<Target>,
    /// The way to them.
    pub fleet: &'a Fleet,
    /// How long a refused login is left alone.
    pub waits: Waits,
    /// The numbers to judge by.
    pub policy: &'a Policy,
    /// The numbers of the guard.
    pub guard: &'a Guard,
    /// The agents, as holds see them.
    pub model: Model,
    /// The names of all hosts of the inventory, also of those that are not looked at.
    pub names: BTreeSet<String>,
    /// The state directory; it is there already unless `check`.
    pub state: &'a Path,
    /// A tick that has made no progress for so long is killed for its lock.
    pub stuck: Duration,
    /// Who runs the tick, for the record.
    pub by: String,
    /// The inventory's directory, for the record.
    pub inventory: String,
    /// The bounds of the sweep.
    pub bounds: Bounds,
    /// Look and judge, but change nothing: no lock, no journal.
    pub check: bool,
}

/// What a tick found.
#[derive(Debug)]
pub struct Outcome {
    /// The tick itself.
    pub tick: TickRecord,
    /// Every host, in the order of the targets.
    pub hosts: Vec<Decided>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
    /// What is held by people now.
    pub holds: Vec<Hold>,
    /// What was done to hosts or, with `check`, is to be done.
    pub actions: Vec<Action>,
    /// Why the ledger could not be used, if it could not: then nothing was done to any host.
    pub unled: Option<Error>,
    /// Why the tick could not be written down, if it could not: a full disk must not hide what was seen.
    pub unrecorded: Option<Error>,
}

/// Runs one tick.
///
/// # Errors
/// Exit 5 when another tick is running; exit 1 when the state directory cannot be used at all.
pub async fn run(mut wake: Wake<'_>, report: &dyn Fn(&Progress)) -> Result<Outcome> {
    let (began, clock) = (Timestamp::now(), Instant::now());
    let (lock, left) = if wake.check { None } else { Some(Lock::take(wake.state, wake.stuck)?) }.unzip();
    let mut memory = Memory::open(&wake);
    let mut events: Vec<Event> = left.flatten().map(|left| left.event()).into_iter().collect();
    events.extend(memory.aside.take().map(moved_aside));

    let hand = Hand::new(wake.fleet, wake.guard, wake.bounds.command, &wake.by);
    let mut holds =
        Holds::open(wake.state, hand, wake.model, wake.names, wake.policy.sample_age.0, &wake.by, wake.check).await;

    info!(hosts = wake.targets.len(), by = wake.by, check = wake.check, "looking at the hosts");
    let order: HashMap<String, usize> =
        wake.targets.iter().enumerate().map(|(index, target)| (target.name.clone(), index)).collect();
    for target in &mut wake.targets {
        let refusal = memory.refusals.get(&target.name);
        target.barred = refusal.map(|refusal| Barred { id: refusal.login.clone(), until: refusal.until });
    }
    let places: HashMap<String, Place> =
        wake.targets.iter().map(|target| (target.name.clone(), place(target))).collect();
    let mut refusals = Vec::new();
    let mut hosts = Vec::with_capacity(order.len());
    let decide_one = |answer: Answer| {
        let Answer { sample, seconds, login, .. } = answer;
        lock.iter().for_each(Lock::progress);
        debug!(host = sample.host, seconds, missing = sample.missing, "answered");
        let refusal = memory.refusals.get(&sample.host);
        refusals.extend(refusals::next(refusal, &sample.host, &login, sample.at, wake.waits));
        let previous = memory.known.get(&sample.host);
        let decided = decide::decide(previous, wake.policy, sample);
        let (host, level) = (decided.record.host.clone(), decided.record.level);
        let needed = places.get(&host).is_some_and(|place| holds.saw(place.clone(), &decided.sample));
        report(&Progress::Answered { host, level, seconds, verdict: decided.record.verdict.clone() });
        hosts.push(decided);
        needed
    };
    probe(wake.targets, wake.fleet, wake.bounds, decide_one, report).await;
    hosts.sort_by_key(|decided| order.get(&decided.sample.host));
    let kept = holds.close().await;

    events.extend(hosts.iter().flat_map(|decided| decided.events.iter().cloned()));
    events.extend(kept.events);
    let tick = TickRecord {
        began,
        seconds: clock.elapsed().as_secs_f64(),
        by: wake.by,
        inventory: wake.inventory,
        hosts: hosts.len() as u64,
        missed: hosts.iter().filter(|decided| decided.record.level == UNKNOWN).count() as u64,
        controller: controller::usage(),
    };
    lock.iter().for_each(Lock::progress);
    let unrecorded = match memory.journal {
        Ok(Some(journal)) => record(journal, &tick, &hosts, &events, refusals).err(),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    info!(events = events.len(), missed = tick.missed, "the tick is over");
    drop(lock);
    Ok(Outcome { tick, hosts, events, holds: kept.holds, actions: kept.actions, unled: kept.failed, unrecorded })
}

/// Looks at every host without judging, recording or locking: what `factory probe` shows. Each answer is told as soon
/// as it is in; a host of which `tell` says that it is needed again keeps its connection.
pub async fn probe(
    targets: Vec<Target>,
    fleet: &Fleet,
    bounds: Bounds,
    mut tell: impl FnMut(Answer) -> bool,
    report: &dyn Fn(&Progress),
) {
    report(&Progress::Begun { hosts: targets.len() });
    sweep(targets, fleet, bounds, |seen| match seen {
        Seen::Asked(host) => report(&Progress::Asked { host }),
        Seen::Answer(answer) => {
            let reach = answer.reach.clone();
            if !tell(*answer) {
                fleet.release(&reach);
            }
        }
    })
    .await;
    report(&Progress::Ended);
}

/// What earlier ticks left, and where this one will be written. A journal that cannot be opened, on a full disk say,
/// must not keep the supervisor from looking: then the tick is told but not recorded.
struct Memory {
    /// The journal to write to; none for `--check`.
    journal: Result<Option<Journal>>,
    /// Where a damaged journal was moved to.
    aside: Option<PathBuf>,
    /// What is known of each host.
    known: HashMap<String, HostRecord>,
    /// The logins that were refused.
    refusals: HashMap<String, Refusal>,
}

impl Memory {
    fn open(wake: &Wake<'_>) -> Memory {
        let opened = match wake.check {
            true => Ok((None, None)),
            false => Journal::open(wake.state).map(|(journal, aside)| (Some(journal), aside)),
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
        match known {
            Ok((known, refusals)) => Memory {
                journal,
                aside,
                known: known.into_iter().map(|record| (record.host.clone(), record)).collect(),
                refusals: refusals.into_iter().map(|refusal| (refusal.host.clone(), refusal)).collect(),
            },
            // What cannot be read cannot be gone on from; judging starts anew and says so.
            Err(error) => {
                Memory { journal: journal.and(Err(error)), aside, known: HashMap::new(), refusals: HashMap::new() }
            }
        }
    }
}

fn place(target: &Target) -> Place {
    Place { name: target.name.clone(), reach: target.reach.clone(), home: target.request.home.clone() }
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

fn record(
    mut journal: Journal,
    tick: &TickRecord,
    hosts: &[Decided],
    events: &[Event],
    refusals: Vec<Refusal>,
) -> Result<()> {
    journal.record(&Batch {
        tick: tick.clone(),
        hosts: hosts.iter().map(|decided| decided.record.clone()).collect(),
        events: events.to_vec(),
        refusals,
    })?;
    journal.prune(tick.began)
}
