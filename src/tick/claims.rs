//! Claims in a tick: what the hosts show of each run is compared with the ledger, what a crash left half done goes on, and
//! runs of which the ledger does not know are taken up.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::capacity::{Capacity, Looked};
use super::drive::{self, Driven};
use super::hand::{Hand, Place, Stopped};
use super::holds::Action;
use super::jobs::Jobs;
use super::seen::{held, left};
use crate::error::{Error, Result};
use crate::journal::Event;
use crate::ledger::{Change, Document, Ledger};
use crate::policy::claim::{self, Claim, Ending, Fate, fate, strays};
use crate::policy::hold::Model;
use crate::policy::takeover::{self, Starts};
use crate::remote::guard::Word;
use crate::remote::sample::Sample;

/// A host that gave a whole sample and may be changed.
#[derive(Clone)]
pub struct Look {
    /// The host.
    pub place: Place,
    /// What it showed.
    pub looked: Looked,
}

/// What is needed to go on with claims.
pub struct Settling<'a> {
    /// The ledger; none for `--check`, which writes nothing.
    pub ledger: Option<Arc<Ledger>>,
    /// The document before any host was asked: only what stood in it then can be compared with what they showed.
    pub before: Document,
    /// The hand on the hosts.
    pub hand: Hand,
    /// The agents, to be launched.
    pub jobs: Jobs,
    /// The same, as holds see them.
    pub model: &'a Model,
    /// The room on hosts.
    pub capacity: &'a Capacity<'a>,
    /// The state directory.
    pub state: &'a Path,
    /// The hosts that told what runs there.
    pub heard: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Settled {
    /// What was done.
    pub actions: Vec<Action>,
    /// What is worth telling.
    pub events: Vec<Event>,
    /// Why the ledger could not be written.
    pub failed: Option<Error>,
}

/// Changes one claim, if it is still of this run: `to` gives what it is to be, or none when the task is free again.
///
/// # Errors
/// When the ledger cannot be written.
pub async fn change(
    ledger: &Ledger,
    task: &str,
    token: &str,
    mut to: impl FnMut(Claim) -> Option<Claim>,
) -> Result<()> {
    let changed = ledger.change(|old| {
        let Some(old) = old else { return Ok(Change::Nothing(())) };
        let mut document = old.clone();
        if let Some(claim) = document.claims.remove(task) {
            let claim = if claim.token == token { to(claim) } else { Some(claim) };
            document.claims.extend(claim.map(|claim| (task.to_owned(), claim)));
        }
        Ok(if document == *old { Change::Nothing(()) } else { Change::To(document, ()) })
    });
    changed.await.map(drop)
}

/// The lock that a launch by hand shares and a tick takes for itself, so that a tick does not go on with a launch that is
/// under way. The kernel frees it with the process.
///
/// # Errors
/// When its file cannot be opened or locked.
pub fn launching(state: &Path) -> Result<std::fs::File> {
    let file = open(state)?;
    file.lock_shared().map_err(|error| Error::failed("cannot take the lock of launches").because(error))?;
    Ok(file)
}

fn open(state: &Path) -> Result<std::fs::File> {
    let path = state.join("launch.lock");
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| Error::failed(format!("cannot open {}", path.display())).because(error))
}

/// What is to become of a claim.
enum Step {
    Started,
    /// Its task is free again.
    Over(String, u8),
    /// It stays, and this is told once.
    Told(String, u8),
}

impl Settling<'_> {
    /// Compares what the hosts showed with the claims, and puts it right.
    pub async fn settle(self, looks: Vec<Look>) -> Settled {
        let mut settled = Settled::default();
        let mut steps: Vec<(String, Claim, Step)> = Vec::new();
        let mut found: Vec<(String, Claim)> = Vec::new();
        let mut open: Vec<(Look, String, Claim)> = Vec::new();
        for look in looks {
            let Look { place, looked: Looked { sample, .. } } = &look;
            let runs = sample.runs.as_deref().unwrap_or_default();
            if !self.is_itself(&place.name, sample) {
                continue;
            }
            for (task, claim) in self.before.claims.iter().filter(|(_, claim)| claim.host == place.name) {
                let mut step = |step| steps.push((task.clone(), claim.clone(), step));
                match fate(claim, runs) {
                    Fate::Keep => {}
                    Fate::Started => step(Step::Started),
                    Fate::Relaunch => open.push((look.clone(), task.clone(), claim.clone())),
                    Fate::Over(ending) => step(over(&ending)),
                    Fate::Leftover(ending) => {
                        step(Step::Told(
                            format!("{ending}, and something of it still lives: `factory stop {}`", claim.token),
                            2,
                        ));
                    }
                    Fate::Lost => step(Step::Told(
                        format!("is not known to its host any more; if it is gone: `factory stop {}`", claim.token),
                        2,
                    )),
                }
            }
            let now = Timestamp::now();
            let stray = strays(&self.before.claims, &place.name, &self.before.fleet, runs, now);
            found.extend(stray.into_iter().map(|(_, task, claim)| (task, claim)));
        }
        self.go_on(open, &mut steps, &mut settled).await;
        match &self.ledger {
            None => {}
            Some(ledger) => {
                if let Err(error) = self.write(ledger, steps, found, &mut settled).await {
                    settled.failed = Some(error);
                }
            }
        }
        settled
    }

    /// Nothing is concluded from a host that is not known, or not the machine that it was.
    fn is_itself(&self, host: &str, sample: &Sample) -> bool {
        let Some(entry) = self.before.hosts.get(host) else { return true };
        entry.id.is_none() || (entry.id == sample.host_id && !entry.doubted)
    }

    /// Launches again what had not begun; what must not begin any more is cancelled.
    async fn go_on(
        &self,
        open_claims: Vec<(Look, String, Claim)>,
        steps: &mut Vec<(String, Claim, Step)>,
        settled: &mut Settled,
    ) {
        if open_claims.is_empty() {
            return;
        }
        let Some(ledger) = &self.ledger else {
            let open_claims = open_claims.into_iter().filter(|(_, _, claim)| left(&self.before, &claim.host).is_none());
            settled.actions.extend(open_claims.map(|(_, task, claim)| Action {
                what: format!("launch {}", claim::name(&task, &claim)),
                host: claim.host,
                failed: None,
            }));
            return;
        };
        // Somebody is launching right now: it is theirs to finish.
        let lock = open(self.state).and_then(|file| match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(Error::failed("cannot take the lock of launches").because(error))
            }
        });
        let _lock = match lock {
            Ok(Some(lock)) => lock,
            Ok(None) => return,
            Err(error) => {
                settled.failed = Some(error);
                return;
            }
        };
        // Whoever launched may have ended it since the hosts were asked, and have the task begun elsewhere.
        let document = match ledger.read().await {
            Ok(Some((_, document))) => document,
            Ok(None) => return,
            Err(error) => {
                settled.failed = Some(error);
                return;
            }
        };
        let mut tasks = JoinSet::new();
        for (Look { place, looked }, task, claim) in open_claims {
            let still = |known: &&Claim| known.token == claim.token && !known.started;
            let Some(claim) = document.claims.get(&task).filter(still).cloned() else { continue };
            // A host that was given up is not touched any more.
            if left(&document, &place.name).is_some() {
                continue;
            }
            let held = held(&document, self.model, &claim.host, &claim.agent, &claim.repo);
            let held = held.map(|hold| format!("hold {} holds it", hold.id));
            let unclaimed = claim.unclaimed.then(|| "its issue had not been claimed on the forge".to_owned());
            let held = held.or(unclaimed);
            // It may begin later: what is short now comes back.
            if let (None, Some(why)) = (&held, self.unfit(&document, &claim, &looked)) {
                let told = format!("waits to be begun until {why}; `factory stop {}` gives it up", claim.token);
                steps.push((task, claim, Step::Told(told, 1)));
                continue;
            }
            let (hand, ledger, jobs) = (self.hand.clone(), Arc::clone(ledger), self.jobs.clone());
            tasks.spawn(async move {
                let why = match held {
                    Some(held) => held,
                    None => {
                        let (job_task, job_claim) = (task.clone(), claim.clone());
                        // A command that reads a secret may take its time.
                        let made = tokio::task::spawn_blocking(move || jobs.make(&job_task, &job_claim)).await;
                        match made {
                            Ok(Ok(job)) => match drive::launch(&hand, &ledger, &place, &job).await {
                                Driven::Never(Stopped::Refused(answer)) if answer.word == Word::Stale => answer.detail,
                                driven => return (place, task, claim, driven, None),
                            },
                            Ok(Err(error)) => error.with_causes(),
                            Err(error) => error.to_string(),
                        }
                    }
                };
                let driven = drive::cancel(&hand, &ledger, &place, &claim.token).await;
                (place, task, claim, driven, Some(why))
            });
        }
        while let Some(done) = tasks.join_next().await {
            let Ok((place, task, claim, driven, why)) = done else { continue };
            let what = format!("launch {}", claim::name(&task, &claim));
            let (step, failed) = match driven {
                Driven::Runs => (Some(Step::Started), None),
                Driven::Over(Ending::Cancelled) => {
                    let why = why.unwrap_or_else(|| "it was cancelled".to_owned());
                    (Some(Step::Over(format!("was cancelled before it began: {why}"), 1)), Some(why))
                }
                Driven::Over(ending) => (Some(over(&ending)), None),
                Driven::Held(by) => (Some(Step::Over(format!("was cancelled before it began: {by}"), 1)), Some(by)),
                // Another call, of whoever died, may still have begun it: only the host's word frees the task.
                Driven::Never(stopped) | Driven::Open(stopped) => (None, Some(stopped.to_string())),
            };
            steps.extend(step.map(|step| (task, claim, step)));
            settled.actions.push(Action { host: place.name, what, failed });
        }
    }

    /// Writes what was learned into the ledger, for each claim that is still of the same run.
    async fn write(
        &self,
        ledger: &Ledger,
        steps: Vec<(String, Claim, Step)>,
        found: Vec<(String, Claim)>,
        settled: &mut Settled,
    ) -> Result<()> {
        if steps.is_empty() && found.is_empty() && !self.before.young {
            return Ok(());
        }
        let (_, events) = ledger
            .change(|old| {
                let Some(old) = old else { return Ok(Change::Nothing(Vec::new())) };
                let mut document = old.clone();
                let mut events = Vec::new();
                for (task, claim, step) in &steps {
                    let Some(known) = document.claims.get_mut(task).filter(|known| known.token == claim.token) else {
                        continue;
                    };
                    let mut tell = |severity: u8, what: &str| {
                        events.push(event(&claim.host, severity, format!("{} {what}", claim::name(task, claim))));
                    };
                    match step {
                        Step::Started => known.started = true,
                        Step::Told(what, _) if known.told.as_ref() == Some(what) => {}
                        Step::Told(what, severity) => {
                            tell(*severity, what);
                            known.told = Some(what.clone());
                        }
                        Step::Over(what, severity) => {
                            tell(*severity, what);
                            document.claims.remove(task);
                        }
                    }
                }
                for (task, claim) in &found {
                    if document.claims.values().any(|known| known.token == claim.token) {
                        continue;
                    }
                    match document.claims.get(task) {
                        None => {
                            let what = format!("{} is taken up: the ledger did not know it", claim::name(task, claim));
                            events.push(event(&claim.host, 1, what));
                            document.claims.insert(task.clone(), claim.clone());
                        }
                        Some(other) => {
                            let what = format!(
                                "{task} is worked on twice: by run {} on {} and by run {} on {}; `factory stop` one of them",
                                other.token, other.host, claim.token, claim.host
                            );
                            events.push(event(&claim.host, 3, what));
                        }
                    }
                }
                if document.young {
                    for host in &self.heard {
                        document.hosts.entry(host.clone()).or_default().heard = true;
                    }
                    document.young = !self.capacity.all_known(&document);
                }
                Ok(if document == *old { Change::Nothing(events) } else { Change::To(document, events) })
            })
            .await?;
        settled.events.extend(events);
        Ok(())
    }

    /// Until when nothing may be launched on a host that no hold holds, for people.
    fn unfit(&self, document: &Document, claim: &Claim, looked: &Looked) -> Option<String> {
        match takeover::starts(&looked.sample, self.model.taken(), &claim.agent) {
            Starts::No => {}
            Starts::By(_) => {
                return Some(format!("the crontab of {} does not start agent `{}` any more", claim.host, claim.agent));
            }
            Starts::Unread => {
                return Some(format!(
                    "the crontab of {}, which may start agent `{}` too, can be read",
                    claim.host, claim.agent
                ));
            }
        }
        // Without the numbers, which are others at each tick.
        let fits = self.capacity.fits(document, claim, looked);
        fits.is_err().then(|| format!("{} has room for it", claim.host))
    }
}

fn over(ending: &Ending) -> Step {
    Step::Over(ending.to_string(), u8::from(!matches!(ending, Ending::Done(0) | Ending::Cancelled)))
}

/// Something about a run, for the journal.
pub fn event(host: &str, severity: u8, message: String) -> Event {
    Event { at: Timestamp::now(), host: Some(host.to_owned()), what: "run".to_owned(), severity, message }
}
