//! One wake, start to end: lead -> observe -> decide -> act -> record. Each host is decided and acted on as soon as its
//! own answer is in.

pub mod adopt;
pub mod backlog;
pub mod capacity;
pub mod ci;
pub mod claims;
pub mod coming;
mod controller;
pub mod deadline;
pub mod decide;
pub mod drive;
pub mod follow;
mod gc;
pub mod hand;
pub mod holds;
pub mod jobs;
pub mod launch;
pub mod lead;
pub mod lock;
pub mod logs;
pub mod manual;
pub mod merge;
pub mod observe;
pub mod pending;
pub mod practices;
pub mod pressure;
mod process;
mod progress;
mod refusals;
mod repos;
pub mod reserve;
mod round;
pub mod secrets;
mod seen;
pub mod stop;
mod turn;
pub mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::debug;

use self::backlog::{Due, Repos, Work};
use self::capacity::Capacity;
pub use self::decide::{Decided, UNKNOWN};
use self::hand::Place;
pub use self::holds::Action;
use self::jobs::Jobs;
use self::lock::Lock;
use self::logs::Logs;
use self::observe::{Answer, Bounds, Seen, Sweep, Target};
use self::pending::Pending;
pub use self::progress::Progress;
pub use self::refusals::Waits;
use self::reserve::Reserve;
use self::round::Round;
pub use self::seen::left;
use crate::error::{Error, Result};
use crate::inventory::policy::Policy;
use crate::inventory::settings::Guard;
use crate::journal::{Event, TickRecord};
use crate::policy::hold::{Hold, Model};
use crate::policy::ladder::Standing;
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
    /// The agents, to be launched.
    pub jobs: Jobs,
    /// The room on hosts.
    pub capacity: Capacity<'a>,
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
    /// How logs are fetched and kept.
    pub logs: Logs,
    /// The repos.
    pub repos: Repos,
    /// Which of them are asked.
    pub due: Due,
    /// Where there is hard pressure, go on looking; none for one look.
    pub watch: Option<Watch>,
    /// Look and judge, but change nothing: no lock, no journal.
    pub check: bool,
}

/// How long a tick goes on looking at hosts under hard pressure, until the next one takes over.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// From one look to the next.
    pub every: Duration,
    /// No look begins this long after the tick did, unless a host that hangs keeps it from ending.
    pub until: Duration,
}

/// What a tick found.
#[derive(Debug)]
pub struct Outcome {
    /// The tick itself.
    pub tick: TickRecord,
    /// Every host, in the order of the targets, as it was seen last.
    pub hosts: Vec<Decided>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
    /// What is held by people now.
    pub holds: Vec<Hold>,
    /// Where each host stands on the ladder now.
    pub standings: BTreeMap<String, Standing>,
    /// What was done to hosts or, with `check`, is to be done.
    pub actions: Vec<Action>,
    /// What there is to do in each repo of which something is known.
    pub work: BTreeMap<String, Work>,
    /// Why the ledger could not be used, if it could not: then nothing was loosened on any host.
    pub unled: Option<Error>,
    /// Why the tick could not be written down, if it could not: a full disk must not hide what was seen.
    pub unrecorded: Option<Error>,
}

/// Runs one tick: a look at every host and every repo and, with a watch, more looks at hosts under hard pressure.
///
/// # Errors
/// Exit 5 when another tick is running; exit 1 when the state directory cannot be used at all.
pub async fn run(mut wake: Wake<'_>, report: &dyn Fn(&Progress)) -> Result<Outcome> {
    let clock = Instant::now();
    let reserve = Reserve::of(wake.state);
    let (lock, left) = if wake.check { None } else { Some(Lock::take(wake.state, wake.stuck)?) }.unzip();
    let mut left: Vec<Event> = left.flatten().map(|left| left.event()).into_iter().collect();
    let all = std::mem::take(&mut wake.targets);
    let order: HashMap<&str, usize> =
        all.iter().enumerate().map(|(index, target)| (target.name.as_str(), index)).collect();
    let asked_all = wake.names.iter().all(|name| all.iter().any(|target| target.name == *name));
    let mut sweep = Sweep::new(wake.fleet, wake.bounds);
    let mut outcome: Option<Outcome> = None;
    let (mut fresh, mut late) = (all.clone(), Vec::new());
    // Where it cannot be written either, it is known here from look to look.
    let mut pending = Pending::read(wake.state);
    // Side by side with the hosts: these do not wait for a forge.
    let backlog = wake.repos.look(&repos::records(wake.state), wake.due, Timestamp::now());
    loop {
        let began = Instant::now();
        // Where another look is due before all have answered, who has not is left to that one.
        let until = |late: bool, watch: Watch| watch.until + if late { wake.bounds.sweep } else { Duration::ZERO };
        let late_hosts = sweep.out().next().is_some();
        let due = wake.watch.map(|watch| began + watch.every..clock + until(late_hosts, watch));
        let round =
            Round { wake: &wake, fresh, late, asked_all, due, lock: lock.as_ref(), reserve: &reserve, ci: &backlog };
        let (seen, waits) = round.run(&mut sweep, std::mem::take(&mut left), pending, report).await;
        pending = waits;
        outcome = Some(match outcome {
            None => seen,
            Some(before) => before.then(seen, clock.elapsed()),
        });
        let hosts = outcome.iter().flat_map(|outcome| &outcome.hosts);
        let out: BTreeSet<&str> = sweep.out().collect();
        let mut urgent: BTreeSet<&str> =
            hosts.filter(|decided| decided.is_urgent()).map(|decided| decided.record.host.as_str()).collect();
        urgent.retain(|host| !out.contains(host));
        let next = wake.watch.filter(|_| !urgent.is_empty()).and_then(|watch| {
            let wait = watch.every.saturating_sub(began.elapsed());
            // As long as a host that hangs keeps the lock, the next tick cannot look at the others.
            (clock.elapsed() + wait < until(!out.is_empty(), watch)).then_some(wait)
        });
        match next {
            Some(wait) => {
                debug!(
                    hosts = urgent.len(),
                    seconds = wait.as_secs_f64(),
                    "looking again at hosts under hard pressure"
                );
                tokio::time::sleep(wait).await;
            }
            None if out.is_empty() => break,
            None => urgent.clear(),
        }
        let of = |names: &BTreeSet<&str>| -> Vec<Target> {
            all.iter().filter(|target| names.contains(target.name.as_str())).cloned().collect()
        };
        (fresh, late) = (of(&urgent), of(&out));
    }
    let mut outcome = outcome.ok_or_else(|| Error::failed("no look was taken"))?;
    outcome.hosts.sort_by_key(|decided| order.get(decided.record.sample.host.as_str()));
    lock.iter().for_each(Lock::progress);
    repos::finish(&wake, backlog, &mut outcome, clock).await;
    drop(lock);
    Ok(outcome)
}

impl Outcome {
    /// This tick, after one more look at some of its hosts.
    fn then(mut self, mut later: Outcome, elapsed: Duration) -> Outcome {
        for decided in later.hosts {
            match self.hosts.iter_mut().find(|known| known.record.sample.host == decided.record.sample.host) {
                Some(known) => *known = decided,
                None => self.hosts.push(decided),
            }
        }
        self.tick.hosts = self.hosts.len() as u64;
        self.tick.missed = self.hosts.iter().filter(|decided| decided.record.level == UNKNOWN).count() as u64;
        self.events.append(&mut later.events);
        self.actions.append(&mut later.actions);
        self.standings.append(&mut later.standings);
        self.holds = later.holds;
        self.tick.seconds = elapsed.as_secs_f64();
        self.tick.controller = later.tick.controller;
        self.unled = later.unled.or(self.unled);
        self.unrecorded = later.unrecorded.or(self.unrecorded);
        self
    }
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
    let mut sweep = Sweep::new(fleet, bounds);
    sweep.ask(targets);
    while let Some(seen) = sweep.next().await {
        match seen {
            Seen::Asked(host) => report(&Progress::Asked { host }),
            Seen::Answer(answer) => {
                let reach = answer.reach.clone();
                if !tell(*answer) {
                    fleet.release(&reach);
                }
            }
        }
    }
    report(&Progress::Ended);
}

fn place(target: &Target) -> Place {
    Place { name: target.name.clone(), reach: target.reach.clone(), home: target.request.home.clone() }
}
