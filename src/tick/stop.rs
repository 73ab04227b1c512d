//! Runs that are told to stop: found on their hosts, stopped by the guard, watched until nothing of them lives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Progress;
use super::claims::change;
use super::drive::{self, Driven};
use super::hand::{Place, Stopped};
use super::jobs::Jobs;
use super::lead::{boot_clock, lead};
use super::manual::Order;
use super::seen::{barred, left, replaced};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::ledger::{Document, Ledger};
use crate::policy::claim::{Claim, Ending, ending};
use crate::policy::hold::Hold;
use crate::remote::guard::{Op, Stop, Stopped as Target, Word};
use crate::remote::sample::{Matched, Run, Sample};

/// How often it is looked whether a run is gone.
const LOOK: Duration = Duration::from_secs(1);

/// How long after the kill it is still looked for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is to be stopped, as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A run of ours, by its token.
    Token(String),
    /// A process that we did not start: its id, and its start in clock ticks since boot.
    Process(u32, u64),
}

/// As `factory ps` shows it.
impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Named::Token(token) => f.write_str(token),
            Named::Process(pid, start) => write!(f, "pid:{pid}:{start}"),
        }
    }
}

impl Named {
    /// Reads it.
    ///
    /// # Errors
    /// Exit 2 for anything that `factory ps` does not show.
    pub fn parse(text: &str) -> Result<Named> {
        let bad = || {
            Error::usage(format!("`{text}` is neither a run's token nor `pid:PID:START`"))
                .help("`factory ps` shows both in its column TOKEN")
        };
        let Some(rest) = text.strip_prefix("pid:") else {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            let fine = !text.is_empty() && text.len() <= 200 && text.bytes().all(plain);
            return if fine { Ok(Named::Token(text.to_owned())) } else { Err(bad()) };
        };
        let (pid, start) = rest.split_once(':').ok_or_else(bad)?;
        Ok(Named::Process(pid.parse().map_err(|_| bad())?, start.parse().map_err(|_| bad())?))
    }
}

/// How it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Told to end now, and killed if it does not.
    Term,
    /// Killed at once.
    Now,
    /// Told to end once its agent's `drain` has passed.
    Drain,
}

/// What became of one that was to be stopped.
#[derive(Debug)]
pub enum Ended {
    /// Nothing of it lives; how it ended, where that is known.
    Gone(Option<Ending>),
    /// It was over before.
    Before(Option<Ending>),
    /// It has been told, and goes on for a while: so long until TERM, and then until KILL.
    Told(Duration, Duration),
    /// It was told and killed, and something of it still lives.
    Lives,
    /// It could not be told.
    Not(Stopped),
}

/// Numbers and words of a stop.
#[derive(Clone, Debug)]
pub struct Manners {
    /// How.
    pub manner: Manner,
    /// From TERM to KILL.
    pub kill_after: Duration,
    /// Whether to wait until it is gone.
    pub wait: bool,
    /// Who asks.
    pub by: String,
}

/// One that was found on a host.
struct Found {
    place: Place,
    target: Target,
    run: Option<Run>,
    drain: Duration,
}

impl Order<'_> {
    /// Stops what is named, on whichever of `hosts` it is. Gives its host and what became of it.
    ///
    /// # Errors
    /// Exit 3 when none of the hosts has it, exit 4 when it may be on one that did not answer.
    pub async fn stop(
        &self,
        named: &Named,
        hosts: &BTreeSet<String>,
        manners: &Manners,
        jobs: &Jobs,
        report: &dyn Fn(&Progress),
    ) -> Result<(String, Ended)> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        let document = lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?.document;
        let claim = document.claims.iter().find(|(_, claim)| Named::Token(claim.token.clone()) == *named);
        let only = claim.map(|(_, claim)| claim.host.clone()).filter(|host| hosts.contains(host));
        let asked = |name: &str| only.as_deref().map_or_else(|| hosts.contains(name), |only| only == name);
        let samples = self.samples(asked, report).await;
        let found = self.find(named, &samples, jobs)?;
        let Some(found) = found else {
            let silent: Vec<&str> =
                samples.iter().filter(|sample| sample.runs.is_none()).map(|sample| sample.host.as_str()).collect();
            return match claim {
                Some((task, claim)) if silent.is_empty() => {
                    let sample = samples.iter().find(|sample| sample.host == claim.host);
                    let sample = sample.ok_or_else(|| {
                        Error::inventory(format!("`{named}` is on {}, which is not looked at", claim.host))
                            .help("without `--host` and `--limit` all hosts are")
                    })?;
                    self.unknown(&ledger, &document, sample, task, claim).await
                }
                _ if silent.is_empty() => Err(Error::inventory(format!("no host has a run `{named}`"))
                    .help("`factory ps --all` shows the runs that there are")),
                _ => Err(Error::new(
                    Exit::Unreachable,
                    format!("`{named}` is on none of the hosts that answered; {} did not", silent.join(", ")),
                )
                .help("try again once they are back; `factory ps` shows what runs where")),
            };
        };
        let host = found.place.name.clone();
        let sample = samples.iter().find(|sample| sample.host == host);
        if let Some(why) = sample.and_then(|sample| self.may_not(&document, sample)) {
            return Ok((host, Ended::Not(Stopped::Barred(why))));
        }
        let ended = self.end(&ledger, &found, manners).await;
        if let (Ended::Gone(_) | Ended::Before(_), Some((task, claim))) = (&ended, claim) {
            // If it cannot be noted now, the next tick sees the same.
            let _ = change(&ledger, task, &claim.token, |_| None).await;
        }
        self.fleet.release(&found.place.reach);
        Ok((host, ended))
    }

    /// Stops, on the hosts that it is about, what a hold holds: each run after its agent's `drain`. Gives one entry a run.
    ///
    /// # Errors
    /// When the ledger cannot be used.
    pub async fn stop_held(
        &self,
        hold: &Hold,
        manners: &Manners,
        jobs: &Jobs,
        report: &dyn Fn(&Progress),
    ) -> Result<Vec<(String, String, Ended)>> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        let (_, document) = ledger.read().await?.ok_or_else(|| Error::failed("the ledger is empty"))?;
        let samples = self.samples(|name| hold.scope.hosts.has(name), report).await;
        let holds = std::slice::from_ref(hold);
        let mut told = Vec::new();
        for sample in &samples {
            let held = |agent: &str, repo: &str| {
                crate::policy::claim::held(holds, &self.model, &sample.host, agent, repo).is_some()
            };
            let runs = sample.runs.iter().flatten().filter(|run| {
                let lives = run.state == "RUNNING" || ending(&run.state).is_some_and(|(_, left)| left);
                lives && held(run.agent.as_deref().unwrap_or("-"), run.repo.as_deref().unwrap_or("*"))
            });
            let matched = sample.matched.iter().flatten().filter(|one| held(&one.agent, "*"));
            let runs = runs.map(|run| Named::Token(run.token.clone()));
            let named: Vec<Named> = runs.chain(matched.map(|one| Named::Process(one.pid, one.start))).collect();
            for named in named {
                let Some(found) = self.find(&named, std::slice::from_ref(sample), jobs)? else { continue };
                let ended = match self.may_not(&document, sample) {
                    Some(why) => Ended::Not(Stopped::Barred(why)),
                    None => self.end(&ledger, &found, manners).await,
                };
                told.push((sample.host.clone(), named.to_string(), ended));
            }
        }
        Ok(told)
    }

    fn may_not(&self, document: &Document, sample: &Sample) -> Option<String> {
        let ids = sample.host_id.iter().map(|id| (sample.host.clone(), id.clone())).collect();
        barred(document, &self.names(), &ids, &sample.host, sample)
    }

    /// Where what is named is.
    fn find(&self, named: &Named, samples: &[Sample], jobs: &Jobs) -> Result<Option<Found>> {
        let mut found = Vec::new();
        for sample in samples {
            let Some(target) = self.targets.iter().find(|target| target.name == sample.host) else { continue };
            let place = super::place(target);
            let drain = |agent: Option<&str>, repo: Option<&str>| {
                let agent = jobs.agent(agent.unwrap_or_default(), repo.unwrap_or("*"));
                agent.map_or(Duration::from_secs(2 * 3600), |agent| agent.drain.0)
            };
            match named {
                Named::Token(token) => {
                    let run = sample.runs.iter().flatten().find(|run| run.token == *token);
                    found.extend(run.map(|run| Found {
                        place,
                        target: Target::Run(token.clone()),
                        run: Some(run.clone()),
                        drain: drain(run.agent.as_deref(), run.repo.as_deref()),
                    }));
                }
                Named::Process(pid, start) => {
                    let matched = sample.matched.iter().flatten();
                    let matched = matched.filter(|one| (one.pid, one.start) == (*pid, *start));
                    let text = |agent: &str| jobs.agent(agent, "*").and_then(|agent| agent.match_text.clone());
                    found.extend(matched.filter_map(|one| {
                        let target = Target::Process { pid: *pid, start: *start, text: text(&one.agent)? };
                        Some(Found { place: place.clone(), target, run: None, drain: drain(Some(&one.agent), None) })
                    }));
                }
            }
        }
        let hosts: Vec<&str> = found.iter().map(|one| one.place.name.as_str()).collect();
        if hosts.len() > 1 {
            return Err(Error::usage(format!("several hosts have `{named}`: {}", hosts.join(", ")))
                .help("say which: `--host NAME`"));
        }
        Ok(found.pop())
    }

    /// A claim whose host answers and does not know the run: never begun, or lost.
    async fn unknown(
        &self,
        ledger: &Ledger,
        document: &Document,
        sample: &Sample,
        task: &str,
        claim: &Claim,
    ) -> Result<(String, Ended)> {
        // Another machine in its place, or one that is not ours any more, knows nothing of it, and the run may live on.
        if let Some(why) = replaced(document, sample) {
            return Err(Error::failed(why).help("its runs keep their tasks until somebody says what became of it"));
        }
        if let Some(why) = self.may_not(document, sample).or_else(|| left(document, &claim.host)) {
            return Ok((claim.host.clone(), Ended::Not(Stopped::Barred(why))));
        }
        let target = self.targets.iter().find(|target| target.name == claim.host);
        let place = target.map(super::place).ok_or_else(|| Error::inventory(format!("no host `{}`", claim.host)))?;
        let ended = match drive::cancel(&self.hand, ledger, &place, &claim.token).await {
            Driven::Over(ending) => Ended::Gone(Some(ending)),
            Driven::Runs => Ended::Lives,
            Driven::Open(stopped) | Driven::Never(stopped) => Ended::Not(stopped),
            Driven::Held(_) => Ended::Lives,
        };
        if matches!(ended, Ended::Gone(_)) {
            change(ledger, task, &claim.token, |_| None).await?;
        }
        self.fleet.release(&place.reach);
        Ok((claim.host.clone(), ended))
    }

    async fn end(&self, ledger: &Ledger, found: &Found, manners: &Manners) -> Ended {
        let state = found.run.as_ref().map(|run| run.state.as_str());
        match (&found.target, state) {
            (_, Some(state)) if ending(state).is_some_and(|(_, left)| !left) => {
                return Ended::Before(ending(state).map(|(ending, _)| ending));
            }
            (Target::Run(token), Some("CREATED")) => {
                match drive::cancel(&self.hand, ledger, &found.place, token).await {
                    Driven::Over(ending) => return Ended::Gone(Some(ending)),
                    Driven::Open(stopped) | Driven::Never(stopped) => return Ended::Not(stopped),
                    // It began meanwhile.
                    Driven::Runs | Driven::Held(_) => {}
                }
            }
            _ => {}
        }
        let zero = Duration::ZERO;
        let (drain, kill_after, critical) = match manners.manner {
            Manner::Term => (zero, manners.kill_after, true),
            Manner::Now => (zero, zero, false),
            Manner::Drain => (found.drain, manners.kill_after, true),
        };
        let stop = Stop { what: found.target.clone(), by: manners.by.clone(), drain, kill_after, critical };
        let op = Op::Stop(stop);
        match self.hand.ask(ledger, &found.place, &op).await {
            Ok(answer) if answer.word == Word::Done => {
                return Ended::Gone(answer.runs.first().and_then(|run| ending(&run.state)).map(|(ending, _)| ending));
            }
            Ok(_) => {}
            Err(stopped) => return Ended::Not(stopped),
        }
        if !manners.wait || manners.manner == Manner::Drain {
            return Ended::Told(drain, kill_after);
        }
        self.watch(found, kill_after).await
    }

    /// Looks at the host until nothing of the run is left.
    async fn watch(&self, found: &Found, kill_after: Duration) -> Ended {
        let began = Instant::now();
        while began.elapsed() < kill_after + PATIENCE {
            tokio::time::sleep(LOOK).await;
            let samples = self.samples(|name| name == found.place.name, &|_| {}).await;
            let Some(sample) = samples.first() else { continue };
            match &found.target {
                Target::Run(token) => {
                    let run = sample.runs.iter().flatten().find(|run| run.token == *token);
                    if let Some((ending, false)) = run.and_then(|run| ending(&run.state)) {
                        return Ended::Gone(Some(ending));
                    }
                    let critical = run.is_some_and(|run| run.critical == Some(true));
                    if critical && began.elapsed() > kill_after {
                        return Ended::Told(Duration::from_secs(300), kill_after);
                    }
                }
                Target::Process { pid, start, .. } => {
                    let gone =
                        |matched: &Vec<Matched>| !matched.iter().any(|one| (one.pid, one.start) == (*pid, *start));
                    if sample.matched.as_ref().is_some_and(gone) {
                        return Ended::Gone(None);
                    }
                }
            }
        }
        Ended::Lives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ps_shows_can_be_named() {
        for text in ["20260312-0a1b", "pid:17:123456", "x"] {
            assert_eq!(Named::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "a b", "../x", "pid:", "pid:1", "pid:x:1", "pid:1:", "pid:-1:2", "pid:1:2:3", "a/b"] {
            assert_eq!(Named::parse(text).unwrap_err().exit(), Exit::Usage, "{text}");
        }
    }
}
